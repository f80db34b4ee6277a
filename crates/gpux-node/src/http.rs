//! The local HTTP API: one file of routes, one guard. Handlers ask the daemon and turn the answer into a document; no rule
//! lives here.
//!
//! Invariant: nothing is answered without the token, to a page of another origin, or under another host name.

mod guard;
mod logs;
mod routes;
mod watch;

use crate::node::Node;
use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gpux_api::{API_PREFIX, ErrorBody, ErrorCode, ErrorDocument};
use std::sync::Arc;

/// The longest request body: a job file of 256 KiB in JSON's escapes, with room.
const MAX_BODY_BYTES: usize = 2 << 20;

/// An error as the API answers it.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) ErrorBody);

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        Self(body)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::InvalidInput | ErrorCode::PreflightFailed => StatusCode::BAD_REQUEST,
            ErrorCode::NotAuthorised => StatusCode::UNAUTHORIZED,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::NoMatch | ErrorCode::InsufficientFunds | ErrorCode::OverBudget | ErrorCode::Conflict => {
                StatusCode::CONFLICT
            }
            ErrorCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::Unreachable => StatusCode::BAD_GATEWAY,
            ErrorCode::JobFailed | ErrorCode::ProviderFault | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(ErrorDocument::from(self.0))).into_response()
    }
}

/// The whole API behind its guard.
pub(crate) fn router(node: Arc<Node>, token: &str) -> Router {
    let routes = Router::new()
        .route("/daemon", get(routes::daemon))
        .route("/stop", post(routes::stop_daemon))
        .route("/offers", get(routes::offers))
        .route("/gpus", get(routes::gpus))
        .route("/plan", post(routes::plan))
        .route("/jobs", get(routes::jobs).post(routes::run))
        .route("/jobs/{job}", get(routes::job))
        .route("/jobs/{job}/details", get(routes::details))
        .route("/jobs/{job}/watch", get(watch::job))
        .route("/jobs/{job}/logs", get(logs::job))
        .route("/jobs/{job}/topup", post(routes::top_up))
        .route("/jobs/{job}/away", post(routes::away))
        .route("/jobs/{job}/stop", post(routes::stop_job))
        .route("/jobs/{job}/cost", get(routes::cost))
        .route("/receipts", get(routes::receipts))
        .route("/receipts/{of}", get(routes::receipts_of))
        .route("/node", get(routes::owned_node))
        .route("/node/taking", post(routes::set_taking))
        .route("/node/prices", post(routes::set_prices))
        .route("/node/earnings", get(routes::earnings))
        .route("/wallet", get(routes::wallet))
        .route("/wallet/send", post(routes::send))
        .route("/wallet/send/plan", post(routes::plan_send))
        .route("/doctor", get(routes::doctor))
        .fallback(routes::nothing_here)
        .with_state(node);
    let guard = guard::Guard::new(token);
    Router::new()
        .nest(API_PREFIX, routes)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(guard, guard::check))
}

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
    routing::{MethodFilter, MethodRouter, on},
};
use gpux_api::{API_PREFIX, ErrorBody, ErrorCode, ErrorDocument, Method, Operation, ROUTES};
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
    let routes = ROUTES.iter().fold(Router::new(), |router, route| {
        router.route(route.path, handler(route.operation, filter(route.method)))
    });
    let routes = routes
        .fallback(routes::nothing_here)
        .method_not_allowed_fallback(routes::other_method)
        .with_state(node);
    let guard = guard::Guard::new(token);
    Router::new()
        .nest(API_PREFIX, routes)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(guard, guard::check))
}

const fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
    }
}

/// What does each operation.
fn handler(operation: Operation, on_method: MethodFilter) -> MethodRouter<Arc<Node>> {
    match operation {
        Operation::Daemon => on(on_method, routes::daemon),
        Operation::StopDaemon => on(on_method, routes::stop_daemon),
        Operation::Offers => on(on_method, routes::offers),
        Operation::Gpus => on(on_method, routes::gpus),
        Operation::Plan => on(on_method, routes::plan),
        Operation::Jobs => on(on_method, routes::jobs),
        Operation::Run => on(on_method, routes::run),
        Operation::Job => on(on_method, routes::job),
        Operation::JobDetails => on(on_method, routes::details),
        Operation::WatchJob => on(on_method, watch::job),
        Operation::Logs => on(on_method, logs::job),
        Operation::TopUp => on(on_method, routes::top_up),
        Operation::Away => on(on_method, routes::away),
        Operation::StopJob => on(on_method, routes::stop_job),
        Operation::Cost => on(on_method, routes::cost),
        Operation::Receipts => on(on_method, routes::receipts),
        Operation::ReceiptsOf => on(on_method, routes::receipts_of),
        Operation::Node => on(on_method, routes::owned_node),
        Operation::SetTaking => on(on_method, routes::set_taking),
        Operation::SetPrices => on(on_method, routes::set_prices),
        Operation::Earnings => on(on_method, routes::earnings),
        Operation::Wallet => on(on_method, routes::wallet),
        Operation::Send => on(on_method, routes::send),
        Operation::PlanSend => on(on_method, routes::plan_send),
        Operation::Doctor => on(on_method, routes::doctor),
    }
}

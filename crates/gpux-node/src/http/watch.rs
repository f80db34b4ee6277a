//! Follows a job: one JSON document a line, whenever it changed, until it is over.

use super::Refusal;
use crate::node::Node;
use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use gpux_api::JobView;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::watch;

/// The shortest time between two documents: screens need no more.
const PACE: Duration = Duration::from_millis(100);

pub(super) async fn job(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let views = node.renter.find(&name)?.watch();
    let lines = stream::unfold(Some(views), |views| async move {
        let mut views = views?;
        let view = views.borrow_and_update().clone();
        let line = line(&view);
        Some((Ok::<_, Infallible>(line), next(views, &view).await))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

/// Waits for another view; `None` when the job is over.
async fn next(mut views: watch::Receiver<JobView>, shown: &JobView) -> Option<watch::Receiver<JobView>> {
    if shown.state.is_over() {
        return None;
    }
    tokio::time::sleep(PACE).await;
    // The sender goes with the job's task, after the last view: what it left is still to be shown.
    match views.changed().await {
        Ok(()) => Some(views),
        Err(_) => None,
    }
}

/// A document as a line; empty when it cannot be written, which its types rule out.
pub(super) fn line<T: serde::Serialize>(document: &T) -> Bytes {
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

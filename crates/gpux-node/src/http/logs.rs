//! Logs of a job's parts, one JSON document a line.

use super::{Refusal, watch::line};
use crate::node::Node;
use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use gpux_api::LogView;
use gpux_types::PartIndex;
use std::{convert::Infallible, sync::Arc};

/// Which lines are wanted.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    follow: bool,
    part: Option<u32>,
    tail: Option<usize>,
    failed: bool,
}

pub(super) async fn job(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let job = node.renter.find(&name)?;
    let selection = crate::renter::LogSelection {
        part: wanted.part.map(PartIndex),
        only_failed: wanted.failed,
        tail: wanted.tail,
        follow: wanted.follow,
    };
    let lines = crate::renter::logs(node, job, selection);
    let body = Body::from_stream(stream::StreamExt::map(lines.boxed(), |text| {
        Ok::<_, Infallible>(line(&LogView::from(text)))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

//! Logs of a job's parts, one JSON document a line.

use super::{
    Refusal,
    routes::{Wanted, query},
    watch::line,
};
use crate::{node::Node, renter::JobHandle};
use axum::{
    body::Body,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use gpux_api::{ErrorBody, ErrorCode, LogView, LogsQuery};
use gpux_types::{NodeId, PartIndex};
use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

pub(super) async fn job(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    wanted: Wanted<LogsQuery>,
) -> Result<Response, Refusal> {
    let wanted = query(wanted)?;
    let job = node.renter.find(&name)?;
    let only_node = wanted.node.map(|node| node_of(&job, &node)).transpose()?;
    let selection = crate::renter::LogSelection {
        part: wanted.part.map(PartIndex),
        node: only_node,
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

/// The one node of the job whose id begins so.
fn node_of(job: &JobHandle, wanted: &str) -> Result<NodeId, ErrorBody> {
    let leases = job.view().leases;
    let nodes: BTreeSet<NodeId> = leases.iter().map(|lease| lease.node).collect();
    let begins = |node: &&NodeId| !wanted.is_empty() && node.to_string().starts_with(wanted);
    let mut found = nodes.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(*node),
        (first, _) => {
            let known: Vec<String> = nodes.iter().map(NodeId::short).collect();
            let why = if first.is_some() {
                "several nodes begin so"
            } else {
                "no node begins so"
            };
            let text = format!("finding node {wanted:?} of the job: {why}");
            Err(ErrorBody::new(ErrorCode::NotFound, text).with_hint(format!("its nodes are {}", known.join(", "))))
        }
    }
}

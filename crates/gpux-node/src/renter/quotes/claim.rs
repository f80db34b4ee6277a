//! What this renter holds of a node with a quote, or may hold: the node is told that it is not wanted, unless somebody keeps it.
//!
//! Made when a node is asked. It is dropped wherever a price comes to nothing: another node was better, the job failed before its
//! deposit, the command went away. Without the word a quote ends by itself, only later.

use crate::node::Node;
use gpux_proto::Request;
use gpux_types::{B256, NodeId};
use std::{fmt, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// How long one try to tell the node may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried. A quote is over soon anyhow.
const TRIES: u32 = 2;

/// Part of a node that is held for this renter's wallet.
pub(in crate::renter) struct Claim {
    node: Arc<Node>,
    peer: NodeId,
    /// The digest of the request.
    asked: B256,
    armed: bool,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Claim {
    /// For the request of that digest, which `peer` is about to get.
    pub(in crate::renter) const fn new(node: Arc<Node>, peer: NodeId, asked: B256) -> Self {
        Self {
            node,
            peer,
            asked,
            armed: true,
        }
    }

    /// The node holds nothing, or holds it for a deposit that may be on its way.
    pub(in crate::renter) fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.armed || self.node.cancel.is_cancelled() || Handle::try_current().is_err() {
            return;
        }
        let (node, peer, asked) = (self.node.clone(), self.peer, self.asked);
        self.node.tasks.spawn(async move {
            for _ in 0..TRIES {
                let call = Request::Release(asked);
                let told = tokio::time::timeout(PATIENCE, node.net.call(peer, &call));
                let told = tokio::select! {
                    () = node.cancel.cancelled() => return,
                    told = told => told,
                };
                match told {
                    Ok(Ok(_)) => return,
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %peer.short(), error = %crate::error_chain(&error), "letting a quote go");
                    }
                    Err(_) => tracing::debug!(peer = %peer.short(), "letting a quote go: no answer"),
                }
            }
        });
    }
}

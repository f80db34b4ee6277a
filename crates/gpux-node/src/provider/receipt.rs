//! Asks the renter for a receipt and checks what comes. The lease's machine says when and how much.
//!
//! A provider may see the deposit before the renter does, who then answers the first ask once it sees it too.

use crate::node::Node;
use gpux_lease::{Receipt, Terms, VerifiedReceipt};
use gpux_proto::{MeterReport, Request, Response};
use gpux_types::NodeId;

/// The receipt that the renter signs now, if it does.
pub(super) async fn ask(node: &Node, renter: NodeId, report: MeterReport, terms: &Terms) -> Option<VerifiedReceipt> {
    let lease = report.lease;
    match node.net.call(renter, &Request::Meter(report)).await {
        Ok(Response::Receipt { cumulative, signature }) => {
            let receipt = Receipt {
                lease,
                cumulative,
                signature,
            };
            let receipt = receipt.verify(terms, &node.chain.escrow());
            receipt
                .inspect_err(|error| tracing::warn!(lease = %lease.short(), error = %crate::error_chain(error), "a receipt was refused"))
                .ok()
        }
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "asking for a receipt");
            None
        }
    }
}

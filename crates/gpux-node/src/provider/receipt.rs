//! Asks the renter for a receipt and checks what comes. The lease's machine says when and how much.

use crate::node::Node;
use gpux_lease::{Receipt, Terms, VerifiedReceipt};
use gpux_proto::{ErrorCode, MeterReport, Request, Response};
use gpux_types::NodeId;
use std::time::Duration;

/// A provider may see the deposit a moment before the renter does, who signs nothing until then: so the first receipt is
/// asked for this often before the next round of the meter.
const FIRST_TRIES: u32 = 20;
/// How long to wait in between.
const FIRST_PACE: Duration = Duration::from_millis(25);

/// The receipt that the renter signs now, if it does; with `first`, asked for more than once.
pub(super) async fn ask(
    node: &Node,
    renter: NodeId,
    report: MeterReport,
    terms: &Terms,
    first: bool,
) -> Option<VerifiedReceipt> {
    let lease = report.lease;
    let tries = if first { FIRST_TRIES } else { 1 };
    for left in (0..tries).rev() {
        match node.net.call(renter, &Request::Meter(report.clone())).await {
            Ok(Response::Receipt { cumulative, signature }) => {
                let receipt = Receipt {
                    lease,
                    cumulative,
                    signature,
                }
                .verify(terms, &node.chain.escrow());
                return receipt
                    .inspect_err(|error| tracing::warn!(lease = %lease.short(), error = %crate::error_chain(error), "a receipt was refused"))
                    .ok();
            }
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "asking for a receipt");
                let not_yet = error
                    .refusal()
                    .is_some_and(|refusal| refusal.code == ErrorCode::NotCovered);
                if !not_yet || left == 0 {
                    return None;
                }
            }
        }
        tokio::time::sleep(FIRST_PACE).await;
    }
    None
}

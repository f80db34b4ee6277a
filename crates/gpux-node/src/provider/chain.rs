//! What the provider's signer says and sends of a lease: draws, the closing amount, the settlement.
//!
//! Called by the lease's task with what its machine decided and journaled; nothing is decided here.

use super::lease::{LeaseInput, LeaseTask};
use crate::{
    fees::{self, Burden},
    node::Node,
};
use gpux_chain::{Call, Intent, IntentKey};
use gpux_lease::{ProviderState, VerifiedReceipt, closing_digest};
use gpux_proto::{ClosingOffer, Request};
use gpux_types::Amount;
use std::time::Duration;

/// How long to wait before the renter is told the closing amount again.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// A draw with two payments.
const DRAW: Burden = Burden {
    gas: 90_000,
    bytes: 640,
};
/// A draw is never below one whole token: small change waits for the settlement.
pub(super) const LEAST_DRAW: &str = "1";

impl LeaseTask {
    /// Signs what was decided and gives it to the renter, until it has it or the wait is over. The same amount is the same
    /// signature.
    pub(super) fn tell_closing(&mut self) {
        let ProviderState::Offering { amount, end, .. } = self.record.machine.state() else {
            return;
        };
        let (node, lease) = (self.node.clone(), self.record.lease);
        let digest = closing_digest(&node.chain.escrow(), lease, amount);
        let offer = ClosingOffer {
            lease,
            amount,
            signature: self.provider.signer.sign_digest(digest),
            metered: self.record.machine.metered(),
            end,
        };
        let renter = self.record.request.request.renter_node;
        self.effects.spawn(async move {
            match node.net.call(renter, &Request::Closing(offer)).await {
                Ok(_) => {
                    tracing::info!(lease = %lease.short(), %amount, "closing amount given");
                    LeaseInput::Done
                }
                Err(error) => {
                    tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "giving the closing amount");
                    tokio::time::sleep(TELL_AGAIN).await;
                    LeaseInput::ClosingUntold
                }
            }
        });
    }

    pub(super) fn draw(&mut self, number: u32, amount: Amount, receipt: VerifiedReceipt) {
        let call = Call::Draw {
            terms: self.record.terms.clone(),
            amount,
            cumulative: receipt.cumulative(),
            signature: receipt.receipt().signature,
        };
        self.send(
            "draw",
            amount,
            Intent {
                key: IntentKey::draw(self.record.lease, number),
                call,
            },
        );
    }

    pub(super) fn settle(&mut self, amount: Amount, receipt: Option<VerifiedReceipt>) {
        let (cumulative, signature) = match &receipt {
            Some(receipt) => (receipt.cumulative(), Some(receipt.receipt().signature)),
            None => (Amount::ZERO, None),
        };
        let call = Call::Settle {
            terms: self.record.terms.clone(),
            amount,
            cumulative,
            signature,
        };
        self.send(
            "settlement",
            amount,
            Intent {
                key: IntentKey::settle(self.record.lease),
                call,
            },
        );
    }

    fn send(&mut self, what: &'static str, amount: Amount, intent: Intent) {
        let (node, lease) = (self.node.clone(), self.record.lease);
        self.effects.spawn(async move {
            match node.provider_sender.send(intent).await {
                Ok(sent) => {
                    tracing::info!(lease = %lease.short(), what, %amount, transaction = %sent.hash, "sent")
                }
                Err(error) => {
                    tracing::warn!(lease = %lease.short(), what, error = %crate::error_chain(&error), "sending")
                }
            }
            LeaseInput::Done
        });
    }
}

/// From how much unclaimed money on a lease of this node is drawn; `None` while no block was seen.
pub(super) fn draw_from(node: &Node) -> Option<Amount> {
    let fee = fees::fee_of(node, DRAW)?;
    let least = node.chain.token().token.parse(LEAST_DRAW).unwrap_or(Amount::ZERO);
    Some(gpux_lease::draw_from(fee, node.assurance.exposure.max(least)))
}

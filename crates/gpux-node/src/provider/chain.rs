//! What the provider's signer says and sends of a lease: draws, the closing amount, the settlement.
//!
//! Called by the lease's task with what its machine decided and journaled; nothing is decided here.

use super::lease::{LeaseInput, LeaseTask};
use crate::node::Node;
use gpux_chain::{Call, Intent, IntentKey};
use gpux_lease::{ProviderState, VerifiedReceipt, closing_digest};
use gpux_proto::{ClosingOffer, Request};
use gpux_types::Amount;
use std::time::Duration;

/// How long to wait before the renter is told the closing amount again.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// Gas of a draw with two payments, and the bytes of its transaction.
const DRAW_GAS: u128 = 90_000;
const DRAW_BYTES: usize = 640;
/// A draw is never below one whole token: small change waits for the settlement.
const LEAST_DRAW: &str = "1";
const WEI_PER_COIN: u128 = 1_000_000_000_000_000_000;

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
    let provider = node.provider.as_ref()?;
    let head = (*node.watcher.head().borrow())?;
    // Twice the base fee: it may rise before the draw. L1 data is as incompressible as a transaction gets.
    let noise: Vec<u8> = (0..DRAW_BYTES / 32)
        .flat_map(|index| *blake3::hash(&index.to_be_bytes()).as_bytes())
        .collect();
    let l1 = node.chain.l1_scalars().estimate(&noise).wei;
    let wei = head
        .base_fee
        .saturating_mul(2)
        .saturating_mul(DRAW_GAS)
        .saturating_add(l1);
    let fee = in_token(wei, provider.selling.coin_price);
    let least = node.chain.token().token.parse(LEAST_DRAW).unwrap_or(Amount::ZERO);
    Some(gpux_lease::draw_from(fee, node.assurance.exposure.max(least)))
}

/// What so many wei are worth, rounded up; more than an amount can be is the most that it can.
fn in_token(wei: u128, coin_price: Amount) -> Amount {
    let (coins, rest) = (wei / WEI_PER_COIN, wei % WEI_PER_COIN);
    let whole = coins.checked_mul(coin_price.units());
    // 60 bits of wei and 96 of price do not fit together: the rest is weighed in millionths of a coin.
    let micros = rest.div_ceil(WEI_PER_COIN / 1_000_000);
    let part = micros.saturating_mul(coin_price.units() / 1_000_000 + 1);
    let units = whole.and_then(|whole| whole.checked_add(part));
    units.and_then(|units| Amount::new(units).ok()).unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_weighed_in_the_token_and_never_below_what_they_are() {
        let price = Amount::new(4_000_000_000).unwrap();
        assert_eq!(in_token(WEI_PER_COIN, price), price);
        let tenth = in_token(WEI_PER_COIN / 10, price).units();
        assert!((400_000_000..=400_200_000).contains(&tenth), "{tenth}");
        assert!(in_token(1, price) > Amount::ZERO);
        assert_eq!(in_token(u128::MAX, Amount::MAX), Amount::MAX);
    }
}

//! What a provider leaves with a watch-tower, when, and what the tower does with it (decision 11).
//!
//! A handover is a draw that the provider's signer allows from a block time on, with the receipt that the draw needs. It can only
//! pay the provider: `contracts/src/Collector.sol`. Provider's and tower's daemons ask these total functions and hold the state.

#[cfg(test)]
mod tests;

use crate::{
    lifecycle::EscrowView,
    provider::ProviderLease,
    receipt::{Receipt, VerifiedReceipt},
    settlement::Settlement,
    terms::{EscrowRef, Terms, VerifySignatureError, uint96, verify_signer},
};
use alloy_primitives::{Address, B256, Signature, Uint};
use alloy_sol_types::{SolStruct, eip712_domain};
use gpux_types::{Amount, LeaseId, Millis, UnixSeconds};
use serde::{Deserialize, Serialize};

/// How often a provider leaves a newer handover of one lease with one tower.
pub const HANDOVER_EVERY: Millis = Millis::from_secs(60);
/// How often a tower takes one: half of that, so that none is refused because the one before it was late.
const TAKEN_EVERY: Millis = Millis::from_secs(30);
/// The contract pays whoever collects at most one part in so many of what comes in.
const REWARD_DIVISOR: u128 = 100;
/// How many times today's fee a provider offers at most: fees may rise until the day on which it is needed.
const REWARD_FEES: u128 = 100;
/// How long after the end of the grace a tower keeps what nobody has closed: a renter may be slow to reclaim.
const KEPT_SECS: u64 = 30 * 24 * 3_600;

mod sol_types {
    alloy_sol_types::sol! {
        struct Handover {
            bytes32 leaseId;
            uint96 amount;
            uint40 notBefore;
            uint96 reward;
        }
    }
}

/// Leave to draw on a lease in its provider's place, as it travels and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The lease's terms; their provider is the collector.
    pub terms: Terms,
    /// Where the collector pays: with escrow and signer it makes the collector's address.
    pub payout: Address,
    /// What may be claimed over the lease's life.
    pub amount: Amount,
    /// What the receipt says is owed.
    pub cumulative: Amount,
    /// By the receipt key of the terms.
    pub receipt: Signature,
    /// Block time before which it cannot be used.
    pub not_before: UnixSeconds,
    /// The most that whoever uses it gets.
    pub reward: Amount,
    /// By the provider signer of the terms, over [`Handover::digest`].
    pub signature: Signature,
}

/// A handover that is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyHandoverError {
    /// Another contract, or nobody's, is paid.
    #[error(
        "checking a handover: the terms pay {provider}, and the collector of its signer and payout address is {collector}"
    )]
    OtherCollector {
        /// Who is paid.
        provider: Address,
        /// Whom the words make.
        collector: Address,
    },
    /// It claims nothing, or more than the receipt owes.
    #[error("checking a handover: it claims {amount} of a receipt over {cumulative}")]
    Amount {
        /// What it claims.
        amount: Amount,
        /// What the receipt owes.
        cumulative: Amount,
    },
    /// The receipt's signature proves nothing.
    #[error("checking the receipt of a handover")]
    Receipt(#[source] VerifySignatureError),
    /// The signer's signature proves nothing.
    #[error("checking the signature of a handover")]
    Signature(#[source] VerifySignatureError),
}

impl Handover {
    /// What the provider's signer signs: EIP-712, in the collector's own domain.
    #[must_use]
    pub fn digest(&self, escrow: &EscrowRef) -> B256 {
        let words = sol_types::Handover {
            leaseId: self.lease(escrow).into(),
            amount: uint96(self.amount),
            notBefore: Uint::saturating_from(self.not_before.0),
            reward: uint96(self.reward),
        };
        words.eip712_signing_hash(&eip712_domain! {
            name: "GPUX collector",
            version: "1",
            chain_id: escrow.chain_id,
            verifying_contract: self.terms.provider,
        })
    }

    /// The lease that it draws on.
    #[must_use]
    pub fn lease(&self, escrow: &EscrowRef) -> LeaseId {
        self.terms.lease_id(escrow)
    }

    /// The lease, once both signatures are known to be good at `collector`, the one of these terms' signer and this payout address.
    ///
    /// # Errors
    /// When the escrow or the collector would refuse it whatever the time.
    pub fn verify(&self, escrow: &EscrowRef, collector: Address) -> Result<LeaseId, VerifyHandoverError> {
        if self.terms.provider != collector {
            let provider = self.terms.provider;
            return Err(VerifyHandoverError::OtherCollector { provider, collector });
        }
        let (amount, cumulative, lease) = (self.amount, self.cumulative, self.lease(escrow));
        if amount == Amount::ZERO || amount > cumulative {
            return Err(VerifyHandoverError::Amount { amount, cumulative });
        }
        let receipt = Receipt {
            lease,
            cumulative,
            signature: self.receipt,
        };
        verify_signer(receipt.digest(escrow), &self.receipt, self.terms.receipt_key)
            .map_err(VerifyHandoverError::Receipt)?;
        verify_signer(self.digest(escrow), &self.signature, self.terms.provider_signer)
            .map_err(VerifyHandoverError::Signature)?;
        Ok(lease)
    }
}

/// The first block time at which a handover may be used: a provider that lives has settled long before, and half of the grace
/// is left for whoever does it instead.
#[must_use]
pub fn not_before(expiry: UnixSeconds, grace_secs: u32) -> UnixSeconds {
    expiry.plus_secs(u64::from(grace_secs / 2))
}

/// The reward that is offered for drawing `amount`, where a transaction costs `fee`.
#[must_use]
pub fn reward(amount: Amount, fee: Amount) -> Amount {
    let enough = fee.units().saturating_mul(REWARD_FEES);
    hundredth(amount).min(Amount::new(enough).unwrap_or(Amount::MAX))
}

/// Whether a hundredth of `amount` pays for a transaction that costs `fee`: before it does, nobody would collect it.
#[must_use]
pub fn is_worth_collecting(amount: Amount, fee: Amount) -> bool {
    hundredth(amount) > fee
}

fn hundredth(amount: Amount) -> Amount {
    Amount::new(amount.units() / REWARD_DIVISOR).unwrap_or(amount)
}

// ------------------------------------------------------------------ provider

/// What a provider may claim now, for others to claim it if it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimable {
    /// Metered, signed for and deposited.
    pub amount: Amount,
    /// The receipt that says so.
    pub receipt: VerifiedReceipt,
    /// The lease's expiry, as far as it is known.
    pub expiry: UnixSeconds,
}

impl ProviderLease {
    /// What it would settle for if its work ended in this moment; nothing without a deposit, a receipt and work.
    #[must_use]
    pub fn claimable(&self) -> Option<Claimable> {
        let EscrowView::Open { deposit, expiry, .. } = self.escrow() else {
            return None;
        };
        let receipt = *self.receipt()?;
        let due = self.config().tariff.due(self.metered());
        let amount = due.min(receipt.cumulative()).min(deposit);
        (amount > Amount::ZERO).then_some(Claimable {
            amount,
            receipt,
            expiry,
        })
    }
}

/// How one lease stands with one tower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandoverPace {
    tried: Option<Millis>,
    taken: Amount,
}

impl HandoverPace {
    /// Whether `amount` is to be handed over now: when it is more than the tower has, and the last try was a while ago.
    #[must_use]
    pub fn is_due(&self, now: Millis, amount: Amount) -> bool {
        let rested = |tried: Millis| now >= tried.saturating_add(HANDOVER_EVERY);
        amount > self.taken && self.tried.is_none_or(rested)
    }

    /// It is being handed over.
    pub const fn tried(&mut self, now: Millis) {
        self.tried = Some(now);
    }

    /// The tower has it.
    pub fn taken(&mut self, amount: Amount) {
        self.taken = self.taken.max(amount);
    }
}

// --------------------------------------------------------------------- tower

/// How much a tower watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLimits {
    /// Leases in all.
    pub leases: usize,
    /// Leases that one node handed over.
    pub of_one: usize,
}

/// What a tower has already when something is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watching {
    /// The amount that it has of this lease, and when it took it.
    pub held: Option<(Amount, Millis)>,
    /// Leases in all.
    pub leases: usize,
    /// Leases of the node that hands this one over.
    pub of_one: usize,
}

/// What a tower does with a handover that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is kept.
    Keep,
    /// It is here already.
    Known,
}

/// Why a tower does not keep a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchRefusal {
    /// It watches as much as it is willing to.
    #[error("this tower watches {0} leases and takes no more")]
    Full(usize),
    /// The node has its share.
    #[error("this tower watches {0} leases of one node and takes no more")]
    FullForOne(usize),
    /// It has more.
    #[error("this tower has a handover over {0} units")]
    Lower(Amount),
    /// It took one of the same lease just now.
    #[error("this tower has a handover of this lease that is less than half a minute old")]
    TooSoon,
    /// Nobody would collect it: there is no place for what is worth nothing.
    #[error("what it brings, at most a hundredth of what comes in, is not above the fee of {0} units")]
    NotWorth(Amount),
    /// The escrow holds nothing for it.
    #[error("the lease is not open in the newest block")]
    NotOpen,
    /// Nobody could draw. Who is paid by it deploys it: a tower that did would pay for whatever strangers ask of it.
    #[error("the collector is not deployed in the newest block: its provider deploys it")]
    NoCollector,
    /// It would have to be kept for longer than the lease lasts.
    #[error("it may be used only after the lease's grace")]
    TooLate,
}

/// Whether a tower keeps a handover over `amount`.
///
/// # Errors
/// When it does not.
pub fn admit(amount: Amount, now: Millis, watching: Watching, limits: WatchLimits) -> Result<Admission, WatchRefusal> {
    match watching.held {
        Some((held, _)) if amount == held => Ok(Admission::Known),
        Some((held, _)) if amount < held => Err(WatchRefusal::Lower(held)),
        Some((_, taken)) if now < taken.saturating_add(TAKEN_EVERY) => Err(WatchRefusal::TooSoon),
        Some(_) => Ok(Admission::Keep),
        None if watching.leases >= limits.leases => Err(WatchRefusal::Full(limits.leases)),
        None if watching.of_one >= limits.of_one => Err(WatchRefusal::FullForOne(limits.of_one)),
        None => Ok(Admission::Keep),
    }
}

/// What the chain holds of a lease that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedSlot {
    /// Paid in.
    pub deposit: Amount,
    /// Paid out.
    pub claimed: Amount,
    /// Its expiry.
    pub expiry: UnixSeconds,
    /// Whether it is open in the newest block.
    pub open: bool,
    /// What a final block says, where [`may_be_over`] asks for it.
    pub in_final: Option<FinalSlot>,
    /// Whether the collector is deployed: what is sent to one that is not does nothing, and costs its fee.
    pub collector: bool,
}

/// What a final block holds of a lease that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalSlot {
    /// Whether it is closed there.
    pub closed: bool,
    /// Paid out there.
    pub claimed: Amount,
}

/// Whether the escrow bears out what is handed over, and collecting it would be worth `fee`.
///
/// # Errors
/// When there is nothing to watch.
pub fn check_slot(handover: &Handover, slot: &WatchedSlot, fee: Amount) -> Result<(), WatchRefusal> {
    let end = slot.expiry.plus_secs(handover.terms.grace_secs.into());
    if !slot.open {
        Err(WatchRefusal::NotOpen)
    } else if !slot.collector {
        Err(WatchRefusal::NoCollector)
    } else if handover.not_before > end {
        Err(WatchRefusal::TooLate)
    } else if brings(handover, slot.deposit, slot.claimed) <= fee {
        Err(WatchRefusal::NotWorth(fee))
    } else {
        Ok(())
    }
}

/// What a tower does about a lease that it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TowerStep {
    /// Nothing now.
    Wait,
    /// Draws.
    Collect,
    /// Forgets it.
    Drop,
}

/// Whether a final block could say that it is over, where it must bring more than `least` to keep its place: the fee now, or the one
/// at which it was taken where that was lower.
#[must_use]
pub fn may_be_over(handover: &Handover, slot: &WatchedSlot, least: Amount) -> bool {
    !slot.open || brings(handover, slot.deposit, slot.claimed) <= least
}

/// What to do at block time `time`, where collecting costs `fee`; `least` as for [`may_be_over`].
#[must_use]
pub fn tower_step(handover: &Handover, slot: &WatchedSlot, time: UnixSeconds, fee: Amount, least: Amount) -> TowerStep {
    let grace_end = slot.expiry.plus_secs(handover.terms.grace_secs.into());
    // Where a reorganisation took the lease away there is no expiry.
    let end = grace_end.max(handover.not_before).plus_secs(KEPT_SECS);
    // What was drawn since does not come back. Should more be paid in, a higher handover is taken anew.
    let drawn = |last: FinalSlot| slot.open && brings(handover, slot.deposit, last.claimed) <= least;
    let over = |last: FinalSlot| last.closed || drawn(last);
    if time > end || slot.in_final.is_some_and(over) {
        return TowerStep::Drop;
    }
    if slot.open && slot.collector && time >= handover.not_before && brings(handover, slot.deposit, slot.claimed) > fee
    {
        TowerStep::Collect
    } else {
        TowerStep::Wait
    }
}

/// What whoever uses it gets: as the collector reckons.
fn brings(handover: &Handover, deposit: Amount, claimed: Amount) -> Amount {
    let share = handover.terms.builder_share;
    let comes_in = Settlement::of(deposit, claimed, handover.amount, share).to_provider;
    hundredth(comes_in).min(handover.reward)
}

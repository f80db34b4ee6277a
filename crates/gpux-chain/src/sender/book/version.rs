//! One signed transaction: how it is made, offered a higher fee, moved to another nonce, and read back.

use super::{Effect, Place, Prepared};
use crate::{
    call::{EncodeCallError, IntentKey, RawCall},
    client::Chain,
    journal::{EntryState, JournalEntry, PermitUse, Pull},
    keys::DigestSigner,
    sender::prepare::{TRANSFER_GAS, sign_permit},
};
use alloy::{
    consensus::{SignableTransaction, Signed, TxEip1559, transaction::RlpEcdsaDecodableTx},
    primitives::{TxKind, U256},
};

/// Chain nodes replace a waiting transaction only for a tenth more; an eighth more is safely above that.
const BUMP_DIVISOR: u128 = 8;
/// Wei per gas that OP chains usually take for the sequencer: the tip when the chain node suggests none, and the least
/// that a bump offers.
pub(in crate::sender) const USUAL_TIP: u128 = 1_000_000;
/// The tip never passes this part of the fee limit: it is paid in full, where of the rest only the base fee is.
const TIP_PART: u128 = 10;
/// Bumps raise the tip to at most so many times what was first offered.
const MOST_TIP_RISE: u128 = 8;
/// The first tip is at most this part of the fee limit, whatever the chain node suggests: bumps have room above it.
const FIRST_TIP_PART: u128 = TIP_PART * MOST_TIP_RISE;

/// What is offered for gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sender) struct Fees {
    pub(in crate::sender) max: u128,
    pub(in crate::sender) tip: u128,
}

impl Fees {
    /// Enough for the base fee to double before the transaction is in a block, within `limit`.
    ///
    /// # Errors
    /// The price of gas now, when it is above `limit`.
    pub(in crate::sender) fn offer(base_fee: u128, suggested_tip: u128, limit: u128) -> Result<Self, u128> {
        let tip = suggested_tip.min(limit / FIRST_TIP_PART);
        let now = base_fee.saturating_add(tip);
        if now > limit {
            return Err(now);
        }
        Ok(Self {
            max: base_fee.saturating_mul(2).saturating_add(tip).min(limit),
            tip,
        })
    }

    /// The least that replaces a transaction with these fees, or what a new one would offer if that is more; `None`
    /// when it would be above `limit`, or its tip too far above the one that was offered first.
    pub(super) fn bumped(self, first_tip: u128, base_fee: u128, limit: u128) -> Option<Self> {
        let more = |wei: u128| wei.saturating_add(wei / BUMP_DIVISOR).saturating_add(1);
        let most_tip = Self::most_tip(first_tip, limit);
        let tip = more(self.tip).max(USUAL_TIP.min(most_tip));
        let max = more(self.max).max(base_fee.saturating_mul(2).saturating_add(tip).min(limit));
        (max <= limit && tip <= most_tip).then_some(Self { max, tip })
    }

    /// The highest tip that bumps come to.
    pub(super) fn most_tip(first_tip: u128, limit: u128) -> u128 {
        first_tip
            .max(USUAL_TIP)
            .saturating_mul(MOST_TIP_RISE)
            .min(limit / TIP_PART)
    }
}

/// One signed transaction with its place in the journal.
pub(super) struct Version {
    pub(super) entry: JournalEntry,
    tx: TxEip1559,
}

impl Version {
    /// Signs a prepared call.
    ///
    /// # Errors
    /// When the call has no form that the contract takes.
    pub(super) fn sign(
        chain: &Chain,
        signer: &dyn DigestSigner,
        prepared: &Prepared,
        place: Place,
        (fees, permit): (Fees, Option<PermitUse>),
    ) -> Result<Self, EncodeCallError> {
        let config = chain.config();
        let call = &prepared.intent.call;
        let deadline = prepared.permit_deadline;
        let signed_permit = permit.and_then(|permit| sign_permit(chain, signer, call, (permit.nonce, deadline)));
        let raw = call.encode(config.escrow, config.node_directory, signed_permit)?;
        let tx = TxEip1559 {
            chain_id: config.chain_id,
            nonce: place.nonce,
            gas_limit: prepared.gas_limit,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(raw.to),
            value: raw.value,
            access_list: Default::default(),
            input: raw.input,
        };
        let pull = call.pull().map(|(token, amount, _)| Pull { token, amount });
        Ok(Self::of(tx, signer, (prepared.intent.key.clone(), permit, pull)))
    }

    fn of(
        tx: TxEip1559,
        signer: &dyn DigestSigner,
        (key, permit, pull): (IntentKey, Option<PermitUse>, Option<Pull>),
    ) -> Self {
        let signature = signer.sign_digest(tx.signature_hash());
        let signed = tx.clone().into_signed(signature);
        let mut raw = Vec::new();
        signed.eip2718_encode(&mut raw);
        let entry = JournalEntry {
            version: JournalEntry::VERSION,
            key,
            chain_id: tx.chain_id,
            wallet: signer.address(),
            nonce: tx.nonce,
            hash: *signed.hash(),
            raw: raw.into(),
            permit,
            pull,
            state: EntryState::Signed,
        };
        Self { entry, tx }
    }

    /// The transaction in a journal entry; `None` when there is none in it.
    pub(super) fn decode(entry: JournalEntry) -> Option<Self> {
        let signed: Signed<TxEip1559> = TxEip1559::eip2718_decode(&mut entry.raw.as_ref()).ok()?;
        let (tx, _, hash) = signed.into_parts();
        (hash == entry.hash && tx.nonce == entry.nonce && tx.chain_id == entry.chain_id).then_some(Self { entry, tx })
    }

    /// A transaction that does nothing but use up a nonce that others wait for.
    pub(super) fn filler(chain_id: u64, signer: &dyn DigestSigner, nonce: u64, fees: Fees) -> Self {
        let tx = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: TRANSFER_GAS,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(signer.address()),
            value: U256::ZERO,
            access_list: Default::default(),
            input: Default::default(),
        };
        Self::of(tx, signer, (IntentKey::fill(nonce), None, None))
    }

    pub(super) fn nonce(&self) -> u64 {
        self.entry.nonce
    }

    pub(super) fn fees(&self) -> Fees {
        Fees {
            max: self.tx.max_fee_per_gas,
            tip: self.tx.max_priority_fee_per_gas,
        }
    }

    /// The same transaction for a higher fee. `first_tip` is what the first of its versions offered.
    pub(super) fn bumped(
        &self,
        signer: &dyn DigestSigner,
        first_tip: u128,
        base_fee: u128,
        limit: u128,
    ) -> Option<Self> {
        let fees = self.fees().bumped(first_tip, base_fee, limit)?;
        let tx = TxEip1559 {
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            ..self.tx.clone()
        };
        Some(self.signed_again(signer, tx))
    }

    /// The same call as of now: under another nonce, for when this one's went to another transaction for ever, or under the
    /// same one, for when its bytes are refused.
    pub(super) fn renumbered(&self, signer: &dyn DigestSigner, nonce: u64, gas_limit: u64, fees: Fees) -> Self {
        let tx = TxEip1559 {
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            ..self.tx.clone()
        };
        self.signed_again(signer, tx)
    }

    fn signed_again(&self, signer: &dyn DigestSigner, tx: TxEip1559) -> Self {
        Self::of(tx, signer, (self.entry.key.clone(), self.entry.permit, self.entry.pull))
    }

    /// What is called; `None` for the making of a contract, which is never signed here.
    pub(super) fn call(&self) -> Option<RawCall> {
        let TxKind::Call(to) = self.tx.to else { return None };
        Some(RawCall {
            to,
            value: self.tx.value,
            input: self.tx.input.clone(),
        })
    }

    /// True when the other one may get in where this one did not: it has an eighth more gas, or costs an eighth less.
    pub(super) fn differs_in_cost(&self, other: &Self) -> bool {
        let (gas, others_gas) = (self.tx.gas_limit, other.tx.gas_limit);
        let (cost, others_cost) = (self.max_cost(), other.max_cost());
        others_gas > gas.saturating_add(gas / 8) || others_cost < cost - cost / 8
    }

    /// The most that its execution can take out of the wallet, in wei.
    pub(super) fn max_cost(&self) -> u128 {
        let fee = u128::from(self.tx.gas_limit).saturating_mul(self.tx.max_fee_per_gas);
        fee.saturating_add(crate::abi::wei(self.tx.value))
    }

    /// Hands it to the chain node, after journaling it if it is `new`.
    pub(super) fn publish(&self, key: &IntentKey, new: bool) -> Effect {
        let entry = new.then(|| Box::new(self.entry.clone()));
        Effect::Publish {
            key: key.clone(),
            hash: self.entry.hash,
            raw: self.entry.raw.clone(),
            entry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GWEI: u128 = 1_000_000_000;

    #[test]
    fn an_offer_leaves_room_for_the_base_fee_and_stays_within_the_limit() {
        let offered = |limit| Fees::offer(10_000, 5, limit);
        assert_eq!(offered(100_000), Ok(Fees { max: 20_005, tip: 5 }));
        assert_eq!(offered(15_000), Ok(Fees { max: 15_000, tip: 5 }));
        assert_eq!(offered(10_004), Err(10_005));
    }

    #[test]
    fn a_suggested_tip_is_not_believed_when_it_is_far_from_usual() {
        let fees = Fees::offer(GWEI / 1_000, 99 * GWEI, 2 * GWEI).unwrap();
        assert_eq!(fees.tip, GWEI / 40);
        assert_eq!(Fees::most_tip(fees.tip, 2 * GWEI), GWEI / 5);
        assert_eq!(Fees::offer(0, u128::MAX, 0), Ok(Fees { max: 0, tip: 0 }));
    }

    #[test]
    fn a_bump_is_more_than_a_tenth_and_stops_at_the_limit() {
        let old = Fees {
            max: 800_000_000,
            tip: 80_000_000,
        };
        let bumped = |base_fee, limit| old.bumped(old.tip, base_fee, limit);
        let new = bumped(GWEI / 10, 10 * GWEI).unwrap();
        assert!(new.max * 10 > old.max * 11 && new.tip * 10 > old.tip * 11);
        assert_eq!(bumped(5 * GWEI, 10 * GWEI).unwrap().max, 10 * GWEI);
        assert_eq!(bumped(GWEI / 10, 850_000_000), None);
    }

    #[test]
    fn bumps_end_after_a_few_and_the_tip_never_passes_eight_times_the_first() {
        for first_tip in [0, 1, USUAL_TIP, 50 * USUAL_TIP, GWEI] {
            let mut fees = Fees::offer(USUAL_TIP, first_tip, 100 * GWEI).unwrap();
            let (first_tip, mut bumps) = (fees.tip, 0);
            while let Some(next) = fees.bumped(first_tip, USUAL_TIP, 100 * GWEI) {
                fees = next;
                bumps += 1;
            }
            assert!(fees.tip <= 8 * first_tip.max(USUAL_TIP), "{fees:?}");
            assert!((1..=20).contains(&bumps), "{bumps}");
        }
    }
}

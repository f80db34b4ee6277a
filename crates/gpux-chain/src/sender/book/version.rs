//! One signed transaction: how it is made, offered a higher fee, moved to another nonce, and read back.

use super::{Effect, Prepared};
use crate::{
    call::IntentKey,
    client::Chain,
    journal::{EntryState, JournalEntry, PermitUse, Pull},
    keys::DigestSigner,
    sender::prepare::sign_permit,
};
use alloy::{
    consensus::{SignableTransaction, Signed, TxEip1559, transaction::RlpEcdsaDecodableTx},
    primitives::TxKind,
};

/// Chain nodes replace a waiting transaction only for a tenth more; an eighth more is safely above that.
const BUMP_DIVISOR: u128 = 8;

/// What is offered for gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fees {
    pub(super) max: u128,
    pub(super) tip: u128,
}

impl Fees {
    /// Enough for the base fee to double before the transaction is in a block, within `limit`.
    ///
    /// # Errors
    /// The price of gas now, when it is above `limit`.
    pub(super) fn offer(base_fee: u128, tip: u128, limit: u128) -> Result<Self, u128> {
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
    /// when it would be above `limit`.
    pub(super) fn bumped(self, base_fee: u128, limit: u128) -> Option<Self> {
        let more = |wei: u128| wei.saturating_add(wei / BUMP_DIVISOR).saturating_add(1);
        let tip = more(self.tip);
        let max = more(self.max).max(base_fee.saturating_mul(2).saturating_add(tip).min(limit));
        (max <= limit).then_some(Self { max, tip })
    }
}

/// One signed transaction with its place in the journal.
pub(super) struct Version {
    pub(super) entry: JournalEntry,
    tx: TxEip1559,
}

impl Version {
    /// Signs a prepared call.
    pub(super) fn sign(
        chain: &Chain,
        signer: &dyn DigestSigner,
        prepared: &Prepared,
        nonce: u64,
        (fees, permit): (Fees, Option<PermitUse>),
    ) -> Self {
        let config = chain.config();
        let call = &prepared.intent.call;
        let deadline = prepared.permit_deadline;
        let signed_permit = permit.and_then(|permit| sign_permit(chain, signer, call, (permit.nonce, deadline)));
        let raw = call.encode(config.escrow, config.node_directory, signed_permit);
        let tx = TxEip1559 {
            chain_id: config.chain_id,
            nonce,
            gas_limit: prepared.gas_limit,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(raw.to),
            value: raw.value,
            access_list: Default::default(),
            input: raw.input,
        };
        let pull = call.pull().map(|(token, amount, _)| Pull { token, amount });
        Self::of(tx, signer, (prepared.intent.key.clone(), permit, pull))
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

    /// The same transaction for a higher fee.
    pub(super) fn bumped(&self, signer: &dyn DigestSigner, base_fee: u128, limit: u128) -> Option<Self> {
        let fees = Fees {
            max: self.tx.max_fee_per_gas,
            tip: self.tx.max_priority_fee_per_gas,
        };
        let fees = fees.bumped(base_fee, limit)?;
        let tx = TxEip1559 {
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            ..self.tx.clone()
        };
        Some(Self::of(
            tx,
            signer,
            (self.entry.key.clone(), self.entry.permit, self.entry.pull),
        ))
    }

    /// The same call under another nonce, for when this one's went to another transaction.
    pub(super) fn renumbered(&self, signer: &dyn DigestSigner, nonce: u64) -> Self {
        let tx = TxEip1559 {
            nonce,
            ..self.tx.clone()
        };
        Self::of(tx, signer, (self.entry.key.clone(), self.entry.permit, self.entry.pull))
    }

    /// The most that it can take out of the wallet, in wei.
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

    #[test]
    fn an_offer_leaves_room_for_the_base_fee_and_stays_within_the_limit() {
        assert_eq!(Fees::offer(100, 5, 1_000), Ok(Fees { max: 205, tip: 5 }));
        assert_eq!(Fees::offer(100, 5, 150), Ok(Fees { max: 150, tip: 5 }));
        assert_eq!(Fees::offer(100, 5, 104), Err(105));
    }

    #[test]
    fn a_bump_is_more_than_a_tenth_and_stops_at_the_limit() {
        let old = Fees { max: 800, tip: 80 };
        let new = old.bumped(100, 10_000).unwrap();
        assert!(new.max * 10 > old.max * 11 && new.tip * 10 > old.tip * 11);
        assert_eq!(old.bumped(5_000, 10_000).unwrap().max, 10_000);
        assert_eq!(old.bumped(100, 850), None);
    }
}

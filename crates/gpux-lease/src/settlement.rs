//! What the escrow pays out at a settlement, to the unit: for bills, and for what-if displays before it happens.
//!
//! Specification and vectors: `docs/spec/terms-and-receipts.md`. The escrow decides; this only says the same.

use gpux_types::{Amount, BasisPoints};
use serde::{Deserialize, Serialize};

/// Who gets what of a deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Settlement {
    /// All that was ever paid to the provider and the builder.
    pub claimed: Amount,
    /// What the provider gets now.
    pub to_provider: Amount,
    /// What the builder gets now.
    pub to_builder: Amount,
    /// What goes back to the renter.
    pub refund: Amount,
}

impl Settlement {
    /// What settling for `amount` pays out of `deposit`, of which `claimed` was paid before and the builder gets
    /// `share`, rounded down over the lease's life.
    #[must_use]
    pub fn of(deposit: Amount, claimed: Amount, amount: Amount, share: BasisPoints) -> Self {
        let total = amount.min(deposit).max(claimed);
        let to_builder = share.of(total).saturating_sub(share.of(claimed));
        Self {
            claimed: total,
            to_provider: total.saturating_sub(claimed).saturating_sub(to_builder),
            to_builder,
            refund: deposit.saturating_sub(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn amount(value: &Value) -> Amount {
        Amount::new(value.as_str().unwrap().parse().unwrap()).unwrap()
    }

    #[test]
    fn the_shared_vectors_hold() {
        let text = include_str!("../../../docs/spec/vectors/settlement.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 5);
        for vector in vectors {
            let share = BasisPoints::new(u16::try_from(vector["builderBps"].as_u64().unwrap()).unwrap()).unwrap();
            let (deposit, claimed) = (amount(&vector["deposit"]), amount(&vector["claimed"]));
            let after = Settlement::of(deposit, claimed, amount(&vector["amount"]), share);
            let wanted = &vector["after"];
            assert_eq!(after.claimed, amount(&wanted["claimed"]), "{}", vector["name"]);
            assert_eq!(after.to_provider, amount(&wanted["toProvider"]), "{}", vector["name"]);
            assert_eq!(after.to_builder, amount(&wanted["toBuilder"]), "{}", vector["name"]);
            assert_eq!(after.refund, amount(&wanted["refund"]), "{}", vector["name"]);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_made_or_lost(deposit in 0u128..1 << 96, claimed in 0u128..1 << 96, amount in 0u128..1 << 96, bps in 0u16..=1_000) {
            let claimed = claimed.min(deposit);
            let [deposit, claimed, amount] = [deposit, claimed, amount].map(|units| Amount::new(units).unwrap());
            let after = Settlement::of(deposit, claimed, amount, BasisPoints::new(bps).unwrap());
            let out = after.to_provider.units() + after.to_builder.units() + after.refund.units();
            prop_assert_eq!(out, deposit.units() - claimed.units());
            prop_assert!(after.claimed >= claimed && after.claimed <= deposit);
        }
    }
}

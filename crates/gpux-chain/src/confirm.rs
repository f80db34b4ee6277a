//! How deep a deposit must be before it counts, by how much money it is.
//!
//! Pure policy: the watcher and the sender report depths, their callers ask here which one an amount needs.

use gpux_types::Amount;
use serde::{Deserialize, Serialize};

/// How firmly a block stands. A deeper one is less likely to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// The newest block: the sequencer said so and may still change its mind.
    Latest,
    /// The block's data is on L1.
    Safe,
    /// L1 itself is final.
    Finalized,
}

impl Depth {
    /// The word that the JSON-RPC uses for it.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

/// From which amount on a deposit or top-up must be safe, and from which it must be final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmPolicy {
    /// From this amount on the block must be safe; absent: never asked for.
    pub safe_from: Option<Amount>,
    /// From this amount on the block must be final; absent: never asked for.
    pub finalized_from: Option<Amount>,
}

impl ConfirmPolicy {
    /// Any amount is good in the newest block: for the devnet, where nobody reorganises the chain.
    pub const NEWEST: Self = Self {
        safe_from: None,
        finalized_from: None,
    };

    /// The depth at which `amount` is good.
    #[must_use]
    pub fn depth_for(&self, amount: Amount) -> Depth {
        let reached = |threshold: Option<Amount>| threshold.is_some_and(|threshold| amount >= threshold);
        if reached(self.finalized_from) {
            Depth::Finalized
        } else if reached(self.safe_from) {
            Depth::Safe
        } else {
            Depth::Latest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(units: u128) -> Amount {
        Amount::new(units).unwrap()
    }

    #[test]
    fn more_money_never_needs_less_depth() {
        let policy = ConfirmPolicy {
            safe_from: Some(amount(100)),
            finalized_from: Some(amount(1_000)),
        };
        let depths = [0, 99, 100, 999, 1_000, 1_001].map(|units| policy.depth_for(amount(units)));
        use Depth::{Finalized, Latest, Safe};
        assert_eq!(depths, [Latest, Latest, Safe, Safe, Finalized, Finalized]);
        assert!(depths.is_sorted());
    }

    #[test]
    fn thresholds_in_the_wrong_order_take_the_deeper_one() {
        let policy = ConfirmPolicy {
            safe_from: Some(amount(1_000)),
            finalized_from: Some(amount(100)),
        };
        assert_eq!(policy.depth_for(amount(500)), Depth::Finalized);
    }

    #[test]
    fn without_thresholds_the_newest_block_is_good_for_everything() {
        assert_eq!(ConfirmPolicy::NEWEST.depth_for(Amount::MAX), Depth::Latest);
    }
}

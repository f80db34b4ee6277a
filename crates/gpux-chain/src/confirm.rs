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

    /// How much of a deposit is good, by what the slot holds at each depth: as much as would be good there by itself. So what was
    /// good stays good when more is added, which may need more depth.
    #[must_use]
    pub fn assured(&self, deposit_at: impl Fn(Depth) -> Amount) -> Amount {
        let below = |threshold: Option<Amount>| {
            threshold.map_or(Amount::MAX, |threshold| {
                threshold.saturating_sub(Amount::new(1).unwrap_or_default())
            })
        };
        let at_safe = below(self.finalized_from);
        let most = [
            (Depth::Latest, below(self.safe_from).min(at_safe)),
            (Depth::Safe, at_safe),
            (Depth::Finalized, Amount::MAX),
        ];
        let good = most.map(|(depth, most)| deposit_at(depth).min(most));
        good.into_iter().max().unwrap_or_default()
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
    fn what_was_good_stays_good_when_more_is_added() {
        let policy = ConfirmPolicy {
            safe_from: Some(amount(100)),
            finalized_from: Some(amount(1_000)),
        };
        let assured = |latest, safe, finalized| {
            let at = |depth| match depth {
                Depth::Latest => amount(latest),
                Depth::Safe => amount(safe),
                Depth::Finalized => amount(finalized),
            };
            policy.assured(at).units()
        };
        assert_eq!(
            [assured(99, 0, 0), assured(100, 0, 0), assured(100, 100, 0)],
            [99, 99, 100]
        );
        assert_eq!(
            [assured(990, 990, 0), assured(1_005, 990, 0)],
            [990, 990],
            "ten more are new"
        );
        assert_eq!([assured(1_005, 1_005, 0), assured(1_005, 1_005, 1_005)], [999, 1_005]);
        let careful = ConfirmPolicy {
            safe_from: Some(Amount::ZERO),
            ..policy
        };
        assert_eq!(
            careful.assured(|depth| amount(if depth == Depth::Latest { 50 } else { 0 })),
            Amount::ZERO
        );
        assert_eq!(ConfirmPolicy::NEWEST.assured(|_| Amount::MAX), Amount::MAX);
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

//! What a choice is judged by: its price, what the renter knows of the nodes, and how close together they are.
//!
//! Pure functions of the request, the offer and the renter's own memory. The lowest score wins. Preferences are
//! bounded: together they make the chosen set at most 1.113 times as dear as the cheapest one that would do, because
//! (1,000 + 50) x (1,000 + 2 x 30) thousandths of thousandths is 1.113.

use crate::place::{Closeness, Topology};
use gpux_types::{NodeId, PricePerHour};
use std::collections::BTreeMap;

/// How well a node kept its word so far, in thousandths, as the renter's own records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reliability(u16);

impl Reliability {
    /// Of a node that broke every promise; as a bound of a request, none at all.
    pub const NONE: Self = Self(0);
    /// Of a node that the renter never used. Below any node that kept its word, above any that often broke it.
    pub const UNKNOWN: Self = Self(500);
    /// Of a node that always kept its word.
    pub const PERFECT: Self = Self(1_000);

    /// A share of kept leases, in thousandths, cut to 1,000.
    #[must_use]
    pub const fn per_mille(kept: u16) -> Self {
        if kept > 1_000 { Self(1_000) } else { Self(kept) }
    }

    /// Of a node that kept its word in `kept` leases and broke it in `broken`: one of each is added, so that nothing
    /// known is [`Reliability::UNKNOWN`] and one good lease is no proof.
    #[must_use]
    pub fn from_record(kept: u32, broken: u32) -> Self {
        let all = u64::from(kept) + u64::from(broken) + 2;
        let share = (u64::from(kept) + 1) * 1_000 / all;
        Self::per_mille(u16::try_from(share).unwrap_or(u16::MAX))
    }

    /// Thousandths.
    #[must_use]
    pub const fn as_per_mille(self) -> u16 {
        self.0
    }

    /// What the node's price is raised by when it is compared: from 50 thousandths down to none.
    fn penalty(self) -> u128 {
        u128::from(1_000 - self.0) / 20
    }
}

/// What the renter knows of nodes from its own leases; every other node is [`Reliability::UNKNOWN`].
///
/// A plan looks at each known node, so it is for the nodes that this renter has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(BTreeMap<NodeId, Reliability>);

impl Known {
    /// What is known of a node.
    #[must_use]
    pub fn of(&self, node: &NodeId) -> Reliability {
        self.0.get(node).copied().unwrap_or(Reliability::UNKNOWN)
    }

    /// Every node that the renter has used.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.0.keys()
    }

    pub(crate) fn has(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }
}

impl FromIterator<(NodeId, Reliability)> for Known {
    fn from_iter<I: IntoIterator<Item = (NodeId, Reliability)>>(nodes: I) -> Self {
        Self(nodes.into_iter().collect())
    }
}

/// What one node counts in a choice: its price with the builder's share, in thousandths, raised by up to 50 thousandths
/// for what the renter has seen of it.
#[must_use]
pub fn node_score(gross: PricePerHour, reliability: Reliability) -> u128 {
    // A price is below 2^96 and the factor below 2^11.
    gross.0.units() * (1_000 + reliability.penalty())
}

/// What a set of nodes counts: the sum of its nodes' scores, in thousandths, raised by 30 thousandths for each step that
/// it is further apart than the renter wants.
#[must_use]
pub fn set_score(nodes: impl Iterator<Item = u128>, wanted: Topology, closeness: Closeness) -> u128 {
    let sum = nodes.fold(0_u128, u128::saturating_add);
    sum.saturating_mul(apart_factor(wanted, closeness))
}

/// Thousandths by which a set's sum is multiplied.
pub(crate) fn apart_factor(wanted: Topology, closeness: Closeness) -> u128 {
    let step = |closeness| match closeness {
        Closeness::Any => 0_u128,
        Closeness::Region => 1,
        Closeness::Site => 2,
    };
    1_000 + 30 * step(wanted.closeness).saturating_sub(step(closeness))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::Amount;

    #[test]
    fn all_preferences_together_weigh_less_than_the_goal() {
        let price = PricePerHour(Amount::new(1_000).unwrap());
        let wanted = Topology {
            closeness: Closeness::Site,
            required: false,
        };
        let score = |reliability, closeness| {
            let node = node_score(price, reliability);
            set_score(std::iter::once(node), wanted, closeness)
        };
        let best = score(Reliability::PERFECT, Closeness::Site);
        let worst = score(Reliability::NONE, Closeness::Any);
        assert_eq!((best, worst), (1_000_000_000, 1_113_000_000));
    }

    #[test]
    fn a_record_moves_from_the_unknown_towards_what_was_seen() {
        let of = |kept, broken| Reliability::from_record(kept, broken).as_per_mille();
        assert_eq!(Reliability::from_record(0, 0), Reliability::UNKNOWN);
        assert_eq!((of(1, 0), of(98, 0), of(0, 1), of(0, 98)), (666, 990, 333, 10));
        assert_eq!(of(u32::MAX, u32::MAX), 500);
    }
}

//! How nodes kept their word to this renter: a pure fold of the closing records of its leases, by node.
//!
//! Called by `records` with each lease that is over, once more for all of them when a daemon starts, and by `plan`. A lease in which the
//! node worked to its end counts for it, one that the node broke counts against it; what the renter, the way between them or the chain
//! made end counts neither way. Nothing is remembered for longer than [`REMEMBERED_SECS`]: a node that broke its word is tried again
//! then, as one that was never used. Invariant: a lease counts once, and what is kept of nodes is bounded.

use crate::records::Kept;
use gpux_lease::{Actor, End, EndReason, Side};
use gpux_market::{Known, Reliability};
use gpux_types::{LeaseId, Millis, NodeId, UnixSeconds};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// For how long a lease counts: 30 days.
const REMEMBERED_SECS: u64 = 30 * 86_400;
/// How many leases of one node count: the newest.
const MAX_OF_ONE: usize = 64;
/// How many nodes are kept: those used last. A plan looks at each.
const MAX_NODES: usize = 1_024;

/// Whether a node kept its word, and when that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    date: UnixSeconds,
    kept: bool,
}

/// What is known of one node.
type OfNode = BTreeMap<LeaseId, Seen>;

/// The fold. A cheap clone. A mutex rather than a task: every use is a short, synchronous look-up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Experience {
    nodes: Arc<Mutex<BTreeMap<NodeId, OfNode>>>,
}

impl Experience {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, OfNode>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all of these records tell.
    pub(crate) fn rebuild<'a>(&self, records: impl Iterator<Item = &'a Kept>) {
        self.lock().clear();
        for kept in records {
            self.take(kept);
        }
    }

    /// Takes in a lease that is over. Again: changes nothing.
    pub(crate) fn take(&self, kept: &Kept) {
        if kept.side == Side::Renter {
            let draft = kept.draft();
            self.note((kept.node, kept.lease), (draft.end, draft.metered), draft.date);
        }
    }

    fn note(&self, (node, lease): (NodeId, LeaseId), (end, metered): (End, Millis), date: UnixSeconds) {
        let Some(kept) = kept_its_word(end, metered) else {
            return;
        };
        let mut nodes = self.lock();
        let of_node = nodes.entry(node).or_default();
        of_node.insert(lease, Seen { date, kept });
        drop_oldest(of_node, MAX_OF_ONE, |seen| seen.date);
        drop_oldest(&mut nodes, MAX_NODES, |of_node| {
            let dates = of_node.values().map(|seen| seen.date);
            dates.max().unwrap_or(UnixSeconds(0))
        });
    }

    /// What counts at `now`.
    pub(crate) fn known(&self, now: UnixSeconds) -> Known {
        let nodes = self.lock();
        let recent = |seen: &&Seen| now.0.saturating_sub(seen.date.0) < REMEMBERED_SECS;
        let of_node = |of_node: &OfNode| {
            let (mut kept, mut broken) = (0u32, 0u32);
            for seen in of_node.values().filter(recent) {
                *(if seen.kept { &mut kept } else { &mut broken }) += 1;
            }
            (kept + broken > 0).then(|| Reliability::from_record(kept, broken))
        };
        let nodes = nodes
            .iter()
            .filter_map(|(node, leases)| Some((*node, of_node(leases)?)));
        nodes.collect()
    }
}

/// Makes room for no more than `most`.
fn drop_oldest<K: Ord + Copy, V>(map: &mut BTreeMap<K, V>, most: usize, date: impl Fn(&V) -> UnixSeconds) {
    if map.len() > most {
        let oldest = map.iter().min_by_key(|(_, value)| date(value)).map(|(key, _)| *key);
        oldest.and_then(|oldest| map.remove(&oldest));
    }
}

/// Whether the node kept its word in a lease that ended so, after so much work; nothing when that cannot be told.
const fn kept_its_word(end: End, metered: Millis) -> Option<bool> {
    use EndReason as R;
    match (end.reason, end.by) {
        // What the provider itself ended, or lost, while nobody else was at fault.
        (
            R::Stopped
            | R::PreparationFailed
            | R::PreparationTimedOut
            | R::WorkLost
            | R::ShimLost
            | R::NodeUnreachable
            | R::WrongResults,
            Actor::Provider,
        ) => Some(false),
        // It worked until there was no more work, time or money.
        (R::Completed | R::DepositUsed | R::Expired | R::JobLimit, _) | (R::Stopped, Actor::Renter)
            if metered.0 > 0 =>
        {
            Some(true)
        }
        // Nothing came of it, and that was not the node's doing, or nobody knows whose.
        (
            R::Completed
            | R::Stopped
            | R::DepositUsed
            | R::Expired
            | R::JobLimit
            | R::Unpaid
            | R::NeverFunded
            | R::NeverWent
            | R::WrongResults
            | R::DepositUnassured
            | R::PreparationFailed
            | R::PreparationTimedOut
            | R::WorkLost
            | R::ShimLost
            | R::NodeUnreachable
            | R::QuoteExpired
            | R::OpenFailed
            | R::ClosedOnChain,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const NODE: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    fn lease(number: u32) -> LeaseId {
        LeaseId(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    fn ended(experience: &Experience, node: NodeId, number: u32, end: (EndReason, Actor), day: u64) {
        let end = End::new(end.0, end.1);
        experience.note((node, lease(number)), (end, Millis(9)), UnixSeconds(day * DAY));
    }

    fn of(experience: &Experience, node: NodeId, day: u64) -> u16 {
        experience.known(UnixSeconds(day * DAY)).of(&node).as_per_mille()
    }

    const KEPT: (EndReason, Actor) = (EndReason::Completed, Actor::Renter);
    const BROKEN: (EndReason, Actor) = (EndReason::ShimLost, Actor::Provider);

    #[test]
    fn a_fault_of_the_provider_lowers_it_and_any_other_does_not() {
        let experience = Experience::default();
        let blameless = [
            (EndReason::NodeUnreachable, Actor::Network),
            (EndReason::Unpaid, Actor::Renter),
            (EndReason::DepositUnassured, Actor::Chain),
            (EndReason::OpenFailed, Actor::Chain),
            (EndReason::ClosedOnChain, Actor::Provider),
            (EndReason::PreparationFailed, Actor::Renter),
        ];
        for (number, end) in blameless.into_iter().enumerate() {
            ended(&experience, NODE, u32::try_from(number).unwrap(), end, 0);
            assert_eq!(of(&experience, NODE, 0), 500, "{end:?}");
        }
        ended(&experience, NODE, 90, BROKEN, 0);
        assert_eq!(of(&experience, NODE, 0), 333);
        ended(&experience, NODE, 91, BROKEN, 0);
        assert_eq!(of(&experience, NODE, 0), 250);
        ended(&experience, NODE, 92, KEPT, 0);
        assert_eq!((of(&experience, NODE, 0), of(&experience, OTHER, 0)), (400, 500));
    }

    #[test]
    fn a_lease_in_which_nothing_ran_tells_nothing() {
        let experience = Experience::default();
        let end = End::new(EndReason::Completed, Actor::Renter);
        experience.note((NODE, lease(1)), (end, Millis::ZERO), UnixSeconds(0));
        assert_eq!(experience.known(UnixSeconds(0)), Known::default());
    }

    #[test]
    fn a_lease_counts_once_however_often_it_is_told() {
        let experience = Experience::default();
        for _ in 0..3 {
            ended(&experience, NODE, 1, KEPT, 0);
        }
        assert_eq!(of(&experience, NODE, 0), 666);
    }

    #[test]
    fn what_was_seen_is_forgotten_after_thirty_days() {
        let experience = Experience::default();
        ended(&experience, NODE, 1, BROKEN, 0);
        ended(&experience, NODE, 2, BROKEN, 10);
        assert_eq!(of(&experience, NODE, 29), 250);
        assert_eq!(of(&experience, NODE, 30), 333);
        assert_eq!(of(&experience, NODE, 40), 500, "as one that was never used");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let experience = Experience::default();
        for number in 0..200 {
            ended(
                &experience,
                NODE,
                number,
                if number < 100 { BROKEN } else { KEPT },
                u64::from(number),
            );
        }
        assert_eq!(experience.lock()[&NODE].len(), MAX_OF_ONE);
        assert!(
            experience.lock()[&NODE].values().all(|seen| seen.kept),
            "the newest are left"
        );
        for number in 0..2_000 {
            ended(
                &experience,
                NodeId(lease(number).0),
                number,
                KEPT,
                300 + u64::from(number),
            );
        }
        assert_eq!(experience.lock().len(), MAX_NODES);
        assert!(!experience.lock().contains_key(&NODE));
    }
}

//! Which leases are watched, for whom, and which of them is looked at next. Pure: its callers hold the lock and keep the disk.

use gpux_lease::{Handover, Watching};
use gpux_types::{Amount, LeaseId, Millis, NodeId, UnixSeconds};
use std::collections::BTreeMap;

/// How soon one lease is looked at again for which nothing was to be done, or which could not be read or collected. Longer than any
/// look takes.
const AGAIN: Millis = Millis::from_secs(600);

/// One lease that is watched.
#[derive(Debug)]
pub(super) struct Entry {
    /// Who handed it over.
    pub(super) from: NodeId,
    pub(super) handover: Handover,
    /// What collecting cost when it was taken.
    pub(super) fee: Amount,
    pub(super) taken: Millis,
    /// When its escrow was last looked at.
    pub(super) looked: Millis,
    /// When it is looked at again because it may be used.
    due: Millis,
    /// How often it was looked at because it may be used.
    tries: u32,
    /// The end of its grace: as was signed, until the chain told.
    end: UnixSeconds,
}

impl Entry {
    /// It was taken, or read from the disk, at `now`.
    pub(super) fn new(from: NodeId, handover: Handover, fee: Amount, now: Millis) -> Self {
        let half = handover.terms.grace_secs.div_ceil(2);
        Self {
            from,
            fee,
            taken: now,
            looked: now,
            due: now,
            tries: 0,
            end: handover.not_before.plus_secs(half.into()),
            handover,
        }
    }
}

/// A lease to look at.
#[derive(Debug, Clone)]
pub(super) struct Next {
    pub(super) lease: LeaseId,
    pub(super) handover: Handover,
    /// What collecting cost when it was taken.
    pub(super) fee: Amount,
}

/// All that is watched.
#[derive(Debug, Default)]
pub(super) struct Book {
    leases: BTreeMap<LeaseId, Entry>,
    of_node: BTreeMap<NodeId, usize>,
}

impl Book {
    /// How many leases there are, and of how many nodes.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.leases.len(), self.of_node.len())
    }

    /// Keeps it in place of what there was of that lease. Its place in the order stays: who hands over again is not served before.
    pub(super) fn insert(&mut self, lease: LeaseId, mut entry: Entry) {
        entry.tries = self.leases.get(&lease).map_or(0, |older| older.tries);
        self.remove(lease);
        let count = self.of_node.entry(entry.from).or_default();
        *count = count.saturating_add(1);
        self.leases.insert(lease, entry);
    }

    /// What is kept of a lease.
    pub(super) fn get(&self, lease: LeaseId) -> Option<&Entry> {
        self.leases.get(&lease)
    }

    /// Forgets a lease.
    pub(super) fn remove(&mut self, lease: LeaseId) {
        let Some(entry) = self.leases.remove(&lease) else {
            return;
        };
        if let Some(count) = self.of_node.get_mut(&entry.from) {
            *count = count.saturating_sub(1);
        }
        self.of_node.retain(|_, count| *count > 0);
    }

    /// What the rules ask of it when that node hands that lease over.
    pub(super) fn watching(&self, lease: LeaseId, from: NodeId) -> Watching {
        let entry = self.leases.get(&lease);
        Watching {
            held: entry.map(|entry| (entry.handover.amount, entry.taken)),
            leases: self.leases.len(),
            of_one: self.of_node.get(&from).copied().unwrap_or_default(),
        }
    }

    /// The chain said when the grace of a lease ends.
    pub(super) fn ends(&mut self, lease: LeaseId, end: UnixSeconds) {
        if let Some(entry) = self.leases.get_mut(&lease) {
            entry.end = end;
        }
    }

    /// What may be used at block time `time` and is looked at now: each in its turn, and those first whose grace ends first. It is
    /// not due again for a while, also after a collection: that may be taken back.
    pub(super) fn due(&mut self, time: UnixSeconds, now: Millis) -> Option<Next> {
        let due = |(_, entry): &(&LeaseId, &mut Entry)| entry.handover.not_before <= time && entry.due <= now;
        let entries = self.leases.iter_mut().filter(due);
        let (lease, entry) = entries.min_by_key(|(lease, entry)| (entry.tries, entry.end, **lease))?;
        entry.tries = entry.tries.saturating_add(1);
        entry.due = now.saturating_add(AGAIN);
        Some(entry.look(*lease, now))
    }

    /// What was looked at longest ago, of all or of those of one node, whether or not it may be used: it may be over.
    pub(super) fn in_turn(&mut self, of: Option<NodeId>, now: Millis) -> Option<Next> {
        let asked = |entry: &Entry| of.is_none_or(|node| node == entry.from);
        let rested = |entry: &Entry| entry.looked.saturating_add(AGAIN) <= now;
        let entries = self.leases.iter_mut();
        let entries = entries.filter(|(_, entry)| asked(entry) && rested(entry));
        let (lease, entry) = entries.min_by_key(|(lease, entry)| (entry.looked, **lease))?;
        Some(entry.look(*lease, now))
    }
}

impl Entry {
    fn look(&mut self, lease: LeaseId, now: Millis) -> Next {
        self.looked = now;
        Next {
            lease,
            handover: self.handover.clone(),
            fee: self.fee,
        }
    }
}

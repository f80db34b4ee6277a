//! Which results of an array are done again on another node, and what follows from what comes back.
//!
//! Part of the part queue, and pure like it. A sample of each lease's results is drawn once every part has one, by a secret that the
//! renter draws only then: whoever works cannot know what will be looked at. Two equal results stand. Where two differ a third
//! decides, and the node that is outvoted loses its lease and everything that it handed back, which others do again; what they
//! make is sampled in its turn. See decision 26.

#[cfg(test)]
mod tests;

use super::{Link, PartEffect, PartQueue, PartState};
use gpux_types::{Address, BlobHash, LeaseId, PartIndex};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All of something, in the unit of [`CheckPolicy::sample`].
const WHOLE: u64 = 10_000;

/// How much of an array is checked, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPolicy {
    /// The part of each lease's results that is done again, of ten thousand; at least one result of each is.
    pub sample: u16,
    /// Who is paid for each lease: another owner's node checks where there is one.
    pub owners: BTreeMap<LeaseId, Address>,
}

/// How the checks of a job went so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChecksSummary {
    /// Results that were drawn.
    pub drawn: u32,
    /// Of these, those that another node made alike.
    pub agreed: u32,
    /// Those that were thrown away, with all else of their node: two others made another one.
    pub outvoted: u32,
    /// Those that differ from another node's, and nobody could decide.
    pub doubtful: u32,
    /// Those that no other node was left to do again.
    pub not_made: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checks {
    sample: u16,
    owners: BTreeMap<LeaseId, Address>,
    /// Of each part that is done, what counts.
    results: BTreeMap<PartIndex, Held>,
    /// What was drawn and is not decided.
    open: BTreeMap<PartIndex, Check>,
    doubtful: BTreeSet<PartIndex>,
    outvoted: BTreeSet<LeaseId>,
    /// The tries of checks that are decided.
    spent: BTreeSet<(PartIndex, u32)>,
    summary: ChecksSummary,
}

/// A result that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    lease: LeaseId,
    digest: BlobHash,
    /// Whether it was there when a sample was drawn, and so was in it or not.
    was_drawn_from: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Check {
    /// Results of different leases; the first is the one that counts so far.
    votes: Vec<(LeaseId, BlobHash)>,
    /// The tries that were given out for this check.
    asked: BTreeSet<u32>,
    /// Leases that brought no result.
    refused: BTreeSet<LeaseId>,
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Agreed(BlobHash),
    Doubtful,
    NotMade,
}

impl Checks {
    fn close(&mut self, part: PartIndex) -> Option<Check> {
        let check = self.open.remove(&part)?;
        self.spent.extend(check.asked.iter().map(|attempt| (part, *attempt)));
        Some(check)
    }
}

impl Check {
    fn knows(&self, lease: &LeaseId) -> bool {
        self.refused.contains(lease) || self.votes.iter().any(|(voter, _)| voter == lease)
    }

    /// What two say.
    fn majority(&self) -> Option<BlobHash> {
        let same = |digest: &BlobHash| self.votes.iter().filter(|(_, other)| other == digest).count();
        let mut digests = self.votes.iter().map(|(_, digest)| digest);
        digests.find(|digest| same(digest) > 1).copied()
    }
}

/// What tells numbers apart that a secret makes; no more is asked of it, since nobody sees them before they are used.
struct Lots(u64);

impl Lots {
    /// One of so many.
    fn next(&mut self, many: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % many.max(1)
    }
}

impl PartQueue {
    /// The same, with a sample of the results checked.
    #[must_use]
    pub fn checked(mut self, policy: CheckPolicy) -> Self {
        self.checks = Some(Checks {
            sample: policy.sample,
            owners: policy.owners,
            results: BTreeMap::new(),
            open: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            outvoted: BTreeSet::new(),
            spent: BTreeSet::new(),
            summary: ChecksSummary::default(),
        });
        self
    }

    /// How the checks went so far; nothing of a job that asks for none.
    #[must_use]
    pub fn checks(&self) -> Option<ChecksSummary> {
        self.checks.as_ref().map(|checks| checks.summary)
    }

    /// Parts whose results differ, and nobody could decide.
    pub fn doubtful(&self) -> impl Iterator<Item = PartIndex> {
        self.checks.iter().flat_map(|checks| checks.doubtful.iter().copied())
    }

    /// Whether that try does again what has a result: its own is compared and not kept.
    #[must_use]
    pub fn is_check(&self, part: PartIndex, attempt: u32) -> bool {
        let check = self.checks.as_ref().and_then(|checks| checks.open.get(&part));
        check.is_some_and(|check| check.asked.contains(&attempt))
    }

    /// Whether nothing that comes of that try counts: its lease was outvoted, or its check is decided.
    #[must_use]
    pub fn is_void(&self, lease: LeaseId, part: PartIndex, attempt: u32) -> bool {
        let checks = self.checks.as_ref();
        checks.is_some_and(|checks| checks.outvoted.contains(&lease) || checks.spent.contains(&(part, attempt)))
    }

    pub(super) fn is_outvoted(&self, lease: &LeaseId) -> bool {
        let checks = self.checks.as_ref();
        checks.is_some_and(|checks| checks.outvoted.contains(lease))
    }

    pub(super) fn hold_result(&mut self, lease: LeaseId, part: PartIndex, digest: BlobHash) {
        if let Some(checks) = self.checks.as_mut() {
            let was_drawn_from = false;
            let held = Held {
                lease,
                digest,
                was_drawn_from,
            };
            checks.results.insert(part, held);
        }
    }

    /// Takes the result of a check; whether it was one.
    pub(super) fn vote(&mut self, lease: LeaseId, (part, attempt): (PartIndex, u32), digest: BlobHash) -> bool {
        let Some(check) = self.open_check(part, attempt) else {
            return false;
        };
        if !check.votes.iter().any(|(voter, _)| *voter == lease) {
            check.votes.push((lease, digest));
        }
        true
    }

    /// Takes the failure of a check; whether it was one.
    pub(super) fn refuse_check(&mut self, lease: LeaseId, (part, attempt): (PartIndex, u32)) -> bool {
        let check = self.open_check(part, attempt);
        check.is_some_and(|check| {
            check.refused.insert(lease);
            true
        })
    }

    fn open_check(&mut self, part: PartIndex, attempt: u32) -> Option<&mut Check> {
        let check = self.checks.as_mut()?.open.get_mut(&part)?;
        Some(check).filter(|check| check.asked.contains(&attempt))
    }

    /// Whether a secret is wanted: every part has a result, and some were in no draw.
    pub(super) fn wants_draw(&self) -> bool {
        let unseen = |checks: &Checks| checks.results.values().any(|held| !held.was_drawn_from);
        let done = |state| matches!(state, PartState::Done { .. });
        self.checks.as_ref().is_some_and(unseen) && self.parts.iter().all(|part| done(part.state))
    }

    /// Whether no check is missing. A job that has given up a part is not asked for any.
    pub(super) fn are_checks_over(&self) -> bool {
        let given_up = || {
            let given_up = |state| matches!(state, PartState::GivenUp { .. });
            self.parts.iter().any(|part| given_up(part.state))
        };
        self.checks.as_ref().is_none_or(|checks| {
            let drawn = checks.results.values().all(|held| held.was_drawn_from);
            (drawn && checks.open.is_empty()) || given_up()
        })
    }

    /// Draws from each lease's new results.
    pub(super) fn draw(&mut self, secret: u64) {
        if !self.wants_draw() {
            return;
        }
        let Some(checks) = self.checks.as_mut() else { return };
        let mut by_lease: BTreeMap<LeaseId, Vec<PartIndex>> = BTreeMap::new();
        for (part, held) in checks.results.iter_mut().filter(|(_, held)| !held.was_drawn_from) {
            held.was_drawn_from = true;
            by_lease.entry(held.lease).or_default().push(*part);
        }
        let mut lots = Lots(secret);
        for mut parts in by_lease.into_values() {
            let all = u64::try_from(parts.len()).unwrap_or(u64::MAX);
            let wanted = all
                .saturating_mul(u64::from(checks.sample))
                .div_ceil(WHOLE)
                .clamp(1, all);
            for _ in 0..wanted {
                let left = u64::try_from(parts.len()).unwrap_or(u64::MAX);
                let part = parts.swap_remove(usize::try_from(lots.next(left)).unwrap_or(0));
                let Some(held) = checks.results.get(&part) else {
                    continue;
                };
                let check = Check {
                    votes: vec![(held.lease, held.digest)],
                    asked: BTreeSet::new(),
                    refused: BTreeSet::new(),
                };
                checks.open.insert(part, check);
                checks.summary.drawn = checks.summary.drawn.saturating_add(1);
            }
        }
    }

    /// Ends the checks that can be decided, and does what follows.
    pub(super) fn decide(&mut self, effects: &mut Vec<PartEffect>) {
        while let Some((part, verdict)) = self.next_verdict() {
            self.conclude(part, verdict, effects);
        }
    }

    fn next_verdict(&self) -> Option<(PartIndex, Verdict)> {
        let checks = self.checks.as_ref().filter(|checks| !checks.open.is_empty())?;
        let live = || self.nodes.iter().filter(|(_, node)| node.link != Link::Closed);
        let known = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let one_may_come = |check: &Check| known < self.leases || live().any(|(lease, _)| !check.knows(lease));
        checks.open.iter().find_map(|(part, check)| {
            let verdict = match check.majority() {
                Some(digest) => Verdict::Agreed(digest),
                None if one_may_come(check) || self.is_flying(*part) => return None,
                None if check.votes.len() > 1 => Verdict::Doubtful,
                None => Verdict::NotMade,
            };
            Some((*part, verdict))
        })
    }

    fn conclude(&mut self, part: PartIndex, verdict: Verdict, effects: &mut Vec<PartEffect>) {
        self.close_part(part, effects);
        let Some(checks) = self.checks.as_mut() else { return };
        let Some(check) = checks.close(part) else { return };
        let summary = &mut checks.summary;
        let counted = match verdict {
            Verdict::Agreed(digest) if check.votes.first().is_some_and(|(_, first)| *first != digest) => {
                &mut summary.outvoted
            }
            Verdict::Agreed(_) => &mut summary.agreed,
            Verdict::Doubtful => {
                checks.doubtful.insert(part);
                &mut summary.doubtful
            }
            Verdict::NotMade => &mut summary.not_made,
        };
        *counted = counted.saturating_add(1);
        if let Verdict::Agreed(digest) = verdict {
            for (lease, _) in check.votes.into_iter().filter(|(_, other)| *other != digest) {
                self.outvote(lease, effects);
            }
        }
    }

    /// Takes everything from a lease whose result was not that of two others.
    fn outvote(&mut self, lease: LeaseId, effects: &mut Vec<PartEffect>) {
        let Some(checks) = self.checks.as_mut() else { return };
        checks.outvoted.insert(lease);
        for check in checks.open.values_mut() {
            // Its own results go, and with them their checks: what is left has another's vote first.
            check.votes.retain(|(voter, _)| *voter != lease);
        }
        let its = checks.results.iter().filter(|(_, held)| held.lease == lease);
        let its: Vec<PartIndex> = its.map(|(part, _)| *part).collect();
        effects.push(PartEffect::Outvoted { lease });
        self.leave(lease, Link::Closed);
        for part in its {
            self.discard(lease, part, effects);
        }
    }

    fn discard(&mut self, lease: LeaseId, part: PartIndex, effects: &mut Vec<PartEffect>) {
        self.close_part(part, effects);
        if let Some(checks) = self.checks.as_mut() {
            checks.results.remove(&part);
            checks.doubtful.remove(&part);
            if checks.close(part).is_some() {
                checks.summary.outvoted = checks.summary.outvoted.saturating_add(1);
            }
        }
        let Some(entry) = self.get_mut(part) else { return };
        let PartState::Done { attempt } = entry.state else {
            return;
        };
        entry.state = PartState::Queued;
        self.queued.insert(part);
        effects.push(PartEffect::Discard { lease, part, attempt });
    }

    /// Gives open checks to free slots: one try at a time, never to a lease that had the part, and to a node of another owner while
    /// there is one.
    pub(super) fn assign_checks(&mut self, effects: &mut Vec<PartEffect>) {
        let open = self.checks.iter().flat_map(|checks| checks.open.keys());
        let open: Vec<PartIndex> = open.copied().collect();
        for part in open {
            if !self.nodes.values().any(super::Node::is_free) {
                return;
            }
            let Some(lease) = self.choose_checker(part).filter(|_| !self.is_flying(part)) else {
                continue;
            };
            let Some(attempt) = self.start_try(lease, part) else {
                continue;
            };
            if let Some(check) = self.checks.as_mut().and_then(|checks| checks.open.get_mut(&part)) {
                check.asked.insert(attempt);
            }
            effects.push(PartEffect::Assign { lease, part, attempt });
        }
    }

    fn choose_checker(&self, part: PartIndex) -> Option<LeaseId> {
        let checks = self.checks.as_ref()?;
        let check = checks.open.get(&part)?;
        let owner = |lease: &LeaseId| checks.owners.get(lease);
        let is_stranger = |lease: &LeaseId| {
            let same = |(voter, _): &(LeaseId, BlobHash)| owner(voter).is_some() && owner(voter) == owner(lease);
            !check.votes.iter().any(same)
        };
        let able = || {
            let ready = self.nodes.iter().filter(|(_, node)| node.link == Link::Ready);
            ready.filter(|(lease, _)| !check.knows(lease))
        };
        let strangers = able().any(|(lease, _)| is_stranger(lease));
        able()
            .filter(|(lease, node)| node.is_free() && (!strangers || is_stranger(lease)))
            .min_by_key(|(_, node)| node.flights.len())
            .map(|(lease, _)| *lease)
    }
}

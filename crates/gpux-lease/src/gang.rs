//! The ranks of a gang: a task on more than one node, whose processes start together or not at all.
//!
//! The renter's daemon owns one [`Gang`] for such a job, in the place where an array has its part queue, and journals it
//! before it does what the gang asks for. Rank N belongs to the job's lease N for as long as the job lasts: leases are opened
//! before there is a gang, and none is opened for it later.
//!
//! ```text
//! gathering ── every rank stands, every node is heard ──> running ── every rank ended well ──> done
//!     ^  │                                                 │  │
//!     │  └── a rank fails, a lease ends, it takes too long │  │
//!     └───────────── tried again, all of it ───────────────┘  └── a rank fails, a lease ends ──> failed
//! ```
//!
//! Invariants: no rank is told to go before each rank of the same attempt said that it stands; a gang whose attempt fails tells
//! every other rank of that attempt to end before it asks for the next, and a node makes the next container only when the one
//! before is gone, so that no two attempts ever run; the first rank that fails decides why.

mod events;
#[cfg(test)]
mod tests;

use crate::parts::{PartFault, PartState, PartsSummary, UnknownPart};
pub use events::{GangEffect, GangEvent};
use gpux_types::{LeaseId, Millis, PartIndex};
use serde::{Deserialize, Serialize};

/// How long the ranks may take until all stand, from the first node that is ready on. Deposits of one job lie equally deep at about
/// the same time, and a node that prepares has limits of its own; a rank that stands costs its node capacity that nobody pays.
pub const GATHER_LIMIT: Millis = Millis::from_secs(1_800);

/// How much failure a gang bears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GangPolicy {
    /// How often all of it is tried again after a node's fault.
    pub provider_fault_retries: u32,
    /// How often after the command failed.
    pub error_retries: u32,
    /// How long an attempt may take until all ranks stand.
    pub gather_limit: Millis,
}

/// Where one rank of the newest attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RankState {
    /// Its container is not made yet, or its node did not say so.
    Waiting,
    /// Its container is made and its program waits for the others.
    Standing,
    /// It was told to go.
    Running,
    /// It ended well, and what it handed back is here.
    Done,
    /// It failed, and the gang with it.
    Failed,
    /// It was ended because another rank failed, or because the job ends.
    Stopped,
}

/// Why a gang, or one attempt of it, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GangFailure {
    /// A rank failed first.
    Rank {
        /// Which.
        rank: PartIndex,
        /// Through whom.
        fault: PartFault,
        /// With which code its program ended, where it ran.
        exit_code: Option<i32>,
    },
    /// The lease of a rank ended.
    LeaseEnded {
        /// Which.
        rank: PartIndex,
    },
    /// Not all ranks stood in time.
    Late {
        /// The first that did not.
        rank: PartIndex,
    },
}

impl GangFailure {
    /// Whose rank it was.
    #[must_use]
    pub const fn rank(&self) -> PartIndex {
        match self {
            Self::Rank { rank, .. } | Self::LeaseEnded { rank } | Self::Late { rank } => *rank,
        }
    }
}

/// How a gang ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GangEnd {
    /// Every rank ended well.
    Done,
    /// The job ended for another reason, such as its user's wish.
    Stopped,
    /// It failed, and is not tried again.
    Failed {
        /// Why.
        failure: GangFailure,
        /// Whether any rank of any attempt was ever told to go: if not, nothing was billed.
        went: bool,
    },
}

/// One try of one rank on its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RankKey {
    /// Where.
    pub lease: LeaseId,
    /// Which rank.
    pub rank: PartIndex,
    /// Which attempt of the gang.
    pub attempt: u32,
}

/// What is known of a rank, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankSeen {
    /// Which, and on which lease.
    pub key: RankKey,
    /// Where it is.
    pub state: RankState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rank {
    lease: LeaseId,
    link: Link,
    state: RankState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Link {
    /// Its deposit was not seen yet.
    Opening,
    Ready,
    Lost,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// Ranks are made, and wait for each other.
    Gathering {
        /// Since when; nothing before the first node is ready.
        since: Option<Millis>,
    },
    /// All were told to go.
    Running,
    Over(GangEnd),
}

/// The ranks of one job over its leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gang {
    gang: GangPolicy,
    ranks: Vec<Rank>,
    attempt: u32,
    phase: Phase,
    errors: u32,
    provider_faults: u32,
    went: bool,
}

impl Gang {
    /// A gang with one rank on each lease, in their order.
    #[must_use]
    pub fn new(policy: GangPolicy, leases: impl IntoIterator<Item = LeaseId>) -> Self {
        let rank = |lease| Rank {
            lease,
            link: Link::Opening,
            state: RankState::Waiting,
        };
        Self {
            gang: policy,
            ranks: leases.into_iter().map(rank).collect(),
            attempt: 0,
            phase: Phase::Gathering { since: None },
            errors: 0,
            provider_faults: 0,
            went: false,
        }
    }

    /// Takes an event that happened at `now` on the daemon's monotonic clock.
    ///
    /// # Errors
    /// When it names a try that was never given to that lease; nothing is changed then. News that was heard before, of an
    /// attempt that is over, or of a gang that is, changes nothing and is no error.
    pub fn handle(&mut self, now: Millis, event: GangEvent) -> Result<Vec<GangEffect>, UnknownPart> {
        let mut effects = Vec::new();
        if let GangEvent::Stood(key) | GangEvent::Finished(key) | GangEvent::Failed { key, .. } = event {
            self.check(key.lease, key.rank, key.attempt)?;
        }
        if let Phase::Over(end) = self.phase {
            if event == GangEvent::Restarted {
                self.tell_end(end, &mut effects);
            }
            return Ok(effects);
        }
        match event {
            GangEvent::LeaseReady { lease } => self.lease_ready(now, lease, &mut effects),
            GangEvent::LeaseLost { lease } => self.set_link(lease, Link::Lost),
            GangEvent::LeaseClosed { lease } => self.lease_closed(lease, &mut effects),
            GangEvent::Stood(key) => self.stood(key),
            GangEvent::Finished(key) => self.finished(now, key, &mut effects),
            GangEvent::Failed { key, fault, exit_code } => {
                if self.is_awaited(key) {
                    self.fail(now, key, (fault, exit_code), &mut effects);
                }
            }
            GangEvent::Ticked => self.give_up_if_late(now, &mut effects),
            GangEvent::JobEnded => self.job_ended(),
            GangEvent::Restarted => self.restart(now, &mut effects),
        }
        self.go_if_all_stand(&mut effects);
        Ok(effects)
    }

    fn lease_ready(&mut self, now: Millis, lease: LeaseId, effects: &mut Vec<GangEffect>) {
        self.set_link(lease, Link::Ready);
        if let Phase::Gathering { since } = &mut self.phase {
            since.get_or_insert(now);
        }
        let ready: Vec<PartIndex> = self
            .ready_ranks()
            .filter(|(key, _)| key.lease == lease)
            .map(|(key, _)| key.rank)
            .collect();
        for rank in ready {
            self.ask(rank, effects);
        }
    }

    fn set_link(&mut self, lease: LeaseId, link: Link) {
        let here = |rank: &&mut Rank| rank.lease == lease && rank.link != Link::Closed;
        self.ranks.iter_mut().filter(here).for_each(|rank| rank.link = link);
    }

    /// A lease that ends before its rank did takes the gang with it: no other lease can stand in.
    fn lease_closed(&mut self, lease: LeaseId, effects: &mut Vec<GangEffect>) {
        self.set_link(lease, Link::Closed);
        let lost = self
            .keys()
            .find(|(key, rank)| key.lease == lease && rank.state != RankState::Done);
        if let Some((key, _)) = lost {
            self.over(GangFailure::LeaseEnded { rank: key.rank }, effects);
        }
    }

    fn stood(&mut self, key: RankKey) {
        let gathers = matches!(self.phase, Phase::Gathering { .. });
        if let Some(rank) = self
            .current(key)
            .filter(|rank| gathers && rank.state == RankState::Waiting)
        {
            rank.state = RankState::Standing;
        }
    }

    fn finished(&mut self, now: Millis, key: RankKey, effects: &mut Vec<GangEffect>) {
        if !self.is_awaited(key) {
            return;
        }
        if self.phase != Phase::Running {
            // It cannot have ended well without being told to go: its node breaks its word.
            return self.fail(now, key, (PartFault::Provider, None), effects);
        }
        if let Some(rank) = self.current(key) {
            rank.state = RankState::Done;
        }
        effects.push(GangEffect::Keep(key));
        if self.ranks.iter().all(|rank| rank.state == RankState::Done) {
            self.phase = Phase::Over(GangEnd::Done);
            self.tell_end(GangEnd::Done, effects);
        }
    }

    /// The first rank that fails ends its attempt: the others are told to end, and all are tried again or none.
    fn fail(
        &mut self,
        now: Millis,
        key: RankKey,
        (fault, exit_code): (PartFault, Option<i32>),
        effects: &mut Vec<GangEffect>,
    ) {
        if let Some(rank) = self.current(key) {
            rank.state = RankState::Failed;
        }
        let (count, most) = match fault {
            PartFault::Error => (&mut self.errors, self.gang.error_retries),
            PartFault::Provider => (&mut self.provider_faults, self.gang.provider_fault_retries),
        };
        *count = count.saturating_add(1);
        let again = *count <= most && self.ranks.iter().all(|rank| rank.link != Link::Closed);
        if again && let Some(next) = self.attempt.checked_add(1) {
            // Also the one that failed: a node may have taken what it seemed to refuse.
            let unfinished = self.keys().filter(|(_, rank)| rank.state != RankState::Done);
            effects.extend(unfinished.map(|(key, _)| GangEffect::Cancel(key)).collect::<Vec<_>>());
            self.attempt = next;
            self.phase = Phase::Gathering { since: Some(now) };
            self.ranks.iter_mut().for_each(|rank| rank.state = RankState::Waiting);
            effects.extend(
                self.ready_ranks()
                    .map(|(key, _)| GangEffect::Stand(key))
                    .collect::<Vec<_>>(),
            );
        } else {
            let rank = key.rank;
            self.over(GangFailure::Rank { rank, fault, exit_code }, effects);
        }
    }

    fn give_up_if_late(&mut self, now: Millis, effects: &mut Vec<GangEffect>) {
        if !self.is_late(now) {
            return;
        }
        let missing = |(_, rank): &(RankKey, &Rank)| rank.state != RankState::Standing || rank.link != Link::Ready;
        let missing = self.keys().find(missing).map(|(key, _)| key.rank);
        if let Some(rank) = missing {
            self.over(GangFailure::Late { rank }, effects);
        }
    }

    /// Every period that was under way begins anew: how long the daemon was away cannot be known.
    fn restart(&mut self, now: Millis, effects: &mut Vec<GangEffect>) {
        if let Phase::Gathering { since: Some(since) } = &mut self.phase {
            *since = now;
        }
        let ready: Vec<PartIndex> = self.ready_ranks().map(|(key, _)| key.rank).collect();
        for rank in ready {
            self.ask(rank, effects);
        }
    }

    /// Asks a node that is heard for what its rank is to do now; again, where it was asked before.
    fn ask(&self, rank: PartIndex, effects: &mut Vec<GangEffect>) {
        let Some((key, rank)) = self.keys().find(|(key, _)| key.rank == rank) else {
            return;
        };
        match (self.phase, rank.state) {
            (Phase::Gathering { .. }, RankState::Waiting | RankState::Standing) => {
                // What a node did not hear of the attempt before would be in the way of this one.
                if let Some(attempt) = key.attempt.checked_sub(1) {
                    effects.push(GangEffect::Cancel(RankKey { attempt, ..key }));
                }
                effects.push(GangEffect::Stand(key));
            }
            (Phase::Running, RankState::Running) => effects.push(GangEffect::Go(key)),
            (Phase::Gathering { .. } | Phase::Running | Phase::Over(_), _) => {}
        }
    }

    fn go_if_all_stand(&mut self, effects: &mut Vec<GangEffect>) {
        let stands = |rank: &Rank| rank.state == RankState::Standing && rank.link == Link::Ready;
        if !matches!(self.phase, Phase::Gathering { .. }) || !self.ranks.iter().all(stands) {
            return;
        }
        self.phase = Phase::Running;
        self.went = true;
        self.ranks.iter_mut().for_each(|rank| rank.state = RankState::Running);
        effects.extend(self.keys().map(|(key, _)| GangEffect::Go(key)).collect::<Vec<_>>());
    }

    fn over(&mut self, failure: GangFailure, effects: &mut Vec<GangEffect>) {
        for (index, rank) in (0..).map(PartIndex).zip(&mut self.ranks) {
            if index == failure.rank() {
                rank.state = RankState::Failed;
            } else if is_alive(rank.state) {
                rank.state = RankState::Stopped;
            }
        }
        let end = GangEnd::Failed {
            failure,
            went: self.went,
        };
        self.phase = Phase::Over(end);
        self.tell_end(end, effects);
    }

    fn job_ended(&mut self) {
        let alive = |rank: &&mut Rank| is_alive(rank.state);
        let stop = |rank: &mut Rank| rank.state = RankState::Stopped;
        self.ranks.iter_mut().filter(alive).for_each(stop);
        self.phase = Phase::Over(GangEnd::Stopped);
    }

    fn tell_end(&self, end: GangEnd, effects: &mut Vec<GangEffect>) {
        match end {
            GangEnd::Done => {
                effects.extend(self.ranks.iter().map(|rank| GangEffect::Release { lease: rank.lease }));
                effects.push(GangEffect::Finish);
            }
            GangEnd::Stopped => {}
            GangEnd::Failed { failure, went } => effects.push(GangEffect::Fail { failure, went }),
        }
    }
}

/// Whether something of a rank runs, stands, or may.
const fn is_alive(state: RankState) -> bool {
    matches!(state, RankState::Waiting | RankState::Standing | RankState::Running)
}

impl Gang {
    /// Whether that try was ever given to the lease. The gang's own record is the only source of tries, so a peer cannot invent
    /// one.
    ///
    /// # Errors
    /// When it was not.
    pub fn check(&self, lease: LeaseId, part: PartIndex, attempt: u32) -> Result<(), UnknownPart> {
        let known = self.keys().any(|(key, _)| key.lease == lease && key.rank == part);
        if known && attempt <= self.attempt {
            Ok(())
        } else {
            Err(UnknownPart { lease, part, attempt })
        }
    }

    /// Whether an attempt gathers for too long: [`GangEvent::Ticked`] ends it then.
    #[must_use]
    pub fn is_late(&self, now: Millis) -> bool {
        let Phase::Gathering { since: Some(since) } = self.phase else {
            return false;
        };
        now >= since.saturating_add(self.gang.gather_limit)
    }

    /// Whether any rank of any attempt was ever told to go: before that no node can have worked.
    #[must_use]
    pub const fn went(&self) -> bool {
        self.went
    }

    /// Where each rank is, in their order.
    pub fn ranks(&self) -> impl Iterator<Item = RankSeen> {
        self.keys().map(|(key, rank)| RankSeen { key, state: rank.state })
    }

    /// How it ended, once it did.
    #[must_use]
    pub const fn end(&self) -> Option<GangEnd> {
        match self.phase {
            Phase::Over(end) => Some(end),
            Phase::Gathering { .. } | Phase::Running => None,
        }
    }

    /// Where a rank is, in the words of parts; `None` when there is no such rank.
    #[must_use]
    pub fn part(&self, part: PartIndex) -> Option<PartState> {
        let (key, rank) = self.keys().find(|(key, _)| key.rank == part)?;
        let fault = match self.phase {
            Phase::Over(GangEnd::Failed {
                failure: GangFailure::Rank { fault, .. },
                ..
            }) => fault,
            Phase::Over(_) | Phase::Gathering { .. } | Phase::Running => PartFault::Provider,
        };
        Some(match rank.state {
            RankState::Waiting | RankState::Standing => PartState::Queued,
            RankState::Running => PartState::Running,
            RankState::Done => PartState::Done { attempt: key.attempt },
            RankState::Failed | RankState::Stopped => PartState::GivenUp { fault },
        })
    }

    /// How many ranks are where.
    #[must_use]
    pub fn summary(&self) -> PartsSummary {
        let mut summary = PartsSummary::default();
        for rank in &self.ranks {
            let count = match rank.state {
                RankState::Waiting | RankState::Standing => &mut summary.queued,
                RankState::Running => &mut summary.running,
                RankState::Done => &mut summary.done,
                RankState::Failed | RankState::Stopped => &mut summary.given_up,
            };
            *count = count.saturating_add(1);
        }
        summary
    }

    /// What runs on a lease, or ran there when it was last heard: its rank and attempt.
    pub fn running_on(&self, lease: &LeaseId) -> impl Iterator<Item = (PartIndex, u32)> {
        let here = self
            .keys()
            .filter(|(key, rank)| key.lease == *lease && rank.state == RankState::Running);
        here.map(|(key, _)| (key.rank, key.attempt))
    }

    fn keys(&self) -> impl Iterator<Item = (RankKey, &Rank)> {
        (0..).map(PartIndex).zip(&self.ranks).map(|(index, rank)| {
            let key = RankKey {
                lease: rank.lease,
                rank: index,
                attempt: self.attempt,
            };
            (key, rank)
        })
    }

    fn ready_ranks(&self) -> impl Iterator<Item = (RankKey, &Rank)> {
        self.keys().filter(|(_, rank)| rank.link == Link::Ready)
    }

    /// The rank of a try, where that try is the newest.
    fn current(&mut self, key: RankKey) -> Option<&mut Rank> {
        let newest = key.attempt == self.attempt;
        self.ranks.get_mut(usize::try_from(key.rank.0).ok()?).filter(|_| newest)
    }

    /// Whether it is not known yet how that try ends.
    fn is_awaited(&self, key: RankKey) -> bool {
        self.keys().any(|(known, rank)| known == key && is_alive(rank.state))
    }
}

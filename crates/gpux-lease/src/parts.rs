//! Which part of an `array` job runs on which lease.
//!
//! The renter's daemon owns one [`PartQueue`] per job and journals it like the leases. Parts go out in their order,
//! each lease gets at most its slots, a lost node's parts go to others, and the first result of a part wins. Whether
//! a result is valid (all of it arrived and fits its hashes) is checked before it is reported here.

mod checks;
mod events;
#[cfg(test)]
mod tests;

pub use checks::{CheckPolicy, ChecksSummary};
pub use events::{PartEffect, PartEvent};
use gpux_types::{BlobHash, LeaseId, PartIndex};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How much failure a job bears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPolicy {
    /// How often one part is tried again after failures of providers. A lost node is none: its parts always go on.
    pub provider_fault_retries: u32,
    /// How often one part is tried again after it failed by itself.
    pub error_retries: u32,
    /// A lease that fails this often in a row through its provider's fault is dropped.
    pub strikes: u32,
    /// When a lease is let go.
    pub release: ReleaseRule,
}

/// When a lease is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseRule {
    /// When every part is done: an idle lease costs its rent, and can take a lost node's parts.
    WhenDone,
    /// As soon as nothing is queued and nothing runs on it.
    WhenIdle,
}

/// Why a try of a part brought no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartFault {
    /// The program ended with an error, or used more than the job allows.
    Error,
    /// The provider could not start it, lost it, or delivered something wrong.
    Provider,
}

/// How many parts are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PartsSummary {
    /// Waiting for a lease.
    pub queued: u32,
    /// On a node that is heard.
    pub running: u32,
    /// With a result.
    pub done: u32,
    /// Failed too often.
    pub given_up: u32,
}

/// Where one part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// Waiting for a lease.
    Queued,
    /// On a node that is heard.
    Running,
    /// With a result.
    Done {
        /// Which try brought it.
        attempt: u32,
    },
    /// Failed too often.
    GivenUp {
        /// How it failed last.
        fault: PartFault,
    },
}

/// A lease, part or try that was never named; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("handling news of part {part}, attempt {attempt}, of lease {lease}: it was never given to it")]
pub struct UnknownPart {
    /// Where it should have been.
    pub lease: LeaseId,
    /// Which part.
    pub part: PartIndex,
    /// Which try.
    pub attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    state: PartState,
    /// Which lease got each try.
    attempts: Vec<LeaseId>,
    /// Where it failed: it goes elsewhere while there is an elsewhere.
    failed_on: BTreeSet<LeaseId>,
    errors: u32,
    provider_faults: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    link: Link,
    slots: u32,
    /// The try of each part that runs there, or did when it was last heard.
    flights: BTreeMap<PartIndex, u32>,
    strikes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Link {
    Ready,
    Lost,
    Closed,
}

/// The parts of one job over its leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartQueue {
    policy: PartPolicy,
    /// How many leases the job was planned over; zero when that was not said.
    #[serde(default)]
    leases: u32,
    parts: Vec<Part>,
    queued: BTreeSet<PartIndex>,
    nodes: BTreeMap<LeaseId, Node>,
    /// What is done again to compare; nothing where the job does not ask for it.
    #[serde(default)]
    checks: Option<checks::Checks>,
}

impl PartQueue {
    /// `count` parts, all queued. A job without parts is finished from the start and is not told to be.
    #[must_use]
    pub fn new(policy: PartPolicy, count: u32) -> Self {
        let part = Part {
            state: PartState::Queued,
            attempts: Vec::new(),
            failed_on: BTreeSet::new(),
            errors: 0,
            provider_faults: 0,
        };
        let parts = (0..count).map(|_| part.clone()).collect();
        Self {
            policy,
            leases: 0,
            parts,
            queued: (0..count).map(PartIndex).collect(),
            nodes: BTreeMap::new(),
            checks: None,
        }
    }

    /// The same, over so many leases: it starves when that many were closed, also those that were never ready.
    #[must_use]
    pub const fn over(mut self, leases: u32) -> Self {
        self.leases = leases;
        self
    }

    /// Takes an event.
    ///
    /// # Errors
    /// When it names a try that was never given to that lease; nothing is changed then. News that was heard before,
    /// or of a part that is over, changes nothing and is no error.
    pub fn handle(&mut self, event: PartEvent) -> Result<Vec<PartEffect>, UnknownPart> {
        let mut effects = Vec::new();
        let over = self.is_finished();
        let starved = self.is_starved();
        let asked = self.wants_draw();
        match event {
            PartEvent::LeaseReady { lease, slots } => self.take_lease(lease, slots, &mut effects),
            PartEvent::LeaseLost { lease } => self.leave(lease, Link::Lost),
            PartEvent::LeaseClosed { lease } => self.leave(lease, Link::Closed),
            PartEvent::Finished {
                lease,
                part,
                attempt,
                digest,
            } => {
                self.check(lease, part, attempt)?;
                self.finish(lease, (part, attempt), digest, &mut effects);
            }
            PartEvent::Failed {
                lease,
                part,
                attempt,
                fault,
            } => {
                self.check(lease, part, attempt)?;
                self.fail(lease, (part, attempt), fault, &mut effects);
            }
            PartEvent::Drawn { secret } => self.draw(secret),
            PartEvent::Restarted => self.repeat(&mut effects),
        }
        self.decide(&mut effects);
        self.assign(&mut effects);
        self.assign_checks(&mut effects);
        self.release(&mut effects);
        if self.is_finished() && (!over || event == PartEvent::Restarted) {
            effects.push(PartEffect::Finish(self.summary()));
        }
        if self.wants_draw() && (!asked || event == PartEvent::Restarted) {
            effects.push(PartEffect::Draw);
        }
        if self.is_starved() && (!starved || event == PartEvent::Restarted) {
            effects.push(PartEffect::Starved);
        }
        Ok(effects)
    }
}

impl PartQueue {
    /// Where a part is; `None` when there is no such part.
    #[must_use]
    pub fn part(&self, part: PartIndex) -> Option<PartState> {
        self.get(part).map(|part| part.state)
    }

    /// How many parts are where.
    #[must_use]
    pub fn summary(&self) -> PartsSummary {
        let mut summary = PartsSummary::default();
        for part in &self.parts {
            let count = match part.state {
                PartState::Queued => &mut summary.queued,
                PartState::Running => &mut summary.running,
                PartState::Done { .. } => &mut summary.done,
                PartState::GivenUp { .. } => &mut summary.given_up,
            };
            *count = count.saturating_add(1);
        }
        summary
    }

    /// What runs on a lease, or ran there when it was last heard: each part and its try.
    pub fn running_on(&self, lease: &LeaseId) -> impl Iterator<Item = (PartIndex, u32)> {
        self.nodes
            .get(lease)
            .into_iter()
            .flat_map(|node| node.flights.iter().map(|(part, attempt)| (*part, *attempt)))
    }

    /// Whether every part is done or given up, and no check is missing.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.parts.iter().all(Part::is_over) && self.are_checks_over()
    }

    fn is_starved(&self) -> bool {
        let known = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let closed = self.nodes.values().all(|node| node.link == Link::Closed);
        !self.queued.is_empty() && closed && known >= self.leases
    }

    fn get(&self, part: PartIndex) -> Option<&Part> {
        self.parts.get(usize::try_from(part.0).ok()?)
    }

    fn get_mut(&mut self, part: PartIndex) -> Option<&mut Part> {
        self.parts.get_mut(usize::try_from(part.0).ok()?)
    }

    /// Whether that try of the part was ever given to the lease. The queue's own record is the only source of tries, so a peer
    /// cannot invent one.
    ///
    /// # Errors
    /// When it was not.
    pub fn check(&self, lease: LeaseId, part: PartIndex, attempt: u32) -> Result<(), UnknownPart> {
        let given = usize::try_from(attempt)
            .ok()
            .and_then(|attempt| self.get(part)?.attempts.get(attempt));
        if given == Some(&lease) {
            Ok(())
        } else {
            Err(UnknownPart { lease, part, attempt })
        }
    }

    fn is_flying(&self, part: PartIndex) -> bool {
        self.nodes
            .values()
            .any(|node| node.link == Link::Ready && node.flights.contains_key(&part))
    }

    /// Sets a part that is not over to running or queued, whichever it is.
    fn settle_part(&mut self, part: PartIndex) {
        let state = if self.is_flying(part) {
            PartState::Running
        } else {
            PartState::Queued
        };
        let Some(entry) = self.get_mut(part).filter(|part| !part.is_over()) else {
            return;
        };
        entry.state = state;
        if state == PartState::Queued {
            self.queued.insert(part);
        } else {
            self.queued.remove(&part);
        }
    }

    fn take_lease(&mut self, lease: LeaseId, slots: u32, effects: &mut Vec<PartEffect>) {
        let new = Node {
            link: Link::Ready,
            slots,
            flights: BTreeMap::new(),
            strikes: 0,
        };
        let node = self.nodes.entry(lease).or_insert(new);
        if node.link == Link::Closed {
            return;
        }
        node.link = Link::Ready;
        node.slots = slots.max(1);
        for (part, attempt) in node.flights.clone() {
            let unwanted = self.get(part).is_some_and(Part::is_over) && !self.is_check(part, attempt);
            if unwanted || self.is_void(lease, part, attempt) {
                self.end_flight(lease, part);
                effects.push(PartEffect::Cancel { lease, part, attempt });
            } else {
                self.settle_part(part);
            }
        }
    }

    fn leave(&mut self, lease: LeaseId, link: Link) {
        if self.leases > 0 && link == Link::Closed {
            self.nodes.entry(lease).or_insert_with(Node::never_ready);
        }
        let Some(node) = self.nodes.get_mut(&lease).filter(|node| node.link != Link::Closed) else {
            return;
        };
        node.link = link;
        let flights = node.flights.clone();
        if link == Link::Closed {
            node.flights.clear();
        }
        for part in flights.into_keys() {
            self.settle_part(part);
        }
    }

    fn end_flight(&mut self, lease: LeaseId, part: PartIndex) {
        if let Some(node) = self.nodes.get_mut(&lease) {
            node.flights.remove(&part);
        }
    }

    fn finish(
        &mut self,
        lease: LeaseId,
        (part, attempt): (PartIndex, u32),
        digest: BlobHash,
        effects: &mut Vec<PartEffect>,
    ) {
        self.end_try(lease, part, attempt);
        if self.is_void(lease, part, attempt) || self.vote(lease, (part, attempt), digest) {
            return;
        }
        let Some(entry) = self.get_mut(part).filter(|part| !part.is_over()) else {
            return;
        };
        entry.state = PartState::Done { attempt };
        if let Some(node) = self.nodes.get_mut(&lease) {
            node.strikes = 0;
        }
        effects.push(PartEffect::Keep { lease, part, attempt });
        self.hold_result(lease, part, digest);
        self.close_part(part, effects);
    }

    /// Whether that very try was still under way there.
    fn end_try(&mut self, lease: LeaseId, part: PartIndex, attempt: u32) -> bool {
        let flying = self.nodes.get(&lease).and_then(|node| node.flights.get(&part)) == Some(&attempt);
        if flying {
            self.end_flight(lease, part);
        }
        flying
    }

    /// A part that is over leaves the queue, and its other tries are ended where they can be reached; those on a lost
    /// node are when it comes back.
    fn close_part(&mut self, part: PartIndex, effects: &mut Vec<PartEffect>) {
        self.queued.remove(&part);
        for (lease, node) in self.nodes.iter_mut().filter(|(_, node)| node.link == Link::Ready) {
            if let Some(attempt) = node.flights.remove(&part) {
                effects.push(PartEffect::Cancel {
                    lease: *lease,
                    part,
                    attempt,
                });
            }
        }
    }

    fn fail(
        &mut self,
        lease: LeaseId,
        (part, attempt): (PartIndex, u32),
        fault: PartFault,
        effects: &mut Vec<PartEffect>,
    ) {
        if !self.end_try(lease, part, attempt) {
            return;
        }
        if fault == PartFault::Provider {
            self.strike(lease, effects);
        }
        if self.is_void(lease, part, attempt) || self.refuse_check(lease, (part, attempt)) {
            return;
        }
        let (error_retries, provider_retries) = (self.policy.error_retries, self.policy.provider_fault_retries);
        let Some(entry) = self.get_mut(part).filter(|part| !part.is_over()) else {
            return;
        };
        entry.failed_on.insert(lease);
        let (count, most) = match fault {
            PartFault::Error => (&mut entry.errors, error_retries),
            PartFault::Provider => (&mut entry.provider_faults, provider_retries),
        };
        *count = count.saturating_add(1);
        if *count > most {
            entry.state = PartState::GivenUp { fault };
            effects.push(PartEffect::GiveUp { part, fault });
            self.close_part(part, effects);
        } else {
            self.settle_part(part);
        }
    }

    fn strike(&mut self, lease: LeaseId, effects: &mut Vec<PartEffect>) {
        let most = self.policy.strikes;
        let Some(node) = self.nodes.get_mut(&lease).filter(|node| node.link != Link::Closed) else {
            return;
        };
        node.strikes = node.strikes.saturating_add(1);
        if node.strikes >= most {
            effects.push(PartEffect::Drop { lease });
            self.leave(lease, Link::Closed);
        }
    }

    /// Gives queued parts to free slots, the first part first, each to the least busy lease that it did not fail on.
    fn assign(&mut self, effects: &mut Vec<PartEffect>) {
        if !self.nodes.values().any(Node::is_free) {
            return;
        }
        for part in self.queued.clone() {
            let Some(lease) = self.choose(part) else { continue };
            let Some(attempt) = self.start_try(lease, part) else {
                continue;
            };
            if let Some(entry) = self.get_mut(part) {
                entry.state = PartState::Running;
            }
            self.queued.remove(&part);
            effects.push(PartEffect::Assign { lease, part, attempt });
            if !self.nodes.values().any(Node::is_free) {
                return;
            }
        }
    }

    /// Names a new try of the part, which runs on that lease from now on.
    fn start_try(&mut self, lease: LeaseId, part: PartIndex) -> Option<u32> {
        let entry = self.parts.get_mut(usize::try_from(part.0).ok()?)?;
        let node = self.nodes.get_mut(&lease)?;
        let attempt = u32::try_from(entry.attempts.len()).ok()?;
        entry.attempts.push(lease);
        node.flights.insert(part, attempt);
        Some(attempt)
    }

    fn choose(&self, part: PartIndex) -> Option<LeaseId> {
        let failed_on = &self.get(part)?.failed_on;
        let ready = || self.nodes.iter().filter(|(_, node)| node.link == Link::Ready);
        let fresh_exists = ready().any(|(lease, _)| !failed_on.contains(lease));
        ready()
            .filter(|(lease, node)| node.is_free() && !(fresh_exists && failed_on.contains(*lease)))
            .min_by_key(|(_, node)| node.flights.len())
            .map(|(lease, _)| *lease)
    }

    fn release(&mut self, effects: &mut Vec<PartEffect>) {
        let finished = self.is_finished();
        let idle_goes =
            self.policy.release == ReleaseRule::WhenIdle && self.queued.is_empty() && self.are_checks_over();
        for (lease, node) in self.nodes.iter_mut().filter(|(_, node)| node.link != Link::Closed) {
            let idle = idle_goes && node.link == Link::Ready && node.flights.is_empty();
            if finished || idle {
                node.link = Link::Closed;
                node.flights.clear();
                effects.push(PartEffect::Release { lease: *lease });
            }
        }
    }

    /// What was asked for before a restart is asked for again.
    fn repeat(&self, effects: &mut Vec<PartEffect>) {
        for (lease, node) in &self.nodes {
            match node.link {
                Link::Ready => effects.extend(node.flights.iter().map(|(part, attempt)| PartEffect::Assign {
                    lease: *lease,
                    part: *part,
                    attempt: *attempt,
                })),
                Link::Lost => {}
                Link::Closed if self.is_outvoted(lease) => effects.push(PartEffect::Outvoted { lease: *lease }),
                Link::Closed => effects.push(PartEffect::Release { lease: *lease }),
            }
        }
    }
}

impl Part {
    const fn is_over(&self) -> bool {
        matches!(self.state, PartState::Done { .. } | PartState::GivenUp { .. })
    }
}

impl Node {
    /// One that ended before it could be given anything.
    const fn never_ready() -> Self {
        Self {
            link: Link::Lost,
            slots: 0,
            flights: BTreeMap::new(),
            strikes: 0,
        }
    }

    fn is_free(&self) -> bool {
        let slots = usize::try_from(self.slots).unwrap_or(usize::MAX);
        self.link == Link::Ready && self.flights.len() < slots
    }
}

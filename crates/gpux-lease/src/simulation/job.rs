//! One job of the world: the part queue that its renter's daemon keeps beside the machines of its leases.

use super::bug::Bug;
use super::ledger::{Invariant, Violation, broken};
use super::pair::{Lease, lease_id};
use super::world::World;
use super::{JobPlan, Logged, RenterKind};
use crate::parts::{PartEffect, PartEvent, PartPolicy, PartQueue, PartState, ReleaseRule};
use crate::renter::RenterEvent;
use gpux_types::{LeaseId, PartIndex};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Job {
    index: usize,
    pub(super) plan: JobPlan,
    leases: Vec<usize>,
    queue: PartQueue,
    journal: PartQueue,
    /// The world's own list of what was done once.
    done: BTreeSet<PartIndex>,
    /// Which try's result is on the renter's disk.
    kept: BTreeMap<PartIndex, (LeaseId, u32)>,
    starved: bool,
}

fn new_queue(job: usize, plan: JobPlan, leases: usize, bug: Option<Bug>) -> PartQueue {
    let policy = PartPolicy {
        provider_fault_retries: 2,
        error_retries: 1,
        strikes: 3,
        release: if job.is_multiple_of(2) {
            ReleaseRule::WhenDone
        } else {
            ReleaseRule::WhenIdle
        },
    };
    let over = match bug {
        Some(Bug::QueueCountsNoLeases) => 0,
        _ => u32::try_from(leases).unwrap(),
    };
    PartQueue::new(policy, plan.parts).over(over)
}

/// What the queue asks of a lease's machine.
type Asked = (usize, RenterEvent);

impl Job {
    pub(super) fn new(index: usize, plan: JobPlan, leases: Vec<usize>, bug: Option<Bug>) -> Self {
        let queue = new_queue(index, plan, leases.len(), bug);
        Self {
            index,
            plan,
            leases,
            journal: queue.clone(),
            queue,
            done: BTreeSet::new(),
            kept: BTreeMap::new(),
            starved: false,
        }
    }

    /// What should run on a lease.
    pub(super) fn wanted(&self, lease: usize) -> Vec<(PartIndex, u32)> {
        self.queue.running_on(&lease_id(lease)).collect()
    }

    /// The daemon starts from what it wrote down.
    pub(super) fn restart(&mut self, world: &World) {
        let text = serde_json::to_string(&self.journal).unwrap();
        self.queue = serde_json::from_str(&text).unwrap();
        assert_eq!(self.queue, self.journal, "the journal reads back what was written");
        if world.bug == Some(Bug::QueueIsNotJournaled) {
            self.queue = new_queue(self.index, self.plan, self.leases.len(), world.bug);
        }
    }

    pub(super) fn take(&mut self, world: &mut World, event: PartEvent) -> Result<Vec<Asked>, Violation> {
        let now = world.daemons[self.plan.renter].now(world.at_ms);
        world.note(now, self.index, Logged::Part(event));
        let Ok(effects) = self.queue.handle(event) else {
            return Ok(Vec::new());
        };
        let mut asked = Vec::new();
        for effect in &effects {
            match *effect {
                // The result lies on the disk before the queue says so: a crash between is mended by the next report.
                PartEffect::Keep { lease, part, attempt } => {
                    self.kept.insert(part, (lease, attempt));
                }
                PartEffect::Release { lease } => asked.push((lease, RenterEvent::PartsDrained)),
                PartEffect::Drop { lease } => asked.push((lease, RenterEvent::StopRequested)),
                PartEffect::Outvoted { lease } => asked.push((lease, RenterEvent::Outvoted)),
                PartEffect::Starved => self.starved = true,
                PartEffect::Assign { .. }
                | PartEffect::Cancel { .. }
                | PartEffect::GiveUp { .. }
                // No simulated job asks for checks: whose results are right is no matter of messages and crashes.
                | PartEffect::Draw
                | PartEffect::Discard { .. }
                | PartEffect::Finish(_) => {}
            }
        }
        if !effects.is_empty() {
            self.journal = self.queue.clone();
        }
        self.check_done(world.at_ms)?;
        let asked = asked.into_iter().map(|(lease, event)| (self.find(lease), event));
        Ok(asked.collect())
    }

    fn check_done(&mut self, at_ms: u64) -> Result<(), Violation> {
        for part in (0..self.plan.parts).map(PartIndex) {
            let done = matches!(self.queue.part(part), Some(PartState::Done { .. }));
            if done {
                self.done.insert(part);
            } else if self.done.contains(&part) {
                let detail = format!("part {part} of job {} is to be done again", self.index);
                return Err(broken(Invariant::DonePartsStayDone, at_ms, detail));
            }
        }
        Ok(())
    }

    fn find(&self, id: LeaseId) -> usize {
        let mut leases = self.leases.iter();
        *leases.find(|lease| lease_id(**lease) == id).unwrap()
    }

    /// Checked once, when everything should be over.
    pub(super) fn check_end(&self, world: &World, leases: &[Lease]) -> Result<(), Violation> {
        let at_ms = world.at_ms;
        let careless = |lease: &usize| leases[*lease].plan.deal.renter == RenterKind::NeverResends;
        if !world.daemons[self.plan.renter].up || self.leases.iter().any(careless) {
            return Ok(());
        }
        for part in (0..self.plan.parts).map(PartIndex) {
            let Some(PartState::Done { attempt }) = self.queue.part(part) else {
                continue;
            };
            let delivered = self
                .kept
                .get(&part)
                .is_some_and(|(lease, kept)| *kept == attempt && leases[self.find(*lease)].delivered(part, attempt));
            if !delivered {
                let detail = format!("part {part} of job {}, attempt {attempt}", self.index);
                return Err(broken(Invariant::KeptPartsWereDelivered, at_ms, detail));
            }
        }
        let nobody_left = self.leases.iter().all(|lease| leases[*lease].renter_ended());
        if self.queue.is_finished() || (nobody_left && self.starved) {
            return Ok(());
        }
        let detail = format!("job {}: {:?}, {:?}", self.index, self.queue.summary(), self.queue);
        Err(broken(Invariant::JobEnds, at_ms, detail))
    }
}

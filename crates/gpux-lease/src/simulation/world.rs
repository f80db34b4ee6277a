//! The clockwork: one step moves work, chain, network and all daemons on by [`STEP_MS`].
//!
//! [`World`] is what the leases share; [`run`] owns it, the leases and the jobs, and checks the invariants after every
//! event that a machine took and every step.

use super::bug::Bug;
use super::chain::{BLOCK_SECS, Call, Chain, GRACE_SECS, Payees};
use super::host::{Daemon, Head};
use super::job::Job;
use super::ledger::{Invariant, Violation, broken};
use super::network::{Chance, Letter, Network};
use super::pair::{self, Lease};
use super::{CrashPoint, Entry, Failure, Logged, Plan, Scenario, Timed, Trouble};
use crate::exposure::Exposure;
use crate::lifecycle::{Actor, EscrowView};
use crate::parts::PartEvent;
use crate::provider::{ProviderEvent, ProviderLease, ProviderState};
use crate::renter::{RenterEvent, RenterLease, RenterState};
use gpux_types::{Amount, BasisPoints, Millis, UnixSeconds};

const STEP_MS: u64 = 100;
const POLL_MS: u64 = 2_000;
/// Nothing is left to happen this long after expiry and grace.
const AFTERMATH_MS: u64 = 120_000;
/// A sender raises its fee until the call is taken, however high fees are.
const BUMPED_WITHIN_MS: u64 = 30_000;

/// What all leases share.
pub(super) struct World {
    pub(super) at_ms: u64,
    pub(super) bug: Option<Bug>,
    /// Of money that counts, and of ends that do.
    pub(super) depths: (u32, u32),
    inclusion_ms: u64,
    preparation_ms: u64,
    pub(super) chain: Chain,
    network: Network,
    pub(super) chance: Chance,
    pub(super) daemons: Vec<Daemon>,
    /// Of each node: what it works off in all on deposits that are not deep.
    pub(super) exposures: Vec<Exposure>,
    fees_high_until_ms: u64,
    log: Vec<Entry>,
    /// What the jobs have not heard yet: always empty between two events.
    pub(super) news: Vec<(usize, PartEvent)>,
}

impl World {
    fn new(plan: &Plan, bug: Option<Bug>) -> Self {
        let mut chance = Chance(plan.seed);
        let daemons = plan.clocks_ppm.iter();
        let daemons = daemons.map(|ppm| Daemon::new(*ppm, chance.below(1 << 40))).collect();
        let leases = plan.leases.iter().map(|lease| Payees {
            renter: lease.renter,
            provider: lease.provider,
            share: BasisPoints::new(lease.deal.builder_bps).unwrap(),
        });
        Self {
            at_ms: 0,
            bug,
            depths: (plan.depth, plan.end_depth),
            inclusion_ms: plan.inclusion_ms,
            preparation_ms: plan.preparation_ms,
            chain: Chain::new(plan.clocks_ppm.len(), leases.collect(), bug),
            network: Network::new(plan.latency_ms, plan.loss_percent, plan.repeat_percent),
            chance,
            daemons,
            exposures: (0..plan.clocks_ppm.len()).map(|node| exposure(plan, node)).collect(),
            fees_high_until_ms: 0,
            log: Vec::new(),
            news: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, now: Millis, of: usize, event: Logged) {
        self.log.push(Entry {
            at_ms: self.at_ms,
            now_ms: now.0,
            of,
            event,
        });
    }

    pub(super) fn post(&mut self, letter: Letter) {
        self.network.send(self.at_ms, letter, &mut self.chance);
    }

    /// Sends a call from a node, which is mined when its endpoint takes it and its fee is high enough.
    pub(super) fn call(&mut self, node: usize, lease: usize, call: Call) {
        let waits = if self.inclusion_ms > 0 {
            self.chance.below(self.inclusion_ms + 1)
        } else {
            0
        };
        let bumped = self.fees_high_until_ms.min(self.at_ms + BUMPED_WITHIN_MS);
        let taken = self.daemons[node].answered_from_ms(self.at_ms);
        self.chain.send(lease, call, bumped.max(taken + waits));
    }

    /// What a node's endpoint tells of a lease and of block time, if it answers.
    pub(super) fn look(&self, node: usize, lease: usize, depths: (u32, u32)) -> Option<(EscrowView, UnixSeconds)> {
        let daemon = &self.daemons[node];
        let (behind, ahead_secs) = self.chain.behind(daemon.head(self.at_ms))?;
        let time = self.chain.time();
        let time = UnixSeconds(time.0 - BLOCK_SECS * u64::from(behind)).plus_secs(ahead_secs);
        daemon.up.then(|| (self.chain.view(lease, behind, depths), time))
    }

    pub(super) fn crash(&mut self, node: usize, down_ms: u64) {
        self.daemons[node].go_down(self.at_ms.saturating_add(down_ms));
    }

    pub(super) fn chance_of_slow_start(&mut self) -> u64 {
        match self.preparation_ms.saturating_sub(2_500) {
            0 => 0,
            more => self.chance.below(more),
        }
    }
}

/// The most that any of the node's leases was to have.
fn exposure(plan: &Plan, node: usize) -> Exposure {
    let leases = plan.leases.iter().filter(|lease| lease.provider == node);
    let bound = leases.map(|lease| pair::exposure(&lease.deal)).max();
    Exposure::new(bound.unwrap_or_default())
}

struct Clockwork<'a> {
    plan: &'a Plan,
    world: World,
    leases: Vec<Lease>,
    jobs: Vec<Job>,
    happened: Vec<bool>,
}

/// How a lease went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) provider: ProviderState,
    pub(super) renter: RenterState,
    pub(super) paid: Amount,
    pub(super) delivered: Millis,
    /// What each side lost, in milliseconds of rent: the provider, the renter.
    pub(super) lost_ms: (u64, u64),
    pub(super) machines: (ProviderLease, RenterLease),
}

/// How a run ended that broke nothing.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) leases: Vec<Outcome>,
    pub(super) simulated_ms: u64,
    pub(super) log: Vec<Entry>,
}

/// One lease between two nodes.
pub(super) fn run(scenario: &Scenario, bug: Option<Bug>) -> Result<(Outcome, Vec<Entry>), Box<Failure>> {
    let mut story = run_plan(&scenario.plan(), bug)?;
    Ok((story.leases.remove(0), story.log))
}

/// Many.
pub(super) fn run_plan(plan: &Plan, bug: Option<Bug>) -> Result<Story, Box<Failure>> {
    let mut clockwork = Clockwork {
        plan,
        world: World::new(plan, bug),
        leases: Vec::new(),
        jobs: Vec::new(),
        happened: vec![false; plan.troubles.len()],
    };
    match clockwork.run() {
        Ok(()) => Ok(clockwork.story()),
        Err(violation) => Err(Box::new(Failure {
            violation,
            plan: plan.clone(),
            log: clockwork.world.log,
        })),
    }
}

impl Clockwork<'_> {
    fn story(self) -> Story {
        let chain = &self.world.chain;
        let leases = self.leases.into_iter().map(|lease| Outcome {
            provider: lease.provider.machine.state(),
            renter: lease.renter.machine.state(),
            paid: chain.slot(lease.index).claimed,
            delivered: Millis(lease.shim.delivered_ms),
            lost_ms: lease.ledger.losses_ms(&lease.shim, chain),
            machines: (lease.provider.machine, lease.renter.machine),
        });
        Story {
            leases: leases.collect(),
            simulated_ms: self.world.at_ms,
            log: self.world.log,
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        for (index, job) in self.plan.jobs.iter().enumerate() {
            let of_job = |lease: &usize| self.plan.leases[*lease].job == index;
            let leases = (0..self.plan.leases.len()).filter(of_job).collect();
            self.jobs.push(Job::new(index, *job, leases, self.world.bug));
        }
        for index in 0..self.plan.leases.len() {
            let lease = Lease::new(index, self.plan, &mut self.world)?;
            self.leases.push(lease);
        }
        for index in 0..self.leases.len() {
            self.with_lease(index, Lease::begin)?;
        }
        let last_ms = self.plan.troubles.iter().map(Timed::over_at_ms).max().unwrap_or(0);
        let expiry_secs = self.plan.leases.iter().map(|lease| lease.deal.expiry_secs).max();
        let end_ms = last_ms.max((expiry_secs.unwrap_or(0) + GRACE_SECS) * 1_000) + AFTERMATH_MS;
        while self.world.at_ms < end_ms && !self.is_over() {
            self.world.at_ms += STEP_MS;
            self.step()?;
        }
        for lease in &self.leases {
            let end = lease.ledger.check_end(self.world.at_ms, &lease.shim, &self.world.chain);
            end.map_err(|violation| violation.of(lease.index))?;
        }
        self.jobs
            .iter()
            .try_for_each(|job| job.check_end(&self.world, &self.leases))
    }

    fn is_over(&self) -> bool {
        self.world.at_ms >= self.plan.least_ms
            && self.leases.iter().all(Lease::is_over)
            && self.happened.iter().all(|happened| *happened)
            && self.world.daemons.iter().all(|daemon| daemon.up)
            && self.world.chain.is_quiet()
    }

    /// Lets something happen to a lease, tells the jobs what follows, and the leases what follows from that.
    fn with_lease(
        &mut self,
        index: usize,
        what: impl FnOnce(&mut Lease, &mut World) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let (lease, world) = (&mut self.leases[index], &mut self.world);
        what(lease, world)
            .and_then(|()| lease.ledger.check(world.at_ms, &lease.shim, &world.chain))
            .map_err(|violation| violation.of(index))?;
        self.tell_jobs()
    }

    fn tell_jobs(&mut self) -> Result<(), Violation> {
        while !self.world.news.is_empty() {
            for (job, event) in std::mem::take(&mut self.world.news) {
                if !self.world.daemons[self.plan.jobs[job].renter].up {
                    continue;
                }
                for (lease, event) in self.jobs[job].take(&mut self.world, event)? {
                    self.leases[lease].tell_renter(&mut self.world, event)?;
                }
            }
        }
        Ok(())
    }

    fn each_lease(&mut self, what: impl Fn(&mut Lease, &mut World) -> Result<(), Violation>) -> Result<(), Violation> {
        (0..self.leases.len()).try_for_each(|index| self.with_lease(index, &what))
    }

    fn step(&mut self) -> Result<(), Violation> {
        for lease in &mut self.leases {
            lease.work(STEP_MS);
        }
        for index in 0..self.plan.troubles.len() {
            let Timed { at_ms, trouble } = self.plan.troubles[index];
            if !self.happened[index] && self.world.at_ms >= at_ms {
                self.happened[index] = true;
                self.happen(trouble)?;
            }
        }
        if self.world.at_ms.is_multiple_of(BLOCK_SECS * 1_000) {
            self.mine()?;
        }
        self.restart_daemons()?;
        self.each_lease(Lease::end_tasks)?;
        for letter in self.world.network.arrived(self.world.at_ms) {
            self.with_lease(letter.lease, |lease, world| lease.deliver(world, letter.message))?;
        }
        self.each_lease(Lease::tick)?;
        if self.world.at_ms.is_multiple_of(POLL_MS) {
            for lease in &mut self.leases {
                let wanted = self.jobs[lease.plan.job].wanted(lease.index);
                lease.poll(&mut self.world, wanted);
            }
        }
        for lease in &mut self.leases {
            let daemon = &self.world.daemons[lease.plan.provider];
            let (up, answered) = (daemon.up, daemon.head(self.world.at_ms) != Head::Stalled);
            lease.ledger.provider_is_up(self.world.at_ms, up, up && answered);
            let (shim, chain) = (&lease.shim, &self.world.chain);
            let checked = lease.ledger.check(self.world.at_ms, shim, chain);
            checked.map_err(|violation| violation.of(lease.index))?;
            let idle = lease.check_idle(self.world.at_ms);
            idle.map_err(|violation| violation.of(lease.index))?;
        }
        (0..self.world.daemons.len()).try_for_each(|node| self.check_exposure(node))
    }

    fn check_exposure(&self, node: usize) -> Result<(), Violation> {
        let leases = || self.leases.iter().filter(|lease| lease.plan.provider == node);
        // What a reorganisation has taken is the loss that the bound is for.
        if leases().any(|lease| lease.ledger.was_reorganised()) {
            return Ok(());
        }
        let sum = |of: &dyn Fn(&Lease) -> Amount| leases().map(|lease| of(lease).units()).sum::<u128>();
        let exposed = sum(&|lease| lease.exposed(&self.world));
        let slack = sum(&|lease| lease.exposure_slack());
        let bound = exposure(self.plan, node).bound().units();
        if exposed > bound.saturating_add(slack) {
            let detail = format!("node {node} has {exposed} at risk, and {bound} and {slack} are its bound");
            return Err(broken(Invariant::ExposureIsOfTheNode, self.world.at_ms, detail));
        }
        Ok(())
    }

    fn mine(&mut self) -> Result<(), Violation> {
        for lease in &mut self.leases {
            lease.settle_wildly(&mut self.world);
            lease.grab(&mut self.world);
        }
        let at_ms = self.world.at_ms;
        self.world.chain.mine(at_ms);
        for lease in &mut self.leases {
            let checked = lease.ledger.block_mined(at_ms, &self.world.chain);
            checked.map_err(|violation| violation.of(lease.index))?;
        }
        if let Some(fault) = self.world.chain.fault() {
            return Err(broken(Invariant::MoneyIsConserved, at_ms, fault));
        }
        self.each_lease(Lease::show_blocks)
    }

    fn restart_daemons(&mut self) -> Result<(), Violation> {
        for node in 0..self.world.daemons.len() {
            let at_ms = self.world.at_ms;
            if self.world.daemons[node].up_again_ms.is_none_or(|up| at_ms < up) {
                continue;
            }
            let zero = self.world.chance.below(1 << 40);
            self.world.daemons[node].start(at_ms, zero);
            for job in self.jobs.iter_mut().filter(|job| job.plan.renter == node) {
                job.restart(&self.world);
            }
            for index in 0..self.plan.jobs.len() {
                if self.plan.jobs[index].renter == node {
                    self.world.news.push((index, PartEvent::Restarted));
                }
            }
            self.take_exposure_over(node);
            for index in 0..self.leases.len() {
                let parties = &self.plan.leases[index];
                if parties.provider == node {
                    self.with_lease(index, Lease::restart_provider)?;
                }
                if parties.renter == node {
                    self.with_lease(index, Lease::restart_renter)?;
                }
            }
        }
        Ok(())
    }

    /// What was worked before counts before any lease asks for more.
    fn take_exposure_over(&mut self, node: usize) {
        let mut kept = exposure(self.plan, node);
        for lease in self.leases.iter().filter(|lease| lease.plan.provider == node) {
            kept.share(pair::lease_id(lease.index), lease.provider.journal.exposed().so_far());
        }
        self.world.exposures[node] = kept;
    }

    fn happen(&mut self, trouble: Trouble) -> Result<(), Violation> {
        let at_ms = self.world.at_ms;
        self.world.note(Millis(at_ms), 0, Logged::Happened(trouble));
        for lease in &mut self.leases {
            let parties = (lease.plan.provider, lease.plan.renter);
            lease.ledger.happened(trouble, parties);
        }
        match trouble {
            Trouble::DaemonCrashes { node, down_ms, point } => match point {
                CrashPoint::Between => self.world.crash(node, down_ms),
                CrashPoint::BeforeJournal | CrashPoint::BeforeEffects | CrashPoint::AmidEffects => {
                    self.world.daemons[node].crash = Some((point, down_ms));
                }
            },
            Trouble::NodeDies { node } => {
                let provided = self.leases.iter_mut().filter(|lease| lease.plan.provider == node);
                provided.for_each(|lease| lease.shim.kill());
                self.world.crash(node, u64::MAX);
            }
            Trouble::LinkParts { from, to, for_ms } => self.world.network.cut(from, to, at_ms + for_ms),
            Trouble::HeadLies { node, head, for_ms } => self.world.daemons[node].see(head, at_ms, for_ms),
            Trouble::FeesRise { for_ms } => {
                self.world.fees_high_until_ms = at_ms + for_ms;
                self.world.chain.raise_fees(at_ms + for_ms.min(BUMPED_WITHIN_MS));
            }
            Trouble::ClockSteps { node, by_ms } => self.world.daemons[node].step_clock(by_ms),
            Trouble::Reorganises { blocks, drops_open } => {
                self.world.chain.reorganise(blocks, drops_open);
                self.each_lease(Lease::show_blocks)?;
            }
            Trouble::ShimDies { .. }
            | Trouble::ToppedUp { .. }
            | Trouble::RenterStops { .. }
            | Trouble::RenterGoesAway { .. }
            | Trouble::ProviderStops { .. }
            | Trouble::PreparationFails { .. }
            | Trouble::DepositIsRefused { .. }
            | Trouble::OutOfMemory { .. } => self.happen_to_lease(trouble)?,
        }
        Ok(())
    }

    fn happen_to_lease(&mut self, trouble: Trouble) -> Result<(), Violation> {
        match trouble {
            Trouble::ShimDies { lease } => self.with_lease(lease, Lease::lose_shim),
            Trouble::ToppedUp { lease, secs } => self.with_lease(lease, |lease, world| lease.ask_top_up(world, secs)),
            Trouble::RenterStops { lease } => self.with_lease(lease, |lease, world| {
                lease.tell_renter(world, RenterEvent::StopRequested)
            }),
            Trouble::RenterGoesAway { lease, for_ms } => {
                self.with_lease(lease, |lease, world| lease.go_away(world, Millis(for_ms)))
            }
            Trouble::ProviderStops { lease } => self.with_lease(lease, |lease, world| {
                let by = Actor::Provider;
                lease.tell_provider(world, ProviderEvent::StopRequested { by })
            }),
            Trouble::PreparationFails { lease } => self.with_lease(lease, Lease::fail_preparation),
            Trouble::DepositIsRefused { lease } => self.with_lease(lease, Lease::refuse_deposit),
            Trouble::OutOfMemory { lease } => {
                self.leases[lease].run_out_of_memory();
                Ok(())
            }
            Trouble::DaemonCrashes { .. }
            | Trouble::NodeDies { .. }
            | Trouble::LinkParts { .. }
            | Trouble::HeadLies { .. }
            | Trouble::FeesRise { .. }
            | Trouble::Reorganises { .. }
            | Trouble::ClockSteps { .. } => Ok(()),
        }
    }
}

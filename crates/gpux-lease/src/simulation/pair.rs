//! One lease between two daemons of the world: its life, its clock, and the work at the provider. What the daemons write to
//! each other, and what each side's daemon does with an event and with the effects that follow, is in the files below.
//! Cheating and planted bugs are in all of them.

mod letters;
mod provider;
mod renter;

use super::bug::Bug;
use super::chain::{Call, GENESIS, GRACE_SECS};
use super::host::Kept;
use super::ledger::{Ledger, Violation};
use super::network::{Message, Said};
use super::shim::Shim;
use super::world::World;
use super::{CrashPoint, Deal, LeasePlan, Plan, ProviderKind, RenterKind};
use crate::lifecycle::{Actor, EscrowView, Work};
use crate::meter::Tariff;
use crate::provider::{Closing, Given, ProviderConfig, ProviderEffect, ProviderEvent, ProviderLease, ProviderState};
use crate::renter::{RenterConfig, RenterEvent, RenterLease, RenterState, TopUp};
use gpux_types::{Amount, LeaseId, Millis, PartIndex, PricePerHour, UnixSeconds};

/// How many parts a lease runs side by side.
const SLOTS: u32 = 2;
/// How often daemons compare what they want with the chain.
const RECONCILE_MS: u64 = 60_000;
/// How long the first calls take.
const STOP_MS: u64 = 1_500;

/// Work of the provider's daemon that is under way; a crash ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Prepare,
    Destroy,
}

/// A try of a part at the provider.
#[derive(Debug, Clone, Copy)]
struct Running {
    part: PartIndex,
    attempt: u32,
    left_ms: u64,
    /// Whether it worked.
    over: Option<bool>,
    /// Whether the renter is known to know of its end.
    told: bool,
}

pub(super) struct Lease {
    pub(super) index: usize,
    pub(super) plan: LeasePlan,
    part_ms: u64,
    pub(super) provider: Kept<ProviderLease>,
    pub(super) renter: Kept<RenterLease>,
    pub(super) shim: Shim,
    pub(super) ledger: Ledger,
    tries: Vec<Running>,
    tasks: Vec<(u64, Task)>,
    seen: [Option<EscrowView>; 2],
    first_receipt: Option<Amount>,
    /// The renter's sender has the deposit's bytes.
    deposit_sent: bool,
    /// When something was left to do, or the provider heard of its renter.
    wanted_ms: u64,
}

pub(super) fn provider_config(deal: &Deal) -> ProviderConfig {
    let tariff = tariff(deal);
    let mut config = ProviderConfig::new(tariff);
    config.expiry_margin_secs = 20;
    config.grace_secs = GRACE_SECS;
    if let Some(secs) = deal.closing_wait_secs {
        config.closing = Closing::Offer {
            wait: Millis::from_secs(secs),
        };
        // Those who leave the end to the renter also draw on the way.
        config.draw_from = Some(tariff.due(Millis::from_secs(secs.max(1))));
    }
    config
}

/// What the lease's node would work off if this were its only lease.
pub(super) fn exposure(deal: &Deal) -> Amount {
    tariff(deal).due(Millis::from_secs(deal.exposure_secs))
}

pub(super) fn renter_config(deal: &Deal) -> RenterConfig {
    RenterConfig::new(tariff(deal), GRACE_SECS)
}

pub(super) fn lease_id(index: usize) -> LeaseId {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&(index as u64 + 1).to_be_bytes());
    LeaseId::from(alloy_primitives::B256::from(bytes))
}

fn tariff(deal: &Deal) -> Tariff {
    Tariff::new(PricePerHour(Amount::new(deal.price.into()).unwrap()))
}

impl Lease {
    pub(super) fn new(index: usize, plan: &Plan, world: &mut World) -> Result<Self, Violation> {
        let lease = plan.leases[index];
        let now = |node: usize| world.daemons[node].now(0);
        let (provider, effects) = ProviderLease::request(provider_config(&lease.deal), now(lease.provider));
        let renter = RenterLease::quoted(renter_config(&lease.deal), now(lease.renter));
        let fakes = lease.deal.provider == ProviderKind::FakesProgress;
        let mut lease = Self {
            index,
            plan: lease,
            part_ms: plan.jobs[lease.job].part_ms,
            provider: Kept::new(provider),
            renter: Kept::new(renter),
            shim: Shim::new(plan.clocks_ppm[lease.provider], fakes),
            ledger: Ledger::new(index, lease.deal, plan.inclusion_ms),
            tries: Vec::new(),
            tasks: Vec::new(),
            seen: [None; 2],
            first_receipt: None,
            deposit_sent: false,
            wanted_ms: 0,
        };
        lease.perform_all_for_provider(world, effects)?;
        Ok(lease)
    }

    /// The renter says yes.
    pub(super) fn begin(&mut self, world: &mut World) -> Result<(), Violation> {
        self.tell_renter(world, RenterEvent::Accepted)?;
        if self.plan.deal.provider == ProviderKind::AsksEarly {
            let metered = Millis::ZERO;
            self.tell_renter(
                world,
                RenterEvent::ReceiptAsked {
                    cumulative: Amount::MAX,
                    metered,
                    work: Work::Idle,
                },
            )?;
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.provider_ended() && self.renter_ended()
    }

    fn provider_ended(&self) -> bool {
        matches!(self.provider.machine.state(), ProviderState::Ended { .. })
    }

    pub(super) fn renter_ended(&self) -> bool {
        use RenterState as S;
        matches!(
            self.renter.machine.state(),
            S::Settled { .. } | S::Reclaimed { .. } | S::Failed { .. }
        )
    }

    fn provider_up(&self, world: &World) -> bool {
        world.daemons[self.plan.provider].up
    }

    fn renter_up(&self, world: &World) -> bool {
        world.daemons[self.plan.renter].up
    }

    /// The work goes on, whatever the daemons do.
    pub(super) fn work(&mut self, ms: u64) {
        let before = self.shim.delivered_ms;
        self.shim.step(ms);
        let worked = self.shim.delivered_ms - before;
        if worked > 0 {
            for running in self.tries.iter_mut().filter(|running| running.over.is_none()) {
                running.left_ms = running.left_ms.saturating_sub(worked);
                if running.left_ms == 0 {
                    running.over = Some(true);
                }
            }
        }
    }

    /// An honest provider lets nobody pay for a node that stands idle.
    pub(super) fn check_idle(&mut self, at_ms: u64) -> Result<(), Violation> {
        if self.given() == Given::Unfinished || self.shim.work() != Work::Running {
            self.wanted_ms = at_ms;
        }
        self.ledger.stood_idle(at_ms, at_ms - self.wanted_ms)
    }

    fn given(&self) -> Given {
        if self.tries.iter().any(|running| running.over.is_none()) {
            Given::Unfinished
        } else if self.tries.iter().all(|running| running.told) {
            Given::Told
        } else {
            Given::Untold
        }
    }

    /// The provider's daemon looks at its parts.
    fn see_parts(&mut self, world: &mut World) -> Result<(), Violation> {
        let given = self.given();
        if given == self.provider.machine.given() || world.bug == Some(Bug::BillsIdleLeases) {
            return Ok(());
        }
        self.tell_provider(world, ProviderEvent::PartsSeen(given))
    }

    /// The running parts are killed for what they used.
    pub(super) fn run_out_of_memory(&mut self) {
        for running in self.tries.iter_mut().filter(|running| running.over.is_none()) {
            running.over = Some(false);
        }
    }

    /// Whether this try really ran to its end here.
    pub(super) fn delivered(&self, part: PartIndex, attempt: u32) -> bool {
        let mut tries = self.tries.iter();
        tries.any(|running| running.part == part && running.attempt == attempt && running.over == Some(true))
    }

    /// What its node has at risk by it on blocks that are not deep, as the world knows it.
    pub(super) fn exposed(&self, world: &World) -> Amount {
        let due = tariff(&self.plan.deal).due(self.shim.metered());
        match world.chain.view(self.index, 0, world.depths) {
            EscrowView::Open { assured, .. } => due.saturating_sub(assured),
            EscrowView::Absent => due,
            EscrowView::Closed { .. } => Amount::ZERO,
        }
    }

    /// By how much it may go beyond its share.
    pub(super) fn exposure_slack(&self) -> Amount {
        self.ledger.exposure_slack()
    }

    /// What each side sees of the chain: the renter relies on the newest block and on an end that is deep, the
    /// provider on nothing that is not deep.
    pub(super) fn show_blocks(&mut self, world: &mut World) -> Result<(), Violation> {
        let (depth, end_depth) = world.depths;
        if let Some((view, time)) = world.look(self.plan.provider, self.index, (depth, end_depth)) {
            self.tell_provider(world, ProviderEvent::BlockSeen { time })?;
            if self.seen[0] != Some(view) {
                self.seen[0] = Some(view);
                self.tell_provider(world, ProviderEvent::EscrowSeen(view))?;
            }
        }
        let Some((view, time)) = world.look(self.plan.renter, self.index, (0, end_depth)) else {
            return Ok(());
        };
        self.rebroadcast(world);
        self.tell_renter(world, RenterEvent::BlockSeen { time })?;
        let forgotten = world.bug == Some(Bug::RefusedDepositsAreForgotten)
            && matches!(self.renter.machine.state(), RenterState::Unfunded { .. });
        if self.seen[1] != Some(view) && !forgotten {
            self.seen[1] = Some(view);
            self.tell_renter(world, RenterEvent::EscrowSeen(view))?;
        }
        if let Some(last) = self.renter.machine.next_top_up().checked_sub(1)
            && world.chain.is_mined(
                self.index,
                |call| matches!(call, Call::TopUp { number, .. } if *number == last),
            )
        {
            self.tell_renter(world, RenterEvent::TopUpEnded { number: last })?;
        }
        Ok(())
    }

    /// The renter tries what the escrow must refuse.
    pub(super) fn grab(&mut self, world: &mut World) {
        if self.plan.deal.renter == RenterKind::Grabs && self.renter_up(world) {
            let amount = Amount::ZERO;
            for call in [self.opening(), Call::Close { amount, signed: false }, Call::Reclaim] {
                world.chain.force(self.index, call, world.at_ms);
            }
        }
    }

    pub(super) fn restart_provider(&mut self, world: &mut World) -> Result<(), Violation> {
        self.provider.read_back();
        self.tasks.clear();
        self.seen[0] = None;
        if world.bug != Some(Bug::RestartsAreForgotten) {
            self.tell_provider(world, ProviderEvent::Restarted)?;
        }
        self.show_blocks(world)?;
        let metered = self.shim.metered();
        if self.shim.exists() && self.shim.work() == Work::Gone {
            self.tell_provider(world, ProviderEvent::ShimLost { metered })
        } else {
            self.read_meter(world)
        }
    }

    pub(super) fn restart_renter(&mut self, world: &mut World) -> Result<(), Violation> {
        self.renter.read_back();
        self.seen[1] = None;
        if world.bug != Some(Bug::EndedLeasesAreForgotten) || !self.renter_ended() {
            self.tell_renter(world, RenterEvent::Restarted)?;
        }
        self.show_blocks(world)
    }

    pub(super) fn end_tasks(&mut self, world: &mut World) -> Result<(), Violation> {
        if !self.provider_up(world) {
            self.tasks.clear();
        }
        let at_ms = world.at_ms;
        for (_, task) in self.tasks.extract_if(.., |(due, _)| *due <= at_ms).collect::<Vec<_>>() {
            match task {
                Task::Prepare => {
                    self.shim.create();
                    self.tell_provider(world, ProviderEvent::Prepared)?;
                    if world.bug == Some(Bug::StartsUnpaidWork) {
                        self.shim.execute();
                    }
                }
                Task::Destroy => {
                    self.shim.kill();
                    let metered = self.shim.metered();
                    let work = Work::Gone;
                    self.tell_provider(world, ProviderEvent::Metered { metered, work })?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn fail_preparation(&mut self, world: &mut World) -> Result<(), Violation> {
        self.tasks.retain(|(_, task)| *task != Task::Prepare);
        if self.shim.exists() {
            return Ok(());
        }
        self.tell_provider(world, ProviderEvent::PreparationFailed { by: Actor::Network })
    }

    /// What was handed over stays on its way; the sender only says that it failed.
    pub(super) fn refuse_deposit(&mut self, world: &mut World) -> Result<(), Violation> {
        let expiry = UnixSeconds(GENESIS + self.plan.deal.expiry_secs);
        self.tell_renter(world, RenterEvent::OpenFailed { expiry })
    }

    pub(super) fn lose_shim(&mut self, world: &mut World) -> Result<(), Violation> {
        if !self.shim.exists() {
            return Ok(());
        }
        self.shim.kill();
        let metered = self.shim.metered();
        self.tell_provider(world, ProviderEvent::ShimLost { metered })
    }

    pub(super) fn ask_top_up(&mut self, world: &mut World, secs: u64) -> Result<(), Violation> {
        let number = self.renter.machine.next_top_up();
        let amount = tariff(&self.plan.deal).due(Millis::from_secs(secs));
        let new_expiry = None;
        self.tell_renter(
            world,
            RenterEvent::TopUpRequested(TopUp {
                number,
                amount,
                new_expiry,
            }),
        )
    }

    pub(super) fn go_away(&mut self, world: &mut World, horizon: Millis) -> Result<(), Violation> {
        if self.renter_up(world) {
            self.ledger.renter_goes_away(&self.shim, horizon);
        }
        let horizon = if world.bug == Some(Bug::SignsBeyondItsHorizon) {
            Millis(horizon.0.saturating_mul(10))
        } else {
            horizon
        };
        self.tell_renter(world, RenterEvent::GoesAway { horizon })
    }

    /// Once a minute each daemon compares what it wants with what its endpoint shows.
    fn reconcile(&mut self, world: &mut World) -> Result<(), Violation> {
        let (_, end_depth) = world.depths;
        let claimed = world.chain.slot(self.index).claimed;
        if self.provider_up(world)
            && let Some((view, _)) = world.look(self.plan.provider, self.index, (0, end_depth))
            && let Some(effect) = self.unmet(world, view, claimed)
        {
            self.perform_provider(world, effect)?;
        }
        if self.renter_up(world)
            && let Some((view, _)) = world.look(self.plan.renter, self.index, (0, end_depth))
            && let Some(effect) = self.renter.machine.unmet(view)
        {
            self.perform_renter(world, RenterEvent::Ticked, effect)?;
        }
        Ok(())
    }

    fn unmet(&self, world: &World, view: EscrowView, claimed: Amount) -> Option<ProviderEffect> {
        let machine = &self.provider.machine;
        if world.bug == Some(Bug::ReconcilesTooMuch) {
            return machine
                .receipt()
                .map(|receipt| machine.settlement(receipt.cumulative()));
        }
        machine.unmet(view, claimed)
    }

    /// Timers of both daemons.
    pub(super) fn tick(&mut self, world: &mut World) -> Result<(), Violation> {
        if world.at_ms.is_multiple_of(RECONCILE_MS) {
            self.reconcile(world)?;
        }
        let [provider, renter] =
            [self.plan.provider, self.plan.renter].map(|node| world.daemons[node].now(world.at_ms));
        if self.provider_up(world) && self.provider.is_due(provider) {
            self.provider.wake = None;
            self.read_meter(world)?;
        }
        if self.renter_up(world) && self.renter.is_due(renter) {
            self.renter.wake = None;
            self.tell_renter(world, RenterEvent::Ticked)?;
        }
        Ok(())
    }

    /// The renter asks how the work is and says what it wants done.
    pub(super) fn poll(&mut self, world: &mut World, wanted: Vec<(PartIndex, u32)>) {
        if self.renter_up(world) {
            self.send(world, Message::ToProvider(Said::Poll { wanted }));
        }
    }

    fn read_meter(&mut self, world: &mut World) -> Result<(), Violation> {
        self.see_parts(world)?;
        if self.shim.exists() {
            let (metered, work) = (self.shim.metered(), self.shim.work());
            self.tell_provider(world, ProviderEvent::Metered { metered, work })
        } else {
            self.tell_provider(world, ProviderEvent::Ticked)
        }
    }
}

/// How many of an event's effects are performed before the daemon crashes.
fn effects_before(crash: Option<(CrashPoint, u64)>, all: usize) -> usize {
    match crash {
        Some((CrashPoint::BeforeEffects | CrashPoint::BeforeJournal, _)) => 0,
        Some((CrashPoint::AmidEffects, _)) => all.min(1),
        Some((CrashPoint::Between, _)) | None => all,
    }
}

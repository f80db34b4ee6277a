//! One lease between two daemons of the world: both machines with their journals, the work at the provider, and what
//! each side's daemon does with an event and with the effects that follow. Cheating and planted bugs are here as well.
//!
//! Longer than other files, since all that can happen between the two daemons meets here.

use super::bug::Bug;
use super::chain::{Call, GENESIS, GRACE_SECS, Status};
use super::host::Kept;
use super::ledger::{Invariant, Ledger, Violation, broken};
use super::network::{Letter, Message, Said, Told, Try};
use super::shim::Shim;
use super::world::World;
use super::{CrashPoint, Deal, LeasePlan, Logged, Plan, ProviderKind, RenterKind};
use crate::lifecycle::{Actor, EndReason, EscrowView, Work};
use crate::meter::Tariff;
use crate::parts::PartEvent;
use crate::provider::{Closing, Given, ProviderConfig, ProviderEffect, ProviderEvent, ProviderLease, ProviderState};
use crate::receipt::VerifiedReceipt;
use crate::renter::{RenterConfig, RenterEffect, RenterEvent, RenterLease, RenterState, TopUp};
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

    fn send(&self, world: &mut World, message: Message) {
        let LeasePlan { renter, provider, .. } = self.plan;
        let (from, to) = match message {
            Message::ToRenter(_) => (provider, renter),
            Message::ToProvider(_) => (renter, provider),
        };
        if let RenterKind::GoesSilent { at_ms } = self.plan.deal.renter
            && from == renter
            && world.at_ms >= at_ms
        {
            return;
        }
        let lease = self.index;
        world.post(Letter {
            lease,
            from,
            to,
            message,
        });
    }

    /// What the provider's daemon says that its meter shows.
    fn told_meter(&self) -> Millis {
        let metered = self.provider.machine.metered();
        match self.plan.deal.provider {
            ProviderKind::InflatesMeter { percent } => Millis(metered.0 + metered.0 * percent / 100),
            ProviderKind::Honest
            | ProviderKind::AsksTooMuch { .. }
            | ProviderKind::AsksEarly
            | ProviderKind::FakesProgress
            | ProviderKind::SettlesWildly => metered,
        }
    }

    pub(super) fn deliver(&mut self, world: &mut World, message: Message) -> Result<(), Violation> {
        match message {
            Message::ToRenter(told) if self.renter_up(world) => self.hear(world, told),
            Message::ToProvider(said) if self.provider_up(world) => self.obey(world, said),
            Message::ToRenter(_) | Message::ToProvider(_) => Ok(()),
        }
    }

    fn hear(&mut self, world: &mut World, told: Told) -> Result<(), Violation> {
        match told {
            Told::Ask {
                cumulative,
                metered,
                work,
            } => self.tell_renter(
                world,
                RenterEvent::ReceiptAsked {
                    cumulative,
                    metered,
                    work,
                },
            ),
            Told::Status {
                metered,
                work,
                end,
                over,
            } => {
                self.tell_renter(world, RenterEvent::Reported { metered, work })?;
                if let Some(end) = end {
                    self.tell_renter(world, RenterEvent::ProviderEnded { end })?;
                }
                if self.renter_up(world) {
                    let news = over.into_iter().map(|over| self.news(world, over));
                    let news: Vec<_> = news.collect();
                    world.news.extend(news);
                }
                Ok(())
            }
            Told::Closing { amount, end } => self.tell_renter(world, RenterEvent::ClosingOffered { amount, end }),
        }
    }

    fn news(&self, world: &World, over: Try) -> (usize, PartEvent) {
        let Try { part, attempt, worked } = over;
        let lease = lease_id(self.index);
        let fault = crate::parts::PartFault::Error;
        let event = if worked || world.bug == Some(Bug::FailedPartsAreDone) {
            PartEvent::Finished { lease, part, attempt }
        } else {
            PartEvent::Failed {
                lease,
                part,
                attempt,
                fault,
            }
        };
        (self.plan.job, event)
    }

    fn obey(&mut self, world: &mut World, said: Said) -> Result<(), Violation> {
        self.wanted_ms = world.at_ms;
        match said {
            Said::Receipt { cumulative } => {
                let receipt = VerifiedReceipt::unsigned(LeaseId::default(), cumulative);
                self.tell_provider(world, ProviderEvent::ReceiptReceived(receipt))
            }
            Said::Stop { end } if end.reason == EndReason::Completed => {
                self.tell_provider(world, ProviderEvent::PartsDrained)
            }
            Said::Stop { .. } => self.tell_provider(world, ProviderEvent::StopRequested { by: Actor::Renter }),
            Said::Poll { wanted } => {
                self.take_parts(wanted);
                self.tell_provider(world, ProviderEvent::RenterHeard)?;
                self.see_parts(world)?;
                if self.provider.machine.allows_work() && !self.tries.is_empty() {
                    self.shim.execute();
                }
                let over = self.tries.iter().filter_map(|running| {
                    running.over.map(|worked| Try {
                        part: running.part,
                        attempt: running.attempt,
                        worked,
                    })
                });
                let status = Told::Status {
                    metered: self.told_meter(),
                    work: self.provider.machine.work(),
                    end: self.provider.machine.told_end(),
                    over: over.collect(),
                };
                self.send(world, Message::ToRenter(status));
                Ok(())
            }
        }
    }

    fn take_parts(&mut self, wanted: Vec<(PartIndex, u32)>) {
        for running in self.tries.iter_mut().filter(|running| running.over.is_some()) {
            // The renter waits for it no more.
            running.told |= !wanted.contains(&(running.part, running.attempt));
        }
        for (part, attempt) in wanted {
            let known = |running: &Running| (running.part, running.attempt) == (part, attempt);
            if !self.tries.iter().any(known) {
                self.tries.push(Running {
                    part,
                    attempt,
                    left_ms: self.part_ms,
                    over: None,
                    told: false,
                });
            }
        }
    }

    pub(super) fn tell_provider(&mut self, world: &mut World, event: ProviderEvent) -> Result<(), Violation> {
        self.handle_at_provider(world, event)?;
        if !self.provider_up(world) {
            return Ok(());
        }
        let exposed = self.provider.machine.exposed();
        let share = match world.bug {
            Some(Bug::ExposureIsPerLease) => exposed.wanted,
            _ => world.exposures[self.plan.provider].share(lease_id(self.index), exposed),
        };
        if share == self.provider.machine.exposure() {
            return Ok(());
        }
        self.handle_at_provider(world, ProviderEvent::ExposureShared(share))
    }

    fn handle_at_provider(&mut self, world: &mut World, event: ProviderEvent) -> Result<(), Violation> {
        if !self.provider_up(world) {
            return Ok(());
        }
        let event = misread(event, world.bug);
        let node = self.plan.provider;
        let now = world.daemons[node].now(world.at_ms);
        world.note(now, self.index, Logged::Provider(event));
        let Ok(effects) = self.provider.machine.handle(now, event) else {
            return Ok(());
        };
        let mut again = self.provider.machine.clone();
        let repeated = again.handle(now, event).is_ok() && again == self.provider.machine;
        if !repeated {
            let detail = format!("{event:?} again made {:?} of {:?}", again, self.provider.machine);
            return Err(broken(Invariant::ReplayChangesNothing, world.at_ms, detail));
        }
        let crash = world.daemons[node].crash.take();
        if let Some((CrashPoint::BeforeJournal, down_ms)) = crash {
            world.crash(node, down_ms);
            return Ok(());
        }
        if self.provider.machine.must_be_written(&self.provider.journal) {
            self.journal_provider(world.bug);
        }
        self.ledger.provider_stands(world.at_ms, self.provider_ended())?;
        if let ProviderEvent::ReceiptReceived(receipt) = event {
            self.ledger.receipt_held(world.at_ms, receipt.cumulative(), &self.shim);
        }
        if let (ProviderEvent::Metered { .. }, Some(Bug::RenewsUnpaidWork | Bug::NeverFreezes)) = (event, world.bug) {
            self.shim.renew();
        }
        let kept = effects_before(crash, effects.len());
        self.perform_all_for_provider(world, effects.into_iter().take(kept).collect())?;
        if let Some((_, down_ms)) = crash {
            world.crash(node, down_ms);
        }
        Ok(())
    }

    fn journal_provider(&mut self, bug: Option<Bug>) {
        match bug {
            Some(Bug::EndIsNotJournaled) if self.provider_ended() => {}
            Some(Bug::ReceiptIsNotJournaled) => {
                let mut value = serde_json::to_value(&self.provider.machine).unwrap();
                value["account"]["receipt"] = serde_json::Value::Null;
                self.provider.journal = serde_json::from_value(value).unwrap();
            }
            _ => self.provider.journal = self.provider.machine.clone(),
        }
    }

    fn perform_all_for_provider(&mut self, world: &mut World, effects: Vec<ProviderEffect>) -> Result<(), Violation> {
        effects
            .into_iter()
            .try_for_each(|effect| self.perform_provider(world, effect))
    }

    fn perform_provider(&mut self, world: &mut World, effect: ProviderEffect) -> Result<(), Violation> {
        use ProviderEffect as Do;
        let soon = world.at_ms + world.chance.below(STOP_MS);
        let bug = world.bug;
        match effect {
            Do::Prepare => {
                let late = world.chance_of_slow_start();
                self.tasks.push((soon + 1_000 + late, Task::Prepare));
            }
            Do::AskReceipt { cumulative } => {
                self.ledger.receipt_asked(world.at_ms, cumulative)?;
                self.ask(world, cumulative);
            }
            Do::AllowWork if self.tries.is_empty() => {}
            Do::AllowWork => self.shim.execute(),
            Do::Renew => self.shim.renew(),
            Do::Freeze if bug == Some(Bug::NeverFreezes) => {}
            Do::Freeze => self.shim.freeze(),
            Do::Thaw if bug == Some(Bug::NeverThaws) => {}
            Do::Thaw => self.shim.thaw(),
            Do::StopWork { .. } => {
                if bug == Some(Bug::ClosesTooEarly) {
                    self.ledger.closing_given(world.at_ms, Amount::ZERO, &self.shim)?;
                }
                self.tasks.push((soon, Task::Destroy));
            }
            Do::Draw { amount, receipt, .. } => {
                self.ledger.claimed(world.at_ms, amount, &self.shim, &world.chain)?;
                world.call(self.plan.provider, self.index, Call::Draw { amount, receipt });
            }
            Do::Settle { amount, receipt } => self.settle(world, amount, receipt)?,
            Do::WakeAt(at) => self.provider.wake = Some(at),
            Do::SignClosing { amount } => {
                self.ledger.closing_given(world.at_ms, amount, &self.shim)?;
                if let Some(end) = self.provider.machine.end() {
                    self.send(world, Message::ToRenter(Told::Closing { amount, end }));
                }
            }
            Do::Forget => {}
        }
        Ok(())
    }

    fn ask(&mut self, world: &mut World, cumulative: Amount) {
        let (metered, work) = (self.told_meter(), self.provider.machine.work());
        let tariff = tariff(&self.plan.deal);
        let cumulative = match self.plan.deal.provider {
            ProviderKind::Honest | ProviderKind::AsksEarly | ProviderKind::SettlesWildly => cumulative,
            ProviderKind::AsksTooMuch { secs } => cumulative.saturating_add(tariff.due(Millis::from_secs(secs))),
            ProviderKind::InflatesMeter { .. } | ProviderKind::FakesProgress => {
                cumulative.max(tariff.ask(metered, Amount::MAX))
            }
        };
        let ask = Told::Ask {
            cumulative,
            metered,
            work,
        };
        self.send(world, Message::ToRenter(ask));
    }

    fn settle(&mut self, world: &mut World, amount: Amount, receipt: Option<VerifiedReceipt>) -> Result<(), Violation> {
        let due = tariff(&self.plan.deal).due(self.shim.metered());
        let amount = match world.bug {
            Some(Bug::ClaimIgnoresDeposit) => {
                let deposit = world.chain.slot(self.index).deposit;
                amount.max(deposit.saturating_add(amount))
            }
            Some(Bug::ClaimIgnoresReceipt) => due,
            Some(Bug::GivesBackWhatCameBack) if self.ledger.was_reorganised() => Amount::ZERO,
            Some(Bug::ClaimIgnoresMeter) => receipt.map_or(amount, |receipt| receipt.cumulative()),
            _ => amount,
        };
        if self.plan.deal.provider == ProviderKind::Honest {
            self.ledger.claimed(world.at_ms, amount, &self.shim, &world.chain)?;
            world.call(self.plan.provider, self.index, Call::Settle { amount, receipt });
        } else {
            let amount = receipt.map_or(amount, |receipt| receipt.cumulative());
            world.call(self.plan.provider, self.index, Call::Settle { amount, receipt });
        }
        Ok(())
    }

    /// A provider that claims in the middle of its work, more than it may and then what it may.
    pub(super) fn settle_wildly(&mut self, world: &mut World) {
        let wild = self.plan.deal.provider == ProviderKind::SettlesWildly && self.provider_up(world);
        if wild && self.shim.delivered_ms > 20_000 {
            let receipt = self.provider.machine.receipt().copied();
            let signed = receipt.map_or(Amount::ZERO, |receipt| receipt.cumulative());
            for amount in [signed.saturating_add(signed), signed] {
                world
                    .chain
                    .force(self.index, Call::Settle { amount, receipt }, world.at_ms);
            }
        }
    }

    pub(super) fn tell_renter(&mut self, world: &mut World, event: RenterEvent) -> Result<(), Violation> {
        if !self.renter_up(world) {
            return Ok(());
        }
        let node = self.plan.renter;
        let now = world.daemons[node].now(world.at_ms);
        world.note(now, self.index, Logged::Renter(event));
        if let (RenterEvent::ReceiptAsked { cumulative, .. }, Some(Bug::SignsBeforeDeposit)) = (event, world.bug) {
            self.ledger.receipt_signed(world.at_ms, cumulative)?;
        }
        let Ok(effects) = self.renter.machine.handle(now, event) else {
            return Ok(());
        };
        self.check_renter_again(world, event)?;
        let crash = world.daemons[node].crash.take();
        if let Some((CrashPoint::BeforeJournal, down_ms)) = crash {
            world.crash(node, down_ms);
            return Ok(());
        }
        let same_state = self.renter.machine.state() == self.renter.journal.state();
        let written = world.bug != Some(Bug::SignedIsNotJournaled) || !same_state;
        if written && self.renter.machine.must_be_written(&self.renter.journal) {
            self.renter.journal = self.renter.machine.clone();
        }
        self.ledger.renter_stands(world.at_ms, self.renter_ended())?;
        let kept = effects_before(crash, effects.len());
        for effect in effects.into_iter().take(kept) {
            self.perform_renter(world, event, effect)?;
        }
        if let Some((_, down_ms)) = crash {
            world.crash(node, down_ms);
        }
        Ok(())
    }

    fn check_renter_again(&self, world: &World, event: RenterEvent) -> Result<(), Violation> {
        let now = world.daemons[self.plan.renter].now(world.at_ms);
        let mut again = self.renter.machine.clone();
        let event_again = if let RenterEvent::TopUpRequested(top_up) = event
            && world.bug == Some(Bug::EveryTopUpIsNew)
        {
            let _ = again.handle(now, RenterEvent::TopUpEnded { number: top_up.number });
            RenterEvent::TopUpRequested(TopUp {
                number: again.next_top_up(),
                ..top_up
            })
        } else {
            event
        };
        let repeated = again.handle(now, event_again).is_ok() && again == self.renter.machine;
        if repeated {
            return Ok(());
        }
        let detail = format!("{event:?} again made {:?} of {:?}", again, self.renter.machine);
        Err(broken(Invariant::ReplayChangesNothing, world.at_ms, detail))
    }

    fn perform_renter(&mut self, world: &mut World, event: RenterEvent, effect: RenterEffect) -> Result<(), Violation> {
        use RenterEffect as Do;
        let (lease, job) = (lease_id(self.index), self.plan.job);
        match effect {
            Do::Deposit => self.deposit(world),
            Do::SignReceipt { cumulative } => self.sign(world, event, cumulative)?,
            Do::SendTopUp(TopUp { number, amount, .. }) => {
                world.call(self.plan.renter, self.index, Call::TopUp { number, amount })
            }
            Do::AskStop { end } => self.send(world, Message::ToProvider(Said::Stop { end })),
            // Left to the provider, who settles after its wait. Its own money every renter wants back.
            Do::Close { .. } if !self.wants_to_close() => {}
            Do::Close { amount } => world.call(self.plan.renter, self.index, Call::Close { amount, signed: true }),
            Do::Reclaim if world.bug == Some(Bug::NeverReclaims) => {}
            Do::Reclaim => world.call(self.plan.renter, self.index, Call::Reclaim),
            Do::WakeAt(at) => self.renter.wake = Some(at),
            Do::OfferParts => world.news.push((job, PartEvent::LeaseReady { lease, slots: SLOTS })),
            Do::RequeueParts if world.bug == Some(Bug::NeverRequeues) => {}
            Do::RequeueParts => {
                let lost = matches!(self.renter.machine.state(), RenterState::Lost { .. });
                world.news.push(if lost {
                    (job, PartEvent::LeaseLost { lease })
                } else {
                    (job, PartEvent::LeaseClosed { lease })
                });
            }
            Do::Forget => {}
        }
        Ok(())
    }

    const fn wants_to_close(&self) -> bool {
        matches!(self.plan.deal.renter, RenterKind::Honest)
            || matches!(self.renter.machine.state(), RenterState::Reclaimable { .. })
    }

    fn opening(&self) -> Call {
        let deal = &self.plan.deal;
        Call::Open {
            deposit: tariff(deal).due(Millis::from_secs(deal.deposit_secs)),
            expiry: UnixSeconds(GENESIS + deal.expiry_secs),
        }
    }

    fn deposit(&mut self, world: &mut World) {
        if self.deposit_sent && !self.resends(world) {
            return;
        }
        self.deposit_sent = true;
        world.call(self.plan.renter, self.index, self.opening());
    }

    fn resends(&self, world: &World) -> bool {
        self.plan.deal.renter != RenterKind::NeverResends && world.bug != Some(Bug::NeverResends)
    }

    /// The sender brings back by itself what a reorganisation took out of its block.
    fn rebroadcast(&self, world: &mut World) {
        if self.deposit_sent && self.resends(world) && world.chain.slot(self.index).status == Status::None {
            world.call(self.plan.renter, self.index, self.opening());
        }
    }

    fn sign(&mut self, world: &mut World, event: RenterEvent, cumulative: Amount) -> Result<(), Violation> {
        let tariff = tariff(&self.plan.deal);
        let deposit = world.chain.slot(self.index).deposit;
        let cumulative = match (world.bug, event) {
            (Some(Bug::SignsWhatIsAsked), RenterEvent::ReceiptAsked { cumulative: asked, .. }) => {
                cumulative.max(asked.min(deposit))
            }
            (
                Some(Bug::BelievesTheMeter),
                RenterEvent::ReceiptAsked {
                    cumulative: asked,
                    metered,
                    ..
                },
            ) => cumulative.max(asked.min(tariff.ask(metered, deposit))),
            _ => cumulative,
        };
        let first = *self.first_receipt.get_or_insert(cumulative);
        let cumulative = match self.plan.deal.renter {
            RenterKind::StopsSigning { at_ms } if world.at_ms >= at_ms => return Ok(()),
            RenterKind::SignsLess { secs } => {
                let first = tariff.ask(Millis::ZERO, cumulative);
                cumulative
                    .saturating_sub(tariff.due(Millis::from_secs(secs)))
                    .max(first)
            }
            RenterKind::SignsOld => first,
            RenterKind::Honest
            | RenterKind::StopsSigning { .. }
            | RenterKind::NeverResends
            | RenterKind::GoesSilent { .. }
            | RenterKind::Grabs => cumulative,
        };
        self.ledger.receipt_signed(world.at_ms, cumulative)?;
        self.send(world, Message::ToProvider(Said::Receipt { cumulative }));
        Ok(())
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

fn misread(event: ProviderEvent, bug: Option<Bug>) -> ProviderEvent {
    match (event, bug) {
        (ProviderEvent::EscrowSeen(view @ EscrowView::Open { deposit, expiry, .. }), Some(Bug::DepositCountsTwice)) => {
            let twice = deposit.saturating_add(deposit);
            ProviderEvent::EscrowSeen(EscrowView::Open {
                deposit: twice,
                assured: twice,
                drawn: view.drawn(),
                expiry,
            })
        }
        (event, _) => event,
    }
}

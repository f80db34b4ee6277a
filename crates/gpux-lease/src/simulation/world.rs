//! The clockwork: one step moves shim, chain, network and both daemons on by [`STEP_MS`].
//!
//! Longer than other files, since all that can happen between the two daemons meets here.

use super::bug::Bug;
use super::chain::{BLOCK_SECS, Call, Chain, GENESIS, GRACE_SECS};
use super::host::{Host, restart};
use super::ledger::{Invariant, Ledger, Violation, broken};
use super::network::{Chance, Message, Network, Said, Told};
use super::shim::Shim;
use super::{CrashPoint, Entry, Failure, Fault, Logged, ProviderKind, RenterKind, Scenario, What};
use crate::lifecycle::{Actor, EndReason, EscrowView, Work};
use crate::meter::Tariff;
use crate::provider::{Closing, ProviderConfig, ProviderEffect, ProviderEvent, ProviderLease, ProviderState};
use crate::receipt::VerifiedReceipt;
use crate::renter::{RenterConfig, RenterEffect, RenterEvent, RenterLease, RenterState, TopUp};
use gpux_types::{Amount, BasisPoints, LeaseId, Millis, PricePerHour, UnixSeconds};

const STEP_MS: u64 = 100;
const POLL_MS: u64 = 2_000;
/// Nothing is left to happen this long after expiry and grace.
const AFTERMATH_MS: u64 = 120_000;

/// Work of the provider's daemon that is under way; a crash ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Prepare,
    Destroy,
}

pub(super) struct World<'a> {
    scenario: &'a Scenario,
    bug: Option<Bug>,
    at_ms: u64,
    chain: Chain,
    shim: Shim,
    network: Network,
    chance: Chance,
    provider: Host<ProviderLease>,
    renter: Host<RenterLease>,
    tasks: Vec<(u64, Task)>,
    seen: [Option<EscrowView>; 2],
    provider_blind_until_ms: u64,
    ledger: Ledger,
    log: Vec<Entry>,
    faults_done: Vec<bool>,
}

/// How a run ended that broke nothing.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) provider: ProviderState,
    pub(super) renter: RenterState,
    pub(super) paid: Amount,
    pub(super) delivered: Millis,
    pub(super) log: Vec<Entry>,
    pub(super) machines: (ProviderLease, RenterLease),
}

pub(super) fn run(scenario: &Scenario, bug: Option<Bug>) -> Result<Outcome, Box<Failure>> {
    let mut world = World::new(scenario, bug);
    match world.run() {
        Ok(()) => Ok(Outcome {
            provider: world.provider.machine.state(),
            renter: world.renter.machine.state(),
            paid: world.chain.books().claimed,
            delivered: Millis(world.shim.delivered_ms),
            log: world.log,
            machines: (world.provider.machine, world.renter.machine),
        }),
        Err(violation) => Err(Box::new(Failure {
            violation,
            scenario: scenario.clone(),
            log: world.log,
        })),
    }
}

pub(super) fn provider_config(scenario: &Scenario) -> ProviderConfig {
    let tariff = tariff(scenario);
    let mut config = ProviderConfig::new(tariff);
    config.exposure = tariff.due(Millis::from_secs(scenario.exposure_secs));
    config.expiry_margin_secs = 20;
    if let Some(secs) = scenario.closing_wait_secs {
        config.closing = Closing::Offer {
            wait: Millis::from_secs(secs),
        };
    }
    config
}

pub(super) fn renter_config(scenario: &Scenario) -> RenterConfig {
    RenterConfig::new(tariff(scenario), GRACE_SECS)
}

fn tariff(scenario: &Scenario) -> Tariff {
    Tariff::new(PricePerHour(Amount::new(scenario.price.into()).unwrap()))
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, bug: Option<Bug>) -> Self {
        let mut chance = Chance(scenario.seed);
        let zeros = (chance.below(1 << 40), chance.below(1 << 40));
        let (provider, effects) = ProviderLease::request(provider_config(scenario), Millis(zeros.0));
        let renter = RenterLease::quoted(renter_config(scenario), Millis(zeros.1));
        let mut world = Self {
            scenario,
            bug,
            at_ms: 0,
            chain: Chain::new(BasisPoints::new(scenario.builder_bps).unwrap(), bug),
            shim: Shim::new(scenario.provider_ppm),
            network: Network::new(scenario.latency_ms, scenario.loss_percent, scenario.repeat_percent),
            chance,
            provider: Host::new(provider, scenario.provider_ppm, zeros.0),
            renter: Host::new(renter, scenario.renter_ppm, zeros.1),
            tasks: Vec::new(),
            seen: [None; 2],
            provider_blind_until_ms: 0,
            ledger: Ledger::new(scenario),
            log: Vec::new(),
            faults_done: vec![false; scenario.faults.len()],
        };
        for effect in effects {
            world.perform_provider(effect).expect("nothing is claimed at first");
        }
        world
    }

    fn run(&mut self) -> Result<(), Violation> {
        self.tell_renter(RenterEvent::Accepted)?;
        if self.scenario.provider == ProviderKind::AsksEarly {
            let metered = Millis::ZERO;
            self.tell_renter(RenterEvent::ReceiptAsked {
                cumulative: Amount::MAX,
                metered,
                work: Work::Idle,
            })?;
        }
        let last_fault_ms = self.scenario.faults.iter().map(Fault::over_at_ms).max().unwrap_or(0);
        let end_ms = last_fault_ms.max((self.scenario.expiry_secs + GRACE_SECS) * 1_000) + AFTERMATH_MS;
        while self.at_ms < end_ms && !self.is_over() {
            self.at_ms += STEP_MS;
            self.step()?;
        }
        self.ledger
            .check_end(self.at_ms, self.scenario, &self.shim, &self.chain)
    }

    fn is_over(&self) -> bool {
        let happened = self.faults_done.iter().all(|done| *done);
        self.provider_ended() && self.renter_ended() && happened && self.provider.up && self.chain.is_quiet()
    }

    fn provider_ended(&self) -> bool {
        matches!(self.provider.machine.state(), ProviderState::Ended { .. })
    }

    fn renter_ended(&self) -> bool {
        use RenterState as S;
        matches!(
            self.renter.machine.state(),
            S::Settled { .. } | S::Reclaimed { .. } | S::Failed { .. }
        )
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.shim.step(STEP_MS);
        for index in 0..self.scenario.faults.len() {
            let fault = self.scenario.faults[index];
            if !self.faults_done[index] && self.at_ms >= fault.at_ms {
                self.faults_done[index] = true;
                self.happen(fault.what)?;
            }
        }
        if self.at_ms.is_multiple_of(BLOCK_SECS * 1_000) {
            self.chain.mine();
            self.ledger.block_mined(self.at_ms, &self.chain);
            self.show_blocks()?;
        }
        self.restart_daemons()?;
        self.end_tasks()?;
        for message in self.network.arrived(self.at_ms) {
            self.deliver(message)?;
        }
        if self.provider.is_due(self.at_ms) {
            self.provider.wake = None;
            self.read_meter()?;
        }
        if self.renter.is_due(self.at_ms) {
            self.renter.wake = None;
            self.tell_renter(RenterEvent::Ticked)?;
        }
        if self.renter.up && self.at_ms.is_multiple_of(POLL_MS) {
            self.send(Message::ToProvider(Said::Poll));
        }
        self.ledger.provider_is_up(self.at_ms, self.provider.up);
        self.ledger.check(self.at_ms, self.scenario, &self.shim, &self.chain)
    }

    fn happen(&mut self, what: What) -> Result<(), Violation> {
        self.log.push(Entry {
            at_ms: self.at_ms,
            now_ms: self.at_ms,
            event: Logged::Happened(what),
        });
        self.ledger.happened(what, self.scenario);
        let at_ms = self.at_ms;
        match what {
            What::ProviderCrashes {
                down_ms,
                point: CrashPoint::Between,
            } => self.provider_goes_down(at_ms + down_ms),
            What::RenterCrashes {
                down_ms,
                point: CrashPoint::Between,
            } => self.renter.go_down(at_ms + down_ms),
            What::ProviderCrashes { down_ms, point } => self.provider.crash = Some((point, down_ms)),
            What::RenterCrashes { down_ms, point } => self.renter.crash = Some((point, down_ms)),
            What::ShimDies => {
                if self.shim.exists() {
                    self.shim.kill();
                    let metered = self.shim.metered();
                    self.tell_provider(ProviderEvent::ShimLost { metered })?;
                }
            }
            What::ProviderDies => {
                self.shim.kill();
                self.provider_goes_down(u64::MAX);
            }
            What::RenterDies => self.renter.go_down(u64::MAX),
            What::NetworkParts { for_ms } => self.network.parted_until_ms = at_ms + for_ms,
            What::ProviderLosesChain { for_ms } => self.provider_blind_until_ms = at_ms + for_ms,
            What::Reorganises { blocks, drops_open } => {
                self.chain.reorganise(blocks, drops_open);
                self.show_blocks()?;
            }
            What::RenterTopsUp { secs } => {
                let number = self.renter.machine.next_top_up();
                let amount = tariff(self.scenario).due(Millis::from_secs(secs));
                self.tell_renter(RenterEvent::TopUpRequested(TopUp {
                    number,
                    amount,
                    new_expiry: None,
                }))?;
            }
            What::RenterStops => self.tell_renter(RenterEvent::StopRequested)?,
            What::ProviderStops => self.tell_provider(ProviderEvent::StopRequested { by: Actor::Provider })?,
            What::PreparationFails => {
                self.tasks.retain(|(_, task)| *task != Task::Prepare);
                if !self.shim.exists() {
                    self.tell_provider(ProviderEvent::PreparationFailed { by: Actor::Network })?;
                }
            }
        }
        Ok(())
    }

    fn provider_goes_down(&mut self, until_ms: u64) {
        self.provider.go_down(until_ms);
        self.tasks.clear();
    }

    /// What each side sees of the chain: the renter relies on the newest block and on an end that is deep, the
    /// provider on nothing that is not deep.
    fn show_blocks(&mut self) -> Result<(), Violation> {
        let time = self.chain.time();
        let depth = self.scenario.depth;
        let views = [self.chain.view(depth, depth), self.chain.view(0, depth)];
        if self.provider.up && self.at_ms >= self.provider_blind_until_ms {
            self.tell_provider(ProviderEvent::BlockSeen { time })?;
            if self.seen[0] != Some(views[0]) {
                self.seen[0] = Some(views[0]);
                self.tell_provider(ProviderEvent::EscrowSeen(views[0]))?;
            }
        }
        if self.renter.up {
            self.tell_renter(RenterEvent::BlockSeen { time })?;
            if self.seen[1] != Some(views[1]) {
                self.seen[1] = Some(views[1]);
                self.tell_renter(RenterEvent::EscrowSeen(views[1]))?;
            }
            let last = self.renter.machine.next_top_up().checked_sub(1);
            if let Some(last) = last
                && self
                    .chain
                    .is_mined(|call| matches!(call, Call::TopUp { number, .. } if *number == last))
            {
                self.tell_renter(RenterEvent::TopUpEnded { number: last })?;
            }
        }
        Ok(())
    }

    fn restart_daemons(&mut self) -> Result<(), Violation> {
        let at_ms = self.at_ms;
        if self.provider.up_again_ms.is_some_and(|up| at_ms >= up) {
            let zero = self.chance.below(1 << 40);
            restart(&mut self.provider, at_ms, zero);
            self.seen[0] = None;
            self.tell_provider(ProviderEvent::Restarted)?;
            self.show_blocks()?;
            let metered = self.shim.metered();
            if self.shim.exists() && self.shim.work() == Work::Gone {
                self.tell_provider(ProviderEvent::ShimLost { metered })?;
            } else {
                self.read_meter()?;
            }
        }
        if self.renter.up_again_ms.is_some_and(|up| at_ms >= up) {
            let zero = self.chance.below(1 << 40);
            restart(&mut self.renter, at_ms, zero);
            self.seen[1] = None;
            self.tell_renter(RenterEvent::Restarted)?;
            self.show_blocks()?;
        }
        Ok(())
    }

    fn end_tasks(&mut self) -> Result<(), Violation> {
        let (due, later): (Vec<_>, Vec<_>) = self.tasks.drain(..).partition(|(due, _)| *due <= self.at_ms);
        self.tasks = later;
        for (_, task) in due {
            match task {
                Task::Prepare => {
                    self.shim.create();
                    self.tell_provider(ProviderEvent::Prepared)?;
                    if self.bug == Some(Bug::StartsUnpaidWork) {
                        self.shim.execute();
                    }
                }
                Task::Destroy => {
                    self.shim.kill();
                    let metered = self.shim.metered();
                    self.tell_provider(ProviderEvent::Metered {
                        metered,
                        work: Work::Gone,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn read_meter(&mut self) -> Result<(), Violation> {
        if self.shim.exists() {
            let (metered, work) = (self.shim.metered(), self.shim.work());
            self.tell_provider(ProviderEvent::Metered { metered, work })
        } else {
            self.tell_provider(ProviderEvent::Ticked)
        }
    }

    fn send(&mut self, message: Message) {
        self.network.send(self.at_ms, message, &mut self.chance);
    }

    /// What the provider's daemon says that its meter shows.
    fn told_meter(&self) -> Millis {
        let metered = self.provider.machine.metered();
        match self.scenario.provider {
            ProviderKind::InflatesMeter { percent } => Millis(metered.0 + metered.0 * percent / 100),
            ProviderKind::Honest | ProviderKind::AsksTooMuch { .. } | ProviderKind::AsksEarly => metered,
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), Violation> {
        match message {
            Message::ToRenter(Told::Ask {
                cumulative,
                metered,
                work,
            }) => self.tell_renter(RenterEvent::ReceiptAsked {
                cumulative,
                metered,
                work,
            }),
            Message::ToRenter(Told::Status {
                metered,
                work,
                done,
                end,
            }) => {
                self.tell_renter(RenterEvent::Reported { metered, work })?;
                if let Some(end) = end {
                    self.tell_renter(RenterEvent::ProviderEnded { end })?;
                }
                if done {
                    self.tell_renter(RenterEvent::PartsDrained)
                } else {
                    Ok(())
                }
            }
            Message::ToRenter(Told::Closing { amount }) => {
                if self.renter.up && self.scenario.renter == RenterKind::Honest {
                    self.chain.send(Call::Close { amount });
                }
                Ok(())
            }
            Message::ToProvider(Said::Receipt { cumulative }) => {
                let receipt = VerifiedReceipt::unsigned(LeaseId::default(), cumulative);
                self.tell_provider(ProviderEvent::ReceiptReceived(receipt))
            }
            Message::ToProvider(Said::Stop { end }) if end.reason == EndReason::Completed => {
                self.tell_provider(ProviderEvent::PartsDrained)
            }
            Message::ToProvider(Said::Stop { .. }) => {
                self.tell_provider(ProviderEvent::StopRequested { by: Actor::Renter })
            }
            Message::ToProvider(Said::Poll) => {
                if self.provider.up {
                    let done = self.shim.metered() >= Millis::from_secs(self.scenario.job_secs);
                    let (work, end) = (self.provider.machine.work(), self.provider.machine.end());
                    let metered = self.told_meter();
                    self.send(Message::ToRenter(Told::Status {
                        metered,
                        work,
                        done,
                        end,
                    }));
                }
                Ok(())
            }
        }
    }

    fn tell_provider(&mut self, event: ProviderEvent) -> Result<(), Violation> {
        if !self.provider.up {
            return Ok(());
        }
        let event = if let ProviderEvent::EscrowSeen(EscrowView::Open { deposit, expiry, .. }) = event
            && self.bug == Some(Bug::DepositCountsTwice)
        {
            let twice = deposit.saturating_add(deposit);
            ProviderEvent::EscrowSeen(EscrowView::Open {
                deposit: twice,
                assured: twice,
                expiry,
            })
        } else {
            event
        };
        let now = self.provider.now(self.at_ms);
        self.log.push(Entry {
            at_ms: self.at_ms,
            now_ms: now.0,
            event: Logged::Provider(event),
        });
        let Ok(effects) = self.provider.machine.handle(now, event) else {
            return Ok(());
        };
        self.ledger
            .states(self.at_ms, self.provider_ended(), self.renter_ended())?;
        let mut again = self.provider.machine.clone();
        let repeated = again.handle(now, event).is_ok() && again == self.provider.machine;
        if !repeated {
            let detail = format!("{event:?} again made {:?} of {:?}", again, self.provider.machine);
            return Err(broken(Invariant::ReplayChangesNothing, self.at_ms, detail));
        }
        let crash = self.provider.crash.take();
        if let Some((CrashPoint::BeforeJournal, down_ms)) = crash {
            self.provider_goes_down(self.at_ms + down_ms);
            return Ok(());
        }
        if !event.may_go_unwritten(&effects) {
            self.journal_provider();
        }
        if let ProviderEvent::ReceiptReceived(receipt) = event {
            self.ledger.receipt_held(self.at_ms, receipt.cumulative(), &self.shim);
        }
        if let Some((_, down_ms)) = crash {
            self.provider_goes_down(self.at_ms + down_ms);
            return Ok(());
        }
        if let (ProviderEvent::Metered { .. }, Some(Bug::RenewsUnpaidWork | Bug::NeverFreezes)) = (event, self.bug) {
            self.shim.renew();
        }
        effects.into_iter().try_for_each(|effect| self.perform_provider(effect))
    }

    fn journal_provider(&mut self) {
        match self.bug {
            Some(Bug::EndIsNotJournaled) if self.provider_ended() => {}
            Some(Bug::ReceiptIsNotJournaled) => {
                let mut value = serde_json::to_value(&self.provider.machine).unwrap();
                value["account"]["receipt"] = serde_json::Value::Null;
                self.provider.journal = serde_json::from_value(value).unwrap();
            }
            _ => self.provider.journal = self.provider.machine.clone(),
        }
    }

    fn perform_provider(&mut self, effect: ProviderEffect) -> Result<(), Violation> {
        use ProviderEffect as Do;
        let soon = self.at_ms + self.chance.below(1_500);
        match effect {
            Do::Prepare => self.tasks.push((soon + 1_000, Task::Prepare)),
            Do::AskReceipt { cumulative } => {
                self.ledger.receipt_asked(self.at_ms, cumulative)?;
                self.ask(cumulative);
            }
            Do::AllowWork => self.shim.execute(),
            Do::Renew => self.shim.renew(),
            Do::Freeze if self.bug == Some(Bug::NeverFreezes) => {}
            Do::Freeze => self.shim.freeze(),
            Do::Thaw if self.bug == Some(Bug::NeverThaws) => {}
            Do::Thaw => self.shim.thaw(),
            Do::StopWork { .. } => {
                if self.bug == Some(Bug::ClosesTooEarly) {
                    self.ledger.closing_given(self.at_ms, Amount::ZERO, &self.shim)?;
                }
                self.tasks.push((soon, Task::Destroy));
            }
            Do::Settle { amount, receipt } => self.settle(amount, receipt)?,
            Do::WakeAt(at) => self.provider.wake = Some(at),
            Do::SignClosing { amount } => {
                self.ledger.closing_given(self.at_ms, amount, &self.shim)?;
                self.send(Message::ToRenter(Told::Closing { amount }));
            }
            Do::Forget => {}
        }
        Ok(())
    }

    fn ask(&mut self, cumulative: Amount) {
        let (metered, work) = (self.told_meter(), self.provider.machine.work());
        let tariff = tariff(self.scenario);
        let cumulative = match self.scenario.provider {
            ProviderKind::Honest | ProviderKind::AsksEarly => cumulative,
            ProviderKind::AsksTooMuch { secs } => cumulative.saturating_add(tariff.due(Millis::from_secs(secs))),
            ProviderKind::InflatesMeter { .. } => cumulative.max(tariff.ask(metered, Amount::MAX)),
        };
        self.send(Message::ToRenter(Told::Ask {
            cumulative,
            metered,
            work,
        }));
    }

    fn settle(&mut self, amount: Amount, receipt: Option<VerifiedReceipt>) -> Result<(), Violation> {
        let due = tariff(self.scenario).due(self.shim.metered());
        let amount = match self.bug {
            Some(Bug::ClaimIgnoresDeposit) => amount.max(self.chain.books().deposit.saturating_add(amount)),
            Some(Bug::ClaimIgnoresReceipt) => due,
            Some(Bug::ClaimIgnoresMeter) => receipt.map_or(amount, |receipt| receipt.cumulative()),
            _ => amount,
        };
        if self.scenario.provider == ProviderKind::Honest {
            self.ledger.claimed(self.at_ms, amount, &self.shim, &self.chain)?;
            self.chain.send(Call::Settle { amount, receipt });
        } else {
            let all = receipt.map_or(amount, |receipt| receipt.cumulative());
            self.chain.send(Call::Settle { amount: all, receipt });
        }
        Ok(())
    }

    fn tell_renter(&mut self, event: RenterEvent) -> Result<(), Violation> {
        if !self.renter.up {
            return Ok(());
        }
        let now = self.renter.now(self.at_ms);
        self.log.push(Entry {
            at_ms: self.at_ms,
            now_ms: now.0,
            event: Logged::Renter(event),
        });
        if let (RenterEvent::ReceiptAsked { cumulative, .. }, Some(Bug::SignsBeforeDeposit)) = (event, self.bug) {
            self.ledger.receipt_signed(self.at_ms, cumulative)?;
        }
        let Ok(effects) = self.renter.machine.handle(now, event) else {
            return Ok(());
        };
        self.ledger
            .states(self.at_ms, self.provider_ended(), self.renter_ended())?;
        let mut again = self.renter.machine.clone();
        let event_again = if let RenterEvent::TopUpRequested(top_up) = event
            && self.bug == Some(Bug::EveryTopUpIsNew)
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
        if !repeated {
            let detail = format!("{event:?} again made {:?} of {:?}", again, self.renter.machine);
            return Err(broken(Invariant::ReplayChangesNothing, self.at_ms, detail));
        }
        let crash = self.renter.crash.take();
        if let Some((CrashPoint::BeforeJournal, down_ms)) = crash {
            self.renter.go_down(self.at_ms + down_ms);
            return Ok(());
        }
        let same_state = self.renter.machine.state() == self.renter.journal.state();
        let written = self.bug != Some(Bug::SignedIsNotJournaled) || !same_state;
        if written && !event.may_go_unwritten(&effects) {
            self.renter.journal = self.renter.machine.clone();
        }
        if let Some((_, down_ms)) = crash {
            self.renter.go_down(self.at_ms + down_ms);
            return Ok(());
        }
        effects
            .into_iter()
            .try_for_each(|effect| self.perform_renter(event, effect))
    }

    fn perform_renter(&mut self, event: RenterEvent, effect: RenterEffect) -> Result<(), Violation> {
        use RenterEffect as Do;
        match effect {
            Do::Deposit => self.deposit(),
            Do::SignReceipt { cumulative } => self.sign(event, cumulative)?,
            Do::SendTopUp(TopUp { number, amount, .. }) => self.chain.send(Call::TopUp { number, amount }),
            Do::AskStop { end } => self.send(Message::ToProvider(Said::Stop { end })),
            Do::Reclaim if self.bug == Some(Bug::NeverReclaims) => {}
            Do::Reclaim => self.chain.send(Call::Reclaim),
            Do::WakeAt(at) => self.renter.wake = Some(at),
            Do::OfferParts | Do::RequeueParts | Do::Forget => {}
        }
        Ok(())
    }

    fn deposit(&mut self) {
        let again = self.seen[1].is_some();
        if again && self.scenario.renter == RenterKind::NeverResends {
            return;
        }
        let deposit = tariff(self.scenario).due(Millis::from_secs(self.scenario.deposit_secs));
        let expiry = UnixSeconds(GENESIS + self.scenario.expiry_secs);
        self.chain.send(Call::Open { deposit, expiry });
    }

    fn sign(&mut self, event: RenterEvent, cumulative: Amount) -> Result<(), Violation> {
        let tariff = tariff(self.scenario);
        let cumulative = match (self.bug, event) {
            (Some(Bug::SignsWhatIsAsked), RenterEvent::ReceiptAsked { cumulative: asked, .. }) => {
                cumulative.max(asked.min(self.chain.books().deposit))
            }
            (
                Some(Bug::BelievesTheMeter),
                RenterEvent::ReceiptAsked {
                    cumulative: asked,
                    metered,
                    ..
                },
            ) => cumulative.max(asked.min(tariff.ask(metered, self.chain.books().deposit))),
            _ => cumulative,
        };
        let cumulative = match self.scenario.renter {
            RenterKind::StopsSigning { at_ms } if self.at_ms >= at_ms => return Ok(()),
            RenterKind::SignsLess { secs } => {
                let first = tariff.ask(Millis::ZERO, cumulative);
                cumulative
                    .saturating_sub(tariff.due(Millis::from_secs(secs)))
                    .max(first)
            }
            RenterKind::Honest | RenterKind::StopsSigning { .. } | RenterKind::NeverResends => cumulative,
        };
        self.ledger.receipt_signed(self.at_ms, cumulative)?;
        self.send(Message::ToProvider(Said::Receipt { cumulative }));
        Ok(())
    }
}

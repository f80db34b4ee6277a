//! Every order of events of a small lease, not some: a provider's machine, a renter's machine, an escrow and a shim in
//! steps of one interval, with every message delivered or lost, daemons that crash or die anywhere, a renter that stops
//! at any time and a reorganisation that takes the deposit back. `stateright` walks all of it.
//!
//! The simulated world (`simulation.rs`) is larger and finer, and random; this is smaller and leaves nothing out.

use crate::lifecycle::{Actor, EscrowView, Work};
use crate::meter::Tariff;
use crate::provider::{ProviderConfig, ProviderEffect, ProviderEvent, ProviderLease, ProviderState};
use crate::receipt::VerifiedReceipt;
use crate::renter::{RenterConfig, RenterEffect, RenterEvent, RenterLease, RenterState};
use crate::settlement::Settlement;
use gpux_types::{Amount, BasisPoints, LeaseId, Millis, PricePerHour, UnixSeconds};
use serde::Serialize;
use stateright::{Checker, Model, Property};
use std::hash::{Hash, Hasher};

/// One interval: all that happens between two of them may happen in any order.
const STEP_SECS: u64 = 5;
const DEPOSIT_SECS: u64 = 25;
const EXPIRY: UnixSeconds = UnixSeconds(25);
const GRACE_SECS: u64 = 10;
/// By then everything must be over.
const HORIZON_SECS: u64 = 55;

/// What a wrong daemon would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    ClaimsAllThatIsSigned,
    NeverReclaims,
}

struct Small {
    /// How many crashes, deaths and reorganisations a run may have in all.
    troubles: u8,
    bug: Option<Bug>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Call {
    Open,
    Settle { amount: Amount, receipt: Amount },
    Reclaim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Slot {
    None,
    Open,
    Closed { paid: Amount },
}

/// The provider's process beside its daemon, and what really ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Shim {
    work: Work,
    ran: Millis,
    unrenewed: Millis,
}

/// A daemon's machine, what it wrote down, and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Daemon<M> {
    machine: M,
    journal: M,
    dead: bool,
    /// It ended, and wrote it down.
    ended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct State {
    secs: u64,
    provider: Daemon<ProviderLease>,
    renter: Daemon<RenterLease>,
    slot: Slot,
    pending: Vec<Call>,
    shim: Shim,
    ask: Option<(Amount, Millis, Work)>,
    receipt: Option<Amount>,
    stop: bool,
    signed: Amount,
    held: Amount,
    /// What is claimed is fixed: a receipt that comes now is too late.
    claimed: bool,
    troubles_left: u8,
    wants_stop: bool,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(&serde_json::to_vec(self).unwrap());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// One interval passes, a block is mined, and both daemons look around.
    Pass,
    AskArrives,
    AskIsLost,
    ReceiptArrives,
    ReceiptIsLost,
    StopArrives,
    StopIsLost,
    RenterStops,
    ProviderCrashes,
    RenterCrashes,
    ProviderDies,
    RenterDies,
    DepositIsTakenBack,
}

/// One unit of money for each second of work.
fn tariff() -> Tariff {
    Tariff::new(PricePerHour(Amount::new(3_600).unwrap()))
}

fn secs(amount: Amount) -> u64 {
    u64::try_from(amount.units()).unwrap()
}

fn deposit() -> Amount {
    tariff().due(Millis::from_secs(DEPOSIT_SECS))
}

impl State {
    fn now(&self) -> Millis {
        Millis::from_secs(self.secs)
    }

    fn view(&self) -> EscrowView {
        match self.slot {
            Slot::None => EscrowView::Absent,
            Slot::Open => EscrowView::Open {
                deposit: deposit(),
                assured: deposit(),
                drawn: Amount::ZERO,
                expiry: EXPIRY,
            },
            Slot::Closed { paid } => EscrowView::Closed { paid },
        }
    }

    fn send(&mut self, call: Call) {
        let same = |other: &Call| std::mem::discriminant(other) == std::mem::discriminant(&call);
        if !self.pending.iter().any(same) {
            self.pending.push(call);
        }
    }

    fn mine(&mut self) {
        for call in std::mem::take(&mut self.pending) {
            let late = UnixSeconds(self.secs) > EXPIRY.plus_secs(GRACE_SECS);
            self.slot = match (self.slot, call) {
                (Slot::None, Call::Open) => Slot::Open,
                (Slot::Open, Call::Settle { amount, receipt }) if amount <= receipt => Slot::Closed {
                    paid: Settlement::of(deposit(), Amount::ZERO, amount, BasisPoints::ZERO).claimed,
                },
                (Slot::Open, Call::Reclaim) if late => Slot::Closed { paid: Amount::ZERO },
                (slot, Call::Open | Call::Settle { .. } | Call::Reclaim) => slot,
            };
        }
    }

    fn tell_provider(&mut self, event: ProviderEvent, bug: Option<Bug>) {
        if self.provider.dead {
            return;
        }
        let Ok(effects) = self.provider.machine.handle(self.now(), event) else {
            return;
        };
        let ended = matches!(self.provider.machine.state(), ProviderState::Ended { .. });
        if self.provider.machine.must_be_written(&self.provider.journal) {
            self.provider.journal = self.provider.machine.clone();
        }
        self.provider.ended |= ended;
        if let ProviderEvent::ReceiptReceived(receipt) = event
            && !self.claimed
        {
            self.held = self.held.max(receipt.cumulative());
        }
        for effect in effects {
            self.perform_provider(effect, bug);
        }
    }

    fn perform_provider(&mut self, effect: ProviderEffect, bug: Option<Bug>) {
        use ProviderEffect as Do;
        match effect {
            Do::Prepare => self.tell_provider(ProviderEvent::Prepared, bug),
            Do::AskReceipt { cumulative } => {
                self.ask = Some((cumulative, self.shim.ran, self.shim.work));
            }
            Do::AllowWork if self.shim.work == Work::Idle => self.shim.work = Work::Running,
            Do::Renew => self.shim.unrenewed = Millis::ZERO,
            Do::Freeze if self.shim.work == Work::Running => self.shim.work = Work::Frozen,
            Do::Thaw if self.shim.work == Work::Frozen => self.shim.work = Work::Running,
            Do::StopWork { .. } => {
                self.shim.work = Work::Gone;
                self.read_meter(bug);
            }
            Do::Settle { amount, receipt } => {
                let most = receipt.map_or(Amount::ZERO, |receipt| receipt.cumulative());
                let receipt = most;
                let amount = if bug == Some(Bug::ClaimsAllThatIsSigned) {
                    most
                } else {
                    amount
                };
                self.claimed = true;
                self.send(Call::Settle { amount, receipt });
            }
            // Nothing is drawn and no closing is wanted here: the simulated world does both.
            Do::AllowWork
            | Do::Freeze
            | Do::Thaw
            | Do::Draw { .. }
            | Do::SignClosing { .. }
            | Do::Forget
            | Do::WakeAt(_) => {}
        }
    }

    fn read_meter(&mut self, bug: Option<Bug>) {
        let (metered, work) = (self.shim.ran, self.shim.work);
        self.tell_provider(ProviderEvent::Metered { metered, work }, bug);
    }

    fn tell_renter(&mut self, event: RenterEvent, bug: Option<Bug>) {
        if self.renter.dead {
            return;
        }
        let Ok(effects) = self.renter.machine.handle(self.now(), event) else {
            return;
        };
        if self.renter.machine.must_be_written(&self.renter.journal) {
            self.renter.journal = self.renter.machine.clone();
        }
        use RenterState as S;
        let state = self.renter.machine.state();
        self.renter.ended |= matches!(state, S::Settled { .. } | S::Reclaimed { .. } | S::Failed { .. });
        for effect in effects {
            match effect {
                RenterEffect::Deposit => self.send(Call::Open),
                RenterEffect::SignReceipt { cumulative } => {
                    self.signed = self.signed.max(cumulative);
                    self.receipt = Some(cumulative);
                }
                RenterEffect::AskStop { .. } => self.stop = true,
                RenterEffect::Reclaim if bug != Some(Bug::NeverReclaims) => self.send(Call::Reclaim),
                RenterEffect::Reclaim
                | RenterEffect::Close { .. }
                | RenterEffect::SendTopUp(_)
                | RenterEffect::OfferParts
                | RenterEffect::RequeueParts
                | RenterEffect::Forget
                | RenterEffect::WakeAt(_) => {}
            }
        }
    }

    fn pass(&mut self, bug: Option<Bug>) {
        self.secs += STEP_SECS;
        let step = Millis::from_secs(STEP_SECS);
        if self.shim.work == Work::Running {
            self.shim.ran = self.shim.ran.saturating_add(step);
        }
        self.shim.unrenewed = self.shim.unrenewed.saturating_add(step);
        if self.shim.unrenewed >= Millis::from_secs(2 * STEP_SECS) && self.shim.work == Work::Running {
            self.shim.work = Work::Frozen;
        }
        self.mine();
        self.look(bug);
        self.read_meter(bug);
        self.tell_renter(RenterEvent::Ticked, bug);
    }

    /// Both daemons read the chain.
    fn look(&mut self, bug: Option<Bug>) {
        let (view, time) = (self.view(), UnixSeconds(self.secs));
        self.tell_provider(ProviderEvent::BlockSeen { time }, bug);
        self.tell_provider(ProviderEvent::EscrowSeen(view), bug);
        // The sender brings back by itself what a reorganisation took out of its block.
        if view == EscrowView::Absent && !self.renter.dead {
            self.send(Call::Open);
        }
        self.tell_renter(RenterEvent::BlockSeen { time }, bug);
        self.tell_renter(RenterEvent::EscrowSeen(view), bug);
    }
}

impl Model for Small {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut config = ProviderConfig::new(tariff());
        config.hold = Millis::from_secs(10);
        config.reserve = Millis::from_secs(STEP_SECS);
        config.expiry_margin_secs = STEP_SECS;
        config.grace_secs = GRACE_SECS;
        let (provider, effects) = ProviderLease::request(config, Millis::ZERO);
        let mut config = RenterConfig::new(tariff(), GRACE_SECS);
        config.unreachable_after = Millis::from_secs(10);
        config.give_up_after = Millis::from_secs(10);
        let renter = RenterLease::quoted(config, Millis::ZERO);
        let mut state = State {
            secs: 0,
            provider: Daemon::new(provider),
            renter: Daemon::new(renter),
            slot: Slot::None,
            pending: Vec::new(),
            shim: Shim {
                work: Work::Idle,
                ran: Millis::ZERO,
                unrenewed: Millis::ZERO,
            },
            ask: None,
            receipt: None,
            stop: false,
            signed: Amount::ZERO,
            held: Amount::ZERO,
            claimed: false,
            troubles_left: self.troubles,
            wants_stop: true,
        };
        for effect in effects {
            state.perform_provider(effect, self.bug);
        }
        state.tell_renter(RenterEvent::Accepted, self.bug);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.secs >= HORIZON_SECS {
            return;
        }
        actions.push(Action::Pass);
        let mut when = |holds: bool, these: &[Action]| {
            if holds {
                actions.extend_from_slice(these);
            }
        };
        when(state.ask.is_some(), &[Action::AskArrives, Action::AskIsLost]);
        when(
            state.receipt.is_some(),
            &[Action::ReceiptArrives, Action::ReceiptIsLost],
        );
        when(state.stop, &[Action::StopArrives, Action::StopIsLost]);
        when(state.wants_stop, &[Action::RenterStops]);
        if state.troubles_left > 0 {
            when(!state.provider.dead, &[Action::ProviderCrashes, Action::ProviderDies]);
            when(!state.renter.dead, &[Action::RenterCrashes, Action::RenterDies]);
            when(state.slot == Slot::Open, &[Action::DepositIsTakenBack]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let (mut next, bug) = (last.clone(), self.bug);
        match action {
            Action::Pass => next.pass(bug),
            Action::AskArrives => {
                let (cumulative, metered, work) = next.ask.take()?;
                let asked = RenterEvent::ReceiptAsked {
                    cumulative,
                    metered,
                    work,
                };
                next.tell_renter(asked, bug);
            }
            Action::AskIsLost => next.ask = None,
            Action::ReceiptArrives => {
                let receipt = VerifiedReceipt::unsigned(LeaseId::default(), next.receipt.take()?);
                next.tell_provider(ProviderEvent::ReceiptReceived(receipt), bug);
            }
            Action::ReceiptIsLost => next.receipt = None,
            Action::StopArrives => {
                next.stop = false;
                next.tell_provider(ProviderEvent::StopRequested { by: Actor::Renter }, bug);
            }
            Action::StopIsLost => next.stop = false,
            Action::RenterStops => {
                next.wants_stop = false;
                next.tell_renter(RenterEvent::StopRequested, bug);
            }
            Action::ProviderCrashes
            | Action::RenterCrashes
            | Action::ProviderDies
            | Action::RenterDies
            | Action::DepositIsTakenBack => next.trouble(action, bug),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("claims stay within deposit, receipt and work", |_, state: &State| {
                let Slot::Closed { paid } = state.slot else { return true };
                paid <= deposit() && paid <= state.signed && paid <= tariff().due(state.shim.ran)
            }),
            Property::always("a provider loses two intervals at most", |_, state: &State| {
                state.shim.ran.as_secs() <= secs(state.held) + 2 * STEP_SECS
            }),
            Property::always("a renter loses two intervals at most", |_, state: &State| {
                secs(state.signed) <= state.shim.ran.as_secs() + 2 * STEP_SECS
            }),
            Property::always("what has ended has ended for ever", |_, state: &State| {
                let provider = matches!(state.provider.machine.state(), ProviderState::Ended { .. });
                let renter = state.renter.machine.end().is_some();
                (provider || !state.provider.ended) && (renter || !state.renter.ended)
            }),
            Property::always("no money stays behind", |_, state: &State| {
                let nobody = state.provider.dead && state.renter.dead;
                state.secs < HORIZON_SECS || state.slot != Slot::Open || nobody
            }),
            Property::always("a living provider collects what it earned", |_, state: &State| {
                let Slot::Closed { paid } = state.slot else { return true };
                let earned = tariff().due(state.shim.ran).min(state.held);
                state.provider.dead || state.secs < HORIZON_SECS || paid >= earned
            }),
            Property::sometimes(
                "work is paid",
                |_, state: &State| matches!(state.slot, Slot::Closed { paid } if secs(paid) >= 2 * STEP_SECS),
            ),
            Property::sometimes("money is reclaimed", |_, state: &State| {
                matches!(state.renter.machine.state(), RenterState::Reclaimed { .. })
            }),
        ]
    }
}

impl<M: Clone> Daemon<M> {
    fn new(machine: M) -> Self {
        Self {
            journal: machine.clone(),
            machine,
            dead: false,
            ended: false,
        }
    }
}

impl State {
    fn trouble(&mut self, trouble: Action, bug: Option<Bug>) {
        self.troubles_left -= 1;
        match trouble {
            Action::ProviderCrashes => {
                self.provider.machine = self.provider.journal.clone();
                self.tell_provider(ProviderEvent::Restarted, bug);
                self.look(bug);
                self.read_meter(bug);
            }
            Action::RenterCrashes => {
                self.renter.machine = self.renter.journal.clone();
                self.tell_renter(RenterEvent::Restarted, bug);
                self.look(bug);
            }
            Action::ProviderDies => {
                self.provider.dead = true;
            }
            Action::RenterDies => self.renter.dead = true,
            Action::DepositIsTakenBack => {
                self.slot = Slot::None;
                // Its bytes are there already: they go before what waits.
                if !self.renter.dead {
                    self.pending.insert(0, Call::Open);
                }
                self.look(bug);
            }
            Action::Pass
            | Action::AskArrives
            | Action::AskIsLost
            | Action::ReceiptArrives
            | Action::ReceiptIsLost
            | Action::StopArrives
            | Action::StopIsLost
            | Action::RenterStops => {}
        }
    }
}

fn check(troubles: u8, bug: Option<Bug>) -> impl Checker<Small> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Small { troubles, bug }.checker().threads(cores).spawn_bfs().join()
}

#[test]
fn no_order_of_events_breaks_a_promise() {
    let checker = check(1, None);
    println!(
        "{} states, {} of them different",
        checker.state_count(),
        checker.unique_state_count()
    );
    checker.assert_properties();
    assert!(
        checker.unique_state_count() > 10_000,
        "the model is too small to say much"
    );
}

#[test]
fn the_model_finds_each_planted_bug() {
    let bugs = [
        (
            Bug::ClaimsAllThatIsSigned,
            "claims stay within deposit, receipt and work",
        ),
        (Bug::NeverReclaims, "no money stays behind"),
    ];
    for (bug, property) in bugs {
        let checker = check(1, Some(bug));
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("{bug:?} was not noticed"));
        println!("{bug:?}: {property}, broken by {:?}", path.into_actions());
    }
}

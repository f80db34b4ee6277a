//! The named invariants, and the world's own count of one lease's work, signatures and money that they are checked
//! against. What they say in words: `docs/spec/invariants.md`.

use super::chain::{Call, Chain, GRACE_SECS, Status};
use super::host::Head;
use super::shim::Shim;
use super::{Deal, ProviderKind, RenterKind, Trouble};
use crate::lifecycle::Work;
use crate::meter::{INTERVAL, slack};
use crate::provider::IDLE_LIMIT;
use gpux_types::{Amount, Millis, PricePerHour};
use std::fmt;

/// What must hold in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invariant {
    /// What everybody owns together never changes, the escrow holds what its open leases say and nothing for closed
    /// ones, and a lease moves nobody's money but that of its own two sides and its builder.
    MoneyIsConserved,
    /// No claim is above the deposit.
    ClaimWithinDeposit,
    /// No claim is above the newest receipt.
    ClaimWithinReceipt,
    /// An honest provider claims no more than was metered.
    ClaimWithinMeter,
    /// An honest provider that lives is paid all that is metered and signed.
    EntitlementIsCollected,
    /// Once ended, always ended.
    TerminalStaysTerminal,
    /// At no time has the provider worked more than two intervals beyond what it can collect.
    ProviderLosesTwoIntervalsAtMost,
    /// At no time has the renter signed more than two intervals beyond the work that ran, or that it said it signs ahead for.
    RenterLosesTwoIntervalsAtMost,
    /// The renter signs for no more than its own time, whatever it is told.
    RenterSignsForItsOwnTime,
    /// While the provider's daemon is up, work is never ahead of the receipts by more than one interval.
    WorkStaysWithinOneInterval,
    /// Nothing runs before the first receipt.
    NoWorkBeforeTheFirstReceipt,
    /// Nothing is signed before the deposit is on the chain.
    NoReceiptBeforeFunding,
    /// What is signed never falls.
    SignedNeverFalls,
    /// Neither what is signed nor the work that runs passes the deposit.
    DepositIsNeverPassed,
    /// What a node has worked on deposits that are not deep stays within one bound for all of its leases.
    ExposureIsOfTheNode,
    /// A closing amount is one amount, given when the work is gone, and no receipt is asked for after it.
    ClosingIsGivenOnceAndLast,
    /// An event that is heard again changes nothing.
    ReplayChangesNothing,
    /// Every lease is closed in the end, and all money is with somebody.
    LeaseEnds,
    /// A closed lease stays closed, whatever is sent to the escrow.
    ClosedStaysClosed,
    /// The renter's money cannot be reclaimed while the provider's time to settle lasts.
    GraceIsKept,
    /// A part that counts as done ran to its end somewhere, and its result was kept.
    KeptPartsWereDelivered,
    /// What is done once is never paid for again: a part that is done stays done.
    DonePartsStayDone,
    /// An honest node that has nothing left to do and does not hear its renter stops its meter.
    IdleLeasesAreUnbilled,
    /// A job whose renter lives is over in the end: each part is done, given up, or left without any node.
    JobEnds,
}

impl Invariant {
    pub(super) const ALL: [Self; 24] = [
        Self::MoneyIsConserved,
        Self::ClaimWithinDeposit,
        Self::ClaimWithinReceipt,
        Self::ClaimWithinMeter,
        Self::EntitlementIsCollected,
        Self::TerminalStaysTerminal,
        Self::ProviderLosesTwoIntervalsAtMost,
        Self::RenterLosesTwoIntervalsAtMost,
        Self::RenterSignsForItsOwnTime,
        Self::WorkStaysWithinOneInterval,
        Self::NoWorkBeforeTheFirstReceipt,
        Self::NoReceiptBeforeFunding,
        Self::SignedNeverFalls,
        Self::DepositIsNeverPassed,
        Self::ExposureIsOfTheNode,
        Self::ClosingIsGivenOnceAndLast,
        Self::ReplayChangesNothing,
        Self::LeaseEnds,
        Self::ClosedStaysClosed,
        Self::GraceIsKept,
        Self::KeptPartsWereDelivered,
        Self::DonePartsStayDone,
        Self::IdleLeasesAreUnbilled,
        Self::JobEnds,
    ];
}

#[derive(Debug)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    pub(super) at_ms: u64,
    pub(super) detail: String,
}

impl Violation {
    /// Says which lease it is about, unless that is said.
    pub(super) fn of(mut self, lease: usize) -> Self {
        if !self.detail.starts_with("lease ") {
            self.detail = format!("lease {lease}: {}", self.detail);
        }
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broke at {} ms: {}", self.invariant, self.at_ms, self.detail)
    }
}

/// What happened, as nobody but the world can know it.
#[derive(Debug)]
pub(super) struct Ledger {
    lease: usize,
    deal: Deal,
    price: PricePerHour,
    /// The highest amount that the renter's daemon signed, whether or not it arrived.
    signed: Amount,
    /// The highest receipt that the provider's daemon took and journaled.
    held: Amount,
    first_signed_ms: Option<u64>,
    provider_ended: bool,
    renter_ended: bool,
    deposit_most: Amount,
    opened: bool,
    /// Since when the provider's daemon is up, without a pause.
    up_since_ms: Option<u64>,
    /// The same, while its endpoint answers as well.
    reaches_chain_since_ms: Option<u64>,
    reorganised: bool,
    provider_died: bool,
    renter_died: bool,
    /// The provider's own clock was stepped, or its endpoint told it of the future: how long it waits for the last
    /// receipt, and when it reads its meter, is anybody's guess. What it may lose in all is not.
    provider_time_is_off: bool,
    /// By how much the renter's own clock was put forward, and what its daemon cannot know after restarts.
    renter_unknown_ms: u64,
    /// The work up to which the renter said that it signs ahead.
    ahead_ms: u64,
    /// The longest that a call waits for its block.
    inclusion_ms: u64,
    gone_ms: Option<u64>,
    closing: Option<Amount>,
    /// The provider's daemon was not up, or its endpoint away, until shortly before the renter could reclaim.
    came_late: bool,
    dropped_for_ever: bool,
}

/// Rounding of prices, messages that take one step, and clocks that differ by a thousandth are not losses.
const STEP_MS: u64 = 300;
/// How long a provider waits for the last receipt at least.
const LAST_RECEIPT_MS: u64 = 9_500;
/// How long a daemon that comes back needs to stop the work and settle.
const TIME_TO_SETTLE_MS: u64 = 8_000;
/// How long it may take until work is gone that was told to end.
const STOP_MS: u64 = 1_500;

macro_rules! ensure {
    ($holds:expr, $invariant:ident, $at_ms:expr, $($detail:tt)*) => {
        if !$holds {
            return Err(Violation { invariant: Invariant::$invariant, at_ms: $at_ms, detail: format!($($detail)*) });
        }
    };
}

impl Ledger {
    pub(super) fn new(lease: usize, deal: Deal, inclusion_ms: u64) -> Self {
        Self {
            lease,
            deal,
            price: PricePerHour(Amount::new(deal.price.into()).unwrap()),
            signed: Amount::ZERO,
            held: Amount::ZERO,
            first_signed_ms: None,
            provider_ended: false,
            renter_ended: false,
            deposit_most: Amount::ZERO,
            opened: false,
            up_since_ms: Some(0),
            reaches_chain_since_ms: Some(0),
            reorganised: false,
            provider_died: false,
            renter_died: false,
            provider_time_is_off: false,
            renter_unknown_ms: 0,
            ahead_ms: 0,
            inclusion_ms,
            gone_ms: None,
            closing: None,
            came_late: false,
            dropped_for_ever: false,
        }
    }

    /// Something went wrong at the lease's provider, its renter, or anywhere.
    pub(super) fn happened(&mut self, trouble: Trouble, (provider, renter): (usize, usize)) {
        match trouble {
            Trouble::Reorganises { drops_open, .. } => {
                self.reorganised = true;
                self.dropped_for_ever |= drops_open && self.deal.renter == RenterKind::NeverResends;
            }
            Trouble::NodeDies { node } => {
                self.provider_died |= node == provider;
                self.renter_died |= node == renter;
            }
            Trouble::DaemonCrashes { node, .. } if node == renter => self.renter_unknown_ms += 2 * INTERVAL.0,
            Trouble::ClockSteps { node, by_ms } => {
                self.provider_time_is_off |= node == provider;
                if node == renter {
                    self.renter_unknown_ms += by_ms.unsigned_abs() + 2 * INTERVAL.0;
                }
            }
            Trouble::HeadLies { node, head, .. } => {
                self.provider_time_is_off |= node == provider && matches!(head, Head::Ahead(_));
            }
            Trouble::FeesRise { for_ms } => self.inclusion_ms = self.inclusion_ms.max(for_ms),
            Trouble::DaemonCrashes { .. }
            | Trouble::ShimDies { .. }
            | Trouble::LinkParts { .. }
            | Trouble::ToppedUp { .. }
            | Trouble::RenterStops { .. }
            | Trouble::RenterGoesAway { .. }
            | Trouble::ProviderStops { .. }
            | Trouble::PreparationFails { .. }
            | Trouble::DepositIsRefused { .. }
            | Trouble::OutOfMemory { .. } => {}
        }
    }

    /// The renter says that it goes away for so long: it may sign for the work until then, and when it is back it cannot tell
    /// whether that was done.
    pub(super) fn renter_goes_away(&mut self, shim: &Shim, horizon: Millis) {
        self.ahead_ms = self.ahead_ms.max(shim.delivered_ms + horizon.0);
        self.renter_unknown_ms += horizon.0;
    }

    /// The most that a renter may have signed, or paid, for so much work: two intervals, and what it signed ahead.
    fn renter_bound(&self, delivered: u64) -> Amount {
        let worked = delivered.max(self.ahead_ms);
        self.cost(worked + 2 * INTERVAL.0 + tolerance(worked))
    }

    /// How far the work may go beyond the provider's share of its node's exposure: to the next reading of the meter, or until
    /// the dead-man switch fires.
    pub(super) fn exposure_slack(&self) -> Amount {
        let always_up = self.up_since_ms == Some(0) && !self.provider_time_is_off;
        let ms = if always_up { 0 } else { 2 * INTERVAL.0 };
        let rounding = Amount::new(1).unwrap();
        self.cost(ms + 2 * STEP_MS).saturating_add(rounding)
    }

    pub(super) const fn was_reorganised(&self) -> bool {
        self.reorganised
    }

    /// After each block.
    pub(super) fn block_mined(&mut self, at_ms: u64, chain: &Chain) -> Result<(), Violation> {
        let slot = chain.slot(self.lease);
        let in_time = !chain.is_reclaimable(self.lease);
        if slot.status == Status::Open && in_time {
            let time_to_settle = TIME_TO_SETTLE_MS + self.inclusion_ms;
            self.came_late = self
                .reaches_chain_since_ms
                .is_none_or(|since| at_ms < since + time_to_settle);
        }
        self.opened |= slot.status != Status::None;
        self.deposit_most = self.deposit_most.max(slot.deposit);
        let reclaimed = slot.status == Status::Closed && chain.is_mined(self.lease, |call| *call == Call::Reclaim);
        ensure!(
            !(reclaimed && in_time),
            GraceIsKept,
            at_ms,
            "reclaimed before {:?}",
            slot.expiry.plus_secs(GRACE_SECS)
        );
        let ends = |call: &Call| matches!(call, Call::Settle { .. } | Call::Close { .. } | Call::Reclaim);
        let reopened = slot.status != Status::Closed && chain.is_mined(self.lease, ends);
        ensure!(!reopened, ClosedStaysClosed, at_ms, "it is {:?} again", slot.status);
        Ok(())
    }

    pub(super) fn provider_is_up(&mut self, at_ms: u64, up: bool, reaches_chain: bool) {
        self.up_since_ms = self.up_since_ms.or(Some(at_ms)).filter(|_| up);
        self.reaches_chain_since_ms = self.reaches_chain_since_ms.or(Some(at_ms)).filter(|_| reaches_chain);
    }

    /// For how long the meter has run with nothing left to do and no word of the renter.
    pub(super) fn stood_idle(&self, at_ms: u64, idle_ms: u64) -> Result<(), Violation> {
        let always_up = self.up_since_ms == Some(0) && !self.provider_time_is_off;
        let honest = self.deal.provider == ProviderKind::Honest;
        let reading_ms = 1_000;
        ensure!(
            !honest || !always_up || idle_ms <= IDLE_LIMIT.0 + reading_ms + STOP_MS + tolerance(idle_ms),
            IdleLeasesAreUnbilled,
            at_ms,
            "{idle_ms} ms were metered with nothing to do"
        );
        Ok(())
    }

    /// A receipt that comes after the time for the last one is too late to be claimed.
    pub(super) fn receipt_held(&mut self, at_ms: u64, cumulative: Amount, shim: &Shim) {
        if shim.exists() && shim.work() == Work::Gone {
            let gone_ms = *self.gone_ms.get_or_insert(at_ms);
            if at_ms > gone_ms + LAST_RECEIPT_MS || self.provider_time_is_off {
                return;
            }
        }
        self.held = self.held.max(cumulative);
    }

    pub(super) fn receipt_signed(&mut self, at_ms: u64, cumulative: Amount) -> Result<(), Violation> {
        ensure!(self.opened, NoReceiptBeforeFunding, at_ms, "{cumulative} was signed");
        ensure!(
            cumulative >= self.signed,
            SignedNeverFalls,
            at_ms,
            "{cumulative} after {}",
            self.signed
        );
        let most = self.deposit_most;
        ensure!(
            cumulative <= most,
            DepositIsNeverPassed,
            at_ms,
            "{cumulative} is signed of {most}"
        );
        self.signed = cumulative;
        self.first_signed_ms = self.first_signed_ms.or(Some(at_ms));
        Ok(())
    }

    pub(super) fn closing_given(&mut self, at_ms: u64, amount: Amount, shim: &Shim) -> Result<(), Violation> {
        let gone = shim.work() == Work::Gone;
        ensure!(
            gone,
            ClosingIsGivenOnceAndLast,
            at_ms,
            "{amount} while the work goes on"
        );
        let first = *self.closing.get_or_insert(amount);
        ensure!(
            amount == first,
            ClosingIsGivenOnceAndLast,
            at_ms,
            "{amount} after {first}"
        );
        Ok(())
    }

    pub(super) fn receipt_asked(&self, at_ms: u64, cumulative: Amount) -> Result<(), Violation> {
        let closing = self.closing;
        ensure!(
            closing.is_none(),
            ClosingIsGivenOnceAndLast,
            at_ms,
            "{cumulative} is asked after {closing:?}"
        );
        Ok(())
    }

    /// What an honest provider's daemon is about to claim.
    pub(super) fn claimed(&self, at_ms: u64, amount: Amount, shim: &Shim, chain: &Chain) -> Result<(), Violation> {
        let deposit = chain.slot(self.lease).deposit.max(self.deposit_most);
        ensure!(
            amount <= deposit,
            ClaimWithinDeposit,
            at_ms,
            "{amount} is claimed of {deposit}"
        );
        let due = self.price.cost_of(shim.metered());
        ensure!(
            amount <= due,
            ClaimWithinMeter,
            at_ms,
            "{amount} is claimed for {due} of work"
        );
        let signed = self.signed;
        ensure!(
            amount <= signed,
            ClaimWithinReceipt,
            at_ms,
            "{amount} is claimed, {signed} signed"
        );
        Ok(())
    }

    /// Where the provider's machine stands, once that is written down.
    pub(super) fn provider_stands(&mut self, at_ms: u64, ended: bool) -> Result<(), Violation> {
        let holds = ended || !self.provider_ended;
        ensure!(holds, TerminalStaysTerminal, at_ms, "the provider's lease came back");
        self.provider_ended = ended;
        Ok(())
    }

    /// The same of the renter's.
    pub(super) fn renter_stands(&mut self, at_ms: u64, ended: bool) -> Result<(), Violation> {
        let holds = ended || !self.renter_ended;
        ensure!(holds, TerminalStaysTerminal, at_ms, "the renter's lease came back");
        self.renter_ended = ended;
        Ok(())
    }

    /// Checked after every step of the world.
    pub(super) fn check(&mut self, at_ms: u64, shim: &Shim, chain: &Chain) -> Result<(), Violation> {
        let slot = chain.slot(self.lease);
        let (claimed, deposit) = (slot.claimed, slot.deposit);
        ensure!(claimed <= deposit, ClaimWithinDeposit, at_ms, "{claimed} of {deposit}");
        ensure!(
            claimed <= self.signed,
            ClaimWithinReceipt,
            at_ms,
            "{claimed} of {}",
            self.signed
        );
        if shim.exists() && shim.work() == Work::Gone {
            self.gone_ms = self.gone_ms.or(Some(at_ms));
        }
        let honest = self.deal.provider.works_as_it_says();
        self.check_work(at_ms, honest, shim)?;
        self.check_renter(at_ms, shim)
    }

    fn check_work(&self, at_ms: u64, honest: bool, shim: &Shim) -> Result<(), Violation> {
        let delivered = shim.delivered_ms;
        if delivered == 0 || !honest {
            return Ok(());
        }
        let held = self.held;
        // At prices so low that rounding makes the first interval free there is nothing to sign.
        let free = self.cost(delivered.min(INTERVAL.0)) == Amount::ZERO;
        ensure!(
            held > Amount::ZERO || free,
            NoWorkBeforeTheFirstReceipt,
            at_ms,
            "{delivered} ms ran"
        );
        let covered = self.price.time_for(held).0;
        let two = covered.saturating_add(2 * INTERVAL.0 + tolerance(delivered));
        ensure!(
            delivered <= two,
            ProviderLosesTwoIntervalsAtMost,
            at_ms,
            "{delivered} ms ran, {covered} ms are paid"
        );
        let long_up = self.up_since_ms.is_some_and(|since| at_ms >= since + 1_500);
        // What ran unpaid while the daemon was away was not its doing; the dead-man switch bounds it.
        let one = covered.saturating_add(INTERVAL.0 + STOP_MS + tolerance(delivered));
        let always_up = self.up_since_ms == Some(0) && !self.provider_time_is_off;
        ensure!(
            !(long_up && always_up) || delivered <= one,
            WorkStaysWithinOneInterval,
            at_ms,
            "{delivered} ms ran, {covered} ms are paid"
        );
        let most = self.deposit_most;
        let due = self
            .price
            .cost_of(Millis(delivered - tolerance(delivered).min(delivered)));
        ensure!(
            self.reorganised || due <= most,
            DepositIsNeverPassed,
            at_ms,
            "{due} of work for {most}"
        );
        Ok(())
    }

    fn check_renter(&self, at_ms: u64, shim: &Shim) -> Result<(), Violation> {
        let Some(first) = self.first_signed_ms else {
            return Ok(());
        };
        let (signed, delivered) = (self.signed, shim.delivered_ms);
        let most = self.renter_bound(delivered);
        // A provider that says that it works while it does not is caught by no clock of the renter's.
        let liar = self.deal.provider.lies_about_work();
        ensure!(
            liar || signed <= most,
            RenterLosesTwoIntervalsAtMost,
            at_ms,
            "{signed} signed for {delivered} ms of work, {most} at most"
        );
        // Nor can a renter's daemon that comes back tell how long it was away.
        let own = at_ms - first + self.renter_unknown_ms;
        let jitter_ms = 1_000;
        let ahead = INTERVAL.0 + slack(Millis(own)).0 + jitter_ms + tolerance(own);
        let most = self.cost(own + ahead);
        ensure!(
            signed <= most,
            RenterSignsForItsOwnTime,
            at_ms,
            "{signed} signed in {own} ms, {most} at most"
        );
        Ok(())
    }

    /// Checked once, long after everything should be over: what each side lost, in work that ran and money that moved.
    pub(super) fn check_end(&self, at_ms: u64, shim: &Shim, chain: &Chain) -> Result<(), Violation> {
        let slot = chain.slot(self.lease);
        let unreachable = self.provider_died && self.renter_died;
        let open = slot.status == Status::Open;
        ensure!(!open || unreachable, LeaseEnds, at_ms, "the lease is still open");
        let paid = slot.claimed;
        let delivered = shim.delivered_ms;
        let most = self.renter_bound(delivered);
        let liar = self.deal.provider.lies_about_work();
        ensure!(
            liar || paid <= most,
            RenterLosesTwoIntervalsAtMost,
            at_ms,
            "{paid} paid for {delivered} ms of work"
        );
        if !self.provider_is_owed() {
            return Ok(());
        }
        let earned = self.price.cost_of(shim.metered()).min(self.held).min(slot.deposit);
        ensure!(
            paid >= earned,
            EntitlementIsCollected,
            at_ms,
            "{paid} paid, {earned} earned"
        );
        let covered = self.price.time_for(paid).0;
        let two = covered.saturating_add(2 * INTERVAL.0 + tolerance(delivered));
        ensure!(
            delivered <= two,
            ProviderLosesTwoIntervalsAtMost,
            at_ms,
            "{delivered} ms ran, {covered} ms were paid"
        );
        Ok(())
    }

    /// Whether the promises to providers cover this one: it is honest, lives, came back in time, and did not choose to
    /// work on money that a reorganisation took away for ever.
    fn provider_is_owed(&self) -> bool {
        let honest = self.deal.provider == ProviderKind::Honest;
        honest && !self.provider_died && !self.dropped_for_ever && !self.came_late
    }

    /// In milliseconds of rent: what the provider worked beyond what it was paid, and what the renter paid beyond the
    /// work that ran; each only where the promises cover it and rounding is less than a millisecond.
    pub(super) fn losses_ms(&self, shim: &Shim, chain: &Chain) -> (u64, u64) {
        if self.price.cost_of(Millis(1)) == Amount::ZERO {
            return (0, 0);
        }
        let paid_ms = self.price.time_for(chain.slot(self.lease).claimed).0;
        let provider = shim.delivered_ms.saturating_sub(paid_ms);
        let renter = paid_ms.saturating_sub(shim.delivered_ms);
        (
            provider * u64::from(self.provider_is_owed()),
            renter * u64::from(!self.deal.provider.lies_about_work()),
        )
    }

    fn cost(&self, ms: u64) -> Amount {
        self.price.cost_of(Millis(ms))
    }
}

/// Clocks that are a thousandth apart, and the world's steps.
fn tolerance(ms: u64) -> u64 {
    STEP_MS + ms / 1_000 * 2
}

/// Replay and journal are checked where they happen.
pub(super) fn broken(invariant: Invariant, at_ms: u64, detail: String) -> Violation {
    Violation {
        invariant,
        at_ms,
        detail,
    }
}

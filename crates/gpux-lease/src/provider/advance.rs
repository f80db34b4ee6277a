//! What follows from the facts of a provider's lease: every decision about when work may run and what is claimed.
//!
//! Called by [`ProviderLease::handle`] after each event. It reads facts and the time, never the event.

use super::{Closing, FreezeCause, Preparation, ProviderEffect, ProviderLease, ProviderState};
use crate::exposure::Exposed;
use crate::lifecycle::{Actor, End, EndReason, EscrowView, Work};
use crate::meter::FREEZE_MARGIN;
use gpux_types::{Amount, Millis, UnixSeconds};

/// How often the meter is read while there is work, and a receipt or stop that is missing is asked for again.
const POLL: Millis = Millis::from_secs(1);
/// How long a stop or a settlement may take before it is asked for again.
const RETRY: Millis = Millis::from_secs(30);

impl ProviderLease {
    /// Moves on until nothing more follows. Every state leads only to later ones, save between running and frozen,
    /// whose conditions exclude each other, so this ends.
    pub(super) fn advance(&mut self, effects: &mut Vec<ProviderEffect>) {
        while let Some(next) = self.next(effects) {
            let before = self.state;
            self.state = next;
            self.enter(Some(before), effects);
        }
    }

    /// What entering the state asks for; `None` before it means a request or a restart, which ask again for all of it.
    pub(super) fn enter(&mut self, before: Option<ProviderState>, effects: &mut Vec<ProviderEffect>) {
        use ProviderState as S;
        match self.state {
            S::Waiting {
                preparation: Preparation::Underway,
                ..
            }
            | S::Preparing { .. }
                if before.is_none() =>
            {
                effects.push(ProviderEffect::Prepare);
            }
            S::Running => {
                if let Some(S::Frozen { .. }) = before {
                    self.account.work = Work::Running;
                    effects.push(ProviderEffect::Thaw);
                }
                effects.push(ProviderEffect::AllowWork);
                if before.is_none() {
                    self.repeat_draw(effects);
                }
            }
            S::Frozen { .. } => {
                self.account.work = Work::Frozen;
                effects.push(ProviderEffect::Freeze);
            }
            S::Stopping { end, .. } if self.account.work != Work::Gone => {
                effects.push(ProviderEffect::StopWork { end });
            }
            S::Offering { amount, .. } => effects.push(ProviderEffect::SignClosing { amount }),
            S::Settling { amount, .. } => effects.push(self.settlement(amount)),
            S::Ended { .. } => effects.push(ProviderEffect::Forget),
            S::Waiting { .. }
            | S::Preparing { .. }
            | S::Ready { .. }
            | S::Stopping { .. }
            | S::Closing { .. }
            | S::Refusing { .. } => {}
        }
    }

    fn next(&mut self, effects: &mut Vec<ProviderEffect>) -> Option<ProviderState> {
        use ProviderState as S;
        let now = self.now;
        if self.state.is_live()
            && let Some(end) = self.reason_to_stop()
        {
            return Some(S::Stopping { since: now, end });
        }
        match self.state {
            S::Waiting { since, preparation } => self.after_waiting(since, preparation),
            S::Preparing { .. } => None,
            S::Ready { since } => self.after_ready(since, effects),
            S::Running => self.after_running(effects),
            S::Frozen { since, cause } => self.after_frozen(since, cause, effects),
            S::Stopping { since, end } => self.after_stopping(since, end, effects),
            S::Closing { since, end } => self.after_closing(since, end, effects),
            S::Offering { since, end, amount } => self.after_offering(since, end, amount),
            S::Settling { since, end, amount } => self.after_settling(since, end, amount, effects),
            S::Refusing { since, end } => self.after_refusing(since, end),
            S::Ended { .. } => None,
        }
    }

    /// What ends a lease whatever else it is doing.
    fn reason_to_stop(&self) -> Option<End> {
        let (metered, now) = (self.account.metered, self.now);
        if self.account.work == Work::Gone {
            return Some(End::new(EndReason::WorkLost, Actor::Provider));
        }
        if let ProviderState::Waiting {
            since,
            preparation: Preparation::Underway,
        }
        | ProviderState::Preparing { since } = self.state
            && now >= since.saturating_add(self.config.preparation_limit)
        {
            return Some(End::new(EndReason::PreparationTimedOut, Actor::Provider));
        }
        if self.stands_in_vain() {
            return Some(End::new(EndReason::NeverWent, Actor::Renter));
        }
        if self.config.job_limit.is_some_and(|limit| metered >= limit) {
            return Some(End::new(EndReason::JobLimit, Actor::Renter));
        }
        match self.account.escrow {
            EscrowView::Absent => None,
            EscrowView::Closed { .. } => Some(End::new(EndReason::ClosedOnChain, Actor::Chain)),
            EscrowView::Open { deposit, expiry, .. } => {
                let stop_at = UnixSeconds(expiry.0.saturating_sub(self.config.expiry_margin_secs));
                if self.account.block.is_some_and(|block| block.at(now) >= stop_at) {
                    return Some(End::new(EndReason::Expired, Actor::Renter));
                }
                (metered >= self.deposit_limit(deposit)).then(|| End::new(EndReason::DepositUsed, Actor::Renter))
            }
        }
    }

    /// The most that may be metered on `deposit`: nothing when the reserve leaves no receipt to ask for.
    fn deposit_limit(&self, deposit: Amount) -> Millis {
        let tariff = &self.config.tariff;
        if self.ask_cap() == Amount::ZERO && tariff.due(tariff.interval) > Amount::ZERO {
            return Millis::ZERO;
        }
        tariff.covered(deposit).saturating_sub(self.config.reserve)
    }

    /// The most that is asked for while there is work: the deposit less the reserve.
    fn ask_cap(&self) -> Amount {
        let reserve = self.config.tariff.due(self.config.reserve);
        self.account.escrow.deposit().saturating_sub(reserve)
    }

    /// What would be lost if the chain took back every block that is not deep enough: what the lease's share is to be.
    #[must_use]
    pub fn exposed(&self) -> Exposed {
        let (deposit, assured) = match self.account.escrow {
            EscrowView::Open { deposit, assured, .. } => (deposit, assured),
            EscrowView::Absent => (Amount::ZERO, Amount::ZERO),
            EscrowView::Closed { .. } => return Exposed::default(),
        };
        use ProviderState as S;
        let tariff = &self.config.tariff;
        let worked = tariff.due(self.account.metered).saturating_sub(assured);
        let wanted = match self.state {
            S::Ended { .. } => return Exposed::default(),
            // Until the meter is read again, and no less than an interval: work that is let go on does so for a while.
            S::Ready { .. } | S::Running | S::Frozen { .. } => {
                let ahead = tariff.interval.saturating_add(FREEZE_MARGIN);
                let upto = tariff.due(self.account.metered.saturating_add(ahead)).min(deposit);
                upto.saturating_sub(assured).max(worked)
            }
            S::Waiting { .. }
            | S::Preparing { .. }
            | S::Stopping { .. }
            | S::Closing { .. }
            | S::Offering { .. }
            | S::Settling { .. }
            | S::Refusing { .. } => worked,
        };
        Exposed { worked, wanted }
    }

    /// Whether the work goes beyond what is deep enough in the chain and the lease's share of the exposure.
    fn unassured(&self) -> bool {
        let tariff = &self.config.tariff;
        let backed = match self.account.escrow {
            EscrowView::Open { deposit, assured, .. } => assured.saturating_add(self.account.exposure).min(deposit),
            EscrowView::Absent | EscrowView::Closed { .. } => Amount::ZERO,
        };
        let backed_time = if backed == Amount::ZERO && tariff.due(tariff.interval) > Amount::ZERO {
            Millis::ZERO
        } else {
            tariff.covered(backed)
        };
        self.account.metered.saturating_add(FREEZE_MARGIN) >= backed_time
    }

    fn after_waiting(&self, since: Millis, preparation: Preparation) -> Option<ProviderState> {
        if self.account.escrow.deposit() > Amount::ZERO {
            return Some(match preparation {
                Preparation::Underway => ProviderState::Preparing { since },
                Preparation::Done => ProviderState::Ready { since: self.now },
            });
        }
        let late = self.now >= since.saturating_add(self.config.funding_limit);
        late.then(|| self.stop(EndReason::NeverFunded, Actor::Renter))
    }

    fn after_ready(&mut self, since: Millis, effects: &mut Vec<ProviderEffect>) -> Option<ProviderState> {
        let first = self.config.tariff.ask(Millis::ZERO, self.ask_cap());
        let unassured = self.unassured();
        if self.signed() >= first && !unassured {
            return Some(ProviderState::Running);
        }
        if self.signed() < first {
            self.ask(first, effects);
            let late = self.now >= since.saturating_add(self.config.hold);
            return late.then(|| self.stop(EndReason::Unpaid, Actor::Renter));
        }
        let late = self.now >= since.saturating_add(self.config.assurance_limit);
        late.then(|| self.stop(EndReason::DepositUnassured, Actor::Chain))
    }

    fn after_running(&mut self, effects: &mut Vec<ProviderEffect>) -> Option<ProviderState> {
        let metered = self.account.metered;
        let covered = self.config.tariff.covered(self.signed());
        let frozen = self.account.work == Work::Frozen;
        if metered > self.config.tariff.freeze_after(self.signed()) || (frozen && metered >= covered) {
            return Some(ProviderState::Frozen {
                since: self.now,
                cause: FreezeCause::Unpaid,
            });
        }
        if self.unassured() {
            return Some(ProviderState::Frozen {
                since: self.now,
                cause: FreezeCause::Unassured,
            });
        }
        if self.stands_idle() {
            return Some(ProviderState::Frozen {
                since: self.now,
                cause: FreezeCause::Unheard,
            });
        }
        if frozen {
            // The dead-man switch fired although the work is paid for.
            self.account.work = Work::Running;
            effects.push(ProviderEffect::Thaw);
        }
        if metered >= covered {
            self.ask(self.config.tariff.ask(metered, self.ask_cap()), effects);
        }
        self.draw(effects);
        None
    }

    /// Draws what is earned and signed for once that is worth a transaction. What does not go through is drawn with the next
    /// one, or settled.
    fn draw(&mut self, effects: &mut Vec<ProviderEffect>) {
        let Some(from) = self.config.draw_from.filter(|from| *from > Amount::ZERO) else {
            return;
        };
        let EscrowView::Open { assured, .. } = self.account.escrow else {
            return;
        };
        let earned = self.config.tariff.due(self.account.metered);
        let owed = earned.min(self.signed()).min(assured);
        if owed.saturating_sub(self.account.drawn) >= from {
            self.account.drawn = owed;
            self.account.draws = self.account.draws.saturating_add(1);
            self.repeat_draw(effects);
        }
    }

    fn repeat_draw(&self, effects: &mut Vec<ProviderEffect>) {
        effects.extend(self.last_draw());
    }

    /// The newest draw.
    pub(crate) fn last_draw(&self) -> Option<ProviderEffect> {
        let (amount, number) = (self.account.drawn, self.account.draws.saturating_sub(1));
        let receipt = self.account.receipt.filter(|_| amount > Amount::ZERO)?;
        Some(ProviderEffect::Draw {
            number,
            amount,
            receipt,
        })
    }

    /// The settlement for `amount`.
    pub(crate) fn settlement(&self, amount: Amount) -> ProviderEffect {
        let receipt = self.account.receipt.filter(|_| amount > Amount::ZERO);
        ProviderEffect::Settle { amount, receipt }
    }

    fn after_frozen(
        &mut self,
        since: Millis,
        cause: FreezeCause,
        effects: &mut Vec<ProviderEffect>,
    ) -> Option<ProviderState> {
        let metered = self.account.metered;
        let unpaid = metered >= self.config.tariff.covered(self.signed());
        let holds = |cause| match cause {
            FreezeCause::Unpaid => unpaid,
            FreezeCause::Unassured => self.unassured(),
            FreezeCause::Unheard => self.stands_idle(),
        };
        if !holds(cause) {
            let causes = [FreezeCause::Unpaid, FreezeCause::Unassured, FreezeCause::Unheard];
            let next = causes.into_iter().find(|cause| holds(*cause));
            return Some(next.map_or(ProviderState::Running, |cause| ProviderState::Frozen {
                since: self.now,
                cause,
            }));
        }
        if self.account.work == Work::Running {
            self.account.work = Work::Frozen;
            effects.push(ProviderEffect::Freeze);
        }
        if unpaid {
            self.ask(self.config.tariff.ask(metered, self.ask_cap()), effects);
        }
        let (limit, reason, by) = match cause {
            FreezeCause::Unpaid => (self.config.hold, EndReason::Unpaid, Actor::Renter),
            FreezeCause::Unassured => (self.config.assurance_limit, EndReason::DepositUnassured, Actor::Chain),
            FreezeCause::Unheard => (self.config.hold, EndReason::Completed, Actor::Provider),
        };
        (self.now >= since.saturating_add(limit)).then(|| self.stop(reason, by))
    }

    fn after_stopping(&mut self, since: Millis, end: End, effects: &mut Vec<ProviderEffect>) -> Option<ProviderState> {
        let now = self.now;
        if self.account.work != Work::Gone {
            if now >= since.saturating_add(RETRY) {
                self.state = ProviderState::Stopping { since: now, end };
                effects.push(ProviderEffect::StopWork { end });
            }
            return None;
        }
        Some(match self.account.escrow {
            // With a receipt there was a deposit, and work on it: what a reorganisation took away may come back.
            EscrowView::Absent if self.account.receipt.is_none() => ProviderState::Refusing { since: now, end },
            EscrowView::Closed { paid } => ProviderState::Ended { end, paid },
            EscrowView::Absent | EscrowView::Open { .. } => ProviderState::Closing { since: now, end },
        })
    }

    fn after_closing(&mut self, since: Millis, end: End, effects: &mut Vec<ProviderEffect>) -> Option<ProviderState> {
        let (deposit, expiry) = match self.account.escrow {
            EscrowView::Closed { paid } => return Some(ProviderState::Ended { end, paid }),
            // A reorganisation took the deposit away, or the endpoint is behind: it is waited for.
            EscrowView::Absent => return self.is_given_up(since).then_some(unpaid(end)),
            EscrowView::Open { deposit, expiry, .. } => (deposit, expiry),
        };
        if self.waits_to_tell() {
            return None;
        }
        let due = self.config.tariff.due(self.account.metered).min(deposit);
        let expired = self.account.block.is_some_and(|block| block.at(self.now) >= expiry);
        let late = expired || self.now >= since.saturating_add(self.config.last_receipt_limit);
        if self.signed() < due && !late {
            self.ask(due, effects);
            return None;
        }
        let amount = due.min(self.signed());
        let since = self.now;
        Some(match self.config.closing {
            Closing::SettleAlone => ProviderState::Settling { since, end, amount },
            Closing::Offer { .. } => ProviderState::Offering { since, end, amount },
        })
    }

    fn after_offering(&self, since: Millis, end: End, amount: Amount) -> Option<ProviderState> {
        let now = self.now;
        let wait = match self.config.closing {
            Closing::SettleAlone => Millis::ZERO,
            Closing::Offer { wait } => wait,
        };
        let expired = match self.account.escrow {
            EscrowView::Closed { paid } => return Some(ProviderState::Ended { end, paid }),
            EscrowView::Absent => false,
            EscrowView::Open { expiry, .. } => self.account.block.is_some_and(|block| block.at(now) >= expiry),
        };
        (expired || now >= since.saturating_add(wait)).then_some(ProviderState::Settling {
            since: now,
            end,
            amount,
        })
    }

    fn after_settling(
        &mut self,
        since: Millis,
        end: End,
        amount: Amount,
        effects: &mut Vec<ProviderEffect>,
    ) -> Option<ProviderState> {
        let waited = self.now.saturating_sub(since);
        match self.account.escrow {
            EscrowView::Closed { paid } => return Some(ProviderState::Ended { end, paid }),
            // A reorganisation took the deposit away, or the endpoint is behind; what was sent stands if it comes back.
            EscrowView::Absent => return self.is_given_up(since).then_some(unpaid(end)),
            EscrowView::Open { .. } => {}
        }
        if waited >= RETRY {
            self.state = ProviderState::Settling {
                since: self.now,
                end,
                amount,
            };
            self.enter(Some(self.state), effects);
        }
        None
    }

    fn after_refusing(&self, since: Millis, end: End) -> Option<ProviderState> {
        match self.account.escrow {
            EscrowView::Open { .. } => Some(ProviderState::Settling {
                since: self.now,
                end,
                amount: Amount::ZERO,
            }),
            EscrowView::Closed { paid } => Some(ProviderState::Ended { end, paid }),
            EscrowView::Absent => self.is_given_up(since).then_some(unpaid(end)),
        }
    }

    /// Whether a deposit that was not seen since then is not waited for any more. What a receipt is there for can be collected
    /// until the grace is over, however long the chain does not show it; and a block older than one seen before shows nothing.
    fn is_given_up(&self, since: Millis) -> bool {
        let waited = self.now >= since.saturating_add(self.config.late_deposit_limit);
        let collectable = self.account.receipt.is_some()
            && self.account.expiry.is_none_or(|expiry| {
                let until = expiry.plus_secs(self.config.grace_secs);
                self.account.block.is_none_or(|block| block.at(self.now) <= until)
            });
        waited && !collectable && !self.account.behind
    }

    fn stop(&self, reason: EndReason, by: Actor) -> ProviderState {
        ProviderState::Stopping {
            since: self.now,
            end: End::new(reason, by),
        }
    }

    /// Asks for a receipt of `cumulative`, at most once a [`POLL`], and never for one that is there or on a meter
    /// that was not read since a restart: a renter that is told too little counts too little.
    fn ask(&mut self, cumulative: Amount, effects: &mut Vec<ProviderEffect>) {
        let waited = self
            .account
            .asked
            .is_none_or(|asked| self.now >= asked.saturating_add(POLL));
        if cumulative > self.signed() && waited && self.account.read.is_some() {
            self.account.asked = Some(self.now);
            effects.push(ProviderEffect::AskReceipt { cumulative });
        }
    }

    /// Whether the dead-man switch may be renewed: not when the two intervals that it then lets the work run on alone
    /// would end beyond two intervals of unpaid work.
    pub(super) fn may_renew(&self) -> bool {
        match self.state {
            ProviderState::Waiting { .. }
            | ProviderState::Preparing { .. }
            | ProviderState::Ready { .. }
            | ProviderState::Frozen { .. } => true,
            ProviderState::Running => {
                let covered = self.config.tariff.covered(self.signed());
                self.account.metered.saturating_add(FREEZE_MARGIN) <= covered
            }
            ProviderState::Stopping { .. }
            | ProviderState::Closing { .. }
            | ProviderState::Offering { .. }
            | ProviderState::Settling { .. }
            | ProviderState::Refusing { .. }
            | ProviderState::Ended { .. } => false,
        }
    }

    /// `patience` after `since`, or a while from now when that is over.
    fn first_after(&self, since: Millis, patience: Millis) -> Millis {
        let at = since.saturating_add(patience);
        if at > self.now {
            at
        } else {
            self.now.saturating_add(RETRY)
        }
    }

    /// When to look again although nothing happened.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        match self.state {
            ProviderState::Waiting { .. }
            | ProviderState::Preparing { .. }
            | ProviderState::Ready { .. }
            | ProviderState::Running
            | ProviderState::Frozen { .. }
            | ProviderState::Stopping { .. }
            | ProviderState::Closing { .. } => {
                Some(self.account.read.map_or(self.now, |read| read.saturating_add(POLL)))
            }
            // Not only after the wait: the expiry may come before it, and no block may be heard of.
            ProviderState::Offering { since, .. } => match self.config.closing {
                Closing::SettleAlone => Some(since),
                Closing::Offer { wait } => Some(since.saturating_add(wait).min(self.now.saturating_add(RETRY))),
            },
            // Neither is left at its time while the chain does not show the lease.
            ProviderState::Settling { since, .. } => Some(self.first_after(since, RETRY)),
            ProviderState::Refusing { since, .. } => Some(self.first_after(since, self.config.late_deposit_limit)),
            ProviderState::Ended { .. } => None,
        }
    }
}

/// The end of a lease whose deposit is gone for ever, or never came.
const fn unpaid(end: End) -> ProviderState {
    ProviderState::Ended {
        end,
        paid: Amount::ZERO,
    }
}

//! What follows from the facts of a renter's lease: when a node is lost, when money is fetched back.
//!
//! Called by [`RenterLease::handle`] after each event. It reads facts and the time, never the event.

use super::{RenterEffect, RenterLease, RenterState};
use crate::lifecycle::{Actor, End, EndReason, EscrowView, Work};
use gpux_types::{Amount, Millis, UnixSeconds};

/// How often a provider that should stop is asked again.
const STOP_RETRY: Millis = Millis::from_secs(5);
/// How long a reclaim may take before it is asked for again.
const RECLAIM_RETRY: Millis = Millis::from_secs(30);
/// How often block time is compared with the expiry.
const POLL: Millis = Millis::from_secs(5);

impl RenterLease {
    /// Work up to the horizon is signed ahead from the next ask on, and silence until then is expected. What it costs by the
    /// deposit of now is what was agreed to: a later top-up does not raise it. The newest word counts, so that a horizon of
    /// nothing means that the renter is back.
    pub(super) fn go_away(&mut self, now: Millis, horizon: Millis) {
        self.now = now;
        let horizon = horizon.min(self.until_expiry());
        let ahead = self.counted().saturating_add(horizon);
        self.account.ahead = Some(ahead);
        self.account.ahead_most = self.config.tariff.due(ahead).min(self.account.escrow.deposit());
        self.account.away_until = Some(now.saturating_add(horizon));
    }

    /// The work up to which is signed ahead, where the renter said that it goes away: as much of it as it agreed to.
    #[must_use]
    pub fn ahead(&self) -> Option<Millis> {
        let most = self.config.tariff.covered(self.account.ahead_most);
        self.account.ahead.map(|ahead| ahead.min(most))
    }

    /// What is signed without being asked for: the work up to the horizon.
    pub(super) fn ahead_amount(&self, deposit: Amount) -> Amount {
        let upto = self.account.ahead.unwrap_or_default();
        self.config.tariff.due(upto).min(self.account.ahead_most).min(deposit)
    }

    /// Moves on until nothing more follows. Every state leads only to later ones, save among opening,
    /// running and lost, whose conditions exclude each other, so this ends.
    pub(super) fn advance(&mut self, effects: &mut Vec<RenterEffect>) {
        while let Some(next) = self.next(effects) {
            let before = self.state;
            self.state = next;
            self.enter(Some(before), effects);
        }
    }

    /// What entering the state asks for; `None` before it means a restart, which asks again for all of it.
    pub(super) fn enter(&mut self, before: Option<RenterState>, effects: &mut Vec<RenterEffect>) {
        use RenterState as S;
        let had_parts = matches!(before, Some(S::Open | S::Running));
        match self.state {
            S::Opening => effects.push(RenterEffect::Deposit),
            S::Open | S::Running if !had_parts => effects.push(RenterEffect::OfferParts),
            S::Lost { .. } => effects.push(RenterEffect::RequeueParts),
            S::Ending { end, .. } => effects.extend([RenterEffect::RequeueParts, self.towards_the_end(end)]),
            S::Reclaimable { .. } => effects.push(self.fetched_back()),
            S::Settled { .. } | S::Reclaimed { .. } | S::Failed { .. } => {
                effects.extend([RenterEffect::RequeueParts, RenterEffect::Forget]);
            }
            S::Unfunded { .. } => effects.push(RenterEffect::RequeueParts),
            S::Quoted { .. } | S::Open | S::Running => {}
        }
        if before.is_none() && !self.state.is_final() {
            effects.extend(self.account.top_up.map(RenterEffect::SendTopUp));
        }
    }

    fn next(&mut self, effects: &mut Vec<RenterEffect>) -> Option<RenterState> {
        use RenterState as S;
        let now = self.now;
        match self.state {
            S::Quoted { since } => {
                let over = now >= since.saturating_add(self.config.quote_limit);
                over.then_some(S::Failed {
                    end: End::new(EndReason::QuoteExpired, Actor::Renter),
                })
            }
            S::Opening => match self.account.escrow {
                EscrowView::Absent => None,
                EscrowView::Open { .. } => {
                    self.account.heard = now;
                    Some(S::Open)
                }
                EscrowView::Closed { paid } => Some(closed(paid)),
            },
            S::Open | S::Running | S::Lost { .. } => self.after_open(),
            S::Unfunded { end, until } => self.after_unfunded(end, until),
            S::Ending { since, end, counted } => self.after_ending(since, end, counted, effects),
            S::Reclaimable { since, end } => self.after_reclaimable(since, end, effects),
            S::Settled { .. } | S::Reclaimed { .. } | S::Failed { .. } => None,
        }
    }

    fn after_open(&self) -> Option<RenterState> {
        use RenterState as S;
        match self.account.escrow {
            EscrowView::Closed { paid } => return Some(closed(paid)),
            // A reorganisation dropped the deposit: the same bytes are sent again.
            EscrowView::Absent => return Some(S::Opening),
            EscrowView::Open { .. } => {}
        }
        if self.expired() {
            return Some(self.end_now(EndReason::Expired, Actor::Renter));
        }
        // Who goes away hears nothing, and listens as long as ever once it is back.
        let listened = self.account.heard.max(self.account.away_until.unwrap_or_default());
        let silent = self.now.saturating_sub(listened);
        let unreachable = silent >= self.config.unreachable_after;
        let lasting = self.config.unreachable_after.saturating_add(self.config.give_up_after);
        let begun = self.account.work != Work::Idle;
        match self.state {
            S::Lost { .. } if silent >= lasting => Some(self.end_now(EndReason::NodeUnreachable, Actor::Network)),
            S::Lost { .. } if !unreachable => Some(if begun { S::Running } else { S::Open }),
            S::Open | S::Running if unreachable => Some(S::Lost { since: self.now }),
            S::Open if begun => Some(S::Running),
            S::Quoted { .. }
            | S::Opening
            | S::Open
            | S::Running
            | S::Lost { .. }
            | S::Unfunded { .. }
            | S::Ending { .. }
            | S::Reclaimable { .. }
            | S::Settled { .. }
            | S::Reclaimed { .. }
            | S::Failed { .. } => None,
        }
    }

    /// What was refused and kept, or came back, is a deposit like any other: its lease is ended. Only a block's own time counts
    /// here, since a deposit that is not seen may be in blocks that are not heard of.
    fn after_unfunded(&self, end: End, until: UnixSeconds) -> Option<RenterState> {
        match self.account.escrow {
            EscrowView::Open { .. } => Some(RenterState::Ending {
                since: self.now,
                end,
                counted: self.counted(),
            }),
            EscrowView::Closed { paid } => Some(RenterState::Settled { end, paid }),
            EscrowView::Absent => {
                let over = self.account.block.is_some_and(|block| block.is_after(until));
                over.then_some(RenterState::Failed { end })
            }
        }
    }

    fn after_ending(
        &mut self,
        since: Millis,
        end: End,
        counted: Millis,
        effects: &mut Vec<RenterEffect>,
    ) -> Option<RenterState> {
        let now = self.now;
        if let EscrowView::Closed { paid } = self.account.escrow {
            return Some(RenterState::Settled { end, paid });
        }
        if self.reclaimable() {
            return Some(RenterState::Reclaimable { since: now, end });
        }
        if now >= since.saturating_add(STOP_RETRY) {
            self.state = RenterState::Ending {
                since: now,
                end,
                counted,
            };
            effects.push(self.towards_the_end(end));
        }
        None
    }

    /// What brings a lease that ends to its end: closing it, once the provider said for how much and there is what to close.
    fn towards_the_end(&self, end: End) -> RenterEffect {
        let closing = self
            .account
            .closing
            .filter(|_| self.account.escrow != EscrowView::Absent);
        closing.map_or(RenterEffect::AskStop { end }, |amount| RenterEffect::Close { amount })
    }

    /// What fetches everything back. Where the provider gave it back, closing does, also when an endpoint lied about the time and
    /// the grace is not over.
    pub(crate) fn fetched_back(&self) -> RenterEffect {
        match self.account.closing {
            Some(amount @ Amount::ZERO) => RenterEffect::Close { amount },
            Some(_) | None => RenterEffect::Reclaim,
        }
    }

    fn after_reclaimable(&mut self, since: Millis, end: End, effects: &mut Vec<RenterEffect>) -> Option<RenterState> {
        let now = self.now;
        match self.account.escrow {
            // A provider may still settle until the reclaim is mined; it can claim no more than was signed. A settlement for just
            // what it had drawn leaves the renter the same.
            EscrowView::Closed { paid } if paid > self.account.drawn => {
                return Some(RenterState::Settled { end, paid });
            }
            EscrowView::Closed { paid } => return Some(RenterState::Reclaimed { end, paid }),
            EscrowView::Absent | EscrowView::Open { .. } => {}
        }
        if now >= since.saturating_add(RECLAIM_RETRY) {
            self.state = RenterState::Reclaimable { since: now, end };
            effects.push(self.fetched_back());
        }
        None
    }

    fn end_now(&self, reason: EndReason, by: Actor) -> RenterState {
        RenterState::Ending {
            since: self.now,
            end: End::new(reason, by),
            counted: self.counted(),
        }
    }

    /// Whether no more work can come of the deposit.
    fn expired(&self) -> bool {
        self.passed(0)
    }

    /// Whether the provider's time to settle is over.
    fn reclaimable(&self) -> bool {
        self.passed(self.config.grace_secs)
    }

    fn passed(&self, after_expiry_secs: u64) -> bool {
        let EscrowView::Open { expiry, .. } = self.account.escrow else {
            return false;
        };
        let end = expiry.plus_secs(after_expiry_secs);
        self.account.block.is_some_and(|block| block.at(self.now) > end)
    }

    /// When to look again although nothing happened.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        match self.state {
            RenterState::Quoted { since } => Some(since.saturating_add(self.config.quote_limit)),
            RenterState::Opening
            | RenterState::Open
            | RenterState::Running
            | RenterState::Lost { .. }
            | RenterState::Ending { .. }
            | RenterState::Reclaimable { .. } => Some(self.now.saturating_add(POLL)),
            // Blocks wake it, and nothing else matters.
            RenterState::Unfunded { .. }
            | RenterState::Settled { .. }
            | RenterState::Reclaimed { .. }
            | RenterState::Failed { .. } => None,
        }
    }
}

/// Closed while the renter wanted it open: the provider did it, and has not said why yet.
const fn closed(paid: Amount) -> RenterState {
    RenterState::Settled {
        end: End::new(EndReason::ClosedOnChain, Actor::Provider),
        paid,
    }
}

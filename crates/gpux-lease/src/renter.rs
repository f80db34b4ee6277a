//! The renter's side of one lease: when it deposits, what it signs, when it gives a node up and takes its money back.
//!
//! The daemon owns one [`RenterLease`] per lease of its jobs, journals it after [`RenterLease::handle`], and only then
//! performs the effects. As on the provider's side an event updates facts, and `advance.rs` decides what follows.
//!
//! ```text
//! Quoted ──accepted──> Opening ──deposit──> Open ──work reported──> Running ──silence──> Lost ──report──> Running
//!    │ too late           │ cannot            └──────────────┬──────────┴─────────────────┘
//!    v                    v                                  v
//!  Failed <──too late── Unfunded ──deposit all the same──> Ending ──closed──> Settled
//!                                                            └──expiry + grace──> Reclaimable ──closed──> Reclaimed
//! ```

mod advance;
mod events;
#[cfg(test)]
mod tests;

use crate::lifecycle::{Actor, BlockClock, End, EndReason, EscrowView, UnexpectedEvent, Work};
use crate::meter::{HOLD, INTERVAL, Tariff, WorkClock};
pub use events::{RenterEffect, RenterEvent, TopUp};
use gpux_types::{Amount, Millis, UnixSeconds};
use serde::{Deserialize, Serialize};

/// How long every quote holds, from when it was asked for.
pub const QUOTE_HOLDS: Millis = Millis::from_secs(30);

/// What the renter agreed to and how patient it is. Fixed for the life of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenterConfig {
    /// Gross price and pace of receipts.
    pub tariff: Tariff,
    /// How long the quote holds from when it came.
    pub quote_limit: Millis,
    /// A node that was not heard for this long has its parts queued elsewhere.
    pub unreachable_after: Millis,
    /// A node that was not heard for this long after that is given up: it does not hold the work any longer either.
    pub give_up_after: Millis,
    /// How long after the expiry the provider can still settle, in seconds: the grace of the terms.
    pub grace_secs: u64,
}

impl RenterConfig {
    /// The usual patience.
    #[must_use]
    pub const fn new(tariff: Tariff, grace_secs: u64) -> Self {
        Self {
            tariff,
            quote_limit: QUOTE_HOLDS,
            unreachable_after: Millis::from_secs(30),
            give_up_after: HOLD.saturating_add(INTERVAL),
            grace_secs,
        }
    }
}

/// Where a lease stands on the renter's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenterState {
    /// A quote is there; nothing is spent.
    Quoted {
        /// When it came.
        since: Millis,
    },
    /// The deposit is sent, or sent again because a reorganisation dropped it.
    Opening,
    /// Deposited; the provider prepares.
    Open,
    /// The provider works, or holds the work.
    Running,
    /// Not heard: its parts are queued elsewhere and it gets no receipts, since it asks for none.
    Lost {
        /// Since when its parts are.
        since: Millis,
    },
    /// The deposit could not be made, as far as is known; whoever has its bytes may still hand them on. Watched until no block
    /// can take them.
    Unfunded {
        /// Why the lease ended.
        end: End,
        /// Until this block time: the deposit's expiry and the grace, since blocks may be heard of late.
        until: UnixSeconds,
    },
    /// To be settled by the provider.
    Ending {
        /// When the provider was last asked to stop.
        since: Millis,
        /// Why.
        end: End,
        /// What had been counted when the end was decided; little more is signed.
        counted: Millis,
    },
    /// The provider let expiry and grace pass: the money is fetched back.
    Reclaimable {
        /// When the reclaim was last sent.
        since: Millis,
        /// Why the lease ended.
        end: End,
    },
    /// For ever: the provider was paid and the rest came back.
    Settled {
        /// Why.
        end: End,
        /// What the escrow paid to the provider and the builder.
        paid: Amount,
    },
    /// For ever: everything unclaimed came back.
    Reclaimed {
        /// Why.
        end: End,
        /// What the escrow had paid before.
        paid: Amount,
    },
    /// For ever: no money moved.
    Failed {
        /// Why.
        end: End,
    },
}

/// What is known of a lease in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    escrow: EscrowView,
    /// What the provider had drawn when the lease was last seen open.
    #[serde(default)]
    drawn: Amount,
    block: Option<BlockClock>,
    signed: Amount,
    /// Counts from the first ask on: before its answer nothing runs.
    clock: Option<WorkClock>,
    work: Work,
    heard: Millis,
    top_ups: u32,
    top_up: Option<TopUp>,
    /// What the provider said is all that it will claim.
    #[serde(default)]
    closing: Option<Amount>,
    /// The work up to which is signed ahead, since the renter said that it goes away.
    #[serde(default)]
    ahead: Option<Millis>,
    /// The most that is signed ahead: what people were shown and agreed to. Nothing more in journals that do not say it.
    #[serde(default)]
    ahead_most: Amount,
    /// Until when its own silence is expected. Not after a restart: then it is back.
    #[serde(default)]
    away_until: Option<Millis>,
    /// Whether the end is the provider's word, not decided here.
    #[serde(default)]
    end_heard: bool,
}

/// One lease, as its renter sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenterLease {
    config: RenterConfig,
    state: RenterState,
    account: Account,
    now: Millis,
}

impl RenterLease {
    /// A lease for which a firm quote came at `now`.
    #[must_use]
    pub const fn quoted(config: RenterConfig, now: Millis) -> Self {
        let account = Account {
            escrow: EscrowView::Absent,
            drawn: Amount::ZERO,
            block: None,
            signed: Amount::ZERO,
            clock: None,
            work: Work::Idle,
            heard: now,
            top_ups: 0,
            top_up: None,
            closing: None,
            ahead: None,
            ahead_most: Amount::ZERO,
            away_until: None,
            end_heard: false,
        };
        Self {
            config,
            state: RenterState::Quoted { since: now },
            account,
            now,
        }
    }

    /// Takes an event that happened at `now` on the daemon's monotonic clock.
    ///
    /// # Errors
    /// When the event contradicts what is known (such as an ask before the deposit is on the chain, or a top-up of a
    /// lease that ends); nothing is changed then. A repeated event is no contradiction, and once the lease has ended
    /// only a top-up is.
    pub fn handle(&mut self, now: Millis, event: RenterEvent) -> Result<Vec<RenterEffect>, UnexpectedEvent> {
        let mut effects = Vec::new();
        if self.state.is_final() && !matches!(event, RenterEvent::TopUpRequested(_)) {
            // A crash may have come between the end's journal and its effects.
            if let RenterEvent::Restarted = event {
                self.enter(None, &mut effects);
            }
            return Ok(effects);
        }
        let before = self.state;
        let next = self.absorb(now, event, &mut effects)?;
        if let RenterEvent::Restarted = event {
            self.enter(None, &mut effects);
        }
        if let Some(next) = next {
            self.state = next;
            self.enter(Some(before), &mut effects);
        }
        self.advance(&mut effects);
        if let RenterEvent::ReceiptAsked { cumulative, .. } = event {
            self.answer(cumulative, &mut effects);
        }
        effects.extend(self.wake_at().map(RenterEffect::WakeAt));
        Ok(effects)
    }

    /// Whether the journal, which says `journal`, must be written before anything is done for what changed since. What providers
    /// and blocks say is heard anew after a restart: so reports and blocks cost no disk.
    #[must_use]
    pub fn must_be_written(&self, journal: &Self) -> bool {
        let facts = |lease: &Self| {
            let Account {
                drawn,
                signed,
                top_ups,
                top_up,
                closing,
                ahead,
                ahead_most,
                away_until,
                ..
            } = lease.account;
            let away = (ahead, ahead_most, away_until);
            (lease.state, drawn, signed, top_ups, top_up, closing, away)
        };
        facts(self) != facts(journal) || self.config != journal.config
    }

    /// Where the lease stands.
    #[must_use]
    pub const fn state(&self) -> RenterState {
        self.state
    }

    /// What was agreed.
    #[must_use]
    pub const fn config(&self) -> &RenterConfig {
        &self.config
    }

    /// What the escrow said last.
    #[must_use]
    pub const fn escrow(&self) -> EscrowView {
        self.account.escrow
    }

    /// What was signed so far: the most that this lease can cost now.
    #[must_use]
    pub const fn signed(&self) -> Amount {
        self.account.signed
    }

    /// When the provider was last heard, on the daemon's monotonic clock.
    #[must_use]
    pub const fn heard(&self) -> Millis {
        self.account.heard
    }

    /// The work that the renter counted itself.
    #[must_use]
    pub fn counted(&self) -> Millis {
        self.account.clock.map_or(Millis::ZERO, |clock| clock.counted())
    }

    /// The provider's meter, as it was last reported.
    #[must_use]
    pub fn reported(&self) -> Millis {
        self.account.clock.map_or(Millis::ZERO, |clock| clock.reported())
    }

    /// What the work does, as it was last reported.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.account.work
    }

    /// Whether the lease can be given more money now.
    #[must_use]
    pub const fn takes_top_up(&self) -> bool {
        matches!(
            self.state,
            RenterState::Open | RenterState::Running | RenterState::Lost { .. }
        )
    }

    /// What the provider said is all that it will claim, once it did.
    pub(crate) const fn closing(&self) -> Option<Amount> {
        self.account.closing
    }

    /// For how long work can go on at most: until the expiry, as far as block time is known. Nothing while it is not open.
    #[must_use]
    pub fn until_expiry(&self) -> Millis {
        match (self.account.escrow, self.account.block) {
            (EscrowView::Open { expiry, .. }, Some(block)) => expiry.since(block.at(self.now)),
            _ => Millis::ZERO,
        }
    }

    /// The number that the next top-up must carry.
    #[must_use]
    pub const fn next_top_up(&self) -> u32 {
        self.account.top_ups
    }

    /// The top-up that is on its way.
    #[must_use]
    pub const fn pending_top_up(&self) -> Option<TopUp> {
        self.account.top_up
    }

    /// Whether the node may be given parts now.
    #[must_use]
    pub const fn takes_parts(&self) -> bool {
        matches!(self.state, RenterState::Open | RenterState::Running)
    }

    /// Why the lease ends or has ended, once it does.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.state.end()
    }

    /// The same, as the renter itself can say it.
    #[must_use]
    pub fn own_end(&self) -> Option<End> {
        let end = self.end()?;
        Some(if self.account.end_heard { end.as_heard() } else { end })
    }

    /// Makes the event a fact, and answers with the state that it leads to by itself.
    fn absorb(
        &mut self,
        now: Millis,
        event: RenterEvent,
        effects: &mut Vec<RenterEffect>,
    ) -> Result<Option<RenterState>, UnexpectedEvent> {
        use {RenterEvent as On, RenterState as S};
        let unexpected = UnexpectedEvent {
            state: self.state.name(),
            event: event.name(),
        };
        let now = if let On::Restarted = event {
            now
        } else {
            self.now.max(now)
        };
        let mut next = None;
        match (event, self.state) {
            (On::Reported { .. } | On::ReceiptAsked { .. } | On::ProviderEnded { .. }, S::Quoted { .. })
            | (On::ClosingOffered { .. }, S::Quoted { .. })
            | (On::ReceiptAsked { .. }, S::Opening) => return Err(unexpected),
            (On::GoesAway { horizon }, S::Open | S::Running | S::Lost { .. }) => self.go_away(now, horizon),
            (
                On::OpenFailed { .. },
                S::Quoted { .. } | S::Open | S::Running | S::Lost { .. } | S::Reclaimable { .. },
            ) => {
                return Err(unexpected);
            }
            (On::TopUpRequested(top_up), _) => self.take_top_up(top_up, effects).ok_or(unexpected)?,
            (On::Accepted, S::Quoted { since }) if now < since.saturating_add(self.config.quote_limit) => {
                next = Some(S::Opening);
            }
            (On::OpenFailed { expiry }, S::Opening) => {
                next = Some(self.unfunded(End::new(EndReason::OpenFailed, Actor::Chain), expiry));
            }
            (On::OpenFailed { expiry }, S::Ending { end, .. }) => next = Some(self.unfunded(end, expiry)),
            (On::EscrowSeen(view), _) => self.take_view(view),
            (On::BlockSeen { time }, _) => self.account.block = Some(BlockClock::seen(self.account.block, time, now)),
            (On::Reported { metered, work }, _) => self.take_report(now, metered, work),
            (On::ReceiptAsked { metered, work, .. }, _) => {
                self.account.clock.get_or_insert(WorkClock::start(now));
                self.take_report(now, metered, work);
            }
            (On::ProviderEnded { end }, _) => next = self.ending_heard(now, end),
            (On::ClosingOffered { amount, end }, _) => {
                next = self.take_closing(now, (amount, end), effects).ok_or(unexpected)?;
            }
            (On::PartsDrained, _) => next = self.ending(now, End::new(EndReason::Completed, Actor::Renter)),
            (On::StopRequested, S::Quoted { .. }) => {
                next = Some(S::Failed {
                    end: End::new(EndReason::Stopped, Actor::Renter),
                });
            }
            (On::StopRequested, _) => next = self.ending(now, End::new(EndReason::Stopped, Actor::Renter)),
            (On::Outvoted, _) => next = self.ending(now, End::new(EndReason::WrongResults, Actor::Provider)),
            (On::TopUpEnded { number }, _) => {
                self.account.top_up = self.account.top_up.filter(|top_up| top_up.number != number);
            }
            (On::Restarted, _) => self.restart(now),
            (On::Accepted | On::OpenFailed { .. } | On::GoesAway { .. } | On::Ticked, _) => {}
        }
        self.now = now;
        Ok(next)
    }

    fn take_view(&mut self, view: EscrowView) {
        self.account.escrow = view;
        // What is closed, and not deeply so, still shows as open, with what was drawn at that depth.
        self.account.drawn = self.account.drawn.max(view.drawn());
    }

    const fn unfunded(&self, end: End, expiry: UnixSeconds) -> RenterState {
        let until = expiry.plus_secs(self.config.grace_secs);
        RenterState::Unfunded { end, until }
    }

    /// `None` for more than a settlement could take, and for a second amount.
    fn take_closing(
        &mut self,
        now: Millis,
        (amount, end): (Amount, End),
        effects: &mut Vec<RenterEffect>,
    ) -> Option<Option<RenterState>> {
        let other = self.account.closing.is_some_and(|before| before != amount);
        if amount > self.account.signed || other {
            return None;
        }
        self.account.closing = Some(amount);
        if let RenterState::Ending { .. } = self.state {
            effects.push(RenterEffect::Close { amount });
        }
        Some(self.ending_heard(now, end))
    }

    fn ending_heard(&mut self, now: Millis, end: End) -> Option<RenterState> {
        let next = self.ending(now, end);
        self.account.end_heard |= next.is_some();
        next
    }

    /// The end, unless one was decided before.
    fn ending(&self, now: Millis, end: End) -> Option<RenterState> {
        let live = self.state.end().is_none() && !matches!(self.state, RenterState::Quoted { .. });
        live.then(|| RenterState::Ending {
            since: now,
            end,
            counted: self.counted(),
        })
    }

    fn take_report(&mut self, now: Millis, metered: Millis, work: Work) {
        let bound = self.count_bound();
        if let Some(clock) = self.account.clock.as_mut() {
            clock.hear(now, metered, work, bound);
        }
        self.account.work = work;
        self.account.heard = now;
    }

    /// What is never counted beyond: where honest work freezes, and once the end is decided one interval more.
    fn count_bound(&self) -> Millis {
        let bound = self.config.tariff.work_bound(self.account.signed);
        match self.state {
            RenterState::Ending { counted, .. } => bound.min(counted.saturating_add(self.config.tariff.interval)),
            RenterState::Quoted { .. }
            | RenterState::Opening
            | RenterState::Open
            | RenterState::Running
            | RenterState::Lost { .. }
            | RenterState::Unfunded { .. }
            | RenterState::Reclaimable { .. }
            | RenterState::Settled { .. }
            | RenterState::Reclaimed { .. }
            | RenterState::Failed { .. } => bound,
        }
    }

    /// `None` when it cannot be: another is under way, its number is wrong, or the lease is not open.
    fn take_top_up(&mut self, top_up: TopUp, effects: &mut Vec<RenterEffect>) -> Option<()> {
        match self.account.top_up {
            Some(before) if before == top_up => {}
            None if self.takes_top_up() && top_up.number == self.account.top_ups => {
                self.account.top_ups = self.account.top_ups.checked_add(1)?;
                self.account.top_up = Some(top_up);
                effects.push(RenterEffect::SendTopUp(top_up));
            }
            None if top_up.number < self.account.top_ups => {}
            Some(_) | None => return None,
        }
        Some(())
    }

    /// Signs as much of `asked` as the own count supports, or repeats the newest receipt.
    fn answer(&mut self, asked: Amount, effects: &mut Vec<RenterEffect>) {
        let EscrowView::Open { deposit, .. } = self.account.escrow else {
            return;
        };
        let counted = self.counted();
        let (asked, willing) = match self.state {
            RenterState::Open | RenterState::Running | RenterState::Lost { .. } => {
                let ahead = self.ahead_amount(deposit);
                let willing = self.config.tariff.willing(counted, deposit);
                (asked.max(ahead), willing.max(ahead))
            }
            RenterState::Ending { .. } => (asked, self.config.tariff.willing_last(counted, deposit)),
            RenterState::Quoted { .. }
            | RenterState::Opening
            | RenterState::Unfunded { .. }
            | RenterState::Reclaimable { .. }
            | RenterState::Settled { .. }
            | RenterState::Reclaimed { .. }
            | RenterState::Failed { .. } => return,
        };
        self.account.signed = crate::meter::sign(asked, willing, self.account.signed);
        effects.push(RenterEffect::SignReceipt {
            cumulative: self.account.signed,
        });
    }

    /// Every period that was under way begins anew: how long the daemon was away cannot be known.
    fn restart(&mut self, now: Millis) {
        self.account.heard = now;
        self.account.away_until = None;
        self.account.block = self.account.block.map(|block| block.restarted(now));
        if let Some(clock) = self.account.clock.as_mut() {
            clock.lose_time();
        }
        self.state = self.state.restarted(now);
    }
}

impl RenterState {
    /// The state's name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Quoted { .. } => "quoted",
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Running => "running",
            Self::Lost { .. } => "lost",
            Self::Unfunded { .. } => "unfunded",
            Self::Ending { .. } => "ending",
            Self::Reclaimable { .. } => "reclaimable",
            Self::Settled { .. } => "settled",
            Self::Reclaimed { .. } => "reclaimed",
            Self::Failed { .. } => "failed",
        }
    }

    const fn end(&self) -> Option<End> {
        match self {
            Self::Quoted { .. } | Self::Opening | Self::Open | Self::Running | Self::Lost { .. } => None,
            Self::Unfunded { end, .. }
            | Self::Ending { end, .. }
            | Self::Reclaimable { end, .. }
            | Self::Settled { end, .. }
            | Self::Reclaimed { end, .. }
            | Self::Failed { end } => Some(*end),
        }
    }

    const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Settled { .. } | Self::Reclaimed { .. } | Self::Failed { .. }
        )
    }

    const fn restarted(self, now: Millis) -> Self {
        match self {
            Self::Quoted { .. } => Self::Quoted { since: now },
            Self::Lost { .. } => Self::Lost { since: now },
            Self::Ending { end, counted, .. } => Self::Ending {
                since: now,
                end,
                counted,
            },
            Self::Reclaimable { end, .. } => Self::Reclaimable { since: now, end },
            Self::Opening
            | Self::Open
            | Self::Running
            | Self::Unfunded { .. }
            | Self::Settled { .. }
            | Self::Reclaimed { .. }
            | Self::Failed { .. } => self,
        }
    }
}

//! The provider's side of one lease: when it prepares, works, freezes, stops and settles.
//!
//! The daemon owns one [`ProviderLease`] per lease. It turns what it hears into a [`ProviderEvent`], journals the
//! machine after [`ProviderLease::handle`], and only then performs the effects. An event updates facts (the escrow,
//! the meter, the newest receipt); what follows from the facts is decided in one place, `advance.rs`, so the order in
//! which facts arrive cannot matter, and hearing one again changes nothing.
//!
//! ```text
//! Waiting ──deposit──> Preparing ──prepared──> Ready ──first receipt──> Running <──receipt── Frozen
//!    │                     │                     │                        │  └──unpaid, unassured──^ │
//!    └─────────────────────┴──────────┬──────────┴────────────────────────┴─────────────────────────┘
//!                                     v
//!                                 Stopping ──gone──> Closing ──> (Offering) ──> Settling ──closed──> Ended
//!                                     └──gone, no deposit──> Refusing ──late deposit──^                ^
//!                                                                └──────────nothing came───────────────┘
//! ```

mod advance;
mod events;
mod idle;
mod state;
#[cfg(test)]
mod tests;

use crate::lifecycle::{Actor, BlockClock, End, EndReason, EscrowView, UnexpectedEvent, Work};
use crate::meter::{HOLD, Tariff};
use crate::receipt::VerifiedReceipt;
pub use events::{ProviderEffect, ProviderEvent};
use gpux_types::{Amount, Millis, UnixSeconds};
pub use idle::Given;
#[cfg(test)]
pub(crate) use idle::IDLE_LIMIT;
use serde::{Deserialize, Serialize};
pub use state::{FreezeCause, Preparation, ProviderState};

/// How long a renter that wants to close a lease itself has, once it holds the closing amount.
pub const CLOSING_WAIT: Millis = Millis::from_secs(600);

/// What the provider agreed to and how patient it is. Fixed for the life of a lease, but for `closing`, which the renter may
/// ask to be an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderConfig {
    /// Gross price and pace of receipts.
    pub tariff: Tariff,
    /// How long frozen work waits for a receipt, unbilled. In the quote.
    pub hold: Millis,
    /// How long the deposit may take to appear.
    pub funding_limit: Millis,
    /// How long image and inputs may take. In the quote.
    pub preparation_limit: Millis,
    /// The most that is metered; `None` means as long as the deposit lasts.
    pub job_limit: Option<Millis>,
    /// Work stops when the deposit pays for only this much more: what is metered while it stops is still paid for.
    pub reserve: Millis,
    /// Work stops this long before the expiry, in seconds, so that the settlement is never late.
    pub expiry_margin_secs: u64,
    /// How long work stays frozen, unbilled, until more of the deposit is deep enough.
    pub assurance_limit: Millis,
    /// How long the last receipt may take once the work is gone.
    pub last_receipt_limit: Millis,
    /// How long after it gave up on a deposit the provider still sends one back.
    pub late_deposit_limit: Millis,
    /// How long after the expiry the escrow still pays the provider, in seconds. In the terms.
    #[serde(default = "grace_of_old_journals")]
    pub grace_secs: u64,
    /// Who closes a lease whose work is gone.
    pub closing: Closing,
    /// From how much unclaimed money on the provider draws it while the work goes on; `None` means never. See
    /// [`draw_from`](crate::draw_from).
    #[serde(default)]
    pub draw_from: Option<Amount>,
}

impl ProviderConfig {
    /// A cautious provider: relies on no deposit that is not deep enough, and settles by itself.
    #[must_use]
    pub const fn new(tariff: Tariff) -> Self {
        Self {
            tariff,
            hold: HOLD,
            funding_limit: Millis::from_secs(120),
            preparation_limit: Millis::from_secs(600),
            job_limit: None,
            reserve: Millis::from_secs(10),
            expiry_margin_secs: 60,
            assurance_limit: Millis::from_secs(1_800),
            last_receipt_limit: Millis::from_secs(10),
            late_deposit_limit: Millis::from_secs(3_600),
            grace_secs: grace_of_old_journals(),
            closing: Closing::SettleAlone,
            draw_from: None,
        }
    }
}

/// The least that providers agree to on a chain with real money.
const fn grace_of_old_journals() -> u64 {
    86_400
}

/// Who closes a lease whose work is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// The provider settles at once.
    SettleAlone,
    /// The provider signs a closing amount, and settles only if no close lands within `wait`.
    Offer {
        /// How long the renter has.
        wait: Millis,
    },
}

/// What is known of a lease in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    escrow: EscrowView,
    /// The newest expiry that the escrow told, also once it shows nothing any more.
    #[serde(default)]
    expiry: Option<UnixSeconds>,
    block: Option<BlockClock>,
    /// Whether the chain shows a block that is older than one that it showed before: what it does not show may be there.
    #[serde(default)]
    behind: bool,
    metered: Millis,
    work: Work,
    /// The lease's share of what its node works off on deposits that are not deep enough.
    #[serde(default)]
    exposure: Amount,
    /// When the meter was last read, or could not be: other events never put the next reading off. `None` after a
    /// restart: what it showed then is too old to ask for.
    read: Option<Millis>,
    receipt: Option<VerifiedReceipt>,
    /// When the receipt that is still missing was last asked for.
    asked: Option<Millis>,
    /// What was last drawn, or is being.
    #[serde(default)]
    drawn: Amount,
    /// How often.
    #[serde(default)]
    draws: u32,
    #[serde(default)]
    given: Given,
    /// Since when all that was given is over.
    #[serde(default)]
    idle_since: Option<Millis>,
    /// Since when all that is left to do waits for the renter's word.
    #[serde(default)]
    standing_since: Option<Millis>,
    /// When the renter was last heard, or could not be.
    #[serde(default)]
    heard: Millis,
}

/// One lease, as its provider sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderLease {
    config: ProviderConfig,
    state: ProviderState,
    account: Account,
    now: Millis,
}

impl ProviderLease {
    /// A lease that a renter wants, and what to do first.
    #[must_use]
    pub fn request(config: ProviderConfig, now: Millis) -> (Self, Vec<ProviderEffect>) {
        let account = Account {
            escrow: EscrowView::Absent,
            expiry: None,
            block: None,
            behind: false,
            metered: Millis::ZERO,
            work: Work::Idle,
            exposure: Amount::ZERO,
            read: Some(now),
            receipt: None,
            asked: None,
            drawn: Amount::ZERO,
            draws: 0,
            given: Given::Unfinished,
            idle_since: None,
            standing_since: None,
            heard: now,
        };
        let state = ProviderState::Waiting {
            since: now,
            preparation: Preparation::Underway,
        };
        let mut lease = Self {
            config,
            state,
            account,
            now,
        };
        let mut effects = Vec::new();
        lease.enter(None, &mut effects);
        lease.advance(&mut effects);
        (lease, effects)
    }

    /// Takes an event that happened at `now` on the daemon's monotonic clock.
    ///
    /// # Errors
    /// When the event contradicts what is known (such as a receipt before any deposit); nothing is changed then.
    /// A repeated event is no contradiction, and once the lease has ended nothing is.
    pub fn handle(&mut self, now: Millis, event: ProviderEvent) -> Result<Vec<ProviderEffect>, UnexpectedEvent> {
        let mut effects = Vec::new();
        if let ProviderState::Ended { .. } = self.state {
            // A crash may have come between the end's journal and its effects.
            if let ProviderEvent::Restarted = event {
                self.enter(None, &mut effects);
            }
            return Ok(effects);
        }
        let before = self.state;
        let next = self.absorb(now, event)?;
        if let ProviderEvent::Restarted = event {
            self.enter(None, &mut effects);
        }
        if let Some(next) = next {
            self.state = next;
            self.enter(Some(before), &mut effects);
        }
        self.advance(&mut effects);
        if let ProviderEvent::Metered { .. } = event
            && self.may_renew()
        {
            effects.push(ProviderEffect::Renew);
        }
        effects.extend(self.wake_at().map(ProviderEffect::WakeAt));
        Ok(effects)
    }

    /// Whether the journal, which says `journal`, must be written before anything is done for what changed since. What the
    /// meter and the blocks show is read anew after a restart: so readings, each second, cost no disk.
    #[must_use]
    pub fn must_be_written(&self, journal: &Self) -> bool {
        let facts = |lease: &Self| {
            let Account {
                escrow,
                expiry,
                receipt,
                drawn,
                draws,
                ..
            } = lease.account;
            (lease.state, escrow, expiry, receipt, drawn, draws)
        };
        facts(self) != facts(journal) || self.config != journal.config
    }

    /// Where the lease stands.
    #[must_use]
    pub const fn state(&self) -> ProviderState {
        self.state
    }

    /// What was agreed.
    #[must_use]
    pub const fn config(&self) -> &ProviderConfig {
        &self.config
    }

    /// What the escrow said last.
    #[must_use]
    pub const fn escrow(&self) -> EscrowView {
        self.account.escrow
    }

    /// The newest reading of the meter.
    #[must_use]
    pub const fn metered(&self) -> Millis {
        self.account.metered
    }

    /// What the work does, as last read or asked for.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.account.work
    }

    /// The lease's share of the node's exposure.
    #[must_use]
    pub const fn exposure(&self) -> Amount {
        self.account.exposure
    }

    /// The newest receipt.
    #[must_use]
    pub const fn receipt(&self) -> Option<&VerifiedReceipt> {
        self.account.receipt.as_ref()
    }

    /// Whether a part may be started now.
    #[must_use]
    pub const fn allows_work(&self) -> bool {
        matches!(self.state, ProviderState::Running)
    }

    /// Why the lease ends or has ended, once it does.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.state.end()
    }

    /// What the renter has signed so far.
    fn signed(&self) -> Amount {
        self.account
            .receipt
            .map_or(Amount::ZERO, |receipt| receipt.cumulative())
    }

    /// Makes the event a fact, and answers with the state that it leads to by itself.
    fn absorb(&mut self, now: Millis, event: ProviderEvent) -> Result<Option<ProviderState>, UnexpectedEvent> {
        use ProviderState as S;
        let live = self.state.is_live();
        let mut next = None;
        match (event, self.state) {
            (ProviderEvent::ReceiptReceived(_), S::Waiting { .. } | S::Refusing { .. })
            | (ProviderEvent::PreparationFailed { .. }, S::Ready { .. } | S::Running | S::Frozen { .. }) => {
                let (state, event) = (self.state.name(), event.name());
                return Err(UnexpectedEvent { state, event });
            }
            (ProviderEvent::Restarted, _) => self.restart(now),
            (ProviderEvent::EscrowSeen(view), _) => self.take_view(view),
            (ProviderEvent::BlockSeen { time }, _) => self.take_block(now, time),
            (ProviderEvent::Prepared, S::Waiting { since, .. }) => {
                next = Some(S::Waiting {
                    since,
                    preparation: Preparation::Done,
                });
            }
            (ProviderEvent::Prepared, S::Preparing { .. }) => {
                next = Some(S::Ready {
                    since: self.now.max(now),
                })
            }
            (ProviderEvent::PreparationFailed { by }, _) if live => {
                next = Some(self.stopping(now, End::new(EndReason::PreparationFailed, by)));
            }
            (ProviderEvent::ReceiptReceived(receipt), _) => self.take_receipt(now, receipt),
            (ProviderEvent::ExposureShared(share), _) => self.account.exposure = share,
            (ProviderEvent::Metered { metered, work }, _) => self.take_reading(metered, work),
            (ProviderEvent::ShimLost { metered }, _) => {
                self.take_reading(metered, Work::Gone);
                if live {
                    next = Some(self.stopping(now, End::new(EndReason::ShimLost, Actor::Provider)));
                }
            }
            (ProviderEvent::PartsDrained, _) if live => {
                next = Some(self.stopping(now, End::new(EndReason::Completed, Actor::Renter)));
            }
            (ProviderEvent::StopRequested { by }, _) if live => {
                next = Some(self.stopping(now, End::new(EndReason::Stopped, by)));
            }
            (ProviderEvent::ClosingWanted, _) => self.offer_closing(),
            (ProviderEvent::PartsSeen(given), _) => self.take_given(now, given),
            (ProviderEvent::RenterHeard, _) => self.hear_renter(now),
            (
                ProviderEvent::Prepared
                | ProviderEvent::PreparationFailed { .. }
                | ProviderEvent::PartsDrained
                | ProviderEvent::StopRequested { .. }
                | ProviderEvent::Ticked,
                _,
            ) => {}
        }
        self.now = self.now.max(now);
        if let ProviderEvent::Metered { .. } | ProviderEvent::Ticked = event {
            self.account.read = Some(self.now);
        }
        Ok(next)
    }

    /// The renter closes: too late once an amount is fixed for the one way or the other.
    const fn offer_closing(&mut self) {
        if !self.state.is_fixed() {
            self.config.closing = Closing::Offer { wait: CLOSING_WAIT };
        }
    }

    fn stopping(&self, now: Millis, end: End) -> ProviderState {
        ProviderState::Stopping {
            since: self.now.max(now),
            end,
        }
    }

    fn take_view(&mut self, view: EscrowView) {
        self.account.escrow = view;
        if let EscrowView::Open { expiry, .. } = view {
            self.account.expiry = self.account.expiry.max(Some(expiry));
        }
    }

    fn take_block(&mut self, now: Millis, time: UnixSeconds) {
        let before = self.account.block;
        self.account.behind = before.is_some_and(|before| before.is_after(time));
        self.account.block = Some(BlockClock::seen(before, time, self.now.max(now)));
    }

    fn take_receipt(&mut self, now: Millis, receipt: VerifiedReceipt) {
        self.hear_renter(now);
        if !self.state.is_fixed() && receipt.cumulative() > self.signed() {
            self.account.receipt = Some(receipt);
            self.account.asked = None;
        }
    }

    fn take_reading(&mut self, metered: Millis, work: Work) {
        self.account.metered = self.account.metered.max(metered);
        if self.account.work != Work::Gone {
            self.account.work = work;
        }
    }

    /// Every period that was under way begins anew: how long the daemon was away cannot be known.
    fn restart(&mut self, now: Millis) {
        self.now = now;
        self.account.read = None;
        self.account.asked = None;
        self.account.heard = now;
        self.account.idle_since = self.account.idle_since.map(|_| now);
        self.account.standing_since = self.account.standing_since.map(|_| now);
        self.account.block = self.account.block.map(|block| block.restarted(now));
        self.state = self.state.restarted(now);
        // Older journals keep the expiry only in the view.
        self.take_view(self.account.escrow);
    }
}

//! What metered time costs, what a provider asks for and what a renter signs: total functions of amounts and times.
//!
//! All times are milliseconds of work as one side counts it (never wall time), all amounts smallest units of the
//! lease's token, every amount rounded down. Called by both sides' state machines and by the daemon's displays.

#[cfg(test)]
mod tests;

use crate::lifecycle::Work;
use gpux_types::{Amount, Millis, PricePerHour};
use serde::{Deserialize, Serialize};

/// How far receipts run ahead of the work. Part of the protocol: both sides must use the same.
pub const INTERVAL: Millis = Millis::from_secs(5);
/// The work freezes when it is ahead of the receipts by [`INTERVAL`] less this, so that the second that passes until
/// the meter is read again stays within the interval.
pub const FREEZE_MARGIN: Millis = Millis::from_secs(1);
/// How long frozen work waits for the next receipt, unbilled, unless the quote says otherwise.
pub const HOLD: Millis = Millis::from_secs(120);

/// A renter accepts a hundredth more than it counted, for messages that were under way and clocks that differ,
const SLACK_DIVISOR: u64 = 100;
/// but this much more at most, which with one interval ahead and [`JITTER`] makes two intervals,
const SLACK_MOST: Millis = Millis::from_secs(4);
/// save for 0.05 %, the most by which a disciplined clock is slewed, so that week-long leases do not starve.
const DRIFT_DIVISOR: u64 = 2_000;

/// The gross price of a lease and the pace of its receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// What the renter pays for an hour of work, with the builder's share.
    pub price: PricePerHour,
    /// How far receipts run ahead; [`INTERVAL`] outside of tests.
    pub interval: Millis,
}

impl Tariff {
    /// A tariff at the protocol's pace.
    #[must_use]
    pub const fn new(price: PricePerHour) -> Self {
        Self {
            price,
            interval: INTERVAL,
        }
    }

    /// What is owed for `metered`.
    #[must_use]
    pub fn due(&self, metered: Millis) -> Amount {
        self.price.cost_of(metered)
    }

    /// What a provider asks for while it works: `metered` and one interval more, at most `cap`.
    #[must_use]
    pub fn ask(&self, metered: Millis, cap: Amount) -> Amount {
        self.due(metered.saturating_add(self.interval)).min(cap)
    }

    /// The longest work that `signed` pays for.
    #[must_use]
    pub fn covered(&self, signed: Amount) -> Millis {
        self.price.time_for(signed)
    }

    /// The most work that may be metered on `signed` before it is frozen.
    #[must_use]
    pub fn freeze_after(&self, signed: Amount) -> Millis {
        self.covered(signed)
            .saturating_add(self.interval.saturating_sub(FREEZE_MARGIN))
    }

    /// The most that honest work can have been metered on `signed`: two intervals more than it covers, when the
    /// provider's daemon was away and the dead-man switch froze the work.
    #[must_use]
    pub fn work_bound(&self, signed: Amount) -> Millis {
        self.covered(signed)
            .saturating_add(self.interval)
            .saturating_add(self.interval)
    }

    /// The most that a renter signs while the work goes on, having counted `counted` of it.
    #[must_use]
    pub fn willing(&self, counted: Millis, deposit: Amount) -> Amount {
        self.willing_at_end(counted.saturating_add(self.interval), counted, deposit)
    }

    /// The most that a renter signs for work that has ended: nothing lies ahead any more.
    #[must_use]
    pub fn willing_last(&self, counted: Millis, deposit: Amount) -> Amount {
        self.willing_at_end(counted, counted, deposit)
    }

    fn willing_at_end(&self, upto: Millis, counted: Millis, deposit: Amount) -> Amount {
        self.due(upto.saturating_add(slack(counted))).min(deposit)
    }
}

/// By how much a provider's meter may be ahead of what the renter `counted`.
#[must_use]
pub const fn slack(counted: Millis) -> Millis {
    let hundredth = counted.0 / SLACK_DIVISOR;
    let most = SLACK_MOST.0.saturating_add(counted.0 / DRIFT_DIVISOR);
    Millis(if hundredth < most { hundredth } else { most })
}

/// How many times its fee a draw must bring: the fee is at most a hundredth of it.
const DRAW_FEES: u128 = 100;

/// From how much unclaimed money on a provider draws: when the fee of a transaction, in the token, is worth it, and not
/// before more is unclaimed than the provider lets lie at risk anyhow (`exposure`).
#[must_use]
pub fn draw_from(fee: Amount, exposure: Amount) -> Amount {
    let worth = fee
        .units()
        .checked_mul(DRAW_FEES)
        .and_then(|units| Amount::new(units).ok());
    worth.unwrap_or(Amount::MAX).max(exposure)
}

/// What a renter signs when `asked`: never more than it is `willing` to, never less than it `signed` before.
///
/// A repeated ask is answered with the same amount, and an ask below what is signed with the newest.
#[must_use]
pub fn sign(asked: Amount, willing: Amount, signed: Amount) -> Amount {
    asked.min(willing).max(signed)
}

/// The renter's own count of the work, kept from its own clock and what the provider reports.
///
/// It counts the least of three: its own time while the provider says that it works, what the provider says was
/// metered, and what an honest provider can have done on the receipts that it holds. Frozen time is not metered, so
/// it is not counted; time without a report counts at most to [`Tariff::work_bound`], where honest work is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkClock {
    counted: Millis,
    reported: Millis,
    /// Own time that no reported work has used yet.
    own_left: Millis,
    /// Reported work that no own time has matched yet, at most [`JITTER`].
    told_left: Millis,
    heard: Option<Millis>,
}

/// Reports do not arrive as regularly as they are sent: this much of what one gap had too much or too little is made
/// up in the next.
const JITTER: Millis = Millis::from_secs(1);

impl WorkClock {
    /// Starts before anything can have been metered.
    #[must_use]
    pub const fn start(now: Millis) -> Self {
        Self {
            counted: Millis::ZERO,
            reported: Millis::ZERO,
            own_left: Millis::ZERO,
            told_left: Millis::ZERO,
            heard: Some(now),
        }
    }

    /// The work that the renter believes in.
    #[must_use]
    pub const fn counted(&self) -> Millis {
        self.counted
    }

    /// The newest meter reading that the provider reported.
    #[must_use]
    pub const fn reported(&self) -> Millis {
        self.reported
    }

    /// Takes a report that arrived at `now`; nothing is counted beyond `bound`. The same report again, or an older
    /// one that was overtaken, counts nothing.
    pub fn hear(&mut self, now: Millis, metered: Millis, work: Work, bound: Millis) {
        if metered < self.reported {
            return;
        }
        let gap = self.heard.map(|heard| now.saturating_sub(heard));
        let own = gap.map_or(Millis::MAX, |gap| gap.saturating_add(self.own_left));
        let told = metered.saturating_sub(self.reported).saturating_add(self.told_left);
        let step = own.min(told).min(bound.saturating_sub(self.counted));
        // Own time is kept for work that is reported late, but none that passed while the work was held, and what the
        // bound cuts off is gone: it was no honest work.
        let most = if work == Work::Running && gap.is_some() {
            Millis::MAX
        } else {
            JITTER
        };
        self.own_left = if step == told {
            own.saturating_sub(step).min(most)
        } else {
            Millis::ZERO
        };
        self.told_left = if step == own {
            told.saturating_sub(step).min(JITTER)
        } else {
            Millis::ZERO
        };
        self.counted = self.counted.saturating_add(step);
        self.reported = metered;
        self.heard = Some(now);
    }

    /// Forgets when it last heard, since a restarted daemon cannot tell: the next gap is as long as the bound allows.
    pub fn lose_time(&mut self) {
        self.heard = None;
    }
}

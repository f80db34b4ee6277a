//! How long a lease's work ran: the number that rent is made of.
//!
//! Pure: time is an argument. Time counts from the first exec until the meter is stopped, and only between two looks at
//! which the lease was unfrozen; a stretch with a frozen end is not counted, so every doubt goes to the renter.

use std::time::{Duration, Instant};

use gpux_types::Millis;

/// Where the meter is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was executed yet.
    Waiting,
    /// The last look was then, and the lease was frozen or not.
    Counting { last: Instant, frozen: bool },
    /// The containers are gone.
    Stopped,
}

/// Unfrozen time since the first exec.
#[derive(Debug)]
pub(crate) struct Meter {
    total: Duration,
    stage: Stage,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            total: Duration::ZERO,
            stage: Stage::Waiting,
        }
    }

    /// The first exec happened; later ones change nothing.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Counting {
                last: now,
                frozen: false,
            };
        }
    }

    /// Looks at the clock and at the freezer.
    pub(crate) fn advance(&mut self, now: Instant, frozen: bool) {
        if let Stage::Counting {
            last,
            frozen: was_frozen,
        } = self.stage
        {
            if !frozen && !was_frozen {
                self.total += now.saturating_duration_since(last);
            }
            self.stage = Stage::Counting { last: now, frozen };
        }
    }

    /// The containers are gone: nothing counts any more.
    pub(crate) fn stop(&mut self, now: Instant, frozen: bool) {
        self.advance(now, frozen);
        self.stage = Stage::Stopped;
    }

    /// Whether something was executed.
    pub(crate) fn started(&self) -> bool {
        self.stage != Stage::Waiting
    }

    /// Whole milliseconds, rounded down.
    pub(crate) fn metered(&self) -> Millis {
        Millis(u64::try_from(self.total.as_millis()).unwrap_or(u64::MAX))
    }

    /// The same, finer, for limits of single parts.
    pub(crate) fn total(&self) -> Duration {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn nothing_counts_before_the_first_exec() {
        let t = Instant::now();
        let mut meter = Meter::new();
        meter.advance(at(t, 500), false);
        assert!(!meter.started());
        meter.start(at(t, 1_000));
        meter.advance(at(t, 1_250), false);
        assert_eq!(meter.metered(), Millis(250));
    }

    #[test]
    fn a_second_exec_neither_restarts_nor_doubles_the_time() {
        let t = Instant::now();
        let mut meter = Meter::new();
        meter.start(t);
        meter.advance(at(t, 100), false);
        meter.start(at(t, 150));
        meter.advance(at(t, 200), false);
        assert_eq!(meter.metered(), Millis(200));
    }

    #[test]
    fn frozen_time_does_not_count_and_neither_does_a_stretch_with_a_frozen_end() {
        let t = Instant::now();
        let mut meter = Meter::new();
        meter.start(t);
        meter.advance(at(t, 1_000), false);
        meter.advance(at(t, 1_100), true);
        meter.advance(at(t, 9_000), true);
        meter.advance(at(t, 9_100), false);
        meter.advance(at(t, 9_600), false);
        assert_eq!(meter.metered(), Millis(1_500));
    }

    #[test]
    fn a_stopped_meter_stands_for_ever() {
        let t = Instant::now();
        let mut meter = Meter::new();
        meter.start(t);
        meter.stop(at(t, 700), false);
        meter.start(at(t, 800));
        meter.advance(at(t, 5_000), false);
        assert_eq!(meter.metered(), Millis(700));
    }

    #[test]
    fn milliseconds_are_not_lost_to_the_rounding_of_single_looks() {
        let t = Instant::now();
        let mut meter = Meter::new();
        meter.start(t);
        for tick in 1..=1_000 {
            meter.advance(t + Duration::from_micros(tick * 999), false);
        }
        assert_eq!(meter.metered(), Millis(999));
    }
}

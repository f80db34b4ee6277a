//! The dead-man switch: what a lease comes to when its daemon is silent.
//!
//! Pure: time is an argument. The shim asks at every turn of its loop and does what the answer says.

use std::time::{Duration, Instant};

/// What silence demands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Go on; ask again at the latest then.
    Nothing { until: Instant },
    /// Be frozen; ask again at the latest then.
    Frozen { until: Instant },
    /// Be killed.
    Killed,
}

/// Counts from the last renewal.
#[derive(Debug)]
pub(crate) struct DeadMan {
    renewed: Instant,
    renew_within: Duration,
    hold: Duration,
}

impl DeadMan {
    pub(crate) fn new(now: Instant, renew_within: Duration, hold: Duration) -> Self {
        Self {
            renewed: now,
            renew_within,
            hold,
        }
    }

    /// The daemon spoke.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.renewed = now;
    }

    /// What is to be done now.
    pub(crate) fn demand(&self, now: Instant) -> Demand {
        let freeze_at = self.renewed + self.renew_within;
        let kill_at = freeze_at + self.hold;
        if now >= kill_at {
            Demand::Killed
        } else if now >= freeze_at {
            Demand::Frozen { until: kill_at }
        } else {
            Demand::Nothing { until: freeze_at }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_first_freezes_and_then_kills() {
        let t = Instant::now();
        let switch = DeadMan::new(t, 10 * SECOND, 120 * SECOND);
        assert_eq!(
            switch.demand(t + 9 * SECOND),
            Demand::Nothing { until: t + 10 * SECOND }
        );
        assert_eq!(
            switch.demand(t + 10 * SECOND),
            Demand::Frozen {
                until: t + 130 * SECOND
            }
        );
        assert_eq!(
            switch.demand(t + 129 * SECOND),
            Demand::Frozen {
                until: t + 130 * SECOND
            }
        );
        assert_eq!(switch.demand(t + 130 * SECOND), Demand::Killed);
    }

    #[test]
    fn a_renewal_starts_both_counts_anew() {
        let t = Instant::now();
        let mut switch = DeadMan::new(t, 10 * SECOND, 120 * SECOND);
        switch.renew(t + 125 * SECOND);
        assert_eq!(
            switch.demand(t + 130 * SECOND),
            Demand::Nothing {
                until: t + 135 * SECOND
            }
        );
        assert_eq!(switch.demand(t + 255 * SECOND), Demand::Killed);
    }
}

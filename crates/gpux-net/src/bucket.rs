//! A token bucket: so many in a burst, so many per second in the long run. Time is an argument.

use std::time::{Duration, Instant};

/// Counts in thousandths of a token so that slow rates lose nothing to rounding.
const SCALE: u64 = 1_000;

/// What one key or connection may still do.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    /// Thousandths of a token left.
    left: u64,
    /// The most that can be saved up, in thousandths.
    burst: u64,
    /// Thousandths of a token that come back per second.
    per_second: u64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(burst: u32, per_minute: u32, now: Instant) -> Self {
        let burst = u64::from(burst.max(1)) * SCALE;
        Self {
            left: burst,
            burst,
            per_second: (u64::from(per_minute) * SCALE / 60).max(1),
            filled: now,
        }
    }

    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        let back = u64::try_from(elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(self.per_second)
            / SCALE;
        if back > 0 {
            self.left = self.left.saturating_add(back).min(self.burst);
            self.filled = now;
        }
        let enough = self.left >= SCALE;
        if enough {
            self.left -= SCALE;
        }
        enough
    }

    /// Whether nothing was taken for so long that a new bucket would be the same.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        let missing = self.burst - self.left;
        now.saturating_duration_since(self.filled)
            >= Duration::from_millis(missing.saturating_mul(SCALE) / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_given_then_only_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(3, 60, start);
        assert_eq!((0..10).filter(|_| bucket.take(start)).count(), 3);
        let later = start + Duration::from_secs(2);
        assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 2);
        assert!(!bucket.is_full(later));
        assert!(bucket.is_full(later + Duration::from_secs(4)));
    }

    #[test]
    fn asking_often_does_not_starve_a_slow_bucket() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1, 60, start);
        assert!(bucket.take(start));
        let taken = (1..=3_000)
            .filter(|ms| bucket.take(start + Duration::from_millis(*ms)))
            .count();
        assert_eq!(taken, 3, "one per second");
    }
}

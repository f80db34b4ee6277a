//! Token buckets: so many in a burst, so many per second in the long run. Time is an argument.

use gpux_types::NodeId;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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

/// The most buckets before those that are full, and so say nothing, are forgotten. Peers with an open connection are
/// fewer, so what is left stays near this.
const MAX_PEERS: usize = 1_024;

/// A bucket for every peer that calls. A mutex, not a task: a question is one look at a map.
#[derive(Debug)]
pub(crate) struct PeerRates {
    per_second: u32,
    buckets: Mutex<HashMap<NodeId, TokenBucket>>,
}

impl PeerRates {
    /// `per_second` in the long run, ten times that in a burst.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            buckets: Mutex::default(),
        }
    }

    /// Takes one token of `node`, if it has one.
    pub(crate) fn take(&self, node: NodeId, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_PEERS {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let rate = self.per_second;
        let bucket = buckets.entry(node);
        bucket
            .or_insert_with(|| TokenBucket::new(rate.saturating_mul(10), rate.saturating_mul(60), now))
            .take(now)
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

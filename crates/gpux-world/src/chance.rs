//! Everything random in a world: streams of numbers, each from the seed and a name, so that one part's draws do not move another's.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One stream of draws. Clones go on with the same stream.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    state: Arc<Mutex<u64>>,
}

impl Chance {
    /// The stream of `name` in the world of `seed`.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let hash = blake3::hash(format!("{seed}/{name}").as_bytes());
        let state = hash
            .as_bytes()
            .iter()
            .take(8)
            .fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The next number (SplitMix64).
    pub(crate) fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` up to but without `to`.
    pub(crate) fn between(&self, from: u64, to: u64) -> u64 {
        from.saturating_add(self.next() % to.saturating_sub(from).max(1))
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    /// True so many times in a thousand.
    pub(crate) fn in_thousand(&self, times: u64) -> bool {
        self.next() % 1_000 < times
    }

    /// 32 bytes.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        *blake3::hash(&self.next().to_be_bytes()).as_bytes()
    }
}

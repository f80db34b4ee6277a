//! A daemon of the world: one machine, its journal and its clock, which a crash and a restart leave apart.

use super::CrashPoint;
use gpux_types::Millis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// A daemon with one machine: what it runs, what it wrote down, and its clock.
pub(super) struct Host<M> {
    pub(super) machine: M,
    pub(super) journal: M,
    pub(super) up: bool,
    pub(super) up_again_ms: Option<u64>,
    pub(super) crash: Option<(CrashPoint, u64)>,
    clock_start_ms: u64,
    clock_zero: u64,
    ppm: i32,
    pub(super) wake: Option<Millis>,
}

impl<M: Clone> Host<M> {
    pub(super) fn new(machine: M, ppm: i32, zero: u64) -> Self {
        let journal = machine.clone();
        Self {
            machine,
            journal,
            up: true,
            up_again_ms: None,
            crash: None,
            clock_start_ms: 0,
            clock_zero: zero,
            ppm,
            wake: None,
        }
    }

    pub(super) fn now(&self, at_ms: u64) -> Millis {
        let passed = at_ms - self.clock_start_ms;
        let rate = 1_000_000u64.checked_add_signed(i64::from(self.ppm)).unwrap();
        Millis(self.clock_zero + passed * rate / 1_000_000)
    }

    pub(super) fn go_down(&mut self, until_ms: u64) {
        self.up = false;
        self.crash = None;
        self.up_again_ms = Some(until_ms);
        self.wake = None;
    }

    pub(super) fn is_due(&self, at_ms: u64) -> bool {
        self.up && self.wake.is_some_and(|wake| self.now(at_ms) >= wake)
    }
}

/// Starts a daemon from what it wrote down, on a clock that knows nothing of the old one.
pub(super) fn restart<M>(host: &mut Host<M>, at_ms: u64, zero: u64)
where
    M: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned,
{
    let text = serde_json::to_string(&host.journal).unwrap();
    host.machine = serde_json::from_str(&text).unwrap();
    assert_eq!(host.machine, host.journal, "the journal reads back what was written");
    (host.up, host.up_again_ms) = (true, None);
    (host.clock_start_ms, host.clock_zero) = (at_ms, zero);
    host.wake = None;
}

//! A node's daemon: its clock, whether it is up, what it sees of the chain; and the machines that it runs, which a
//! crash and a restart leave as they were written down.

use super::CrashPoint;
use gpux_types::Millis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a node's own RPC endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Head {
    Newest,
    /// Not at all.
    Stalled,
    /// As it was this many blocks ago.
    Stale(u32),
    /// Now the newest, now so many blocks ago.
    Flapping(u32),
    /// With block times of the future.
    Ahead(u64),
}

pub(super) struct Daemon {
    pub(super) up: bool,
    pub(super) up_again_ms: Option<u64>,
    pub(super) crash: Option<(CrashPoint, u64)>,
    head: Head,
    head_until_ms: u64,
    clock_start_ms: u64,
    clock_zero: u64,
    ppm: i32,
}

impl Daemon {
    pub(super) fn new(ppm: i32, zero: u64) -> Self {
        Self {
            up: true,
            up_again_ms: None,
            crash: None,
            head: Head::Newest,
            head_until_ms: 0,
            clock_start_ms: 0,
            clock_zero: zero,
            ppm,
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
        self.up_again_ms = Some(until_ms.max(self.up_again_ms.unwrap_or(0)));
    }

    /// On a clock that knows nothing of the old one.
    pub(super) fn start(&mut self, at_ms: u64, zero: u64) {
        (self.up, self.up_again_ms) = (true, None);
        (self.clock_start_ms, self.clock_zero) = (at_ms, zero);
    }

    pub(super) fn step_clock(&mut self, by_ms: i64) {
        self.clock_zero = self.clock_zero.saturating_add_signed(by_ms);
    }

    /// One lie at a time: what was sent meanwhile waits for the end of the first.
    pub(super) fn see(&mut self, head: Head, at_ms: u64, for_ms: u64) {
        if at_ms >= self.head_until_ms {
            (self.head, self.head_until_ms) = (head, at_ms + for_ms);
        }
    }

    /// When its endpoint takes a call that it wants to send now.
    pub(super) fn answered_from_ms(&self, at_ms: u64) -> u64 {
        match self.head(at_ms) {
            Head::Stalled => self.head_until_ms,
            Head::Newest | Head::Stale(_) | Head::Flapping(_) | Head::Ahead(_) => at_ms,
        }
    }

    pub(super) fn head(&self, at_ms: u64) -> Head {
        if at_ms < self.head_until_ms {
            self.head
        } else {
            Head::Newest
        }
    }
}

/// One machine and its journal.
pub(super) struct Kept<M> {
    pub(super) machine: M,
    pub(super) journal: M,
    pub(super) wake: Option<Millis>,
}

impl<M> Kept<M>
where
    M: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned,
{
    pub(super) fn new(machine: M) -> Self {
        Self {
            journal: machine.clone(),
            machine,
            wake: None,
        }
    }

    /// What was written down is all that is left.
    pub(super) fn read_back(&mut self) {
        let text = serde_json::to_string(&self.journal).unwrap();
        self.machine = serde_json::from_str(&text).unwrap();
        assert_eq!(self.machine, self.journal, "the journal reads back what was written");
        self.wake = None;
    }

    pub(super) fn is_due(&self, now: Millis) -> bool {
        self.wake.is_some_and(|wake| now >= wake)
    }
}

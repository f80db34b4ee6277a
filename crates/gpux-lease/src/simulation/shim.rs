//! The process that keeps a lease's work: its meter on the provider's clock, its dead-man switch, and, for the ledger,
//! the work that really ran.

use crate::lifecycle::Work;
use gpux_types::Millis;

const RENEW_WITHIN_MS: u64 = 10_000;
const HOLD_MS: u64 = 120_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Absent,
    Idle,
    Running,
    Frozen { executed: bool },
    Gone,
}

#[derive(Debug)]
pub(super) struct Shim {
    condition: Condition,
    /// A million for each millisecond of a true clock.
    metered_ppm: u64,
    rate: u64,
    since_renewed_ppm: u64,
    /// Its meter runs and nothing else does.
    fakes: bool,
    /// True time that work ran.
    pub(super) delivered_ms: u64,
}

impl Shim {
    pub(super) fn new(ppm: i32, fakes: bool) -> Self {
        let rate = 1_000_000u64.checked_add_signed(i64::from(ppm)).unwrap();
        Self {
            condition: Condition::Absent,
            metered_ppm: 0,
            rate,
            since_renewed_ppm: 0,
            fakes,
            delivered_ms: 0,
        }
    }

    pub(super) fn step(&mut self, ms: u64) {
        if matches!(self.condition, Condition::Absent | Condition::Gone) {
            return;
        }
        if self.condition == Condition::Running {
            self.delivered_ms += if self.fakes { 0 } else { ms };
            self.metered_ppm += ms * self.rate;
        }
        self.since_renewed_ppm += ms * self.rate;
        if self.since_renewed_ppm >= RENEW_WITHIN_MS * 1_000_000 {
            self.freeze();
        }
        if self.since_renewed_ppm >= (RENEW_WITHIN_MS + HOLD_MS) * 1_000_000 {
            self.kill();
        }
    }

    pub(super) fn create(&mut self) {
        if self.condition == Condition::Absent {
            self.condition = Condition::Idle;
        }
    }

    /// A part is started.
    pub(super) fn execute(&mut self) {
        match self.condition {
            Condition::Idle => self.condition = Condition::Running,
            Condition::Frozen { .. } => self.condition = Condition::Frozen { executed: true },
            Condition::Absent | Condition::Running | Condition::Gone => {}
        }
    }

    pub(super) fn renew(&mut self) {
        self.since_renewed_ppm = 0;
    }

    pub(super) fn freeze(&mut self) {
        match self.condition {
            Condition::Idle => self.condition = Condition::Frozen { executed: false },
            Condition::Running => self.condition = Condition::Frozen { executed: true },
            Condition::Absent | Condition::Frozen { .. } | Condition::Gone => {}
        }
    }

    pub(super) fn thaw(&mut self) {
        if let Condition::Frozen { executed } = self.condition {
            self.condition = if executed { Condition::Running } else { Condition::Idle };
        }
    }

    pub(super) fn kill(&mut self) {
        self.condition = Condition::Gone;
    }

    pub(super) fn exists(&self) -> bool {
        self.condition != Condition::Absent
    }

    pub(super) fn work(&self) -> Work {
        match self.condition {
            Condition::Idle => Work::Idle,
            Condition::Running => Work::Running,
            Condition::Frozen { .. } => Work::Frozen,
            Condition::Absent | Condition::Gone => Work::Gone,
        }
    }

    pub(super) fn metered(&self) -> Millis {
        Millis(self.metered_ppm / 1_000_000)
    }
}

//! What a node worked, by this test's own count: the kernel's word for what stands still, and this test's clock. Neither a
//! meter nor a receipt is asked.

use super::process::Process;
use std::time::{Duration, Instant};

/// One process of a user's job, and how long it worked: never less than it did, and more by one look at each freeze at most.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) work: Process,
    looked: Instant,
    stood: bool,
    worked: Duration,
}

impl Ledger {
    /// Begins a count; what the process worked before counts whole.
    pub(crate) fn of(work: Process) -> Self {
        Self {
            work,
            looked: Instant::now(),
            stood: false,
            worked: Duration::from_secs_f64(work.age_secs()),
        }
    }

    /// Looks again. The time since the last look is work unless the process stood still then already.
    pub(crate) fn look(&mut self) {
        let stands = !self.work.runs() || self.work.is_frozen();
        let now = Instant::now();
        if !self.stood {
            self.worked += now - self.looked;
        }
        (self.looked, self.stood) = (now, stands);
    }

    /// How long it worked so far.
    pub(crate) fn worked(&self) -> Duration {
        self.worked
    }
}

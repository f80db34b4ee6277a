//! What happened in a world, line by line, and one hash over all of it: the same seed gives the same hash.

use crate::coverage::{Coverage, Reached};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The most lines that are kept to be shown; the hash covers all.
const KEPT_LINES: usize = 4_000;

/// A trace. Clones write to the same one.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    start: Instant,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug)]
struct Lines {
    hasher: blake3::Hasher,
    kept: std::collections::VecDeque<String>,
    count: u64,
    coverage: Coverage,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            lines: Arc::new(Mutex::new(Lines {
                hasher: blake3::Hasher::new(),
                kept: std::collections::VecDeque::new(),
                count: 0,
                coverage: Coverage::default(),
            })),
        }
    }

    /// Simulated time since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes a line.
    pub(crate) fn line(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {what}", self.now().as_secs_f64());
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.hasher.update(line.as_bytes()).update(b"\n");
        lines.count += 1;
        if lines.kept.len() == KEPT_LINES {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
    }

    /// Counts something that worlds are to reach.
    pub(crate) fn reach(&self, what: Reached) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.coverage.reach(what);
    }

    /// What was reached so far.
    pub(crate) fn coverage(&self) -> Coverage {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.coverage.clone()
    }

    /// The hash of every line so far.
    pub(crate) fn hash(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.hasher.finalize().to_hex().chars().take(16).collect()
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> u64 {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The newest lines.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Writes a line to a trace.
macro_rules! trace {
    ($trace:expr, $($words:tt)*) => { $trace.line(format_args!($($words)*)) };
}
pub(crate) use trace;

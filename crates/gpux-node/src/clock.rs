//! The only place of the daemon that reads a clock. Rules get the time as an argument.
//!
//! Time is tokio's: a simulated world pauses it and lets it jump from one event to the next.

use gpux_types::{Millis, UnixSeconds};
use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

/// The daemon's clocks. The monotonic one starts near zero with the process: what a machine wrote down of it means nothing to the
/// next process, which is what its `Restarted` event mends.
#[derive(Clone)]
pub struct Clock {
    start: Instant,
    date: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Clock {
    /// Starts the monotonic clock; the date is the machine's.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self::telling(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            UnixSeconds(since.map_or(0, |since| since.as_secs()))
        })
    }

    /// Starts the monotonic clock; the date is what `date` says each time, as people and programs set a machine's date while it
    /// runs.
    #[must_use]
    pub fn telling(date: impl Fn() -> UnixSeconds + Send + Sync + 'static) -> Self {
        Self {
            start: Instant::now(),
            date: Arc::new(date),
        }
    }

    /// Milliseconds since the start; never goes back.
    #[must_use]
    pub(crate) fn now(&self) -> Millis {
        self.start.elapsed().into()
    }

    /// What the machine believes the date is: for records that people read, for the end of a
    /// quote over restarts, and for how far an expiry lies ahead. What is owed is never counted by it.
    #[must_use]
    pub(crate) fn date(&self) -> UnixSeconds {
        (self.date)()
    }
}

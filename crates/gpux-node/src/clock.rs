//! The only place of the daemon that reads a clock. Rules get the time as an argument.
//!
//! Time is tokio's: a simulated world pauses it and lets it jump from one event to the next.

use gpux_types::{Millis, UnixSeconds};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The daemon's clocks. The monotonic one starts near zero with the process: what a machine wrote down of it means nothing to the
/// next process, which is what its `Restarted` event mends.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The date at the start, where it is not the machine's own.
    began: Option<UnixSeconds>,
}

impl Clock {
    /// Starts the monotonic clock; the date is the machine's.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            began: None,
        }
    }

    /// Starts the monotonic clock of a simulated world at a date of its own, which then goes on as tokio's time does.
    #[must_use]
    pub fn at(date: UnixSeconds) -> Self {
        Self {
            start: Instant::now(),
            began: Some(date),
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
        match self.began {
            Some(began) => began.plus_secs(self.now().as_secs()),
            None => UnixSeconds(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
            ),
        }
    }
}

//! The only place of the daemon that reads a clock. Rules get the time as an argument.

use gpux_types::{Millis, UnixSeconds};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The daemon's clocks. The monotonic one starts near zero with the process: never store its readings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic clock.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Milliseconds since the start; never goes back.
    #[must_use]
    pub(crate) fn now(&self) -> Millis {
        self.start.elapsed().into()
    }

    /// What the machine believes the date is: for records that people read, never for money.
    #[must_use]
    pub(crate) fn date(&self) -> UnixSeconds {
        UnixSeconds(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        )
    }
}

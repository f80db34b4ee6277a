//! Waiting for a condition, never for a time alone.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

const PACE: Duration = Duration::from_millis(100);

/// The first answer of `ready` that is there; fails the test when none comes in time.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        sleep(PACE);
    }
}

/// Fails the test unless nothing is left of `what` in time.
pub(crate) fn vanish(what: &str, limit: Duration, mut left: impl FnMut() -> Vec<String>) {
    let began = Instant::now();
    loop {
        let still = left();
        if still.is_empty() {
            return;
        }
        assert!(began.elapsed() < limit, "left of {what} after {limit:?}: {still:?}");
        sleep(PACE);
    }
}

/// Fails the test unless `holds` is true at every look for as long as `time`.
pub(crate) fn stays(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < time {
        assert!(holds(), "{what} did not stay so: it ended after {:?}", began.elapsed());
        sleep(PACE);
    }
}

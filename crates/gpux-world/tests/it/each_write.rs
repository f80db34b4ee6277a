//! A daemon that dies at each of its writes, one after the other: before it, and after it. Chance draws such deaths in the other
//! worlds; here none is left out.

use crate::choice::{quiet, told};
use gpux_world::{Event, Plan, Report, run};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A job of one seller and one renter that lasts for minutes.
const SEED: u64 = 14;

/// The world in which a host's daemon dies at a write, told where it is not as good as `undisturbed`; nothing where there is no
/// such write.
fn dies(host: usize, write: u64, before: bool, undisturbed: &Report) -> Option<Result<(), String>> {
    let event = Event::DiesAtWrite { host, write, before };
    let plan = Plan {
        events: vec![(Duration::ZERO, event)],
        ..quiet(SEED)
    };
    let report = match run(&plan) {
        Ok(report) => report,
        Err(error) => return Some(Err(error.to_string())),
    };
    if report.lives == undisturbed.lives {
        return None;
    }
    let well = report.broken.is_empty() && report.parts == undisturbed.parts;
    let when = if before { "before" } else { "after" };
    Some(if well {
        Ok(())
    } else {
        let parts = (report.parts, undisturbed.parts);
        Err(format!("dead {when} write {write}, parts {parts:?}: {}", told(&report)))
    })
}

/// Lets the daemon die at every write that it makes in its first life, from one on; gives which is the last, and what went wrong.
fn dies_at_each_write(host: usize, first: u64, undisturbed: &Report) -> (u64, Vec<String>) {
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let last = AtomicU64::new(0);
    let walk = || {
        loop {
            let write = next.fetch_add(1, Ordering::Relaxed);
            for before in [true, false] {
                match dies(host, write, before, undisturbed) {
                    None => return,
                    Some(Ok(())) => last.fetch_max(write, Ordering::Relaxed),
                    Some(Err(failure)) => {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                        return;
                    }
                };
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(walk);
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    (last.into_inner(), failures)
}

#[test]
fn a_seller_that_dies_at_any_of_its_writes_loses_nothing_and_costs_nobody_anything() {
    // Before the first it knows of no lease, whose deposit then waits for its expiry.
    let (writes, failures) = dies_at_each_write(0, 2, &run(&quiet(SEED)).unwrap());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(writes > 20, "only {writes} writes");
}

#[test]
fn a_renter_that_dies_at_any_of_its_writes_loses_nothing_and_costs_nobody_anything() {
    // Before the third it has not taken the job, and nobody was told that it did.
    let (writes, failures) = dies_at_each_write(1, 3, &run(&quiet(SEED)).unwrap());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(writes > 20, "only {writes} writes");
}

//! A daemon that dies at each of its writes, one after the other: before it, and after it. Chance draws such deaths in the other
//! worlds; here none is left out.

use crate::choice::{quiet, told};
use gpux_world::{Event, Plan, Report, run};
use std::{sync::Mutex, time::Duration};

/// A job of one seller and one renter that lasts for minutes.
const SEED: u64 = 14;

fn dies(host: usize, write: u64, before: bool) -> Report {
    let event = Event::DiesAtWrite { host, write, before };
    let plan = Plan {
        events: vec![(Duration::ZERO, event)],
        ..quiet(SEED)
    };
    run(&plan).unwrap()
}

/// Lets the daemon die at every write that it makes in its first life, from one on; gives which is the last.
fn dies_at_each_write(host: usize, first: u64) -> u64 {
    let undisturbed = run(&quiet(SEED)).unwrap();
    let next = Mutex::new(first);
    let walk = || {
        loop {
            let write = {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next - 1
            };
            for before in [true, false] {
                let report = dies(host, write, before);
                if report.lives == undisturbed.lives {
                    return write;
                }
                let what = if before { "before" } else { "after" };
                assert!(report.broken.is_empty(), "dead {what} write {write}: {}", told(&report));
                assert_eq!(
                    report.parts,
                    undisturbed.parts,
                    "dead {what} write {write}: {}",
                    told(&report)
                );
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..threads).map(|_| scope.spawn(walk)).collect();
        let ends = walkers.into_iter().map(|walker| walker.join().unwrap());
        ends.min().unwrap() - 1
    })
}

#[test]
fn a_seller_that_dies_at_any_of_its_writes_loses_nothing_and_costs_nobody_anything() {
    // Before the first it knows of no lease, whose deposit then waits for its expiry.
    let writes = dies_at_each_write(0, 2);
    assert!(writes > 20, "only {writes} writes");
}

#[test]
fn a_renter_that_dies_at_any_of_its_writes_loses_nothing_and_costs_nobody_anything() {
    // Before the third it has not taken the job, and nobody was told that it did.
    let writes = dies_at_each_write(1, 3);
    assert!(writes > 20, "only {writes} writes");
}

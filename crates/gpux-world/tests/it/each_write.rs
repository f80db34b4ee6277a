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
fn array() -> Plan {
    quiet(14)
}

/// A gang of one renter on two sellers.
fn gang() -> Plan {
    let mut plan = quiet(3);
    plan.providers = 2;
    plan.troubles.gangs = 1_000;
    plan
}

/// The world in which a host's daemon dies at a write, told where it is not as good as `undisturbed`; nothing where there is no
/// such write.
fn dies(plan: Plan, event: Event, undisturbed: &Report) -> Option<Result<(), String>> {
    let plan = Plan {
        events: vec![(Duration::ZERO, event)],
        ..plan
    };
    let report = match run(&plan) {
        Ok(report) => report,
        Err(error) => return Some(Err(error.to_string())),
    };
    if report.lives == undisturbed.lives {
        return None;
    }
    let well = report.broken.is_empty() && report.parts == undisturbed.parts;
    Some(if well {
        Ok(())
    } else {
        let parts = (report.parts, undisturbed.parts);
        Err(format!("{event:?}, parts {parts:?}: {}", told(&report)))
    })
}

/// Lets the daemon die at every write that it makes in its first life, from one on; gives which is the last, and what went wrong.
fn dies_at_each_write(plan: fn() -> Plan, host: usize, first: u64) -> (u64, Vec<String>) {
    let undisturbed = match run(&plan()) {
        Ok(report) => report,
        Err(error) => return (0, vec![error.to_string()]),
    };
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let last = AtomicU64::new(0);
    let walk = || {
        loop {
            let write = next.fetch_add(1, Ordering::Relaxed);
            for before in [true, false] {
                match dies(plan(), Event::DiesAtWrite { host, write, before }, &undisturbed) {
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
    let (writes, failures) = dies_at_each_write(array, 0, 2);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(writes > 20, "only {writes} writes");
}

#[test]
fn a_renter_that_dies_at_any_of_its_writes_loses_nothing_and_costs_nobody_anything() {
    // Before the third it has not taken the job, and nobody was told that it did.
    let (writes, failures) = dies_at_each_write(array, 1, 3);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(writes > 20, "only {writes} writes");
}

#[test]
fn a_gang_starts_once_and_whole_whichever_of_its_daemons_dies_at_whichever_write() {
    let undisturbed = run(&gang()).unwrap();
    assert_eq!(
        (undisturbed.parts, undisturbed.broken.len()),
        ((2, 2), 0),
        "{}",
        told(&undisturbed)
    );
    let went = undisturbed.coverage.times(gpux_world::Reached::GangWent);
    assert_eq!(went, 2, "each rank was told once: {}", told(&undisturbed));
    // The renter writes two leases before it has taken the job.
    for (host, first) in [(0, 2), (2, 4)] {
        let (writes, failures) = dies_at_each_write(gang, host, first);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(writes > 12, "only {writes} writes of host {host}");
    }
}

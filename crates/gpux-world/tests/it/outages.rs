//! What lasts for minutes: an endpoint that is away, a date that is wrong. Each world is compared with the same one in which
//! nothing happens.

use crate::choice::{quiet, told};
use gpux_world::{Event, Plan, Reached, Report, run};
use std::time::Duration;

/// What ten seconds of a world's lease cost, in the token's smallest unit: 185 whole ones per hour.
const TWO_INTERVALS: u128 = 514_000;
/// Seeds whose jobs are long and need no money after the first minute: their work, and its end, are in the middle of what happens.
const LONG: [u64; 3] = [14, 24, 42];
/// One whose deposit has to be topped up in that time.
const TOPPED_UP: u64 = 22;
/// When things begin to happen: the work runs.
const AT: Duration = Duration::from_secs(40);

fn plan(seed: u64, events: Vec<(Duration, Event)>) -> Plan {
    Plan {
        troubled: Duration::from_secs(400),
        events,
        ..quiet(seed)
    }
}

/// The endpoint of the seller, and that of the renter, silent or failing for five minutes.
fn away() -> impl Iterator<Item = Event> {
    let lasts = Duration::from_secs(300);
    let all = [(0, true), (0, false), (1, true), (1, false)].into_iter();
    all.map(move |(host, silent)| Event::EndpointAway { host, lasts, silent })
}

/// Whether a world ends as the same one does in which nothing happens.
fn costs_nobody_anything(before: &Report, after: &Report) {
    assert!(after.broken.is_empty(), "{}", told(after));
    assert!(
        before.parts.0 > 0 && before.parts.0 == before.parts.1,
        "{}",
        told(before)
    );
    assert_eq!(after.parts, before.parts, "{}", told(after));
    let apart = after.paid.abs_diff(before.paid);
    assert!(apart <= TWO_INTERVALS, "{} without\n{}", before.paid, told(after));
    assert_eq!(after.coverage.times(Reached::Reclaimed), 0, "{}", told(after));
}

#[test]
fn an_endpoint_that_is_away_for_five_minutes_costs_nobody_anything() {
    for seed in LONG {
        let before = run(&plan(seed, Vec::new())).unwrap();
        for event in away() {
            let after = run(&plan(seed, vec![(AT, event)])).unwrap();
            assert_eq!(after.coverage.times(Reached::ChainNodeIll), 1);
            costs_nobody_anything(&before, &after);
        }
    }
}

#[test]
fn work_that_cannot_be_topped_up_for_five_minutes_ends_before_its_money_does() {
    let before = run(&plan(TOPPED_UP, Vec::new())).unwrap();
    for event in away() {
        let after = run(&plan(TOPPED_UP, vec![(AT, event)])).unwrap();
        // Among them: what was done is paid to within two intervals, and the rest of the deposit is the renter's again.
        assert!(after.broken.is_empty(), "{}", told(&after));
        assert!(0 < after.parts.0 && after.parts.0 < before.parts.0, "{}", told(&after));
        assert!(0 < after.paid && after.paid < before.paid, "{}", told(&after));
        assert_eq!(after.coverage.times(Reached::Reclaimed), 0, "{}", told(&after));
    }
}

#[test]
fn a_date_that_is_set_by_minutes_while_all_runs_costs_nobody_anything() {
    for seed in LONG {
        let before = run(&plan(seed, Vec::new())).unwrap();
        for (host, secs) in [(0, 600), (0, -600), (1, 600), (1, -600)] {
            let set = |after, secs| (AT + Duration::from_secs(after), Event::ClockStepped { host, secs });
            let after = run(&plan(seed, vec![set(0, secs), set(30, -secs), set(60, 0)])).unwrap();
            assert_eq!(after.coverage.times(Reached::ClockStepped), 3);
            costs_nobody_anything(&before, &after);
        }
    }
}

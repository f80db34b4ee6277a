//! Whole worlds, by seed. `GPUX_WORLD_SEEDS` says how many (`make sim WORLDS=…` runs more than CI), `GPUX_WORLD_FIRST` from which on,
//! `GPUX_WORLD_NODES` of how many nodes each;
//! `one_world_of_choice` with `GPUX_WORLD_FIRST=SEED` and `--nocapture` shows the whole trace of one.

mod choice;
mod demands;
mod each_write;
mod outages;

use choice::{Choice, quiet, setting, show, told};
use gpux_world::{Bug, Coverage, Invariant, Plan, Reached, Report, Troubles, run};
use std::{
    sync::Mutex,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// Seeds that CI has time for.
const SEEDS: u64 = 300;
/// Seeds beyond those that broke something once.
const ONCE_BROKEN: [u64; 3] = [315, 661, 2325];

#[test]
fn a_job_is_opened_metered_and_settled_and_the_same_seed_makes_the_same_trace() {
    let first = run(&quiet(1)).unwrap();
    let again = run(&quiet(1)).unwrap();
    assert!(first.broken.is_empty(), "{}", told(&first));
    assert!(first.leases > 0 && first.paid > 0, "{}", told(&first));
    assert_eq!(first.hash, again.hash);
}

/// The hash of a world that a command makes, with this program in the place of cargo; or what that said instead.
fn hash_by(command: &str) -> String {
    let (settings, words): (Vec<&str>, Vec<&str>) = command.split_whitespace().partition(|word| word.contains('='));
    let words = words.into_iter().skip_while(|word| *word != "it").skip(1);
    let elsewhere = std::env::current_exe().and_then(|me| {
        std::process::Command::new(me)
            .args(words.filter(|word| *word != "--"))
            .envs(settings.iter().filter_map(|setting| setting.split_once('=')))
            .output()
    });
    let said = elsewhere.map_or_else(
        |error| error.to_string(),
        |it| String::from_utf8_lossy(&it.stdout).into_owned(),
    );
    let hash = said.lines().find_map(|line| line.split_once(", hash "));
    hash.map_or(said.clone(), |(_, hash)| hash.to_owned())
}

// Two runs differ where the order of a map's keys or of threads gets into them, and two processes in what lies at which address.
#[test]
fn troubles_come_the_same_way_each_time() {
    for seed in [3, 4, 114, 129] {
        let choice = Choice::of(seed);
        let (first, again) = (run(&choice.plan()).unwrap(), run(&choice.plan()).unwrap());
        assert_eq!(first.hash, again.hash, "{}\n\n{}", first.trace, again.trace);
        assert_eq!(first.hash, hash_by(&choice.again()), "{}", first.trace);
    }
}

#[test]
fn the_command_that_a_failure_prints_makes_the_same_world() {
    let (three, five) = (Choice { seed: 8, nodes: 3 }, Choice { seed: 8, nodes: 5 });
    let (first, other) = (run(&three.plan()).unwrap(), run(&five.plan()).unwrap());
    let text = three.explain(&first);
    let command = text.lines().find_map(|line| line.strip_prefix("again: ")).unwrap();
    assert_eq!(first.hash, hash_by(command), "{text}");
    assert_ne!(first.hash, other.hash, "the nodes are part of the world");
}

#[test]
fn one_world_of_choice() {
    let choice = Choice::of(setting("GPUX_WORLD_FIRST").unwrap_or(2));
    let begun = Instant::now();
    let report = run(&choice.plan()).unwrap();
    println!("{}\n{:?} {}", report.trace, begun.elapsed(), show(&report));
    assert!(report.broken.is_empty(), "{}", choice.explain(&report));
}

#[test]
fn no_seed_breaks_an_invariant_of_the_real_daemons() {
    let (first, count) = (
        setting("GPUX_WORLD_FIRST").unwrap_or(1),
        setting("GPUX_WORLD_SEEDS").unwrap_or(SEEDS),
    );
    let (next, simulated, leases) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let coverage = Mutex::new(Coverage::default());
    let begun = Instant::now();
    let broken: Vec<String> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let walk = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return broken;
                }
                let choice = Choice::of(seed);
                let report = run(&choice.plan()).unwrap();
                simulated.fetch_add(report.simulated.as_secs(), Ordering::Relaxed);
                coverage.lock().unwrap().add(&report.coverage);
                leases.fetch_add(u64::try_from(report.leases).unwrap(), Ordering::Relaxed);
                if !report.broken.is_empty() {
                    broken.push(choice.explain(&report));
                }
            }
        };
        let walkers: Vec<_> = (0..threads).map(|_| scope.spawn(walk)).collect();
        walkers.into_iter().flat_map(|walker| walker.join().unwrap()).collect()
    });
    let (took, simulated) = (begun.elapsed(), simulated.into_inner());
    println!(
        "{count} seeds, {} leases, {simulated} s simulated in {took:.1?}: {:.0} times real time",
        leases.into_inner(),
        Duration::from_secs(simulated).as_secs_f64() / took.as_secs_f64()
    );
    let coverage = coverage.into_inner().unwrap();
    println!("{coverage}");
    let broken_lines = |text: &String| {
        text.lines()
            .filter(|line| line.contains(" breaks: "))
            .map(str::to_owned)
            .collect()
    };
    let all: Vec<String> = broken
        .iter()
        .flat_map(|text| -> Vec<String> { broken_lines(text) })
        .collect();
    assert!(broken.is_empty(), "{}\n{}", broken[0], all.join("\n"));
    // What no world reaches, no world checks.
    let missing = coverage.missing();
    assert!(count < SEEDS || missing.is_empty(), "no seed reaches {missing:?}");
}

#[test]
fn seeds_that_once_broke_something_hold() {
    for seed in ONCE_BROKEN {
        let choice = Choice::of(seed);
        let report = run(&choice.plan()).unwrap();
        assert!(report.broken.is_empty(), "{}", choice.explain(&report));
    }
}

/// A world in which no quote is used while it holds, and what became of its deposits.
fn unused(troubles: Troubles) -> std::io::Result<Report> {
    let mut plan = quiet(1);
    plan.troubled = Duration::from_secs(90);
    plan.troubles = troubles;
    let report = run(&plan)?;
    assert!(report.broken.is_empty(), "{}", told(&report));
    assert_eq!(report.paid, 0, "{}", told(&report));
    Ok(report)
}

#[test]
fn a_deposit_that_is_told_of_when_its_quote_is_over_is_back_in_seconds() {
    let report = unused(Troubles {
        told_late: 1_000,
        ..Troubles::default()
    })
    .unwrap();
    let times = |what| report.coverage.times(what);
    assert!(times(Reached::GivenBack) > 0, "{}", told(&report));
    assert!(times(Reached::Closed) > 0, "{}", told(&report));
    assert_eq!(times(Reached::Reclaimed), 0, "{}", told(&report));
    assert!(report.simulated < Duration::from_secs(210), "{}", told(&report));
}

#[test]
fn a_deposit_whose_quote_was_forgotten_in_a_crash_is_reclaimed() {
    let report = unused(Troubles {
        forgotten_quotes: 1_000,
        ..Troubles::default()
    })
    .unwrap();
    let times = |what| report.coverage.times(what);
    assert!(times(Reached::Reclaimed) > 0, "{}", told(&report));
    // The node that starts anew cannot know that it did not work for it.
    assert_eq!(times(Reached::GivenBack), 0, "{}", told(&report));
}

#[test]
fn a_stranger_that_stops_in_a_loop_what_it_does_not_pay_for_leaves_nothing_behind() {
    let mut plan = quiet(1);
    plan.troubled = Duration::from_secs(120);
    plan.troubles.stops = 1_000;
    plan.troubles.containers = 2;
    let report = run(&plan).unwrap();
    assert!(report.broken.is_empty(), "{}", told(&report));
    let stopped = report.coverage.times(Reached::LeaseUnpaid);
    assert!(stopped > 70, "{stopped} times\n{}", told(&report));
    assert!(report.paid > 0, "others are served: {}", told(&report));
}

#[test]
fn a_provider_that_signs_and_submits_what_it_likes_gets_no_more_than_was_signed_for() {
    let mut coverage = Coverage::default();
    for seed in 1..13 {
        let mut plan = quiet(seed);
        plan.troubles.closings = 1_000;
        let report = run(&plan).unwrap();
        // Among them: every job is over, every lease closed, and what was not claimed is the renter's again.
        assert!(report.broken.is_empty(), "{}", told(&report));
        assert!(report.paid > 0, "{}", told(&report));
        coverage.add(&report.coverage);
    }
    for what in [
        Reached::ClosingAbove,
        Reached::ClosingChanged,
        Reached::ClosingEarly,
        Reached::SettledBehind,
        Reached::Closed,
        Reached::Settled,
    ] {
        assert!(coverage.times(what) > 0, "no world reaches {what:?}\n{coverage}");
    }
}

/// The world in which a planted bug has its chance: quiet but for what the bug needs, so that nothing else can break it.
fn with(bug: Option<Bug>, seed: u64) -> Plan {
    let mut troubles = Troubles::default();
    match bug {
        Some(Bug::DeafToGiving) => troubles.told_late = 1_000,
        Some(Bug::Hoarding) => troubles.stops = 300,
        Some(Bug::InflatedEnd) => troubles.shims = 30,
        Some(Bug::SilentDeath) => troubles.misfortunes = 400,
        Some(Bug::LostClosing) => troubles.closings = 1_000,
        Some(Bug::EagerRanks) => (troubles.gangs, troubles.containers) = (1_000, 4),
        Some(_) | None => {}
    }
    Plan {
        renters: if bug == Some(Bug::Overselling) { 6 } else { 1 },
        providers: if bug == Some(Bug::EagerRanks) { 3 } else { 1 },
        troubled: Duration::from_secs(90),
        troubles,
        bug,
        ..quiet(seed)
    }
}

/// What a bug breaks in the first worlds, until all that it should break is among it.
fn broken_by(bug: Bug) -> Vec<Invariant> {
    let mut broken = Vec::new();
    for seed in 1..8 {
        // A world that cannot be made breaks nothing, which the caller tells.
        let made = run(&with(Some(bug), seed)).ok();
        broken.extend(made.into_iter().flat_map(|report| report.broken).map(|it| it.invariant));
        if bug.breaks().iter().all(|invariant| broken.contains(invariant)) {
            break;
        }
    }
    broken.sort_unstable();
    broken.dedup();
    broken
}

#[test]
fn each_planted_bug_breaks_its_invariant() {
    let next = AtomicUsize::new(0);
    let walk = || {
        let mut found = Vec::new();
        while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push((*bug, broken_by(*bug)));
        }
        found
    };
    let found: Vec<(Bug, Vec<Invariant>)> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let walkers: Vec<_> = (0..threads).map(|_| scope.spawn(walk)).collect();
        walkers.into_iter().flat_map(|walker| walker.join().unwrap()).collect()
    });
    for (bug, broken) in &found {
        println!("{bug:?}: {broken:?}");
    }
    for (bug, broken) in found {
        let all = bug.breaks().iter().all(|invariant| broken.contains(invariant));
        assert!(all, "{bug:?} breaks {broken:?}, not all of {:?}", bug.breaks());
    }
}

#[test]
fn the_same_worlds_are_well_without_a_bug() {
    for seed in 1..6 {
        let report = run(&with(None, seed)).unwrap();
        assert!(report.broken.is_empty(), "{}", told(&report));
    }
}

#[test]
fn every_invariant_has_a_planted_bug() {
    for invariant in Invariant::ALL {
        let bug = Bug::ALL.into_iter().find(|bug| bug.breaks().contains(&invariant));
        assert!(bug.is_some(), "{invariant:?} has none");
    }
}

//! Which world a test lives through, and what is said of one that breaks: the tests' words, and none of their facts.

use gpux_world::{Plan, Report, Troubles};
use std::time::Duration;

/// How many nodes a drawn world has where nobody says otherwise.
const NODES: usize = 5;

pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A drawn world: two minutes in which all that can go wrong may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
}

impl Choice {
    /// The world of a seed, of as many nodes as `GPUX_WORLD_NODES` says.
    pub(crate) fn of(seed: u64) -> Self {
        let wanted = setting("GPUX_WORLD_NODES").and_then(|nodes| usize::try_from(nodes).ok());
        Self {
            seed,
            nodes: wanted.unwrap_or(NODES).max(2),
        }
    }

    pub(crate) fn plan(self) -> Plan {
        let renters = (self.nodes * 2 / 5).max(1);
        Plan {
            providers: self.nodes - renters,
            renters,
            troubled: Duration::from_secs(120),
            troubles: Troubles::of(self.seed),
            ..quiet(self.seed)
        }
    }

    /// What is typed to see it again.
    pub(crate) fn again(self) -> String {
        let Self { seed, nodes } = self;
        format!(
            "GPUX_WORLD_FIRST={seed} GPUX_WORLD_NODES={nodes} cargo test --package gpux-world --test it one_world_of_choice -- --nocapture"
        )
    }

    /// Why it is broken, and how to see it again.
    pub(crate) fn explain(self, report: &Report) -> String {
        let broken = broken(report);
        let (seed, again) = (self.seed, self.again());
        format!(
            "{}\nseed {seed} breaks: {broken}\n{}\nagain: {again}",
            report.trace,
            show(report)
        )
    }
}

/// A quiet world of one seller and one renter.
pub(crate) fn quiet(seed: u64) -> Plan {
    Plan {
        seed,
        providers: 1,
        renters: 1,
        troubled: Duration::ZERO,
        troubles: Troubles::default(),
        events: Vec::new(),
        bug: None,
    }
}

fn broken(report: &Report) -> String {
    let broken: Vec<String> = report.broken.iter().map(ToString::to_string).collect();
    broken.join("; ")
}

pub(crate) fn show(report: &Report) -> String {
    format!(
        "{} lines, {:.1} s simulated, {} leases, {} paid, {} lives, jobs {:?}, hash {}",
        report.lines,
        report.simulated.as_secs_f64(),
        report.leases,
        report.paid,
        report.lives,
        report.jobs,
        report.hash,
    )
}

/// What became of a world whose plan the test itself wrote: the same test makes the same world again.
pub(crate) fn told(report: &Report) -> String {
    let broken = broken(report);
    format!(
        "{}\nthe world of seed {} breaks: {broken}\n{}\nagain: run this test again, it makes the same world",
        report.trace,
        report.seed,
        show(report)
    )
}

//! Follows a job: bars on a terminal, one plain line for each change elsewhere.

use super::{clock, job::state_word, money};
use gpux_api::{JobState, JobView, LeaseState, LeaseView};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::{BTreeMap, HashMap},
    io::IsTerminal,
};

/// What was shown last, so that plain output has one line for each change.
#[derive(Debug, Default)]
struct Seen {
    state: Option<JobState>,
    leases: HashMap<gpux_types::LeaseId, LeaseState>,
    done: u32,
}

/// Shows how a job goes on, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    bars: Option<Bars>,
    seen: Seen,
}

#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    job: ProgressBar,
    leases: BTreeMap<gpux_types::LeaseId, ProgressBar>,
}

impl Progress {
    /// Bars when standard error is a terminal, else plain lines.
    pub(crate) fn new(name: &str) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let job = all.add(ProgressBar::new(1));
            job.set_style(style("{prefix:<16} [{bar:30}] {pos}/{len} parts  {msg}"));
            Bars { all, job, leases: BTreeMap::new() }
        });
        Self { name: name.to_owned(), bars, seen: Seen::default() }
    }

    /// Shows the newest view.
    pub(crate) fn update(&mut self, job: &JobView) {
        match &mut self.bars {
            Some(bars) => bars.update(job),
            None => {
                for line in plain(&self.name, &mut self.seen, job) {
                    eprintln!("{line}");
                }
            }
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&mut self) {
        if let Some(bars) = &self.bars {
            bars.job.abandon();
            bars.leases.values().for_each(ProgressBar::abandon);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

impl Bars {
    fn update(&mut self, job: &JobView) {
        self.job.set_length(u64::from(job.parts.total));
        self.job.set_position(u64::from(job.parts.done));
        self.job.set_prefix(job.name.clone());
        self.job.set_message(format!("{}  {}", state_word(job.state), clock(job.elapsed)));
        for lease in &job.leases {
            let bar = self.leases.entry(lease.id).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new(1));
                bar.set_style(style("  {prefix:<14} [{bar:30}] {msg}"));
                bar
            });
            bar.set_prefix(lease.node.short());
            let (done, of) = position(job, lease);
            bar.set_length(of.max(1));
            bar.set_position(done);
            bar.set_message(lease_message(job, lease));
        }
    }
}

/// While a node prepares its bar shows bytes, then its share of the parts.
fn position(job: &JobView, lease: &LeaseView) -> (u64, u64) {
    match lease.state {
        LeaseState::Opening | LeaseState::Preparing => (lease.prepared.0, lease.to_prepare.0),
        LeaseState::Running
        | LeaseState::Frozen
        | LeaseState::Unreachable
        | LeaseState::Settling
        | LeaseState::Settled
        | LeaseState::Reclaimable
        | LeaseState::Reclaimed
        | LeaseState::Failed => (u64::from(lease.parts_done), u64::from(job.parts.total)),
    }
}

fn lease_message(job: &JobView, lease: &LeaseView) -> String {
    let what = lease_words(lease);
    if lease.parts_done == 0 && lease.signed.units() == 0 {
        return what;
    }
    format!("{what}  {} parts  {}", lease.parts_done, money(&job.token, lease.signed))
}

fn lease_words(lease: &LeaseView) -> String {
    match lease.state {
        LeaseState::Opening => "deposit on its way".to_owned(),
        LeaseState::Preparing => format!("preparing {} of {}", lease.prepared, lease.to_prepare),
        LeaseState::Running => "running".to_owned(),
        LeaseState::Frozen => "frozen, not billed".to_owned(),
        LeaseState::Unreachable => "unreachable; its parts go elsewhere".to_owned(),
        LeaseState::Settling => "settling".to_owned(),
        LeaseState::Settled => "settled".to_owned(),
        LeaseState::Reclaimable => "waiting for its expiry to get the deposit back".to_owned(),
        LeaseState::Reclaimed => "deposit reclaimed".to_owned(),
        LeaseState::Failed => lease.end.as_ref().map_or_else(|| "failed".to_owned(), |end| format!("failed: {}", end.reason)),
    }
}

fn plain(name: &str, seen: &mut Seen, job: &JobView) -> Vec<String> {
    let at = clock(job.elapsed);
    let mut lines = Vec::new();
    if seen.state != Some(job.state) {
        seen.state = Some(job.state);
        lines.push(format!("{name} {at:>6}  {}", state_word(job.state)));
    }
    for lease in &job.leases {
        if seen.leases.insert(lease.id, lease.state) != Some(lease.state) {
            lines.push(format!("{name} {at:>6}  node {}: {}", lease.node.short(), lease_words(lease)));
        }
    }
    if job.parts.done > seen.done {
        seen.done = job.parts.done;
        let per_node: Vec<String> = job.leases.iter().map(|lease| format!("{} {}", lease.node.short(), lease.parts_done)).collect();
        lines.push(format!("{name} {at:>6}  {}/{} parts  ({})", job.parts.done, job.parts.total, per_node.join(", ")));
    }
    lines
}

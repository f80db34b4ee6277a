//! Follows a job: a checklist and bars on a terminal, one plain line for each change elsewhere, events for programs.

use super::{Events, checklist::Checklist, clock, job::state_word, money};
use crate::failure::Failure;
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
    leases: HashMap<gpux_types::LeaseId, (LeaseState, bool)>,
    done: u32,
    waits: Option<String>,
}

/// Shows how a job goes on: to people on standard error, to programs on standard output.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    manner: Manner,
}

#[derive(Debug)]
enum Manner {
    Bars(Bars),
    Plain(Seen),
    Events(Events),
}

#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    job: ProgressBar,
    checklist: Checklist,
    /// One line for each step.
    steps: Vec<ProgressBar>,
    leases: BTreeMap<gpux_types::LeaseId, ProgressBar>,
}

impl Progress {
    /// A checklist and bars when standard error is a terminal, else plain lines.
    pub(crate) fn new(name: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::plain(name);
        }
        let all = MultiProgress::new();
        let job = all.add(ProgressBar::new(1));
        job.set_style(style("{prefix:<16} [{bar:30}] {pos}/{len} parts  {msg}"));
        Self {
            name: name.to_owned(),
            manner: Manner::Bars(Bars {
                all,
                job,
                checklist: Checklist::default(),
                steps: Vec::new(),
                leases: BTreeMap::new(),
            }),
        }
    }

    /// Plain lines, also on a terminal.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            manner: Manner::Plain(Seen::default()),
        }
    }

    /// Events of what changes after `job`, which was told already.
    pub(crate) fn events(job: &JobView) -> Self {
        Self {
            name: job.name.clone(),
            manner: Manner::Events(Events::after(job)),
        }
    }

    /// Shows the newest view.
    pub(crate) fn update(&mut self, job: &JobView) -> Result<(), Failure> {
        match &mut self.manner {
            Manner::Bars(bars) => bars.update(job),
            Manner::Plain(seen) => {
                for line in plain(&self.name, seen, job) {
                    crate::out::tell(&line);
                }
            }
            Manner::Events(events) => {
                for event in events.changes(job) {
                    crate::out::print_event(event)?;
                }
            }
        }
        Ok(())
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&mut self) {
        if let Manner::Bars(bars) = &self.manner {
            bars.job.abandon();
            bars.steps.iter().for_each(ProgressBar::abandon);
            bars.leases.values().for_each(ProgressBar::abandon);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

impl Bars {
    fn update(&mut self, job: &JobView) {
        self.job.set_length(u64::from(job.parts.total));
        self.job.set_position(u64::from(job.parts.done));
        self.job.set_prefix(job.name.clone());
        let waits = job.waits.as_ref().map(|waits| format!("  {waits}"));
        self.job.set_message(format!(
            "{}  {}{}",
            state_word(job.state),
            clock(job.elapsed),
            waits.unwrap_or_default()
        ));
        for (number, line) in self.checklist.lines(job).into_iter().enumerate() {
            if self.steps.len() == number {
                let step = self.all.add(ProgressBar::new(1));
                step.set_style(style("{msg}"));
                self.steps.push(step);
            }
            if let Some(step) = self.steps.get(number) {
                step.set_message(line);
            }
        }
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
    format!(
        "{what}  {} parts  {}",
        lease.parts_done,
        money(&job.token, lease.signed)
    )
}

fn lease_words(lease: &LeaseView) -> String {
    match lease.state {
        LeaseState::Opening => "deposit on its way".to_owned(),
        LeaseState::Preparing => format!("preparing {} of {}", lease.prepared, lease.to_prepare),
        LeaseState::Running if lease.low => "running; its deposit runs low, `gpux topup` adds to it".to_owned(),
        LeaseState::Running => "running".to_owned(),
        LeaseState::Frozen => "frozen, not billed".to_owned(),
        LeaseState::Unreachable => "unreachable; its parts go elsewhere".to_owned(),
        LeaseState::Settling => "settling".to_owned(),
        LeaseState::Settled => "settled".to_owned(),
        LeaseState::Reclaimable => "waiting for its expiry to get the deposit back".to_owned(),
        LeaseState::Reclaimed => "deposit reclaimed".to_owned(),
        LeaseState::Failed => lease
            .end
            .as_ref()
            .map_or_else(|| "failed".to_owned(), |end| format!("failed: {}", end.reason)),
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
        if seen.leases.insert(lease.id, (lease.state, lease.low)) != Some((lease.state, lease.low)) {
            lines.push(format!(
                "{name} {at:>6}  node {}: {}",
                lease.node.short(),
                lease_words(lease)
            ));
        }
    }
    if seen.waits != job.waits {
        seen.waits.clone_from(&job.waits);
        let waits = job.waits.as_deref().unwrap_or("no result waits any more");
        lines.push(format!("{name} {at:>6}  {waits}"));
    }
    if job.parts.done > seen.done {
        seen.done = job.parts.done;
        let per_node: Vec<String> = job
            .leases
            .iter()
            .map(|lease| format!("{} {}", lease.node.short(), lease.parts_done))
            .collect();
        lines.push(format!(
            "{name} {at:>6}  {}/{} parts  ({})",
            job.parts.done,
            job.parts.total,
            per_node.join(", ")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_api::{EndView, PartsView};
    use gpux_types::{Amount, ByteSize, JobId, LeaseId, Millis, NodeId, PricePerHour, Token, UnixSeconds};

    fn lease(node: u8, state: LeaseState) -> LeaseView {
        LeaseView {
            id: LeaseId([node; 32]),
            node: NodeId([node; 32]),
            provider: "0x01".into(),
            state,
            price: PricePerHour::default(),
            deposit: Amount::ZERO,
            topped_up: Amount::ZERO,
            signed: Amount::ZERO,
            expiry: UnixSeconds(0),
            metered: Millis::ZERO,
            parts_done: 0,
            parts_running: 0,
            prepared: ByteSize(1 << 20),
            to_prepare: ByteSize(10 << 20),
            low: false,
            at_risk: None,
            end: None,
        }
    }

    fn job(state: JobState, elapsed: u64, leases: Vec<LeaseView>) -> JobView {
        JobView {
            schema: "gpux.job/v1".into(),
            id: JobId([1; 16]),
            name: "shot".into(),
            state,
            accepted_at: UnixSeconds(0),
            elapsed: Millis(elapsed),
            token: Token {
                symbol: "DAI".into(),
                decimals: 18,
            },
            parts: PartsView {
                total: 4,
                ..PartsView::default()
            },
            leases,
            output: String::new(),
            outputs: Vec::new(),
            ranks: Vec::new(),
            checks: None,
            waits: None,
            end: None,
        }
    }

    #[test]
    fn plain_progress_has_one_line_for_each_change() {
        let mut seen = Seen::default();
        let mut say = |view: &JobView| plain("shot", &mut seen, view);
        assert_eq!(say(&job(JobState::Quoting, 100, Vec::new())), ["shot   0.1s  quoting"]);
        let opening = job(JobState::Starting, 1_200, vec![lease(0xaa, LeaseState::Opening)]);
        assert_eq!(
            say(&opening),
            [
                "shot   1.2s  starting",
                "shot   1.2s  node aaaaaaaa: deposit on its way"
            ]
        );
        assert!(say(&opening).is_empty(), "nothing has changed");
        let preparing = job(JobState::Starting, 3_000, vec![lease(0xaa, LeaseState::Preparing)]);
        assert_eq!(
            say(&preparing),
            ["shot   3.0s  node aaaaaaaa: preparing 1 MiB of 10 MiB"]
        );
        let mut running = job(JobState::Running, 61_000, vec![lease(0xaa, LeaseState::Running)]);
        assert_eq!(
            say(&running),
            ["shot   1:01  running", "shot   1:01  node aaaaaaaa: running"]
        );
        running.leases.iter_mut().for_each(|lease| lease.low = true);
        assert_eq!(
            say(&running),
            ["shot   1:01  node aaaaaaaa: running; its deposit runs low, `gpux topup` adds to it"]
        );
        running.leases.iter_mut().for_each(|lease| lease.low = false);
        assert_eq!(say(&running), ["shot   1:01  node aaaaaaaa: running"]);
        running.parts.done = 1;
        running.leases[0].parts_done = 1;
        assert_eq!(say(&running), ["shot   1:01  1/4 parts  (aaaaaaaa 1)"]);
    }

    #[test]
    fn a_lease_that_failed_says_why() {
        let reason = EndView {
            reason: "no deposit came".into(),
            actor: gpux_api::Actor::Renter,
            exit_code: None,
        };
        let failed = LeaseView {
            end: Some(reason),
            ..lease(0xaa, LeaseState::Failed)
        };
        assert_eq!(lease_words(&failed), "failed: no deposit came");
    }

    #[test]
    fn the_checklist_ticks_what_is_done_and_points_at_what_is_under_way() {
        use LeaseState as S;
        let mut list = Checklist::default();
        let mut shown = |view: &JobView| list.lines(view).join("\n");
        let two = |first, second| vec![lease(0xaa, first), lease(0xbb, second)];
        assert_eq!(
            shown(&job(JobState::Starting, 1_200, two(S::Preparing, S::Opening))),
            "  ✓ firm prices      2/2  1.2s\n  ▸ deposits         1/2\n  · image and inputs 0/2\n  \
             · parts            0/4\n  · settlements      0/2"
        );
        let mut running = job(JobState::Running, 61_000, two(S::Running, S::Failed));
        running.parts.done = 3;
        assert_eq!(
            shown(&running),
            "  ✓ firm prices      2/2  1.2s\n  ▸ deposits         1/2\n  · image and inputs 1/2\n  \
             · parts            3/4\n  · settlements      1/2"
        );
        let mut over = job(JobState::Succeeded, 70_000, two(S::Settled, S::Settled));
        over.parts.done = 4;
        assert_eq!(
            shown(&over),
            "  ✓ firm prices      2/2  1.2s\n  ✓ deposits         2/2  1:10\n  ✓ image and inputs 2/2  1:10\n  \
             ✓ parts            4/4  1:10\n  ✓ settlements      2/2  1:10"
        );
    }

    #[test]
    fn a_bar_shows_bytes_while_preparing_and_parts_after() {
        let view = job(JobState::Running, 0, Vec::new());
        assert_eq!(position(&view, &lease(1, LeaseState::Preparing)), (1 << 20, 10 << 20));
        assert_eq!(position(&view, &lease(1, LeaseState::Running)), (0, 4));
    }
}

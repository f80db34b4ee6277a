//! The parts that a lease was given: what each is doing, and what is to be done about it. Pure.
//!
//! Invariant: a step that is under way is not asked for again until it answers; a report is kept until the renter has it.

use gpux_proto::{PartReport, PartSpec};
use gpux_runtime::{PartKey, PartState};
use gpux_types::{BlobHash, LeaseId};
use serde::{Deserialize, Serialize};

/// The most parts of one lease. With [`MAX_ENVIRONMENT`] it bounds what a renter can make this node hold.
const MAX_PARTS: usize = 20_000;
/// The most bytes of a part's own variables: an index and a value take less than 100.
const MAX_ENVIRONMENT: usize = 4 << 10;

/// Whether a renter's part is small enough to be kept.
pub(super) fn is_bounded(spec: &PartSpec) -> bool {
    let bytes = spec
        .environment
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()));
    bytes.fold(0, usize::saturating_add) <= MAX_ENVIRONMENT && spec.environment.len() <= 64
}

/// Where one part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Waits for its turn.
    Queued,
    /// Being started.
    Starting,
    /// Runs.
    Running,
    /// Over; what it wrote is being kept.
    Collecting { state: PartState },
    /// Over and kept; the renter must know.
    Reported { report: PartReport },
    /// The renter knows.
    Over { report: PartReport },
    /// Not wanted any more: nothing of it runs, and nobody asks how it ended.
    Dropped,
}

/// What the renter was told of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// That it started.
    Start,
    /// How it ended.
    End,
    /// Nothing: it could not be reached.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    spec: PartSpec,
    stage: Stage,
    /// Whether the step of this stage is under way in this process.
    #[serde(skip)]
    busy: bool,
    /// Whether the renter was told that it started; told once, best effort.
    told_started: bool,
    /// What the renter may fetch of it.
    outputs: Vec<BlobHash>,
    /// Whether the renter does not want it any more.
    #[serde(default)]
    cancelled: bool,
    /// Whether it was asked to end in this process.
    #[serde(skip)]
    asked_to_end: bool,
}

impl Part {
    const fn new(spec: PartSpec, stage: Stage) -> Self {
        Self {
            spec,
            stage,
            busy: false,
            told_started: false,
            outputs: Vec::new(),
            cancelled: false,
            asked_to_end: false,
        }
    }
}

/// All parts of a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    parts: Vec<Part>,
    #[serde(skip)]
    version: u64,
}

/// Something to do about a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Start it.
    Start(PartSpec),
    /// End it.
    Stop(PartKey),
    /// Keep what it wrote.
    Collect(PartKey, PartState),
    /// Tell the renter that it started.
    TellStarted(PartKey),
    /// Tell the renter how it ended.
    TellEnd(PartKey, PartReport),
}

fn key(spec: &PartSpec) -> PartKey {
    PartKey {
        part: spec.part,
        attempt: spec.attempt,
    }
}

impl Parts {
    /// Takes a part. One that is here already changes nothing, but that its end is told again: a renter asks again when it
    /// has lost the news.
    pub(super) fn give(&mut self, spec: PartSpec) {
        if let Some(part) = self.find(key(&spec)) {
            if let Stage::Over { report } = &part.stage {
                part.stage = Stage::Reported { report: report.clone() };
            }
            return;
        }
        if self.parts.len() < MAX_PARTS {
            self.parts.push(Part::new(spec, Stage::Queued));
        }
    }

    /// The renter does not want a part any more. One that has not come yet will not be started when it does.
    pub(super) fn cancel(&mut self, wanted: PartKey) {
        if let Some(part) = self.find(wanted) {
            part.cancelled = true;
        } else if self.parts.len() < MAX_PARTS {
            let spec = PartSpec {
                part: wanted.part,
                attempt: wanted.attempt,
                environment: Vec::new(),
            };
            self.parts.push(Part::new(spec, Stage::Dropped));
        }
    }

    /// A part was asked to end, or could not be asked.
    pub(super) fn stopped(&mut self, wanted: PartKey, asked: bool) {
        if let Some(part) = self.find(wanted) {
            part.busy = false;
            part.asked_to_end = asked;
        }
    }

    fn find(&mut self, wanted: PartKey) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| key(&part.spec) == wanted)
    }

    /// After a restart nothing is under way any more.
    pub(super) fn forget_running_steps(&mut self) {
        for part in &mut self.parts {
            part.busy = false;
            if part.stage == Stage::Starting {
                // Starting twice starts once.
                part.stage = Stage::Queued;
            }
        }
    }

    /// Whether `version` of the runtime's status is newer than any before.
    pub(super) fn note_version(&mut self, version: u64) -> bool {
        let newer = version >= self.version;
        self.version = self.version.max(version);
        newer
    }

    /// The runtime answered to the start of a part.
    pub(super) fn started(&mut self, wanted: PartKey, state: &PartState) {
        if let Some(part) = self.find(wanted)
            && part.stage == Stage::Starting
        {
            part.busy = false;
            part.stage = if state.is_over() {
                Stage::Collecting { state: state.clone() }
            } else {
                Stage::Running
            };
        }
    }

    /// The runtime could not start a part now: it waits for its turn again.
    pub(super) fn put_off(&mut self, wanted: PartKey) {
        if let Some(part) = self.find(wanted)
            && part.stage == Stage::Starting
        {
            part.busy = false;
            part.stage = Stage::Queued;
        }
    }

    /// The runtime told where a part is.
    pub(super) fn seen(&mut self, wanted: PartKey, state: &PartState) {
        if let Some(part) = self.find(wanted)
            && part.stage == Stage::Running
            && state.is_over()
        {
            part.stage = Stage::Collecting { state: state.clone() };
        }
    }

    /// What a part wrote is kept.
    pub(super) fn collected(&mut self, report: PartReport) {
        let (_, part, attempt) = report.key();
        if let Some(part) = self.find(PartKey { part, attempt }) {
            part.busy = false;
            if let PartReport::Ended { outputs, .. } = &report {
                part.outputs = outputs.iter().map(|output| output.blob.hash).collect();
            }
            part.stage = Stage::Reported { report };
        }
    }

    /// The renter was told, or could not be.
    pub(super) fn told(&mut self, wanted: PartKey, told: Told) {
        let Some(part) = self.find(wanted) else { return };
        match told {
            Told::Start => {}
            Told::End => {
                part.busy = false;
                if let Stage::Reported { report } = &part.stage {
                    part.stage = Stage::Over { report: report.clone() };
                }
            }
            Told::Nothing => part.busy = false,
        }
    }

    /// What is to be done now; each step is under way from then on.
    pub(super) fn steps(&mut self, allowed: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for part in &mut self.parts {
            let wanted = key(&part.spec);
            if part.cancelled
                && matches!(
                    part.stage,
                    Stage::Queued | Stage::Collecting { .. } | Stage::Reported { .. }
                )
            {
                part.stage = Stage::Dropped;
            }
            if part.stage == Stage::Running && !part.told_started && !part.cancelled {
                part.told_started = true;
                steps.push(Step::TellStarted(wanted));
            }
            if part.busy {
                continue;
            }
            let step = match &part.stage {
                Stage::Running if part.cancelled && !part.asked_to_end => Step::Stop(wanted),
                Stage::Queued if allowed => Step::Start(part.spec.clone()),
                Stage::Collecting { state } => Step::Collect(wanted, state.clone()),
                Stage::Reported { report } => Step::TellEnd(wanted, report.clone()),
                Stage::Queued | Stage::Starting | Stage::Running | Stage::Over { .. } | Stage::Dropped => continue,
            };
            if matches!(step, Step::Start(_)) {
                part.stage = Stage::Starting;
            }
            part.busy = true;
            steps.push(step);
        }
        steps
    }

    /// The blobs that the renter may fetch.
    pub(super) fn outputs(&self) -> impl Iterator<Item = BlobHash> + '_ {
        self.parts.iter().flat_map(|part| part.outputs.iter().copied())
    }
}

/// The report of a part that never ran or was lost.
pub(super) fn failed(lease: LeaseId, wanted: PartKey, bad_program: bool, message: String) -> PartReport {
    let message = message.chars().take(300).collect();
    PartReport::Failed {
        lease,
        part: wanted.part,
        attempt: wanted.attempt,
        bad_program,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_runtime::{EndedBy, ProcessIdentity};
    use gpux_types::PartIndex;

    fn spec(part: u32) -> PartSpec {
        PartSpec {
            part: PartIndex(part),
            attempt: 1,
            environment: Vec::new(),
        }
    }

    fn key_of(part: u32) -> PartKey {
        PartKey {
            part: PartIndex(part),
            attempt: 1,
        }
    }

    fn running() -> PartState {
        PartState::Running {
            process: ProcessIdentity { pid: 1, start_ticks: 1 },
        }
    }

    fn exited() -> PartState {
        PartState::Exited {
            code: 0,
            signal: None,
            out_of_memory: false,
            ended_by: EndedBy::Itself,
        }
    }

    fn end(part: u32) -> PartReport {
        PartReport::Ended {
            lease: LeaseId([1; 32]),
            part: PartIndex(part),
            attempt: 1,
            exit_code: 0,
            out_of_memory: false,
            outputs: Vec::new(),
        }
    }

    #[test]
    fn a_part_with_a_large_environment_is_not_kept() {
        let mut part = spec(0);
        part.environment = vec![("NAME".into(), "x".repeat(4_000))];
        assert!(is_bounded(&part));
        part.environment.push(("OTHER".into(), "x".repeat(200)));
        assert!(!is_bounded(&part));
        part.environment = vec![(String::new(), String::new()); 65];
        assert!(!is_bounded(&part));
    }

    #[test]
    fn nothing_starts_before_work_is_allowed_and_nothing_starts_twice() {
        let mut parts = Parts::default();
        parts.give(spec(0));
        parts.give(spec(0));
        assert!(parts.steps(false).is_empty());
        assert_eq!(parts.steps(true), [Step::Start(spec(0))]);
        assert!(parts.steps(true).is_empty(), "it is under way");
        parts.started(key_of(0), &running());
        assert_eq!(parts.steps(true), [Step::TellStarted(key_of(0))]);
        assert!(parts.steps(true).is_empty(), "told once");
    }

    #[test]
    fn a_part_that_is_put_off_starts_once_work_is_allowed_again() {
        let mut parts = Parts::default();
        parts.give(spec(0));
        assert_eq!(parts.steps(true), [Step::Start(spec(0))]);
        parts.put_off(key_of(0));
        assert!(parts.steps(false).is_empty(), "the work is frozen");
        assert_eq!(parts.steps(true), [Step::Start(spec(0))]);
        parts.started(key_of(0), &running());
        parts.put_off(key_of(0));
        assert_eq!(
            parts.steps(true),
            [Step::TellStarted(key_of(0))],
            "what runs is not put off"
        );
    }

    #[test]
    fn an_end_is_told_until_the_renter_has_it_and_again_when_it_asks() {
        let mut parts = Parts::default();
        parts.give(spec(0));
        parts.steps(true);
        parts.started(key_of(0), &exited());
        assert_eq!(parts.steps(true), [Step::Collect(key_of(0), exited())]);
        parts.collected(end(0));
        assert_eq!(parts.steps(true), [Step::TellEnd(key_of(0), end(0))]);
        parts.told(key_of(0), Told::Nothing);
        assert_eq!(parts.steps(true), [Step::TellEnd(key_of(0), end(0))]);
        parts.told(key_of(0), Told::End);
        assert!(parts.steps(true).is_empty());
        parts.give(spec(0));
        assert_eq!(parts.steps(true), [Step::TellEnd(key_of(0), end(0))]);
    }

    #[test]
    fn a_part_that_is_not_wanted_any_more_is_ended_once_and_never_told_of() {
        let mut parts = Parts::default();
        parts.give(spec(0));
        parts.give(spec(1));
        parts.steps(true);
        parts.started(key_of(0), &running());
        parts.cancel(key_of(0));
        parts.cancel(key_of(1));
        assert_eq!(
            parts.steps(true),
            [Step::Stop(key_of(0))],
            "one that is being started is waited for"
        );
        assert!(parts.steps(true).is_empty(), "it is under way");
        parts.stopped(key_of(0), false);
        assert_eq!(
            parts.steps(true),
            [Step::Stop(key_of(0))],
            "asked again when it could not be asked"
        );
        parts.stopped(key_of(0), true);
        parts.started(key_of(1), &running());
        assert_eq!(parts.steps(true), [Step::Stop(key_of(1))]);
        parts.seen(key_of(0), &exited());
        parts.seen(key_of(1), &exited());
        assert!(parts.steps(true).is_empty(), "nothing is collected, and nothing told");
    }

    #[test]
    fn a_part_that_is_cancelled_before_it_starts_never_runs() {
        let mut parts = Parts::default();
        parts.give(spec(0));
        parts.cancel(key_of(0));
        parts.cancel(key_of(1));
        parts.give(spec(1));
        assert!(
            parts.steps(true).is_empty(),
            "neither one that waits nor one that comes later"
        );
        let mut parts: Parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        parts.forget_running_steps();
        assert!(parts.steps(true).is_empty(), "nor after a restart");
    }

    #[test]
    fn a_restart_starts_again_what_was_being_started_and_keeps_what_ran() {
        let mut parts = Parts::default();
        parts.give(spec(0));
        parts.give(spec(1));
        parts.steps(true);
        parts.started(key_of(1), &running());
        let mut parts: Parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        parts.forget_running_steps();
        assert!(parts.steps(true).contains(&Step::Start(spec(0))));
        parts.seen(key_of(1), &exited());
        assert!(parts.steps(true).contains(&Step::Collect(key_of(1), exited())));
    }
}

//! The parts that a lease was given: what each is doing, and what is to be done about it. Pure.
//!
//! Invariants: a step that is under way is not asked for again until it answers; a report is kept until the renter has it; no
//! more parts are started or run than the lease has slots; what a renter makes this node keep of them is at most [`MAX_BYTES`]
//! and the reports of as many parts as there are slots; a note about a try that never came writes nothing and displaces nothing.

mod gate;
#[cfg(test)]
mod tests;

pub(crate) use gate::Gate;
use gpux_lease::Given;
use gpux_proto::{PartReport, PartSpec};
use gpux_runtime::{PartKey, PartState};
use gpux_types::{BlobHash, Cpu, LeaseId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of all parts of one lease, as they are written down. It bounds what each write costs the other leases.
const MAX_BYTES: usize = 1 << 20;
/// How many tries are remembered that are not wanted and were never given. Each costs its renter one needless run when forgotten.
const MAX_NOTES: usize = 64;
/// What a part takes beside its variables and its report, and an output or a variable beside its name and value.
const PART_BYTES: usize = 256;
const OUTPUT_BYTES: usize = 160;
const VARIABLE_BYTES: usize = 8;
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
    /// Its container is made; its program goes once its gate is open.
    Standing,
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
    /// That it stands.
    Stands,
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
    #[serde(default)]
    gate: Gate,
    /// Whether the renter knows that it stands.
    #[serde(default)]
    told_standing: bool,
    /// Whether the renter does not want it any more.
    #[serde(default)]
    cancelled: bool,
    /// Whether it was never given: only remembered as not wanted.
    #[serde(default)]
    note: bool,
    /// Whether it was asked to end in this process.
    #[serde(skip)]
    asked_to_end: bool,
    /// What it takes where it is written down, as measured when that last changed: a mebibyte is not measured for each input.
    #[serde(skip)]
    size: usize,
}

impl Part {
    fn new(spec: PartSpec, stage: Stage) -> Self {
        let mut part = Self {
            spec,
            stage,
            busy: false,
            told_started: false,
            gate: Gate::Open,
            told_standing: false,
            cancelled: false,
            note: false,
            asked_to_end: false,
            size: 0,
        };
        part.measure();
        part
    }

    fn measure(&mut self) {
        self.size = self.bytes();
    }

    /// At least what it takes where it is written down.
    fn bytes(&self) -> usize {
        let variables = self.spec.environment.iter();
        let variables = variables.map(|(name, value)| VARIABLE_BYTES + written(name) + written(value));
        let report = match (self.report(), &self.stage) {
            (Some(PartReport::Ended { outputs, .. }), _) => {
                outputs.iter().map(|output| OUTPUT_BYTES + written(&output.path)).sum()
            }
            (Some(PartReport::Failed { message, .. }), _) => written(message),
            (
                None,
                Stage::Collecting {
                    state: PartState::NotStarted { message, .. },
                },
            ) => written(message),
            (Some(PartReport::Started { .. } | PartReport::Standing { .. }) | None, _) => 0,
        };
        PART_BYTES + variables.sum::<usize>() + report
    }

    /// The renter is told anew where it is.
    fn tell_again(&mut self) {
        self.told_standing = false;
        if let Stage::Over { report } = &self.stage {
            self.stage = Stage::Reported { report: report.clone() };
        }
    }

    /// How it ended, once that is known.
    const fn report(&self) -> Option<&PartReport> {
        match &self.stage {
            Stage::Reported { report } | Stage::Over { report } => Some(report),
            Stage::Queued
            | Stage::Starting
            | Stage::Standing
            | Stage::Running
            | Stage::Collecting { .. }
            | Stage::Dropped => None,
        }
    }

    /// Whether a container of it is there, or is being made.
    const fn is_alive(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Standing | Stage::Running)
    }

    /// Whether a lease can do without it: nothing of it is to be done, and the renter knows all.
    const fn is_done_with(&self) -> bool {
        matches!(self.stage, Stage::Over { .. } | Stage::Dropped)
    }
}

/// How many bytes a text takes in JSON.
fn written(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        0..=0x1f => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    });
    bytes.sum()
}

/// How many parts a lease of so many cores runs side by side: one for each core. The renter gives no more at once.
pub(super) fn slots(cpu: Cpu) -> usize {
    usize::try_from(cpu.millicores / 1_000).unwrap_or(usize::MAX).max(1)
}

/// A part that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("taking a part: the parts that this lease was given and that are not over take {MAX_BYTES} bytes already")]
pub(super) struct PartsFull;

/// All parts of a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    parts: Vec<Part>,
    /// How the parts ended that were done with and made room for others.
    #[serde(default)]
    forgotten: Forgotten,
    #[serde(skip)]
    version: u64,
    /// Whether something changed that a restart would not find again.
    #[serde(skip)]
    changed: bool,
}

/// Parts that are not kept any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgotten {
    /// How often each exit code.
    pub(super) exits: BTreeMap<i32, u32>,
    /// How many ended otherwise.
    pub(super) otherwise: u32,
}

/// Something to do about a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Start it.
    Start(PartSpec),
    /// Make its container, and no more.
    Stand(PartSpec),
    /// Let its program go.
    Go(PartKey),
    /// End it.
    Stop(PartKey),
    /// Keep what it wrote.
    Collect(PartKey, PartState),
    /// Tell the renter that it stands.
    TellStanding(PartKey),
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
    pub(super) fn give(&mut self, spec: PartSpec, gate: Gate) -> Result<(), PartsFull> {
        if let Some(part) = self.find(key(&spec)) {
            part.tell_again();
            self.changed |= std::mem::take(&mut part.note);
            return Ok(());
        }
        let mut part = Part::new(spec, Stage::Queued);
        part.gate = gate;
        let wanted = key(&part.spec);
        self.add(part)?;
        if gate == Gate::Closed {
            self.cancel_before(wanted);
        }
        Ok(())
    }

    /// Takes back a part that was just given and could not be written down.
    pub(super) fn take_back(&mut self, wanted: PartKey) {
        self.parts
            .retain(|part| key(&part.spec) != wanted || part.stage != Stage::Queued);
    }

    fn add(&mut self, part: Part) -> Result<(), PartsFull> {
        if !self.make_room(part.size) {
            return Err(PartsFull);
        }
        self.parts.push(part);
        self.changed = true;
        Ok(())
    }

    /// Forgets notes and then the oldest parts that are done with, until there is room for so many bytes more; false when there
    /// is none.
    fn make_room(&mut self, more: usize) -> bool {
        self.forget(more, |part| part.note) || self.forget(more, Part::is_done_with)
    }

    /// Forgets the oldest of those that may go, as far as room for so many bytes more needs it; false when there is none.
    fn forget(&mut self, more: usize, may_go: impl Fn(&Part) -> bool) -> bool {
        let bytes = self.parts.iter().map(|part| part.size);
        let mut bytes = bytes.fold(more, usize::saturating_add);
        let forgotten = &mut self.forgotten;
        self.parts.retain(|part| {
            let stays = bytes <= MAX_BYTES || !may_go(part);
            if !stays {
                bytes = bytes.saturating_sub(part.size);
                forgotten.count(part);
            }
            stays
        });
        bytes <= MAX_BYTES
    }

    /// Whether something changed, since this was last asked, that must be written down.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The renter does not want a part any more. One that has not come yet will not be started when it does.
    pub(super) fn cancel(&mut self, wanted: PartKey) {
        if let Some(part) = self.find(wanted) {
            let known = std::mem::replace(&mut part.cancelled, true);
            self.changed |= !known;
        } else {
            let spec = PartSpec {
                part: wanted.part,
                attempt: wanted.attempt,
                environment: Vec::new(),
            };
            let mut note = Part::new(spec, Stage::Dropped);
            (note.cancelled, note.note) = (true, true);
            self.take_note(note);
        }
    }

    /// Without room for it the try would run if it came, which costs its renter. It is written with the next change.
    fn take_note(&mut self, note: Part) {
        if self.parts.iter().filter(|part| part.note).count() >= MAX_NOTES
            && let Some(oldest) = self.parts.iter().position(|part| part.note)
        {
            self.parts.remove(oldest);
        }
        if self.forget(note.size, |part| part.note) {
            self.parts.push(note);
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
            part.measure();
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
        let Some(part) = self.find(wanted) else { return };
        match part.stage {
            Stage::Starting | Stage::Standing => {
                part.busy = false;
                part.stage = if state.is_over() {
                    Stage::Collecting { state: state.clone() }
                } else if *state == PartState::Standing {
                    Stage::Standing
                } else {
                    Stage::Running
                };
                part.measure();
                self.changed = true;
            }
            // Its end was seen before the answer to its going.
            Stage::Collecting { .. } => part.busy = false,
            Stage::Queued | Stage::Running | Stage::Reported { .. } | Stage::Over { .. } | Stage::Dropped => {}
        }
    }

    /// The runtime could not start a part now, or let it go: it waits for its turn again.
    pub(super) fn put_off(&mut self, wanted: PartKey) {
        let Some(part) = self.find(wanted) else { return };
        match part.stage {
            Stage::Starting => (part.busy, part.stage) = (false, Stage::Queued),
            Stage::Standing | Stage::Collecting { .. } => part.busy = false,
            Stage::Queued | Stage::Running | Stage::Reported { .. } | Stage::Over { .. } | Stage::Dropped => {}
        }
    }

    /// The runtime told where a part is.
    pub(super) fn seen(&mut self, wanted: PartKey, state: &PartState) {
        if let Some(part) = self.find(wanted)
            && matches!(part.stage, Stage::Standing | Stage::Running)
            && state.is_over()
        {
            part.stage = Stage::Collecting { state: state.clone() };
            part.measure();
            self.changed = true;
        }
    }

    /// What a part wrote is kept.
    pub(super) fn collected(&mut self, report: PartReport) {
        let (_, part, attempt) = report.key();
        if let Some(part) = self.find(PartKey { part, attempt }) {
            part.busy = false;
            part.spec.environment = Vec::new();
            part.stage = Stage::Reported { report };
            part.measure();
            self.changed = true;
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
                    self.changed = true;
                }
            }
            Told::Stands => {
                part.busy = false;
                part.told_standing = true;
                self.changed = true;
            }
            Told::Nothing => part.busy = false,
        }
    }

    /// What is to be done now; each step is under way from then on. So many parts may be started now or run side by side.
    pub(super) fn steps(&mut self, slots: usize) -> Vec<Step> {
        let mut alive = self.parts.iter().filter(|part| part.is_alive()).count();
        let mut free = slots.saturating_sub(alive);
        // Until the renter took the reports that there are, no part makes another.
        if free > 0 && !self.make_room(0) {
            free = 0;
        }
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
            let step = match (&part.stage, part.gate) {
                (Stage::Running | Stage::Standing, _) if part.cancelled && !part.asked_to_end => Step::Stop(wanted),
                (Stage::Running | Stage::Standing, _) if part.cancelled => continue,
                (Stage::Standing, Gate::Open) if slots > 0 => Step::Go(wanted),
                (Stage::Standing, Gate::Closed) if !part.told_standing => Step::TellStanding(wanted),
                (Stage::Queued, Gate::Open) if free > 0 => Step::Start(part.spec.clone()),
                // Only once nothing of the attempt before is there any more: so no two attempts of a gang ever run.
                (Stage::Queued, Gate::Closed) if free > 0 && alive == 0 => Step::Stand(part.spec.clone()),
                (Stage::Collecting { state }, _) => Step::Collect(wanted, state.clone()),
                (Stage::Reported { report }, _) => Step::TellEnd(wanted, report.clone()),
                (
                    Stage::Queued
                    | Stage::Starting
                    | Stage::Standing
                    | Stage::Running
                    | Stage::Over { .. }
                    | Stage::Dropped,
                    _,
                ) => continue,
            };
            if matches!(step, Step::Start(_) | Step::Stand(_)) {
                part.stage = Stage::Starting;
                free -= 1;
                alive += 1;
            }
            part.busy = true;
            steps.push(step);
        }
        steps
    }

    /// With which codes how many of the tries that were given ended by themselves, and how many ended otherwise.
    pub(super) fn exits(&self) -> (BTreeMap<i32, u32>, u32) {
        let mut all = self.forgotten.clone();
        self.parts.iter().for_each(|part| all.count(part));
        (all.exits, all.otherwise)
    }

    /// How far they are.
    pub(super) fn given(&self) -> Given {
        let stages = || self.parts.iter().map(|part| &part.stage);
        let unfinished = |part: &&Part| match part.stage {
            Stage::Queued | Stage::Starting | Stage::Standing | Stage::Running | Stage::Collecting { .. } => true,
            Stage::Reported { .. } | Stage::Over { .. } | Stage::Dropped => false,
        };
        let mut unfinished = self.parts.iter().filter(unfinished).peekable();
        let waits = |part: &Part| part.stage == Stage::Standing && part.gate == Gate::Closed;
        if unfinished.peek().is_some() {
            if unfinished.all(waits) {
                Given::Standing
            } else {
                Given::Unfinished
            }
        } else if stages().any(|stage| matches!(stage, Stage::Reported { .. })) {
            Given::Untold
        } else {
            Given::Told
        }
    }

    /// The try that was given last among those that ran.
    pub(super) fn last_run(&self) -> Option<PartKey> {
        let ran = |part: &&Part| match &part.stage {
            Stage::Running | Stage::Collecting { .. } => true,
            Stage::Reported { report } | Stage::Over { report } => exit_of(report).is_some(),
            Stage::Queued | Stage::Starting | Stage::Standing | Stage::Dropped => false,
        };
        self.parts.iter().rev().find(ran).map(|part| key(&part.spec))
    }

    /// The blobs that the renter may fetch.
    pub(super) fn outputs(&self) -> impl Iterator<Item = BlobHash> + '_ {
        let reports = self.parts.iter().filter_map(|part| match part.report() {
            Some(PartReport::Ended { outputs, .. }) => Some(outputs),
            Some(PartReport::Started { .. } | PartReport::Standing { .. } | PartReport::Failed { .. }) | None => None,
        });
        reports.flatten().map(|output| output.blob.hash)
    }
}

impl Forgotten {
    fn count(&mut self, part: &Part) {
        let code = match &part.stage {
            Stage::Collecting {
                state: PartState::Exited { code, .. },
            } => Some(*code),
            Stage::Reported { report } | Stage::Over { report } => exit_of(report),
            Stage::Queued
            | Stage::Starting
            | Stage::Standing
            | Stage::Running
            | Stage::Collecting { .. }
            | Stage::Dropped => None,
        };
        let count = match code {
            Some(code) => self.exits.entry(code).or_default(),
            None if part.note => return,
            None => &mut self.otherwise,
        };
        *count = count.saturating_add(1);
    }
}

const fn exit_of(report: &PartReport) -> Option<i32> {
    match report {
        PartReport::Ended { exit_code, .. } => Some(*exit_code),
        PartReport::Started { .. } | PartReport::Standing { .. } | PartReport::Failed { .. } => None,
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

//! The state of one lease inside its shim, and what happens to it.
//!
//! Owned by the shim's loop alone, which tells it what happened and when. Nothing here blocks for longer than a file
//! operation in memory; what must reach the disk goes through the scribe.
//!
//! Invariants, kept here:
//! - before every change that touches the freezer the meter is advanced, so that no stretch is counted by a wrong state;
//! - a part's exit is published only after its output was taken and its out-of-memory count was read;
//! - `version` grows with every change that a status would show.
//!
//! What stands and what lets it go is in `standing.rs`.

mod standing;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use gpux_types::{ByteSize, Millis};
use rustix::process::Signal;

use self::standing::kill_launch;
use super::dead_man::{DeadMan, Demand};
use super::launch::{LaunchContext, Launched, Report, launch};
use super::meter::Meter;
use super::part::{Ending, Exit, Init, Live, LiveStage, Part};
use super::scribe::Scribe;
use super::seccomp::Filter;
use super::setup::Stage;
use super::wire::Refusal;
use super::{outputs, say, spec};
use crate::cgroups::{Cgroup, CgroupError};
use crate::log_files::LogWriter;
use crate::records::{self, FinalRecord, LeaseFiles, LeaseRecord};
use crate::runtime::{
    EndedBy, FinalUsage, LeaseEnd, LeaseStatus, OutputFile, PartKey, PartSpec, PartState, PartStatus, ProcessIdentity,
    ShimFault, Work,
};

/// Bytes taken from a pipe at once: what a pipe holds.
const BUFFER: usize = 64 * 1024;

/// How often the meter goes to disk: what a killed shim loses at most, which is the provider's loss.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// What a lease consists of.
pub(crate) struct Lease {
    pub(crate) record: LeaseRecord,
    pub(crate) files: LeaseFiles,
    pub(crate) cgroup: Cgroup,
    pub(crate) stage: Stage,
    pub(crate) filter: Filter,
    pub(crate) scribe: Scribe,
    pub(crate) shim: ProcessIdentity,
    state: State,
    buffer: Vec<u8>,
}

/// What changes.
struct State {
    meter: Meter,
    dead_man: DeadMan,
    parts: BTreeMap<PartKey, Part>,
    version: u64,
    /// When the meter was last given to the scribe.
    noted: Instant,
    /// As the kernel said at the last look; kept only to notice a change.
    frozen: bool,
    end: Option<LeaseEnd>,
}

/// What a lease is made of when its shim starts.
pub(crate) struct LeaseParts {
    pub(crate) record: LeaseRecord,
    pub(crate) files: LeaseFiles,
    pub(crate) cgroup: Cgroup,
    pub(crate) stage: Stage,
    pub(crate) filter: Filter,
    pub(crate) scribe: Scribe,
    pub(crate) shim: ProcessIdentity,
}

impl Lease {
    pub(crate) fn new(parts: LeaseParts, now: Instant) -> Self {
        let spec = &parts.record.spec;
        let dead_man = DeadMan::new(now, duration(spec.renew_within), duration(spec.hold));
        Self {
            record: parts.record,
            files: parts.files,
            cgroup: parts.cgroup,
            stage: parts.stage,
            filter: parts.filter,
            scribe: parts.scribe,
            shim: parts.shim,
            state: State {
                meter: Meter::new(),
                dead_man,
                parts: BTreeMap::new(),
                version: 1,
                noted: now,
                frozen: false,
                end: None,
            },
            buffer: vec![0; BUFFER],
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.state.version
    }

    pub(crate) fn part_state(&self, part: PartKey) -> Option<&PartState> {
        self.state.parts.get(&part).map(|part| &part.state)
    }

    /// Parts that are not over, for the loop to wait on.
    pub(crate) fn live(&mut self) -> impl Iterator<Item = (PartKey, &mut Live)> {
        self.state
            .parts
            .iter_mut()
            .filter_map(|(key, part)| part.live.as_mut().map(|live| (*key, live)))
    }

    // === what a daemon asks ===

    pub(crate) fn renew(&mut self, now: Instant) {
        self.state.dead_man.renew(now);
    }

    /// Begins to start a part, or to make it stand, unless either was begun before.
    pub(crate) fn start(&mut self, part: PartSpec, how: Launched, now: Instant) -> Result<(), Refusal> {
        let key = part.key();
        if let Some(known) = self.state.parts.get(&key) {
            return if known.spec == part {
                Ok(())
            } else {
                Err(Refusal::Conflict(key))
            };
        }
        if self.state.end.is_some() {
            return Err(Refusal::Over);
        }
        spec::check_part(&part).map_err(Refusal::BadSpec)?;
        let starting = format!("starting part {key}");
        self.refuse_frozen(&starting, now)?;
        let live = self.launch(&part, how, now).map_err(|error| fault(&starting, &error))?;
        self.state.parts.insert(
            key,
            Part {
                spec: part,
                state: PartState::Starting,
                live: Some(live),
            },
        );
        self.state.version += 1;
        Ok(())
    }

    fn launch(&self, part: &PartSpec, how: Launched, now: Instant) -> io::Result<Live> {
        let key = part.key();
        self.files
            .write_part(part)
            .map_err(|error| error.into_path_and_io().1)?;
        let log = LogWriter::create(&self.files.part_dir(key), self.record.spec.log_limit)?;
        let cgroup = self.cgroup.child(&key.to_string());
        let context = LaunchContext {
            record: &self.record,
            stage: &self.stage,
            filter: &self.filter,
            cgroup: cgroup.path(),
        };
        Ok(Live::new(launch(context, part, how)?, log, now))
    }

    pub(crate) fn freeze(&mut self, now: Instant) -> Result<(), Refusal> {
        self.set_frozen(now, true)
            .map_err(|error| fault("freezing the lease", &error))
    }

    pub(crate) fn thaw(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.state.end.is_some() {
            return Err(Refusal::Over);
        }
        self.set_frozen(now, false)
            .map_err(|error| fault("thawing the lease", &error))
    }

    fn set_frozen(&mut self, now: Instant, frozen: bool) -> Result<(), CgroupError> {
        self.look(now)?;
        if frozen {
            self.cgroup.freeze()?;
        } else {
            self.cgroup.thaw()?;
        }
        self.look(Instant::now())?;
        Ok(())
    }

    /// Asks the kernel whether the lease is frozen and advances the meter by the answer.
    fn look(&mut self, now: Instant) -> Result<bool, CgroupError> {
        let frozen = self.cgroup.is_frozen()?;
        self.state.meter.advance(now, frozen);
        if frozen != self.state.frozen {
            self.state.frozen = frozen;
            self.state.version += 1;
        }
        Ok(frozen)
    }

    pub(crate) fn stop(&mut self, part: PartKey, grace: Millis) -> Result<(), Refusal> {
        let kill_at = self.state.meter.total() + duration(grace);
        let Some(known) = self.state.parts.get_mut(&part) else {
            return Err(Refusal::UnknownPart(part));
        };
        let Some(live) = &mut known.live else {
            return Ok(());
        };
        if live.ending.is_none() {
            live.ending = Some(Ending {
                by: EndedBy::Stop,
                kill_at,
                killed: false,
            });
            match &live.stage {
                LiveStage::Running { init, .. } => init.signal(Signal::TERM),
                // Its program was not told to go, and never will be.
                LiveStage::Launching { go: Some(_), .. } => kill_launch(&live.stage),
                // It hears of it once its program is executed.
                LiveStage::Launching { go: None, .. } => {}
            }
        }
        Ok(())
    }

    /// Begins to end the lease. Killing may thaw it for a moment, which is not the renter's to pay.
    pub(crate) fn end(&mut self, end: LeaseEnd, now: Instant) {
        if self.state.end.is_none() {
            if let Ok(true) = self.look(now) {
                self.state.meter.stop(now, true);
            }
            self.state.end = Some(end);
            self.state.version += 1;
        }
    }

    pub(crate) fn outputs(&self, part: PartKey, glob: &str) -> Result<Vec<OutputFile>, Refusal> {
        self.known(part)?;
        outputs::list(&self.stage.out(part), glob).or_else(|error| {
            // The part has not come so far.
            if error.kind() == io::ErrorKind::NotFound {
                return Ok(Vec::new());
            }
            Err(fault(&format!("listing the outputs of part {part}"), &error))
        })
    }

    pub(crate) fn open_output(&self, part: PartKey, path: &str) -> Result<std::fs::File, Refusal> {
        self.known(part)?;
        outputs::open(&self.stage.out(part), path).map_err(|error| fault(&format!("opening {path}"), &error))
    }

    fn known(&self, part: PartKey) -> Result<(), Refusal> {
        if self.state.parts.contains_key(&part) {
            Ok(())
        } else {
            Err(Refusal::UnknownPart(part))
        }
    }

    pub(crate) fn status(&mut self, now: Instant) -> LeaseStatus {
        if let Err(error) = self.look(now) {
            say(&format!("reading the freezer: {error}"));
        }
        let state = &self.state;
        let work = match (state.meter.started(), state.frozen) {
            (_, true) => Work::Frozen,
            (true, false) => Work::Running,
            (false, false) => Work::Idle,
        };
        LeaseStatus {
            lease: self.record.spec.lease,
            version: state.version,
            metered: state.meter.metered(),
            work,
            parts: self.part_statuses(),
            disk_used: self.stage.disk_used(),
            memory_peak: self.cgroup.memory_peak().unwrap_or(ByteSize(0)),
            shim: Some(self.shim),
        }
    }

    fn part_statuses(&self) -> Vec<PartStatus> {
        self.state
            .parts
            .iter()
            .map(|(key, part)| PartStatus {
                part: key.part,
                attempt: key.attempt,
                state: part.state.clone(),
            })
            .collect()
    }

    // === what happens ===

    /// More of a launch's report can be read.
    pub(crate) fn report_is_ready(&mut self, part: PartKey) {
        let Some(live) = self.state.parts.get_mut(&part).and_then(|part| part.live.as_mut()) else {
            return;
        };
        let LiveStage::Launching {
            report,
            reader,
            init,
            executing,
            failure,
            go,
            ..
        } = &mut live.stage
        else {
            return;
        };
        let mut stands = false;
        let ended = reader.fill(report).unwrap_or_else(|error| {
            failure.get_or_insert((0, format!("reading the launch's report: {error}")));
            true
        });
        while let Some(line) = reader.next_line() {
            match line {
                Report::Made { pid } => match Init::open(pid) {
                    Ok(opened) => *init = Some(opened),
                    Err(error) => *failure = Some((0, format!("watching process {pid}: {error}"))),
                },
                Report::Standing if go.is_some() => stands = true,
                Report::Standing => {}
                Report::Executing => *executing = true,
                Report::Failed { errno, message } => *failure = Some((errno, message)),
            }
        }
        if ended {
            self.launch_is_over(part);
        } else if stands && let Some(known) = self.state.parts.get_mut(&part) {
            known.state = PartState::Standing;
            self.state.version += 1;
        }
    }

    /// The report has ended: the program was executed, or will never be.
    fn launch_is_over(&mut self, key: PartKey) {
        let now = Instant::now();
        let since = self.state.meter.total();
        let Some(part) = self.state.parts.get_mut(&key) else {
            return;
        };
        let Some(mut live) = part.live.take() else { return };
        let LiveStage::Launching {
            init,
            executing,
            failure,
            ..
        } = live.stage
        else {
            return;
        };
        self.state.version += 1;
        match (executing, init, failure) {
            (true, Some(init), None) => {
                part.state = PartState::Running { process: init.identity };
                if live.ending.is_some() {
                    init.signal(Signal::TERM);
                }
                live.stage = LiveStage::Running { init, since };
                part.live = Some(live);
                self.state.meter.start(now);
            }
            (_, init, failure) => {
                if let Some(init) = init {
                    init.signal(Signal::KILL);
                }
                let (errno, message) =
                    failure.unwrap_or((0, "starting the container: its first process was killed".into()));
                part.state = PartState::NotStarted { errno, message };
                self.part_is_over(key);
            }
        }
    }

    /// Output can be read.
    pub(crate) fn output_is_ready(&mut self, part: PartKey) {
        let buffer = &mut self.buffer;
        if let Some(live) = self.state.parts.get_mut(&part).and_then(|part| part.live.as_mut())
            && let Err(error) = live.output.pump(buffer)
        {
            say(&format!("keeping the output of part {part}: {error}"));
        }
    }

    /// A part's first process may have ended.
    pub(crate) fn init_is_ready(&mut self, key: PartKey) {
        let Some(part) = self.state.parts.get_mut(&key) else {
            return;
        };
        let Some(live) = &mut part.live else { return };
        let init = match &live.stage {
            LiveStage::Running { init, .. } => init,
            // It died while it stood: the launcher would wait for ever. The report's end tells the rest.
            LiveStage::Launching { .. } => return kill_launch(&live.stage),
        };
        match init.reap() {
            Ok(Some(exit)) => {
                if let Err(error) = live.output.finish(&mut self.buffer) {
                    say(&format!("keeping the output of part {key}: {error}"));
                }
                let by = live.ending.map_or(EndedBy::Itself, |ending| ending.by);
                self.part_has_exited(key, exit, by);
            }
            Ok(None) => {}
            Err(error) => say(&format!("waiting for part {key}: {error}")),
        }
    }

    fn part_has_exited(&mut self, key: PartKey, exit: Exit, by: EndedBy) {
        let kills = self.cgroup.child(&key.to_string()).oom_kills();
        let out_of_memory = kills.unwrap_or_else(|error| {
            say(&format!("reading the memory events of part {key}: {error}"));
            0
        }) > 0;
        if let Some(part) = self.state.parts.get_mut(&key) {
            part.state = PartState::Exited {
                code: exit.code,
                signal: exit.signal,
                out_of_memory,
                ended_by: if self.state.end.is_some() && by == EndedBy::Itself && exit.signal.is_some() {
                    EndedBy::LeaseEnd
                } else {
                    by
                },
            };
        }
        self.part_is_over(key);
    }

    fn part_is_over(&mut self, key: PartKey) {
        self.state.version += 1;
        if let Some(part) = self.state.parts.get_mut(&key) {
            part.live = None;
            self.scribe.exit(self.files.exit_path(key), part.state.clone());
        }
        self.stage.clear_part(key);
        // What is still dying in it is removed with the lease.
        let _ = self.cgroup.child(&key.to_string()).remove();
    }

    /// Does what time demands, and says when to be asked again at the latest.
    pub(crate) fn tick(&mut self, now: Instant) -> Instant {
        if let Err(error) = self.look(now) {
            say(&format!("reading the freezer: {error}"));
        }
        let mut next = self.note_meter(now);
        match self.state.dead_man.demand(now) {
            Demand::Nothing { until } => next = next.min(until),
            Demand::Frozen { until } => {
                next = next.min(until);
                if !self.state.frozen
                    && let Err(error) = self.set_frozen(now, true)
                {
                    say(&format!("freezing the lease, whose daemon is silent: {error}"));
                }
            }
            Demand::Killed => self.end(LeaseEnd::NotRenewed, now),
        }
        if self.state.end.is_some() {
            self.kill_everything();
            return next.min(now + Duration::from_millis(10));
        }
        next.min(self.end_parts_in_time(now))
    }

    /// Has the meter written once a second while it runs, and says when it is to be written next.
    fn note_meter(&mut self, now: Instant) -> Instant {
        let due = self.state.noted + NOTE_EVERY;
        if now < due {
            return due;
        }
        self.state.noted = now;
        if self.state.meter.started() {
            self.scribe.metered(self.state.meter.metered());
        }
        now + NOTE_EVERY
    }

    /// Kills parts whose time is up, and says when the next one's is.
    fn end_parts_in_time(&mut self, now: Instant) -> Instant {
        let total = self.state.meter.total();
        let mut next = now + Duration::from_secs(1);
        for part in self.state.parts.values_mut() {
            let Some(live) = &mut part.live else { continue };
            let LiveStage::Running { init, since } = &live.stage else {
                continue;
            };
            let limit = part.spec.max_duration.map(|max| *since + duration(max));
            let ending = match (live.ending, limit) {
                (Some(ending), _) => ending,
                (None, Some(limit)) => Ending {
                    by: EndedBy::TimeLimit,
                    kill_at: limit,
                    killed: false,
                },
                (None, None) => continue,
            };
            if total >= ending.kill_at {
                if !ending.killed {
                    init.signal(Signal::KILL);
                }
                live.ending = Some(Ending { killed: true, ..ending });
            } else {
                next = next.min(now + (ending.kill_at - total));
            }
        }
        next
    }

    fn kill_everything(&mut self) {
        for live in self.state.parts.values().filter_map(|part| part.live.as_ref()) {
            kill_launch(&live.stage);
        }
        if let Err(error) = self.cgroup.kill() {
            say(&format!("killing the lease's processes: {error}"));
        }
    }

    /// Whether the lease is to end and nothing of it runs any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.state.end.is_some()
            && self.state.parts.values().all(|part| part.live.is_none())
            && self.cgroup.processes().is_ok_and(|left| left.is_empty())
    }

    /// Stops the meter, takes everything down and records the final usage; the last thing that happens.
    pub(crate) fn finish(mut self, now: Instant) -> io::Result<FinalUsage> {
        let frozen = self.state.frozen;
        self.state.meter.stop(now, frozen);
        self.state.version += 1;
        let mut status = self.status(now);
        status.work = Work::Gone;
        status.shim = None;
        let usage = FinalUsage {
            lease: status.lease,
            metered: status.metered,
            parts: status.parts.clone(),
            end: self.state.end.unwrap_or(LeaseEnd::Destroyed),
        };
        let record = FinalRecord {
            usage: usage.clone(),
            status,
        };
        self.scribe.finish(self.files.final_path(), record)?;
        take_down(self.stage, &self.cgroup, &self.record.run);
        Ok(usage)
    }

    /// Takes everything down without a record: the lease never was anybody's.
    pub(crate) fn abandon(self) {
        self.files.remove_shim();
        take_down(self.stage, &self.cgroup, &self.record.run);
    }
}

/// Removes mounts, cgroup, socket and mount points. What fails is found and removed by the daemon.
fn take_down(stage: Stage, cgroup: &Cgroup, run: &Path) {
    stage.take_down();
    if let Err(error) = cgroup.remove() {
        say(&format!("removing the lease's cgroup: {error}"));
    }
    let _ = fs::remove_file(records::socket(run));
    let _ = fs::remove_dir(records::mounts(run));
    let _ = fs::remove_dir(run);
}

fn duration(millis: Millis) -> Duration {
    Duration::from_millis(millis.0)
}

/// A failure as the daemon is told of it.
pub(crate) fn fault(attempted: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    Refusal::Fault(ShimFault::of(attempted, error))
}

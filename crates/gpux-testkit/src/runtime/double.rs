//! A runtime without containers: leases, parts, meters and the dead-man switch in memory, on tokio's clock.
//!
//! It keeps the promises of the conformance suite, so what is built on it meets the same words, orders and errors as on
//! the real one. With tokio's time paused it takes no time. What its parts do is what the probe's verbs say; see
//! `process.rs`.
//!
//! ```text
//! caller ──lock──> world <──lock── keeper (one task a lease, turns every 5 ms of tokio's time)
//! ```
//!
//! The world sits behind a mutex that is never held across an await: every call is one short change.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gpux_runtime::{
    AdoptError, CreateLeaseError, EndedBy, FinalUsage, LeaseEnd, LeaseSpec, LeaseStatus, LogChunk, OutputFile, PartKey,
    PartSpec, PartState, PartStatus, ProcessIdentity, Runtime, RuntimeCallError, ShimFault, StartPartError, Work,
};
use gpux_types::{ByteSize, LeaseId, Millis};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::process::{Outcome, Process, Surroundings};

/// How often a lease's keeper turns: fine enough for tests that count hundredths of a second.
const TURN: Duration = Duration::from_millis(5);

/// How long a wait for a change lasts at most.
const WAIT: Duration = Duration::from_secs(30);

/// Most bytes of one log chunk, as the real runtime has it.
const CHUNK: usize = 256 * 1024;

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct RuntimeDouble {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    leases: BTreeMap<LeaseId, Lease>,
    next_pid: u32,
}

#[derive(Debug)]
struct Lease {
    spec: LeaseSpec,
    parts: BTreeMap<PartKey, Part>,
    version: watch::Sender<u64>,
    renewed: Instant,
    looked: Instant,
    metered: Duration,
    work: Work,
    end: Option<LeaseEnd>,
    shim: ProcessIdentity,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Part {
    spec: PartSpec,
    state: PartState,
    process: Process,
    started_at: Duration,
    stop: Option<(EndedBy, Duration)>,
}

impl Part {
    const fn runs(&self) -> bool {
        matches!(self.state, PartState::Running { .. })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl RuntimeDouble {
    /// A runtime without leases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Kills a lease's shim, as a crash of the machine's would: its parts are lost.
    pub fn lose_shim(&self, lease: LeaseId) {
        if let Some(found) = self.world().leases.get_mut(&lease) {
            found.look(Instant::now());
            for part in found.parts.values_mut().filter(|part| !part.state.is_over()) {
                part.state = PartState::Lost;
            }
            found.finish(LeaseEnd::ShimLost);
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a lease that is not over.
    fn with_live<T>(&self, lease: LeaseId, act: impl FnOnce(&mut Lease) -> T) -> Result<T, RuntimeCallError> {
        self.with(lease, |found| match found.end {
            Some(_) => Err(RuntimeCallError::Over { lease }),
            None => {
                found.look(Instant::now());
                Ok(act(found))
            }
        })?
    }

    fn with<T>(&self, lease: LeaseId, act: impl FnOnce(&mut Lease) -> T) -> Result<T, RuntimeCallError> {
        let mut world = self.world();
        let found = world
            .leases
            .get_mut(&lease)
            .ok_or(RuntimeCallError::UnknownLease { lease })?;
        Ok(act(found))
    }

    fn begin_part(&self, lease: LeaseId, part: PartSpec, stands: bool) -> Result<PartState, StartPartError> {
        let key = part.key();
        let call = |source| StartPartError::Call {
            lease,
            part: key,
            source: Box::new(source),
        };
        let process = self.world().identity();
        self.with_live(lease, |found| {
            if let Some(known) = found.parts.get(&key) {
                return if known.spec == part {
                    Ok(known.state.clone())
                } else {
                    Err(StartPartError::Conflict { lease, part: key })
                };
            }
            if found.work == Work::Frozen {
                return Err(call(fault(
                    lease,
                    "starting a part of a frozen lease",
                    gpux_runtime::ERRNO_FROZEN,
                )));
            }
            let (state, simulated) = match Process::exec(&found.spec.image, &part) {
                // What its program is told by its image is known once it goes.
                _ if stands => (PartState::Standing, Process::default()),
                Ok(simulated) => (PartState::Running { process }, simulated),
                Err((errno, message)) => (PartState::NotStarted { errno, message }, Process::default()),
            };
            if !state.is_over() && !stands && found.work == Work::Idle {
                found.work = Work::Running;
            }
            let made = Part {
                spec: part,
                state: state.clone(),
                process: simulated,
                started_at: found.metered,
                stop: None,
            };
            found.parts.insert(key, made);
            found.changed();
            Ok(state)
        })
        .map_err(call)?
    }

    fn with_part<T>(
        &self,
        lease: LeaseId,
        part: PartKey,
        act: impl FnOnce(&mut Part) -> T,
    ) -> Result<T, RuntimeCallError> {
        self.with(lease, |found| found.parts.get_mut(&part).map(act))?
            .ok_or(RuntimeCallError::UnknownPart { lease, part })
    }
}

/// Turns a lease until it is over.
async fn keep(world: Arc<Mutex<World>>, lease: LeaseId) {
    loop {
        tokio::time::sleep(TURN).await;
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        match world.leases.get_mut(&lease) {
            Some(found) if found.end.is_none() => found.turn(Instant::now()),
            Some(_) | None => return,
        }
    }
}

fn duration(millis: Millis) -> Duration {
    Duration::from_millis(millis.0)
}

impl Lease {
    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Advances the meter and the parts up to now.
    fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        if self.work != Work::Running {
            return;
        }
        self.metered += passed;
        let inputs = &self.spec.inputs;
        let disk = self.spec.resources.disk;
        let mut used: u64 = self.parts.values().map(|part| part.process.disk_used()).sum();
        let mut ended = false;
        for part in self.parts.values_mut().filter(|part| part.runs()) {
            let before = part.process.disk_used();
            let mut surroundings = Surroundings {
                inputs,
                disk_left: disk.0.saturating_sub(used),
            };
            if let Some(outcome) = part.process.advance(passed, &mut surroundings) {
                part.state = exited(outcome, part.stop.map_or(EndedBy::Itself, |(by, _)| by));
                ended = true;
            }
            used += part.process.disk_used() - before;
        }
        if ended {
            self.changed();
        }
    }

    fn turn(&mut self, now: Instant) {
        self.look(now);
        let silent = now.saturating_duration_since(self.renewed);
        let (renew_within, hold) = (duration(self.spec.renew_within), duration(self.spec.hold));
        if silent >= renew_within + hold {
            self.kill(LeaseEnd::NotRenewed);
        } else if silent >= renew_within && self.work != Work::Frozen {
            self.work = Work::Frozen;
            self.changed();
        }
        self.end_parts_in_time();
    }

    fn end_parts_in_time(&mut self) {
        let metered = self.metered;
        let mut ended = false;
        for part in self.parts.values_mut().filter(|part| part.runs()) {
            let limit = part
                .spec
                .max_duration
                .map(|max| (EndedBy::TimeLimit, part.started_at + duration(max)));
            if let Some((by, at)) = part.stop.or(limit)
                && metered >= at
            {
                part.state = exited(Outcome::killed(), by);
                ended = true;
            }
        }
        if ended {
            self.changed();
        }
    }

    fn kill(&mut self, end: LeaseEnd) {
        for part in self.parts.values_mut().filter(|part| !part.state.is_over()) {
            part.state = if part.state == PartState::Standing {
                never_went()
            } else {
                exited(Outcome::killed(), EndedBy::LeaseEnd)
            };
        }
        self.finish(end);
    }

    fn finish(&mut self, end: LeaseEnd) {
        if self.end.is_none() {
            self.work = Work::Gone;
            self.end = Some(end);
            self.changed();
        }
    }

    fn metered(&self) -> Millis {
        Millis(u64::try_from(self.metered.as_millis()).unwrap_or(u64::MAX))
    }

    fn part_statuses(&self) -> Vec<PartStatus> {
        self.parts
            .iter()
            .map(|(key, part)| PartStatus {
                part: key.part,
                attempt: key.attempt,
                state: part.state.clone(),
            })
            .collect()
    }

    fn status(&self) -> LeaseStatus {
        let gone = self.end.is_some();
        LeaseStatus {
            lease: self.spec.lease,
            version: *self.version.borrow(),
            metered: self.metered(),
            work: self.work,
            parts: self.part_statuses(),
            disk_used: ByteSize(self.parts.values().map(|part| part.process.disk_used()).sum()),
            memory_peak: ByteSize(1 << 20),
            shim: (!gone).then_some(self.shim),
        }
    }

    fn usage(&self) -> FinalUsage {
        FinalUsage {
            lease: self.spec.lease,
            metered: self.metered(),
            parts: self.part_statuses(),
            end: self.end.unwrap_or(LeaseEnd::Destroyed),
        }
    }
}

/// The end of a part that stood, and whose program was never executed.
fn never_went() -> PartState {
    PartState::NotStarted {
        errno: 0,
        message: "starting the container: its first process was killed".to_owned(),
    }
}

fn exited(outcome: Outcome, ended_by: EndedBy) -> PartState {
    PartState::Exited {
        code: outcome.code,
        signal: outcome.signal,
        out_of_memory: outcome.out_of_memory,
        ended_by,
    }
}

fn fault(lease: LeaseId, attempted: &str, errno: i32) -> RuntimeCallError {
    RuntimeCallError::Fault {
        lease,
        source: ShimFault {
            attempted: attempted.to_owned(),
            cause: io::Error::from_raw_os_error(errno).to_string(),
            errno,
        },
    }
}

impl World {
    fn identity(&mut self) -> ProcessIdentity {
        self.next_pid += 1;
        ProcessIdentity {
            pid: 100_000 + self.next_pid,
            start_ticks: u64::from(self.next_pid),
        }
    }
}

#[async_trait]
impl Runtime for RuntimeDouble {
    async fn create_lease(&self, spec: LeaseSpec) -> Result<(), CreateLeaseError> {
        let lease = spec.lease;
        let reserved = |path: &std::path::Path| {
            ["/proc", "/sys", "/dev", "/out", "/tmp"]
                .iter()
                .any(|name| path.starts_with(name))
        };
        if let Some(input) = spec.inputs.iter().find(|input| reserved(&input.target)) {
            let what = format!("the input target {}", input.target.display());
            return Err(CreateLeaseError::BadSpec { lease, what });
        }
        let mut world = self.world();
        match world.leases.get(&lease) {
            Some(known) if known.spec != spec => return Err(CreateLeaseError::Conflict { lease }),
            Some(known) if known.end.is_some() => return Err(CreateLeaseError::Over { lease }),
            Some(_) => return Ok(()),
            None => {}
        }
        let now = Instant::now();
        let shim = world.identity();
        // The lease owns the task and ends it when it is dropped.
        let keeper = tokio::spawn(keep(Arc::clone(&self.world), lease));
        let made = Lease {
            spec,
            parts: BTreeMap::new(),
            version: watch::Sender::new(1),
            renewed: now,
            looked: now,
            metered: Duration::ZERO,
            work: Work::Idle,
            end: None,
            shim,
            keeper,
        };
        world.leases.insert(lease, made);
        Ok(())
    }

    async fn start_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        self.begin_part(lease, part, false)
    }

    async fn stand_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        self.begin_part(lease, part, true)
    }

    async fn go_part(&self, lease: LeaseId, part: PartKey) -> Result<PartState, StartPartError> {
        let call = |source| StartPartError::Call {
            lease,
            part,
            source: Box::new(source),
        };
        let process = self.world().identity();
        let gone = self.with_live(lease, |found| {
            let frozen = found.work == Work::Frozen;
            let Some(known) = found.parts.get_mut(&part) else {
                return Err(RuntimeCallError::UnknownPart { lease, part });
            };
            if known.state != PartState::Standing {
                return Ok(known.state.clone());
            }
            if frozen {
                let attempted = "letting a part of a frozen lease go";
                return Err(fault(lease, attempted, gpux_runtime::ERRNO_FROZEN));
            }
            match Process::exec(&found.spec.image, &known.spec) {
                Ok(simulated) => {
                    (known.state, known.process) = (PartState::Running { process }, simulated);
                    known.started_at = found.metered;
                    found.work = Work::Running;
                }
                Err((errno, message)) => known.state = PartState::NotStarted { errno, message },
            }
            let state = known.state.clone();
            found.changed();
            Ok(state)
        });
        gone.and_then(|gone| gone).map_err(call)
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.with_live(lease, |found| found.renewed = Instant::now())
    }

    async fn freeze(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.with_live(lease, |found| {
            if found.work != Work::Frozen {
                found.work = Work::Frozen;
                found.changed();
            }
        })
    }

    async fn thaw(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.with_live(lease, |found| {
            if found.work == Work::Frozen {
                let executed = found
                    .parts
                    .values()
                    .any(|part| !matches!(part.state, PartState::NotStarted { .. } | PartState::Standing));
                found.work = if executed { Work::Running } else { Work::Idle };
                found.changed();
            }
        })
    }

    async fn status(&self, lease: LeaseId) -> Result<LeaseStatus, RuntimeCallError> {
        self.with(lease, |found| {
            found.look(Instant::now());
            found.status()
        })
    }

    async fn wait_change(&self, lease: LeaseId, seen: u64) -> Result<LeaseStatus, RuntimeCallError> {
        let mut version = self.with(lease, |found| found.version.subscribe())?;
        // Time being up and the lease being forgotten both mean: answer with what is.
        let _ = tokio::time::timeout(WAIT, version.wait_for(|version| *version > seen)).await;
        self.status(lease).await
    }

    async fn stop_part(&self, lease: LeaseId, part: PartKey, grace: Millis) -> Result<(), RuntimeCallError> {
        self.with(lease, |found| {
            let kill_at = found.metered + duration(grace);
            let known = found
                .parts
                .get_mut(&part)
                .ok_or(RuntimeCallError::UnknownPart { lease, part })?;
            if known.state == PartState::Standing {
                known.state = never_went();
                found.changed();
            } else if known.stop.is_none() {
                known.stop = Some((EndedBy::Stop, kill_at));
                known.process.terminate();
            }
            Ok(())
        })?
    }

    async fn outputs(&self, lease: LeaseId, part: PartKey, glob: &str) -> Result<Vec<OutputFile>, RuntimeCallError> {
        self.with_live(lease, |_| ())?;
        self.with_part(lease, part, |found| found.process.outputs(glob))
    }

    async fn open_output(&self, lease: LeaseId, part: PartKey, path: &str) -> Result<File, RuntimeCallError> {
        self.with_live(lease, |_| ())?;
        let bytes = self
            .with_part(lease, part, |found| found.process.output(path))?
            .ok_or_else(|| fault(lease, path, 2))?;
        let written = tempfile::tempfile().and_then(|mut file| {
            file.write_all(&bytes)?;
            file.rewind()?;
            Ok(file)
        });
        written.map_err(|error| fault(lease, path, error.raw_os_error().unwrap_or(5)))
    }

    async fn logs(&self, lease: LeaseId, part: PartKey, offset: u64) -> Result<LogChunk, RuntimeCallError> {
        let limit = self.with(lease, |found| {
            found.look(Instant::now());
            found.spec.log_limit
        })?;
        self.with_part(lease, part, |found| {
            let log = found.process.log();
            let len = u64::try_from(log.len()).unwrap_or(u64::MAX);
            let start = offset.max(len.saturating_sub(limit.0)).min(len);
            let from = usize::try_from(start).unwrap_or(usize::MAX);
            let bytes: Vec<u8> = log.iter().skip(from).take(CHUNK).copied().collect();
            let next = start + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            LogChunk {
                bytes,
                start,
                next,
                ended: found.state.is_over() && next == len,
            }
        })
    }

    async fn destroy_lease(&self, lease: LeaseId) -> Result<FinalUsage, RuntimeCallError> {
        self.with(lease, |found| {
            if found.end.is_none() {
                found.look(Instant::now());
                found.kill(LeaseEnd::Destroyed);
            }
            found.usage()
        })
    }

    async fn forget_lease(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.world().leases.remove(&lease);
        Ok(())
    }

    async fn adopt(&self) -> Result<Vec<LeaseStatus>, AdoptError> {
        Ok(self.world().leases.values().map(Lease::status).collect())
    }
}

//! What one life of a daemon has of its node's containers: the test double of the kit, which outlives the daemon as shims do.
//!
//! A door: it lets nothing through from a daemon that has crashed, takes its time, and may lie about the meter to its own daemon,
//! as a cheating provider's does. The world reads the double itself.

use crate::{
    bug::Bug,
    chance::Chance,
    coverage::Reached,
    host::Nature,
    life::Life,
    trace::{Trace, trace},
};
use async_trait::async_trait;
use gpux_runtime::{
    AdoptError, CreateLeaseError, FinalUsage, LeaseEnd, LeaseSpec, LeaseStatus, LogChunk, OutputFile, PartKey,
    PartSpec, PartState, Runtime, RuntimeCallError, StartPartError, Work,
};
use gpux_testkit::runtime::RuntimeDouble;
use gpux_types::{LeaseId, Millis, PartIndex};
use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// The variables of a part's own value, which commands of a world may name.
const VALUES: [&str; 2] = ["GPUX_ARRAY_VALUE", "GPUX_NODE_RANK"];

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct SimRuntime {
    pub(crate) double: RuntimeDouble,
    pub(crate) life: Arc<Life>,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) seed: u64,
    pub(crate) nature: Nature,
    /// When each lease's ghosts began to work.
    pub(crate) ghosts: Mutex<BTreeMap<LeaseId, Instant>>,
}

impl SimRuntime {
    async fn pass(&self) {
        self.life.lives().await;
        tokio::time::sleep(self.chance.millis(1, 8)).await;
        self.life.lives().await;
    }

    async fn pass_slowly(&self) {
        self.pass().await;
        tokio::time::sleep(self.chance.millis(0, self.nature.slow + 1)).await;
        self.life.lives().await;
    }

    fn told(&self, metered: Millis) -> Millis {
        if self.nature.meter > 100 && metered > Millis::ZERO {
            self.trace.reach(Reached::MeterTooFast);
        }
        Millis(metered.0.saturating_mul(self.nature.meter) / 100)
    }

    fn status_told(&self, mut status: LeaseStatus) -> LeaseStatus {
        status.metered = self.told(status.metered);
        if self.nature.bug == Some(Bug::InflatedEnd) && status.shim.is_none() {
            status.metered = status.metered.saturating_add(Millis::from_secs(4));
        }
        if self.nature.bug == Some(Bug::SilentDeath) {
            status.parts.iter_mut().for_each(|part| pass_for_done(&mut part.state));
        }
        let ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(began) = ghosts.get(&status.lease).filter(|_| status.work == Work::Frozen) {
            self.trace.reach(Reached::FakedProgress);
            (status.metered, status.work) = (began.elapsed().into(), Work::Running);
        }
        status
    }

    /// A part as it runs: its own values in its words, and perhaps a misfortune.
    fn prepared(&self, lease: LeaseId, mut part: PartSpec) -> PartSpec {
        for (name, value) in part.env.iter().filter(|(name, _)| VALUES.contains(&name.as_str())) {
            for word in &mut part.argv {
                *word = word.replace(&format!("${name}"), value);
            }
        }
        self.meet_misfortune(lease, &mut part);
        part
    }

    /// Some tries of parts run out of memory or crash. Told again, the same try has the same end.
    fn meet_misfortune(&self, lease: LeaseId, part: &mut PartSpec) {
        let try_of = format!("the end of {lease} {}", part.key());
        let chance = Chance::new(self.seed, &try_of);
        if !chance.in_thousand(self.nature.misfortunes) {
            return;
        }
        let (verb, reached) = if chance.in_thousand(500) {
            ("eat", Reached::OutOfMemory)
        } else {
            ("crash", Reached::PartCrashed)
        };
        self.trace.reach(reached);
        trace!(
            self.trace,
            "containers: {} of {} is to {verb}",
            part.key(),
            lease.short()
        );
        let nap = chance.between(50, 4_000).to_string();
        // What it wrote until then is no result.
        let out = part.argv.iter().find(|word| word.starts_with("/out/")).cloned();
        let out = out.unwrap_or_default();
        let words = ["/probe", "then", "write", &out, "half", ";", "nap", &nap, ";", verb];
        part.argv = words.map(str::to_owned).to_vec();
    }

    /// Freezes what was just started, and lets it pass for work.
    async fn haunt(&self, lease: LeaseId) {
        let ghosts = self.ghosts.lock();
        ghosts
            .unwrap_or_else(PoisonError::into_inner)
            .entry(lease)
            .or_insert_with(Instant::now);
        // A lease that is over has no work to freeze.
        let _ = self.double.freeze(lease).await;
    }
}

/// A part that ran out of memory, told as one that did its work.
fn pass_for_done(state: &mut PartState) {
    if let PartState::Exited {
        code,
        signal,
        out_of_memory,
        ..
    } = state
        && *out_of_memory
    {
        (*code, *signal, *out_of_memory) = (0, None, false);
    }
}

#[async_trait]
impl Runtime for SimRuntime {
    async fn create_lease(&self, spec: LeaseSpec) -> Result<(), CreateLeaseError> {
        self.pass_slowly().await;
        let lease = spec.lease;
        let spawned = if self.nature.boasts {
            self.trace.reach(Reached::Boasted);
            Err(std::io::ErrorKind::OutOfMemory.into())
        } else {
            self.life.writes_file()
        };
        spawned.map_err(|source| CreateLeaseError::Spawn { lease, source })?;
        let made = self.double.create_lease(spec).await;
        if self.nature.bug == Some(Bug::EagerContainers) {
            let eager = PartSpec {
                part: PartIndex(0),
                attempt: 1_000,
                argv: ["/probe", "nap", "100000"].map(str::to_owned).to_vec(),
                env: Vec::new(),
                working_dir: None,
                max_duration: None,
            };
            // One that is there already works already.
            let _ = self.double.start_part(lease, eager).await;
        }
        made
    }

    async fn start_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        self.pass_slowly().await;
        let started = self.double.start_part(lease, self.prepared(lease, part)).await;
        if self.nature.ghost || self.nature.bug == Some(Bug::GhostWork) {
            self.haunt(lease).await;
        }
        started
    }

    async fn stand_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        self.pass_slowly().await;
        let part = self.prepared(lease, part);
        if self.nature.bug == Some(Bug::EagerRanks) {
            return self.double.start_part(lease, part).await;
        }
        self.double.stand_part(lease, part).await
    }

    async fn go_part(&self, lease: LeaseId, part: PartKey) -> Result<PartState, StartPartError> {
        self.pass().await;
        let gone = self.double.go_part(lease, part).await;
        if self.nature.ghost || self.nature.bug == Some(Bug::GhostWork) {
            self.haunt(lease).await;
        }
        gone
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.pass().await;
        self.double.renew(lease).await
    }

    async fn freeze(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.pass().await;
        if self.nature.bug == Some(Bug::NoFreeze) {
            return Ok(());
        }
        self.trace.reach(Reached::Frozen);
        self.double.freeze(lease).await
    }

    async fn thaw(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.pass().await;
        self.trace.reach(Reached::Thawed);
        self.double.thaw(lease).await
    }

    async fn status(&self, lease: LeaseId) -> Result<LeaseStatus, RuntimeCallError> {
        self.pass().await;
        self.double.status(lease).await.map(|status| self.status_told(status))
    }

    async fn wait_change(&self, lease: LeaseId, seen: u64) -> Result<LeaseStatus, RuntimeCallError> {
        self.pass().await;
        let status = self.double.wait_change(lease, seen).await;
        self.life.lives().await;
        status.map(|status| self.status_told(status))
    }

    async fn stop_part(&self, lease: LeaseId, part: PartKey, grace: Millis) -> Result<(), RuntimeCallError> {
        self.pass().await;
        self.double.stop_part(lease, part, grace).await
    }

    async fn outputs(&self, lease: LeaseId, part: PartKey, glob: &str) -> Result<Vec<OutputFile>, RuntimeCallError> {
        self.pass().await;
        self.double.outputs(lease, part, glob).await
    }

    async fn open_output(&self, lease: LeaseId, part: PartKey, path: &str) -> Result<File, RuntimeCallError> {
        self.pass().await;
        self.double.open_output(lease, part, path).await
    }

    async fn logs(&self, lease: LeaseId, part: PartKey, offset: u64) -> Result<LogChunk, RuntimeCallError> {
        self.pass().await;
        self.double.logs(lease, part, offset).await
    }

    async fn destroy_lease(&self, lease: LeaseId) -> Result<FinalUsage, RuntimeCallError> {
        self.pass_slowly().await;
        let usage = self.double.destroy_lease(lease).await;
        usage.map(|mut usage| {
            usage.metered = self.told(usage.metered);
            if self.nature.bug == Some(Bug::InflatedEnd) && usage.end == LeaseEnd::ShimLost {
                usage.metered = usage.metered.saturating_add(Millis::from_secs(4));
            }
            usage
        })
    }

    async fn forget_lease(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.pass().await;
        self.double.forget_lease(lease).await
    }

    async fn adopt(&self) -> Result<Vec<LeaseStatus>, AdoptError> {
        self.pass().await;
        let adopted = self.double.adopt().await?;
        Ok(adopted.into_iter().map(|status| self.status_told(status)).collect())
    }
}

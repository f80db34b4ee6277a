//! Runs a command of the app's image on this machine: its check before any money moves, and its last step over what came back.
//!
//! It uses the node's own runtime with the same isolation that a provider's containers have.

use crate::node::LocalRuntime;
use gpux_job::Command;
use gpux_runtime::{InputMount, LeaseSpec, PartKey, PartSpec, PartState, ResolvedImage, UnpackLimits};
use gpux_types::{ByteSize, Cpu, LeaseId, Millis, PartIndex, Resources};
use std::{collections::BTreeMap, path::PathBuf};

/// What marks the id of a run on this machine: no lease of the market has it.
const LOCAL_MARK: &[u8; 16] = b"gpux/1 local run";
/// The longest that a run may take. An app's check or last step that is longer belongs on a node.
const LIMIT: Millis = Millis::from_secs(900);
/// The most of its output that is kept.
const LOG_LIMIT: ByteSize = ByteSize(1 << 20);
/// What one run may use.
const RESOURCES: Resources = Resources {
    cpu: Cpu::cores(2),
    memory: ByteSize(4 << 30),
    disk: ByteSize(8 << 30),
};

/// Whether an id is that of a run on this machine.
pub(crate) fn is_local_run(lease: &LeaseId) -> bool {
    lease.as_bytes().starts_with(LOCAL_MARK)
}

/// What to run, with what.
pub(super) struct LocalRun<'a> {
    pub(super) image: &'a ResolvedImage,
    pub(super) command: &'a Command,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) inputs: Vec<InputMount>,
    /// Where what it writes below `/out` goes, if it is wanted.
    pub(super) output: Option<PathBuf>,
}

/// How it ended.
pub(super) struct LocalEnd {
    pub(super) exit_code: i32,
    pub(super) log: String,
}

/// A run that could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalRunError {
    #[error("unpacking the image")]
    Unpack(#[from] gpux_runtime::UnpackError),
    #[error("making the container")]
    Create(#[from] gpux_runtime::CreateLeaseError),
    #[error("starting the command")]
    Start(#[from] gpux_runtime::StartPartError),
    #[error("starting the command: {0}")]
    NotStarted(String),
    #[error("following the command")]
    Follow(#[from] gpux_runtime::RuntimeCallError),
    #[error("writing {path}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("running the command: it took longer than {LIMIT}")]
    TooLong,
}

/// Runs it and removes every trace.
pub(super) async fn run(local: &LocalRuntime, run: LocalRun<'_>) -> Result<LocalEnd, LocalRunError> {
    let mut id = [0; 32];
    let random: [u8; 16] = rand::random();
    id.iter_mut()
        .zip(LOCAL_MARK.iter().chain(&random))
        .for_each(|(to, from)| *to = *from);
    let lease = LeaseId(id);
    let result = tokio::time::timeout(LIMIT.into(), run_under(local, lease, run)).await;
    if let Err(error) = local.runtime.forget_lease(lease).await {
        tracing::warn!(error = %crate::error_chain(&error), "removing a local run");
    }
    result.unwrap_or(Err(LocalRunError::TooLong))
}

async fn run_under(local: &LocalRuntime, lease: LeaseId, run: LocalRun<'_>) -> Result<LocalEnd, LocalRunError> {
    let mut hold = local.layers.hold();
    let mut layers = Vec::with_capacity(run.image.layers.len());
    for layer in &run.image.layers {
        let blob = run.image.layer_path(layer);
        layers.push(hold.ensure_unpacked(&blob, layer, &UnpackLimits::default()).await?);
    }
    layers.reverse();
    let spec = LeaseSpec {
        lease,
        resources: RESOURCES,
        layers,
        image: run.image.config.clone(),
        inputs: run.inputs,
        log_limit: LOG_LIMIT,
        // The run has its own limit; the dead-man switch ends what a killed daemon leaves.
        renew_within: LIMIT,
        hold: Millis::from_secs(1),
    };
    local.runtime.create_lease(spec).await?;
    // The runtime's record keeps them from here on.
    drop(hold);
    let own = run.image.layers.iter().map(|layer| layer.digest).collect();
    if let Err(error) = local.layers.note_earned(own).await {
        tracing::warn!(error = %crate::error_chain(&error), "noting which layers to keep");
    }
    let part = PartSpec {
        part: PartIndex(0),
        attempt: 1,
        argv: run.command.argv(&run.image.config.entrypoint),
        env: run
            .environment
            .into_iter()
            .chain([("GPUX_CPUS".to_owned(), RESOURCES.cpu.to_string())])
            .collect(),
        working_dir: None,
        max_duration: None,
    };
    let key = part.key();
    let exit_code = wait(local, lease, local.runtime.start_part(lease, part).await?).await?;
    let log = log(local, lease, key).await?;
    if let Some(output) = run.output.filter(|_| exit_code == 0) {
        collect(local, lease, key, output).await?;
    }
    Ok(LocalEnd { exit_code, log })
}

async fn wait(local: &LocalRuntime, lease: LeaseId, first: PartState) -> Result<i32, LocalRunError> {
    let (mut state, mut seen) = (first, 0);
    loop {
        match state {
            PartState::Exited { code, .. } => return Ok(code),
            PartState::NotStarted { message, .. } => return Err(LocalRunError::NotStarted(message)),
            PartState::Lost => return Err(LocalRunError::NotStarted("its supervisor was killed".to_owned())),
            PartState::Starting | PartState::Standing | PartState::Running { .. } => {}
        }
        let status = local.runtime.wait_change(lease, seen).await?;
        seen = status.version;
        state = status
            .parts
            .into_iter()
            .next()
            .map_or(PartState::Lost, |part| part.state);
    }
}

async fn log(local: &LocalRuntime, lease: LeaseId, key: PartKey) -> Result<String, LocalRunError> {
    let (mut bytes, mut offset) = (Vec::new(), 0);
    loop {
        let chunk = local.runtime.logs(lease, key, offset).await?;
        if chunk.next <= offset || bytes.len() >= 1 << 20 {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend_from_slice(&chunk.bytes);
        offset = chunk.next;
    }
}

async fn collect(local: &LocalRuntime, lease: LeaseId, key: PartKey, output: PathBuf) -> Result<(), LocalRunError> {
    for file in local.runtime.outputs(lease, key, "/out/**").await? {
        let Some(name) = file.path.strip_prefix("/out/").and_then(super::outputs::safe_name) else {
            continue;
        };
        let path = output.join(name);
        let mut source = local.runtime.open_output(lease, key, &file.path).await?;
        let (folder, target) = (output.clone(), path.clone());
        let written = tokio::task::spawn_blocking(move || super::outputs::write(&folder, &target, &mut source)).await;
        written
            .map_err(std::io::Error::other)
            .and_then(|result| result)
            .map_err(|source| LocalRunError::Write { path, source })?;
    }
    Ok(())
}

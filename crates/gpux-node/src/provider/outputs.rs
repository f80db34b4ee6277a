//! Performs the steps of parts: starts them, keeps what they wrote, tells the renter.

use super::{
    inputs,
    lease::LeaseInput,
    parts::{Step, Told, failed},
};
use crate::node::Node;
use gpux_job::OUT;
use gpux_net::{AddMode, Keeper};
use gpux_proto::{BlobSpec, JobSpec, LeaseRequest, MAX_OUTPUTS, OutputSpec, PartReport, Request};
use gpux_runtime::{PartKey, PartState, Runtime, StartPartError};
use gpux_types::{ByteSize, Cpu, LeaseId, Millis, NodeId};
use std::{sync::Arc, time::Duration};

/// How long the renter may still fetch outputs of a lease that is over.
const OUTPUTS_KEPT: Duration = Duration::from_secs(600);
/// How long to wait before the renter is told again.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// How soon a part is started again that a frozen lease did not take.
const START_AGAIN: Duration = Duration::from_millis(50);
/// How long a part that is not wanted any more has to end by itself.
const STOP_GRACE: Millis = Millis::from_secs(2);

/// An output that cannot be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("listing the outputs")]
    List(#[source] gpux_runtime::RuntimeCallError),
    #[error("opening an output")]
    Open(#[source] gpux_runtime::RuntimeCallError),
    #[error("copying an output")]
    Copy(#[source] std::io::Error),
    #[error("keeping an output")]
    Store(#[from] gpux_net::StoreError),
    #[error("listing the outputs: there are {0}, over the limit of {MAX_OUTPUTS}")]
    TooMany(usize),
}

/// Does one step and says what came of it.
pub(super) async fn perform(node: &Node, lease: LeaseId, request: &LeaseRequest, step: Step) -> LeaseInput {
    let (renter, job) = (request.request.renter_node, &request.job);
    match step {
        Step::Start(spec) => {
            let spec = runtime_spec(lease, request.request.resources.cpu, job, &spec);
            let key = spec.key();
            on_start(node, lease, key, |runtime| async move {
                runtime.start_part(lease, spec).await
            })
            .await
        }
        Step::Stand(spec) => {
            let spec = runtime_spec(lease, request.request.resources.cpu, job, &spec);
            let key = spec.key();
            on_start(node, lease, key, |runtime| async move {
                runtime.stand_part(lease, spec).await
            })
            .await
        }
        Step::Go(key) => {
            on_start(
                node,
                lease,
                key,
                |runtime| async move { runtime.go_part(lease, key).await },
            )
            .await
        }
        Step::Stop(key) => LeaseInput::PartStopped(key, stop(node, lease, key).await),
        Step::Collect(key, state) => LeaseInput::PartCollected(report(node, lease, request, key, &state).await),
        Step::TellStanding(key) => tell_standing(node, renter, lease, key).await,
        Step::TellStarted(key) => {
            let report = PartReport::Started {
                lease,
                part: key.part,
                attempt: key.attempt,
            };
            // The meter reports say the same a moment later: one try is enough.
            let _ = node.net.call(renter, &Request::PartReport(report)).await;
            LeaseInput::PartTold(key, Told::Start)
        }
        Step::TellEnd(key, report) => match node.net.call(renter, &Request::PartReport(report)).await {
            Ok(_) => LeaseInput::PartTold(key, Told::End),
            Err(error) => {
                tracing::debug!(lease = %lease.short(), part = %key, error = %crate::error_chain(&error), "telling the end of a part");
                tokio::time::sleep(TELL_AGAIN).await;
                LeaseInput::PartTold(key, Told::Nothing)
            }
        },
    }
}

/// Tells the renter that a rank stands.
async fn tell_standing(node: &Node, renter: NodeId, lease: LeaseId, key: PartKey) -> LeaseInput {
    let report = PartReport::Standing {
        lease,
        part: key.part,
        attempt: key.attempt,
    };
    match node.net.call(renter, &Request::PartReport(report)).await {
        Ok(_) => LeaseInput::PartTold(key, Told::Stands),
        Err(error) => {
            tracing::debug!(lease = %lease.short(), part = %key, error = %crate::error_chain(&error), "telling that a rank stands");
            tokio::time::sleep(TELL_AGAIN).await;
            LeaseInput::PartTold(key, Told::Nothing)
        }
    }
}

/// Asks a part to end; false when it has to be asked again.
async fn stop(node: &Node, lease: LeaseId, key: PartKey) -> bool {
    let Some(local) = &node.local else { return true };
    match local.runtime.stop_part(lease, key, STOP_GRACE).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(lease = %lease.short(), part = %key, error = %crate::error_chain(&error), "ending a part");
            tokio::time::sleep(TELL_AGAIN).await;
            false
        }
    }
}

/// A part as the runtime is told of it.
fn runtime_spec(lease: LeaseId, cpus: Cpu, job: &JobSpec, part: &gpux_proto::PartSpec) -> gpux_runtime::PartSpec {
    let mut env = job.command.environment.clone();
    env.extend(part.environment.iter().cloned());
    env.push(("GPUX_LEASE_ID".to_owned(), format!("0x{lease}")));
    env.push(("GPUX_CPUS".to_owned(), cpus.to_string()));
    gpux_runtime::PartSpec {
        part: part.part,
        attempt: part.attempt,
        argv: job.command.argv.clone(),
        env,
        working_dir: None,
        max_duration: job.part_limit,
    }
}

/// Asks the runtime for what starts a part, wholly or in steps.
async fn on_start<F, C>(node: &Node, lease: LeaseId, key: PartKey, ask: F) -> LeaseInput
where
    F: FnOnce(Arc<dyn Runtime>) -> C,
    C: Future<Output = Result<PartState, StartPartError>>,
{
    let Some(local) = &node.local else {
        return LeaseInput::Done;
    };
    match ask(local.runtime.clone()).await {
        Ok(state) => LeaseInput::PartStarted(key, state),
        Err(error) if error.is_frozen() => {
            tokio::time::sleep(START_AGAIN).await;
            LeaseInput::PartPutOff(key)
        }
        Err(error) => {
            let message = crate::error_chain(&error);
            tracing::warn!(lease = %lease.short(), part = %key, %message, "starting a part");
            LeaseInput::PartStarted(key, PartState::NotStarted { errno: 0, message })
        }
    }
}

async fn report(node: &Node, lease: LeaseId, request: &LeaseRequest, key: PartKey, state: &PartState) -> PartReport {
    match state {
        PartState::Exited {
            code, out_of_memory, ..
        } => match keep(node, lease, request, key).await {
            Ok(outputs) => PartReport::Ended {
                lease,
                part: key.part,
                attempt: key.attempt,
                exit_code: *code,
                out_of_memory: *out_of_memory,
                outputs,
            },
            Err(error) => {
                tracing::warn!(lease = %lease.short(), part = %key, error = %crate::error_chain(&error), "keeping outputs");
                failed(lease, key, false, "its outputs could not be kept".to_owned())
            }
        },
        // An error number means that the kernel refused the job's own program.
        PartState::NotStarted { errno, message } => failed(lease, key, *errno != 0, message.clone()),
        PartState::Lost | PartState::Starting | PartState::Standing | PartState::Running { .. } => {
            failed(lease, key, false, "the node lost it".to_owned())
        }
    }
}

/// Puts what a part wrote into the blob store and lets the renter fetch it.
async fn keep(node: &Node, lease: LeaseId, request: &LeaseRequest, key: PartKey) -> Result<Vec<OutputSpec>, KeepError> {
    let (renter, job) = (request.request.renter_node, &request.job);
    let Some(local) = &node.local else {
        return Ok(Vec::new());
    };
    if job.collect.is_empty() {
        return Ok(Vec::new());
    }
    let files = local
        .runtime
        .outputs(lease, key, &job.collect)
        .await
        .map_err(KeepError::List)?;
    if files.len() > MAX_OUTPUTS {
        return Err(KeepError::TooMany(files.len()));
    }
    let mut outputs = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let Some(path) = file
            .path
            .strip_prefix(OUT)
            .and_then(|path| path.strip_prefix('/'))
            .map(str::to_owned)
        else {
            continue;
        };
        let mut source = local
            .runtime
            .open_output(lease, key, &file.path)
            .await
            .map_err(KeepError::Open)?;
        let copy = node
            .dir
            .scratch(&lease.to_string())
            .join(format!("output-{key}-{index}"));
        let target = copy.clone();
        crate::blocking(move || std::io::copy(&mut source, &mut std::fs::File::create(&target)?))
            .await
            .map_err(KeepError::Copy)?;
        let blob = node.net.add_file(&copy, AddMode::Copy, Keeper::Lease(lease)).await?;
        std::fs::remove_file(&copy).map_err(KeepError::Copy)?;
        outputs.push(OutputSpec {
            path,
            blob: BlobSpec {
                hash: blob.hash,
                size: ByteSize(blob.size),
            },
        });
    }
    let blobs = outputs.iter().map(|output| output.blob.hash).collect();
    node.net.allow(lease, renter, blobs);
    Ok(outputs)
}

/// Removes what is left of a lease that is over, once the renter had time to fetch its outputs.
pub(super) async fn clean_up(node: &Node, lease: LeaseId, request: &LeaseRequest) {
    tokio::select! {
        biased;
        // What a stopping daemon leaves is removed by the next one.
        () = node.cancel.cancelled() => return,
        () = tokio::time::sleep(OUTPUTS_KEPT) => {}
    }
    // What found no room when the work ended, since what went for it was not deleted yet, may find it now.
    inputs::keep(node, request).await;
    remove(node, lease).await;
}

/// Removes what is left of a lease whose work is gone. Done again, it changes nothing.
pub(super) async fn remove(node: &Node, lease: LeaseId) {
    node.net.revoke(lease);
    if let Err(error) = node.net.release(Keeper::Lease(lease)).await {
        tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "releasing a lease's blobs");
    }
    if let Some(local) = &node.local
        && let Err(error) = local.runtime.forget_lease(lease).await
    {
        tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "removing a lease's files");
    }
    // Missing files are what is wanted.
    let _ = std::fs::remove_dir_all(node.dir.scratch(&lease.to_string()));
}

//! How a job ends: its last step, its failures, its leases' ends.

use super::{JobInput, JobTask, Live};
use crate::renter::{image, local, pieces::PieceEvent, record::Finishing, view};
use gpux_api::{Actor, EndView};
use gpux_lease::{RenterEvent, RenterState};
use gpux_runtime::InputMount;
use std::path::PathBuf;
use tokio::sync::oneshot;

/// Why a job's last step did not do its work.
#[derive(Debug)]
pub(in crate::renter) struct LastStepFailure {
    why: String,
    /// How its command ended, where it ran.
    exit_code: Option<i32>,
}

impl From<String> for LastStepFailure {
    fn from(why: String) -> Self {
        Self { why, exit_code: None }
    }
}

impl JobTask {
    /// The job is to end for this reason; the first reason counts.
    pub(super) fn end_job(&mut self, end: EndView) {
        if self.record.end.is_none() {
            tracing::warn!(job = %self.record.name, reason = %end.reason, "the job ends");
            self.record.end = Some(end);
            self.record.finishing = Finishing::Done;
            self.keep_job();
        }
        self.piece_event(PieceEvent::JobEnded);
        self.every_lease(RenterEvent::StopRequested);
    }

    pub(super) fn stop_asked(&mut self, reason: String, reply: oneshot::Sender<()>) {
        if !self.record.over && self.record.end.is_none() {
            self.record.stopped = true;
            self.end_job(EndView {
                reason,
                actor: Actor::Renter,
                exit_code: None,
            });
        }
        // A command that went away wants no answer.
        let _ = reply.send(());
    }

    /// Runs the job's last step over what came back, when there is one and this machine can.
    pub(super) fn start_last_step(&mut self) {
        let Some(command) = self.record.job.then.clone() else {
            self.record.finishing = Finishing::Done;
            self.keep_job();
            return;
        };
        let Some(runtime) = self.node.local.clone() else {
            tracing::warn!(job = %self.record.name, "the last step is skipped: this machine cannot run containers");
            self.record.finishing = Finishing::Done;
            self.keep_job();
            return;
        };
        self.record.finishing = Finishing::Running;
        self.keep_job();
        let (node, job, id) = (self.node.clone(), self.record.job.clone(), self.record.id);
        let (output, known) = (self.record.output.clone(), self.image.take());
        self.effects.spawn(async move {
            let image = match known {
                Some(image) => Ok(image),
                None => image::resolve(&node, &job.image).await.map_err(|error| error.message),
            };
            JobInput::LastStepEnded(match image {
                Ok(image) => {
                    let collected = InputMount {
                        source: output.clone(),
                        target: PathBuf::from("/collected"),
                    };
                    let run = local::LocalRun {
                        image: &image,
                        command: &command,
                        environment: job.environment(Some(id)),
                        inputs: image::mounts(&job).chain([collected]).collect(),
                        output: Some(output),
                    };
                    match local::run(&runtime, run).await {
                        Ok(end) if end.exit_code == 0 => Ok(()),
                        Ok(end) => Err(LastStepFailure {
                            why: format!("it ended with {}: {}", end.exit_code, last_line(&end.log)),
                            exit_code: Some(end.exit_code),
                        }),
                        Err(error) => Err(crate::error_chain(&error).into()),
                    }
                }
                Err(why) => Err(why.into()),
            })
        });
    }

    pub(super) fn last_step_ended(&mut self, result: Result<(), LastStepFailure>) {
        self.record.finishing = Finishing::Done;
        if let Err(failure) = result {
            self.end_job(EndView {
                reason: format!("the last step failed: {}", failure.why),
                actor: Actor::Renter,
                exit_code: failure.exit_code,
            });
        }
        self.keep_job();
    }

    /// Notices when everything that people wait for is done.
    pub(super) fn settle_state(&mut self) {
        let parts_over = self.record.finishing == Finishing::Done;
        if self.record.over || !parts_over {
            return;
        }
        // A node that vanished is waited for until expiry and grace: nobody should have to watch that.
        // So is a deposit that was refused and may still turn up.
        let quiet = |state| {
            matches!(
                state,
                RenterState::Lost { .. } | RenterState::Unfunded { .. } | RenterState::Reclaimable { .. }
            )
        };
        let given_up = |end: gpux_lease::End| end.reason == gpux_lease::EndReason::NodeUnreachable;
        let now = self.node.clock.now();
        let silent = |live: &Live| {
            let machine = &live.record.machine;
            let ending = matches!(machine.state(), RenterState::Ending { .. });
            ending && now.saturating_sub(machine.heard()) >= machine.config().unreachable_after
        };
        let done = self.leases.values().all(|live| {
            let machine = &live.record.machine;
            // Nobody has to wait until a settlement lies deep; the machine watches it until it does.
            ((live.record.is_over() || live.closed) && !live.wants_final_reading())
                || quiet(machine.state())
                || machine.end().is_some_and(given_up)
                || silent(live)
        });
        if done {
            self.record.over = true;
            self.explain_end();
            let leases: Vec<gpux_types::LeaseId> = self.leases.keys().copied().collect();
            for lease in leases {
                self.keep_lease(lease);
            }
            self.record.ended_at = Some(self.node.clock.date());
            self.keep_job();
            tracing::info!(job = %self.record.name, end = ?self.record.end, "job over");
        }
    }

    /// Adds to a job that ended for want of nodes why each of its leases ended.
    fn explain_end(&mut self) {
        let ends = self.leases.values().filter_map(|live| {
            let end = view::known_end(&live.record, live.report.as_ref())?;
            Some(format!("node {}: {end}", live.record.node.short()))
        });
        let ends: Vec<String> = ends.collect();
        if let Some(end) = self.record.end.as_mut().filter(|end| end.actor == Actor::Provider) {
            end.reason = format!("{} ({})", end.reason, ends.join("; "));
        }
    }

    /// Whether nothing of the job holds money any more.
    pub(super) fn is_over(&self) -> bool {
        self.record.over && self.leases.values().all(|live| live.record.is_over())
    }

    pub(super) fn finish(&mut self) {
        self.record_ends();
        self.keep_job();
        self.tell();
        for lease in self.leases.keys() {
            self.node.net.revoke(*lease);
        }
        let (node, id) = (self.node.clone(), self.record.id);
        self.node.tasks.spawn(async move {
            if let Err(error) = node.net.release(gpux_net::Keeper::Job(id)).await {
                tracing::warn!(error = %crate::error_chain(&error), "releasing a job's blobs");
            }
        });
    }
}

fn last_line(log: &str) -> String {
    let line = log
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    gpux_types::shown(line, 300)
}

//! What `gpux run --json` prints: one event a line, for programs that follow a job.

use crate::{
    cost::CostView,
    job::{JobState, JobView, LeaseView, LogLine, OutputView, PartsView},
    market::PlanView,
};
use gpux_types::{JobId, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of a followed run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunEvent {
    /// `gpux.run-event/v1`. Readers skip events and fields that they do not know.
    #[schemars(extend("const" = "gpux.run-event/v1"))]
    pub schema: String,
    /// What happened.
    #[serde(flatten)]
    pub what: RunEventKind,
}

/// What happened. Each value is told when it is first known and whenever it changes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEventKind {
    /// What would run where, and for how much at most. Always the first; nothing is spent yet.
    Plan {
        /// The plan.
        plan: Box<PlanView>,
    },
    /// The job was accepted; deposits are on their way.
    Accepted {
        /// The job, as it begins.
        job: Box<JobView>,
    },
    /// The job is in another state.
    State {
        /// Since the job was accepted.
        elapsed: Millis,
        /// The new state.
        state: JobState,
    },
    /// Something about one lease changed.
    Lease {
        /// Since the job was accepted.
        elapsed: Millis,
        /// The lease, whole.
        lease: Box<LeaseView>,
    },
    /// A file is on this machine's disk.
    Output {
        /// Since the job was accepted.
        elapsed: Millis,
        /// The file; its path is below the job's output folder.
        output: OutputView,
    },
    /// Results that are ready wait for this machine, or wait no more.
    Waits {
        /// Since the job was accepted.
        elapsed: Millis,
        /// What they wait for; absent: for nothing.
        waits: Option<String>,
    },
    /// Other numbers of parts are waiting, running or done.
    Parts {
        /// Since the job was accepted.
        elapsed: Millis,
        /// The numbers.
        parts: PartsView,
    },
    /// A process of the job wrote a line: all of them with `--logs`, else the last ones of a part that failed.
    Log {
        /// The line.
        line: LogLine,
    },
    /// This command was interrupted and stops to follow; the job goes on. The last event then.
    Detached {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
    },
    /// The job is over. The last event.
    Ended {
        /// The job, whole.
        job: Box<JobView>,
        /// Its bill, read from the chain.
        cost: Box<CostView>,
    },
}

impl From<RunEventKind> for RunEvent {
    fn from(what: RunEventKind) -> Self {
        Self {
            schema: "gpux.run-event/v1".to_owned(),
            what,
        }
    }
}

//! How a job goes on, for programs: what changed between two views of it. Decides nothing and prints nothing.

use gpux_api::{JobState, JobView, LeaseView, PartsView, RunEventKind};
use gpux_types::LeaseId;
use std::collections::HashMap;

/// What was told last.
#[derive(Debug)]
pub(crate) struct Events {
    state: JobState,
    leases: HashMap<LeaseId, LeaseView>,
    parts: PartsView,
    outputs: usize,
    waits: Option<String>,
}

impl Events {
    /// Begins after a view that was told whole.
    pub(crate) fn after(job: &JobView) -> Self {
        Self {
            state: job.state,
            leases: job.leases.iter().map(|lease| (lease.id, lease.clone())).collect(),
            parts: job.parts,
            outputs: job.outputs.len(),
            waits: job.waits.clone(),
        }
    }

    /// What is new in this view.
    pub(crate) fn changes(&mut self, job: &JobView) -> Vec<RunEventKind> {
        let elapsed = job.elapsed;
        let mut events = Vec::new();
        if self.state != job.state {
            self.state = job.state;
            let state = job.state;
            events.push(RunEventKind::State { elapsed, state });
        }
        for lease in &job.leases {
            if self.leases.get(&lease.id) != Some(lease) {
                self.leases.insert(lease.id, lease.clone());
                let lease = Box::new(lease.clone());
                events.push(RunEventKind::Lease { elapsed, lease });
            }
        }
        // Outputs are only ever added.
        for output in job.outputs.iter().skip(self.outputs) {
            let output = output.clone();
            events.push(RunEventKind::Output { elapsed, output });
        }
        self.outputs = self.outputs.max(job.outputs.len());
        if self.waits != job.waits {
            self.waits.clone_from(&job.waits);
            let waits = job.waits.clone();
            events.push(RunEventKind::Waits { elapsed, waits });
        }
        if self.parts != job.parts {
            self.parts = job.parts;
            let parts = job.parts;
            events.push(RunEventKind::Parts { elapsed, parts });
        }
        events
    }
}

//! The steps of a job as a checklist: what is done, since when, and what is under way. Decides nothing and prints nothing.

use super::clock;
use gpux_api::{JobState, JobView, LeaseState};
use gpux_types::Millis;

/// The steps in their order.
const STEPS: [&str; 5] = ["firm prices", "deposits", "image and inputs", "parts", "settlements"];

/// Which steps were done when, as far as it was seen.
#[derive(Debug, Default)]
pub(super) struct Checklist {
    done: [Option<Millis>; STEPS.len()],
}

impl Checklist {
    /// One line for each step.
    pub(super) fn lines(&mut self, job: &JobView) -> [String; STEPS.len()] {
        let counts = counts(job);
        let mut lines: [String; STEPS.len()] = Default::default();
        let mut under_way = false;
        for (((line, name), (done, of)), since) in lines.iter_mut().zip(STEPS).zip(counts).zip(&mut self.done) {
            let is_done = of > 0 && done >= of;
            if is_done {
                since.get_or_insert(job.elapsed);
            } else {
                *since = None;
            }
            let mark = match (is_done, under_way || job.state.is_over()) {
                (true, _) => '✓',
                (false, false) => '▸',
                (false, true) => '·',
            };
            under_way |= !is_done;
            let at = since.map_or_else(String::new, |at| format!("  {}", clock(at)));
            *line = format!("  {mark} {name:<16} {done}/{of}{at}");
        }
        lines
    }
}

/// How many of how many of each step are done.
fn counts(job: &JobView) -> [(usize, usize); STEPS.len()] {
    use LeaseState as S;
    let nodes = job.leases.len();
    // A lease that never held money has passed nothing.
    let past = |steps: &[S]| {
        let leases = job.leases.iter();
        leases
            .filter(|lease| lease.state != S::Failed && !steps.contains(&lease.state))
            .count()
    };
    let quoted = if job.state == JobState::Quoting { 0 } else { nodes };
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let over = job
        .leases
        .iter()
        .filter(|lease| matches!(lease.state, S::Settled | S::Reclaimed | S::Failed));
    [
        (quoted, nodes),
        (past(&[S::Opening]), nodes),
        (past(&[S::Opening, S::Preparing]), nodes),
        (size(job.parts.done), size(job.parts.total)),
        (over.count(), nodes),
    ]
}

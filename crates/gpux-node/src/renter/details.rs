//! What is known of a job beside how it stands: when it ends by itself, and which parts had to be tried again. Called by the API.

use super::{JobHandle, trouble::Trouble};
use gpux_api::{JobDetails, RetriedPart};

/// How many parts that were tried again are named. The others are counted.
const NAMED: usize = 1_000;

/// All that this machine knows of a job without asking anybody.
pub(crate) fn details(job: &JobHandle) -> JobDetails {
    let view = job.view();
    let tries = job.tries();
    let tries = tries.borrow();
    let again = || tries.iter().filter(|(_, newest)| newest.attempt > 0 || newest.failed);
    let retried = again().take(NAMED).map(|(part, newest)| RetriedPart {
        part: *part,
        values: job.values_of(*part),
        tries: newest.attempt.saturating_add(1),
        lease: newest.lease,
        node: newest.node,
        failed: newest.failed,
        why: newest.why.map(Trouble::view),
    });
    JobDetails {
        schema: "gpux.job-details/v1".into(),
        retried: retried.collect(),
        retried_in_all: u32::try_from(again().count()).unwrap_or(u32::MAX),
        ends_by_itself: if view.state.is_over() {
            None
        } else {
            view.leases.iter().map(|lease| lease.expiry).max()
        },
        job: view,
    }
}

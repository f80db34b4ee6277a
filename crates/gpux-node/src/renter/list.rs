//! The renter's jobs as lists: all of them, or a page for whoever asks over the local API. It reads and changes nothing.

use super::{JobHandle, Renter};
use crate::page::{self, Page};
use gpux_api::{ErrorBody, JobList, JobView};
use gpux_types::JobId;

/// How many results a page of jobs has, after which it ends with the job that it is at.
const RESULTS_OF_A_PAGE: usize = 10_000;

impl Renter {
    /// All jobs, the newest first.
    pub(crate) fn list(&self) -> JobList {
        let registry = self.lock();
        let jobs = registry
            .order
            .iter()
            .rev()
            .filter_map(|id| registry.jobs.get(id))
            .map(JobHandle::view)
            .collect();
        JobList {
            schema: "gpux.jobs/v1".into(),
            jobs,
            next: None,
        }
    }

    /// A page of the jobs, the newest first.
    ///
    /// # Errors
    /// When no page of jobs names the place that it is to begin after.
    pub(crate) fn page(&self, page: &Page, going_on: bool) -> Result<JobList, ErrorBody> {
        let after: Option<JobId> = page.place(|text| text.parse().ok())?;
        let registry = self.lock();
        // No job goes away, so that the one where the last page ended is there.
        let end = match after {
            Some(after) => registry
                .order
                .iter()
                .position(|id| *id == after)
                .ok_or_else(page::unknown)?,
            None => registry.order.len(),
        };
        let older = registry.order.iter().take(end).rev();
        let handles = older.filter_map(|id| registry.jobs.get(id));
        let mut wanted = handles.filter(|handle| !(going_on && handle.view.borrow().state.is_over()));
        let (mut jobs, mut outputs) = (Vec::new(), 0_usize);
        while jobs.len() < page.limit() && outputs < RESULTS_OF_A_PAGE {
            let Some(handle) = wanted.next() else { break };
            let view = handle.view();
            outputs = outputs.saturating_add(view.outputs.len());
            jobs.push(view);
        }
        let more = wanted.next().is_some();
        let next = jobs.last().filter(|_| more).map(|job: &JobView| job.id.to_string());
        Ok(JobList {
            schema: "gpux.jobs/v1".into(),
            jobs,
            next,
        })
    }

    /// How many leases are not over.
    pub(crate) fn open_leases(&self) -> usize {
        use gpux_api::LeaseState as S;
        let over = |state| matches!(state, S::Settled | S::Reclaimed | S::Failed);
        self.list()
            .jobs
            .iter()
            .flat_map(|job| &job.leases)
            .filter(|lease| !over(lease.state))
            .count()
    }
}

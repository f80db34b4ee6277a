//! A daemon within another program: the same parts, joined the same way, on whatever adapters it is given.
//!
//! The simulated world starts many of them in one process. There is no local API: what it would call is called here.

use crate::{
    adapters::Adapters,
    config::DaemonConfig,
    daemon::{self, DaemonError},
    dir::DaemonDir,
    node::Node,
    renter,
};
use gpux_api::{AwayRequest, AwayView, DaemonView, ErrorBody, JobList, JobView, RunRequest, TopUpReply, TopUpRequest};
use std::sync::Arc;

/// A running daemon.
#[derive(Debug, Clone)]
pub struct Daemon {
    node: Arc<Node>,
}

impl Daemon {
    /// Starts the daemon of `dir` on these adapters, and takes up what an earlier one left.
    ///
    /// # Errors
    /// When a part of it cannot start.
    pub async fn start(dir: DaemonDir, config: DaemonConfig, adapters: Adapters) -> Result<Self, DaemonError> {
        let node = daemon::assemble(dir, config, adapters)?;
        daemon::begin(&node).await?;
        Ok(Self { node })
    }

    /// Plans a job and starts it.
    ///
    /// # Errors
    /// As the local API's call; nothing was spent then.
    pub async fn run(&self, request: RunRequest) -> Result<JobView, ErrorBody> {
        renter::start(&self.node, request).await
    }

    /// All jobs, the newest first.
    #[must_use]
    pub fn jobs(&self) -> JobList {
        self.node.renter.list()
    }

    /// Adds money to the leases of a job.
    ///
    /// # Errors
    /// As the local API's call.
    pub async fn top_up(&self, job: &str, request: &TopUpRequest) -> Result<TopUpReply, ErrorBody> {
        let job = self.node.renter.find(job)?;
        renter::top_up(&self.node, &job, request).await
    }

    /// Signs ahead for a job whose renter goes away.
    ///
    /// # Errors
    /// As the local API's call.
    pub async fn away(&self, job: &str, request: AwayRequest) -> Result<AwayView, ErrorBody> {
        let job = self.node.renter.find(job)?;
        renter::away(&job, request).await
    }

    /// Ends a job.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn stop_job(&self, job: &str, reason: &str) -> Result<(), ErrorBody> {
        let job = self.node.renter.find(job)?;
        renter::stop(&job, reason.to_owned()).await.map(drop)
    }

    /// The daemon as `gpux status` shows it.
    #[must_use]
    pub fn view(&self) -> DaemonView {
        self.node.daemon_view()
    }

    /// How many wallets this node holds something for that may become a lease.
    #[must_use]
    pub fn quotes_held(&self) -> usize {
        let provider = self.node.provider.as_ref();
        provider.map_or(0, |provider| provider.quotes_held(self.node.clock.now()))
    }

    /// Tells every task to end, as a signal would.
    pub fn cancel(&self) {
        self.node.cancel.cancel();
    }
}

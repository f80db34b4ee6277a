//! What a renter does while its job runs: it adds money, or signs ahead and goes away.

use crate::{
    coverage::Reached,
    life::Life,
    trace::{Trace, trace},
};
use gpux_api::{AwayLease, AwayRequest, TopUpRequest};
use gpux_node::Daemon;
use gpux_types::{Amount, LeaseId, Millis};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The steps of one renter.
pub(crate) struct Steps {
    pub(crate) job: String,
    /// The daemon's life that takes them.
    pub(crate) life: Arc<Life>,
    /// When it adds money, after its job started.
    pub(crate) top_up: Option<Duration>,
    pub(crate) away: Option<Away>,
    /// What it said that it signs ahead.
    pub(crate) ahead: Arc<Mutex<Vec<(LeaseId, Millis)>>>,
    pub(crate) trace: Trace,
}

/// A planned absence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Away {
    /// After the start of its job.
    pub(crate) after: Duration,
    /// What the world is told.
    pub(crate) horizon: Millis,
    /// How many times that the daemon is told.
    pub(crate) times: u64,
}

impl Steps {
    /// Takes them, with the daemon that started the job. One that has crashed since takes none.
    pub(crate) async fn follow(self, daemon: &Daemon) {
        let begun = tokio::time::Instant::now();
        if let Some(after) = self.top_up {
            tokio::time::sleep_until(begun + after).await;
            self.add(daemon).await;
        }
        if let Some(away) = self.away {
            tokio::time::sleep_until(begun + away.after).await;
            self.leave(daemon, away).await;
        }
    }

    async fn add(&self, daemon: &Daemon) {
        let request = TopUpRequest {
            amount: "4.5".to_owned(),
            extend: true,
            agreed_total: None,
        };
        match daemon.top_up(&self.job, &request).await {
            Ok(reply) => {
                self.trace.reach(Reached::ToppedUpAsAsked);
                trace!(self.trace, "{}: {} leases topped up", self.job, reply.leases.len());
            }
            Err(error) => trace!(self.trace, "{}: not topped up: {}", self.job, error.message),
        }
    }

    async fn leave(&self, daemon: &Daemon, away: Away) {
        let horizon = Millis(away.horizon.0.saturating_mul(away.times));
        let shown = AwayRequest { horizon, agreed: None };
        let open = daemon.away(&self.job, shown).await;
        let open = open.map(|view| view.leases).unwrap_or_default();
        let request = AwayRequest {
            horizon,
            agreed: Some(Amount::MAX),
        };
        let said = |leases: &[AwayLease]| {
            let said = leases.iter().map(|lease| (lease.lease, away.horizon));
            self.ahead.lock().unwrap_or_else(PoisonError::into_inner).extend(said);
        };
        match daemon.away(&self.job, request).await {
            Ok(view) => {
                self.trace.reach(Reached::WentAway);
                trace!(
                    self.trace,
                    "{}: signs ahead for {horizon} on {} leases",
                    self.job,
                    view.leases.len()
                );
                said(&view.leases);
            }
            // What was agreed to and written down before the crash is signed, though nobody could be told so any more.
            Err(_) if self.life.is_over() => said(&open),
            Err(error) => trace!(self.trace, "{}: does not go away: {}", self.job, error.message),
        }
    }
}

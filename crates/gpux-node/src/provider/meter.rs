//! Asks the runtime how a lease is, in the form that the lease's task takes.

use super::lease::LeaseInput;
use crate::node::Node;
use gpux_lease::Work;
use gpux_runtime::{LeaseEnd, RuntimeCallError};
use gpux_types::{LeaseId, Millis};
use std::time::Duration;

/// How often the meter is read while work goes on, when nothing else says to.
pub(super) const POLL: Millis = Millis::from_secs(1);
/// How soon a followed log is looked at again after it grew; twice as long each time that it did not, up to the maximum.
pub(super) const LOG_PACE_MIN: Duration = Duration::from_millis(5);
/// See [`LOG_PACE_MIN`].
pub(super) const LOG_PACE_MAX: Duration = Duration::from_millis(160);
/// How long a shim may leave a call unanswered before it counts as lost.
const SHIM_PATIENCE: Duration = Duration::from_secs(2);

/// The runtime's word for what work does, as receipts know it.
pub(super) const fn work(work: gpux_runtime::Work) -> Work {
    match work {
        gpux_runtime::Work::Idle => Work::Idle,
        gpux_runtime::Work::Running => Work::Running,
        gpux_runtime::Work::Frozen => Work::Frozen,
        gpux_runtime::Work::Gone => Work::Gone,
    }
}

/// How the lease is now.
pub(super) async fn read(node: &Node, lease: LeaseId) -> LeaseInput {
    let Some(local) = &node.local else {
        return LeaseInput::Status(None);
    };
    match local.runtime.status(lease).await {
        Ok(mut status) => {
            // A reading for its own sake does not take part in the chain of waits.
            status.version = 0;
            LeaseInput::Status(Some(Box::new(status)))
        }
        Err(error) => {
            tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "reading the meter");
            LeaseInput::Status(None)
        }
    }
}

/// How the lease is once something changed.
pub(super) async fn wait(node: &Node, lease: LeaseId, seen: u64) -> LeaseInput {
    let Some(local) = &node.local else {
        return LeaseInput::Done;
    };
    match local.runtime.wait_change(lease, seen).await {
        Ok(status) => LeaseInput::Status(Some(Box::new(status))),
        Err(RuntimeCallError::UnknownLease { .. } | RuntimeCallError::Over { .. }) => LeaseInput::Done,
        Err(error) => {
            tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "following the shim");
            tokio::time::sleep(SHIM_PATIENCE).await;
            match local.runtime.status(lease).await {
                Ok(status) => LeaseInput::Status(Some(Box::new(status))),
                Err(_) => lost(node, lease).await,
            }
        }
    }
}

/// Kills what a lost shim left behind.
async fn lost(node: &Node, lease: LeaseId) -> LeaseInput {
    let Some(local) = &node.local else {
        return LeaseInput::Done;
    };
    match local.runtime.destroy_lease(lease).await {
        Ok(usage) => LeaseInput::ShimLost(usage.metered),
        Err(error) => {
            tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "killing what a lost shim left");
            LeaseInput::Status(None)
        }
    }
}

/// Ends all work of the lease. `metered` counts when there never was any.
pub(super) async fn destroy(node: &Node, lease: LeaseId, metered: Millis) -> LeaseInput {
    let Some(local) = &node.local else {
        return LeaseInput::Gone(metered);
    };
    match local.runtime.destroy_lease(lease).await {
        Ok(usage) if usage.end == LeaseEnd::ShimLost => LeaseInput::ShimLost(usage.metered),
        Ok(usage) => LeaseInput::Gone(usage.metered),
        Err(RuntimeCallError::UnknownLease { .. }) => LeaseInput::Gone(metered),
        Err(error) => {
            // The machine asks again: resources stay taken until the work is surely gone.
            tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "ending the work");
            LeaseInput::Done
        }
    }
}

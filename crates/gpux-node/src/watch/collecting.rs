//! Collects, from this node's wallet, what is watched and due. One task; it decides nothing that `gpux_lease::tower_step` does not.

use super::read;
use crate::{
    fees::fee_of,
    node::Node,
    provider::{COLLECT, CollectorError, make},
};
use gpux_chain::{Call, Intent, IntentKey};
use gpux_lease::{Handover, TowerStep, tower_step};
use gpux_types::{LeaseId, Millis, UnixSeconds};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How often it is looked whether something is due: a day of grace is far longer.
const EVERY: Duration = Duration::from_secs(15);
/// How soon one lease is looked at again for which nothing was to be done, or which could not be read or collected.
const AGAIN: Millis = Millis::from_secs(600);

/// The longest that one lease may take, so that a transaction that waits for cheaper gas holds up no other.
const ONE_TAKES: Duration = Duration::from_secs(120);

/// Collects until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    loop {
        // Cancel-safe: a transaction that was sent goes on after the next start, and what was not is due then as now.
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = look(&node) => {}
        }
    }
}

async fn look(node: &Node) {
    let Some(head) = node.watcher.newest() else {
        return;
    };
    for (lease, handover) in node.watch.due(head.timestamp, node.clock.now()) {
        match timeout(ONE_TAKES, bring_on(node, lease, &handover, head.timestamp)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "bringing a watched lease on")
            }
            Err(_) => tracing::warn!(lease = %lease.short(), "collecting for a watched lease takes long; it goes on"),
        }
        // Again after a collection too: it may be taken back.
        node.watch.put_off(lease, node.clock.now().saturating_add(AGAIN));
    }
}

async fn bring_on(node: &Node, lease: LeaseId, handover: &Handover, time: UnixSeconds) -> Result<(), CollectorError> {
    let collector = handover.terms.provider;
    let slot = read(node, lease, handover).await;
    let slot = slot.map_err(|source| CollectorError::Read { collector, source })?;
    let Some(fee) = fee_of(node, COLLECT) else {
        return Ok(());
    };
    match tower_step(handover, &slot, time, fee) {
        TowerStep::Wait => Ok(()),
        TowerStep::Drop => {
            forget(node, lease);
            Ok(())
        }
        TowerStep::Collect => collect(node, lease, handover).await,
    }
}

fn forget(node: &Node, lease: LeaseId) {
    match node.store.drop_watched(lease) {
        Ok(()) => {
            node.watch.forget(lease);
            tracing::info!(lease = %lease.short(), "a watched lease is over");
        }
        Err(error) => {
            tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "forgetting a watched lease")
        }
    }
}

async fn collect(node: &Node, lease: LeaseId, handover: &Handover) -> Result<(), CollectorError> {
    let intent = Intent {
        key: IntentKey::collect(lease, handover.amount),
        call: Call::Collect(Box::new(handover.clone())),
    };
    make(&node.sender, handover.terms.provider, intent).await?;
    tracing::info!(lease = %lease.short(), amount = %handover.amount, payout = %handover.payout, "collected for a provider that is gone");
    Ok(())
}

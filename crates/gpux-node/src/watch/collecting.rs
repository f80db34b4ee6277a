//! Collects, from this node's wallet, what is watched and due, and forgets what is over. One task; it decides nothing that
//! `gpux_lease::tower_step` does not.

use super::{book::Next, read, read_final};
use crate::{
    fees::fee_of,
    node::Node,
    provider::{COLLECT, CollectorError, make},
};
use futures_util::future::join_all;
use gpux_chain::{Call, Intent, IntentKey};
use gpux_lease::{TowerStep, may_be_over, tower_step};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// How soon it is looked again whether something is due: a day of grace is far longer.
const EVERY: Duration = Duration::from_secs(15);
/// How many leases are brought on at once.
const AT_ONCE: usize = 4;
/// The longest that one lease may take, so that a transaction that waits for cheaper gas holds up no other.
const ONE_TAKES: Duration = Duration::from_secs(120);
/// How often one lease is looked at in turn, due or not: it holds a place, and may be over long before its time.
const IN_TURN: Duration = Duration::from_secs(1);

/// Collects until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let due = || {
        let time = node.watcher.newest()?.timestamp;
        node.watch.due(time, node.clock.now())
    };
    // Cancel-safe: a transaction that was sent goes on after the next start, and what was not is due then as now.
    tokio::select! {
        biased;
        () = node.cancel.cancelled() => {}
        () = work_off(due, |next| in_time(&node, next)) => {}
        () = look_in_turn(&node) => {}
    }
}

async fn look_in_turn(node: &Node) {
    loop {
        sleep(IN_TURN).await;
        node.watch.make_place(node, None).await;
    }
}

/// Does `work` for what `next` names, so many at once, for ever.
async fn work_off<T, W: Future<Output = ()>>(next: impl Fn() -> Option<T>, work: impl Fn(T) -> W) {
    let worker = || async {
        loop {
            match next() {
                Some(one) => work(one).await,
                None => sleep(EVERY).await,
            }
        }
    };
    join_all((0..AT_ONCE).map(|_| worker())).await;
}

async fn in_time(node: &Node, next: Next) {
    let lease = next.lease;
    match timeout(ONE_TAKES, bring_on(node, next)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "bringing a watched lease on");
        }
        Err(_) => tracing::warn!(lease = %lease.short(), "collecting for a watched lease takes long; it goes on"),
    }
}

async fn bring_on(node: &Node, next: Next) -> Result<(), CollectorError> {
    match look(node, &next).await? {
        TowerStep::Wait | TowerStep::Drop => Ok(()),
        TowerStep::Collect => collect(node, next).await,
    }
}

/// Says what is to be done about a lease, and forgets it where that is to be done.
pub(super) async fn look(node: &Node, next: &Next) -> Result<TowerStep, CollectorError> {
    let (lease, handover) = (next.lease, &next.handover);
    let collector = handover.terms.provider;
    let unread = |source| CollectorError::Read { collector, source };
    let mut slot = read(node, lease, handover).await.map_err(unread)?;
    node.watch.seen(lease, handover, &slot);
    let (Some(head), Some(fee)) = (node.watcher.newest(), fee_of(node, COLLECT)) else {
        return Ok(TowerStep::Wait);
    };
    let least = next.fee.min(fee);
    if may_be_over(handover, &slot, least) {
        slot.in_final = Some(read_final(node, lease).await.map_err(unread)?);
    }
    let step = tower_step(handover, &slot, head.timestamp, fee, least);
    if step == TowerStep::Drop {
        node.watch.forget(&node.store, next);
    }
    Ok(step)
}

async fn collect(node: &Node, next: Next) -> Result<(), CollectorError> {
    let Next { lease, handover, .. } = next;
    let (amount, payout, collector) = (handover.amount, handover.payout, handover.terms.provider);
    let intent = Intent {
        key: IntentKey::collect(lease, amount),
        call: Call::Collect(Box::new(handover)),
    };
    make(&node.sender, collector, intent).await?;
    tracing::info!(lease = %lease.short(), %amount, %payout, "collected for a provider that is gone");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, collections::VecDeque};

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_cheaper_gas_holds_up_no_other() {
        const SLOW: u32 = 3;
        let (due, done) = (
            RefCell::new((0..12).collect::<VecDeque<u32>>()),
            RefCell::new(Vec::new()),
        );
        let next = || due.borrow_mut().pop_front();
        let done = &done;
        let work = |one: u32| async move {
            if one < SLOW {
                sleep(ONE_TAKES).await;
            }
            done.borrow_mut().push(one);
        };
        let worked = timeout(ONE_TAKES / 2, work_off(next, work)).await;
        assert!(worked.is_err(), "it goes on for ever");
        assert_eq!(*done.borrow(), (SLOW..12).collect::<Vec<u32>>());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_four_are_collected_at_once() {
        let started = RefCell::new(0..100);
        let next = || started.borrow_mut().next();
        let work = |_| sleep(ONE_TAKES);
        // However many are due.
        let _ = timeout(ONE_TAKES / 2, work_off(next, work)).await;
        assert_eq!(started.borrow().start, 4);
    }
}

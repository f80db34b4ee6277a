//! A provider's watch-towers: what is left with them, so that they collect what this node has earned should it die for ever
//! (decision 11). When and how much is decided by `gpux_lease::HandoverPace` and `ProviderLease::claimable`. Nothing is handed over
//! before the collector is there, which `sweep` deploys.
//!
//! Nothing here is journaled: a handover can only pay this provider, and after a restart it is made anew.

use super::lease::{LeaseInput, LeaseTask};
use crate::{
    fees::{self, Burden},
    node::Node,
};
use gpux_chain::Collector;
use gpux_lease::{Claimable, HANDOVER_EVERY, Handover, HandoverPace, is_worth_collecting, not_before, reward};
use gpux_net::{CallError, PeerTicket};
use gpux_proto::{ErrorCode, Request, Response};
use gpux_types::{Address, Amount, NodeId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

/// A draw through a collector.
pub(crate) const COLLECT: Burden = Burden {
    gas: 110_000,
    bytes: 900,
};

/// How often a tower is asked that is busy, and how soon again. Over before the next handover of the lease is due.
const TRIES: usize = 8;
const AGAIN: Duration = Duration::from_secs(5);

/// The towers of a provider, and what each last said. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Towers {
    tickets: Arc<[PeerTicket]>,
    /// A tower reads the chain for one lease of a node at a time: so this node asks for one at a time.
    turns: Arc<BTreeMap<NodeId, Semaphore>>,
    collector: Collector,
    /// Computed once: it hashes the contract's code.
    address: Address,
    said: Arc<Mutex<BTreeMap<NodeId, Result<(), String>>>>,
    /// Whether the collector is there; else why not.
    there: Arc<Mutex<Result<(), String>>>,
    /// A tower does not see the collector.
    missed: Arc<Notify>,
}

impl Towers {
    /// These towers, and the collector that they collect through.
    pub(crate) fn new(tickets: &[PeerTicket], collector: Collector) -> Self {
        let turns = tickets.iter().map(|ticket| (ticket.node, Semaphore::new(1)));
        Self {
            tickets: tickets.into(),
            turns: Arc::new(turns.collect()),
            collector,
            address: collector.address(),
            said: Arc::default(),
            there: Arc::new(Mutex::new(Err("it was not looked for yet".to_owned()))),
            missed: Arc::default(),
        }
    }

    /// What is paid in the provider's place.
    pub(crate) const fn collector(&self) -> Collector {
        self.collector
    }

    /// Where that is, or will be.
    pub(crate) const fn address(&self) -> Address {
        self.address
    }

    /// Whether it is there; else why not.
    pub(crate) fn collector_is_there(&self) -> Result<(), String> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is there was looked at.
    pub(super) fn note_collector(&self, there: Result<(), String>) {
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = there;
    }

    /// Returns when a tower said that it is not there.
    pub(super) async fn collector_is_missed(&self) {
        self.missed.notified().await;
    }

    /// Learns how to reach them.
    pub(super) fn remember(&self, node: &Node) {
        for ticket in self.tickets.iter() {
            node.net.remember(ticket.clone());
        }
    }

    /// How many there are, and what went wrong with those that did not take what they were given last.
    pub(crate) fn troubles(&self) -> (usize, Vec<String>) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = |(node, said): (&NodeId, &Result<(), String>)| {
            let why = said.as_ref().err()?;
            Some(format!("{}: {why}", node.short()))
        };
        (self.tickets.len(), said.iter().filter_map(trouble).collect())
    }

    fn note(&self, tower: NodeId, said: Result<(), String>) {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(tower, said);
    }

    /// Leaves a handover with one tower.
    async fn leave(self, node: Arc<Node>, tower: NodeId, handover: Handover) -> LeaseInput {
        let (lease, amount) = (handover.lease(&node.chain.escrow()), handover.amount);
        let request = Request::Watch(Box::new(handover));
        let said = timeout(HANDOVER_EVERY.into(), while_busy(|| self.call(&node, tower, &request)));
        let said = said.await;
        let said = said.map_err(|_| "its turn did not come within a minute".to_owned());
        match said.and_then(|said| said.map_err(|error| crate::error_chain(&error))) {
            Ok(_) => {
                tracing::debug!(lease = %lease.short(), tower = %tower.short(), %amount, "handed over");
                self.note(tower, Ok(()));
                LeaseInput::HandedOver(tower, amount)
            }
            Err(why) => {
                tracing::warn!(lease = %lease.short(), tower = %tower.short(), error = %why, "handing over to a watch-tower");
                self.note(tower, Err(why));
                LeaseInput::Done
            }
        }
    }

    /// Asks in this node's turn.
    async fn call(&self, node: &Node, tower: NodeId, request: &Request) -> Result<Response, CallError> {
        let turn = match self.turns.get(&tower) {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let said = node.net.call(tower, request).await;
        drop(turn);
        if refused(&said) == Some(ErrorCode::NotCovered) {
            self.missed.notify_one();
        }
        said
    }
}

fn refused(said: &Result<Response, CallError>) -> Option<ErrorCode> {
    Some(said.as_ref().err()?.refusal()?.code)
}

/// Calls again while the tower has no time, or does not see the collector yet; gives what it said last.
async fn while_busy<C>(call: impl Fn() -> C) -> Result<Response, CallError>
where
    C: Future<Output = Result<Response, CallError>>,
{
    for _ in 1..TRIES {
        let said = call().await;
        let (Some(ErrorCode::TooMany) | Some(ErrorCode::NotCovered)) = refused(&said) else {
            return said;
        };
        sleep(AGAIN).await;
    }
    call().await
}

/// How one lease stands with each tower.
pub(super) type Paces = BTreeMap<NodeId, HandoverPace>;

impl LeaseTask {
    /// Leaves with each tower what it does not have yet, where that is due.
    pub(super) fn hand_over(&mut self) {
        let Some(towers) = self.provider.towers.clone() else {
            return;
        };
        // A lease from before there were towers is paid elsewhere.
        let here = self.record.terms.provider == towers.address;
        let Some(claimable) = self.record.machine.claimable().filter(|_| here) else {
            return;
        };
        if towers.collector_is_there().is_err() {
            return;
        }
        // What was drawn needs no tower, and is worth no place there.
        let left = claimable.amount.saturating_sub(self.record.machine.escrow().drawn());
        let worth = |fee: &Amount| is_worth_collecting(left, *fee);
        let Some(fee) = fees::fee_of(&self.node, COLLECT).filter(worth) else {
            return;
        };
        let now = self.node.clock.now();
        let mut due = Vec::new();
        for ticket in towers.tickets.iter() {
            let pace = self.paces.entry(ticket.node).or_default();
            if pace.is_due(now, claimable.amount) {
                pace.tried(now);
                due.push(ticket.node);
            }
        }
        if due.is_empty() {
            return;
        }
        let handover = self.sign_handover(&towers, claimable, fee);
        for tower in due {
            let leaving = towers.clone().leave(self.node.clone(), tower, handover.clone());
            self.effects.spawn(leaving);
        }
    }

    /// A tower has it.
    pub(super) fn handed_over(&mut self, tower: NodeId, amount: Amount) {
        self.paces.entry(tower).or_default().taken(amount);
    }

    /// What is left with a tower, where a transaction costs `fee`.
    fn sign_handover(&self, towers: &Towers, claimable: Claimable, fee: Amount) -> Handover {
        let terms = self.record.terms.clone();
        let receipt = claimable.receipt.receipt().signature;
        let mut handover = Handover {
            not_before: not_before(claimable.expiry, terms.grace_secs),
            terms,
            payout: towers.collector.payout,
            amount: claimable.amount,
            cumulative: claimable.receipt.cumulative(),
            receipt,
            reward: reward(claimable.amount, fee),
            // Takes the place until what it signs is whole.
            signature: receipt,
        };
        handover.signature = self.provider.sign(handover.digest(&self.node.chain.escrow()));
        handover
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_proto::PeerError;
    use std::cell::RefCell;
    use tokio::time::Instant;

    /// What a provider hears in the end, and after how many seconds and calls, of a tower that refuses so often.
    async fn hears(code: ErrorCode, refusals: usize) -> (bool, u64, usize) {
        let (start, calls) = (Instant::now(), RefCell::new(0));
        let said = while_busy(|| async {
            *calls.borrow_mut() += 1;
            let refused = CallError::Refused {
                peer: NodeId([1; 32]),
                source: PeerError::new(code, "not now"),
            };
            if *calls.borrow() > refusals {
                Ok(Response::Accepted)
            } else {
                Err(refused)
            }
        });
        (said.await.is_ok(), start.elapsed().as_secs(), calls.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_tower_that_is_busy_is_asked_again_after_seconds_and_one_that_refuses_is_not() {
        assert_eq!(hears(ErrorCode::TooMany, 2).await, (true, 10, 3));
        assert_eq!(hears(ErrorCode::NotCovered, 1).await, (true, 5, 2));
        assert_eq!(hears(ErrorCode::BadRequest, 1).await, (false, 0, 1));
        assert_eq!(
            hears(ErrorCode::TooMany, 100).await,
            (false, 35, 8),
            "the next minute again"
        );
    }
}

//! Where peers were last known to be.
//!
//! Fed by announcements, tickets and incoming connections; read by the endpoint when it dials (through the library's
//! memory lookup) and by the daemon, which writes it down for the next start. A mutex, not a task: every use is one map
//! operation.

use crate::ticket::{MAX_ADDRESSES, PeerTicket, endpoint_id};
use gpux_types::NodeId;
use iroh::{EndpointId, address_lookup::memory::MemoryLookup};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Addresses by node, least recently learned forgotten first.
#[derive(Debug)]
pub(crate) struct Peers {
    lookup: MemoryLookup,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    limit: usize,
    /// Grows with every lesson; the key of `by_age`.
    clock: u64,
    tickets: HashMap<NodeId, (u64, PeerTicket)>,
    by_age: BTreeMap<u64, NodeId>,
    /// Strangers' words about nodes that were never met; each list takes the place of the one before.
    hints: HashMap<NodeId, PeerTicket>,
}

/// The most hints at a time.
pub(crate) const MAX_HINTS: usize = 16;

impl Peers {
    /// Remembers at most `limit` nodes.
    pub(crate) fn new(limit: usize) -> Self {
        let known = Known {
            limit: limit.max(1),
            clock: 0,
            tickets: HashMap::new(),
            by_age: BTreeMap::new(),
            hints: HashMap::new(),
        };
        Self {
            lookup: MemoryLookup::with_provenance("gpux"),
            known: Mutex::new(known),
        }
    }

    /// What the endpoint asks when it dials.
    pub(crate) fn lookup(&self) -> MemoryLookup {
        self.lookup.clone()
    }

    /// Takes the place of what was known of the ticket's node. A ticket without addresses teaches nothing.
    pub(crate) fn learn(&self, ticket: PeerTicket) {
        let Some(addr) = ticket.endpoint_addr().filter(|addr| !addr.is_empty()) else {
            return;
        };
        let mut known = self.lock();
        let forgotten = known.learn(ticket);
        self.lookup.set_endpoint_info(addr);
        if let Some(id) = forgotten.and_then(endpoint_id) {
            self.lookup.remove_endpoint_info(id);
        }
    }

    /// Nodes that may be tried when there is no neighbour, as strangers told of them. They take the place of the last
    /// ones, and are neither remembered nor given to others before they were met. One that is known is tried where it
    /// was known to be and where it is told to be: it may have moved, and the stranger may lie.
    pub(crate) fn hint(&self, tickets: Vec<PeerTicket>) {
        let mut known = self.lock();
        for node in std::mem::take(&mut known.hints).into_keys() {
            let learned = known.tickets.get(&node).and_then(|(_, ticket)| ticket.endpoint_addr());
            match (learned, endpoint_id(node)) {
                (Some(addr), _) => {
                    self.lookup.set_endpoint_info(addr);
                }
                (None, Some(id)) => {
                    self.lookup.remove_endpoint_info(id);
                }
                (None, None) => {}
            }
        }
        for ticket in tickets.into_iter().take(MAX_HINTS) {
            if let Some(addr) = ticket.endpoint_addr().filter(|addr| !addr.is_empty()) {
                self.lookup.add_endpoint_info(addr);
                known.hints.insert(ticket.node, ticket);
            }
        }
    }

    /// The nodes of the hints.
    pub(crate) fn hinted(&self) -> Vec<EndpointId> {
        self.lock().hints.keys().copied().filter_map(endpoint_id).collect()
    }

    /// Everything known, newest first, at most `limit`.
    pub(crate) fn newest(&self, limit: usize) -> Vec<PeerTicket> {
        let known = self.lock();
        let nodes = known.by_age.values().rev().take(limit);
        nodes
            .filter_map(|node| known.tickets.get(node))
            .map(|(_, ticket)| ticket.clone())
            .collect()
    }

    /// Nodes to try when there is no neighbour, newest first.
    pub(crate) fn ids(&self, limit: usize) -> Vec<EndpointId> {
        let known = self.lock();
        known
            .by_age
            .values()
            .rev()
            .take(limit)
            .filter_map(|node| endpoint_id(*node))
            .collect()
    }

    /// Notes that a node is alive, and remembers it when it was hinted at. One of which nothing is known stays so: anybody
    /// can make node ids, and where an incoming connection comes from is not where its node listens.
    pub(crate) fn met(&self, node: NodeId) {
        let mut known = self.lock();
        let hinted = known.hints.remove(&node);
        let ticket = known.tickets.get(&node).map(|(_, ticket)| ticket.clone());
        let ticket = match (ticket, hinted) {
            // Which of the addresses answered is not known.
            (Some(mut ticket), Some(hinted)) => {
                let told = hinted.addresses.into_iter();
                let told: Vec<_> = told.filter(|address| !ticket.addresses.contains(address)).collect();
                ticket.addresses.extend(told);
                ticket.addresses.truncate(MAX_ADDRESSES);
                Some(ticket)
            }
            (ticket, hinted) => ticket.or(hinted),
        };
        let forgotten = ticket.and_then(|ticket| known.learn(ticket));
        if let Some(id) = forgotten.and_then(endpoint_id) {
            self.lookup.remove_endpoint_info(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every operation leaves the maps whole, so a panic elsewhere spoils nothing.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Inserts and tells who had to be forgotten for it.
    fn learn(&mut self, ticket: PeerTicket) -> Option<NodeId> {
        self.clock += 1;
        let node = ticket.node;
        if let Some((age, _)) = self.tickets.insert(node, (self.clock, ticket)) {
            self.by_age.remove(&age);
        }
        self.by_age.insert(self.clock, node);
        if self.tickets.len() <= self.limit {
            return None;
        }
        let (_, oldest) = self.by_age.pop_first()?;
        self.tickets.remove(&oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::node_id;

    fn ticket(seed: u8, port: u16) -> PeerTicket {
        let node = node_id(iroh::SecretKey::from_bytes(&[seed; 32]).public());
        PeerTicket {
            node,
            addresses: vec![([127, 0, 0, 1], port).into()],
            relay: None,
        }
    }

    #[test]
    fn the_newest_address_of_a_node_is_dialled() {
        let peers = Peers::new(4);
        peers.learn(ticket(1, 1));
        peers.learn(ticket(1, 2));
        let id = endpoint_id(ticket(1, 1).node).unwrap();
        peers.met(ticket(1, 1).node);
        peers.met(ticket(2, 1).node);
        assert_eq!(peers.newest(9).len(), 1, "a stranger is not learned by meeting it");
        let info = peers.lookup().get_endpoint_info(id).unwrap().into_endpoint_addr();
        assert_eq!(info.ip_addrs().map(|a| a.port()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn hints_are_tried_and_only_those_that_were_met_are_remembered() {
        let peers = Peers::new(4);
        let (mine, met, never) = (ticket(1, 1), ticket(2, 2), ticket(3, 3));
        let addressed = |ticket: &PeerTicket| {
            let id = endpoint_id(ticket.node).unwrap();
            peers.lookup().get_endpoint_info(id).map(|info| {
                let addr = info.into_endpoint_addr();
                addr.ip_addrs().map(|a| a.port()).collect::<Vec<_>>()
            })
        };
        peers.learn(mine.clone());
        peers.hint(vec![ticket(1, 9), met.clone(), never.clone()]);
        assert_eq!(
            addressed(&mine),
            Some(vec![1, 9]),
            "a stranger's word takes nothing away that is known"
        );
        assert_eq!(peers.hinted().len(), 3);
        assert_eq!(peers.newest(9), std::slice::from_ref(&mine), "hints are not remembered");
        peers.met(met.node);
        assert_eq!(peers.newest(9), [met.clone(), mine.clone()]);
        peers.hint(Vec::new());
        assert_eq!(addressed(&mine), Some(vec![1]), "and goes with the next hints");
        assert_eq!(addressed(&met), Some(vec![2]));
        assert_eq!(addressed(&never), None);
        let many = (10..60).map(|seed| ticket(seed, 5)).collect();
        peers.hint(many);
        assert_eq!(peers.hinted().len(), MAX_HINTS);
    }

    #[test]
    fn the_least_recently_learned_node_is_forgotten() {
        let peers = Peers::new(2);
        for seed in [1, 2, 1, 3] {
            peers.learn(ticket(seed, 9));
        }
        let nodes: Vec<_> = peers.newest(9).into_iter().map(|t| t.node).collect();
        assert_eq!(nodes, [ticket(3, 9).node, ticket(1, 9).node]);
        assert!(
            peers
                .lookup()
                .get_endpoint_info(endpoint_id(ticket(2, 9).node).unwrap())
                .is_none()
        );
    }
}

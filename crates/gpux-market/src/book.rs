//! The offers that one daemon knows, one for each node. The caller has checked their signatures.
//!
//! Invariant: an offer enters only with a higher sequence than the node's last, whether that last one is still alive or
//! not, so replaying old offers neither brings one back nor lengthens a life. The memory of dead sequences is bounded
//! like the book itself; beyond it, the oldest are forgotten.

use crate::{
    index::Index,
    offer::{Offer, OfferError},
};
use gpux_types::{Millis, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

/// Offers by node, each until its time to live is over.
#[derive(Debug, Clone)]
pub struct OfferBook {
    limit: usize,
    live: BTreeMap<NodeId, Entry>,
    /// When each of them is over, the first one first.
    ends: BTreeSet<(Millis, NodeId)>,
    index: Index,
    /// Sequences of offers that expired or were removed, and in which order to forget them.
    dead: BTreeMap<NodeId, u64>,
    dead_order: VecDeque<NodeId>,
}

#[derive(Debug, Clone)]
struct Entry {
    offer: Arc<Offer>,
    expires: Millis,
}

/// What an insertion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The node had no living offer.
    New,
    /// The node's older offer is gone.
    Replaced,
}

/// Why an offer did not enter the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The offer itself is unfit.
    #[error("inserting the offer of node {node}")]
    Invalid {
        /// Whose offer.
        node: NodeId,
        /// What is wrong with it.
        source: OfferError,
    },
    /// The book has seen this offer, or a later one.
    #[error("inserting the offer of node {node}: its sequence {got} is not above {have}")]
    Stale {
        /// Whose offer.
        node: NodeId,
        /// The highest sequence seen of the node.
        have: u64,
        /// The sequence of the refused offer.
        got: u64,
    },
    /// No room for another node.
    #[error("inserting the offer of node {node}: the book holds its limit of {limit} offers")]
    Full {
        /// Whose offer.
        node: NodeId,
        /// The most offers that the book holds.
        limit: usize,
    },
}

impl OfferBook {
    /// An empty book for at most `limit` offers. A full book refuses new nodes; it never evicts one that it knows, so
    /// a flood of new nodes cannot push out the ones in use.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            live: BTreeMap::new(),
            ends: BTreeSet::new(),
            index: Index::default(),
            dead: BTreeMap::new(),
            dead_order: VecDeque::new(),
        }
    }

    /// Takes an offer that was received at `now` on the caller's monotonic clock.
    ///
    /// # Errors
    /// When the offer is unfit, no newer than what the book has seen of its node, or the book is full.
    pub fn insert(&mut self, offer: Offer, now: Millis) -> Result<Inserted, InsertError> {
        let node = offer.node;
        offer.check().map_err(|source| InsertError::Invalid { node, source })?;
        if let Some(have) = self.last_sequence(&node)
            && have >= offer.sequence
        {
            let got = offer.sequence;
            return Err(InsertError::Stale { node, have, got });
        }
        if !self.live.contains_key(&node) && self.live.len() >= self.limit {
            self.expire(now);
            if self.live.len() >= self.limit {
                let limit = self.limit;
                return Err(InsertError::Full { node, limit });
            }
        }
        let expires = now.saturating_add(offer.ttl);
        let offer = Arc::new(offer);
        let entry = Entry {
            offer: Arc::clone(&offer),
            expires,
        };
        let replaced = self.live.insert(node, entry);
        if let Some(old) = &replaced {
            self.ends.remove(&(old.expires, node));
            self.index.remove(&old.offer);
        }
        self.ends.insert((expires, node));
        self.index.insert(offer);
        Ok(replaced.map_or(Inserted::New, |_| Inserted::Replaced))
    }

    /// Lets a node's living offer live until `valid_for` from `now`, never shorter than it did. For the peer layer, which
    /// has checked the node's own word that the offer still stands; false when no offer of the node lives.
    pub fn renew(&mut self, node: &NodeId, now: Millis, valid_for: Millis) -> bool {
        let Some(entry) = self.live.get_mut(node) else {
            return false;
        };
        let longest = entry.offer.ttl.min(valid_for);
        self.ends.remove(&(entry.expires, *node));
        entry.expires = entry.expires.max(now.saturating_add(longest));
        self.ends.insert((entry.expires, *node));
        true
    }

    /// Drops every offer whose life is over at `now`, and returns their nodes in order.
    pub fn expire(&mut self, now: Millis) -> Vec<NodeId> {
        let over = self.ends.iter().take_while(|(end, _)| *end <= now);
        let mut nodes: Vec<_> = over.map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        for node in &nodes {
            self.remove(node);
        }
        nodes
    }

    /// Takes a node's offer out, for instance because the node withdrew it.
    pub fn remove(&mut self, node: &NodeId) -> Option<Arc<Offer>> {
        let entry = self.live.remove(node)?;
        self.ends.remove(&(entry.expires, *node));
        self.index.remove(&entry.offer);
        self.remember(*node, entry.offer.sequence);
        Some(entry.offer)
    }

    /// A node's living offer.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Arc<Offer>> {
        self.live.get(node).map(|entry| &entry.offer)
    }

    /// Every living offer, by node id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.live.values().map(|entry| &entry.offer)
    }

    /// The next living offers after `after`, by node id, at most `most`: so that a reader of all of them need not hold the book
    /// for so long.
    #[must_use]
    pub fn page(&self, after: Option<NodeId>, most: usize) -> Vec<Arc<Offer>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.live.range((after, Bound::Unbounded));
        rest.take(most).map(|(_, entry)| Arc::clone(&entry.offer)).collect()
    }

    /// A book of these offers, each one fit and of a node of its own, for questions that take long: in it nothing ends.
    #[must_use]
    pub fn of(offers: Vec<Arc<Offer>>) -> Self {
        let mut book = Self::new(offers.len());
        for offer in offers {
            book.index.insert(Arc::clone(&offer));
            let expires = Millis(u64::MAX);
            book.live.insert(offer.node, Entry { offer, expires });
        }
        book
    }

    /// How many offers live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no offer lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// About how many bytes the book takes for finding offers, beside the offers themselves: the index, and the two maps
    /// by node and by end. Never more than 900 for each offer, 600 for names that no other offer has, and 64 for each feature.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        let maps = size_of::<(NodeId, Entry)>() + size_of::<(Millis, NodeId)>();
        self.index.bytes() + self.live.len() * maps
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    fn last_sequence(&self, node: &NodeId) -> Option<u64> {
        let live = self.get(node).map(|offer| offer.sequence);
        live.max(self.dead.get(node).copied())
    }

    fn remember(&mut self, node: NodeId, sequence: u64) {
        if self.dead.insert(node, sequence).is_none() {
            self.dead_order.push_back(node);
        }
        if self.dead_order.len() > self.limit
            && let Some(oldest) = self.dead_order.pop_front()
        {
            self.dead.remove(&oldest);
        }
    }
}

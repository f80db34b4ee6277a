//! The book of offers: what was heard from whom, until when it holds, and what is refused.
//!
//! Pure: time is an argument. A mutex around it, not a task, because the daemon reads snapshots and the answers to
//! neighbours without waiting; it is never held over an await.
//!
//! Invariant: an announcement that is not newer than the newest one heard of its node changes nothing, so repeating old
//! bytes never prolongs an offer. Invariant: every map here has a bound.

use crate::{
    bucket::TokenBucket,
    offers::{
        announcement::{AnnouncementError, Claimed, Order, verify_offer},
        feed::HeardOffer,
    },
    ticket::PeerTicket,
};
use gpux_market::Offer;
use gpux_proto::SignedOffer;
use gpux_types::{Millis, NodeId};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Bounds and identity of a book.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BookConfig {
    pub(crate) me: NodeId,
    pub(crate) topic: [u8; 32],
    pub(crate) offers: usize,
    pub(crate) offers_per_minute: u32,
}

/// One live offer.
#[derive(Debug, Clone)]
struct Entry {
    announcement: Vec<u8>,
    signed: SignedOffer,
    offer: Offer,
    /// When it would have come by the shortest way: the receipt, less the age that a neighbour told.
    spoken: Instant,
    expires: Instant,
}

/// What is remembered of a node longer than its offer.
#[derive(Debug, Clone)]
struct Mark {
    order: Order,
    bucket: TokenBucket,
}

#[derive(Debug)]
pub(crate) struct OfferBook {
    config: BookConfig,
    entries: BTreeMap<NodeId, Entry>,
    marks: HashMap<NodeId, Mark>,
    /// The keys of `marks`, oldest first.
    marked: VecDeque<NodeId>,
    /// This node's own newest announcement, for neighbours that ask.
    own: Option<(Vec<u8>, Instant)>,
}

/// What an announcement changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// An offer is new or changed; the ticket says where its node is.
    Heard(Box<HeardOffer>, PeerTicket),
    /// The offer that was known holds longer.
    Renewed(Millis, PeerTicket),
    /// A node sells no more.
    Withdrawn(NodeId),
}

/// Why an announcement changed nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("hearing an announcement")]
    Announcement(#[from] AnnouncementError),
    #[error("hearing this node's own announcement")]
    Own,
    #[error("hearing {heard:?} of node {node}: {known:?} is known")]
    Replayed { node: NodeId, heard: Order, known: Order },
    #[error("hearing node {0}: it announces too often")]
    Limited(NodeId),
    #[error("hearing node {0}: its offer is over")]
    Expired(NodeId),
    #[error("hearing node {0}: the book is full")]
    Full(NodeId),
}

impl OfferBook {
    pub(crate) fn new(config: BookConfig) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            marks: HashMap::new(),
            marked: VecDeque::new(),
            own: None,
        }
    }

    /// Judges an announcement that was spoken at least `age` ago. Cheap checks come first, signatures last.
    ///
    /// # Errors
    /// When the announcement changes nothing, and why.
    pub(crate) fn hear(&mut self, now: Instant, bytes: &[u8], age: Duration) -> Result<Change, Refusal> {
        let claimed = Claimed::decode(bytes)?;
        let (node, order) = (claimed.node(), claimed.order());
        if node == self.config.me {
            return Err(Refusal::Own);
        }
        if let Some(mark) = self.marks.get(&node)
            && order <= mark.order
        {
            return Err(Refusal::Replayed {
                node,
                heard: order,
                known: mark.order,
            });
        }
        if !self.entries.contains_key(&node) && self.entries.len() >= self.config.offers {
            return Err(Refusal::Full(node));
        }
        let announced = claimed.verify(&self.config.topic)?;
        self.mark(now, node, order)?;
        let Some(signed) = announced.offer else {
            self.entries.remove(&node);
            return Ok(Change::Withdrawn(node));
        };
        let (renewed, offer) = match self.entries.get(&node) {
            // The wallet's signature was checked when these bytes came first.
            Some(entry) if entry.signed == signed => (true, entry.offer.clone()),
            _ => (false, verify_offer(&signed, node, order)?),
        };
        let ttl = Duration::from(offer.ttl);
        let left = ttl
            .checked_sub(age)
            .filter(|left| !left.is_zero())
            .ok_or(Refusal::Expired(node))?;
        let heard = HeardOffer {
            offer,
            signed,
            valid_for: left.into(),
        };
        let entry = Entry {
            announcement: bytes.to_vec(),
            signed: heard.signed.clone(),
            offer: heard.offer.clone(),
            spoken: now.checked_sub(age).unwrap_or(now),
            expires: now + left,
        };
        self.entries.insert(node, entry);
        Ok(match renewed {
            true => Change::Renewed(heard.valid_for, announced.ticket),
            false => Change::Heard(Box::new(heard), announced.ticket),
        })
    }

    /// Takes one from the node's rate and notes its newest order.
    fn mark(&mut self, now: Instant, node: NodeId, order: Order) -> Result<(), Refusal> {
        if let Some(mark) = self.marks.get_mut(&node) {
            if !mark.bucket.take(now) {
                return Err(Refusal::Limited(node));
            }
            mark.order = order;
            return Ok(());
        }
        self.forget_marks();
        let rate = self.config.offers_per_minute;
        let mut bucket = TokenBucket::new(rate.div_ceil(4), rate, now);
        bucket.take(now);
        self.marks.insert(node, Mark { order, bucket });
        self.marked.push_back(node);
        Ok(())
    }

    /// Makes room for one more mark by forgetting the oldest of a node without an offer.
    fn forget_marks(&mut self) {
        // Twice the live offers, so that at least half of the marks can go; each pass either forgets one or moves a
        // live one to the young end.
        let limit = self.config.offers.saturating_mul(2).max(1);
        for _ in 0..self.marked.len() {
            if self.marks.len() < limit {
                return;
            }
            let Some(node) = self.marked.pop_front() else { return };
            if self.entries.contains_key(&node) {
                self.marked.push_back(node);
            } else {
                self.marks.remove(&node);
            }
        }
    }

    /// Drops what is over and tells whose it was.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<NodeId> {
        let over: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, e)| e.expires <= now)
            .map(|(node, _)| *node)
            .collect();
        for node in &over {
            self.entries.remove(node);
        }
        over
    }

    /// All offers that hold now.
    pub(crate) fn live(&self, now: Instant) -> Vec<HeardOffer> {
        let live = self.entries.values().filter(|entry| entry.expires > now);
        live.map(|entry| HeardOffer {
            offer: entry.offer.clone(),
            signed: entry.signed.clone(),
            valid_for: entry.expires.saturating_duration_since(now).into(),
        })
        .collect()
    }

    /// Notes this node's own newest announcement.
    pub(crate) fn speak(&mut self, now: Instant, announcement: Vec<u8>) {
        self.own = Some((announcement, now));
    }

    /// Announcements with their ages for a neighbour, in the order of node ids after `after`, the own one first, up to
    /// `max_bytes`; and where to go on.
    pub(crate) fn page(
        &self,
        now: Instant,
        after: Option<NodeId>,
        max_bytes: usize,
    ) -> (Vec<(Millis, Vec<u8>)>, Option<NodeId>) {
        let mut items = Vec::new();
        if let (None, Some((own, spoken))) = (after, &self.own) {
            items.push((now.saturating_duration_since(*spoken).into(), own.clone()));
        }
        let mut used: usize = items.iter().map(|(_, bytes)| bytes.len()).sum();
        let lower = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut last = after;
        for (node, entry) in self.entries.range((lower, std::ops::Bound::Unbounded)) {
            used = used.saturating_add(entry.announcement.len());
            if used > max_bytes {
                return (items, last);
            }
            last = Some(*node);
            if entry.expires > now {
                items.push((
                    now.saturating_duration_since(entry.spoken).into(),
                    entry.announcement.clone(),
                ));
            }
        }
        (items, None)
    }
}

#[cfg(test)]
mod tests;

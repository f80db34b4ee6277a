//! The book of offers: what was heard from whom, until when it holds, what is refused, and who has to go when it is full.
//!
//! Pure: time is an argument.
//!
//! Invariant: a digest that is not newer than the newest one heard of its node changes nothing, so repeating old bytes
//! never prolongs an offer. Invariant: every map here has a bound.

use crate::{
    bucket::TokenBucket,
    offers::{
        announcement::{AnnouncementError, Claimed, Details, DetailsHash, Judge, Order},
        draw::Draw,
        feed::HeardOffer,
    },
};
use gpux_types::{Millis, NodeId};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a full book draws for one that may go before it looks at all in turn.
const DRAWS: usize = 8;

/// Bounds and identity of a book.
#[derive(Debug, Clone)]
pub(crate) struct BookConfig {
    pub(crate) me: NodeId,
    pub(crate) topic: [u8; 32],
    pub(crate) offers: usize,
    pub(crate) offers_per_minute: u32,
    /// Nobody else's, so that nobody foresees who has to go.
    pub(crate) draws: [u8; 32],
    pub(crate) judge: Arc<dyn Judge>,
}

/// One live offer.
#[derive(Debug, Clone)]
struct Entry {
    digest: Vec<u8>,
    hash: DetailsHash,
    details: Arc<Details>,
    /// When its digest would have come by the shortest way: the receipt, less the age that a neighbour told.
    spoken: Instant,
    expires: Instant,
    /// Its node has answered a call of ours: a stranger's flood does not displace it.
    met: bool,
    /// Where it stands in `listed`.
    at: usize,
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
    /// The keys of `entries`, to draw from.
    listed: Vec<NodeId>,
    /// How many entries are of nodes that were met.
    met: usize,
    /// No entry is over before.
    first_over: Option<Instant>,
    draw: Draw,
    marks: HashMap<NodeId, Mark>,
    /// The keys of `marks`, oldest first.
    marked: VecDeque<NodeId>,
}

/// A digest that names details which are not here.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) node: NodeId,
    pub(crate) order: Order,
    pub(crate) hash: DetailsHash,
    pub(crate) digest: Vec<u8>,
    pub(crate) spoken: Instant,
}

/// What a digest said.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The offer that was known holds longer.
    Renewed(NodeId, Millis),
    /// A node sells no more.
    Withdrawn(NodeId),
    /// Something new or changed, that is to be asked for.
    Wanted(Want),
}

/// What details changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// An offer is new or changed.
    Heard(Box<HeardOffer>),
    /// The offer is the same; its node is elsewhere.
    Moved(NodeId, Millis),
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
    #[error("hearing neighbour {0}: it tells too much")]
    Flooded(NodeId),
    #[error("hearing node {0}: its offer is over")]
    Expired(NodeId),
    #[error("hearing node {0}: the book is full of nodes that were met")]
    Full(NodeId),
    #[error("hearing node {0}: too many new nodes are told of")]
    Crowded(NodeId),
    #[error("hearing node {0}: nobody has its offer")]
    Untold(NodeId),
}

impl OfferBook {
    pub(crate) fn new(config: BookConfig) -> Self {
        Self {
            draw: Draw::new(config.draws),
            config,
            entries: BTreeMap::new(),
            listed: Vec::new(),
            met: 0,
            first_over: None,
            marks: HashMap::new(),
            marked: VecDeque::new(),
        }
    }

    /// Judges a digest that was spoken at least `age` ago. Cheap checks come first, signatures last.
    ///
    /// # Errors
    /// When it says nothing new, and why.
    pub(crate) fn hear(&mut self, now: Instant, bytes: &[u8], age: Duration) -> Result<Heard, Refusal> {
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
        let named = claimed.verify(&*self.config.judge, &self.config.topic)?;
        self.mark(now, node, order)?;
        let Some(hash) = named else {
            self.remove(node);
            return Ok(Heard::Withdrawn(node));
        };
        let spoken = now.checked_sub(age).unwrap_or(now);
        let digest = bytes.to_vec();
        let Some(entry) = self.entries.get_mut(&node).filter(|entry| entry.hash == hash) else {
            return Ok(Heard::Wanted(Want {
                node,
                order,
                hash,
                digest,
                spoken,
            }));
        };
        let expires = spoken + Duration::from(entry.details.offer.ttl);
        if expires <= now {
            return Err(Refusal::Expired(node));
        }
        (entry.digest, entry.spoken, entry.expires) = (digest, spoken, expires);
        self.first_over = self.first_over.map(|first| first.min(expires));
        Ok(Heard::Renewed(node, expires.saturating_duration_since(now).into()))
    }

    /// Takes the details of `want` into the book, in the place of another offer when it is full.
    ///
    /// # Errors
    /// When they are not what was announced, not to be believed, or over.
    pub(crate) fn take(&mut self, now: Instant, want: Want, bytes: &[u8]) -> Result<Change, Refusal> {
        let node = want.node;
        if DetailsHash::of(bytes) != want.hash {
            return Err(AnnouncementError::OtherDetails(node).into());
        }
        let details = self.config.judge.details(bytes)?;
        let offer = &details.offer;
        if offer.node != node || offer.sequence != want.order.sequence {
            return Err(AnnouncementError::Contradiction {
                announced: node,
                offered: offer.node,
                sequence: offer.sequence,
            }
            .into());
        }
        let expires = want.spoken + Duration::from(offer.ttl);
        if expires <= now {
            return Err(Refusal::Expired(node));
        }
        let valid_for: Millis = expires.saturating_duration_since(now).into();
        let known = self.entries.get(&node);
        let moved = known.is_some_and(|entry| entry.details.signed == details.signed);
        if known.is_none() && self.entries.len() >= self.config.offers {
            self.displace(node)?;
        }
        self.insert(want, details.clone(), expires);
        if moved {
            return Ok(Change::Moved(node, valid_for));
        }
        Ok(Change::Heard(Box::new(HeardOffer {
            offer: details.offer.clone(),
            signed: details.signed.clone(),
            valid_for,
        })))
    }

    /// Makes room in a full book: one that was never met goes by lot. So a node that is new has a chance as good as
    /// any's, however many keys somebody else has made, and those that this node has dealt with stay.
    fn displace(&mut self, newcomer: NodeId) -> Result<(), Refusal> {
        let count = self.listed.len();
        let free = |book: &Self, at: usize| {
            let node = book.listed.get(at).copied()?;
            book.entries.get(&node).is_some_and(|entry| !entry.met).then_some(node)
        };
        let drawn = (0..DRAWS).find_map(|_| {
            let at = self.draw.below(count);
            free(self, at)
        });
        let from = self.draw.below(count);
        let found = drawn.or_else(|| (from..count).chain(0..from).find_map(|at| free(self, at)));
        self.remove(found.ok_or(Refusal::Full(newcomer))?);
        Ok(())
    }

    fn insert(&mut self, want: Want, details: Arc<Details>, expires: Instant) {
        let node = want.node;
        let known = self.entries.get(&node);
        let (at, met) = known.map_or((self.listed.len(), false), |entry| (entry.at, entry.met));
        if known.is_none() {
            self.listed.push(node);
        }
        let entry = Entry {
            digest: want.digest,
            hash: want.hash,
            details,
            spoken: want.spoken,
            expires,
            met,
            at,
        };
        self.entries.insert(node, entry);
        self.first_over = Some(self.first_over.map_or(expires, |first| first.min(expires)));
    }

    fn remove(&mut self, node: NodeId) {
        let Some(entry) = self.entries.remove(&node) else {
            return;
        };
        self.met -= usize::from(entry.met);
        self.listed.swap_remove(entry.at);
        if let Some(moved) = self.listed.get(entry.at)
            && let Some(moved) = self.entries.get_mut(moved)
        {
            moved.at = entry.at;
        }
    }

    /// Notes that `node` has answered a call of ours. At most half of the book is kept so.
    pub(crate) fn meet(&mut self, node: NodeId) {
        let room = self.met < self.config.offers / 2;
        if let Some(entry) = self.entries.get_mut(&node).filter(|entry| !entry.met && room) {
            entry.met = true;
            self.met += 1;
        }
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
        if self.first_over.is_none_or(|first| first > now) {
            return Vec::new();
        }
        let over = self.entries.iter().filter(|(_, entry)| entry.expires <= now);
        let over: Vec<_> = over.map(|(node, _)| *node).collect();
        for node in &over {
            self.remove(*node);
        }
        self.first_over = self.entries.values().map(|entry| entry.expires).min();
        over
    }

    /// Whether `node` has an offer here.
    pub(crate) fn lists(&self, node: NodeId) -> bool {
        self.entries.contains_key(&node)
    }

    /// The newest details of `node`.
    pub(crate) fn newest(&self, node: NodeId) -> Option<&Arc<Details>> {
        self.entries.get(&node).map(|entry| &entry.details)
    }

    /// The details of `node` that have this name.
    pub(crate) fn details(&self, node: NodeId, hash: DetailsHash) -> Option<&Arc<Details>> {
        let entry = self.entries.get(&node).filter(|entry| entry.hash == hash);
        entry.map(|entry| &entry.details)
    }

    /// All offers that hold now.
    pub(crate) fn live(&self, now: Instant) -> Vec<HeardOffer> {
        let live = self.entries.values().filter(|entry| entry.expires > now);
        live.map(|entry| HeardOffer {
            offer: entry.details.offer.clone(),
            signed: entry.details.signed.clone(),
            valid_for: entry.expires.saturating_duration_since(now).into(),
        })
        .collect()
    }

    /// Digests with their ages for a neighbour, in the order of node ids after `after`, up to `max_bytes`; and where to
    /// go on.
    pub(crate) fn page(
        &self,
        now: Instant,
        after: Option<NodeId>,
        max_bytes: usize,
    ) -> (Vec<(Millis, Vec<u8>)>, Option<NodeId>) {
        let (mut items, mut used, mut last) = (Vec::new(), 0_usize, after);
        let lower = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        for (node, entry) in self.entries.range((lower, std::ops::Bound::Unbounded)) {
            used = used.saturating_add(entry.digest.len());
            if used > max_bytes {
                return (items, last);
            }
            last = Some(*node);
            if entry.expires > now {
                let age = now.saturating_duration_since(entry.spoken);
                items.push((age.into(), entry.digest.clone()));
            }
        }
        (items, None)
    }

    /// How much is held: offers, and nodes that are remembered.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.marks.len().max(self.marked.len()))
    }
}

#[cfg(test)]
mod tests;

//! Who brings which piece of a blob from its sender to the nodes of one job, and where the others have it from: the rules alone.
//!
//! For each piece the nodes stand in an order that the piece and their ids draw, the same for all of them. The first brings it from
//! the sender; the others have it from the first. Where the first does not give it, the next one brings it. So no node need tell
//! what it has, and the sender sends about one copy, whichever nodes fail.

use gpux_types::{BlobHash, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The least and the most bytes of a piece, and how many pieces are wanted in between.
const LEAST_PIECE: u64 = 1 << 20;
const MOST_PIECE: u64 = 8 << 20;
const PIECES: u64 = 128;
/// How long a node that has not got a piece yet is left alone: a quarter of the time that all has taken so far, within these.
const ASK_AGAIN: Duration = Duration::from_millis(100);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(2);
/// For how long nothing may come at all before those that are waited for are given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node may refuse because it has not heard of the job yet.
const UNHEARD: Duration = Duration::from_secs(5);
/// How many transfers of a node may fail.
const FAILURES: u32 = 2;
/// How many pieces come from the sender at a time, and how many in all.
const FROM_SENDER: usize = 2;
const AT_A_TIME: usize = 4;

/// Where a piece comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Who sends the blob to all.
    Sender,
    /// Another node that fetches it.
    Peer(NodeId),
}

/// What came of asking for a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is here.
    Here,
    /// The node has not got all of it.
    NotYet,
    /// The node does not give it.
    Refused,
    /// The transfer failed.
    Failed,
    /// The node lied: it is not asked again.
    Lied,
}

/// One piece that is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Which.
    pub(crate) piece: u64,
    /// Where it begins and ends.
    pub(crate) bytes: (u64, u64),
    /// From where.
    pub(crate) source: Source,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Bring this.
    Bring(Order),
    /// Wait until one of those that come is there, or until then.
    Wait(Option<Instant>),
    /// All is here, or the sender alone can help.
    Over,
}

/// The pieces of one blob at one node.
#[derive(Debug)]
pub(crate) struct Pieces {
    hash: BlobHash,
    me: NodeId,
    peers: Vec<NodeId>,
    size: u64,
    piece: u64,
    /// What is not here and does not come now, by this node's own order; when it may be asked for again.
    open: BTreeMap<(u64, u64), Instant>,
    coming: BTreeMap<u64, Source>,
    failures: BTreeMap<NodeId, u32>,
    bad: BTreeSet<NodeId>,
    sender_failed: u32,
    began: Instant,
    /// When something came last.
    came: Instant,
}

impl Pieces {
    /// All pieces of a blob of `size` bytes, to be brought by `me` and `peers`.
    pub(crate) fn new(hash: BlobHash, size: u64, me: NodeId, peers: &[NodeId], now: Instant) -> Self {
        let piece = size
            .div_ceil(PIECES)
            .clamp(LEAST_PIECE, MOST_PIECE)
            .next_multiple_of(LEAST_PIECE);
        // A node's own order is by what the pieces draw for it.
        let open = (0..size.div_ceil(piece)).map(|index| ((weight(hash, index, me), index), now));
        Self {
            hash,
            me,
            peers: peers.iter().copied().filter(|peer| *peer != me).collect(),
            size,
            piece,
            open: open.collect(),
            coming: BTreeMap::new(),
            failures: BTreeMap::new(),
            bad: BTreeSet::new(),
            sender_failed: 0,
            began: now,
            came: now,
        }
    }

    /// What to do now. Asked again after each outcome, and at the time that it names.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.sender_failed >= FAILURES || self.open.is_empty() && self.coming.is_empty() {
            return if self.coming.is_empty() {
                Next::Over
            } else {
                Next::Wait(None)
            };
        }
        if now.duration_since(self.came) > PATIENCE {
            self.give_up_waiting();
            self.came = now;
        }
        if self.coming.len() >= AT_A_TIME {
            return Next::Wait(None);
        }
        let from_sender = self.coming.values().filter(|source| **source == Source::Sender).count();
        let mut soonest = self.came + PATIENCE;
        let mut peers = None;
        for (key, again) in &self.open {
            if *again > now {
                soonest = soonest.min(*again);
                continue;
            }
            match self.source(key.1) {
                Source::Sender if from_sender < FROM_SENDER => {
                    let key = *key;
                    return self.bring(key, Source::Sender);
                }
                Source::Sender => {}
                // What only this node brings from the sender comes first: others wait for it.
                source @ Source::Peer(_) => peers = peers.or(Some((*key, source))),
            }
        }
        match peers {
            Some((key, source)) => self.bring(key, source),
            None => Next::Wait(Some(soonest)),
        }
    }

    /// Notes what came of an order, and whether any bytes came.
    pub(crate) fn done(&mut self, order: Order, outcome: Outcome, any: bool, now: Instant) {
        self.coming.remove(&order.piece);
        if any {
            self.came = now;
        }
        if outcome == Outcome::Here {
            if order.source == Source::Sender {
                self.sender_failed = 0;
            }
            return;
        }
        let asked = now.duration_since(self.began);
        let pause = (asked / 4).clamp(ASK_AGAIN, ASK_AGAIN_AT_MOST);
        match (order.source, outcome) {
            (Source::Sender, _) => self.sender_failed = self.sender_failed.saturating_add(1),
            (Source::Peer(peer), Outcome::Lied) => {
                self.bad.insert(peer);
            }
            (Source::Peer(peer), Outcome::Failed) => {
                let failures = self.failures.entry(peer).or_default();
                *failures = failures.saturating_add(1);
                if *failures >= FAILURES {
                    self.bad.insert(peer);
                }
            }
            (Source::Peer(peer), Outcome::Refused) => {
                if asked > UNHEARD {
                    self.bad.insert(peer);
                }
            }
            (Source::Peer(_), Outcome::NotYet | Outcome::Here) => {}
        }
        let key = (weight(self.hash, order.piece, self.me), order.piece);
        self.open.insert(key, now + pause);
    }

    /// The bytes that are here by pieces.
    pub(crate) fn bytes_here(&self) -> u64 {
        let missing = self.open.keys().map(|(_, index)| index).chain(self.coming.keys());
        let missing = missing.map(|index| {
            let (start, end) = self.range(*index);
            end.saturating_sub(start)
        });
        self.size.saturating_sub(missing.sum())
    }

    fn bring(&mut self, key: (u64, u64), source: Source) -> Next {
        self.open.remove(&key);
        self.coming.insert(key.1, source);
        Next::Bring(Order {
            piece: key.1,
            bytes: self.range(key.1),
            source,
        })
    }

    fn range(&self, index: u64) -> (u64, u64) {
        let start = index.saturating_mul(self.piece);
        (start, start.saturating_add(self.piece).min(self.size))
    }

    /// Where this node has the piece from, as things are: the sender where it is the first by the piece's order.
    fn source(&self, piece: u64) -> Source {
        let own = weight(self.hash, piece, self.me);
        let peers = self.peers.iter().filter(|peer| !self.bad.contains(peer));
        let first = peers.map(|peer| (weight(self.hash, piece, *peer), *peer)).max();
        match first {
            Some((drawn, peer)) if (drawn, peer) > (own, self.me) => Source::Peer(peer),
            _ => Source::Sender,
        }
    }

    /// Nothing came for too long: who is waited for is not waited for any more.
    fn give_up_waiting(&mut self) {
        // All that are waited for now, before the first of them is given up: those after them are not to blame.
        let sources = self.open.keys().map(|(_, piece)| self.source(*piece));
        let waited: Vec<NodeId> = sources
            .filter_map(|source| match source {
                Source::Peer(peer) => Some(peer),
                Source::Sender => None,
            })
            .collect();
        self.bad.extend(waited);
    }
}

/// What is drawn for a node and a piece.
fn weight(hash: BlobHash, piece: u64, node: NodeId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&hash.0).update(&piece.to_le_bytes()).update(&node.0);
    let mut drawn = [0; 8];
    hasher.finalize_xof().fill(&mut drawn);
    u64::from_le_bytes(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 200 << 20;

    fn node(byte: u8) -> NodeId {
        NodeId([byte; 32])
    }

    fn nodes(count: u8) -> Vec<NodeId> {
        (1..=count).map(node).collect()
    }

    /// The nodes of a job, and who of them is up; all are told the same.
    struct Job {
        pieces: Vec<Pieces>,
        here: Vec<BTreeSet<u64>>,
        sent: u64,
        now: Instant,
    }

    impl Job {
        fn of(count: u8) -> Self {
            let (all, now) = (nodes(count), Instant::now());
            let pieces = all
                .iter()
                .map(|me| Pieces::new(BlobHash([7; 32]), SIZE, *me, &all, now));
            Self {
                pieces: pieces.collect(),
                here: vec![BTreeSet::new(); all.len()],
                sent: 0,
                now,
            }
        }

        /// Every order takes no time, until no node has one; peers answer as `says` of them where it does.
        fn run(&mut self, says: impl Fn(NodeId) -> Option<Outcome>) {
            for _ in 0..100_000 {
                let mut over = 0;
                for at in 0..self.pieces.len() {
                    match self.pieces[at].next(self.now) {
                        Next::Over => over += 1,
                        Next::Wait(_) => {}
                        Next::Bring(order) => {
                            let outcome = match order.source {
                                Source::Sender => {
                                    self.sent += order.bytes.1 - order.bytes.0;
                                    Outcome::Here
                                }
                                Source::Peer(peer) => {
                                    let its = &self.here[usize::from(peer.0[0]) - 1];
                                    let has = its.contains(&order.piece);
                                    let honest = if has { Outcome::Here } else { Outcome::NotYet };
                                    says(peer).unwrap_or(honest)
                                }
                            };
                            if outcome == Outcome::Here {
                                self.here[at].insert(order.piece);
                            }
                            self.pieces[at].done(order, outcome, outcome == Outcome::Here, self.now);
                        }
                    }
                }
                if over == self.pieces.len() {
                    return;
                }
                self.now += Duration::from_millis(10);
            }
            panic!("it does not end");
        }
    }

    #[test]
    fn the_sender_sends_each_piece_once_and_every_node_has_all() {
        let mut job = Job::of(20);
        job.run(|_| None);
        assert_eq!(job.sent, SIZE);
        for (pieces, here) in job.pieces.iter().zip(&job.here) {
            assert_eq!((pieces.bytes_here(), here.len()), (SIZE, 100));
        }
    }

    #[test]
    fn nodes_that_give_nothing_cost_a_little_more_and_hold_nobody_up_for_long() {
        for silent in [Outcome::Refused, Outcome::Failed, Outcome::Lied, Outcome::NotYet] {
            let mut job = Job::of(20);
            let began = job.now;
            job.run(|peer| (peer.0[0] <= 5).then_some(silent));
            // What the five bring for themselves is sent once more for the others.
            assert!(job.sent < SIZE * 3 / 2, "{silent:?}: {}", job.sent);
            let took = job.now.duration_since(began);
            assert!(took < PATIENCE * 3, "{silent:?}: {took:?}");
        }
    }

    #[test]
    fn a_node_alone_has_all_from_the_sender() {
        let mut job = Job::of(1);
        job.run(|_| None);
        assert_eq!(job.sent, SIZE);
        let mut alone = Pieces::new(BlobHash([7; 32]), SIZE, node(1), &[node(1)], Instant::now());
        assert!(matches!(alone.next(Instant::now()), Next::Bring(order) if order.source == Source::Sender));
    }

    #[test]
    fn a_sender_that_fails_is_left_to_who_knows_better() {
        let now = Instant::now();
        let mut pieces = Pieces::new(BlobHash([7; 32]), SIZE, node(1), &[], now);
        for _ in 0..FAILURES {
            let Next::Bring(order) = pieces.next(now + PATIENCE / 2) else {
                panic!("nothing")
            };
            pieces.done(order, Outcome::Failed, false, now);
        }
        assert_eq!(pieces.next(now), Next::Over);
    }

    #[test]
    fn nodes_bring_about_as_much_each_and_in_orders_of_their_own() {
        let (all, now) = (nodes(20), Instant::now());
        let mut firsts = BTreeSet::new();
        for me in &all {
            let pieces = Pieces::new(BlobHash([7; 32]), 1 << 30, *me, &all, now);
            let own = pieces
                .open
                .keys()
                .filter(|(_, piece)| pieces.source(*piece) == Source::Sender);
            let own = own.count();
            assert!((1..=16).contains(&own), "of 128 pieces {own}");
            firsts.insert(pieces.open.keys().next().map(|(_, piece)| *piece));
        }
        assert!(firsts.len() > 12, "{firsts:?}");
    }
}

//! The details that this node has heard of and does not have: whom they are asked of, in which turn, and for how long.
//!
//! Invariant: a want is with at most one neighbour at a time. Invariant: when there are too many, a node without an offer
//! in the book gives way by lot, so that a flood of new keys leaves every new node a chance.

use crate::{
    bucket::TokenBucket,
    offers::{
        announcement::DetailsHash,
        book::{Refusal, Want},
        draw::Draw,
        page::{DetailsRequest, MAX_ASKED},
    },
};
use gpux_types::NodeId;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The most wants; at about 300 bytes each.
const MAX_WANTS: usize = 4_096;
/// The most pulls at a time, in all and of one neighbour: one that holds a question must not keep others from being
/// asked. Nodes without an offer in the book take at most half of each: questions for keys that a flood made up and nobody
/// has details of are held by everybody, and must not hold up what is new of nodes that are known.
const MAX_PULLS: usize = 48;
const MAX_PULLS_OF_ONE: usize = 12;
/// How long a pull may take. Above the time that a question is held.
const PULL_TIMEOUT: Duration = Duration::from_secs(4);
/// How often details are asked for: the neighbour that told of them, others, at last the node itself.
const TRIES: u8 = 4;
/// How long after an empty answer the next neighbour is asked.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// New nodes whose details are asked for per minute in the long run; a full book in a burst, for a node that has just
/// joined. Bounds what a flood of new keys makes us fetch: 64 a second of about 450 bytes.
const NEW_PER_MINUTE: u32 = 64 * 60;

#[derive(Debug)]
struct Wanted {
    want: Want,
    /// Whether the book has an older offer of its node.
    known: bool,
    from: NodeId,
    tries: u8,
    after: Instant,
    /// The pull that it is part of.
    pull: Option<u64>,
}

#[derive(Debug)]
struct Pull {
    from: NodeId,
    nodes: Vec<NodeId>,
    until: Instant,
}

#[derive(Debug)]
pub(crate) struct Wants {
    wanted: HashMap<NodeId, Wanted>,
    pulls: HashMap<u64, Pull>,
    next: u64,
    rate: TokenBucket,
    draw: Draw,
}

impl Wants {
    pub(crate) fn new(offers: usize, draw: Draw, now: Instant) -> Self {
        let burst = u32::try_from(offers).unwrap_or(u32::MAX);
        Self {
            wanted: HashMap::new(),
            pulls: HashMap::new(),
            next: 0,
            rate: TokenBucket::new(burst, NEW_PER_MINUTE, now),
            draw,
        }
    }

    /// Wants what `from` has told of.
    pub(crate) fn add(&mut self, now: Instant, from: NodeId, want: Want, known: bool) -> Result<(), Refusal> {
        let node = want.node;
        let again = self.wanted.contains_key(&node);
        if !known && !again && !self.rate.take(now) {
            return Err(Refusal::Crowded(node));
        }
        if !again && self.wanted.len() >= MAX_WANTS {
            self.displace(node)?;
        }
        let wanted = Wanted {
            want,
            known,
            from,
            tries: 0,
            after: now,
            pull: None,
        };
        self.wanted.insert(node, wanted);
        Ok(())
    }

    /// Drops the first stranger that is found; the map's own order is a lot that nobody foresees.
    fn displace(&mut self, newcomer: NodeId) -> Result<(), Refusal> {
        let strangers = self.wanted.iter().filter(|(_, wanted)| !wanted.known);
        let node = strangers.map(|(node, _)| *node).next();
        self.wanted.remove(&node.ok_or(Refusal::Crowded(newcomer))?);
        Ok(())
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.wanted.remove(&node);
    }

    /// Whether the details of `node` are on their way, as far as is known: the neighbour that told of them was asked, and has
    /// not said that it does not have them.
    pub(crate) fn expects(&self, node: NodeId) -> bool {
        self.wanted.get(&node).is_some_and(|wanted| wanted.tries == 0)
    }

    /// Whether half is free: pages are read only then.
    pub(crate) fn has_room(&self) -> bool {
        self.wanted.len() < MAX_WANTS / 2
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wanted.len().max(self.pulls.len())
    }

    /// What pull `id` asks for.
    #[cfg(test)]
    pub(crate) fn asked_by(&self, id: u64) -> Vec<DetailsHash> {
        let wanted = self.wanted.values().filter(|wanted| wanted.pull == Some(id));
        wanted.map(|wanted| wanted.want.hash).collect()
    }

    /// The pulls to begin now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(u64, NodeId, DetailsRequest)> {
        let nodes: Vec<_> = self.wanted.keys().copied().collect();
        self.begin(now, nodes)
    }

    /// The pull for `node`, when it can begin now. To look at all for each digest would let a flood make much work.
    pub(crate) fn due_of(&mut self, now: Instant, node: NodeId) -> Vec<(u64, NodeId, DetailsRequest)> {
        self.begin(now, vec![node])
    }

    fn begin(&mut self, now: Instant, nodes: Vec<NodeId>) -> Vec<(u64, NodeId, DetailsRequest)> {
        let mut begun: Vec<(u64, NodeId, DetailsRequest)> = Vec::new();
        let mut open: HashMap<NodeId, usize> = HashMap::new();
        for pull in self.pulls.values() {
            *open.entry(pull.from).or_default() += 1;
        }
        for node in nodes {
            let ready = |wanted: &&mut Wanted| wanted.pull.is_none() && wanted.after <= now && wanted.tries < TRIES;
            let Some(wanted) = self.wanted.get_mut(&node).filter(ready) else {
                continue;
            };
            let item: (NodeId, DetailsHash) = (node, wanted.want.hash);
            let part = begun
                .iter_mut()
                .find(|(_, from, request)| *from == wanted.from && request.wanted.len() < MAX_ASKED);
            if let Some((id, _, request)) = part {
                request.wanted.push(item);
                wanted.pull = Some(*id);
                continue;
            }
            let of_one = open.entry(wanted.from).or_default();
            let share = if wanted.known { 1 } else { 2 };
            if self.pulls.len() + begun.len() >= MAX_PULLS / share || *of_one >= MAX_PULLS_OF_ONE / share {
                continue;
            }
            *of_one += 1;
            self.next = self.next.wrapping_add(1);
            wanted.pull = Some(self.next);
            begun.push((self.next, wanted.from, DetailsRequest { wanted: vec![item] }));
        }
        for (id, from, request) in &begun {
            let pull = Pull {
                from: *from,
                nodes: request.wanted.iter().map(|(node, _)| *node).collect(),
                until: now + PULL_TIMEOUT,
            };
            self.pulls.insert(*id, pull);
        }
        begun
    }

    /// The wants that the answer to pull `id` fulfils, with their details. Others are asked of somebody else.
    pub(crate) fn told(
        &mut self,
        now: Instant,
        id: u64,
        details: Option<Vec<Vec<u8>>>,
        neighbours: &[NodeId],
    ) -> Vec<(Want, Vec<u8>)> {
        let Some(pull) = self.pulls.remove(&id) else {
            return Vec::new();
        };
        let told = details.into_iter().flatten().take(pull.nodes.len());
        let mut told: HashMap<DetailsHash, Vec<u8>> = told.map(|bytes| (DetailsHash::of(&bytes), bytes)).collect();
        let mut fulfilled = Vec::new();
        let mut rest = Vec::new();
        for node in pull.nodes {
            let Some(wanted) = self.wanted.get_mut(&node).filter(|wanted| wanted.pull == Some(id)) else {
                continue;
            };
            wanted.pull = None;
            match told.remove(&wanted.want.hash) {
                Some(bytes) => fulfilled.extend(self.wanted.remove(&node).map(|wanted| (wanted.want, bytes))),
                None => rest.push(node),
            }
        }
        // Who told some of it is asked for the rest; each time it is less.
        for node in rest.into_iter().filter(|_| fulfilled.is_empty()) {
            if let Some(wanted) = self.wanted.get_mut(&node) {
                retry(wanted, now, neighbours, &mut self.draw);
            }
        }
        fulfilled
    }

    /// Gives up pulls that take too long, and wants that were asked for often enough; tells whose.
    pub(crate) fn expire(&mut self, now: Instant, neighbours: &[NodeId]) -> Vec<NodeId> {
        let late = self.pulls.iter().filter(|(_, pull)| pull.until <= now);
        let late: Vec<_> = late.map(|(id, _)| *id).collect();
        for id in late {
            self.told(now, id, None, neighbours);
        }
        let over = self.wanted.iter().filter(|(_, wanted)| wanted.tries >= TRIES);
        let over: Vec<_> = over.map(|(node, _)| *node).collect();
        for node in &over {
            self.wanted.remove(node);
        }
        over
    }
}

/// The next turn: another neighbour by lot, and the node itself in the last one.
fn retry(wanted: &mut Wanted, now: Instant, neighbours: &[NodeId], draw: &mut Draw) {
    wanted.tries = wanted.tries.saturating_add(1);
    wanted.after = now + TRY_AGAIN;
    let others: Vec<_> = neighbours.iter().filter(|node| **node != wanted.from).collect();
    let drawn = others.get(draw.below(others.len())).map(|node| **node);
    wanted.from = match drawn {
        Some(node) if wanted.tries + 1 < TRIES => node,
        _ => wanted.want.node,
    };
}

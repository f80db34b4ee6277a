//! When neighbours are asked for all the digests that they know: pages and pages, so seldom.
//!
//! The engine asks here; nothing here knows what a digest is.
//!
//! Invariant: whoever makes this node miss gossip, for however long, makes it ask ever more rarely. Otherwise a flood of
//! one neighbour would become traffic of the others: a page has half a MiB.

use gpux_types::NodeId;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How many neighbours are asked after this node was alone. All know the same; one may lie.
const FIRST: usize = 2;
/// After those, a new neighbour is asked so often: two halves of a market that were parted find together again. It is
/// also the longest time between two looks for what a flood drowned.
pub(super) const AGAIN: Duration = Duration::from_secs(600);
/// How many neighbours are asked at a time.
const AT_ONCE: usize = 3;
/// The shortest time between two looks for what was missed; doubled for as long as more is missed.
pub(super) const MISSED_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Syncs {
    /// When neighbours were asked, for as long as they are not asked again.
    asked: HashMap<NodeId, Instant>,
    /// How many were asked since this node was alone, and when the last was.
    count: usize,
    last: Instant,
    /// Whether gossip was lost since it was last looked for.
    missed: bool,
    /// How long it is not looked for again, and until when that is.
    pause: Duration,
    rests_until: Instant,
}

impl Syncs {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            asked: HashMap::new(),
            count: 0,
            last: now,
            missed: false,
            pause: MISSED_AGAIN,
            rests_until: now,
        }
    }

    /// Whether `node`, a neighbour from now on, is to be asked.
    pub(super) fn neighbour(&mut self, now: Instant, node: NodeId) -> bool {
        let long_ago = now.saturating_duration_since(self.last) >= AGAIN;
        (self.count < FIRST || long_ago) && self.ask(now, node)
    }

    /// Nobody is there any more.
    pub(super) fn alone(&mut self) {
        self.count = 0;
    }

    /// Gossip was lost; it is looked for when there is time.
    pub(super) fn missed(&mut self) {
        self.missed = true;
    }

    /// Those of `neighbours` that are to be asked for what was missed.
    pub(super) fn due(&mut self, now: Instant, neighbours: &[NodeId]) -> Vec<NodeId> {
        self.asked
            .retain(|_, asked| now.saturating_duration_since(*asked) < MISSED_AGAIN);
        if self.rests_until > now || !self.asked.is_empty() {
            return Vec::new();
        }
        if !self.missed {
            // A whole pause without a loss: what comes next is a new flood.
            self.pause = MISSED_AGAIN;
            return Vec::new();
        }
        self.missed = false;
        self.rests_until = now + self.pause;
        self.pause = (self.pause * 2).min(AGAIN);
        neighbours.iter().copied().filter(|node| self.ask(now, *node)).collect()
    }

    fn ask(&mut self, now: Instant, node: NodeId) -> bool {
        if self.asked.contains_key(&node) || self.asked.len() >= AT_ONCE {
            return false;
        }
        self.asked.insert(node, now);
        self.count += 1;
        self.last = now;
        true
    }
}

//! Which nodes to take together: all or none, as close together as is wanted, within the total.
//!
//! Each bound is on one node alone, so the best set of a size is the best nodes of one place, or of all places. What is
//! searched is the place. The answer is the set with the lowest score of all sets, except where that one is over the total: then
//! it is the one with the lowest score among the cheapest sets of each closeness. Both cost at most 1.113 times the cheapest set.

use crate::{
    finder::{Finder, Ranked},
    place::{self, Closeness, Place},
    plan::total,
    request::Request,
    score::{apart_factor, set_score},
};
use gpux_types::Amount;
use std::collections::BTreeMap;

/// The fewest nodes to look at for a place at first.
const FIRST_LOOK: usize = 64;

/// How many places are asked for their nodes one by one, beside those in which the renter itself knows or leaves out a node.
/// Peers can make places that promise more than they keep, as many as they like: by rates beyond 64 bits.
const DOUBTS: usize = 8;

/// How many times as many are looked at before all are.
const SECOND_LOOK: usize = 8;

/// How many times as large a market must be for that to be shorter than looking at all.
const SHORTER: usize = 32;

/// How many nodes to look at for a place of `size` at first.
pub(crate) fn first_look(size: usize) -> usize {
    size.saturating_mul(4).max(FIRST_LOOK)
}

/// Nodes to take together, the best first.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) nodes: Vec<Ranked>,
    pub(crate) closeness: Closeness,
    score: u128,
}

impl Set {
    fn of(request: &Request, nodes: Vec<Ranked>) -> Self {
        let closeness = place::closeness(nodes.iter().map(|node| &*node.offer));
        let scores = nodes.iter().map(|node| node.score);
        Self {
            score: set_score(scores, request.topology, closeness),
            nodes,
            closeness,
        }
    }

    pub(crate) fn deposit(&self, request: &Request) -> Amount {
        total(self.nodes.iter().map(|node| node.deposit(request)))
    }
}

/// The best set of `size` nodes of each closeness that the request accepts, the best of all first. Empty when there is
/// none.
pub(crate) fn sets(finder: &Finder<'_>, size: usize) -> Vec<Set> {
    let wanted = finder.request.topology;
    let nodes = finder.best(size, None);
    if nodes.len() < size {
        return Vec::new();
    }
    let anywhere = Set::of(finder.request, nodes);
    let accepted = |set: &Set| !wanted.required || set.closeness >= wanted.closeness;
    let mut sets = Vec::new();
    if wanted.closeness > Closeness::Any && anywhere.closeness < wanted.closeness {
        let mut ceiling = if wanted.required { u128::MAX } else { anywhere.score };
        // A set that is closer together and counts more than one that is less so is dearer too: nobody needs it.
        for closeness in [Closeness::Region, Closeness::Site] {
            if (!wanted.required || closeness >= wanted.closeness)
                && let Some(set) = best_place(finder, size, closeness, ceiling)
            {
                ceiling = set.score;
                sets.push(set);
            }
        }
    }
    sets.push(anywhere);
    sets.retain(accepted);
    sets.sort_by_key(|set| set.score);
    sets
}

/// The set with the lowest score, below `ceiling`, of which all nodes are in one place.
///
/// First among the best of the market, where it mostly is, then among more; a sweep over everything only when that leaves a doubt.
fn best_place(finder: &Finder<'_>, size: usize, closeness: Closeness, ceiling: u128) -> Option<Set> {
    let first = first_look(size);
    let second = first.saturating_mul(SECOND_LOOK);
    let worth_it = second.saturating_mul(SHORTER) <= finder.market();
    let mut best = None;
    for look in std::iter::once(first).chain(worth_it.then_some(second)) {
        let (found, sure) = among_best(finder, size, closeness, (ceiling, look));
        if sure {
            return found;
        }
        best = found;
    }
    sweep(finder, size, closeness, best, ceiling)
}

/// The best set of one place among the best `look` nodes of the market, and whether there can be no better one.
fn among_best(
    finder: &Finder<'_>,
    size: usize,
    closeness: Closeness,
    (ceiling, look): (u128, usize),
) -> (Option<Set>, bool) {
    let request = finder.request;
    let nodes = finder.best(look, None);
    // Whatever was not seen counts at least as much as the last that was.
    let floor = nodes.last().filter(|_| nodes.len() >= look).map(|last| last.score);
    let mut places: BTreeMap<Place, Vec<Ranked>> = BTreeMap::new();
    for node in nodes {
        if let Some(place) = node.place(closeness) {
            let there = places.entry(place).or_default();
            if there.len() < size {
                there.push(node);
            }
        }
    }
    let mut beyond = floor.map_or(u128::MAX, |floor| floor.saturating_mul(as_wide(size)));
    let mut best: Option<Set> = None;
    for there in places.into_values() {
        let missing = as_wide(size - there.len());
        if missing == 0 {
            best = better(best, Set::of(request, there), ceiling);
        } else if let Some(floor) = floor {
            let sum = there.iter().fold(0_u128, |sum, node| sum.saturating_add(node.score));
            beyond = beyond.min(sum.saturating_add(floor.saturating_mul(missing)));
        }
    }
    let limit = best.as_ref().map_or(ceiling, |best| best.score);
    let sure = beyond.saturating_mul(apart_factor(request.topology, closeness)) >= limit;
    (best, sure)
}

/// `best`, or a better set of one place, whatever place that is.
fn sweep(finder: &Finder<'_>, size: usize, closeness: Closeness, mut best: Option<Set>, ceiling: u128) -> Option<Set> {
    let request = finder.request;
    let factor = apart_factor(request.topology, closeness);
    let there = |place: &Place| Some(finder.best(size, Some(place))).filter(|nodes| nodes.len() == size);
    let set = |place: &Place| there(place).map(|nodes| Set::of(request, nodes));
    let one_by_one = DOUBTS.saturating_add(finder.doubts());
    for (looked, (sum, place)) in finder.places(closeness, size).iter().enumerate() {
        let limit = best.as_ref().map_or(ceiling, |best| best.score);
        if sum.saturating_mul(factor) >= limit {
            return best;
        }
        if looked >= one_by_one {
            return match finder.cheapest_place(closeness, size).as_ref().and_then(set) {
                Some(other) => better(best, other, ceiling),
                None => best,
            };
        }
        if let Some(other) = set(place) {
            best = better(best, other, ceiling);
        }
    }
    best
}

/// The set with the lower score, below `ceiling`; the first of two as good.
fn better(best: Option<Set>, other: Set, ceiling: u128) -> Option<Set> {
    let limit = best.as_ref().map_or(ceiling, |best| best.score);
    if other.score < limit { Some(other) } else { best }
}

/// The most nodes that match in one place; for saying that these are fewer than `size`.
pub(crate) fn most_together(finder: &Finder<'_>, closeness: Closeness, size: usize) -> usize {
    // Nodes in one site that name no region are together nevertheless.
    let closer = [Closeness::Region, Closeness::Site]
        .into_iter()
        .filter(|closer| *closer >= closeness);
    let most = closer.map(|closer| finder.most_in_one_place(closer)).max().unwrap_or(0);
    // A node that is excluded may have been counted.
    most.min(size.saturating_sub(1))
}

fn as_wide(count: usize) -> u128 {
    u128::try_from(count).unwrap_or(u128::MAX)
}

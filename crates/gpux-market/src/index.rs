//! The index of a book: which offers meet a request, the best first, without looking at all of them.
//!
//! Offers lie in leaves of up to 64, like ones together: by market, GPU model, region and site, then along a curve
//! through price and sizes. Each leaf has a summary of what no offer in it is better than. A search reads the summaries
//! in one sweep, visits leaves that can hold a match in the order of the best rank that they can have, and ends when
//! that is worse than what it found. So the answer is exact, whatever the shape of the leaves; their order only makes it
//! quick. `docs/decisions/0015-index-of-offers.md` says why.
//!
//! Called by the book alone. Invariant: each offer of the book is in one leaf, and two leaves that are neighbours hold
//! more than 32 together, which bounds memory.

mod labels;
mod leaf;
mod order;
mod query;

use crate::{
    matching::meets,
    offer::Offer,
    place::{Closeness, Place},
    request::Request,
};
use gpux_types::NodeId;
use labels::{Labels, Names, labels_of};
use leaf::{Leaf, Rank, Row, Summary, prefix, slots};
use order::Key;
use query::Query;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

/// Two neighbours with no more than this together become one.
const MERGE: u32 = 32;

/// The offers, by what a request can ask of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    labels: Labels,
    /// The leaf for each key from this one on. No offer that is here has a key before the first.
    order: BTreeMap<Key, usize>,
    /// By the leaf's number, as `leaves`: one run of memory, for the sweep.
    summaries: Vec<Summary>,
    leaves: Vec<Option<Box<Leaf>>>,
    /// Numbers that no leaf has now.
    spare: Vec<usize>,
}

/// An offer that meets a request, in the order of a search: net price, speed, node id.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) net: u128,
    pub(crate) offer: Arc<Offer>,
}

impl Hit {
    fn key(&self) -> (u128, Reverse<u32>, &NodeId) {
        (self.net, Reverse(self.offer.cpu_score), &self.offer.node)
    }

    fn rank(&self) -> Rank {
        Rank {
            net: self.net,
            speed: Reverse(self.offer.cpu_score.into()),
            prefix: prefix(&self.offer.node),
        }
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Hit {}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A place, and the lowest net prices of what matches in it.
#[derive(Debug)]
pub(crate) struct Priced {
    pub(crate) place: Place,
    pub(crate) lowest: Lowest,
}

/// The lowest of some numbers.
#[derive(Debug, Default)]
pub(crate) struct Lowest(BinaryHeap<u128>);

impl Lowest {
    /// Takes one more number, and keeps the lowest `keep`.
    pub(crate) fn add(&mut self, number: u128, keep: usize) {
        if self.0.len() < keep {
            self.0.push(number);
        } else if let Some(mut highest) = self.0.peek_mut()
            && number < *highest
        {
            *highest = number;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u128> {
        self.0.iter().copied()
    }
}

impl Index {
    /// Adds an offer of a node that has none here.
    pub(crate) fn insert(&mut self, offer: Arc<Offer>) {
        let gpus = offer.gpus();
        let labels = labels_of(&offer, gpus.as_ref());
        let labels = labels.map(|label| label.map_or(0, |label| self.labels.take(label)));
        let names = Names::new(&offer, labels);
        let key = Key::of(&offer, gpus.as_ref(), labels);
        let row = Row::of(&offer, gpus.as_ref());
        let at = self.leaf_for(key);
        let full = self.leaf(at).is_some_and(Leaf::is_full);
        let at = if full { self.split(at, &key) } else { at };
        if let Some(leaf) = self.leaf_mut(at) {
            leaf.put(offer, &row, &names);
        }
        self.summarise(at);
    }

    /// Takes an offer out that was inserted.
    pub(crate) fn remove(&mut self, offer: &Offer) {
        let gpus = offer.gpus();
        let labels = labels_of(offer, gpus.as_ref());
        let key = Key::of(offer, gpus.as_ref(), self.labels.ids(&labels));
        if let Some((first, at)) = self.leaf_of(&key) {
            if let Some(leaf) = self.leaf_mut(at) {
                leaf.take(&offer.node);
            }
            self.summarise(at);
            self.merge(first);
        }
        for label in labels.iter().flatten() {
            self.labels.give_back(label);
        }
    }

    /// The best `count` offers that meet `request`, in order, those of one place only where one is named; `skip` leaves
    /// offers out.
    pub(crate) fn cheapest(
        &self,
        request: &Request,
        place: Option<&Place>,
        count: usize,
        skip: &dyn Fn(&Offer) -> bool,
    ) -> Vec<Hit> {
        let Some(query) = Query::new(request, place, &self.labels) else {
            return Vec::new();
        };
        if count == 0 {
            return Vec::new();
        }
        let possible = self.summaries.iter().zip(0_usize..);
        let possible = possible.filter_map(|(summary, at)| Some(Reverse((summary.best(&query)?, at))));
        let mut possible: BinaryHeap<_> = possible.collect::<Vec<_>>().into();
        let mut best: BinaryHeap<Hit> = BinaryHeap::new();
        while let Some(Reverse((rank, at))) = possible.pop() {
            if best.len() >= count && best.peek().is_some_and(|worst| rank > worst.rank()) {
                break;
            }
            if let Some(leaf) = self.leaf(at) {
                visit(leaf, &query, count, &mut best, skip);
            }
        }
        best.into_sorted_vec()
    }

    /// Every place in which at least `size` offers meet `request`, with the `size` lowest net prices there.
    ///
    /// It takes what columns and names tell for a match: an offer that is excluded counts, and a rate beyond 64 bits counts
    /// less. So a price is never too high.
    pub(crate) fn places(&self, request: &Request, closeness: Closeness, size: usize) -> Vec<Priced> {
        let mut places: Vec<Priced> = Vec::new();
        let Some(query) = Query::new(request, None, &self.labels) else {
            return places;
        };
        // Where the place of each number is in `places`, counted from 1.
        let mut known = vec![0_usize; self.labels.numbers()];
        self.sweep(&query, closeness, size, |id, net, offer| {
            let Some(at) = known.get_mut(id) else { return };
            if *at == 0 {
                let Some(place) = Place::of(offer, closeness) else {
                    return;
                };
                places.push(Priced {
                    place,
                    lowest: Lowest::default(),
                });
                *at = places.len();
            }
            if let Some(place) = places.get_mut(*at - 1) {
                place.lowest.add(net, size);
            }
        });
        places.retain(|place| place.lowest.len() == size);
        places
    }

    /// The most offers that meet `request` in any place, as [`Index::places`] counts them: never too few.
    pub(crate) fn most_in_one_place(&self, request: &Request, closeness: Closeness) -> usize {
        let Some(query) = Query::new(request, None, &self.labels) else {
            return 0;
        };
        let mut counts = vec![0_usize; self.labels.numbers()];
        self.sweep(&query, closeness, 1, |id, _, _| {
            if let Some(count) = counts.get_mut(id) {
                *count += 1;
            }
        });
        counts.into_iter().max().unwrap_or(0)
    }

    /// Calls `found` with every offer that meets `request`, in no order.
    pub(crate) fn all(&self, request: &Request, mut found: impl FnMut(&Arc<Offer>)) {
        let Some(query) = Query::new(request, None, &self.labels) else {
            return;
        };
        for leaf in self.possible(&query) {
            let offers = slots(leaf.matches(&query)).filter_map(|slot| leaf.offer(slot));
            offers.filter(|offer| meets(request, offer)).for_each(&mut found);
        }
    }

    /// The leaves that can hold a match, in no order.
    fn possible(&self, query: &Query<'_>) -> impl Iterator<Item = &Leaf> {
        let leaves = self.summaries.iter().zip(&self.leaves);
        leaves.filter_map(|(summary, leaf)| summary.best(query).and(leaf.as_deref()))
    }

    /// Calls `found` with the number of its place, its net price and itself for each offer that meets what columns and names
    /// tell, and is in a place with at least `size` offers of any kind.
    fn sweep(&self, query: &Query<'_>, closeness: Closeness, size: usize, mut found: impl FnMut(usize, u128, &Offer)) {
        for leaf in self.possible(query) {
            for slot in slots(leaf.matches(query)) {
                let id = leaf.place(slot, closeness);
                if self.labels.count(id) < size.max(1) {
                    continue;
                }
                let net = leaf.rank(slot, query).net;
                if net <= query.max_net
                    && let (Some(offer), Ok(id)) = (leaf.offer(slot), usize::try_from(id))
                {
                    found(id, net, offer);
                }
            }
        }
    }

    /// Bytes that the index takes beside the offers, allocations of the allocator's own aside.
    pub(crate) fn bytes(&self) -> usize {
        let leaves: usize = self.leaves.iter().flatten().map(|leaf| leaf.bytes()).sum();
        let summaries = self.summaries.capacity() * size_of::<Summary>();
        leaves + summaries + self.order.len() * size_of::<(Key, usize)>() + self.labels.bytes()
    }

    fn leaf_of(&self, key: &Key) -> Option<(Key, usize)> {
        let before = self.order.range(..=key).next_back();
        before.map(|(first, at)| (*first, *at))
    }

    /// The leaf that a key is to be in. The first leaf begins earlier for a key that is before it.
    fn leaf_for(&mut self, key: Key) -> usize {
        if let Some((_, at)) = self.leaf_of(&key) {
            return at;
        }
        let at = self.order.pop_first().map_or_else(|| self.new_leaf(), |(_, at)| at);
        self.order.insert(key, at);
        at
    }

    fn new_leaf(&mut self) -> usize {
        let at = self.spare.pop().unwrap_or_else(|| {
            self.leaves.push(None);
            self.summaries.push(Summary::NOTHING);
            self.leaves.len() - 1
        });
        if let Some(place) = self.leaves.get_mut(at) {
            *place = Some(Leaf::empty());
        }
        at
    }

    fn leaf(&self, at: usize) -> Option<&Leaf> {
        self.leaves.get(at)?.as_deref()
    }

    fn leaf_mut(&mut self, at: usize) -> Option<&mut Leaf> {
        self.leaves.get_mut(at)?.as_deref_mut()
    }

    fn summarise(&mut self, at: usize) {
        let new = self.leaf_mut(at).map_or(Summary::NOTHING, Leaf::summarise);
        if let Some(summary) = self.summaries.get_mut(at) {
            *summary = new;
        }
    }

    /// Everything in a leaf with what placing it again needs, by key.
    fn contents(&self, at: usize) -> Vec<(Key, Arc<Offer>, Row, Names)> {
        let offers = self.leaf(at).into_iter().flat_map(Leaf::offers);
        let mut contents: Vec<_> = offers
            .map(|offer| {
                let gpus = offer.gpus();
                let labels = self.labels.ids(&labels_of(offer, gpus.as_ref()));
                let key = Key::of(offer, gpus.as_ref(), labels);
                let row = Row::of(offer, gpus.as_ref());
                (key, Arc::clone(offer), row, Names::new(offer, labels))
            })
            .collect();
        contents.sort_unstable_by_key(|(key, ..)| *key);
        contents
    }

    /// Moves the upper half of a full leaf to a new one, and tells which of both a key belongs to.
    fn split(&mut self, at: usize, key: &Key) -> usize {
        let contents = self.contents(at);
        let new = self.new_leaf();
        let Some((first, ..)) = contents.get(contents.len() / 2) else {
            return at;
        };
        let first = *first;
        self.order.insert(first, new);
        for (_, offer, row, names) in contents.into_iter().filter(|(key, ..)| *key >= first) {
            if let Some(leaf) = self.leaf_mut(at) {
                leaf.take(&offer.node);
            }
            if let Some(leaf) = self.leaf_mut(new) {
                leaf.put(offer, &row, &names);
            }
        }
        self.summarise(at);
        self.summarise(new);
        if *key >= first { new } else { at }
    }

    /// Joins the leaf that begins at `first` with a neighbour where both hold little, and drops it when it is empty.
    fn merge(&mut self, first: Key) {
        let before = self.order.range(..first).next_back().map(|(key, _)| *key);
        let after = self
            .order
            .range((std::ops::Bound::Excluded(first), std::ops::Bound::Unbounded));
        let after = after.map(|(key, _)| *key).next();
        let pairs = [before.map(|before| (before, first)), after.map(|after| (first, after))];
        for (left, right) in pairs.into_iter().flatten() {
            let (Some(into), Some(from)) = (self.order.get(&left).copied(), self.order.get(&right).copied()) else {
                continue;
            };
            if self.len_of(into) + self.len_of(from) <= MERGE {
                for (_, offer, row, names) in self.contents(from) {
                    if let Some(leaf) = self.leaf_mut(into) {
                        leaf.put(offer, &row, &names);
                    }
                }
                self.drop_leaf(&right, from);
                self.summarise(into);
                return;
            }
        }
        if let Some(at) = self.order.get(&first).copied()
            && self.len_of(at) == 0
        {
            self.drop_leaf(&first, at);
        }
    }

    fn drop_leaf(&mut self, first: &Key, at: usize) {
        self.order.remove(first);
        if let Some(place) = self.leaves.get_mut(at) {
            *place = None;
        }
        self.summarise(at);
        self.spare.push(at);
    }

    fn len_of(&self, at: usize) -> u32 {
        self.leaf(at).map_or(0, Leaf::len)
    }
}

/// Takes from a leaf what is among the best `count`.
fn visit(leaf: &Leaf, query: &Query<'_>, count: usize, best: &mut BinaryHeap<Hit>, skip: &dyn Fn(&Offer) -> bool) {
    for slot in slots(leaf.matches(query)) {
        let rank = leaf.rank(slot, query);
        let full = best.len() >= count;
        if rank.net > query.max_net || full && best.peek().is_some_and(|worst| rank > worst.rank()) {
            continue;
        }
        let Some(offer) = leaf.offer(slot) else { continue };
        if skip(offer) || !meets(query.request, offer) {
            continue;
        }
        let net = query.request.net_price(offer).0.units();
        let hit = Hit {
            net,
            offer: Arc::clone(offer),
        };
        if !full {
            best.push(hit);
        } else if let Some(mut worst) = best.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
    }
}

//! The best nodes for a request, one by one: the index's answer for nodes that the renter does not know, and each node
//! that it knows by itself, in one order.
//!
//! The index orders by price. What the renter knows of a node moves it, so known nodes are looked at one at a time: they
//! are as many as the renter has used, never as many as the market has.

use crate::{
    book::OfferBook,
    cost::LeaseCost,
    index::Lowest,
    matching::meets,
    offer::Offer,
    place::{Closeness, Place},
    plan::Candidate,
    request::Request,
    score::{Known, Reliability, node_score},
};
use gpux_types::{Amount, NodeId, PricePerHour};
use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the best is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The lowest score.
    Score,
    /// The lowest price, whatever the renter knows.
    Price,
}

/// A node that meets the request alone.
#[derive(Debug, Clone)]
pub(crate) struct Ranked {
    pub(crate) score: u128,
    /// What the score would be by the price alone: of two as good, the cheaper comes first.
    net: u128,
    reliability: Reliability,
    pub(crate) offer: Arc<Offer>,
}

impl Ranked {
    fn key(&self) -> (u128, u128, Reverse<u32>, NodeId) {
        (self.score, self.net, Reverse(self.offer.cpu_score), self.offer.node)
    }

    pub(crate) fn candidate(&self, request: &Request) -> Candidate {
        Candidate {
            offer: Arc::clone(&self.offer),
            reliability: self.reliability,
            cost: LeaseCost::of(request, &self.offer),
        }
    }

    pub(crate) fn deposit(&self, request: &Request) -> Amount {
        LeaseCost::of(request, &self.offer).deposit
    }

    pub(crate) fn place(&self, closeness: Closeness) -> Option<Place> {
        Place::of(&self.offer, closeness)
    }
}

/// Finds nodes for one request.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    pub(crate) request: &'a Request,
    book: &'a OfferBook,
    known: &'a Known,
    order: Order,
    /// Those of the known nodes that meet the request, the best first.
    used: Vec<Ranked>,
    /// The longest answer so far for nodes anywhere, since plans ask again for a part of it.
    seen: RefCell<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    asked: usize,
    nodes: Vec<Ranked>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(request: &'a Request, book: &'a OfferBook, known: &'a Known, order: Order) -> Self {
        let mut finder = Self {
            request,
            book,
            known,
            order,
            used: Vec::new(),
            seen: RefCell::default(),
        };
        let offers = known.nodes().filter_map(|node| book.get(node));
        let offers = offers.filter(|offer| meets(request, offer) && known.of(&offer.node) >= request.min_reliability);
        finder.used = offers.map(|offer| finder.ranked(offer)).collect();
        finder.used.sort_unstable_by_key(Ranked::key);
        finder
    }

    /// The same nodes by price alone.
    pub(crate) fn by_price(&self) -> Self {
        let mut finder = Self::new(self.request, self.book, self.known, Order::Price);
        if self.used.is_empty() {
            // Nothing is known of any of them: one order is the other.
            let mut seen = self.seen.borrow().clone();
            seen.nodes = seen.nodes.iter().map(|node| finder.ranked(&node.offer)).collect();
            finder.seen = RefCell::new(seen);
        }
        finder
    }

    fn ranked(&self, offer: &Arc<Offer>) -> Ranked {
        let reliability = self.known.of(&offer.node);
        let judged = match self.order {
            Order::Score => reliability,
            Order::Price => Reliability::PERFECT,
        };
        let net = self.request.net_price(offer);
        Ranked {
            score: node_score(net.gross_of_net(self.request.builder_share), judged),
            net: net.0.units(),
            reliability,
            offer: Arc::clone(offer),
        }
    }

    /// The best `count` nodes, or all that there are, in order; those of one place only where one is named.
    pub(crate) fn best(&self, count: usize, place: Option<&Place>) -> Vec<Ranked> {
        if place.is_some() {
            return self.find(count, place);
        }
        let mut seen = self.seen.borrow_mut();
        // An answer that was shorter than asked is all that there is.
        if count > seen.asked && seen.nodes.len() >= seen.asked {
            *seen = Seen {
                asked: count,
                nodes: self.find(count, None),
            };
        }
        seen.nodes.iter().take(count).cloned().collect()
    }

    fn find(&self, count: usize, place: Option<&Place>) -> Vec<Ranked> {
        let closeness = match place {
            None => Closeness::Any,
            Some(Place::Region(_)) => Closeness::Region,
            Some(Place::Site { .. }) => Closeness::Site,
        };
        let here = |ranked: &&Ranked| place.is_none() || ranked.place(closeness).as_ref() == place;
        let mut found: Vec<Ranked> = self.used.iter().filter(here).take(count).cloned().collect();
        if Reliability::UNKNOWN >= self.request.min_reliability {
            let skip = |offer: &Offer| self.known.has(&offer.node);
            let hits = self.book.index().cheapest(self.request, place, count, &skip);
            found.extend(hits.iter().map(|hit| self.ranked(&hit.offer)));
            found.sort_unstable_by_key(Ranked::key);
            found.truncate(count);
        }
        found
    }

    /// Every place with at least `size` nodes that match, and the least that a set of `size` there can sum to: exactly the sum
    /// of its scores, unless the renter knows one of the nodes there, or an excluded one is cheap. The least first.
    pub(crate) fn places(&self, closeness: Closeness, size: usize) -> Vec<(u128, Place)> {
        if Reliability::UNKNOWN < self.request.min_reliability {
            return self.places_of_used(closeness, size);
        }
        let used: BTreeSet<Place> = self.used.iter().filter_map(|node| node.place(closeness)).collect();
        let places = self.book.index().places(self.request, closeness, size);
        let mut places: Vec<_> = places
            .into_iter()
            .map(|priced| {
                let judged = match self.order {
                    Order::Score if !used.contains(&priced.place) => Reliability::UNKNOWN,
                    Order::Score | Order::Price => Reliability::PERFECT,
                };
                let scores = priced.lowest.iter().map(|net| {
                    let net = PricePerHour(Amount::new(net).unwrap_or(Amount::MAX));
                    node_score(net.gross_of_net(self.request.builder_share), judged)
                });
                (scores.fold(0_u128, u128::saturating_add), priced.place)
            })
            .collect();
        places.sort_unstable();
        places
    }

    /// How many offers there are, of any kind.
    pub(crate) fn market(&self) -> usize {
        self.book.len()
    }

    /// In how many places [`Finder::places`] may promise too much for the renter's own doing.
    pub(crate) fn doubts(&self) -> usize {
        self.used.len().saturating_add(self.request.exclude.len())
    }

    /// The place in which `size` nodes sum to the least, for which every node that matches is looked at.
    pub(crate) fn cheapest_place(&self, closeness: Closeness, size: usize) -> Option<Place> {
        let mut places: BTreeMap<Place, Lowest> = BTreeMap::new();
        let mut add = |place: Option<Place>, score: u128| {
            if let Some(place) = place {
                places.entry(place).or_default().add(score, size);
            }
        };
        for node in &self.used {
            add(node.place(closeness), node.score);
        }
        if Reliability::UNKNOWN >= self.request.min_reliability {
            self.book.index().all(self.request, |offer| {
                if !self.known.has(&offer.node) {
                    let node = self.ranked(offer);
                    add(node.place(closeness), node.score);
                }
            });
        }
        let whole = places.into_iter().filter(|(_, lowest)| lowest.len() == size);
        let sums = whole.map(|(place, lowest)| (lowest.iter().fold(0_u128, u128::saturating_add), place));
        sums.min().map(|(_, place)| place)
    }

    fn places_of_used(&self, closeness: Closeness, size: usize) -> Vec<(u128, Place)> {
        let mut scores: BTreeMap<Place, Vec<u128>> = BTreeMap::new();
        for node in &self.used {
            if let Some(place) = node.place(closeness) {
                scores.entry(place).or_default().push(node.score);
            }
        }
        let sum = |scores: &[u128]| scores.iter().copied().fold(0_u128, u128::saturating_add);
        let enough = scores.into_iter();
        let mut places: Vec<_> = enough
            .filter_map(|(place, scores)| Some((sum(scores.get(..size)?), place)))
            .collect();
        places.sort_unstable();
        places
    }

    /// The most nodes that match in one place of a closeness.
    pub(crate) fn most_in_one_place(&self, closeness: Closeness) -> usize {
        if Reliability::UNKNOWN >= self.request.min_reliability {
            return self.book.index().most_in_one_place(self.request, closeness);
        }
        let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
        for place in self.used.iter().filter_map(|node| node.place(closeness)) {
            *counts.entry(place).or_default() += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }
}

//! The plan for a request: which offers to take. Which to ask next, and why every other one would not do, is told on demand, see
//! [`Plan::alternatives`] and [`crate::explain`].

use crate::{
    book::OfferBook,
    cost::LeaseCost,
    finder::{Finder, Order},
    gang::{self, Set},
    offer::Offer,
    place::{Closeness, Place},
    request::Request,
    score::{Known, Reliability},
};
use gpux_types::{Amount, NodeId, PricePerHour, Token};
use std::sync::Arc;

/// An offer that matches alone, and its cost under the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The offer.
    pub offer: Arc<Offer>,
    /// What the renter knows of the node.
    pub reliability: Reliability,
    /// What the lease would cost.
    pub cost: LeaseCost,
}

/// Why no nodes were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortfall {
    /// The book is empty.
    NoOffers,
    /// Not enough nodes match.
    TooFewNodes {
        /// Requested.
        wanted: u32,
        /// Found.
        matching: usize,
    },
    /// Enough nodes match, but the cheapest choice of them is over the limit of all deposits together.
    OverTotal {
        /// The sum of the cheapest deposits.
        cheapest: Amount,
        /// The renter's limit.
        max: Amount,
    },
    /// Enough nodes match, but too few of them are together.
    TooFewTogether {
        /// Requested.
        wanted: u32,
        /// How close together.
        closeness: Closeness,
        /// The most that are together.
        most: usize,
    },
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// As many nodes as requested, best first, or none.
    pub chosen: Vec<Candidate>,
    /// As many to stand by as requested, best first, or none. They are leased too.
    pub spares: Vec<Candidate>,
    /// How close together all of them are.
    pub closeness: Closeness,
    /// Why nothing was chosen; `None` when the request matched.
    pub shortfall: Option<Shortfall>,
}

impl Plan {
    /// How many [`Plan::alternatives`] there are when nothing is taken; two more for each node that is.
    pub const ALTERNATIVES: usize = 8;

    /// Whether the request got its nodes.
    #[must_use]
    pub const fn is_match(&self) -> bool {
        self.shortfall.is_none()
    }

    /// The nodes that would be leased: the chosen ones, then the spares.
    pub fn taken(&self) -> impl Iterator<Item = &Candidate> {
        self.chosen.iter().chain(&self.spares)
    }

    /// The next best offers that match alone, the best first: in the same place where the request insists on one. A question of its
    /// own, since it takes three times as long as the decision.
    #[must_use]
    pub fn alternatives(&self, request: &Request, book: &OfferBook, known: &Known) -> Vec<Candidate> {
        let taken: Vec<NodeId> = self.taken().map(|candidate| candidate.offer.node).collect();
        let first = self.chosen.first().filter(|_| request.topology.required);
        let place = first.and_then(|first| Place::of(&first.offer, self.closeness));
        let count = Self::ALTERNATIVES.saturating_add(taken.len().saturating_mul(2));
        let found = Finder::new(request, book, known, Order::Score).best(count, place.as_ref());
        let others = found.iter().filter(|other| !taken.contains(&other.offer.node));
        others.map(|other| other.candidate(request)).collect()
    }

    /// The sum of all deposits: the worst case of the whole job, top-ups aside.
    #[must_use]
    pub fn total_deposit(&self) -> Amount {
        total(self.taken().map(|candidate| candidate.cost.deposit))
    }

    /// What all chosen nodes together cost per hour, the builder's share included.
    #[must_use]
    pub fn total_price(&self) -> PricePerHour {
        PricePerHour(total(self.taken().map(|candidate| candidate.cost.gross.0)))
    }
}

impl Shortfall {
    /// The shortfall as one line: `only 2 of 3 nodes match`.
    #[must_use]
    pub fn text(&self, token: &Token) -> String {
        match self {
            Self::NoOffers => "no offers are known".to_owned(),
            Self::TooFewNodes { wanted: _, matching: 0 } => "no node matches".to_owned(),
            Self::TooFewNodes { wanted, matching } => format!("only {matching} of {wanted} nodes match"),
            Self::OverTotal { cheapest, max } => {
                let (cheapest, max) = (token.format(*cheapest), token.format(*max));
                format!("the cheapest deposits sum to {cheapest}, over max_total of {max}")
            }
            Self::TooFewTogether {
                wanted,
                closeness,
                most,
            } => format!("only {most} of {wanted} nodes that match are {closeness}"),
        }
    }
}

/// Plans `request` over `book`: the set of nodes with the lowest score, see [`crate::set_score`].
///
/// All or nothing: either every node that was requested is chosen, spares included, or none; where the request says that
/// fewer are enough, the most that can be had. `known` is the renter's own memory of nodes.
#[must_use]
pub fn plan(request: &Request, book: &OfferBook, known: &Known) -> Plan {
    let finder = Finder::new(request, book, known, Order::Score);
    if request.topology.closeness > Closeness::Any {
        // One look at the market for the nodes and for places.
        finder.best(gang::first_look(request.all_nodes()), None);
    }
    let by_price = std::cell::OnceCell::new();
    let cheapest = || by_price.get_or_init(|| finder.by_price());
    // Without a total, what one order does not find the other does not either.
    let another = |size| request.max_total.and_then(|_| within_total(cheapest(), size));
    let set = |size| within_total(&finder, size).or_else(|| another(size));
    match most(request.enough_nodes(), request.all_nodes(), &set) {
        Some(set) => chosen(request, set),
        None => Plan {
            chosen: Vec::new(),
            spares: Vec::new(),
            closeness: Closeness::Any,
            shortfall: Some(match request.max_total {
                Some(_) => shortfall(cheapest(), book.is_empty()),
                None => shortfall(&finder, book.is_empty()),
            }),
        },
    }
}

/// The best set of a size whose deposits are within the total.
fn within_total(finder: &Finder<'_>, size: usize) -> Option<Set> {
    let request = finder.request;
    let fits = |set: &Set| request.max_total.is_none_or(|max| set.deposit(request) <= max);
    gang::sets(finder, size).into_iter().find(fits)
}

/// What `found` has for the greatest size from `enough` to `all` for which it has anything. Where a size is possible, each
/// smaller one is.
fn most<T>(enough: usize, all: usize, found: &dyn Fn(usize) -> Option<T>) -> Option<T> {
    if let Some(all) = found(all) {
        return Some(all);
    }
    if enough >= all {
        return None;
    }
    let mut best = found(enough)?;
    let (mut possible, mut impossible) = (enough, all);
    while possible + 1 < impossible {
        let middle = possible + (impossible - possible) / 2;
        match found(middle) {
            Some(more) => (possible, best) = (middle, more),
            None => impossible = middle,
        }
    }
    Some(best)
}

fn chosen(request: &Request, set: Set) -> Plan {
    let taken = set.nodes.len();
    let mut nodes: Vec<_> = set.nodes.iter().map(|node| node.candidate(request)).collect();
    let spares = usize::try_from(request.spares).unwrap_or(usize::MAX);
    let spares = nodes.split_off(taken.saturating_sub(spares));
    Plan {
        chosen: nodes,
        spares,
        closeness: set.closeness,
        shortfall: None,
    }
}

/// Why there is no set of the least size that would do.
fn shortfall(finder: &Finder<'_>, book_is_empty: bool) -> Shortfall {
    let (request, size) = (finder.request, finder.request.enough_nodes());
    let wanted = u32::try_from(size).unwrap_or(u32::MAX);
    if book_is_empty {
        return Shortfall::NoOffers;
    }
    let matching = finder.best(size, None).len();
    if matching < size {
        return Shortfall::TooFewNodes { wanted, matching };
    }
    let cheapest = || gang::sets(finder, size).iter().map(|set| set.deposit(request)).min();
    match request.max_total.and_then(|max| Some((cheapest()?, max))) {
        Some((cheapest, max)) => Shortfall::OverTotal { cheapest, max },
        None => Shortfall::TooFewTogether {
            wanted,
            closeness: request.topology.closeness,
            most: gang::most_together(finder, request.topology.closeness, size),
        },
    }
}

/// The sum, cut to the largest amount.
pub(crate) fn total(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, Amount::saturating_add)
}

//! The plan for a request: which offers to take, which else would do, and why every other one would not.

use crate::{
    book::OfferBook,
    change::Nearest,
    cost::{LeaseCost, gross_price},
    matching, nearest,
    offer::Offer,
    request::Request,
};
use gpux_types::{Amount, NodeId, PricePerHour, Token};
use std::{cmp::Reverse, sync::Arc};

use crate::matching::Reason;

/// How well a node kept its word so far, in thousandths, as the renter's own records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reliability(u16);

impl Reliability {
    /// Of a node that the renter never used. Below any node that kept its word, above any that often broke it.
    pub const UNKNOWN: Self = Self(500);
    /// Of a node that always kept its word.
    pub const PERFECT: Self = Self(1_000);

    /// A share of kept leases, in thousandths, cut to 1,000.
    #[must_use]
    pub const fn per_mille(kept: u16) -> Self {
        if kept > 1_000 { Self(1_000) } else { Self(kept) }
    }

    /// Thousandths.
    #[must_use]
    pub const fn as_per_mille(self) -> u16 {
        self.0
    }
}

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

/// An offer that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The offer.
    pub offer: Arc<Offer>,
    /// Every reason, at least one.
    pub reasons: Vec<Reason>,
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
}

/// What a request gets. Every offer of the book is in exactly one of the three lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// As many nodes as requested, best first, or none.
    pub chosen: Vec<Candidate>,
    /// Offers that match alone and were not chosen, best first.
    pub alternatives: Vec<Candidate>,
    /// All other offers, by node id.
    pub rejected: Vec<Rejection>,
    /// Why nothing was chosen; `None` when the request matched.
    pub shortfall: Option<Shortfall>,
    /// When nothing was chosen: changes that would make the request match, the nearest first, at most
    /// [`Plan::MAX_NEAREST`]. Empty only when no change can: no offer of this escrow and token.
    pub nearest: Vec<Nearest>,
}

impl Plan {
    /// The most advice that a plan gives.
    pub const MAX_NEAREST: usize = 3;

    /// Whether the request got its nodes.
    #[must_use]
    pub const fn is_match(&self) -> bool {
        self.shortfall.is_none()
    }

    /// The sum of the chosen deposits: the worst case of the whole job, top-ups aside.
    #[must_use]
    pub fn total_deposit(&self) -> Amount {
        total(self.chosen.iter().map(|candidate| candidate.cost.deposit))
    }

    /// What all chosen nodes together cost per hour, the builder's share included.
    #[must_use]
    pub fn total_price(&self) -> PricePerHour {
        PricePerHour(total(self.chosen.iter().map(|candidate| candidate.cost.gross.0)))
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
        }
    }
}

/// Plans `request` over `book`: cheapest first, then the more reliable, then the faster.
///
/// All or nothing: either every node that was requested is chosen, or none. `reliability` is the renter's own memory of
/// a node and is asked once for each offer that matches.
#[must_use]
pub fn plan(request: &Request, book: &OfferBook, reliability: &dyn Fn(&NodeId) -> Reliability) -> Plan {
    let mut matching = Vec::new();
    let mut rejected = Vec::new();
    for offer in book.iter() {
        let reasons = matching::unmet(request, offer, gross_price(request, offer));
        let offer = Arc::clone(offer);
        if reasons.is_empty() {
            let reliability = reliability(&offer.node);
            let cost = LeaseCost::of(request, &offer);
            matching.push(Candidate {
                offer,
                reliability,
                cost,
            });
        } else {
            rejected.push(Rejection { offer, reasons });
        }
    }
    // The node id makes the order total, so that equal offers never swap between two plans. Keys are cached because
    // offers lie scattered in memory.
    matching.sort_by_cached_key(|candidate| {
        let Candidate {
            offer,
            reliability,
            cost,
        } = candidate;
        (cost.gross, Reverse(*reliability), Reverse(offer.cpu_score), offer.node)
    });
    let shortfall = shortfall(request, &matching, book.is_empty());
    if shortfall.is_none() {
        let alternatives = matching.split_off(wanted(request));
        return Plan {
            chosen: matching,
            alternatives,
            rejected,
            shortfall,
            nearest: Vec::new(),
        };
    }
    let nearest = nearest::nearest(request, &matching, &rejected);
    Plan {
        chosen: Vec::new(),
        alternatives: matching,
        rejected,
        shortfall,
        nearest,
    }
}

fn shortfall(request: &Request, matching: &[Candidate], book_is_empty: bool) -> Option<Shortfall> {
    if book_is_empty {
        return Some(Shortfall::NoOffers);
    }
    let Some(cheapest) = matching.get(..wanted(request)) else {
        let (wanted, matching) = (request.nodes.get(), matching.len());
        return Some(Shortfall::TooFewNodes { wanted, matching });
    };
    // Deposits grow with the price, so no other choice of as many nodes is cheaper.
    let cheapest = total(cheapest.iter().map(|candidate| candidate.cost.deposit));
    let max = request.max_total.filter(|max| cheapest > *max)?;
    Some(Shortfall::OverTotal { cheapest, max })
}

/// How many nodes the request wants, as a length.
pub(crate) fn wanted(request: &Request) -> usize {
    usize::try_from(request.nodes.get()).unwrap_or(usize::MAX)
}

/// The sum, cut to the largest amount.
pub(crate) fn total(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, Amount::saturating_add)
}

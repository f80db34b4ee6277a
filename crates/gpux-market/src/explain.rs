//! Why offers do not match, and what would. For people who ask: it looks at every offer of the book, which the book's
//! limit bounds.

use crate::{
    book::OfferBook,
    change::Nearest,
    matching::{Reason, unmet},
    nearest,
    offer::Offer,
    request::Request,
    score::Known,
};
use std::{collections::BTreeMap, sync::Arc};

/// An offer that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The offer.
    pub offer: Arc<Offer>,
    /// Every reason, at least one.
    pub reasons: Vec<Reason>,
}

/// Every offer that does not meet `request` alone, by node id, with every reason.
#[must_use]
pub fn rejections(request: &Request, book: &OfferBook, known: &Known) -> Vec<Rejection> {
    let rejection = |offer: &Arc<Offer>| {
        let reasons = unmet(request, offer, known.of(&offer.node));
        (!reasons.is_empty()).then(|| Rejection {
            offer: Arc::clone(offer),
            reasons,
        })
    };
    book.iter().filter_map(rejection).collect()
}

/// The offers of a book that do not match, in numbers, and the first of them in full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    /// How many offers do not match.
    pub offers: usize,
    /// How many fail each bound, by [`Reason::name`]; an offer counts once for each.
    pub by_reason: BTreeMap<&'static str, usize>,
    /// The first by node id.
    pub first: Vec<Rejection>,
}

impl Rejected {
    /// Whether some offers fail and all of them by their price alone.
    #[must_use]
    pub fn only_too_dear(&self) -> bool {
        self.offers > 0 && self.by_reason.keys().eq([&Reason::PRICE])
    }
}

/// Why the offers of `book` do not meet `request`: how many for which reason, and the first `named` of them with every reason.
#[must_use]
pub fn rejected(request: &Request, book: &OfferBook, known: &Known, named: usize) -> Rejected {
    let mut rejected = Rejected::default();
    for offer in book.iter() {
        let reasons = unmet(request, offer, known.of(&offer.node));
        if reasons.is_empty() {
            continue;
        }
        rejected.offers += 1;
        for reason in &reasons {
            *rejected.by_reason.entry(reason.name()).or_default() += 1;
        }
        if rejected.first.len() < named {
            let offer = Arc::clone(offer);
            rejected.first.push(Rejection { offer, reasons });
        }
    }
    rejected
}

/// The most advice that is given.
pub const MAX_NEAREST: usize = 3;

/// Changes that would give `request` a plan, for one that has none: the nearest first, at most [`MAX_NEAREST`]. Empty when
/// no change can: no node of this escrow and token has anything left.
#[must_use]
pub fn nearest_changes(request: &Request, book: &OfferBook, known: &Known) -> Vec<Nearest> {
    nearest::nearest(request, book, known)
}

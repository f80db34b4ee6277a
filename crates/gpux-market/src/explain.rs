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
use std::sync::Arc;

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

/// The most advice that is given.
pub const MAX_NEAREST: usize = 3;

/// Changes that would give `request` a plan, for one that has none: the nearest first, at most [`MAX_NEAREST`]. Empty when
/// no change can: no node of this escrow and token has anything left.
#[must_use]
pub fn nearest_changes(request: &Request, book: &OfferBook, known: &Known) -> Vec<Nearest> {
    nearest::nearest(request, book, known)
}

//! What the market asks for a shape of lease.

use crate::book::OfferBook;
use gpux_types::{Address, PricePerHour, Resources};

/// Net prices per hour over the offers that could hold a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceStats {
    /// How many offers.
    pub count: usize,
    /// A tenth of the offers asks this or less.
    pub p10: PricePerHour,
    /// Half of the offers asks this or less.
    pub p50: PricePerHour,
    /// Nine tenths of the offers ask this or less.
    pub p90: PricePerHour,
}

/// Prices of `shape` in `token` over the nodes that share enough, free or not; `None` when there is none.
///
/// Percentiles by nearest rank: each is a price that some node asks.
#[must_use]
pub fn price_stats(book: &OfferBook, token: Address, shape: &Resources) -> Option<PriceStats> {
    let could_hold = book
        .iter()
        .filter(|offer| offer.token == token && offer.total.covers(shape));
    let mut prices: Vec<_> = could_hold.map(|offer| offer.price_of(shape)).collect();
    prices.sort_unstable();
    let rank = |percent: usize| {
        prices
            .get((prices.len() * percent).div_ceil(100).checked_sub(1)?)
            .copied()
    };
    Some(PriceStats {
        count: prices.len(),
        p10: rank(10)?,
        p50: rank(50)?,
        p90: rank(90)?,
    })
}

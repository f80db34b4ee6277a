//! What the market asks for a shape of lease, and for a GPU of each model. For people: it looks at every offer.

use crate::{book::OfferBook, gpu::Gpus};
use gpux_types::{Address, PricePerHour, Resources, Tag};
use std::collections::BTreeMap;

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
    percentiles(could_hold.map(|offer| offer.price_of(shape)).collect())
}

/// What the market has of one model of GPU, and asks for one of them an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStats {
    /// The model.
    pub model: Tag,
    /// How many nodes share it.
    pub nodes: usize,
    /// How many GPUs they share.
    pub total: u64,
    /// How many of these can be leased now: the sum of each node's largest block.
    pub free: u64,
    /// The largest block that one lease can get.
    pub largest: u32,
    /// Rates of one GPU, each node counted once.
    pub prices: PriceStats,
}

/// Every model of GPU that is sold in `token`, by name.
#[must_use]
pub fn model_stats(book: &OfferBook, token: Address) -> Vec<ModelStats> {
    let mut models: BTreeMap<Tag, Vec<Gpus>> = BTreeMap::new();
    let offers = book.iter().filter(|offer| offer.token == token);
    for gpus in offers.filter_map(|offer| offer.gpus()) {
        models.entry(gpus.model.clone()).or_default().push(gpus);
    }
    let stats = models.into_iter().filter_map(|(model, gpus)| {
        let sum = |count: fn(&Gpus) -> u32| gpus.iter().map(|gpus| u64::from(count(gpus))).sum();
        Some(ModelStats {
            model,
            nodes: gpus.len(),
            total: sum(|gpus| gpus.total),
            free: sum(|gpus| gpus.free),
            largest: gpus.iter().map(|gpus| gpus.free).max()?,
            prices: percentiles(gpus.iter().map(|gpus| gpus.rate).collect())?,
        })
    });
    stats.collect()
}

/// The spread of prices by nearest rank; `None` of none.
#[must_use]
pub fn percentiles(mut prices: Vec<PricePerHour>) -> Option<PriceStats> {
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

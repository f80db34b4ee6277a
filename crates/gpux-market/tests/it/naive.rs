//! The market again, by trying everything: what one offer meets, and every set of nodes there is. It shares no rule with
//! the crate but the price of an offer and the score, which are documented functions of their own.

use gpux_market::{Closeness, Known, LeaseCost, Offer, Request, node_score, set_score};
use gpux_types::Resources;
use std::cmp::Reverse;

/// Whether one offer meets every bound of a request.
pub(crate) fn meets(request: &Request, offer: &Offer, known: &Known) -> bool {
    let Resources { cpu, memory, disk } = request.resources;
    let gross = LeaseCost::of(request, offer).gross;
    let gpus = request.gpus.as_ref().is_none_or(|wish| {
        offer.gpus().is_some_and(|gpus| {
            gpus.free >= wish.count.get()
                && gpus.memory >= wish.memory
                && wish.model.as_ref().is_none_or(|model| *model == gpus.model)
        })
    });
    (offer.chain_id, offer.escrow, offer.token) == (request.chain_id, request.escrow, request.token)
        && !request.exclude.contains(&offer.node)
        && (offer.largest.cpu >= cpu && offer.largest.memory >= memory && offer.largest.disk >= disk)
        && gpus
        && known.of(&offer.node) >= request.min_reliability
        && request.max_price.is_none_or(|max| gross <= max)
        && (offer.lease_min..=offer.lease_max).contains(&request.duration)
        && offer.grace_min_secs <= request.grace_secs
        && request.features.iter().all(|feature| offer.features.contains(feature))
        && (request.region.is_none() || offer.region == request.region)
}

/// The offers that meet a request alone, in the order in which a plan takes them.
pub(crate) fn matching<'a>(request: &Request, offers: &[&'a Offer], known: &Known) -> Vec<&'a Offer> {
    let mut matching: Vec<_> = offers
        .iter()
        .copied()
        .filter(|offer| meets(request, offer, known))
        .collect();
    matching.sort_by_key(|offer| {
        let cost = LeaseCost::of(request, offer);
        let score = node_score(cost.gross, known.of(&offer.node));
        (score, cost.net, Reverse(offer.cpu_score), offer.node)
    });
    matching
}

/// How close together some offers are, from what they say.
pub(crate) fn closeness(offers: &[&Offer]) -> Closeness {
    let site = |offer: &Offer| {
        offer
            .features
            .iter()
            .find(|tag| tag.as_str().starts_with("site-"))
            .cloned()
    };
    let same_region = offers.iter().all(|offer| offer.region == offers[0].region);
    let same_owner = offers.iter().all(|offer| offer.wallet == offers[0].wallet);
    let same_site = offers
        .iter()
        .all(|offer| site(offer).is_some() && site(offer) == site(offers[0]));
    if offers.len() == 1 || same_site && same_owner && same_region {
        Closeness::Site
    } else if same_region && offers[0].region.is_some() {
        Closeness::Region
    } else {
        Closeness::Any
    }
}

/// What is best among all sets of one size that a request accepts: the lowest score, and the lowest price an hour. Prices
/// and deposits are compared alone, so each is the best of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Best {
    pub(crate) score: u128,
    /// The score of the best one when the total is left aside.
    pub(crate) score_at_any_total: u128,
    pub(crate) price: u128,
}

pub(crate) fn price(request: &Request, offers: &[&Offer]) -> u128 {
    offers
        .iter()
        .map(|offer| LeaseCost::of(request, offer).gross.0.units())
        .sum()
}

fn deposit(request: &Request, offers: &[&Offer]) -> u128 {
    offers
        .iter()
        .map(|offer| LeaseCost::of(request, offer).deposit.units())
        .sum()
}

pub(crate) fn score(request: &Request, offers: &[&Offer], known: &Known) -> u128 {
    let scores = offers
        .iter()
        .map(|offer| node_score(LeaseCost::of(request, offer).gross, known.of(&offer.node)));
    set_score(scores, request.topology, closeness(offers))
}

/// Tries every set of `size` among `matching`; `None` when the request accepts none.
pub(crate) fn best(request: &Request, matching: &[&Offer], size: usize, known: &Known) -> Option<Best> {
    let mut best: Option<Best> = None;
    let mut best_at_any_total = u128::MAX;
    for bits in 0_u32..1 << matching.len() {
        if usize::try_from(bits.count_ones()) != Ok(size) {
            continue;
        }
        let set: Vec<&Offer> = matching
            .iter()
            .zip(0..)
            .filter(|(_, bit)| bits >> bit & 1 == 1)
            .map(|(offer, _)| *offer)
            .collect();
        let topology = request.topology;
        if topology.required && closeness(&set) < topology.closeness {
            continue;
        }
        let score = score(request, &set, known);
        best_at_any_total = best_at_any_total.min(score);
        if request
            .max_total
            .is_some_and(|max| deposit(request, &set) > max.units())
        {
            continue;
        }
        let price = price(request, &set);
        best = Some(Best {
            score: best.map_or(score, |best| best.score.min(score)),
            score_at_any_total: 0,
            price: best.map_or(price, |best| best.price.min(price)),
        });
    }
    best.map(|best| Best {
        score_at_any_total: best_at_any_total,
        ..best
    })
}

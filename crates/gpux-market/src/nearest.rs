//! The smallest changes with which a request that found nothing would find its nodes.
//!
//! The bounds of a request are relaxed one at a time, then in pairs, then all together; the first round that finds
//! anything ends the search. Within a round each relaxed bound moves only as far as the nearest offers need.
//!
//! It looks at every offer once, and at what it noted of each once for each set of bounds; the index answers the rest.
//!
//! Invariant: the request with the changes made has a plan (`tests/it/advice.rs` checks this over random markets).

use crate::{
    book::OfferBook,
    change::{Change, Nearest, apart},
    cost::{LeaseCost, deposit_for, gross_price},
    explain::MAX_NEAREST,
    finder::{Finder, Order},
    matching::{Reason, unmet},
    offer::Offer,
    place::{Closeness, Place},
    plan::{plan, total},
    request::Request,
    score::{Known, Reliability},
};
use gpux_types::{Amount, ByteSize, Millis, PricePerHour};
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

/// Milliseconds in a minute: advice about time is in whole minutes, and never less than one.
const MINUTE: u64 = 60_000;

/// A set of bounds, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds(u32);

impl Bounds {
    const NONE: Self = Self(0);
    const NODES: Self = Self(1);
    const CPU: Self = Self(1 << 1);
    const MEMORY: Self = Self(1 << 2);
    const DISK: Self = Self(1 << 3);
    const DURATION: Self = Self(1 << 4);
    const PRICE: Self = Self(1 << 5);
    const TOTAL: Self = Self(1 << 6);
    const GRACE: Self = Self(1 << 7);
    const FEATURES: Self = Self(1 << 8);
    const REGION: Self = Self(1 << 9);
    const SPARES: Self = Self(1 << 10);
    const APART: Self = Self(1 << 11);
    const GPUS: Self = Self(1 << 12);
    const GPU_MEMORY: Self = Self(1 << 13);
    const GPU_MODEL: Self = Self(1 << 14);
    const RELIABILITY: Self = Self(1 << 15);
    /// How many bounds a change can move.
    const COUNT: u32 = 16;
    const ALL: Self = Self((1 << Self::COUNT) - 1);
    /// What no change mends; never part of a round.
    const FIXED: Self = Self(1 << 31);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The sets to try, in rounds.
    fn rounds() -> [Vec<Self>; 3] {
        let single = |bit: u32| Self(1 << bit);
        let pair = |a: u32| (a + 1..Self::COUNT).map(move |b| single(a).and(single(b)));
        [
            (0..Self::COUNT).map(single).collect(),
            (0..Self::COUNT).flat_map(pair).collect(),
            vec![Self::ALL],
        ]
    }
}

/// An offer of the right market, and how far it is from matching.
struct Near<'a> {
    offer: &'a Offer,
    reliability: Reliability,
    fails: Bounds,
    distance: u64,
    gross: PricePerHour,
}

/// What every attempt starts from.
struct Market<'a> {
    request: &'a Request,
    book: &'a OfferBook,
    known: &'a Known,
    near: Vec<Near<'a>>,
}

/// The changes that would make `request` match, the nearest first, for a request that has no plan.
pub(crate) fn nearest(request: &Request, book: &OfferBook, known: &Known) -> Vec<Nearest> {
    let near = book.iter().map(|offer| near(request, offer, known.of(&offer.node)));
    let market = Market {
        request,
        book,
        known,
        near: near.filter(|near| !near.fails.has(Bounds::FIXED)).collect(),
    };
    for round in Bounds::rounds() {
        let attempts = round.into_iter().filter_map(|relaxed| market.attempt(relaxed));
        let mut found: Vec<_> = attempts.collect();
        found.sort_by_key(|nearest| (nearest.distance(), nearest.changes.len()));
        found.dedup_by(|a, b| a.changes == b.changes);
        found.truncate(MAX_NEAREST);
        for nearest in &mut found {
            nearest.matching = market.matching(&request.with(nearest));
        }
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn near<'a>(request: &Request, offer: &'a Arc<Offer>, reliability: Reliability) -> Near<'a> {
    let reasons = unmet(request, offer, reliability);
    let (fails, distance) = reasons
        .iter()
        .map(bound_of)
        .fold((Bounds::NONE, 0_u64), |(fails, sum), (bound, distance)| {
            (fails.and(bound), sum.saturating_add(distance))
        });
    // A node with nothing left would lead to the advice to ask for nothing.
    let full = offer.largest.cpu.millicores == 0 || offer.largest.memory.0 == 0 || offer.largest.disk.0 == 0;
    let fails = if full { fails.and(Bounds::FIXED) } else { fails };
    Near {
        offer,
        reliability,
        fails,
        distance,
        gross: gross_price(request, offer),
    }
}

/// The bound that a reason is about, and how far the offer is from it.
fn bound_of(reason: &Reason) -> (Bounds, u64) {
    let count = |wanted: &u32, has: &u32| apart((*wanted).into(), (*has).into());
    match reason {
        Reason::Escrow { .. } | Reason::Token { .. } | Reason::Excluded => (Bounds::FIXED, 0),
        Reason::Cpu { wanted, has, .. } => (Bounds::CPU, count(&wanted.millicores, &has.millicores)),
        Reason::Memory { wanted, has, .. } => (Bounds::MEMORY, apart(wanted.0.into(), has.0.into())),
        Reason::Disk { wanted, has, .. } => (Bounds::DISK, apart(wanted.0.into(), has.0.into())),
        Reason::Gpus { wanted, has, .. } => (
            Bounds::GPUS,
            Change::Gpus {
                from: *wanted,
                to: *has,
            }
            .distance(),
        ),
        Reason::GpuModel { .. } => (Bounds::GPU_MODEL, Change::GIVEN_UP),
        Reason::GpuMemory { wanted, has } => (Bounds::GPU_MEMORY, apart(wanted.0.into(), has.0.into())),
        Reason::Reliability { wanted, has } => {
            let (wanted, has) = (wanted.as_per_mille(), has.as_per_mille());
            (Bounds::RELIABILITY, count(&wanted.into(), &has.into()))
        }
        Reason::Price { max, price } => (Bounds::PRICE, apart(max.0.units(), price.0.units())),
        // The duration is settled before offers are ordered by distance.
        Reason::TooShort { .. } | Reason::TooLong { .. } => (Bounds::DURATION, 0),
        Reason::Grace { wanted, min } => (Bounds::GRACE, count(wanted, min)),
        Reason::Features { .. } => (Bounds::FEATURES, Change::GIVEN_UP),
        Reason::Region { .. } => (Bounds::REGION, Change::GIVEN_UP),
    }
}

impl Market<'_> {
    /// How many nodes meet a request alone.
    fn matching(&self, request: &Request) -> usize {
        let meets = |offer: &&Arc<Offer>| unmet(request, offer, self.known.of(&offer.node)).is_empty();
        self.book.iter().filter(meets).count()
    }

    /// The request with the `relaxed` bounds moved as far as needed, as changes; `None` when that is not enough.
    fn attempt(&self, relaxed: Bounds) -> Option<Nearest> {
        let request = self.request;
        let mut pool: Vec<_> = self.near.iter().filter(|near| relaxed.has(near.fails)).collect();
        let mut changed = request.clone();
        if relaxed.has(Bounds::DURATION) {
            changed.duration = duration_for(request, &pool)?;
            let accepts = |offer: &Offer| (offer.lease_min..=offer.lease_max).contains(&changed.duration);
            pool.retain(|near| accepts(near.offer));
        }
        pool.sort_unstable_by_key(|near| (near.distance, near.gross, near.offer.node));
        let place = if relaxed.has(Bounds::APART) || !request.topology.required {
            None
        } else {
            nearest_place(request, &mut pool)?
        };
        let fewer = relaxed.has(Bounds::NODES) || relaxed.has(Bounds::SPARES);
        let few = fewer && pool.len() < request.enough_nodes();
        let nodes = if few { pool.len() } else { request.enough_nodes() };
        let picked = pool.get(..nodes).filter(|picked| !picked.is_empty())?;
        move_bounds(&mut changed, relaxed, picked);

        let finder = Finder::new(&changed, self.book, self.known, Order::Price);
        let offers = finder.best(nodes, place.as_ref());
        let mut offers: Vec<_> = offers
            .iter()
            .map(|node| (LeaseCost::of(&changed, &node.offer), &*node.offer))
            .collect();
        let mut afforded = changed.clone();
        fit_total(&mut afforded, relaxed, &mut offers)?;
        let mut changed = afforded;
        if offers.len() < request.enough_nodes() {
            fewer_nodes(&mut changed, relaxed, offers.len())?;
        }
        self.move_apart(&mut changed, relaxed);

        let changes = changes(request, &changed);
        let found = !changes.is_empty() && plan(&changed, self.book, self.known).is_match();
        found.then_some(Nearest { changes, matching: 0 })
    }

    /// Lets the nodes be as little further apart as they must.
    fn move_apart(&self, changed: &mut Request, relaxed: Bounds) {
        if !relaxed.has(Bounds::APART) || !changed.topology.required {
            return;
        }
        for closeness in [changed.topology.closeness, Closeness::Region, Closeness::Any] {
            if closeness <= changed.topology.closeness {
                changed.topology.closeness = closeness;
                if plan(changed, self.book, self.known).is_match() {
                    return;
                }
            }
        }
    }
}

/// Leaves of `pool` (nearest first) the place that first has enough nodes, else the one with most of them; `None` when
/// there is no place.
fn nearest_place(request: &Request, pool: &mut Vec<&Near<'_>>) -> Option<Option<Place>> {
    let closeness = request.topology.closeness;
    if closeness == Closeness::Any {
        return Some(None);
    }
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    let mut first = None;
    for place in pool.iter().filter_map(|near| Place::of(near.offer, closeness)) {
        let count = counts.entry(place.clone()).or_default();
        *count += 1;
        if *count >= request.enough_nodes() {
            first = Some(place);
            break;
        }
    }
    let place = first.or_else(|| {
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(place, _)| place)
    })?;
    pool.retain(|near| Place::of(near.offer, closeness).as_ref() == Some(&place));
    Some(Some(place))
}

/// Makes do with `count` nodes in all: fewer spares first, where both may be fewer.
fn fewer_nodes(changed: &mut Request, relaxed: Bounds, count: usize) -> Option<()> {
    let count = u32::try_from(count).ok()?;
    let needed = changed.enough.map_or(changed.nodes, |enough| enough.min(changed.nodes));
    if relaxed.has(Bounds::SPARES) {
        changed.spares = count.saturating_sub(needed.get()).min(changed.spares);
    }
    if relaxed.has(Bounds::NODES) && count < needed.get().saturating_add(changed.spares) {
        changed.nodes = NonZeroU32::new(count.checked_sub(changed.spares)?)?;
        changed.enough = None;
    }
    Some(())
}

/// A size that somebody can type, a little below what is there: whole MiB from a GiB on.
const fn as_people_write(size: ByteSize) -> ByteSize {
    const MIB: u64 = 1 << 20;
    if size.0 < 1 << 30 {
        size
    } else {
        ByteSize(size.0 - size.0 % MIB)
    }
}

/// Moves every relaxed bound that concerns one node alone so far that all of `picked` meet it.
fn move_bounds(changed: &mut Request, relaxed: Bounds, picked: &[&Near<'_>]) {
    let offers = || picked.iter().map(|near| near.offer);
    let resources = &mut changed.resources;
    if relaxed.has(Bounds::CPU) {
        resources.cpu = offers().map(|offer| offer.largest.cpu).fold(resources.cpu, Ord::min);
    }
    if relaxed.has(Bounds::MEMORY) {
        resources.memory = offers()
            .map(|offer| as_people_write(offer.largest.memory))
            .fold(resources.memory, Ord::min);
    }
    if relaxed.has(Bounds::DISK) {
        resources.disk = offers()
            .map(|offer| as_people_write(offer.largest.disk))
            .fold(resources.disk, Ord::min);
    }
    if relaxed.has(Bounds::GRACE) {
        changed.grace_secs = offers()
            .map(|offer| offer.grace_min_secs)
            .fold(changed.grace_secs, Ord::max);
    }
    if relaxed.has(Bounds::FEATURES) {
        changed
            .features
            .retain(|feature| offers().all(|offer| offer.features.contains(feature)));
    }
    if relaxed.has(Bounds::REGION) && offers().any(|offer| offer.region != changed.region) {
        changed.region = None;
    }
    if relaxed.has(Bounds::RELIABILITY) {
        let least = picked.iter().map(|near| near.reliability);
        changed.min_reliability = least.fold(changed.min_reliability, Ord::min);
    }
    move_gpus(changed, relaxed, picked);
    // Last, because fewer resources cost less.
    if relaxed.has(Bounds::PRICE)
        && let Some(max) = changed.max_price
    {
        let dearest = offers().map(|offer| gross_price(changed, offer)).fold(max, Ord::max);
        changed.max_price = Some(dearest);
    }
}

fn move_gpus(changed: &mut Request, relaxed: Bounds, picked: &[&Near<'_>]) {
    let Some(wish) = &mut changed.gpus else { return };
    let gpus: Option<Vec<_>> = picked.iter().map(|near| near.offer.gpus()).collect();
    let Some(gpus) = gpus else {
        if relaxed.has(Bounds::GPUS) {
            changed.gpus = None;
        }
        return;
    };
    if relaxed.has(Bounds::GPU_MEMORY) {
        wish.memory = gpus.iter().map(|gpus| gpus.memory).fold(wish.memory, Ord::min);
    }
    if relaxed.has(Bounds::GPU_MODEL) && gpus.iter().any(|gpus| Some(&gpus.model) != wish.model.as_ref()) {
        wish.model = None;
    }
    if relaxed.has(Bounds::GPUS) {
        let least = gpus.iter().map(|gpus| gpus.free).fold(wish.count.get(), Ord::min);
        match NonZeroU32::new(least) {
            Some(count) => wish.count = count,
            None => changed.gpus = None,
        }
    }
}

/// Brings the deposits of `offers` (cheapest first) under the limit of all together, by whichever relaxed bound can:
/// more money, fewer nodes, or less time. `None` when none can.
fn fit_total(changed: &mut Request, relaxed: Bounds, offers: &mut Vec<(LeaseCost, &Offer)>) -> Option<()> {
    let Some(max) = changed.max_total else { return Some(()) };
    let sum = |offers: &[(LeaseCost, &Offer)]| total(offers.iter().map(|(cost, _)| cost.deposit));
    if relaxed.has(Bounds::TOTAL) {
        changed.max_total = Some(max.max(sum(offers)));
    }
    if relaxed.has(Bounds::DURATION) && !relaxed.has(Bounds::TOTAL) && sum(offers) > max {
        changed.duration = affordable_duration(changed, offers, max)?;
        for (cost, offer) in offers.iter_mut() {
            *cost = LeaseCost::of(changed, offer);
        }
    }
    let fewer = relaxed.has(Bounds::NODES) || relaxed.has(Bounds::SPARES);
    while fewer && changed.max_total.is_some_and(|max| sum(offers) > max) {
        offers.pop();
    }
    (changed.max_total >= Some(sum(offers))).then_some(())
}

/// The longest duration, in whole minutes, for which the deposits of `offers` sum to at most `max`.
fn affordable_duration(request: &Request, offers: &[(LeaseCost, &Offer)], max: Amount) -> Option<Millis> {
    let affordable = |minutes: u64| {
        let duration = Millis(minutes.saturating_mul(MINUTE));
        let deposit = |(cost, _): &(LeaseCost, &Offer)| deposit_for(cost.gross, duration, request.reserve);
        total(offers.iter().map(deposit)) <= max
    };
    let shortest = offers.iter().map(|(_, offer)| offer.lease_min.0).fold(MINUTE, Ord::max);
    let (mut low, mut high) = (shortest.div_ceil(MINUTE), request.duration.0 / MINUTE);
    if low > high || !affordable(low) {
        return None;
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if affordable(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(Millis(low.saturating_mul(MINUTE)))
}

/// The duration nearest to the requested one that enough offers of `pool` accept, else the one that most accept.
fn duration_for(request: &Request, pool: &[&Near<'_>]) -> Option<Millis> {
    let mut mins: Vec<_> = pool.iter().map(|near| near.offer.lease_min).collect();
    let mut maxs: Vec<_> = pool.iter().map(|near| near.offer.lease_max).collect();
    mins.sort_unstable();
    maxs.sort_unstable();
    // No offer's shortest is above its own longest, so those not yet too long are among those no longer too short.
    let accepting =
        |duration: Millis| mins.partition_point(|min| *min <= duration) - maxs.partition_point(|max| *max < duration);
    let ends = mins.iter().filter(|min| **min > request.duration);
    let ends = ends.chain(maxs.iter().filter(|max| **max < request.duration)).copied();
    std::iter::once(request.duration).chain(ends).min_by_key(|duration| {
        let missing = request.enough_nodes().saturating_sub(accepting(*duration));
        (missing, duration.0.abs_diff(request.duration.0))
    })
}

/// Where `to` differs from `from`, in the order in which people read a request.
fn changes(from: &Request, to: &Request) -> Vec<Change> {
    let (a, b) = (&from.resources, &to.resources);
    let some = |differs: bool, change: Change| differs.then_some(change);
    let numbers = [
        some(
            from.nodes != to.nodes,
            Change::Nodes {
                from: from.nodes,
                to: to.nodes,
            },
        ),
        some(
            from.spares != to.spares,
            Change::Spares {
                from: from.spares,
                to: to.spares,
            },
        ),
        some(a.cpu != b.cpu, Change::Cpu { from: a.cpu, to: b.cpu }),
        some(
            a.memory != b.memory,
            Change::Memory {
                from: a.memory,
                to: b.memory,
            },
        ),
        some(
            a.disk != b.disk,
            Change::Disk {
                from: a.disk,
                to: b.disk,
            },
        ),
    ];
    let mut changes: Vec<_> = numbers.into_iter().flatten().collect();
    changes.extend(gpu_changes(from, to));
    let times = [
        some(
            from.duration != to.duration,
            Change::Duration {
                from: from.duration,
                to: to.duration,
            },
        ),
        some(
            from.grace_secs != to.grace_secs,
            Change::Grace {
                from: from.grace_secs,
                to: to.grace_secs,
            },
        ),
    ];
    changes.extend(times.into_iter().flatten());
    changes.extend(wish_changes(from, to));
    if let (Some(from), Some(to)) = (from.max_price, to.max_price) {
        changes.extend(some(from != to, Change::MaxPrice { from, to }));
    }
    if let (Some(from), Some(to)) = (from.max_total, to.max_total) {
        changes.extend(some(from != to, Change::MaxTotal { from, to }));
    }
    changes
}

fn gpu_changes(from: &Request, to: &Request) -> Vec<Change> {
    let Some(before) = &from.gpus else { return Vec::new() };
    let count = before.count.get();
    let Some(after) = &to.gpus else {
        return vec![Change::Gpus { from: count, to: 0 }];
    };
    let without = before.model.clone().filter(|_| after.model.is_none());
    let (memory, left) = (before.memory, after.memory);
    let changes = [
        without.map(|without| Change::GpuModel { without }),
        (count != after.count.get()).then_some(Change::Gpus {
            from: count,
            to: after.count.get(),
        }),
        (memory != left).then_some(Change::GpuMemory { from: memory, to: left }),
    ];
    changes.into_iter().flatten().collect()
}

/// What of the wishes about places, features and records was given up.
fn wish_changes(from: &Request, to: &Request) -> Vec<Change> {
    let mut changes = Vec::new();
    let without: std::collections::BTreeSet<_> = from.features.difference(&to.features).cloned().collect();
    if !without.is_empty() {
        changes.push(Change::Features { without });
    }
    if let (Some(without), None) = (&from.region, &to.region) {
        let without = without.clone();
        changes.push(Change::Region { without });
    }
    let (close, apart) = (from.topology.closeness, to.topology.closeness);
    if close != apart {
        changes.push(Change::Apart { from: close, to: apart });
    }
    let (wanted, has) = (from.min_reliability, to.min_reliability);
    if wanted != has {
        changes.push(Change::Reliability { from: wanted, to: has });
    }
    changes
}

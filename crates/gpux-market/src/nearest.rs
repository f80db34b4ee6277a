//! The smallest changes with which a request that found nothing would find its nodes.
//!
//! The bounds of a request are relaxed one at a time, then in pairs, then all together; the first round that finds
//! anything ends the search. Within a round each relaxed bound moves only as far as the nearest offers need.
//!
//! Invariant: the request with the changes made has a plan (`tests/it/advice.rs` checks this over random markets).

use crate::{
    change::{Change, Nearest, apart},
    cost::{LeaseCost, deposit_for, gross_price},
    matching::{Reason, unmet},
    offer::Offer,
    plan::{Candidate, Plan, Rejection, total, wanted},
    request::Request,
};
use gpux_types::{Amount, ByteSize, Millis, PricePerHour};
use std::num::NonZeroU32;

/// Milliseconds in a minute: advice about time is in whole minutes, and never less than one.
const MINUTE: u64 = 60_000;

/// A set of bounds, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds(u16);

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
    /// How many bounds a change can move.
    const COUNT: u16 = 10;
    const ALL: Self = Self((1 << Self::COUNT) - 1);
    /// What no change mends; never part of a round.
    const FIXED: Self = Self(1 << 15);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The sets to try, in rounds.
    fn rounds() -> [Vec<Self>; 3] {
        let single = |bit: u16| Self(1 << bit);
        let pair = |a: u16| (a + 1..Self::COUNT).map(move |b| single(a).and(single(b)));
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
    fails: Bounds,
    distance: u64,
    gross: PricePerHour,
}

/// The changes that would make `request` match, the nearest first, for a request that has no plan.
pub(crate) fn nearest(request: &Request, matching: &[Candidate], rejected: &[Rejection]) -> Vec<Nearest> {
    let matches = matching.iter().map(|candidate| near(request, &candidate.offer, &[]));
    let misses = rejected
        .iter()
        .map(|rejection| near(request, &rejection.offer, &rejection.reasons));
    let market: Vec<_> = matches
        .chain(misses)
        .filter(|near| !near.fails.has(Bounds::FIXED))
        .collect();
    for round in Bounds::rounds() {
        let mut found: Vec<_> = round
            .into_iter()
            .filter_map(|relaxed| attempt(request, relaxed, &market))
            .collect();
        found.sort_by_key(|nearest| (nearest.distance(), nearest.changes.len()));
        found.dedup_by(|a, b| a.changes == b.changes);
        found.truncate(Plan::MAX_NEAREST);
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn near<'a>(request: &Request, offer: &'a Offer, reasons: &[Reason]) -> Near<'a> {
    let (fails, distance) = reasons
        .iter()
        .map(bound_of)
        .fold((Bounds::NONE, 0), |(fails, sum), (bound, distance)| {
            (fails.and(bound), sum + distance)
        });
    let gross = gross_price(request, offer);
    // A node with nothing left would lead to the advice to ask for nothing.
    let full = offer.largest.cpu.millicores == 0 || offer.largest.memory.0 == 0 || offer.largest.disk.0 == 0;
    let fails = if full { fails.and(Bounds::FIXED) } else { fails };
    Near {
        offer,
        fails,
        distance,
        gross,
    }
}

/// The bound that a reason is about, and how far the offer is from it.
fn bound_of(reason: &Reason) -> (Bounds, u64) {
    match reason {
        Reason::Escrow { .. } | Reason::Token { .. } | Reason::Excluded => (Bounds::FIXED, 0),
        Reason::Cpu { wanted, has, .. } => (Bounds::CPU, apart(wanted.millicores.into(), has.millicores.into())),
        Reason::Memory { wanted, has, .. } => (Bounds::MEMORY, apart(wanted.0.into(), has.0.into())),
        Reason::Disk { wanted, has, .. } => (Bounds::DISK, apart(wanted.0.into(), has.0.into())),
        Reason::Price { max, price } => (Bounds::PRICE, apart(max.0.units(), price.0.units())),
        // The duration is settled before offers are ordered by distance.
        Reason::TooShort { .. } | Reason::TooLong { .. } => (Bounds::DURATION, 0),
        Reason::Grace { wanted, min } => (Bounds::GRACE, apart((*wanted).into(), (*min).into())),
        Reason::Features { .. } => (Bounds::FEATURES, Change::GIVEN_UP),
        Reason::Region { .. } => (Bounds::REGION, Change::GIVEN_UP),
    }
}

/// The request with the `relaxed` bounds moved as far as needed, as changes; `None` when that is not enough.
fn attempt(request: &Request, relaxed: Bounds, market: &[Near<'_>]) -> Option<Nearest> {
    let mut pool: Vec<_> = market.iter().filter(|near| relaxed.has(near.fails)).collect();
    let mut changed = request.clone();
    if relaxed.has(Bounds::DURATION) {
        changed.duration = duration_for(request, &pool)?;
        let (min, max) = (
            |near: &Near<'_>| near.offer.lease_min,
            |near: &Near<'_>| near.offer.lease_max,
        );
        pool.retain(|near| (min(near)..=max(near)).contains(&changed.duration));
    }
    let few = relaxed.has(Bounds::NODES) && pool.len() < wanted(request);
    let nodes = if few { pool.len() } else { wanted(request) };
    pool.sort_unstable_by_key(|near| (near.distance, near.gross, near.offer.node));
    let picked = pool.get(..nodes).filter(|picked| !picked.is_empty())?;
    move_bounds(&mut changed, relaxed, picked);

    let mut offers: Vec<_> = pool
        .iter()
        .filter_map(|near| matching_cost(&changed, near.offer))
        .collect();
    offers.sort_unstable_by_key(|(cost, offer)| (cost.gross, offer.node));
    offers.truncate(nodes);
    fit_total(&mut changed, relaxed, &mut offers)?;
    changed.nodes = NonZeroU32::new(u32::try_from(offers.len()).ok()?)?;

    let changes = changes(request, &changed);
    let matching = market
        .iter()
        .filter(|near| matching_cost(&changed, near.offer).is_some())
        .count();
    (!changes.is_empty()).then_some(Nearest { changes, matching })
}

fn matching_cost<'a>(request: &Request, offer: &'a Offer) -> Option<(LeaseCost, &'a Offer)> {
    let unmet = unmet(request, offer, gross_price(request, offer));
    unmet.is_empty().then(|| (LeaseCost::of(request, offer), offer))
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
    // Last, because fewer resources cost less.
    if relaxed.has(Bounds::PRICE)
        && let Some(max) = changed.max_price
    {
        let dearest = offers().map(|offer| gross_price(changed, offer)).fold(max, Ord::max);
        changed.max_price = Some(dearest);
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
    while relaxed.has(Bounds::NODES) && changed.max_total.is_some_and(|max| sum(offers) > max) {
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
        let missing = wanted(request).saturating_sub(accepting(*duration));
        (missing, duration.0.abs_diff(request.duration.0))
    })
}

/// Where `to` differs from `from`, in the order in which people read a request.
fn changes(from: &Request, to: &Request) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut note = |differs: bool, change: Change| {
        if differs {
            changes.push(change);
        }
    };
    let (a, b) = (&from.resources, &to.resources);
    note(
        from.nodes != to.nodes,
        Change::Nodes {
            from: from.nodes,
            to: to.nodes,
        },
    );
    note(a.cpu != b.cpu, Change::Cpu { from: a.cpu, to: b.cpu });
    note(
        a.memory != b.memory,
        Change::Memory {
            from: a.memory,
            to: b.memory,
        },
    );
    note(
        a.disk != b.disk,
        Change::Disk {
            from: a.disk,
            to: b.disk,
        },
    );
    note(
        from.duration != to.duration,
        Change::Duration {
            from: from.duration,
            to: to.duration,
        },
    );
    note(
        from.grace_secs != to.grace_secs,
        Change::Grace {
            from: from.grace_secs,
            to: to.grace_secs,
        },
    );
    let without: std::collections::BTreeSet<_> = from.features.difference(&to.features).cloned().collect();
    note(!without.is_empty(), Change::Features { without });
    if let (Some(region), None) = (&from.region, &to.region) {
        note(
            true,
            Change::Region {
                without: region.clone(),
            },
        );
    }
    if let (Some(from), Some(to)) = (from.max_price, to.max_price) {
        note(from != to, Change::MaxPrice { from, to });
    }
    if let (Some(from), Some(to)) = (from.max_total, to.max_total) {
        note(from != to, Change::MaxTotal { from, to });
    }
    changes
}

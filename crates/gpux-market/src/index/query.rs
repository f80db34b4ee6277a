//! A request in the numbers that the index compares.

use super::{
    labels::{Label, Labels, NameId, features, labels_wanted},
    leaf::{BOUNDS, PAIRS, RATES, name_bit},
};
use crate::{place::Place, request::Request};
use gpux_types::Amount;

/// Thousandths in a core.
const MILLICORES: u64 = 1_000;
/// Bytes in a GiB, as a power of two.
const GIB_BITS: u32 = 30;
/// Basis points in a whole.
const WHOLE: u128 = 10_000;

#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) request: &'a Request,
    /// At least so much of each, as rows keep them.
    pub(super) bounds: [u64; BOUNDS],
    /// Every name that an offer must have, and their bits in a summary.
    pub(super) names: Vec<NameId>,
    pub(super) name_bits: u128,
    /// The highest net price that is within the request's limit.
    pub(super) max_net: u128,
    millicores: u64,
    memory: u64,
    disk: u64,
    gpus: u64,
    paired: Paired,
}

/// Bits behind the point of [`Paired`].
const POINT: u32 = 20;

/// The wanted cores and memory as so many pairs of the kind that leaves the least over, and what is left over.
#[derive(Debug, Clone, Copy)]
struct Paired {
    kind: usize,
    pairs: u64,
    cores: u64,
    gib: u64,
}

impl Paired {
    fn of(millicores: u64, memory: u64) -> Self {
        // Below 2^52 and 2^54. Rounded down: the price of less is never more.
        let cores = (millicores << POINT) / MILLICORES;
        let gib = memory >> (GIB_BITS - POINT);
        let kinds = PAIRS.into_iter().zip(0_usize..).map(|(each, kind)| {
            let pairs = cores.min(gib / each);
            Self {
                kind,
                pairs,
                cores: cores - pairs,
                gib: gib - pairs * each,
            }
        });
        let none = Self {
            kind: 0,
            pairs: 0,
            cores,
            gib,
        };
        kinds
            .min_by_key(|paired| paired.cores.saturating_add(paired.gib))
            .unwrap_or(none)
    }
}

impl<'a> Query<'a> {
    /// `None` when no offer has all the labels that the request wants.
    pub(super) fn new(request: &'a Request, place: Option<&Place>, labels: &Labels) -> Option<Self> {
        let mut wanted = labels_wanted(request);
        wanted.extend(place.cloned().map(Label::Place));
        let labels = wanted.iter().map(|label| labels.id(label).map(NameId::from));
        let mut names: Vec<NameId> = labels.collect::<Option<_>>()?;
        names.extend(features(&request.features));
        let (resources, wish) = (&request.resources, request.gpus.as_ref());
        let gpus = wish.map_or(0, |wish| u64::from(wish.count.get()));
        let millicores = u64::from(resources.cpu.millicores);
        Some(Self {
            request,
            bounds: [
                millicores,
                resources.memory.0,
                resources.disk.0,
                gpus,
                wish.map_or(0, |wish| wish.memory.0),
                request.duration.0,
                !request.duration.0,
                !u64::from(request.grace_secs),
            ],
            name_bits: names.iter().fold(0, |bits, name| bits | name_bit(*name)),
            names,
            max_net: max_net(request),
            millicores,
            memory: resources.memory.0,
            disk: resources.disk.0,
            gpus,
            paired: Paired::of(millicores, resources.memory.0),
        })
    }

    /// The net price at these rates, exactly as [`Request::net_price`] says it where no rate was cut to a `u64`.
    pub(super) fn net(&self, rates: &[u64; RATES]) -> u128 {
        let [core, memory, disk, gpu] = *rates;
        // The rate is split, so that no division is wider than 64 bits: the rest is below 1,000 and millicores below 2^32.
        let (whole, rest) = (core / MILLICORES, core % MILLICORES);
        let cores = wide(whole, self.millicores) + u128::from((rest * self.millicores).div_ceil(MILLICORES));
        let sum = cores
            .saturating_add(gib(memory, self.memory))
            .saturating_add(gib(disk, self.disk));
        let sum = sum.saturating_add(wide(gpu, self.gpus));
        sum.min(Amount::MAX.units())
    }
}

impl Query<'_> {
    /// What the net price is at least, where the lowest rates and the lowest prices of pairs are known.
    pub(super) fn paired(&self, rates: &[u64; RATES], pairs: &[u64; PAIRS.len()]) -> u128 {
        let [core, memory, disk, gpu] = *rates;
        let Paired {
            kind,
            pairs: count,
            cores,
            gib: rest,
        } = self.paired;
        let pair = pairs.get(kind).copied().unwrap_or(0);
        // Each product is below 2^118.
        let sum = (wide(pair, count) + wide(core, cores) + wide(memory, rest)) >> POINT;
        let sum = sum
            .saturating_add(gib(disk, self.disk))
            .saturating_add(wide(gpu, self.gpus));
        sum.min(Amount::MAX.units())
    }
}

fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

fn gib(rate: u64, bytes: u64) -> u128 {
    // (2^64 - 1)^2 leaves room for 2^30.
    (wide(rate, bytes) + ((1 << GIB_BITS) - 1)) >> GIB_BITS
}

/// The highest net price whose gross price is at most the request's limit: gross = ceil(net x 10,000 / rest) is at most
/// `max` exactly when net is at most max x rest / 10,000.
fn max_net(request: &Request) -> u128 {
    match request.max_price {
        // Prices are cut to the largest amount: there is nothing above it.
        Some(max) if max.0 < Amount::MAX => {
            let rest = WHOLE - u128::from(request.builder_share.points());
            max.0.units() * rest / WHOLE
        }
        _ => u128::MAX,
    }
}

//! Up to 64 offers that lie together in the index: their numbers in columns, and which of them has which name.
//!
//! A search reads the summary first, then the columns, and an offer itself only when it may be among the best.

use super::{
    labels::{LabelId, NameId, Names},
    query::Query,
};
use crate::{gpu::Gpus, offer::Offer, place::Closeness};
use gpux_types::{NodeId, PricePerHour};
use std::{cmp::Reverse, sync::Arc};

/// How many offers a leaf holds: one bit of a `u64` each.
pub(super) const SLOTS: usize = 64;
/// Bounds of an offer of which a request wants "at least". Those that mean "at most" are kept inverted.
pub(super) const BOUNDS: usize = 8;
/// Rates that a price is made of: cores, memory, disk, GPUs.
pub(super) const RATES: usize = 4;

/// GiB of memory beside one core: what both cost together is known of each leaf. The lowest rates of a leaf alone are
/// those of different offers, and together far below what any of them asks.
pub(super) const PAIRS: [u64; 3] = [2, 4, 8];

/// The numbers of one offer that a search compares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) bounds: [u64; BOUNDS],
    /// In the token's smallest unit, cut to a `u64`: never more than the offer's own.
    pub(super) rates: [u64; RATES],
    speed: u64,
    /// The first bytes of the node's id, which order ids almost always.
    prefix: u64,
}

/// The least that a match can count in the order of a search: price, speed, node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) net: u128,
    pub(super) speed: Reverse<u64>,
    pub(super) prefix: u64,
}

/// What no offer of a leaf is better than.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    most: [u64; BOUNDS],
    cheapest: [u64; RATES],
    /// The lowest price of each of [`PAIRS`].
    pairs: [u64; PAIRS.len()],
    fastest: u64,
    first: u64,
    /// A bit for each name that an offer of the leaf has; names share bits.
    names: u128,
}

#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Which slots are taken.
    live: u64,
    bounds: [[u64; SLOTS]; BOUNDS],
    /// The least of each bound: a column is read only when it can tell offers apart.
    least: [u64; BOUNDS],
    rates: [[u64; SLOTS]; RATES],
    speeds: [u64; SLOTS],
    prefixes: [u64; SLOTS],
    /// The numbers of each offer's region and site, 0 for none.
    places: [[LabelId; SLOTS]; 2],
    offers: [Option<Arc<Offer>>; SLOTS],
    /// Which slots have which name, by the name's number.
    names: Vec<(NameId, u64)>,
}

/// The first eight bytes of a node id, in the order of ids.
pub(super) fn prefix(node: &NodeId) -> u64 {
    node.0.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The bit of a name in a summary.
pub(super) fn name_bit(name: NameId) -> u128 {
    1 << (name % NameId::from(u128::BITS))
}

fn rate(price: PricePerHour) -> u64 {
    u64::try_from(price.0.units()).unwrap_or(u64::MAX)
}

impl Row {
    pub(super) fn of(offer: &Offer, gpus: Option<&Gpus>) -> Self {
        let (largest, rates) = (&offer.largest, &offer.rates);
        Self {
            bounds: [
                largest.cpu.millicores.into(),
                largest.memory.0,
                largest.disk.0,
                gpus.map_or(0, |gpus| gpus.free.into()),
                gpus.map_or(0, |gpus| gpus.memory.0),
                offer.lease_max.0,
                !offer.lease_min.0,
                !u64::from(offer.grace_min_secs),
            ],
            rates: [
                rate(rates.cpu_core),
                rate(rates.memory_gib),
                rate(rates.disk_gib),
                gpus.map_or(0, |gpus| rate(gpus.rate)),
            ],
            speed: offer.cpu_score.into(),
            prefix: prefix(&offer.node),
        }
    }
}

impl Summary {
    pub(super) const NOTHING: Self = Self {
        most: [0; BOUNDS],
        cheapest: [u64::MAX; RATES],
        pairs: [u64::MAX; PAIRS.len()],
        fastest: 0,
        first: u64::MAX,
        names: 0,
    };

    fn add(&mut self, row: &Row) {
        for (most, value) in self.most.iter_mut().zip(row.bounds) {
            *most = value.max(*most);
        }
        for (cheapest, rate) in self.cheapest.iter_mut().zip(row.rates) {
            *cheapest = rate.min(*cheapest);
        }
        let [core, memory, ..] = row.rates;
        for (lowest, gib) in self.pairs.iter_mut().zip(PAIRS) {
            *lowest = core.saturating_add(memory.saturating_mul(gib)).min(*lowest);
        }
        self.fastest = self.fastest.max(row.speed);
        self.first = self.first.min(row.prefix);
    }

    /// The best rank that a match in the leaf can have; `None` where there can be no match.
    pub(super) fn best(&self, query: &Query<'_>) -> Option<Rank> {
        let enough = self.most.iter().zip(query.bounds).all(|(most, wanted)| *most >= wanted);
        if !enough || self.names & query.name_bits != query.name_bits {
            return None;
        }
        let net = query.net(&self.cheapest).max(query.paired(&self.cheapest, &self.pairs));
        (net <= query.max_net).then_some(Rank {
            net,
            speed: Reverse(self.fastest),
            prefix: self.first,
        })
    }
}

/// Which of the values are at least `wanted`.
fn at_least(values: &[u64; SLOTS], wanted: u64) -> u64 {
    let bits = values
        .iter()
        .zip(0_u32..)
        .map(|(value, slot)| u64::from(*value >= wanted) << slot);
    bits.fold(0, |mask, bit| mask | bit)
}

/// The numbers of the set bits.
pub(super) fn slots(mask: u64) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let slot = (rest != 0).then(|| rest.trailing_zeros())?;
        rest &= rest - 1;
        usize::try_from(slot).ok()
    })
}

impl Leaf {
    pub(super) fn empty() -> Box<Self> {
        Box::new(Self {
            live: 0,
            bounds: [[0; SLOTS]; BOUNDS],
            least: [0; BOUNDS],
            rates: [[0; SLOTS]; RATES],
            speeds: [0; SLOTS],
            prefixes: [0; SLOTS],
            places: [[0; SLOTS]; 2],
            offers: std::array::from_fn(|_| None),
            names: Vec::new(),
        })
    }

    pub(super) const fn is_full(&self) -> bool {
        self.live == u64::MAX
    }

    pub(super) const fn len(&self) -> u32 {
        self.live.count_ones()
    }

    /// Puts an offer into a free slot; false when there is none.
    pub(super) fn put(&mut self, offer: Arc<Offer>, row: &Row, names: &Names) -> bool {
        let free = self.live.trailing_ones();
        let Some(bit) = 1_u64.checked_shl(free) else {
            return false;
        };
        let Some(slot) = usize::try_from(free).ok() else {
            return false;
        };
        let columns = self.bounds.iter_mut().zip(row.bounds);
        let rates = self.rates.iter_mut().zip(row.rates);
        let others = [(&mut self.speeds, row.speed), (&mut self.prefixes, row.prefix)];
        for (column, value) in columns.chain(rates).chain(others) {
            if let Some(cell) = column.get_mut(slot) {
                *cell = value;
            }
        }
        for (column, value) in self.places.iter_mut().zip(names.places()) {
            if let Some(cell) = column.get_mut(slot) {
                *cell = value;
            }
        }
        if let Some(cell) = self.offers.get_mut(slot) {
            *cell = Some(offer);
        }
        for name in names.all() {
            match self.names.binary_search_by_key(&name, |(id, _)| *id) {
                Ok(at) => {
                    if let Some((_, mask)) = self.names.get_mut(at) {
                        *mask |= bit;
                    }
                }
                Err(at) => self.names.insert(at, (name, bit)),
            }
        }
        self.live |= bit;
        true
    }

    /// Takes a node's offer out; false when it is not here.
    pub(super) fn take(&mut self, node: &NodeId) -> bool {
        let wanted = prefix(node);
        let found = slots(self.live).find(|slot| {
            self.prefixes.get(*slot) == Some(&wanted) && self.offer(*slot).is_some_and(|offer| offer.node == *node)
        });
        let Some(slot) = found else { return false };
        let bit = 1_u64 << slot;
        self.live &= !bit;
        if let Some(cell) = self.offers.get_mut(slot) {
            *cell = None;
        }
        for (_, mask) in &mut self.names {
            *mask &= !bit;
        }
        self.names.retain(|(_, mask)| *mask != 0);
        // Offers with many names that are gone shall not be paid for by those that are here.
        if self.names.len() < self.names.capacity() / 4 {
            self.names.shrink_to(self.names.len() * 2);
        }
        true
    }

    /// Takes stock of what is here now.
    pub(super) fn summarise(&mut self) -> Summary {
        let mut summary = Summary::NOTHING;
        let mut least = [u64::MAX; BOUNDS];
        for slot in slots(self.live) {
            if let Some(row) = self.row(slot) {
                summary.add(&row);
                for (least, value) in least.iter_mut().zip(row.bounds) {
                    *least = value.min(*least);
                }
            }
        }
        self.least = least;
        summary.names = self.names.iter().fold(0, |names, (id, _)| names | name_bit(*id));
        summary
    }

    fn row(&self, slot: usize) -> Option<Row> {
        let mut row = Row {
            bounds: [0; BOUNDS],
            rates: self.rates_at(slot),
            speed: *self.speeds.get(slot)?,
            prefix: *self.prefixes.get(slot)?,
        };
        for (value, column) in row.bounds.iter_mut().zip(&self.bounds) {
            *value = *column.get(slot)?;
        }
        Some(row)
    }

    fn rates_at(&self, slot: usize) -> [u64; RATES] {
        let mut rates = [u64::MAX; RATES];
        for (rate, column) in rates.iter_mut().zip(&self.rates) {
            *rate = column.get(slot).copied().unwrap_or(u64::MAX);
        }
        rates
    }

    /// The slots whose offers meet everything that columns and names can tell.
    pub(super) fn matches(&self, query: &Query<'_>) -> u64 {
        let mut mask = self.live;
        for ((column, least), wanted) in self.bounds.iter().zip(self.least).zip(query.bounds) {
            if wanted > least && mask != 0 {
                mask &= at_least(column, wanted);
            }
        }
        for name in &query.names {
            if mask == 0 {
                return 0;
            }
            let at = self.names.binary_search_by_key(name, |(id, _)| *id).ok();
            mask &= at.and_then(|at| self.names.get(at)).map_or(0, |(_, having)| *having);
        }
        mask
    }

    /// The best rank that the offer in a slot can have.
    pub(super) fn rank(&self, slot: usize, query: &Query<'_>) -> Rank {
        Rank {
            net: query.net(&self.rates_at(slot)),
            speed: Reverse(self.speeds.get(slot).copied().unwrap_or(u64::MAX)),
            prefix: self.prefixes.get(slot).copied().unwrap_or(0),
        }
    }

    /// The number of the place of the offer in a slot; 0 for none.
    pub(super) fn place(&self, slot: usize, closeness: Closeness) -> LabelId {
        let [regions, sites] = &self.places;
        let column = match closeness {
            Closeness::Any => return 0,
            Closeness::Region => regions,
            Closeness::Site => sites,
        };
        column.get(slot).copied().unwrap_or(0)
    }

    pub(super) fn offer(&self, slot: usize) -> Option<&Arc<Offer>> {
        self.offers.get(slot)?.as_ref()
    }

    /// Everything that is here.
    pub(super) fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.offers.iter().flatten()
    }

    /// Bytes that the leaf takes, its offers aside.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.names.capacity() * size_of::<(NameId, u64)>()
    }
}

//! Markets to test with: one plain offer and request, and whole random ones with few different values, so that limits
//! are met, just missed and tied.

use gpux_market::{Closeness, GpuWish, Gpus, Known, Offer, OfferBook, Rates, Reliability, Request, Tag, Topology};
use gpux_types::{Address, Amount, BasisPoints, ByteSize, Cpu, Millis, NodeId, PricePerHour, Resources, Token};
use proptest::prelude::*;
use std::{collections::BTreeSet, num::NonZeroU32};

pub(crate) const HOUR: Millis = Millis::from_secs(3_600);

pub(crate) fn dai() -> Token {
    Token {
        symbol: "DAI".into(),
        decimals: 0,
    }
}

pub(crate) fn amount(units: u128) -> Amount {
    Amount::new(units).unwrap()
}

pub(crate) fn price(units: u128) -> PricePerHour {
    PricePerHour(amount(units))
}

pub(crate) fn shape(cores: u32, memory_gib: u64, disk_gib: u64) -> Resources {
    Resources {
        cpu: Cpu::cores(cores),
        memory: ByteSize(memory_gib << 30),
        disk: ByteSize(disk_gib << 30),
    }
}

pub(crate) fn tags(names: &[&str]) -> BTreeSet<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Node `id` with 4 cores, 8 GiB and 20 GiB free, at 10 per core and hour and nothing else.
pub(crate) fn offer(id: u8) -> Offer {
    Offer {
        node: NodeId([id; 32]),
        wallet: Address::repeat_byte(0xab),
        provider: Address::repeat_byte(id.max(1)),
        signer: Address::repeat_byte(0xaa),
        sequence: 1,
        ttl: Millis::from_secs(60),
        chain_id: 10,
        escrow: Address::repeat_byte(0xee),
        token: Address::repeat_byte(0xda),
        rates: Rates {
            cpu_core: price(10),
            memory_gib: price(0),
            disk_gib: price(0),
        },
        total: shape(4, 8, 20),
        free: shape(4, 8, 20),
        largest: shape(4, 8, 20),
        cpu_model: "a processor".into(),
        cpu_score: 1_000,
        features: BTreeSet::new(),
        region: None,
        lease_min: Millis::ZERO,
        lease_max: Millis::from_secs(86_400),
        grace_min_secs: 3_600,
        addresses: vec!["127.0.0.1:4000".parse().unwrap()],
        relay: None,
    }
}

/// One node with 2 cores, 4 GiB and 10 GiB for an hour, at any price.
pub(crate) fn request() -> Request {
    Request {
        nodes: NonZeroU32::MIN,
        enough: None,
        spares: 0,
        topology: Topology::default(),
        resources: shape(2, 4, 10),
        gpus: None,
        min_reliability: Reliability::NONE,
        duration: HOUR,
        reserve: Millis::ZERO,
        chain_id: 10,
        escrow: Address::repeat_byte(0xee),
        token: Address::repeat_byte(0xda),
        grace_secs: 86_400,
        builder_share: BasisPoints::ZERO,
        max_price: None,
        max_total: None,
        features: BTreeSet::new(),
        region: None,
        exclude: BTreeSet::new(),
    }
}

pub(crate) fn book(offers: &[Offer]) -> OfferBook {
    let mut book = OfferBook::new(100_000);
    for offer in offers {
        book.insert(offer.clone(), Millis::ZERO).unwrap();
    }
    book
}

pub(crate) fn nodes(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// Of three nodes one broke its word, one was never used and one is reliable; the same in every plan.
pub(crate) fn known() -> Known {
    let nodes = (0_u8..=255).filter(|id| id % 3 != 1);
    nodes
        .map(|id| (NodeId([id; 32]), Reliability::per_mille(u16::from(id % 3) * 400)))
        .collect()
}

/// `count` GPUs of a model with so many GiB each, all free.
pub(crate) fn gpus(model: &str, count: u32, memory_gib: u64) -> Gpus {
    Gpus {
        model: model.parse().unwrap(),
        free: count,
        total: count,
        memory: ByteSize(memory_gib << 30),
        rate: price(7),
    }
}

pub(crate) fn gpu_wish(model: Option<&str>, count: u32, memory_gib: u64) -> GpuWish {
    GpuWish {
        model: model.map(|model| model.parse().unwrap()),
        count: nodes(count),
        memory: ByteSize(memory_gib << 30),
    }
}

fn any_gpus() -> impl Strategy<Value = Option<Gpus>> {
    let gpus = (
        prop::sample::select(vec!["a100", "t4"]),
        1_u32..5,
        0_u32..5,
        1_u64..4,
        0_u128..30,
    );
    let gpus = gpus.prop_map(|(model, total, busy, memory, rate)| Gpus {
        free: total.saturating_sub(busy),
        rate: price(rate),
        ..self::gpus(model, total, memory)
    });
    prop::option::weighted(0.4, gpus)
}

fn any_wish() -> impl Strategy<Value = Option<GpuWish>> {
    let model = prop::sample::select(vec![None, Some("a100"), Some("t4")]);
    let wish = (model, 1_u32..4, 0_u64..4).prop_map(|(model, count, memory)| gpu_wish(model, count, memory));
    prop::option::weighted(0.25, wish)
}

fn any_topology() -> impl Strategy<Value = Topology> {
    let closeness = prop::sample::select(vec![Closeness::Any, Closeness::Any, Closeness::Region, Closeness::Site]);
    (closeness, any::<bool>()).prop_map(|(closeness, required)| Topology { closeness, required })
}

prop_compose! {
    fn any_shape()(cores in 1u32..=4, memory in 1u64..=4, disk in 1u64..=4) -> Resources {
        shape(cores, memory, disk)
    }
}

fn any_tags() -> impl Strategy<Value = BTreeSet<Tag>> {
    prop::sample::subsequence(vec!["gpu", "sgx"], 0..=2).prop_map(|names| tags(&names))
}

fn any_region() -> impl Strategy<Value = Option<Tag>> {
    prop::sample::select(vec![None, Some("eu".parse().unwrap()), Some("us".parse().unwrap())])
}

prop_compose! {
    pub(crate) fn any_offer()(
        (total, cpu_price, memory_price) in (any_shape(), 0u128..40, 0u128..10),
        (busy, other_token, score) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1), 0u32..3),
        (features, region) in (any_tags(), any_region()),
        (site, owner, gpus) in (prop::sample::select(vec![None, Some("site-a"), Some("site-b")]), 0_u8..2, any_gpus()),
        (lease_min, lease_more, grace_min_secs) in (0u64..4, 0u64..20, 0u32..3),
    ) -> Offer {
        let mut offer = offer(1);
        let free = if busy { Resources::default() } else { total };
        (offer.total, offer.free, offer.largest) = (total, free, free);
        offer.rates = Rates { cpu_core: price(cpu_price), memory_gib: price(memory_price), disk_gib: price(1) };
        offer.cpu_score = score;
        (offer.features, offer.region) = (features, region);
        offer.features.extend(site.map(|site| site.parse().unwrap()));
        offer.features.extend(gpus.and_then(|gpus| gpus.features()).unwrap_or_default());
        offer.wallet = Address::repeat_byte(0xab + owner);
        offer.lease_min = Millis::from_secs(lease_min * 1_800);
        offer.lease_max = offer.lease_min.saturating_add(Millis::from_secs(60 + lease_more * 900));
        offer.grace_min_secs = grace_min_secs * 1_000;
        if other_token {
            offer.token = Address::repeat_byte(0xdb);
        }
        offer
    }
}

prop_compose! {
    pub(crate) fn any_request()(
        (count, resources) in (1u32..6, any_shape()),
        (secs, reserve, grace, points) in (60u64..15_000, 0u64..60, 0u32..3, 0u16..=1_000),
        (max_price, max_total) in (prop::option::of(0u128..150), prop::option::of(0u128..400)),
        (features, region) in (any_tags(), any_region()),
        (wants_features, wants_region) in (prop::bool::weighted(0.3), prop::bool::weighted(0.3)),
        excluded in prop::option::weighted(0.3, 1u8..10),
        (gpus, topology, min_reliability) in (any_wish(), any_topology(), prop::sample::select(vec![0, 0, 0, 500, 700])),
        (enough, spares) in (prop::option::weighted(0.3, 1u32..6), prop::sample::select(vec![0, 0, 1, 2])),
    ) -> Request {
        Request {
            nodes: nodes(count),
            resources,
            duration: Millis::from_secs(secs),
            reserve: Millis::from_secs(reserve),
            grace_secs: grace * 1_000,
            builder_share: BasisPoints::new(points).unwrap(),
            max_price: max_price.map(price),
            max_total: max_total.map(amount),
            features: if wants_features { features } else { BTreeSet::new() },
            region: region.filter(|_| wants_region),
            gpus,
            topology,
            min_reliability: Reliability::per_mille(min_reliability),
            enough: enough.map(nodes),
            spares,
            exclude: excluded.map(|id| NodeId([id; 32])).into_iter().collect(),
            ..request()
        }
    }
}

/// Up to 12 offers of different nodes.
pub(crate) fn any_offers() -> impl Strategy<Value = Vec<Offer>> {
    prop::collection::vec(any_offer(), 0..12).prop_map(|mut offers| {
        for (id, offer) in (1u8..).zip(&mut offers) {
            offer.node = NodeId([id; 32]);
        }
        offers
    })
}

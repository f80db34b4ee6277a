//! Offers and requests to measure with: markets of three kinds, and what people or an index's worst enemy ask of them.
//! Drawn from seeds, the same in each run.

use gpux_market::{Closeness, GpuWish, Gpus, Offer, Rates, Reliability, Request, Tag, Topology};
use gpux_types::{Address, Amount, BasisPoints, ByteSize, Cpu, Millis, NodeId, PricePerHour, Resources};
use std::{collections::BTreeSet, num::NonZeroU32};

const MODELS: [&str; 8] = [
    "h100-sxm",
    "h100-pcie",
    "a100",
    "l40s",
    "rtx-4090",
    "rtx-3090",
    "t4",
    "mi300x",
];
const REGIONS: [&str; 12] = [
    "eu-nl", "eu-de", "eu-fr", "eu-fi", "eu-pl", "us-east", "us-west", "us-mid", "ca", "sg", "jp", "br",
];
const FEATURES: [&str; 6] = ["cap-docker", "sgx", "tdx", "ipv6", "ecc", "nvme"];

/// SplitMix64: the same world for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        let at = usize::try_from(self.below(list.len() as u64)).expect("small");
        *list.get(at).expect("an item")
    }
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

pub(crate) fn price(units: u128) -> PricePerHour {
    PricePerHour(Amount::new(units).expect("an amount"))
}

fn small(value: u64) -> u32 {
    u32::try_from(value).expect("a small number")
}

pub(crate) fn shape(cores: u64, memory_gib: u64, disk_gib: u64) -> Resources {
    Resources {
        cpu: Cpu::cores(small(cores)),
        memory: ByteSize(memory_gib << 30),
        disk: ByteSize(disk_gib << 30),
    }
}

pub(crate) fn node(number: u64) -> NodeId {
    let mut id = [0; 32];
    for (chunk, salt) in id.chunks_mut(8).zip(0_u64..) {
        chunk.copy_from_slice(&Draw(number ^ (salt << 56)).next().to_be_bytes());
    }
    NodeId(id)
}

/// How the offers of a book are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// Sizes, prices, GPUs, regions, sites and features as a market might have them: a third at the usual price.
    Mixed,
    /// Every node the same but for its id, so that nothing but ties decides.
    Alike,
    /// Each size drawn by itself, so that no order puts all of them together.
    Scattered,
}

/// Sizes of the largest lease.
fn largest(world: World, draw: &mut Draw) -> Resources {
    let size = 1 << draw.below(7);
    let mut of = |high: u64| match world {
        World::Alike => high / 16,
        World::Scattered => 1 + draw.below(high),
        World::Mixed => size * (1 + draw.below(4)),
    };
    shape(of(256), of(1_024), of(4_096) * 10)
}

fn features(draw: &mut Draw, gpu_rate: PricePerHour) -> BTreeSet<Tag> {
    let mut features: BTreeSet<Tag> = FEATURES
        .iter()
        .filter(|_| draw.one_in(4))
        .map(|name| tag(name))
        .collect();
    if draw.one_in(3) {
        features.insert(tag(&format!("site-{}", draw.below(4))));
    }
    if draw.one_in(2) {
        let total = draw.of(&[1_u32, 1, 2, 4, 8, 8]);
        let gpus = Gpus {
            model: tag(draw.of(&MODELS)),
            free: total - small(draw.below(u64::from(total))),
            total,
            memory: ByteSize(draw.of(&[12_288_u64, 24_576, 49_152, 81_559]) << 20),
            rate: gpu_rate,
        };
        features.extend(gpus.features().expect("GPUs that can be written"));
    }
    features
}

/// The offer of the node of a number, always the same.
pub(crate) fn offer(world: World, number: u64) -> Offer {
    let draw = &mut Draw(number.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let (alike, usual) = (world == World::Alike, draw.one_in(3));
    let largest = largest(world, draw);
    let mut rate = |unit: u128| {
        let of_usual = if alike || usual {
            1_000
        } else {
            400 + u128::from(draw.below(3_000))
        };
        price(unit * of_usual)
    };
    let rates = Rates {
        cpu_core: rate(12_000_000_000_000),
        memory_gib: rate(2_000_000_000_000),
        disk_gib: rate(100_000_000_000),
    };
    let gpu_rate = rate(1_000_000_000_000_000);
    let features = match world {
        World::Alike => BTreeSet::from([tag("cap-docker")]),
        World::Mixed | World::Scattered => features(draw, gpu_rate),
    };
    let region = if alike { "eu-nl" } else { draw.of(&REGIONS) };
    let mut wallet = Address::repeat_byte(0xab);
    if let Some(owner) = wallet.0.first_chunk_mut() {
        *owner = draw.below(1 + number / 20).to_be_bytes();
    }
    Offer {
        node: node(number),
        wallet,
        provider: wallet,
        signer: wallet,
        sequence: 1,
        ttl: Millis::from_secs(60 + draw.below(600)),
        chain_id: 10,
        escrow: Address::repeat_byte(0xee),
        token: Address::repeat_byte(0xda),
        rates,
        total: largest,
        free: largest,
        largest,
        cpu_model: "AMD EPYC 9654 96-Core Processor".into(),
        cpu_score: if alike { 1_000 } else { 500 + small(draw.below(1_500)) },
        features,
        region: Some(tag(region)).filter(|_| alike || !draw.one_in(10)),
        lease_min: Millis::from_secs(30),
        lease_max: Millis::from_secs(86_400),
        grace_min_secs: 86_400,
        addresses: vec!["192.0.2.1:4000".parse().expect("an address")],
        relay: None,
    }
}

pub(crate) fn request() -> Request {
    Request {
        nodes: NonZeroU32::MIN,
        enough: None,
        spares: 0,
        topology: Topology::default(),
        resources: shape(2, 4, 10),
        gpus: None,
        min_reliability: Reliability::NONE,
        duration: Millis::from_secs(3_600),
        reserve: Millis::from_secs(30),
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

pub(crate) fn nodes(count: u64) -> NonZeroU32 {
    NonZeroU32::new(small(count)).expect("not zero")
}

/// What people type.
pub(crate) fn drawn(draw: &mut Draw) -> Request {
    let size = 1 << draw.below(6);
    let mut wanted = request();
    wanted.resources = shape(size, size * 2, size * 4);
    wanted.nodes = nodes(draw.of(&[1, 1, 1, 2, 3, 4, 8, 16]));
    if draw.one_in(3) {
        wanted.gpus = Some(GpuWish {
            model: Some(tag(draw.of(&MODELS))).filter(|_| !draw.one_in(3)),
            count: nodes(draw.of(&[1, 1, 2, 4, 8])),
            memory: ByteSize(draw.of(&[0_u64, 12_288, 24_576, 49_152]) << 20),
        });
    }
    if draw.one_in(3) {
        wanted.region = Some(tag(draw.of(&REGIONS)));
    }
    if draw.one_in(4) {
        wanted.features = BTreeSet::from([tag(draw.of(&FEATURES))]);
    }
    if draw.one_in(4) {
        wanted.max_price = Some(price(u128::from(1 + draw.below(200)) * 20_000_000_000_000_000));
    }
    if draw.one_in(5) {
        wanted.spares = 1;
    }
    wanted.topology = Topology {
        closeness: draw.of(&[Closeness::Any, Closeness::Any, Closeness::Region, Closeness::Site]),
        required: draw.one_in(4),
    };
    wanted.builder_share = BasisPoints::new(if draw.one_in(4) { 500 } else { 0 }).expect("a share");
    wanted
}

/// The requests that are worst for an index, with the book that makes them so.
pub(crate) fn worst() -> Vec<(World, &'static str, Request)> {
    let (mut gang, mut site, mut must, mut none, mut dear) = (request(), request(), request(), request(), request());
    gang.nodes = nodes(16);
    (site.nodes, must.nodes) = (nodes(8), nodes(8));
    site.topology.closeness = Closeness::Site;
    must.topology = Topology {
        closeness: Closeness::Site,
        required: true,
    };
    none.resources = shape(257, 1, 1);
    // In a scattered book nearly every leaf has one node with enough cores, another with enough memory, another with disk.
    dear.resources = shape(250, 1_000, 40_000);
    let mut cheap = request();
    cheap.max_price = Some(price(1));
    let mut feature = request();
    feature.features = FEATURES.iter().map(|name| tag(name)).collect();
    vec![
        (World::Mixed, "everything matches, one node", request()),
        (World::Mixed, "everything matches, 16 nodes", gang),
        (World::Mixed, "nothing is as large", none),
        (World::Mixed, "nothing is as cheap", cheap),
        (World::Mixed, "six features at once (1 in 4,096)", feature),
        (World::Mixed, "8 nodes, one site preferred", site.clone()),
        (World::Mixed, "8 nodes, one site required", must.clone()),
        (World::Alike, "all alike, one node", request()),
        (World::Alike, "all alike, 8 nodes, one site preferred", site),
        (
            World::Alike,
            "all alike, 8 nodes, one site required: none has one",
            must,
        ),
        (World::Scattered, "scattered sizes, everything matches", request()),
        (World::Scattered, "scattered sizes, few match in no cheap place", dear),
    ]
}

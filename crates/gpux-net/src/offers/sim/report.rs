//! What a simulated market costs, and how fast an offer is known in it; the goals as a test.

use super::*;

/// How many nodes take part when nobody says: as many as a test may take time for. `make gossip` has more.
const NODES: usize = 100;
/// How many new offers are watched at a time of each kind.
const OFFERS: usize = 20;

/// How long offers took to be known by 95 of 100 nodes: the worst of 95 of 100 offers, or `None` when it was not.
fn spread(world: &mut World, honest: impl Fn(&Peer) -> bool + Copy) -> Option<Duration> {
    world.watched.clear();
    for _ in 0..OFFERS {
        let living = world.living(honest);
        let at = living[world.draw.below(living.len())];
        world.sell(at, true);
        world.run(Duration::from_secs(1));
    }
    world.run(Duration::from_secs(15));
    let enough = (world.living(honest).len() - 1) * 95 / 100;
    let times = world.watched.iter().map(|watched| {
        let mut seen = watched.seen.clone();
        seen.sort();
        seen.get(enough - 1).copied().unwrap_or(Duration::MAX)
    });
    let mut times: Vec<_> = times.collect();
    times.sort();
    times
        .get(OFFERS * 95 / 100 - 1)
        .copied()
        .filter(|time| *time < Duration::MAX)
}

/// Bytes in and out for each node in each second of `time`: the mean, and the worst of either.
fn cost(world: &mut World, time: Duration, honest: impl Fn(&Peer) -> bool + Copy) -> [u64; 3] {
    for peer in world.peers.iter_mut().flatten() {
        (peer.sent, peer.received) = (0, 0);
    }
    world.run(time);
    let living: Vec<_> = world.peers.iter().flatten().filter(|peer| honest(peer)).collect();
    let each = u64::try_from(living.len()).unwrap() * time.as_secs();
    let worst = living.iter().map(|peer| peer.sent.max(peer.received)).max().unwrap();
    [
        living.iter().map(|peer| peer.received).sum::<u64>() / each,
        living.iter().map(|peer| peer.sent).sum::<u64>() / each,
        worst / time.as_secs(),
    ]
}

/// How much of all that it could know a node knows: the mean of all nodes, in percent.
fn known(world: &World, honest: impl Fn(&Peer) -> bool + Copy) -> usize {
    let living: HashSet<_> = world.living(honest).into_iter().collect();
    let count = living.len();
    let live = world.peers.iter().flatten().filter(|peer| honest(peer)).map(|peer| {
        let live = peer.engine.live(world.now().at).into_iter();
        live.filter(|heard| world.index.get(&heard.offer.node).is_some_and(|at| living.contains(at)))
            .count()
    });
    live.sum::<usize>() * 100 / (count * (count - 1))
}

fn start(nodes: usize) -> World {
    let mut world = World::new();
    for at in 0..nodes {
        world.join();
        world.sell(at, false);
        world.run(Duration::from_secs(30) / u32::try_from(nodes).unwrap());
    }
    world.run(Duration::from_secs(60));
    world
}

/// 5 of 100 nodes go in each minute, half of them without a word, and as many come.
fn churn(world: &mut World, minutes: usize) {
    let each = world.living(|_| true).len() * 5 / 100;
    for turn in 0..each * minutes {
        let living = world.living(|_| true);
        let at = living[world.draw.below(living.len())];
        world.go(at, turn % 2 == 0);
        let new = world.join();
        world.sell(new, false);
        world.run(Duration::from_secs(60) / u32::try_from(each).unwrap());
    }
}

/// 5 of 100 nodes each flood a bad message in every second: forged, over, oversized, or of a new key that has no offer.
fn flood(world: &mut World, seconds: usize) {
    let count = world.peers.len();
    for at in world.living(|_| true).into_iter().take((count / 20).max(1)) {
        world.peers[at].as_mut().unwrap().hostile = true;
    }
    for second in 0..seconds {
        for at in world.living(|peer| peer.hostile) {
            let new = Node::new(u32::try_from(1_000_000 + second * 100_000 + at).unwrap());
            let (digest, details) = new.says(1, u64::try_from(second).unwrap());
            let mut forged = digest.clone();
            *forged.last_mut().unwrap() ^= 1;
            let bad = match (second + at) % 4 {
                0 => forged,
                1 => details.repeat(6),
                2 => world.peers[at].as_ref().unwrap().node.says(0, 1).0,
                _ => digest,
            };
            world.flood(at, bad);
        }
        world.run(Duration::from_secs(1));
    }
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{} ms", time.as_millis()))
}

#[test]
fn in_a_large_market_new_offers_are_known_within_5_s_and_a_node_pays_less_than_2_kb_a_second() {
    let nodes = std::env::var("GPUX_GOSSIP_NODES")
        .ok()
        .and_then(|text| text.parse().ok());
    let nodes = nodes.unwrap_or(NODES);
    let began = Instant::now();
    let mut world = start(nodes);
    let anybody = |_: &Peer| true;
    println!("{nodes} nodes after their start: {} % known", known(&world, anybody));
    assert!(known(&world, anybody) >= 99);

    // Renewals come at a third of a life: in this time each node renews once.
    let [received, sent, worst] = cost(&mut world, LIFE / 3, anybody);
    println!("steady: {received} B/s in, {sent} B/s out, the worst node {worst} B/s");
    let quiet = spread(&mut world, anybody);
    println!("a new offer is at 95 % of the nodes after {} (p95)", millis(quiet));
    assert!(quiet.is_some_and(|time| time <= Duration::from_secs(5)));
    if nodes <= 1_000 {
        assert!(received <= 2_000 && sent <= 2_000, "in {received}, out {sent}");
    }

    churn(&mut world, 2);
    let churned = known(&world, anybody);
    let spread_churned = spread(&mut world, anybody);
    println!(
        "after churn of 5 % a minute: {churned} % known, a new offer after {}",
        millis(spread_churned)
    );
    assert!(churned >= 90);
    assert!(spread_churned.is_some_and(|time| time <= Duration::from_secs(5)));

    flood(&mut world, 20);
    let honest = |peer: &Peer| !peer.hostile;
    let spread_flooded = spread(&mut world, honest);
    println!(
        "after a flood of 5 % of the nodes: a new offer after {}",
        millis(spread_flooded)
    );
    assert!(spread_flooded.is_some_and(|time| time <= Duration::from_secs(5)));
    for peer in world.peers.iter().flatten() {
        let [offers, marks, wants, held] = peer.engine.held();
        assert!(offers <= world.index.len() && marks <= 32_768 && wants <= 4_096 && held <= 256);
    }
    println!(
        "simulated {} s in {} s",
        world.time.as_secs(),
        began.elapsed().as_secs()
    );
}

//! From a demand to signed deposits within a second, over links of a tenth of one.

use gpux_world::{Demanded, Demands, demand};
use std::time::Duration;

/// One world's market: two of each kind of bad node among twenty.
const MARKET: Demands = Demands {
    seed: 1,
    providers: 20,
    dead: 2,
    slow: 2,
    lying: 2,
    renters: 3,
    each: 18,
};
/// How many demands are made in all.
const DEMANDS: usize = 500;

fn share(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().expect("there are demands")
}

#[test]
fn a_demand_has_its_signed_deposits_within_a_second_and_holds_nobody_else() {
    let worlds = DEMANDS.div_ceil(MARKET.renters * usize::try_from(MARKET.each).unwrap());
    let seeds: Vec<u64> = (1..=u64::try_from(worlds).unwrap()).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Demanded> = std::thread::scope(|scope| {
        let live = |seeds: &[u64]| {
            let worlds = seeds
                .iter()
                .map(|seed| demand(&Demands { seed: *seed, ..MARKET }).unwrap());
            worlds.collect::<Vec<_>>()
        };
        let chunks = seeds.chunks(seeds.len().div_ceil(threads));
        let walkers: Vec<_> = chunks.map(|seeds| scope.spawn(move || live(seeds))).collect();
        walkers.into_iter().flat_map(|walker| walker.join().unwrap()).collect()
    });
    let mut took: Vec<Duration> = all.iter().flat_map(|demanded| demanded.took.clone()).collect();
    let refused: Vec<&String> = all.iter().flat_map(|demanded| &demanded.refused).collect();
    took.sort_unstable();
    let [half, most, nearly] = [50, 95, 99].map(|percent| share(&took, percent));
    println!(
        "{} demands met, {} not: p50 {half:?}, p95 {most:?}, p99 {nearly:?}, longest {:?}",
        took.len(),
        refused.len(),
        took.last()
    );
    assert!(took.len() >= DEMANDS && refused.is_empty(), "{refused:?}");
    assert!(most <= Duration::from_secs(1), "p95 is {most:?}");
    // Seconds after the last demand; a quote that nobody took back would hold for half a minute.
    let held: usize = all.iter().map(|demanded| demanded.held).sum();
    let broken: Vec<&String> = all.iter().flat_map(|demanded| &demanded.broken).collect();
    assert!(broken.is_empty(), "{broken:?}");
    assert_eq!(held, 0, "quotes that nobody wants hold nothing");
}

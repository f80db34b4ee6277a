//! How long a plan takes over a book of 10,000 and of 1,000,000 offers, what a change of the book costs, and its memory.
//!
//! One thread. Requests are drawn from a seed: any mix that people type, and the ones that are worst for an index. The
//! figures are of the plan alone, as the daemon calls it; advice and reasons are on demand and timed apart.
//! `bench/run` calls this.
//!
//! ```text
//! market [--offers 10000,1000000] [--plans 20000] [--tries 1] [--check]
//! ```
//!
//! `--tries` takes the best of so many times of each plan, for a machine whose cores are shared: what is then left in the
//! percentiles is how plans differ. `--check` fails when a goal is missed.

#![expect(clippy::panic, reason = "a measurement that fails must end at once")]

mod world;

use gpux_market::{Known, Offer, OfferBook, Reliability, Request, Topology, nearest_changes, plan};
use gpux_types::Millis;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use world::{Draw, World, drawn, node, offer, worst};

/// How many nodes the renter has used before.
const KNOWN: u64 = 20;

struct Times(Vec<Duration>);

impl Times {
    fn take(rounds: usize, tries: usize, mut work: impl FnMut(usize)) -> Self {
        let mut times: Vec<_> = (0..rounds)
            .map(|round| {
                let times = (0..tries).map(|_| {
                    let start = Instant::now();
                    work(round);
                    start.elapsed()
                });
                times.min().unwrap_or_default()
            })
            .collect();
        times.sort_unstable();
        Self(times)
    }

    fn at(&self, per_mille: usize) -> Duration {
        let rank = (self.0.len() * per_mille).div_ceil(1_000).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    fn print(&self, name: &str) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (p50, p99, worst) = (micros(self.at(500)), micros(self.at(990)), micros(self.at(1_000)));
        println!(
            "  {name:<56} p50 {p50:>9.1} us  p99 {p99:>9.1} us  worst {worst:>9.1} us  ({} times)",
            self.0.len()
        );
    }
}

/// How long this thread was on a core so far, as the kernel counts it: what else runs on the machine is not in it.
fn on_core() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let nanos = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

fn fill(world: World, count: u64) -> OfferBook {
    let mut book = OfferBook::new(usize::try_from(count).expect("fits") + 1);
    for number in 0..count {
        book.insert(offer(world, number), Millis::ZERO).expect("a good offer");
    }
    book
}

fn measure(count: u64, plans: usize, tries: usize) -> (Duration, f64) {
    println!("{count} offers");
    let mut figures = None;
    for world in [World::Mixed, World::Alike, World::Scattered] {
        let before = resident();
        let start = Instant::now();
        let mut book = fill(world, count);
        let (filled, each) = (start.elapsed(), usize::try_from(count).expect("fits"));
        let memory = resident().saturating_sub(before) / each;
        println!(
            " {world:?}: filled in {:.2} s, {memory} bytes an offer resident, of which {} find it",
            filled.as_secs_f64(),
            book.index_bytes() / each
        );
        let known: Known = (0..KNOWN)
            .map(|number| (node(number * 7), Reliability::from_record(3, 1)))
            .collect();
        if world == World::Mixed {
            figures = Some(mix(&mut book, &known, count, plans, tries));
        }
        for (of, name, request) in worst() {
            if of == world {
                let rounds = plans.min(300);
                Times::take(rounds, tries, |_| drop(black_box(plan(&request, &book, &known)))).print(name);
            }
        }
    }
    figures.expect("a mixed world")
}

/// The mix, changes of the book, and advice; gives the mix's p99 and plans a second.
fn mix(book: &mut OfferBook, known: &Known, count: u64, plans: usize, tries: usize) -> (Duration, f64) {
    let draw = &mut Draw(1);
    let requests: Vec<Request> = (0..plans).map(|_| drawn(draw)).collect();
    let missed: Vec<&Request> = requests
        .iter()
        .filter(|request| !plan(request, book, known).is_match())
        .collect();
    println!("  {} of {plans} requests get their nodes", plans - missed.len());
    let (of_all, _) = plans_of(
        book,
        known,
        tries,
        "a mix of requests, half of them with a topology",
        &requests,
    );
    let anywhere: Vec<Request> = requests
        .iter()
        .map(|request| Request {
            topology: Topology::default(),
            ..request.clone()
        })
        .collect();
    let (p99, per_second) = plans_of(book, known, tries, "the same without topology", &anywhere);
    Times::take(missed.len().min(4), 1, |round| {
        if let Some(request) = missed.get(round) {
            drop(black_box(nearest_changes(request, book, known)));
        }
    })
    .print("the nearest change, for a request without a plan");
    changes(book, draw, count);
    (p99.max(of_all), per_second)
}

/// The p99 of plans for `requests`, and how many a second of one core.
fn plans_of(book: &OfferBook, known: &Known, tries: usize, name: &str, requests: &[Request]) -> (Duration, f64) {
    let start = on_core();
    for request in requests {
        drop(black_box(plan(request, book, known)));
    }
    let per_second = requests.len() as f64 / on_core().saturating_sub(start).as_secs_f64();
    let times = Times::take(requests.len(), tries, |round| {
        if let Some(request) = requests.get(round) {
            drop(black_box(plan(request, book, known)));
        }
    });
    times.print(name);
    let total: Duration = times.0.iter().sum();
    let shortest = requests.len() as f64 / total.as_secs_f64();
    println!(
        "  {:<56} {per_second:.0} plans a second of one core; {shortest:.0} by the times above",
        ""
    );
    (times.at(990), per_second)
}

/// What it takes to keep the book true.
fn changes(book: &mut OfferBook, draw: &mut Draw, count: u64) {
    let changed: Vec<Offer> = (0..3_000)
        .map(|number| Offer {
            node: node(number * 3 % count),
            sequence: 2,
            ..offer(World::Mixed, draw.below(count) + count)
        })
        .collect();
    let mut changed = changed.into_iter();
    Times::take(3_000, 1, |_| {
        drop(black_box(book.insert(changed.next().expect("another"), Millis::ZERO)))
    })
    .print("an offer is replaced by another of its node");
    let mut now = Millis::from_secs(60);
    Times::take(60, 1, |_| {
        now = now.saturating_add(Millis::from_secs(1));
        black_box(book.expire(now));
    })
    .print("a 600th of the offers is over, and goes");
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut offers, mut plans, mut tries, mut check) = (vec![10_000_u64, 1_000_000], 20_000_usize, 1_usize, false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        match arg.as_str() {
            "--offers" => {
                offers = value()
                    .split(',')
                    .map(|count| count.parse().expect("a number"))
                    .collect()
            }
            "--plans" => plans = value().parse().expect("a number of plans"),
            "--tries" => tries = value().parse().expect("a number of tries"),
            "--check" => check = true,
            "--bench" => {}
            _ => panic!("unknown option {arg}"),
        }
    }
    for count in offers {
        let (p99, per_second) = measure(count, plans, tries);
        let limit = Duration::from_millis(if count <= 10_000 { 1 } else { 5 });
        let enough = count > 10_000 || per_second >= 37_000.0;
        assert!(!check || (p99 <= limit && enough), "a goal is missed at {count} offers");
    }
}

//! How long a plan over a large book takes. Prints the figures; fails only when a plan has become slow by its nature,
//! such as quadratic in the number of offers.

use crate::market::{nodes, offer, price, reliability, request, shape};
use gpux_market::{OfferBook, Request, plan};
use gpux_types::{Millis, NodeId};
use std::time::{Duration, Instant};

const OFFERS: u32 = 10_000;

fn large_book() -> OfferBook {
    let mut book = OfferBook::new(100_000);
    for id in 0..OFFERS {
        let mut offer = offer(1);
        offer.node.0[..4].copy_from_slice(&id.to_be_bytes());
        offer.rates.cpu_core = price(u128::from(id.wrapping_mul(2_654_435_761) % 10_000));
        offer.largest = shape(1 + id % 4, 4 + u64::from(id % 5), 10);
        book.insert(offer, Millis::ZERO).unwrap();
    }
    book
}

fn median(book: &OfferBook, request: &Request) -> Duration {
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            assert!(plan(request, book, &reliability).rejected.len() < 10_001);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[4]
}

#[test]
fn a_plan_over_ten_thousand_offers_is_quick() {
    let book = large_book();
    let mut found = request();
    found.nodes = nodes(3);
    let mut missed = found.clone();
    (missed.max_price, missed.region) = (Some(price(1)), Some("eu".parse().unwrap()));
    let (found, missed) = (median(&book, &found), median(&book, &missed));
    println!(
        "plan over {OFFERS} offers: {found:?} with a match, {missed:?} with advice (NodeId: {} B)",
        size_of::<NodeId>()
    );
    assert!(
        found < Duration::from_millis(200) && missed < Duration::from_secs(2),
        "{found:?}, {missed:?}"
    );
}

//! How long a plan over a large book takes. Prints the figures; fails only when a plan has become slow by its nature,
//! such as quadratic in the number of offers.

use crate::market::{known, nodes, offer, price, request, shape};
use gpux_market::{OfferBook, Request, nearest_changes, plan, rejections};
use gpux_types::Millis;
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

fn median(book: &OfferBook, request: &Request, work: impl Fn(&Request, &OfferBook)) -> Duration {
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            work(request, book);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[4]
}

/// `benches/market.rs` measures; this holds in a debug build too, beside other tests.
#[test]
fn a_plan_over_ten_thousand_offers_is_quick() {
    let (book, known) = (large_book(), known());
    let mut found = request();
    found.nodes = nodes(3);
    let mut missed = found.clone();
    (missed.max_price, missed.region) = (Some(price(1)), Some("eu".parse().unwrap()));
    let found = median(&book, &found, |request, book| {
        assert!(plan(request, book, &known).is_match())
    });
    let advised = median(&book, &missed, |request, book| {
        assert!(!nearest_changes(request, book, &known).is_empty())
    });
    let why = median(&book, &missed, |request, book| {
        assert_eq!(rejections(request, book, &known).len(), book.len())
    });
    println!("over {OFFERS} offers: a plan {found:?}, every rejection {why:?}, the nearest change {advised:?}");
    assert!(
        found < Duration::from_millis(200) && why.max(advised) < Duration::from_secs(4),
        "{found:?}, {why:?}, {advised:?}"
    );
}

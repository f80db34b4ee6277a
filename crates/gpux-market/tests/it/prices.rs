//! What the market asks.

use crate::market::{book, offer, price, shape};
use gpux_market::{PriceStats, price_stats};

#[test]
fn percentiles_are_prices_that_somebody_asks() {
    let mut offers: Vec<_> = (1..=10).map(offer).collect();
    for (offer, rate) in offers.iter_mut().zip(1u128..) {
        offer.rates.cpu_core = price(rate * 10);
    }
    let token = offers[0].token;
    let stats = price_stats(&book(&offers), token, &shape(1, 1, 1));
    assert_eq!(
        stats,
        Some(PriceStats {
            count: 10,
            p10: price(10),
            p50: price(50),
            p90: price(90)
        })
    );
    let one = price_stats(&book(&offers[..1]), token, &shape(2, 1, 1));
    assert_eq!(
        one,
        Some(PriceStats {
            count: 1,
            p10: price(20),
            p50: price(20),
            p90: price(20)
        })
    );
    assert_eq!(
        price_stats(&book(&offers), token, &shape(64, 1, 1)),
        None,
        "no node is that large"
    );
    assert_eq!(
        price_stats(&book(&offers), offers[0].signer, &shape(1, 1, 1)),
        None,
        "nobody sells for that token"
    );
}

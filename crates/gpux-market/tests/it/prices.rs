//! What the market asks.

use crate::market::{book, gpus, offer, price, shape};
use gpux_market::{Gpus, ModelStats, PriceStats, model_stats, price_stats};

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

#[test]
fn each_model_of_gpu_has_prices_of_its_own() {
    let mut offers: Vec<_> = (1..=13).map(offer).collect();
    for (offer, rate) in offers.iter_mut().zip(1..=12_u128) {
        let (model, count) = if rate <= 10 { ("a100", 4) } else { ("t4", 1) };
        let sold = Gpus {
            rate: price(rate * 100),
            free: count - u32::from(rate == 10),
            ..gpus(model, count, 16)
        };
        offer.features = sold.features().unwrap();
    }
    let stats = model_stats(&book(&offers), offers[0].token);
    let model = |model: &str, nodes, total, free, largest, [p10, p50, p90]: [u128; 3]| ModelStats {
        model: model.parse().unwrap(),
        nodes,
        total,
        free,
        largest,
        prices: PriceStats {
            count: nodes,
            p10: price(p10),
            p50: price(p50),
            p90: price(p90),
        },
    };
    let expected = [
        model("a100", 10, 40, 39, 4, [100, 500, 900]),
        model("t4", 2, 2, 2, 1, [1_100, 1_100, 1_200]),
    ];
    assert_eq!(stats, expected);
    assert_eq!(model_stats(&book(&offers), offers[0].signer), []);
}

//! Which nodes a plan takes.

use crate::{
    market::{amount, any_offers, any_request, book, dai, nodes, offer, price, request},
    rules::{Answer, broken},
};
use gpux_market::{Known, Reason, Reliability, Shortfall, nearest_changes, plan, rejections};
use gpux_types::NodeId;
use proptest::prelude::*;

fn ids(candidates: &[gpux_market::Candidate]) -> Vec<u8> {
    candidates.iter().map(|candidate| candidate.offer.node.0[0]).collect()
}

#[test]
fn the_cheapest_come_first_then_the_reliable_then_the_fast() {
    let mut offers: Vec<_> = (1..=5).map(offer).collect();
    offers[0].rates.cpu_core = price(11);
    offers[3].cpu_score = 2_000;
    let known: Known = [(NodeId([3; 32]), Reliability::PERFECT)].into_iter().collect();
    let mut request = request();
    request.nodes = nodes(2);
    let book = book(&offers);
    let plan = plan(&request, &book, &known);
    assert_eq!(ids(&plan.chosen), [3, 4]);
    assert_eq!(ids(&plan.alternatives(&request, &book, &known)), [2, 5, 1]);
    assert_eq!((plan.total_price(), plan.total_deposit()), (price(40), amount(40)));
}

#[test]
fn a_builders_share_is_on_top_of_what_the_provider_asks() {
    let mut request = request();
    request.builder_share = gpux_types::BasisPoints::new(1_000).unwrap();
    let plan = plan(&request, &book(&[offer(1)]), &Known::default());
    let cost = plan.chosen[0].cost;
    assert_eq!(
        (cost.net, cost.gross, cost.deposit, cost.builder_most),
        (price(20), price(23), amount(23), amount(2))
    );
}

#[test]
fn every_reason_is_told() {
    let mut small = offer(1);
    small.largest = crate::market::shape(1, 2, 3);
    small.lease_max = gpux_types::Millis::from_secs(600);
    small.grace_min_secs = 100_000;
    let mut request = request();
    request.max_price = Some(price(5));
    request.features = crate::market::tags(&["gpu", "sgx"]);
    request.region = Some("eu".parse().unwrap());
    request.gpus = Some(crate::market::gpu_wish(Some("a100"), 2, 40));
    request.min_reliability = Reliability::per_mille(600);
    let rejected = rejections(&request, &book(&[small]), &Known::default());
    let texts: Vec<_> = rejected[0].reasons.iter().map(|reason| reason.text(&dai())).collect();
    assert_eq!(
        texts,
        [
            "leases 1 of 4 cores now, wanted 2",
            "leases 2 GiB of 8 GiB of memory now, wanted 4 GiB",
            "leases 3 GiB of 20 GiB of disk now, wanted 10 GiB",
            "offers no GPUs, wanted 2",
            "kept its word 500 of 1000 times as you have seen it, wanted 600",
            "costs 20 DAI/hour, over 5 DAI/hour",
            "leases for 10m at most, wanted 1h",
            "wants a grace of 100000 s at least, not 86400 s",
            "lacks gpu, sgx",
            "does not say its region, wanted eu",
        ]
    );
}

#[test]
fn all_that_are_rejected_are_counted_and_the_first_are_named() {
    let mut offers: Vec<_> = (1..=9).map(offer).collect();
    for dear in &mut offers[2..] {
        dear.rates.cpu_core = price(1_000);
    }
    offers[8].largest = crate::market::shape(1, 8, 20);
    let mut request = request();
    request.max_price = Some(price(900));
    let book = book(&offers);
    let told = gpux_market::rejected(&request, &book, &Known::default(), 3);
    assert_eq!((told.offers, told.first.len()), (7, 3));
    assert_eq!(told.by_reason, [("cpu", 1), ("price", 7)].into());
    assert!(!told.only_too_dear());
    let all = rejections(&request, &book, &Known::default());
    assert_eq!(told.first, all[..3], "in the same order");
    offers.pop();
    let told = gpux_market::rejected(&request, &crate::market::book(&offers), &Known::default(), 0);
    assert!(told.only_too_dear() && told.first.is_empty(), "{told:?}");
}

#[test]
fn a_book_read_by_pages_gives_the_same_plan() {
    let offers: Vec<_> = (1..=9).map(offer).collect();
    let whole = book(&offers);
    let mut read = Vec::new();
    loop {
        let page = whole.page(
            read.last().map(|offer: &std::sync::Arc<gpux_market::Offer>| offer.node),
            2,
        );
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert!(read.iter().eq(whole.iter()), "each once, in order");
    let copy = gpux_market::OfferBook::of(read);
    let known = Known::default();
    assert_eq!(plan(&request(), &copy, &known), plan(&request(), &whole, &known));
    assert_eq!(copy.len(), whole.len());
}

#[test]
fn a_node_says_what_its_gpus_lack() {
    let mut other = offer(1);
    other.features = crate::market::gpus("t4", 1, 16).features().unwrap();
    let mut request = request();
    request.gpus = Some(crate::market::gpu_wish(Some("a100"), 2, 40));
    let rejected = rejections(&request, &book(&[other]), &Known::default());
    let texts: Vec<_> = rejected[0].reasons.iter().map(|reason| reason.text(&dai())).collect();
    assert_eq!(
        texts,
        [
            "leases 1 of 1 GPUs now, wanted 2",
            "has GPUs of model t4, wanted a100",
            "has 16 GiB of memory on each GPU, wanted 40 GiB",
        ]
    );
}

#[test]
fn another_market_is_no_match_and_nothing_mends_it() {
    let mut offers = [offer(1), offer(2), offer(3), offer(4)];
    offers[0].chain_id = 1;
    offers[1].escrow = offers[1].signer;
    offers[2].token = offers[2].signer;
    let mut request = request();
    request.exclude.insert(NodeId([4; 32]));
    let plan = plan(&request, &book(&offers), &Known::default());
    let rejected = rejections(&request, &book(&offers), &Known::default());
    let first: Vec<_> = rejected.iter().map(|rejection| &rejection.reasons[0]).collect();
    assert!(matches!(
        first[..],
        [
            Reason::Escrow { .. },
            Reason::Escrow { .. },
            Reason::Token { .. },
            Reason::Excluded
        ]
    ));
    assert_eq!(plan.shortfall, Some(Shortfall::TooFewNodes { wanted: 1, matching: 0 }));
    assert!(nearest_changes(&request, &book(&offers), &Known::default()).is_empty());
}

#[test]
fn an_empty_book_has_no_advice() {
    let plan = plan(&request(), &book(&[]), &Known::default());
    assert_eq!(plan.shortfall, Some(Shortfall::NoOffers));
    assert!(nearest_changes(&request(), &book(&[]), &Known::default()).is_empty());
}

/// What a plan counts; a lower one is better, of as many nodes.
fn counts(request: &gpux_market::Request, plan: &gpux_market::Plan) -> u128 {
    let nodes = plan.taken();
    let scores = nodes.map(|it| gpux_market::node_score(it.cost.gross, it.reliability));
    gpux_market::set_score(scores, request.topology, plan.closeness)
}

#[test]
fn of_those_that_answered_the_best_set_is_taken_and_none_that_is_over_the_total() {
    let mut offers: Vec<_> = (1..=4).map(offer).collect();
    offers[0].rates.cpu_core = price(30);
    let mut request = request();
    request.nodes = nodes(2);
    let all = book(&offers);
    let known = Known::default();
    let planned = plan(&request, &all, &known);
    let answered: Vec<_> = planned
        .taken()
        .cloned()
        .chain(planned.alternatives(&request, &all, &known))
        .collect();
    assert_eq!(ids(&answered), [2, 3, 4, 1]);
    let chosen = |answered: &[gpux_market::Candidate], request: &gpux_market::Request| {
        gpux_market::choose(request, answered).map(|plan| ids(&plan.chosen))
    };
    assert_eq!(chosen(&answered[1..], &request), Some(vec![3, 4]));
    assert_eq!(
        chosen(&answered[2..], &request),
        Some(vec![4, 1]),
        "the dear one, where there is no other"
    );
    request.max_total = Some(amount(50));
    assert_eq!(chosen(&answered[2..], &request), None, "all or nothing");
    request.enough = Some(nodes(1));
    assert_eq!(
        chosen(&answered[2..], &request),
        Some(vec![4]),
        "fewer, where these are enough"
    );
}

proptest! {
    // A fiftieth of what is drawn matches.
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_chosen_of_all_that_answered_is_as_good_as_the_plan(request in any_request(), offers in any_offers()) {
        let (book, known) = (book(&offers), Known::default());
        let planned = plan(&request, &book, &known);
        if !planned.is_match() {
            return Ok(());
        }
        let answered: Vec<_> = planned.taken().cloned().chain(planned.alternatives(&request, &book, &known)).collect();
        let chosen = gpux_market::choose(&request, &answered).unwrap();
        prop_assert_eq!(chosen.taken().count(), planned.taken().count());
        prop_assert!(counts(&request, &chosen) <= counts(&request, &planned));
        prop_assert!(request.max_total.is_none_or(|max| chosen.total_deposit() <= max));
        prop_assert!(!request.topology.required || chosen.closeness >= request.topology.closeness);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_plan_keeps_every_rule(request in any_request(), offers in any_offers()) {
        let book = book(&offers);
        prop_assert_eq!(broken(&request, &book, &Answer::to(&request, &book)), None);
    }
}

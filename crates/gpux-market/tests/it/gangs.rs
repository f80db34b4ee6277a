//! Nodes that are taken together, against trying every set there is.

use crate::{
    market::{amount, any_offers, any_request, book, dai, gpu_wish, gpus, known, nodes, offer, price, request, tags},
    naive,
};
use gpux_market::{Closeness, Known, Offer, Request, Shortfall, Topology, plan};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// How many random markets are tried.
const MARKETS: u32 = 6_000;
/// The goal: what a chosen set may cost, of the cheapest that would do.
const GOAL: f64 = 1.12;

fn ids(candidates: &[gpux_market::Candidate]) -> Vec<u8> {
    candidates.iter().map(|candidate| candidate.offer.node.0[0]).collect()
}

/// Checks one plan against every set; gives what it costs, of the cheapest set.
fn against_all_sets(request: &Request, offers: &[Offer], known: &Known) -> Result<Option<f64>, String> {
    let all: Vec<&Offer> = offers.iter().collect();
    let matching = naive::matching(request, &all, known);
    let plan = plan(request, &book(offers), known);
    let taken: Vec<&Offer> = plan.taken().map(|candidate| &*candidate.offer).collect();
    let spares = request.spares as usize;
    let enough = request
        .enough
        .map_or(request.nodes, |enough| enough.min(request.nodes))
        .get() as usize
        + spares;
    let sizes = (enough..=request.nodes.get() as usize + spares).rev();
    let possible = sizes.filter_map(|size| Some((size, naive::best(request, &matching, size, known)?)));
    let Some((size, best)) = { possible }.next() else {
        return if plan.is_match() {
            Err("a plan where no set would do".into())
        } else {
            Ok(None)
        };
    };
    if taken.len() != size || plan.spares.len() != spares {
        return Err(format!(
            "{} nodes where {size} can be had: {:?}",
            taken.len(),
            plan.shortfall
        ));
    }
    if !taken.iter().all(|offer| naive::meets(request, offer, known)) {
        return Err("a node that does not meet the request".into());
    }
    let (score, cost) = (naive::score(request, &taken, known), naive::price(request, &taken));
    if best.score == best.score_at_any_total && score != best.score {
        return Err(format!("a score of {score} where {} can be had", best.score));
    }
    if plan.closeness != naive::closeness(&taken) {
        return Err(format!("{:?} is not how close they are", plan.closeness));
    }
    if plan.total_deposit() > request.max_total.unwrap_or(gpux_types::Amount::MAX) {
        return Err("over the total".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio to print")]
    Ok(Some(if cost == best.price {
        1.0
    } else {
        cost as f64 / best.price as f64
    }))
}

/// Mostly without the bounds on one node that leave no gang to choose.
pub(crate) fn eased(mut request: Request, number: u32) -> Request {
    if !number.is_multiple_of(4) {
        let hour = request.duration.0.clamp(7_200_000, 7_300_000);
        (request.duration, request.grace_secs) = (gpux_types::Millis(hour), 86_400);
        (request.max_price, request.gpus, request.region) = (None, None, None);
        (request.resources, request.min_reliability) = (crate::market::shape(1, 1, 1), gpux_market::Reliability::NONE);
        request.features.clear();
    }
    request.max_total = request.max_total.map(|max| amount(max.units() * 20));
    request
}

#[test]
fn no_gang_costs_more_than_1_12_of_the_cheapest_set_that_would_do() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[13; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let known = known();
    let (mut worst, mut placed, mut dearer) = (1.0_f64, 0, 0);
    for number in 0..MARKETS {
        let request = eased(any_request().new_tree(&mut runner).unwrap().current(), number);
        let mut offers = any_offers().new_tree(&mut runner).unwrap().current();
        for offer in &mut offers {
            // Prices that lie near each other, so that a preference can outweigh one.
            offer.rates.cpu_core = price(400 + offer.rates.cpu_core.0.units());
        }
        match against_all_sets(&request, &offers, &known) {
            Ok(None) => {}
            Ok(Some(ratio)) => {
                placed += 1;
                dearer += u32::from(ratio > 1.0);
                worst = worst.max(ratio);
            }
            Err(wrong) => panic!("market {number}: {wrong}\n{request:?}\n{offers:#?}"),
        }
    }
    println!(
        "{placed} gangs over {MARKETS} markets, {dearer} not the cheapest, the worst at {worst:.4} of the cheapest"
    );
    assert!(worst <= GOAL, "{worst}");
    assert!(
        placed > 1_000 && dearer > 10,
        "the markets show nothing: {placed}, {dearer}"
    );
}

fn in_site(id: u8, rate: u128, site: &str, region: &str) -> Offer {
    let mut offer = offer(id);
    offer.rates.cpu_core = price(rate);
    offer.features = tags(&[site]);
    offer.region = Some(region.parse().unwrap());
    offer
}

fn two_of(closeness: Closeness, required: bool) -> Request {
    Request {
        nodes: nodes(2),
        topology: Topology { closeness, required },
        ..request()
    }
}

#[test]
fn nodes_of_one_site_are_taken_while_they_are_little_dearer() {
    let site = |rate| {
        vec![
            in_site(1, 1_000, "site-a", "eu"),
            in_site(2, 1_000, "site-b", "us"),
            in_site(3, rate, "site-c", "eu"),
            in_site(4, rate, "site-c", "eu"),
        ]
    };
    let taken = |rate, request: &Request| ids(&plan(request, &book(&site(rate)), &Known::default()).chosen);
    let prefers = two_of(Closeness::Site, false);
    // A site is worth 6 of 100 against anywhere, and 3 against one region.
    assert_eq!(taken(1_059, &prefers), [3, 4]);
    assert_eq!(taken(1_061, &prefers), [1, 2]);
    let region = two_of(Closeness::Region, false);
    assert_eq!((taken(1_059, &region), taken(1_061, &region)), (vec![1, 3], vec![1, 2]));
    assert_eq!(taken(9_000, &two_of(Closeness::Site, true)), [3, 4]);
    assert_eq!(taken(9_000, &two_of(Closeness::Any, true)), [1, 2]);
}

#[test]
fn the_same_name_of_another_owner_is_another_site() {
    let mut offers = vec![in_site(1, 10, "site-a", "eu"), in_site(2, 10, "site-a", "eu")];
    let request = two_of(Closeness::Site, true);
    assert!(plan(&request, &book(&offers), &Known::default()).is_match());
    offers[1].wallet = gpux_types::Address::repeat_byte(0xac);
    let apart = plan(&request, &book(&offers), &Known::default());
    let shortfall = Shortfall::TooFewTogether {
        wanted: 2,
        closeness: Closeness::Site,
        most: 1,
    };
    assert_eq!(apart.shortfall, Some(shortfall));
    assert_eq!(shortfall.text(&dai()), "only 1 of 2 nodes that match are in one site");
}

#[test]
fn a_gang_is_whole_or_not_at_all_and_spares_are_part_of_it() {
    let offers: Vec<_> = (1..=4).map(offer).collect();
    let mut request = request();
    (request.nodes, request.spares) = (nodes(3), 1);
    let whole = plan(&request, &book(&offers), &Known::default());
    assert_eq!((ids(&whole.chosen), ids(&whole.spares)), (vec![1, 2, 3], vec![4]));
    assert_eq!(whole.total_deposit(), amount(80));
    let short = plan(&request, &book(&offers[..3]), &Known::default());
    assert_eq!((short.chosen.len(), short.spares.len()), (0, 0));
    assert_eq!(short.shortfall, Some(Shortfall::TooFewNodes { wanted: 4, matching: 3 }));
}

#[test]
fn where_fewer_are_enough_as_many_as_can_be_had_are_taken() {
    let offers: Vec<_> = (1..=6).map(offer).collect();
    let mut request = request();
    (request.nodes, request.enough) = (nodes(8), Some(nodes(3)));
    let taken = |request: &Request| plan(request, &book(&offers), &Known::default()).chosen.len();
    assert_eq!(taken(&request), 6);
    request.max_total = Some(amount(99));
    assert_eq!(taken(&request), 4, "20 each");
    request.max_total = Some(amount(59));
    assert_eq!(taken(&request), 0, "three are enough, two are not");
}

#[test]
fn a_node_that_keeps_its_word_is_worth_a_little_more() {
    let mut offers = vec![offer(1), offer(2)];
    (offers[0].rates.cpu_core, offers[1].rates.cpu_core) = (price(1_000), price(1_020));
    let known: Known = [(offers[1].node, gpux_market::Reliability::PERFECT)]
        .into_iter()
        .collect();
    assert_eq!(ids(&plan(&request(), &book(&offers), &known).chosen), [2]);
    offers[1].rates.cpu_core = price(1_030);
    assert_eq!(ids(&plan(&request(), &book(&offers), &known).chosen), [1]);
    let picky = Request {
        min_reliability: gpux_market::Reliability::per_mille(900),
        ..request()
    };
    assert_eq!(ids(&plan(&picky, &book(&offers), &known).chosen), [2]);
}

#[test]
fn gpus_are_counted_on_one_node_and_priced_by_their_own_rate() {
    let mut offers = vec![offer(1), offer(2), offer(3), offer(4)];
    for (offer, gpus) in offers
        .iter_mut()
        .zip([gpus("a100", 1, 80), gpus("a100", 2, 40), gpus("t4", 4, 80)])
    {
        offer.features = gpus.features().unwrap();
    }
    let taken = |model, count, memory| {
        let request = Request {
            gpus: Some(gpu_wish(model, count, memory)),
            nodes: nodes(1),
            ..request()
        };
        let plan = plan(&request, &book(&offers), &Known::default());
        (ids(&plan.chosen), plan.total_price())
    };
    assert_eq!(taken(Some("a100"), 2, 40), (vec![2], price(20 + 14)));
    assert_eq!(
        taken(Some("a100"), 2, 80),
        (vec![], price(0)),
        "one has two, another has the memory"
    );
    assert_eq!(taken(None, 3, 0), (vec![3], price(20 + 21)));
}

//! Nodes that are taken together out of books in which few stand together, so that the best of the market do not tell.

use crate::{
    gangs::eased,
    market::{any_offer, any_request, book, known, nodes},
    naive,
};
use gpux_market::{Closeness, Known, Offer, Request, Topology, plan, set_score};
use gpux_types::{Address, NodeId};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::collections::BTreeMap;

/// How many offers, in how many sites of each owner, and how many questions: more offers than are looked at first, and in the last
/// more than are looked at next.
const CROWDS: [(u32, u32, u32); 4] = [(1_500, 20, 80), (1_500, 150, 80), (1_500, 400, 80), (18_000, 2_000, 20)];

/// The lowest score that a set of `size` can have: the best nodes of each place, and of all.
fn lowest(request: &Request, matching: &[&Offer], size: usize, known: &Known) -> Option<u128> {
    let (wanted, alone) = (request.topology, Topology::default());
    let one = |offer: &Offer| {
        let request = Request {
            topology: alone,
            ..request.clone()
        };
        naive::score(&request, &[offer], known) / 1_000
    };
    let site = |offer: &Offer| {
        offer
            .features
            .iter()
            .find(|tag| tag.as_str().starts_with("site-"))
            .cloned()
    };
    let mut places: BTreeMap<String, (Closeness, Vec<u128>)> = BTreeMap::new();
    for offer in matching {
        let mut add = |closeness: Closeness, name: String| {
            let (_, scores) = places.entry(name).or_insert_with(|| (closeness, Vec::new()));
            // `matching` is in the order of scores.
            if scores.len() < size {
                scores.push(one(offer));
            }
        };
        add(Closeness::Any, "anywhere".into());
        if let Some(region) = &offer.region {
            add(Closeness::Region, format!("region {region}"));
        }
        if let Some(site) = site(offer) {
            add(Closeness::Site, format!("{site} {:?} {}", offer.region, offer.wallet));
        }
    }
    let whole = places.into_values().filter(|(_, scores)| scores.len() == size);
    let accepted = whole.filter(|(closeness, _)| size == 1 || !wanted.required || *closeness >= wanted.closeness);
    accepted
        .map(|(closeness, scores)| {
            let closeness = if size == 1 { Closeness::Site } else { closeness };
            set_score(scores.into_iter(), wanted, closeness)
        })
        .min()
}

fn crowd(runner: &mut TestRunner, count: u32, sites: u32) -> Vec<Offer> {
    let mut draw = |below: u32| (0..below).new_tree(runner).unwrap().current();
    let places: Vec<_> = (0..count).map(|_| (draw(sites), draw(3))).collect();
    let offers = places.into_iter().zip(1_u32..).map(|((site, owner), number)| {
        let mut offer = any_offer().new_tree(runner).unwrap().current();
        offer.node = NodeId([u8::try_from(number % 251).unwrap(); 32]);
        offer.node.0[28..].copy_from_slice(&number.to_be_bytes());
        offer.features.retain(|tag| !tag.as_str().starts_with("site-"));
        offer.features.insert(format!("site-{site}").parse().unwrap());
        offer.wallet = Address::repeat_byte(0xb0 + u8::try_from(owner).unwrap());
        offer
    });
    offers.collect()
}

#[test]
fn the_best_set_of_a_crowd_is_found_wherever_it_stands() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[21; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut placed, mut together) = (0, 0);
    for (count, sites, questions) in CROWDS {
        let offers = crowd(&mut runner, count, sites);
        let all: Vec<&Offer> = offers.iter().collect();
        let book = book(&offers);
        let mut known: Known = known();
        for number in 0..questions {
            let mut request = eased(any_request().new_tree(&mut runner).unwrap().current(), number);
            (request.enough, request.max_total) = (None, None);
            request.nodes = nodes(2 + number % 3);
            if number % 5 == 0 {
                request.exclude = offers.iter().step_by(7).map(|offer| offer.node).collect();
            }
            if number == 15 {
                known = offers
                    .iter()
                    .step_by(11)
                    .map(|offer| (offer.node, known.of(&offer.node)))
                    .collect();
            }
            let matching = naive::matching(&request, &all, &known);
            let size = (request.nodes.get() + request.spares) as usize;
            let best = lowest(&request, &matching, size, &known);
            let plan = plan(&request, &book, &known);
            let taken: Vec<&Offer> = plan.taken().map(|candidate| &*candidate.offer).collect();
            let score = plan.is_match().then(|| naive::score(&request, &taken, &known));
            assert_eq!(score, best, "{request:?} gets {:?}", plan.shortfall);
            placed += u32::from(score.is_some());
            together += u32::from(plan.closeness == Closeness::Site);
        }
    }
    println!("{placed} placed, {together} of them in one site");
    assert!(placed > 60 && together > 10, "{placed}, {together}");
}

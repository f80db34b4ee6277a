//! The index finds what looking at every offer finds, whatever came, went and changed before.

use crate::{
    market::{any_offer, any_request, known, nodes},
    naive,
};
use gpux_market::{Known, Offer, OfferBook, Plan, Reliability, Request, Topology, plan};
use gpux_types::{Amount, Millis, NodeId};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::collections::BTreeMap;

fn node(number: u32) -> NodeId {
    let mut id = [0; 32];
    // Ids that begin alike, so that their first bytes do not tell them apart.
    id[..1].copy_from_slice(&[u8::try_from(number % 7).unwrap()]);
    id[28..].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

/// The answer as ids: those taken, then those named beside them.
fn indexed(request: &Request, book: &OfferBook, known: &Known) -> Vec<NodeId> {
    let plan = plan(request, book, known);
    plan.taken()
        .chain(&plan.alternatives(request, book, known))
        .map(|candidate| candidate.offer.node)
        .collect()
}

/// One node, wherever it is, and what comes after it.
fn alone(request: &Request) -> Request {
    Request {
        nodes: nodes(1),
        enough: None,
        spares: 0,
        topology: Topology::default(),
        max_total: None,
        ..request.clone()
    }
}

/// The model of a book: who lives, with which offer, until when.
type Model = BTreeMap<NodeId, (Offer, Millis)>;

fn same(request: &Request, book: &OfferBook, model: &Model, known: &Known) -> Result<usize, String> {
    let request = alone(request);
    let offers: Vec<&Offer> = model.values().map(|(offer, _)| offer).collect();
    let scanned: Vec<NodeId> = naive::matching(&request, &offers, known)
        .iter()
        .map(|offer| offer.node)
        .collect();
    let found = indexed(&request, book, known);
    let first = scanned.get(..found.len()).unwrap_or(&scanned);
    if found != first || found.len() < scanned.len().min(Plan::ALTERNATIVES) {
        return Err(format!("found {found:?} of {scanned:?} for {request:?}"));
    }
    Ok(scanned.len())
}

#[test]
fn a_book_that_lived_answers_as_one_that_looks_at_every_offer() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let known: Known = (0..40_u16)
        .map(|number| (node(u32::from(number) * 11), Reliability::per_mille(number * 25)))
        .collect();
    let (mut asked, mut some) = (0, 0);
    for _ in 0..12 {
        let mut book = OfferBook::new(2_000);
        let mut model = Model::new();
        let mut now = Millis::ZERO;
        for step in 1..1_500_u64 {
            let number = (0_u32..600).new_tree(&mut runner).unwrap().current();
            let event = (0_u32..20).new_tree(&mut runner).unwrap().current();
            now = now.saturating_add(Millis(u64::from(event) * 2));
            if event == 0 {
                // A burst goes at once: leaves run empty and join.
                now = now.saturating_add(Millis::from_secs(10));
            }
            for over in book.expire(now) {
                model.remove(&over);
            }
            if event < 3 {
                book.remove(&node(number));
                model.remove(&node(number));
            } else {
                let offer = Offer {
                    node: node(number),
                    sequence: step,
                    ..any_offer().new_tree(&mut runner).unwrap().current()
                };
                let end = now.saturating_add(offer.ttl);
                book.insert(offer.clone(), now).unwrap();
                model.insert(node(number), (offer, end));
            }
            if step % 30 == 0 {
                let request = any_request().new_tree(&mut runner).unwrap().current();
                let matching = same(&request, &book, &model, &known).unwrap();
                (asked, some) = (asked + 1, some + u32::from(matching > 0));
            }
        }
        assert!(model.values().all(|(_, end)| *end > now));
        assert_eq!(
            book.iter().map(|offer| offer.node).collect::<Vec<_>>(),
            model.keys().copied().collect::<Vec<_>>()
        );
        assert!(
            book.index_bytes() <= book.len() * 900 + 20_000,
            "{} bytes for {}",
            book.index_bytes(),
            book.len()
        );
    }
    println!("{asked} questions, {some} with an answer");
    assert!(some > 100 && some < asked);
}

#[test]
fn rates_beyond_64_bits_are_still_compared_exactly() {
    let mut book = OfferBook::new(10);
    let dear = |id: u8, units: u128| {
        let mut offer = crate::market::offer(id);
        offer.rates.cpu_core = gpux_types::PricePerHour(Amount::new(units).unwrap());
        offer
    };
    for offer in [
        dear(1, (1 << 70) + 1),
        dear(2, 1 << 70),
        dear(3, (1 << 70) + 2),
        dear(4, u128::from(u64::MAX)),
    ] {
        book.insert(offer, Millis::ZERO).unwrap();
    }
    let found = indexed(&crate::market::request(), &book, &Known::default());
    assert_eq!(found, [4, 2, 1, 3].map(|id| NodeId([id; 32])));
}

#[test]
fn an_offer_that_left_with_its_names_leaves_nothing_behind() {
    let mut book = OfferBook::new(5_000);
    for number in 0..4_000_u32 {
        let mut offer = crate::market::offer(1);
        offer.node = node(number);
        offer.features = crate::market::tags(&[&format!("name-{number}"), "sgx"]);
        book.insert(offer, Millis::ZERO).unwrap();
    }
    for number in 0..4_000 {
        book.remove(&node(number));
    }
    assert!(book.is_empty());
    assert!(book.index_bytes() < 40_000, "{}", book.index_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_order_of_arrival_does_not_matter(
        request in any_request(),
        (offers, shuffled) in prop::collection::vec(any_offer(), 0..40)
            .prop_map(|mut offers| {
                for (number, offer) in (1..).zip(&mut offers) {
                    offer.node = node(number);
                }
                offers
            })
            .prop_flat_map(|offers| (Just(offers.clone()), Just(offers).prop_shuffle())),
    ) {
        let plan = |offers: &[Offer]| plan(&request, &crate::market::book(offers), &known());
        prop_assert_eq!(plan(&offers), plan(&shuffled));
    }
}

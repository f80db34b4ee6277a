//! What a plan says when it cannot have its nodes.

use crate::market::{
    HOUR, amount, any_offers, any_request, book, dai, gpu_wish, gpus, known, nodes, offer, price, request, shape, tags,
};
use gpux_market::{Change, Closeness, Known, MAX_NEAREST, Offer, Request, Topology, nearest_changes, plan, rejections};
use gpux_types::Millis;
use proptest::prelude::*;

fn advice(request: &Request, offers: &[Offer]) -> (String, Vec<String>) {
    let (book, known) = (book(offers), Known::default());
    let shortfall = plan(request, &book, &known).shortfall.expect("no advice is needed");
    let nearest = nearest_changes(request, &book, &known);
    (
        shortfall.text(&dai()),
        nearest.iter().map(|nearest| nearest.text(&dai())).collect(),
    )
}

fn three() -> Vec<Offer> {
    (1..=3).map(offer).collect()
}

#[test]
fn fewer_cores_or_fewer_nodes() {
    let mut offers = three();
    for offer in offers.iter_mut().take(2) {
        offer.largest = shape(2, 8, 20);
    }
    let mut request = request();
    (request.nodes, request.resources) = (nodes(3), shape(3, 4, 10));
    let (shortfall, nearest) = advice(&request, &offers);
    assert_eq!(shortfall, "only 1 of 3 nodes match");
    assert_eq!(
        nearest,
        ["3 nodes would match with cpu: 2", "1 node would match with nodes: 1"]
    );
}

#[test]
fn more_nodes_than_the_market_has() {
    let mut request = request();
    request.nodes = nodes(5);
    let (shortfall, nearest) = advice(&request, &three());
    assert_eq!(
        (shortfall.as_str(), nearest.as_slice()),
        (
            "only 3 of 5 nodes match",
            ["3 nodes would match with nodes: 3".to_owned()].as_slice(),
        )
    );
}

#[test]
fn a_price_below_the_market() {
    let mut request = request();
    (request.nodes, request.max_price) = (nodes(2), Some(price(15)));
    let (shortfall, nearest) = advice(&request, &three());
    assert_eq!(shortfall, "no node matches");
    assert_eq!(nearest, ["3 nodes would match with max_price: 20 DAI/hour"]);
}

#[test]
fn a_total_below_the_deposits() {
    let mut request = request();
    (request.nodes, request.max_total) = (nodes(3), Some(amount(45)));
    let (shortfall, nearest) = advice(&request, &three());
    assert_eq!(
        shortfall,
        "the cheapest deposits sum to 60 DAI, over max_total of 45 DAI"
    );
    assert_eq!(
        nearest,
        [
            "3 nodes would match with max_duration: 47m",
            "3 nodes would match with nodes: 2",
            "3 nodes would match with max_total: 60 DAI",
        ]
    );
}

#[test]
fn a_lease_longer_than_anybody_gives() {
    let mut offers = three();
    for (offer, hours) in offers.iter_mut().zip([1, 2, 3]) {
        offer.lease_max = Millis(HOUR.0 * hours);
    }
    let mut request = request();
    (request.nodes, request.duration) = (nodes(2), Millis(HOUR.0 * 10));
    assert_eq!(
        advice(&request, &offers).1,
        ["2 nodes would match with max_duration: 2h"]
    );
}

#[test]
fn two_changes_where_one_is_not_enough() {
    let mut offers = three();
    for offer in &mut offers {
        offer.largest = shape(2, 2, 20);
    }
    let mut request = request();
    request.resources = shape(4, 4, 10);
    assert_eq!(
        advice(&request, &offers).1,
        ["3 nodes would match with cpu: 2 and memory: 2GiB"]
    );
}

#[test]
fn a_full_node_is_no_advice() {
    let mut full = offer(1);
    full.largest = shape(0, 0, 0);
    full.free = full.largest;
    assert_eq!(advice(&request(), &[full]).1, Vec::<String>::new());
}

#[test]
fn gpus_that_are_fewer_or_of_another_model() {
    let mut offers = three();
    for offer in &mut offers {
        offer.features = gpus("t4", 2, 16).features().unwrap();
    }
    let advised = |model, count, memory| {
        let request = Request {
            gpus: Some(gpu_wish(model, count, memory)),
            ..request()
        };
        advice(&request, &offers).1
    };
    assert_eq!(
        advised(Some("a100"), 1, 16)[0],
        "3 nodes would match with any model of GPU instead of a100"
    );
    assert_eq!(advised(None, 3, 16)[0], "3 nodes would match with GPUs: 2");
    assert_eq!(advised(None, 2, 40)[0], "3 nodes would match with GPU memory: 16GiB");
    assert_eq!(
        advice(
            &Request {
                gpus: Some(gpu_wish(None, 1, 1)),
                ..request()
            },
            &[offer(9)]
        )
        .1,
        ["1 node would match with no GPUs"]
    );
}

#[test]
fn nodes_that_are_further_apart_or_fewer_to_stand_by() {
    let mut offers = three();
    for (offer, site) in offers.iter_mut().zip(["site-a", "site-b", "site-b"]) {
        offer.features = tags(&[site]);
        offer.region = Some("eu".parse().unwrap());
    }
    let mut request = request();
    (request.nodes, request.spares) = (nodes(2), 1);
    request.topology = Topology {
        closeness: Closeness::Site,
        required: true,
    };
    let (shortfall, nearest) = advice(&request, &offers);
    assert_eq!(shortfall, "only 2 of 3 nodes that match are in one site");
    assert_eq!(
        nearest,
        [
            "3 nodes would match with nodes: 1",
            "3 nodes would match with nodes in one region",
            "3 nodes would match with spares: 0",
        ]
    );
}

/// Whether some change could make room for the request on this node.
fn usable(request: &Request, offer: &Offer) -> bool {
    offer.token == request.token && !request.exclude.contains(&offer.node) && offer.largest.cpu.millicores > 0
}

/// Without what makes a request more than one bound on each node.
fn plain(request: Request) -> Request {
    Request {
        enough: None,
        spares: 0,
        topology: Topology::default(),
        ..request
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_request_with_the_advice_matches(request in any_request(), offers in any_offers()) {
        let book = book(&offers);
        prop_assume!(!plan(&request, &book, &known()).is_match());
        let advice = nearest_changes(&request, &book, &known());
        prop_assert!(advice.len() <= MAX_NEAREST);
        for nearest in &advice {
            let changed = request.with(nearest);
            let after = plan(&changed, &book, &known());
            prop_assert!(after.is_match(), "{nearest:?} leads to {:?}", after.shortfall);
            let matching = book.len() - rejections(&changed, &book, &known()).len();
            prop_assert_eq!(matching, nearest.matching);
            prop_assert!(!nearest.changes.is_empty() && changed != request);
        }
    }

    /// Also shows that the property above can fail: advice that is off by the smallest unit does.
    #[test]
    fn a_bound_moves_no_further_than_it_must(request in any_request(), offers in any_offers()) {
        let (request, book) = (plain(request), book(&offers));
        prop_assume!(!plan(&request, &book, &known()).is_match());
        for nearest in nearest_changes(&request, &book, &known()) {
            let mut short = nearest.clone();
            match short.changes.as_mut_slice() {
                [Change::Nodes { to, .. }] => *to = to.saturating_add(1),
                [Change::MaxPrice { to, .. }] => *to = price(to.0.units() - 1),
                [Change::MaxTotal { to, .. }] => *to = amount(to.units() - 1),
                _ => continue,
            }
            prop_assert!(!plan(&request.with(&short), &book, &known()).is_match(), "{nearest:?} moves too far");
        }
    }

    #[test]
    fn there_is_advice_whenever_a_node_could_be_had(request in any_request(), offers in any_offers()) {
        let book = book(&offers);
        prop_assume!(!plan(&request, &book, &known()).is_match());
        let could = offers.iter().any(|offer| usable(&request, offer));
        prop_assert_eq!(!nearest_changes(&request, &book, &known()).is_empty(), could);
    }

    #[test]
    fn one_change_is_named_alone_when_it_is_enough(request in any_request(), offers in any_offers()) {
        let (request, book) = (plain(request), book(&offers));
        prop_assume!(!plan(&request, &book, &known()).is_match());
        let advice = nearest_changes(&request, &book, &known());
        let fewer = (1..request.nodes.get()).map(|count| Request { nodes: nodes(count), ..request.clone() });
        let any_price = std::iter::once(Request { max_price: None, ..request.clone() });
        let any_total = std::iter::once(Request { max_total: None, ..request.clone() });
        let anywhere = std::iter::once(Request { region: None, ..request.clone() });
        let mut eased = fewer.chain(any_price).chain(any_total).chain(anywhere);
        if eased.any(|eased| plan(&eased, &book, &known()).is_match()) {
            prop_assert!(advice.iter().all(|nearest| nearest.changes.len() == 1), "{:?}", advice);
            prop_assert!(!advice.is_empty());
        }
    }
}

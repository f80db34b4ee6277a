//! What a plan says when it cannot have its nodes.

use crate::market::{
    HOUR, amount, any_offers, any_request, book, dai, nodes, offer, price, reliability, request, shape,
};
use gpux_market::{Change, Offer, Plan, Request, plan};
use gpux_types::Millis;
use proptest::prelude::*;

fn advice(request: &Request, offers: &[Offer]) -> (String, Vec<String>) {
    let plan = plan(request, &book(offers), &reliability);
    let shortfall = plan.shortfall.expect("no advice is needed").text(&dai());
    (
        shortfall,
        plan.nearest.iter().map(|nearest| nearest.text(&dai())).collect(),
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

/// Whether some change could make room for the request on this node.
fn usable(request: &Request, offer: &Offer) -> bool {
    offer.token == request.token && !request.exclude.contains(&offer.node) && offer.largest.cpu.millicores > 0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_request_with_the_advice_matches(request in any_request(), offers in any_offers()) {
        let book = book(&offers);
        let before = plan(&request, &book, &reliability);
        prop_assert!(before.nearest.len() <= Plan::MAX_NEAREST);
        for nearest in &before.nearest {
            let changed = request.with(nearest);
            let after = plan(&changed, &book, &reliability);
            prop_assert!(after.is_match(), "{nearest:?} leads to {:?}", after.shortfall);
            prop_assert_eq!(after.chosen.len() + after.alternatives.len(), nearest.matching);
            prop_assert!(!nearest.changes.is_empty() && changed != request);
        }
    }

    /// Also shows that the property above can fail: advice that is off by the smallest unit does.
    #[test]
    fn a_bound_moves_no_further_than_it_must(request in any_request(), offers in any_offers()) {
        let book = book(&offers);
        for nearest in plan(&request, &book, &reliability).nearest {
            let mut short = nearest.clone();
            match short.changes.as_mut_slice() {
                [Change::Nodes { to, .. }] => *to = to.saturating_add(1),
                [Change::MaxPrice { to, .. }] => *to = price(to.0.units() - 1),
                [Change::MaxTotal { to, .. }] => *to = amount(to.units() - 1),
                _ => continue,
            }
            prop_assert!(!plan(&request.with(&short), &book, &reliability).is_match(), "{nearest:?} moves too far");
        }
    }

    #[test]
    fn there_is_advice_whenever_a_node_could_be_had(request in any_request(), offers in any_offers()) {
        let plan = plan(&request, &book(&offers), &reliability);
        let could = offers.iter().any(|offer| usable(&request, offer));
        prop_assert_eq!(plan.is_match() || !plan.nearest.is_empty(), could || plan.is_match());
    }

    #[test]
    fn one_change_is_named_alone_when_it_is_enough(request in any_request(), offers in any_offers()) {
        let book = book(&offers);
        let before = plan(&request, &book, &reliability);
        prop_assume!(!before.is_match());
        let fewer = (1..request.nodes.get()).map(|count| Request { nodes: nodes(count), ..request.clone() });
        let any_price = std::iter::once(Request { max_price: None, ..request.clone() });
        let any_total = std::iter::once(Request { max_total: None, ..request.clone() });
        let anywhere = std::iter::once(Request { region: None, ..request.clone() });
        let mut eased = fewer.chain(any_price).chain(any_total).chain(anywhere);
        if eased.any(|eased| plan(&eased, &book, &reliability).is_match()) {
            prop_assert!(before.nearest.iter().all(|nearest| nearest.changes.len() == 1), "{:?}", before.nearest);
            prop_assert!(!before.nearest.is_empty());
        }
    }
}

//! What every plan must keep, stated without the crate's own matching, so that a mistake there cannot hide.

use crate::market;
use gpux_market::{Candidate, LeaseCost, Offer, OfferBook, Plan, Request, deposit_for, plan};
use gpux_types::{NodeId, Resources};
use std::collections::BTreeSet;

fn meets(request: &Request, offer: &Offer) -> bool {
    let Resources { cpu, memory, disk } = request.resources;
    let gross = offer.price_of(&request.resources).gross_of_net(request.builder_share);
    (offer.chain_id, offer.escrow, offer.token) == (request.chain_id, request.escrow, request.token)
        && !request.exclude.contains(&offer.node)
        && (offer.largest.cpu >= cpu && offer.largest.memory >= memory && offer.largest.disk >= disk)
        && request.max_price.is_none_or(|max| gross <= max)
        && (offer.lease_min..=offer.lease_max).contains(&request.duration)
        && offer.grace_min_secs <= request.grace_secs
        && request.features.iter().all(|feature| offer.features.contains(feature))
        && (request.region.is_none() || offer.region == request.region)
}

fn cost_is_right(request: &Request, candidate: &Candidate) -> bool {
    let LeaseCost {
        net,
        gross,
        deposit,
        builder_most,
    } = candidate.cost;
    net == candidate.offer.price_of(&request.resources)
        && gross == net.gross_of_net(request.builder_share)
        && deposit == deposit_for(gross, request.duration, request.reserve)
        && builder_most == request.builder_share.of(deposit)
}

/// The first rule that the plan breaks.
pub(crate) fn broken(request: &Request, book: &OfferBook, plan: &Plan) -> Option<&'static str> {
    let candidates = || plan.chosen.iter().chain(&plan.alternatives);
    let listed = candidates().map(|candidate| candidate.offer.node);
    let listed: Vec<NodeId> = listed
        .chain(plan.rejected.iter().map(|rejection| rejection.offer.node))
        .collect();
    let different: BTreeSet<_> = listed.iter().copied().collect();
    let known: BTreeSet<_> = book.iter().map(|offer| offer.node).collect();
    let wanted = usize::try_from(request.nodes.get()).unwrap();
    let sum: u128 = plan.chosen.iter().map(|candidate| candidate.cost.deposit.units()).sum();
    let dearest = plan.chosen.iter().map(|candidate| candidate.cost.gross).max();
    let cheapest_left = plan.alternatives.iter().map(|candidate| candidate.cost.gross).min();
    let rules = [
        (
            "every offer is in one list",
            different == known && listed.len() == known.len(),
        ),
        (
            "all nodes are chosen or none",
            plan.chosen.len() == if plan.is_match() { wanted } else { 0 },
        ),
        (
            "candidates meet the request",
            candidates().all(|candidate| meets(request, &candidate.offer)),
        ),
        (
            "costs are right",
            candidates().all(|candidate| cost_is_right(request, candidate)),
        ),
        (
            "rejections have reasons",
            plan.rejected.iter().all(|rejection| !rejection.reasons.is_empty()),
        ),
        (
            "rejected offers do not meet it",
            plan.rejected.iter().all(|rejection| !meets(request, &rejection.offer)),
        ),
        (
            "deposits are within max_total",
            request.max_total.is_none_or(|max| sum <= max.units()),
        ),
        (
            "none left is cheaper",
            dearest.zip(cheapest_left).is_none_or(|(chosen, left)| chosen <= left),
        ),
        (
            "advice only without a match",
            plan.is_match() || plan.shortfall.is_some() && plan.chosen.is_empty(),
        ),
        ("no advice with a match", !plan.is_match() || plan.nearest.is_empty()),
    ];
    rules.into_iter().find(|(_, kept)| !kept).map(|(rule, _)| rule)
}

#[test]
fn the_rules_catch_tampered_plans() {
    let mut offers: Vec<_> = (1..=5).map(market::offer).collect();
    for (offer, rate) in offers.iter_mut().zip([10, 20, 30, 40, 50]) {
        offer.rates.cpu_core = market::price(rate);
    }
    offers[4].largest = market::shape(1, 1, 1);
    let mut request = market::request();
    request.nodes = market::nodes(2);
    request.max_total = Some(market::amount(70));
    let book = market::book(&offers);
    let good = plan(&request, &book, &market::reliability);
    assert_eq!(broken(&request, &book, &good), None);
    let tampered = |change: &dyn Fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        broken(&request, &book, &plan)
    };
    assert_eq!(
        tampered(&|plan| plan.rejected.clear()),
        Some("every offer is in one list")
    );
    assert_eq!(
        tampered(&|plan| plan.rejected[0].reasons.clear()),
        Some("rejections have reasons")
    );
    let swap = |plan: &mut Plan| std::mem::swap(&mut plan.chosen[1], &mut plan.alternatives[0]);
    assert_eq!(tampered(&swap), Some("deposits are within max_total"));
    let mut rich = request.clone();
    rich.max_total = None;
    let mut dear = good.clone();
    swap(&mut dear);
    assert_eq!(broken(&rich, &book, &dear), Some("none left is cheaper"));
    let fewer = |plan: &mut Plan| {
        let candidate = plan.chosen.pop().unwrap();
        plan.alternatives.push(candidate);
    };
    assert_eq!(tampered(&fewer), Some("all nodes are chosen or none"));
    let small = |plan: &mut Plan| {
        let offer = plan.rejected.remove(0).offer;
        let cost = LeaseCost::of(&request, &offer);
        plan.alternatives.push(Candidate {
            offer,
            reliability: market::reliability(&NodeId([5; 32])),
            cost,
        });
    };
    assert_eq!(tampered(&small), Some("candidates meet the request"));
    assert_eq!(
        tampered(&|plan| plan.chosen[0].cost.deposit = market::amount(1)),
        Some("costs are right")
    );
}

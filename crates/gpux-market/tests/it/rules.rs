//! What every plan must keep, stated without the crate's own matching, so that a mistake there cannot hide.

use crate::{
    market::{self, known},
    naive::meets,
};
use gpux_market::{
    Candidate, LeaseCost, OfferBook, Plan, Rejection, Request, deposit_for, node_score, plan, rejections,
};
use gpux_types::NodeId;
use std::collections::BTreeSet;

fn cost_is_right(request: &Request, candidate: &Candidate) -> bool {
    let LeaseCost {
        net,
        gross,
        deposit,
        builder_most,
    } = candidate.cost;
    net == request.net_price(&candidate.offer)
        && gross == net.gross_of_net(request.builder_share)
        && deposit == deposit_for(gross, request.duration, request.reserve)
        && builder_most == request.builder_share.of(deposit)
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    plan: Plan,
    alternatives: Vec<Candidate>,
    rejected: Vec<Rejection>,
}

impl Answer {
    pub(crate) fn to(request: &Request, book: &OfferBook) -> Self {
        let (plan, known) = (plan(request, book, &known()), known());
        Self {
            alternatives: plan.alternatives(request, book, &known),
            rejected: rejections(request, book, &known),
            plan,
        }
    }
}

/// The first rule that the plan, and what is said of every other offer, break.
pub(crate) fn broken(request: &Request, book: &OfferBook, answer: &Answer) -> Option<&'static str> {
    let known = known();
    let Answer {
        plan,
        alternatives,
        rejected,
    } = answer;
    let candidates = || plan.taken().chain(alternatives);
    let listed: Vec<NodeId> = candidates().map(|candidate| candidate.offer.node).collect();
    let different: BTreeSet<_> = listed.iter().copied().collect();
    let refused: BTreeSet<_> = rejected.iter().map(|rejection| rejection.offer.node).collect();
    let unfit = book.iter().filter(|offer| !meets(request, offer, &known));
    let unfit: BTreeSet<_> = unfit.map(|offer| offer.node).collect();
    let sizes = |count: u32| usize::try_from(count).unwrap();
    let enough = request.enough.map_or(request.nodes, |enough| enough.min(request.nodes));
    let sum: u128 = plan.taken().map(|candidate| candidate.cost.deposit.units()).sum();
    let score = |candidate: &Candidate| node_score(candidate.cost.gross, candidate.reliability);
    let rules = [
        ("no offer is named twice", different.len() == listed.len()),
        (
            "all nodes are chosen or none",
            if plan.is_match() {
                (sizes(enough.get())..=sizes(request.nodes.get())).contains(&plan.chosen.len())
                    && plan.spares.len() == sizes(request.spares)
            } else {
                plan.taken().next().is_none()
            },
        ),
        (
            "candidates meet the request",
            candidates().all(|candidate| meets(request, &candidate.offer, &known)),
        ),
        (
            "costs are right",
            candidates().all(|candidate| cost_is_right(request, candidate)),
        ),
        (
            "rejections have reasons",
            rejected.iter().all(|rejection| !rejection.reasons.is_empty()),
        ),
        ("those that do not match are rejected, and no others", refused == unfit),
        (
            "deposits are within max_total",
            request
                .max_total
                .is_none_or(|max| !plan.is_match() || sum <= max.units()),
        ),
        (
            "the best come first",
            plan.chosen.is_sorted_by_key(score) && alternatives.is_sorted_by_key(score),
        ),
        (
            "a spare is no better than a chosen one",
            plan.chosen
                .last()
                .zip(plan.spares.first())
                .is_none_or(|(chosen, spare)| score(chosen) <= score(spare)),
        ),
    ];
    rules.into_iter().find(|(_, kept)| !kept).map(|(rule, _)| rule)
}

#[test]
fn the_rules_catch_tampered_plans() {
    let mut offers: Vec<_> = (1..=5).map(market::offer).collect();
    for (offer, rate) in offers.iter_mut().zip([1_000, 2_000, 3_000, 4_000, 5_000]) {
        offer.rates.cpu_core = market::price(rate);
    }
    offers[4].largest = market::shape(1, 1, 1);
    let mut request = market::request();
    request.nodes = market::nodes(2);
    request.max_total = Some(market::amount(7_000));
    let book = market::book(&offers);
    let good = Answer::to(&request, &book);
    assert_eq!(broken(&request, &book, &good), None);
    let small = good.rejected[0].offer.clone();
    let tampered = |change: &dyn Fn(&mut Answer)| {
        let mut answer = good.clone();
        change(&mut answer);
        broken(&request, &book, &answer)
    };
    type Case<'a> = (&'a dyn Fn(&mut Answer), &'static str);
    let cases: [Case<'_>; 8] = [
        (
            &|answer| answer.rejected.clear(),
            "those that do not match are rejected, and no others",
        ),
        (&|answer| answer.rejected[0].reasons.clear(), "rejections have reasons"),
        (
            &|answer| std::mem::swap(&mut answer.plan.chosen[1], &mut answer.alternatives[1]),
            "deposits are within max_total",
        ),
        (&|answer| answer.plan.chosen.reverse(), "the best come first"),
        (
            &|answer| answer.alternatives.extend(answer.plan.chosen.pop()),
            "all nodes are chosen or none",
        ),
        (
            &|answer| answer.alternatives[0] = answer.plan.chosen[0].clone(),
            "no offer is named twice",
        ),
        (
            &|answer| {
                answer.alternatives.push(Candidate {
                    offer: small.clone(),
                    reliability: known().of(&small.node),
                    cost: LeaseCost::of(&request, &small),
                });
            },
            "candidates meet the request",
        ),
        (
            &|answer| answer.plan.chosen[0].cost.deposit = market::amount(1),
            "costs are right",
        ),
    ];
    for (change, rule) in cases {
        assert_eq!(tampered(change), Some(rule));
    }
}

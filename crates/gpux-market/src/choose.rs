//! The best nodes among a few that said a firm price: what a plan is for the whole market, for those that answered.
//!
//! Called by the renter as answers come in. The candidates are few (those that were asked), so each place is tried by itself.

use crate::{
    place::{self, Closeness, Place},
    plan::{Candidate, Plan, total},
    request::Request,
    score::{node_score, set_score},
};
use std::{cmp::Reverse, collections::BTreeSet};

/// As many of `candidates` as `request` asks for, or at least as are enough for it, whose deposits are within its total: those with the
/// lowest score together. Each one meets the request alone already. `None` when there is no such set.
#[must_use]
pub fn choose(request: &Request, candidates: &[Candidate]) -> Option<Plan> {
    let mut sizes = (request.enough_nodes()..=request.all_nodes()).rev();
    sizes.find_map(|size| of_size(request, candidates, size))
}

fn of_size(request: &Request, candidates: &[Candidate], size: usize) -> Option<Plan> {
    let places = |closeness| candidates.iter().filter_map(move |it| Place::of(&it.offer, closeness));
    let places: BTreeSet<Place> = places(Closeness::Region).chain(places(Closeness::Site)).collect();
    let places = std::iter::once(None).chain(places.iter().map(Some));
    let scored = |candidate: &Candidate| node_score(candidate.cost.gross, candidate.reliability);
    let dear = |candidate: &Candidate| candidate.cost.deposit;
    let sets = places.flat_map(|place| {
        let there =
            |it: &&Candidate| place.is_none_or(|place| Place::of(&it.offer, place.closeness()).as_ref() == Some(place));
        let mut best: Vec<&Candidate> = candidates.iter().filter(there).collect();
        let mut cheapest = best.clone();
        best.sort_by_key(|it| (scored(it), Reverse(it.offer.cpu_score), it.offer.node));
        // Where the best together are over the total, the cheapest may not be.
        cheapest.sort_by_key(|it| (dear(it), Reverse(it.offer.cpu_score), it.offer.node));
        [best, cheapest]
    });
    let sets = sets.filter_map(|mut set| {
        set.truncate(size);
        let closeness = place::closeness(set.iter().map(|it| &*it.offer));
        let close = !request.topology.required || closeness >= request.topology.closeness;
        let affordable = request
            .max_total
            .is_none_or(|max| total(set.iter().map(|it| dear(it))) <= max);
        let score = set_score(set.iter().map(|it| scored(it)), request.topology, closeness);
        (set.len() == size && close && affordable).then_some((score, closeness, set))
    });
    let (_, closeness, mut set) = sets.min_by_key(|(score, ..)| *score)?;
    set.sort_by_key(|it| (scored(it), Reverse(it.offer.cpu_score), it.offer.node));
    let mut chosen: Vec<Candidate> = set.into_iter().cloned().collect();
    let spares = usize::try_from(request.spares).unwrap_or(usize::MAX);
    let spares = chosen.split_off(size.saturating_sub(spares));
    Some(Plan {
        chosen,
        spares,
        closeness,
        shortfall: None,
    })
}

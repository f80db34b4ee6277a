//! What a plan tells only when it is asked, or when nothing matches: which offers come next, why others do not match, and what
//! change would help. Called by `plan`. It looks at every offer, so it works on a copy of the book, on a thread that may take its time:
//! neither gossip nor other commands wait for it.

use crate::{fault::internal, node::Node};
use gpux_api::ErrorBody;
use gpux_market::{Candidate, Known, Nearest, OfferBook, Plan, Rejected, Request};

/// How many offers that do not match are named. The others are counted.
const NAMED: usize = 50;

/// What was found out about a request.
#[derive(Debug, Default)]
pub(super) struct Why {
    /// The next best offers, best first.
    pub(super) alternatives: Vec<Candidate>,
    pub(super) rejected: Rejected,
    /// What would give a plan to a request that has none.
    pub(super) nearest: Vec<Nearest>,
}

impl Why {
    fn of(book: &OfferBook, request: &Request, known: &Known, plan: &Plan) -> Self {
        let (alternatives, nearest) = if plan.is_match() {
            (plan.alternatives(request, book, known), Vec::new())
        } else {
            (Vec::new(), gpux_market::nearest_changes(request, book, known))
        };
        Self {
            alternatives,
            rejected: gpux_market::rejected(request, book, known, NAMED),
            nearest,
        }
    }
}

/// Finds out why `plan` is what `request` gets.
pub(super) async fn why(node: &Node, (request, known): (&Request, &Known), plan: &Plan) -> Result<Why, ErrorBody> {
    let copy = node.market.copy(node.clock.now());
    let (request, known, plan) = (request.clone(), known.clone(), plan.clone());
    let told = crate::blocking(move || Ok(Why::of(&copy(), &request, &known, &plan)));
    told.await.map_err(|error| internal("explaining a plan", &error))
}

//! Asks the chosen nodes for firm prices, all at once, and fills gaps from the alternatives. All or nothing.

use crate::node::Node;
use gpux_api::{ErrorBody, ErrorCode};
use gpux_lease::{QUOTE_HOLDS, Terms};
use gpux_market::{Candidate, Plan};
use gpux_proto::{JobSpec, Needs, QuoteRequest, Request, Response, SignedQuote, SignedQuoteRequest};
use gpux_types::{Address, Amount, BasisPoints, LeaseId, NodeId, Resources, UnixSeconds};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a node may take to answer. Its quote would be old otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long nodes are asked at all: the first quotes still hold then, with time to deposit.
const ASKING: Duration = Duration::from_secs(15);

/// A firm price of one node, with the terms that it leads to.
#[derive(Debug)]
pub(super) struct Firm {
    /// When it was asked for: the quote holds for a while from then on.
    pub(super) asked_at: UnixSeconds,
    pub(super) candidate: Candidate,
    pub(super) request: QuoteRequest,
    pub(super) quote: SignedQuote,
    pub(super) terms: Terms,
    pub(super) lease: LeaseId,
}

/// What every node is asked.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) receipt_key: Address,
    pub(super) resources: Resources,
    pub(super) builder: Address,
    pub(super) builder_share: BasisPoints,
    pub(super) needs: Needs,
}

/// Firm prices for as many nodes as the plan chose, whose deposits are no more than `agreed` together.
pub(super) async fn collect(
    node: &std::sync::Arc<Node>,
    (plan, alternatives): (&Plan, &[Candidate]),
    agreed: Amount,
    wanted: &Wanted,
    spec: &JobSpec,
) -> Result<Vec<Firm>, ErrorBody> {
    let needed = plan.chosen.len();
    let mut candidates = plan.chosen.iter().chain(alternatives).cloned();
    let mut asked = JoinSet::new();
    let mut firm = Vec::with_capacity(needed);
    let mut refusals = Vec::new();
    // The deposits of those that were asked and have not refused.
    let mut bound = Amount::ZERO;
    let began = node.clock.now();
    loop {
        while firm.len() + asked.len() < needed && node.clock.now().saturating_sub(began) < ASKING.into() {
            let Some(candidate) = candidates.next() else { break };
            // A node that refuses makes room for the next one, which may be dearer: never for more than was agreed to.
            let with_it = bound.saturating_add(candidate.cost.deposit);
            if with_it > agreed {
                let price = node.chain.token().token.format(candidate.cost.deposit);
                let peer = candidate.offer.node.short();
                refusals.push(format!(
                    "node {peer}: its deposit of {price} would pass what you agreed to"
                ));
                continue;
            }
            bound = with_it;
            let request = request(node, &candidate, wanted, spec);
            asked.spawn(ask(node.clone(), candidate, request));
        }
        match asked.join_next().await {
            Some(Ok(Ok(quote))) => firm.push(quote),
            Some(Ok(Err(refusal))) => {
                bound = bound.saturating_sub(refusal.deposit);
                node.market.leave_out(refusal.node, refusal.untrue, node.clock.now());
                refusals.push(format!("node {}: {}", refusal.node.short(), refusal.why));
            }
            Some(Err(error)) => refusals.push(error.to_string()),
            None => break,
        }
    }
    if firm.len() == needed {
        return Ok(firm);
    }
    let message = format!(
        "asking for firm prices: {} of {needed} nodes gave one ({}); nothing was spent",
        firm.len(),
        refusals.join("; ")
    );
    Err(ErrorBody::new(ErrorCode::NoMatch, message)
        .with_hint("try again: quotes that others hold end within 30 seconds")
        .retryable())
}

fn request(node: &Node, candidate: &Candidate, wanted: &Wanted, spec: &JobSpec) -> QuoteRequest {
    QuoteRequest {
        escrow: node.chain.escrow(),
        token: node.chain.token().address,
        renter: node.wallet.address(),
        receipt_key: wanted.receipt_key,
        renter_node: node.net.node_id(),
        provider_node: candidate.offer.node,
        resources: wanted.resources,
        deposit: candidate.cost.deposit,
        builder: wanted.builder,
        builder_share: wanted.builder_share,
        job_hash: spec.hash(),
        preparation_bytes: spec.preparation_bytes(),
        needs: wanted.needs.clone(),
    }
}

/// A node that gave no firm price.
struct Refusal {
    node: NodeId,
    /// The deposit that it does not get.
    deposit: Amount,
    /// Whether what it said contradicts its offer or the request.
    untrue: bool,
    why: String,
}

async fn ask(node: std::sync::Arc<Node>, candidate: Candidate, request: QuoteRequest) -> Result<Firm, Refusal> {
    let (peer, deposit) = (candidate.offer.node, request.deposit);
    let asked_at = node.clock.date();
    let refusal = |untrue| {
        move |why| Refusal {
            node: peer,
            deposit,
            untrue,
            why,
        }
    };
    let answer = answer(&node, peer, &request).await.map_err(refusal(false))?;
    check(&node, (candidate, asked_at), request, answer).map_err(refusal(true))
}

async fn answer(node: &Node, peer: NodeId, request: &QuoteRequest) -> Result<Response, String> {
    let signature = node.wallet.sign_digest(request.digest());
    let call = Request::Quote(Box::new(SignedQuoteRequest {
        request: request.clone(),
        signature,
    }));
    match tokio::time::timeout(PATIENCE, node.net.call(peer, &call)).await {
        Ok(answer) => answer.map_err(|error| crate::error_chain(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The quote, if it is one for the request and true to the offer.
fn check(
    node: &Node,
    (candidate, asked_at): (Candidate, UnixSeconds),
    request: QuoteRequest,
    answer: Response,
) -> Result<Firm, String> {
    let Response::Quote(quote) = answer else {
        return Err("it answered something else".to_owned());
    };
    let (terms, lease) = quote.verify(&request).map_err(|error| crate::error_chain(&error))?;
    if quote.quote.price > candidate.cost.net {
        return Err("its firm price is above its offer".to_owned());
    }
    if quote.quote.provider_signer != candidate.offer.signer || quote.quote.provider != candidate.offer.provider {
        return Err("it quotes for other keys than it offers with".to_owned());
    }
    // No deposit can be made for one that is over at once, and a job whose deposit cannot be made ends.
    if quote.quote.holds_for < QUOTE_HOLDS {
        let holds = quote.quote.holds_for;
        return Err(format!(
            "its quote holds for {holds}, and every quote must for {QUOTE_HOLDS}"
        ));
    }
    // A deposit that its provider leaves alone comes back after expiry and grace.
    let longest = node.config.chain.grace_secs;
    if quote.quote.grace_secs > longest {
        let asked = quote.quote.grace_secs;
        return Err(format!(
            "it wants {asked} s of grace before a refund; {longest} s are configured"
        ));
    }
    Ok(Firm {
        asked_at,
        candidate,
        request,
        quote: *quote,
        terms,
        lease,
    })
}

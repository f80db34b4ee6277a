//! Firm prices: asks the nodes of a plan and a few more, all at once, takes the best set of those that answer, and lets the others go.
//!
//! All or nothing: either as many nodes as the job needs gave a price within what was agreed, or none is kept. How long is waited:
//!
//! - The nodes of the plan are asked together with some that come next ([`hedge`]), so that one that is slow or gone costs nothing.
//! - A set that nobody who is still asked could better is taken at once. Any other full set is taken after as long again as it took
//!   to be there, at most [`LONGEST_PAUSE`]: who needs more than twice as long as the others is not waited for.
//! - While there is no set, each [`HEDGE_AFTER`] as many more are asked as are missing; for one that refused, another at once.
//!
//! A price holds a part of its node. Whoever is not taken is told so at once, by a [`Claim`] that is dropped.

mod claim;

pub(super) use claim::Claim;

use crate::node::Node;
use gpux_api::{ErrorBody, ErrorCode};
use gpux_lease::{QUOTE_HOLDS, Terms};
use gpux_market::{Candidate, Plan, choose};
use gpux_net::CallError;
use gpux_proto::{JobSpec, Needs, QuoteRequest, Request, Response, SignedQuote, SignedQuoteRequest};
use gpux_types::{Address, Amount, BasisPoints, LeaseId, Millis, NodeId, Resources, UnixSeconds};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// How long a node may take to answer. Its quote would be old otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long nodes are asked at all: the first quotes still hold then, with time to deposit.
const ASKING: Millis = Millis::from_secs(15);
/// How long is waited for a set before more nodes are asked: some round trips around the world.
const HEDGE_AFTER: Millis = Millis(300);
/// How long a set that is there waits at most for a better one.
const LONGEST_PAUSE: Millis = Millis(250);
/// How long fewer nodes than were planned, where these are enough, wait for more.
const FOR_MORE: Millis = Millis(1_500);

/// How many nodes are asked beside the `needed` ones: one more, and one for each four.
const fn hedge(needed: usize) -> usize {
    let more = 1 + needed / 4;
    if more > 8 { 8 } else { more }
}

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
    /// What is held of the node until somebody keeps it.
    pub(super) claim: Claim,
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

/// Firm prices for as many nodes as the plan chose, or as are enough, whose deposits are no more than `agreed` together.
pub(super) async fn collect(
    node: &Arc<Node>,
    (plan, stand_ins): (&Plan, &[Candidate]),
    market: &gpux_market::Request,
    wanted: &Wanted,
    (spec, agreed): (&JobSpec, Amount),
) -> Result<Vec<Firm>, ErrorBody> {
    let mut market = market.clone();
    market.max_total = Some(market.max_total.map_or(agreed, |max| max.min(agreed)));
    let mut round = Round {
        node,
        began: node.clock.now(),
        // No more than were planned: the others are for those that do not answer.
        planned: plan.taken().count(),
        open: Vec::new(),
        asked: JoinSet::new(),
        firm: Vec::new(),
        refusals: Vec::new(),
        market,
    };
    let candidates = plan.taken().chain(stand_ins).cloned();
    let ask = |candidate: &Candidate| request(node, candidate, wanted, spec);
    let taken = round.run(candidates, ask).await;
    round.end(taken)
}

/// One round of asking.
struct Round<'a> {
    node: &'a Arc<Node>,
    began: Millis,
    /// How many nodes the plan took.
    planned: usize,
    /// Those who were asked and have not answered.
    open: Vec<Candidate>,
    asked: JoinSet<Result<Firm, Refusal>>,
    firm: Vec<Firm>,
    refusals: Vec<String>,
    /// What the set must meet.
    market: gpux_market::Request,
}

impl Round<'_> {
    /// Asks until there is a set to take, or none to be had.
    async fn run(
        &mut self,
        mut candidates: impl Iterator<Item = Candidate>,
        ask_for: impl Fn(&Candidate) -> QuoteRequest,
    ) -> Option<Plan> {
        let mut target = self.planned.saturating_add(hedge(self.planned));
        let mut more_at = HEDGE_AFTER;
        let mut found: Option<(Millis, Plan)> = None;
        loop {
            let mut nobody_left = self.elapsed() >= ASKING;
            while !nobody_left && self.firm.len() + self.asked.len() < target {
                match candidates.next() {
                    Some(candidate) => self.ask(candidate, &ask_for),
                    None => nobody_left = true,
                }
            }
            let until = match &found {
                Some((since, plan)) if self.asked.is_empty() || self.nobody_betters(plan) => *since,
                Some((since, plan)) => since.saturating_add(self.pause(*since, plan)),
                None if self.asked.is_empty() && nobody_left => return None,
                None if self.asked.is_empty() => {
                    // All that were asked answered, and no set of them will do.
                    target = target.saturating_add(1);
                    continue;
                }
                None => more_at,
            };
            if found.is_some() && self.elapsed() >= until {
                return found.map(|(_, plan)| plan);
            }
            let left = until.saturating_sub(self.elapsed());
            // Cancel-safe: an answer that was not taken stays in the set.
            tokio::select! {
                biased;
                answer = self.asked.join_next() => self.take(answer),
                () = tokio::time::sleep(left.into()) => if found.is_none() {
                    more_at = self.elapsed().saturating_add(HEDGE_AFTER);
                    target = target.saturating_add(self.planned.saturating_sub(self.firm.len()).max(1));
                }
            }
            let best = self.best();
            let since = self.elapsed();
            found = match (found, best) {
                (Some((since, _)), Some(best)) => Some((since, best)),
                (None, Some(best)) => Some((since, best)),
                (_, None) => None,
            };
        }
    }

    fn elapsed(&self) -> Millis {
        self.node.clock.now().saturating_sub(self.began)
    }

    /// How long a set that was there after `since` waits for a better one.
    fn pause(&self, since: Millis, plan: &Plan) -> Millis {
        if plan.taken().count() < self.planned {
            FOR_MORE
        } else {
            since.min(LONGEST_PAUSE)
        }
    }

    fn ask(&mut self, candidate: Candidate, ask_for: impl Fn(&Candidate) -> QuoteRequest) {
        let (price, peer) = (candidate.cost.deposit, candidate.offer.node.short());
        if self.market.max_total.is_some_and(|most| price > most) {
            let price = self.node.chain.token().token.format(price);
            let why = format!("node {peer}: its deposit of {price} would pass what you agreed to");
            self.refusals.push(why);
            return;
        }
        let request = ask_for(&candidate);
        self.open.push(candidate.clone());
        self.asked.spawn(ask(self.node.clone(), candidate, request));
    }

    fn take(&mut self, answer: Option<Result<Result<Firm, Refusal>, tokio::task::JoinError>>) {
        let over = match answer {
            None => return,
            Some(Ok(Ok(firm))) => {
                let peer = firm.candidate.offer.node;
                self.firm.push(firm);
                Some(peer)
            }
            Some(Ok(Err(refusal))) => {
                refusal.leave_out(self.node);
                self.refusals
                    .push(format!("node {}: {}", refusal.node.short(), refusal.why));
                Some(refusal.node)
            }
            Some(Err(error)) => {
                self.refusals.push(error.to_string());
                None
            }
        };
        self.open.retain(|candidate| Some(candidate.offer.node) != over);
    }

    /// The best set of those that answered, of as many nodes as were planned where that can be.
    fn best(&self) -> Option<Plan> {
        let candidates: Vec<Candidate> = self.firm.iter().map(|firm| firm.candidate.clone()).collect();
        choose(&self.market, &candidates)
    }

    /// Whether no node that is still asked would be in a better set at the price that it offers.
    fn nobody_betters(&self, plan: &Plan) -> bool {
        let firm = self.firm.iter().map(|firm| firm.candidate.clone());
        let all: Vec<Candidate> = firm.chain(self.open.iter().cloned()).collect();
        let best = choose(&self.market, &all);
        best.is_some_and(|best| nodes(&best) == nodes(plan))
    }

    /// Keeps the prices of the set and lets all others go, those too that are still to come.
    fn end(mut self, taken: Option<Plan>) -> Result<Vec<Firm>, ErrorBody> {
        let Some(plan) = taken else { return Err(self.nothing()) };
        let (kept, _let_go): (Vec<Firm>, Vec<Firm>) = std::mem::take(&mut self.firm)
            .into_iter()
            .partition(|firm| nodes(&plan).contains(&firm.candidate.offer.node));
        let (node, mut asked) = (self.node.clone(), self.asked);
        self.node.tasks.spawn(async move {
            let late = async {
                while let Some(answer) = asked.join_next().await {
                    if let Ok(Err(refusal)) = answer {
                        refusal.leave_out(&node);
                    }
                }
            };
            // A firm price that comes late is dropped, and with it its claim.
            tokio::select! {
                () = node.cancel.cancelled() => {}
                () = late => {}
            }
        });
        Ok(kept)
    }

    fn nothing(self) -> ErrorBody {
        let (got, needed) = (self.firm.len(), self.planned);
        let mut why = self.refusals;
        if got >= needed {
            why.push("no set of them is within what you agreed to, as close together as the job needs".to_owned());
        }
        let message = format!(
            "asking for firm prices: {got} of {needed} nodes gave one ({}); nothing was spent",
            why.join("; ")
        );
        ErrorBody::new(ErrorCode::NoMatch, message)
            .with_hint("try again: quotes that others hold end within 30 seconds")
            .retryable()
    }
}

fn nodes(plan: &Plan) -> BTreeSet<NodeId> {
    plan.taken().map(|candidate| candidate.offer.node).collect()
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
    /// Whether what it said contradicts its offer or the request.
    untrue: bool,
    why: String,
}

impl Refusal {
    fn leave_out(&self, node: &Node) {
        node.market.leave_out(self.node, self.untrue, node.clock.now());
    }
}

async fn ask(node: Arc<Node>, candidate: Candidate, request: QuoteRequest) -> Result<Firm, Refusal> {
    let peer = candidate.offer.node;
    let asked_at = node.clock.date();
    let refusal = |untrue| {
        move |why| Refusal {
            node: peer,
            untrue,
            why,
        }
    };
    let claim = Claim::new(node.clone(), peer, request.digest());
    let answer = match answer(&node, peer, &request).await {
        Ok(answer) => answer,
        Err(NoAnswer { refused, why }) => {
            if refused {
                claim.keep();
            }
            return Err(refusal(false)(why));
        }
    };
    check(&node, (candidate, asked_at, claim), request, answer).map_err(refusal(true))
}

/// Why there is no answer to look at.
struct NoAnswer {
    /// Whether the node said no: then it holds nothing.
    refused: bool,
    why: String,
}

async fn answer(node: &Node, peer: NodeId, request: &QuoteRequest) -> Result<Response, NoAnswer> {
    let signature = node.wallet.sign_digest(request.digest());
    let call = Request::Quote(Box::new(SignedQuoteRequest {
        request: request.clone(),
        signature,
    }));
    match tokio::time::timeout(PATIENCE, node.net.call(peer, &call)).await {
        Ok(answer) => answer.map_err(|error| NoAnswer {
            refused: matches!(error, CallError::Refused { .. }),
            why: crate::error_chain(&error),
        }),
        Err(_) => Err(NoAnswer {
            refused: false,
            why: format!("no answer within {} s", PATIENCE.as_secs()),
        }),
    }
}

/// The quote, if it is one for the request and true to the offer.
fn check(
    node: &Node,
    (mut candidate, asked_at, claim): (Candidate, UnixSeconds, Claim),
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
    // What it really costs, perhaps less than was offered; the deposit stays the one that was asked for.
    candidate.cost.net = quote.quote.price;
    candidate.cost.gross = quote.quote.gross_price(request.builder_share);
    Ok(Firm {
        asked_at,
        candidate,
        request,
        quote: *quote,
        terms,
        lease,
        claim,
    })
}

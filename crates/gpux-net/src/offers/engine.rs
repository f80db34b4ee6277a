//! The gossip of offers as one pure machine: what neighbours say and the time go in, effects come out.
//!
//! It decides what this node announces and when, what it believes, what it asks whom for, and what it forgets. The task
//! beside it performs the effects on a network, and so does the simulator of the tests.
//!
//! ```text
//!  own offer ─► announce ─► Flood(digest) ┄┄► neighbours ┄┄► hear ─► known: renewed
//!                                                             └───► new: wanted ─► Pull ┄┄► asked ─► Answer
//!                                                                   book ◄─ told ◄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┘
//! ```
//!
//! Details are asked of the neighbour that told of them first. It has told before it has them itself, so it holds the
//! question until they come: an offer travels one step behind its digest, and its node is asked by its neighbours alone.
//!
//! Invariant: every collection here has a bound, and what is over its bound is dropped, never waited for.

use crate::{
    bucket::TokenBucket,
    offers::{
        announcement::{Announcer, Details, DetailsHash, Order},
        book::{BookConfig, Change, Heard, OfferBook, Refusal},
        draw::Draw,
        feed::{HeardOffer, OfferEvent},
        own::OwnOffer,
        page::DetailsRequest,
        syncs::Syncs,
        wants::Wants,
    },
    ticket::PeerTicket,
};
use gpux_types::{Millis, NodeId};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long a question for details that are not here yet is held.
pub(crate) const HOLD: Duration = Duration::from_secs(2);
/// How many questions are held at a time; more are answered with what is here.
const MAX_HELD: usize = 256;
/// What the engine is told of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// The wall clock in milliseconds: orders announcements of this node across its restarts.
    pub(crate) clock: u64,
}

/// What the engine is made with.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub(crate) book: BookConfig,
    pub(crate) announcer: Announcer,
    pub(crate) gossip_per_second: u32,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a digest to everybody.
    Flood(Vec<u8>),
    /// Ask a neighbour for its digests.
    Sync(NodeId),
    /// Ask `from` for details, and give the answer to [`Engine::told`].
    Pull {
        id: u64,
        from: NodeId,
        request: DetailsRequest,
    },
    /// Answer the question that was given to [`Engine::asked`] as `asker`.
    Answer { asker: u64, details: Vec<Vec<u8>> },
    /// Tell the daemon.
    Tell(OfferEvent),
    /// Remember where a node is.
    Learn(PeerTicket),
    /// Count what was refused.
    Refused(Refusal),
}

/// This node's own offer, and what was said of it.
#[derive(Debug)]
struct Own {
    offer: Option<OwnOffer>,
    ticket: PeerTicket,
    /// The newest digest, when it was said, and its order.
    said: Option<(Vec<u8>, Instant, Order)>,
    /// The details that it names; `None` while nothing is sold.
    details: Option<(DetailsHash, Vec<u8>)>,
    rate: TokenBucket,
    again: Option<Instant>,
}

/// A question for details that were not here.
#[derive(Debug)]
struct Held {
    asker: u64,
    request: DetailsRequest,
    until: Instant,
}

#[derive(Debug)]
pub(crate) struct Engine {
    announcer: Announcer,
    gossip_per_second: u32,
    book: OfferBook,
    wants: Wants,
    own: Own,
    neighbours: Vec<NodeId>,
    /// Digests that a neighbour delivers, by neighbour; forgotten when it goes.
    rates: HashMap<NodeId, TokenBucket>,
    held: Vec<Held>,
    draw: Draw,
    syncs: Syncs,
}

impl Engine {
    /// A node at `ticket` that knows nobody and sells nothing.
    pub(crate) fn new(config: EngineConfig, ticket: PeerTicket, now: Instant) -> Self {
        let (rate, offers) = (config.book.offers_per_minute, config.book.offers);
        let draws = config.book.draws;
        Self {
            announcer: config.announcer,
            gossip_per_second: config.gossip_per_second,
            book: OfferBook::new(config.book),
            wants: Wants::new(offers, Draw::new(*blake3::hash(&draws).as_bytes()), now),
            own: Own {
                offer: None,
                ticket,
                said: None,
                details: None,
                // A little below what others allow, so that a change that comes right after a renewal is still heard.
                rate: TokenBucket::new(rate.div_ceil(5), rate.saturating_mul(9) / 10, now),
                again: None,
            },
            neighbours: Vec::new(),
            rates: HashMap::new(),
            held: Vec::new(),
            draw: Draw::new(*blake3::hash(blake3::hash(&draws).as_bytes()).as_bytes()),
            syncs: Syncs::new(now),
        }
    }

    /// Sells `offer` from now on, or nothing.
    pub(crate) fn sell(&mut self, now: Now, offer: Option<OwnOffer>) -> Vec<Effect> {
        self.own.offer = offer;
        self.announce(now)
    }

    /// This node can be reached by `ticket` from now on.
    pub(crate) fn move_to(&mut self, now: Now, ticket: PeerTicket) -> Vec<Effect> {
        if ticket == self.own.ticket {
            return Vec::new();
        }
        self.own.ticket = ticket;
        match self.own.details {
            Some(_) => self.announce(now),
            None => Vec::new(),
        }
    }

    /// Announces the offer as it is now, or its withdrawal, or waits when that would be too often.
    fn announce(&mut self, now: Now) -> Vec<Effect> {
        let said = self.own.said.as_ref().map(|(_, _, order)| *order);
        let withdrawn = said.filter(|_| self.own.details.is_some()).map(|order| order.sequence);
        let Some(sequence) = self.own.offer.as_ref().map(|own| own.sequence).or(withdrawn) else {
            self.own.again = None;
            return Vec::new();
        };
        if !self.own.rate.take(now.at) {
            self.own.again = Some(now.at + Duration::from_secs(1));
            return Vec::new();
        }
        let order = Order {
            sequence,
            beat: next_beat(now, said),
        };
        self.own.details = self.own.offer.as_ref().map(|own| {
            let bytes = Details::tell(&self.own.ticket, own.signed.clone());
            (DetailsHash::of(&bytes), bytes)
        });
        let digest = self
            .announcer
            .announce(order, self.own.details.as_ref().map(|(hash, _)| *hash));
        self.own.again = self
            .own
            .offer
            .as_ref()
            .map(|own| now.at + renew_after(own.ttl, &mut self.draw));
        self.own.said = Some((digest.clone(), now.at, order));
        let mut effects = vec![Effect::Flood(digest)];
        self.answer_held(now.at, &mut effects);
        effects
    }

    /// Says goodbye, so that nobody waits for the offer to expire.
    pub(crate) fn leave(&mut self, now: Now) -> Vec<Effect> {
        let (Some((_, _, order)), Some(_)) = (&self.own.said, self.own.details.take()) else {
            return Vec::new();
        };
        let order = Order {
            sequence: order.sequence,
            beat: next_beat(now, Some(*order)),
        };
        vec![Effect::Flood(self.announcer.announce(order, None))]
    }

    /// Hears a digest that neighbour `from` floods.
    pub(crate) fn hear(&mut self, now: Now, from: NodeId, digest: &[u8]) -> Vec<Effect> {
        let rate = self.gossip_per_second;
        let bucket = self.rates.entry(from);
        let bucket =
            bucket.or_insert_with(|| TokenBucket::new(rate.saturating_mul(4), rate.saturating_mul(60), now.at));
        if !bucket.take(now.at) {
            // It may have been an honest node's, which this neighbour only passed on.
            self.syncs.missed();
            return vec![Effect::Refused(Refusal::Flooded(from))];
        }
        self.judge(now, from, digest, Duration::ZERO)
    }

    /// Hears a digest out of a neighbour's page. A neighbour tells all that it knows, so most of it is known here too.
    pub(crate) fn hear_paged(&mut self, now: Now, from: NodeId, digest: &[u8], age: Duration) -> Vec<Effect> {
        let mut effects = self.judge(now, from, digest, age);
        effects.retain(|effect| !matches!(effect, Effect::Refused(Refusal::Replayed { .. } | Refusal::Own)));
        effects
    }

    /// Whether more digests of a page can be heard now.
    pub(crate) fn has_room(&self) -> bool {
        self.wants.has_room()
    }

    fn judge(&mut self, now: Now, from: NodeId, digest: &[u8], age: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.book.hear(now.at, digest, age) {
            Ok(Heard::Renewed(node, valid_for)) => {
                self.wants.forget(node);
                effects.push(Effect::Tell(OfferEvent::Renewed(node, valid_for)));
            }
            Ok(Heard::Withdrawn(node)) => {
                self.wants.forget(node);
                effects.push(Effect::Tell(OfferEvent::Withdrawn(node)));
            }
            Ok(Heard::Wanted(want)) => {
                let (node, known) = (want.node, self.book.lists(want.node));
                match self.wants.add(now.at, from, want, known) {
                    Ok(()) => begin(self.wants.due_of(now.at, node), &mut effects),
                    Err(refusal) => effects.push(Effect::Refused(refusal)),
                }
            }
            Err(refusal) => effects.push(Effect::Refused(refusal)),
        }
        effects
    }

    fn pull(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        begin(self.wants.due(now), effects);
    }

    /// Hears the answer to pull `id`: some details, or `None` when the neighbour could not be asked.
    pub(crate) fn told(&mut self, now: Now, id: u64, details: Option<Vec<Vec<u8>>>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (want, bytes) in self.wants.told(now.at, id, details, &self.neighbours) {
            let node = want.node;
            match self.book.take(now.at, want, &bytes) {
                Ok(change) => {
                    if let Some(details) = self.book.newest(node) {
                        effects.push(Effect::Learn(details.ticket.clone()));
                    }
                    effects.push(Effect::Tell(match change {
                        Change::Heard(heard) => OfferEvent::Heard(heard),
                        Change::Moved(node, valid_for) => OfferEvent::Renewed(node, valid_for),
                    }));
                }
                Err(refusal) => effects.push(Effect::Refused(refusal)),
            }
        }
        self.answer_held(now.at, &mut effects);
        self.pull(now.at, &mut effects);
        effects
    }

    /// A neighbour asks for details. It is answered when some of them are here, or after a while.
    pub(crate) fn asked(&mut self, now: Now, asker: u64, request: DetailsRequest) -> Vec<Effect> {
        let held = Held {
            asker,
            request,
            until: now.at + HOLD,
        };
        let details = self.find(&held.request);
        if !details.is_empty() || self.held.len() >= MAX_HELD || !self.expects(&held.request) {
            return vec![Effect::Answer { asker, details }];
        }
        self.held.push(held);
        Vec::new()
    }

    fn find(&self, request: &DetailsRequest) -> Vec<Vec<u8>> {
        let own = self.own.details.as_ref();
        let wanted = request.wanted.iter().take(super::page::MAX_ASKED);
        wanted
            .filter_map(|(node, hash)| {
                let own = own.filter(|(known, _)| known == hash).map(|(_, bytes)| bytes.clone());
                own.or_else(|| self.book.details(*node, *hash).map(|details| details.bytes.clone()))
            })
            .collect()
    }

    /// Whether some of it may come soon. What nobody has told us of will not, nor what its teller turned out not to have:
    /// such a word travels at once, so that keys without details keep nobody waiting.
    fn expects(&self, request: &DetailsRequest) -> bool {
        request.wanted.iter().any(|(node, _)| self.wants.expects(*node))
    }

    fn answer_held(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let held = std::mem::take(&mut self.held);
        for question in held {
            let details = self.find(&question.request);
            if details.is_empty() && question.until > now && self.expects(&question.request) {
                self.held.push(question);
            } else {
                let asker = question.asker;
                effects.push(Effect::Answer { asker, details });
            }
        }
    }

    /// A neighbour came.
    pub(crate) fn neighbour_up(&mut self, now: Now, node: NodeId) -> Vec<Effect> {
        let alone = self.neighbours.is_empty();
        if !self.neighbours.contains(&node) {
            self.neighbours.push(node);
        }
        let mut effects = Vec::new();
        if self.syncs.neighbour(now.at, node) {
            effects.push(Effect::Sync(node));
        }
        if alone {
            // What was announced before had nobody to hear it.
            effects.extend(self.announce(now));
        }
        effects
    }

    /// A neighbour went.
    pub(crate) fn neighbour_down(&mut self, node: NodeId) {
        self.neighbours.retain(|known| *known != node);
        self.rates.remove(&node);
        if self.neighbours.is_empty() {
            self.syncs.alone();
        }
    }

    /// The neighbours of now.
    pub(crate) fn neighbours(&self) -> &[NodeId] {
        &self.neighbours
    }

    /// Gossip came faster than it could be heard; what was missed is asked for when there is time.
    pub(crate) fn lagged(&mut self) {
        self.syncs.missed();
    }

    /// Looks at every timer. To be called twice a second.
    pub(crate) fn tick(&mut self, now: Now) -> Vec<Effect> {
        let over = self.book.expire(now.at).into_iter();
        let mut effects: Vec<_> = over.map(|node| Effect::Tell(OfferEvent::Expired(node))).collect();
        if self.own.again.is_some_and(|at| at <= now.at) {
            effects.extend(self.announce(now));
        }
        let asked = self.syncs.due(now.at, &self.neighbours);
        effects.extend(asked.into_iter().map(Effect::Sync));
        self.answer_held(now.at, &mut effects);
        let untold = self.wants.expire(now.at, &self.neighbours);
        effects.extend(untold.into_iter().map(|node| Effect::Refused(Refusal::Untold(node))));
        self.pull(now.at, &mut effects);
        self.rates.retain(|_, bucket| !bucket.is_full(now.at));
        effects
    }

    /// `node` has answered a call.
    pub(crate) fn met(&mut self, node: NodeId) {
        self.book.meet(node);
    }

    /// All offers that hold now.
    pub(crate) fn live(&self, now: Instant) -> Vec<HeardOffer> {
        self.book.live(now)
    }

    /// Digests for a neighbour, the own one first, up to `max_bytes`; and where to go on.
    pub(crate) fn page(
        &self,
        now: Instant,
        after: Option<NodeId>,
        max_bytes: usize,
    ) -> (Vec<(Millis, Vec<u8>)>, Option<NodeId>) {
        let (mut items, next) = self.book.page(now, after, max_bytes);
        if let (None, Some((digest, said, _))) = (after, &self.own.said) {
            items.insert(0, (now.saturating_duration_since(*said).into(), digest.clone()));
        }
        (items, next)
    }

    /// What pull `id` asks for.
    #[cfg(test)]
    pub(crate) fn wants_of(&self, id: u64) -> Vec<DetailsHash> {
        self.wants.asked_by(id)
    }

    /// How much is held: offers, nodes remembered, wants, questions.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [usize; 4] {
        let (offers, marks) = self.book.held();
        [offers, marks, self.wants.len(), self.held.len()]
    }
}

fn begin(pulls: Vec<(u64, NodeId, DetailsRequest)>, effects: &mut Vec<Effect>) {
    let pulls = pulls.into_iter();
    effects.extend(pulls.map(|(id, from, request)| Effect::Pull { id, from, request }));
}

/// A beat above the last one, and above those of earlier runs.
fn next_beat(now: Now, said: Option<Order>) -> u64 {
    said.map_or(now.clock, |order| now.clock.max(order.beat.saturating_add(1)))
}

/// A third of the life, less up to a tenth of that: two announcements may be lost, and nodes that started together
/// drift apart.
fn renew_after(ttl: Duration, draw: &mut Draw) -> Duration {
    let third = ttl / 3;
    third - third * u32::try_from(draw.below(256)).unwrap_or(0) / 2_560
}

#[cfg(test)]
mod tests;

//! The task that owns the gossip subscription.
//!
//! It announces this node's offer (at once when it changes, when the first neighbour appears, when the addresses change,
//! and before a third of its life is over), hears what others announce, asks new neighbours for what they know, expires
//! what is over, and joins again when it is alone. Events come in by gossip, one watch and one bounded channel; nothing
//! here waits for another task's answer inside the loop.

use crate::{
    bucket::TokenBucket,
    calls::Caller,
    offers::{
        announcement::{AnnouncementError, Announcer, MAX_ANNOUNCEMENT_BYTES, Order},
        book::{Change, OfferBook, Refusal},
        feed::OfferEvent,
        own::OwnOffer,
        page::{Pulled, pull},
    },
    peers::Peers,
    stats::{Counters, bump},
    ticket::{PeerTicket, node_id},
};
use futures_util::StreamExt;
use gpux_proto::VerifyOfferError;
use gpux_types::NodeId;
use iroh::{Endpoint, EndpointId};
use iroh_gossip::{
    api::{ApiError, Event, GossipReceiver, GossipSender, JoinOptions},
    net::Gossip,
    proto::TopicId,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How often the task looks at its timers. Bounds how late an offer expires.
const TICK: Duration = Duration::from_millis(500);
/// How long a node without neighbours waits between attempts to find one.
const REJOIN: Duration = Duration::from_secs(5);
/// How many remembered peers such an attempt asks.
const REJOIN_PEERS: usize = 8;
/// How long a command to the gossip may wait. The watchdog ends a stall; nothing here waits for it.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// How many neighbours are asked for their offers at a time; all neighbours know the same.
const MAX_PULLS: usize = 3;
/// A neighbour is asked again only after so long: a flood that makes us miss gossip must not make us ask without end.
const PULL_AGAIN: Duration = Duration::from_secs(2);
/// How many pulled announcements wait to be judged; the pulls wait when it is full.
const PULLED: usize = 64;
/// Gossip events that may wait before the library drops the subscription. At 3 KiB each it bounds what is held.
const GOSSIP_EVENTS: usize = 2_048;

/// What the task works with.
#[derive(Debug)]
pub(crate) struct OffersTask {
    pub(crate) endpoint: Endpoint,
    pub(crate) gossip: Gossip,
    pub(crate) topic: [u8; 32],
    pub(crate) bootstrap: Vec<EndpointId>,
    pub(crate) announcer: Announcer,
    pub(crate) book: Arc<Mutex<OfferBook>>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) caller: Caller,
    pub(crate) counters: Arc<Counters>,
    pub(crate) own: watch::Receiver<Option<OwnOffer>>,
    pub(crate) feed: broadcast::Sender<OfferEvent>,
    pub(crate) neighbours: watch::Sender<Vec<NodeId>>,
    pub(crate) offers_per_minute: u32,
    pub(crate) gossip_per_second: u32,
}

/// What the loop keeps between events.
struct State {
    sender: GossipSender,
    /// Announcements that a neighbour delivers, by neighbour; forgotten when it goes.
    rates: HashMap<EndpointId, TokenBucket>,
    /// When neighbours were asked for what they know, for as long as they are not asked again.
    asked: HashMap<NodeId, Instant>,
    /// Whether gossip was lost since then.
    missed: bool,
    pulls: JoinSet<()>,
    pulled: mpsc::Sender<Pulled>,
    own_rate: TokenBucket,
    announce_at: Option<Instant>,
    /// The newest announcement of this node, with the addresses that it told.
    announced: Option<(PeerTicket, Order)>,
    /// Whether that announcement was an offer.
    selling: bool,
    rejoin_at: Instant,
}

impl OffersTask {
    /// Runs until `cancel`. A subscription that the library dropped (this node was too slow) is made again.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let Some((sender, mut receiver)) = self.subscribe().await else {
            return;
        };
        let (pulled, mut pulled_rx) = mpsc::channel(PULLED);
        let (now, rate) = (Instant::now(), self.offers_per_minute);
        let mut state = State {
            sender,
            rates: HashMap::new(),
            asked: HashMap::new(),
            missed: false,
            pulls: JoinSet::new(),
            pulled,
            // A little below what others allow, so that a change that comes right after a renewal is still heard.
            own_rate: TokenBucket::new(rate.div_ceil(5), rate.saturating_mul(9) / 10, now),
            announce_at: None,
            announced: None,
            selling: false,
            rejoin_at: now + REJOIN,
        };
        loop {
            self.neighbours.send_replace(Vec::new());
            self.listen(&cancel, receiver, &mut state, &mut pulled_rx).await;
            if cancel.is_cancelled() {
                return;
            }
            match self.subscribe().await {
                Some(topic) => (state.sender, receiver) = topic,
                None => return,
            }
        }
    }

    /// Takes part in the gossip, or tells that it is closed.
    async fn subscribe(&self) -> Option<(GossipSender, GossipReceiver)> {
        let mut options = JoinOptions::with_bootstrap(self.bootstrap.iter().copied());
        options.bootstrap.extend(self.peers.ids(REJOIN_PEERS));
        options.bootstrap.remove(&self.endpoint.id());
        options.subscription_capacity = GOSSIP_EVENTS;
        match self
            .gossip
            .subscribe_with_opts(TopicId::from_bytes(self.topic), options)
            .await
        {
            Ok(topic) => Some(topic.split()),
            Err(error) => {
                tracing::error!(%error, "joining the market failed");
                None
            }
        }
    }

    /// Handles events until `cancel` or the end of the subscription.
    async fn listen(
        &mut self,
        cancel: &CancellationToken,
        mut receiver: GossipReceiver,
        state: &mut State,
        pulled: &mut mpsc::Receiver<Pulled>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Every arm is cancel-safe: each only waits on a channel, a stream or a timer that keeps its place.
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.leave(state).await,
                event = receiver.next() => match event {
                    Some(Ok(event)) => self.on_gossip(state, event).await,
                    Some(Err(_)) | None => return,
                },
                Some(Pulled { bytes, age }) = pulled.recv() => self.hear(&bytes, age, true),
                changed = self.own.changed() => {
                    if changed.is_err() {
                        return self.leave(state).await;
                    }
                    self.announce(state).await;
                }
                Some(_) = state.pulls.join_next() => {}
                _ = tick.tick() => self.on_tick(state).await,
            }
        }
    }

    async fn on_gossip(&mut self, state: &mut State, event: Event) {
        match event {
            Event::Received(message) => {
                let now = Instant::now();
                let rate = self.gossip_per_second;
                let bucket = state.rates.entry(message.delivered_from);
                let bucket =
                    bucket.or_insert_with(|| TokenBucket::new(rate.saturating_mul(4), rate.saturating_mul(60), now));
                if bucket.take(now) {
                    self.hear(&message.content, Duration::ZERO, false);
                } else {
                    bump(&self.counters.offers_limited);
                }
            }
            Event::NeighborUp(id) => {
                let alone = self.neighbours.borrow().is_empty();
                self.neighbours.send_modify(|all| all.push(node_id(id)));
                self.peers.met(node_id(id));
                self.pull(state, node_id(id));
                if alone {
                    // What was announced before had nobody to hear it.
                    self.announce(state).await;
                }
            }
            Event::NeighborDown(id) => {
                self.neighbours
                    .send_modify(|all| all.retain(|node| *node != node_id(id)));
                state.rates.remove(&id);
                state.rejoin_at = Instant::now() + REJOIN;
            }
            // The library ends the subscription after this; what was missed is asked for when there is time.
            Event::Lagged => {
                tracing::debug!("gossip came faster than it could be judged; some was missed");
                state.missed = true;
            }
        }
    }

    /// Judges one announcement and tells everybody whom it concerns.
    fn hear(&self, bytes: &[u8], age: Duration, pulled: bool) {
        let heard = self.book().hear(Instant::now(), bytes, age);
        match heard {
            Ok(change) => {
                bump(&self.counters.offers_accepted);
                let event = match change {
                    Change::Heard(heard, ticket) => {
                        self.peers.learn(ticket);
                        OfferEvent::Heard(heard)
                    }
                    Change::Renewed(valid_for, ticket) => {
                        let node = ticket.node;
                        self.peers.learn(ticket);
                        OfferEvent::Renewed(node, valid_for)
                    }
                    Change::Withdrawn(node) => OfferEvent::Withdrawn(node),
                };
                // Nobody listens: the book has it all the same.
                self.feed.send(event).ok();
            }
            // A neighbour tells what it knows, so most of it is known here too.
            Err(Refusal::Replayed { .. }) if pulled => {}
            Err(refusal) => self.count(&refusal),
        }
    }

    fn count(&self, refusal: &Refusal) {
        let counters = &self.counters;
        let counter = match refusal {
            Refusal::Own => return,
            Refusal::Announcement(error) => match error {
                AnnouncementError::Oversized { .. } => &counters.offers_oversized,
                AnnouncementError::Signature(_)
                | AnnouncementError::Offer {
                    source: VerifyOfferError::Signature(_),
                    ..
                } => &counters.offers_forged,
                AnnouncementError::Decode(_)
                | AnnouncementError::Addresses { .. }
                | AnnouncementError::Relay
                | AnnouncementError::Offer { .. }
                | AnnouncementError::Unfit { .. }
                | AnnouncementError::Contradiction { .. } => &counters.offers_malformed,
            },
            Refusal::Replayed { .. } => &counters.offers_replayed,
            Refusal::Limited(_) => &counters.offers_limited,
            Refusal::Expired(_) => &counters.offers_expired,
            Refusal::Full(_) => &counters.offers_unheard,
        };
        bump(counter);
        tracing::debug!(reason = %refusal, "an announcement was dropped");
    }

    async fn on_tick(&mut self, state: &mut State) {
        let now = Instant::now();
        let over = self.book().expire(now);
        for node in over {
            self.feed.send(OfferEvent::Expired(node)).ok();
        }
        let moved = |(told, _): &(PeerTicket, Order)| *told != PeerTicket::of_endpoint(&self.endpoint);
        let moved = state.selling && state.announced.as_ref().is_some_and(moved);
        if moved || state.announce_at.is_some_and(|at| at <= now) {
            self.announce(state).await;
        }
        if self.neighbours.borrow().is_empty() && state.rejoin_at <= now {
            state.rejoin_at = now + REJOIN;
            let mut peers: BTreeSet<_> = self
                .bootstrap
                .iter()
                .copied()
                .chain(self.peers.ids(REJOIN_PEERS))
                .chain(self.peers.hinted())
                .collect();
            peers.remove(&self.endpoint.id());
            if !peers.is_empty() {
                in_time(state.sender.join_peers(peers.into_iter().collect())).await;
            }
        }
        state
            .asked
            .retain(|_, asked| now.saturating_duration_since(*asked) < PULL_AGAIN);
        if state.missed && state.asked.is_empty() {
            state.missed = false;
            for node in self.neighbours.borrow().iter() {
                self.pull(state, *node);
            }
        }
        state.rates.retain(|_, bucket| !bucket.is_full(now));
    }

    /// Announces the offer as it is now, or its withdrawal, or waits when that would be too often.
    async fn announce(&mut self, state: &mut State) {
        let now = Instant::now();
        let own = self.own.borrow_and_update().clone();
        let withdrawn = state
            .announced
            .as_ref()
            .filter(|_| state.selling)
            .map(|(_, order)| order.sequence);
        let Some(sequence) = own.as_ref().map(|own| own.sequence).or(withdrawn) else {
            state.announce_at = None;
            return;
        };
        if !state.own_rate.take(now) {
            state.announce_at = Some(now + Duration::from_secs(1));
            return;
        }
        let ticket = PeerTicket::of_endpoint(&self.endpoint);
        let order = Order {
            sequence,
            beat: next_beat(state.announced.as_ref().map(|(_, order)| *order)),
        };
        let bytes = self
            .announcer
            .announce(&ticket, order, own.as_ref().map(|own| own.signed.clone()));
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            tracing::error!(len = bytes.len(), "this node's announcement is too large to be heard");
        }
        self.book().speak(now, bytes.clone());
        state.announce_at = own.as_ref().map(|own| now + renew_after(own.ttl, &bytes));
        state.announced = Some((ticket, order));
        state.selling = own.is_some();
        in_time(state.sender.broadcast(bytes.into())).await;
    }

    /// Says goodbye, so that nobody waits for the offer to expire.
    async fn leave(&mut self, state: &mut State) {
        if let Some((ticket, order)) = state.announced.take().filter(|_| state.selling) {
            let order = Order {
                sequence: order.sequence,
                beat: next_beat(Some(order)),
            };
            let bytes = self.announcer.announce(&ticket, order, None);
            in_time(state.sender.broadcast(bytes.into())).await;
        }
    }

    /// Asks a neighbour for everything it knows, unless it was asked just now.
    fn pull(&self, state: &mut State, node: NodeId) {
        if state.asked.contains_key(&node) || state.pulls.len() >= MAX_PULLS {
            return;
        }
        state.asked.insert(node, Instant::now());
        let (caller, pulled) = (self.caller.clone(), state.pulled.clone());
        state.pulls.spawn(async move {
            if let Err(reason) = pull(&caller, node, &pulled).await {
                tracing::debug!(%reason, "asking a neighbour for its offers failed");
            }
        });
    }

    fn book(&self) -> MutexGuard<'_, OfferBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the gossip a command unless it is stalled. A lost announcement is made again when there are neighbours again.
async fn in_time(command: impl Future<Output = Result<(), ApiError>>) {
    match timeout(COMMAND_TIMEOUT, command).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the gossip is closed"),
        Err(_) => tracing::debug!("the gossip takes no command"),
    }
}

/// A beat above the last one, and above those of earlier runs: wall-clock milliseconds, used for order alone.
fn next_beat(announced: Option<Order>) -> u64 {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let clock = u64::try_from(clock).unwrap_or(u64::MAX);
    announced.map_or(clock, |order| clock.max(order.beat.saturating_add(1)))
}

/// A third of the life, less up to a tenth of that: two announcements may be lost, and nodes that started together
/// drift apart. The draw comes from the announcement's own bytes, which no two announcements share.
fn renew_after(ttl: Duration, announcement: &[u8]) -> Duration {
    let third = ttl / 3;
    let draw = u32::from(*blake3::hash(announcement).as_bytes().first().unwrap_or(&0));
    third - third * draw / 2_560
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_renewed_after_nine_tenths_to_all_of_a_third_of_its_life() {
        let ttl = Duration::from_secs(30);
        let waits: Vec<_> = (0u8..50).map(|n| renew_after(ttl, &[n])).collect();
        assert!(waits.iter().all(|wait| *wait <= ttl / 3 && *wait >= ttl * 9 / 30));
        assert!(waits.iter().collect::<BTreeSet<_>>().len() > 10, "drawn, not fixed");
    }
}

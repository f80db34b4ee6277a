//! The task between the engine and the network: gives the engine what comes, and does what it says.
//!
//! Events come in by gossip, one watch and bounded channels; nothing here waits for another task's answer inside the
//! loop. What to announce, believe, ask for and forget is decided in the engine alone.

use crate::{
    calls::Caller,
    offers::{
        announcement::AnnouncementError,
        book::Refusal,
        engine::{Effect, Engine, Now},
        feed::OfferEvent,
        own::OwnOffer,
        page::{Asked, Paged, read_details, read_pages},
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
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How often the engine looks at its timers. Bounds how late an offer expires.
const TICK: Duration = Duration::from_millis(500);
/// How long a node without neighbours waits between attempts to find one.
const REJOIN: Duration = Duration::from_secs(5);
/// How many remembered peers such an attempt asks.
const REJOIN_PEERS: usize = 8;
/// How long a command to the gossip may wait. The watchdog ends a stall; nothing here waits for it.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// How many digests of pages wait to be heard; their reading waits when it is full.
const PAGED: usize = 64;
/// Gossip events that may wait before the library drops the subscription. At 1 KiB each it bounds what is held.
const GOSSIP_EVENTS: usize = 2_048;

/// What the task works with.
#[derive(Debug)]
pub(crate) struct OffersTask {
    pub(crate) endpoint: Endpoint,
    pub(crate) gossip: Gossip,
    pub(crate) topic: [u8; 32],
    pub(crate) bootstrap: Vec<EndpointId>,
    /// Shared with the daemon, which reads snapshots, and with the answers to neighbours; never held over an await.
    pub(crate) engine: Arc<Mutex<Engine>>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) caller: Caller,
    pub(crate) counters: Arc<Counters>,
    pub(crate) own: watch::Receiver<Option<OwnOffer>>,
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) feed: broadcast::Sender<OfferEvent>,
    pub(crate) neighbours: watch::Sender<Vec<NodeId>>,
}

/// The end of a question to a neighbour.
enum Done {
    Synced,
    Reached,
    Pulled(u64, Option<Vec<Vec<u8>>>),
}

/// What the loop keeps between events.
struct State {
    sender: GossipSender,
    questions: JoinSet<Done>,
    paged: mpsc::Sender<Paged>,
    /// Neighbours that wait for an answer, by the number that the engine knows them by.
    askers: HashMap<u64, oneshot::Sender<Vec<Vec<u8>>>>,
    next_asker: u64,
    rejoin_at: Instant,
}

impl OffersTask {
    /// Runs until `cancel`. A subscription that the library dropped (this node was too slow) is made again.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let Some((sender, mut receiver)) = self.subscribe().await else {
            return;
        };
        let (paged, mut paged_rx) = mpsc::channel(PAGED);
        let mut state = State {
            sender,
            questions: JoinSet::new(),
            paged,
            askers: HashMap::new(),
            next_asker: 0,
            rejoin_at: Instant::now() + REJOIN,
        };
        loop {
            self.forget_neighbours();
            self.listen(&cancel, receiver, &mut state, &mut paged_rx).await;
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
        paged: &mut mpsc::Receiver<Paged>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let room = self.engine().has_room();
            // Every arm is cancel-safe: each only waits on a channel, a stream or a timer that keeps its place.
            let effects = tokio::select! {
                biased;
                () = cancel.cancelled() => return self.leave(state).await,
                event = receiver.next() => match event {
                    Some(Ok(event)) => self.on_gossip(state, event),
                    Some(Err(_)) | None => return,
                },
                Some(done) = state.questions.join_next() => match done {
                    Ok(Done::Pulled(id, details)) => self.engine().told(now(), id, details),
                    // A question that panicked is given up like one without an answer.
                    Ok(Done::Synced | Done::Reached) | Err(_) => Vec::new(),
                },
                Some(Paged { from, digest, age }) = paged.recv(), if room =>
                    self.engine().hear_paged(now(), from, &digest, age),
                Some(asked) = self.asked.recv() => self.on_asked(state, asked),
                changed = self.own.changed() => {
                    if changed.is_err() {
                        return self.leave(state).await;
                    }
                    let own = self.own.borrow_and_update().clone();
                    self.engine().sell(now(), own)
                }
                _ = tick.tick() => self.on_tick(state).await,
            };
            self.perform(state, effects).await;
        }
    }

    fn on_gossip(&self, state: &mut State, event: Event) -> Vec<Effect> {
        match event {
            Event::Received(message) => {
                let from = node_id(message.delivered_from);
                self.engine().hear(now(), from, &message.content)
            }
            Event::NeighborUp(id) => {
                self.peers.met(node_id(id));
                let effects = self.engine().neighbour_up(now(), node_id(id));
                self.tell_neighbours();
                effects
            }
            Event::NeighborDown(id) => {
                self.engine().neighbour_down(node_id(id));
                self.tell_neighbours();
                state.rejoin_at = Instant::now() + REJOIN;
                Vec::new()
            }
            // The library ends the subscription after this.
            Event::Lagged => {
                tracing::debug!("gossip came faster than it could be judged; some was missed");
                self.engine().lagged();
                Vec::new()
            }
        }
    }

    /// A new subscription begins without neighbours and tells of each.
    fn forget_neighbours(&self) {
        let mut engine = self.engine();
        for node in engine.neighbours().to_vec() {
            engine.neighbour_down(node);
        }
        drop(engine);
        self.tell_neighbours();
    }

    fn tell_neighbours(&self) {
        let all = self.engine().neighbours().to_vec();
        self.neighbours.send_replace(all);
    }

    fn on_asked(&self, state: &mut State, asked: Asked) -> Vec<Effect> {
        state.askers.retain(|_, answer| !answer.is_closed());
        state.next_asker = state.next_asker.wrapping_add(1);
        state.askers.insert(state.next_asker, asked.answer);
        self.engine().asked(now(), state.next_asker, asked.request)
    }

    async fn on_tick(&self, state: &mut State) -> Vec<Effect> {
        if self.neighbours.borrow().is_empty() && state.rejoin_at <= Instant::now() {
            state.rejoin_at = Instant::now() + REJOIN;
            self.rejoin(state).await;
        }
        let ticket = PeerTicket::of_endpoint(&self.endpoint);
        let mut engine = self.engine();
        let mut effects = engine.move_to(now(), ticket);
        effects.extend(engine.tick(now()));
        effects
    }

    /// Asks known and hinted peers for a place in the market.
    async fn rejoin(&self, state: &mut State) {
        let hinted = self.peers.hinted();
        let known = self.bootstrap.iter().copied().chain(self.peers.ids(REJOIN_PEERS));
        let mut peers: BTreeSet<_> = known.chain(hinted.iter().copied()).collect();
        peers.remove(&self.endpoint.id());
        if !peers.is_empty() {
            in_time(state.sender.join_peers(peers.into_iter().collect())).await;
        }
        // The gossip library begins no second dial to a peer while one is under way, and that one knows only the addresses
        // of its beginning: of a peer that has moved it would hold up the right ones until it is given up.
        for peer in hinted {
            let caller = self.caller.clone();
            state.questions.spawn(async move {
                if let Err(reason) = caller.reach(node_id(peer)).await {
                    tracing::debug!(%reason, "reaching a hinted node failed");
                }
                Done::Reached
            });
        }
    }

    async fn leave(&self, state: &mut State) {
        let effects = self.engine().leave(now());
        self.perform(state, effects).await;
    }

    async fn perform(&self, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Flood(digest) => in_time(state.sender.broadcast(digest.into())).await,
                Effect::Sync(from) => {
                    let (caller, paged) = (self.caller.clone(), state.paged.clone());
                    state.questions.spawn(async move {
                        if let Err(reason) = read_pages(&caller, from, &paged).await {
                            tracing::debug!(%reason, "asking a neighbour for its digests failed");
                        }
                        Done::Synced
                    });
                }
                Effect::Pull { id, from, request } => {
                    let caller = self.caller.clone();
                    state.questions.spawn(async move {
                        let answer = read_details(&caller, from, &request).await;
                        let answer = answer.inspect_err(|reason| tracing::debug!(%reason, "asking for offers failed"));
                        Done::Pulled(id, answer.ok())
                    });
                }
                Effect::Answer { asker, details } => {
                    if let Some(answer) = state.askers.remove(&asker) {
                        // One that has gone away needs no answer.
                        answer.send(details).ok();
                    }
                }
                Effect::Tell(event) => {
                    if matches!(
                        event,
                        OfferEvent::Heard(_) | OfferEvent::Renewed(..) | OfferEvent::Withdrawn(_)
                    ) {
                        bump(&self.counters.offers_accepted);
                    }
                    // Nobody listens: the book has it all the same.
                    self.feed.send(event).ok();
                }
                Effect::Learn(ticket) => self.peers.learn(ticket),
                Effect::Refused(refusal) => self.count(&refusal),
            }
        }
    }

    fn count(&self, refusal: &Refusal) {
        let counters = &self.counters;
        let counter = match refusal {
            Refusal::Own => return,
            Refusal::Announcement(error) => match error {
                AnnouncementError::Oversized { .. } => &counters.offers_oversized,
                AnnouncementError::Signature(_) | AnnouncementError::Offer(VerifyOfferError::Signature(_)) => {
                    &counters.offers_forged
                }
                AnnouncementError::Decode(_)
                | AnnouncementError::Cut(_)
                | AnnouncementError::Addresses { .. }
                | AnnouncementError::Relay
                | AnnouncementError::Offer(_)
                | AnnouncementError::Unfit { .. }
                | AnnouncementError::Contradiction { .. }
                | AnnouncementError::OtherDetails(_) => &counters.offers_malformed,
            },
            Refusal::Replayed { .. } => &counters.offers_replayed,
            Refusal::Limited(_) | Refusal::Flooded(_) => &counters.offers_limited,
            Refusal::Expired(_) => &counters.offers_expired,
            Refusal::Full(_) | Refusal::Crowded(_) => &counters.offers_unheard,
            Refusal::Untold(_) => &counters.offers_untold,
        };
        bump(counter);
        tracing::debug!(reason = %refusal, "an announcement was dropped");
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Now {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    Now {
        at: Instant::now(),
        clock: u64::try_from(clock).unwrap_or(u64::MAX),
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

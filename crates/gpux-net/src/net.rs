//! The handle of a node's peer endpoint: what the daemon uses of this crate.

use crate::{
    accept::{self, Server},
    blobs::{
        AddMode, BlobRef, BlobServer, Blobs, ExportMode, FetchError, Givers, Grants, Keeper, OpenStore, StoreError,
    },
    bucket::PeerRates,
    calls::{AnswerLimits, Answerer, CallError, CallHandler, Caller},
    config::{Limits, NetConfig},
    connections::{Cause, ConnectionLimits, Connections, PeerPath},
    endpoint::{CONNECTION_WINDOW, FETCH_WINDOW, StartNetError, bind, transport},
    offers::{
        Announcer, Asked, BookConfig, Engine, EngineConfig, FEED_EVENTS, GossipConnections, HeardOffer, OfferEvent,
        OfferFeed, OffersTask, OwnOffer, PublishOfferError, Signatures, Watchdog, spreading,
    },
    peers::Peers,
    stats::{Counters, NetStats},
    ticket::{PeerTicket, endpoint_id, node_id},
    wire::CALLS_ALPN,
};
use futures_util::stream::BoxStream;
use gpux_proto::{LogsRequest, Request, Response, SignedOffer};
use gpux_types::{BlobHash, LeaseId, NodeId, UnixSeconds};
use iroh::{Endpoint, SecretKey};
use iroh_gossip::net::Gossip;
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// A gossip message: a digest, or the library's own word with the addresses of some nodes.
const MAX_GOSSIP_BYTES: usize = 4_096;
/// Questions for details that wait for the offers task.
const ASKED: usize = 256;
/// Dialled connections that wait to be served in the other direction too.
const DIALLED: usize = 64;
/// How long a shutdown waits for the goodbye to leave: the library gives no sign when a broadcast has been sent.
const GOODBYE: Duration = Duration::from_millis(100);
/// How long a shutdown waits for the gossip to take leave of its neighbours.
const GOSSIP_CLOSE: Duration = Duration::from_secs(1);

/// A node's peer endpoint. Cheap to clone; it runs until [`Net::shutdown`] or until the last clone is dropped.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    gossip: Gossip,
    limits: Limits,
    /// The URLs of the relays of the configuration.
    relays: Vec<String>,
    peers: Arc<Peers>,
    engine: Arc<Mutex<Engine>>,
    own: watch::Sender<Option<OwnOffer>>,
    feed: broadcast::WeakSender<OfferEvent>,
    neighbours: watch::Receiver<Vec<NodeId>>,
    caller: Caller,
    blobs: Arc<Blobs>,
    grants: Arc<Grants>,
    counters: Arc<Counters>,
    cancel: CancellationToken,
    /// The offers task and the accept task; taken by the shutdown that waits for them.
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("node", &self.node_id())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Net {
    /// Opens the store, binds the sockets, joins the market and answers peers with `handler`.
    ///
    /// # Errors
    /// When the store or a socket cannot be had, or a relay's URL is none.
    pub async fn start(config: NetConfig, handler: Arc<dyn CallHandler>) -> Result<Self, StartNetError> {
        let limits = config.limits.clone();
        let store = open_store(&config).await?;
        let peers = Arc::new(Peers::new(limits.peers.saturating_add(limits.offers)));
        // The first ticket is the most trusted one and ends up as the newest.
        for ticket in config.bootstrap.iter().rev() {
            peers.learn(ticket.clone());
        }
        let connections = GossipConnections::default();
        let endpoint = bind(&config, &peers, connections.clone()).await?;
        let gossip = Gossip::builder()
            .max_message_size(MAX_GOSSIP_BYTES)
            .broadcast_config(spreading())
            .spawn(endpoint.clone());
        let (dialled, dialled_rx) = mpsc::channel(DIALLED);
        let calls = Connections::new(endpoint.clone(), CALLS_ALPN, transport(CONNECTION_WINDOW), dialled);
        let calls = Arc::new(calls);
        // Nobody serves the fetching side of a blob connection: it has no streams to answer.
        let (unserved, _) = mpsc::channel(1);
        let fetches = Connections::new(endpoint.clone(), iroh_blobs::ALPN, transport(FETCH_WINDOW), unserved);
        let me = node_id(endpoint.id());
        let engine = Engine::new(
            engine_config(&config, me),
            PeerTicket::of_endpoint(&endpoint),
            Instant::now(),
        );
        let (asked, asked_rx) = mpsc::channel(ASKED);
        let (feed, _) = broadcast::channel(FEED_EVENTS);
        let (neighbours_tx, neighbours) = watch::channel(Vec::new());
        let counters = Arc::<Counters>::default();
        let blobs = Arc::new(Blobs::new(store, Arc::new(fetches), counters.clone(), &limits));
        let adopted = blobs.adopt_sent().await;
        adopted.map_err(|source| no_store(&config, source.into()))?;
        let inner = Inner {
            caller: Caller::new(calls.clone(), limits.call_timeout),
            blobs,
            gossip,
            peers,
            engine: Arc::new(Mutex::new(engine)),
            own: watch::Sender::new(None),
            feed: feed.downgrade(),
            neighbours,
            grants: Arc::new(Grants::new()),
            counters,
            cancel: CancellationToken::new(),
            tasks: Mutex::default(),
            limits,
            relays: config.relays.clone(),
            endpoint,
        };
        let server = inner.server(handler, calls, asked);
        let offers = inner.offers_task(&config, asked_rx, feed, neighbours_tx);
        inner.spawn(accept::run(Arc::new(server), dialled_rx, inner.cancel.clone()));
        inner.spawn(offers.run(inner.cancel.clone()));
        inner.spawn(inner.watchdog(config.topic, connections).run(inner.cancel.clone()));
        tracing::info!(node = %me, sockets = ?inner.endpoint.bound_sockets(), "listening for peers");
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This node's id: its endpoint's public key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        node_id(self.inner.endpoint.id())
    }

    /// How to reach this node now.
    #[must_use]
    pub fn ticket(&self) -> PeerTicket {
        PeerTicket::of_endpoint(&self.inner.endpoint)
    }

    /// The counters since the start.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.inner.counters.snapshot()
    }

    /// The bytes that are kept of what nodes sent for their leases, and those of it that were let go and are not deleted yet.
    #[must_use]
    pub fn cached(&self) -> (u64, u64) {
        self.inner.blobs.senders.bytes()
    }

    /// Withdraws the offer, ends all streams, and closes the store and the sockets. Further calls fail.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.cancel.cancel();
        let mut tasks = std::mem::take(&mut *inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if tasks.is_empty() {
            return;
        }
        while let Some(done) = tasks.join_next().await {
            if let Err(error) = done {
                tracing::error!(%error, "a task of the peer endpoint failed");
            }
        }
        tokio::time::sleep(GOODBYE).await;
        // A stalled gossip ends with its connections.
        if !matches!(timeout(GOSSIP_CLOSE, inner.gossip.shutdown()).await, Ok(Ok(()))) {
            tracing::debug!("the gossip did not close by itself");
        }
        inner.endpoint.close().await;
        inner.blobs.close().await;
    }

    /// Learns how to reach a peer. The newest lesson about a node counts.
    pub fn remember(&self, peer: PeerTicket) {
        self.inner.peers.learn(peer);
    }

    /// Tells of nodes that may be tried while there is no neighbour, on the word of strangers: at most 16, in the place of
    /// those told before. One that is met is remembered, the others never are. Of their relays only those that this node is
    /// configured with are used: a stranger's word must not make many nodes call upon a URL.
    pub fn hint(&self, mut peers: Vec<PeerTicket>) {
        for peer in &mut peers {
            peer.relay.take_if(|relay| !self.inner.relays.contains(relay));
        }
        self.inner.peers.hint(peers);
    }

    /// Peers to write down and to give back as [`NetConfig::bootstrap`] at the next start, newest first; at most
    /// [`Limits::peers`].
    #[must_use]
    pub fn known_peers(&self) -> Vec<PeerTicket> {
        let all = self.inner.peers.newest(self.inner.limits.peers);
        all.into_iter()
            .filter(|ticket| !ticket.addresses.is_empty() || ticket.relay.is_some())
            .collect()
    }

    /// The nodes that this node gossips with now.
    #[must_use]
    pub fn neighbours(&self) -> Vec<NodeId> {
        self.inner.neighbours.borrow().clone()
    }

    /// How the packets of calls to `peer` travel now; `None` while there is no connection. It begins at the relay where there is
    /// one, and goes on directly as soon as both sides got through.
    pub async fn path(&self, peer: NodeId) -> Option<PeerPath> {
        self.inner.caller.path(peer).await
    }

    /// Announces `offer` now, and again before its life is over, until another one takes its place, it is withdrawn or
    /// the endpoint shuts down. Its sequence must be above every earlier one of this node, also of earlier runs.
    ///
    /// # Errors
    /// When others would refuse it: wrong signature, another node's, unfit.
    pub fn publish_offer(&self, offer: SignedOffer) -> Result<(), PublishOfferError> {
        let own = OwnOffer::check(offer, self.node_id())?;
        self.inner.own.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&own);
            *current = Some(own);
            changed
        });
        Ok(())
    }

    /// Tells the network that this node sells no more.
    pub fn withdraw_offer(&self) {
        self.inner.own.send_if_modified(|current| current.take().is_some());
    }

    /// The offers of other nodes that hold now.
    #[must_use]
    pub fn live_offers(&self) -> Vec<HeardOffer> {
        self.inner
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .live(Instant::now())
    }

    /// What becomes of other nodes' offers from now on.
    #[must_use]
    pub fn offers(&self) -> OfferFeed {
        OfferFeed::new(
            self.inner
                .feed
                .upgrade()
                .map_or_else(|| broadcast::channel(1).1, |feed| feed.subscribe()),
        )
    }

    /// Calls `peer` and waits for its answer.
    ///
    /// # Errors
    /// When the peer cannot be reached, does not answer in time, or refuses.
    pub async fn call(&self, peer: NodeId, request: &Request) -> Result<Response, CallError> {
        let answer = self.inner.caller.call(peer, request).await?;
        self.inner
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .met(peer);
        Ok(answer)
    }

    /// The log that `request` asks `peer` for, as it comes; an error is the last item.
    ///
    /// # Errors
    /// When the peer cannot be reached.
    pub async fn open_logs(
        &self,
        peer: NodeId,
        request: &LogsRequest,
    ) -> Result<BoxStream<'static, Result<Vec<u8>, CallError>>, CallError> {
        self.inner.caller.open_logs(peer, request).await
    }

    /// Takes a file into the blob store and keeps it for `keeper`.
    ///
    /// # Errors
    /// When the path is not absolute, or the file cannot be read or stored.
    pub async fn add_file(&self, path: &Path, mode: AddMode, keeper: Keeper) -> Result<BlobRef, StoreError> {
        self.inner.blobs.add_file(path, mode, keeper).await
    }

    /// Takes bytes into the blob store and keeps them for `keeper`.
    ///
    /// # Errors
    /// When they cannot be stored.
    pub async fn add_bytes(&self, bytes: Vec<u8>, keeper: Keeper) -> Result<BlobRef, StoreError> {
        self.inner.blobs.add_bytes(bytes, keeper).await
    }

    /// The blob, when it is here as a whole.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, hash: BlobHash) -> Result<Option<BlobRef>, StoreError> {
        self.inner.blobs.find(hash).await
    }

    /// Keeps a blob for `keeper` too, whether it is here already or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep(&self, hash: BlobHash, keeper: Keeper) -> Result<(), StoreError> {
        self.inner.blobs.keep(hash, keeper).await
    }

    /// Ends what `keeper` keeps. Blobs that nobody else keeps are deleted at the next collection.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, keeper: Keeper) -> Result<(), StoreError> {
        self.inner.blobs.release(keeper).await
    }

    /// Brings `blob` here from the first peer in `from` that has it, and keeps it for `keeper`; `progress` is set to the
    /// bytes that are here. Only missing ranges travel, each chunk is verified, a cut transfer goes on where it was.
    ///
    /// # Errors
    /// When no peer gave all of it; what came is kept for the next try until the keeper lets go.
    pub async fn fetch(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        self.inner.blobs.fetch(from, blob, keeper, progress).await
    }

    /// The same from a sender, which must send all of it unless it did once: whoever only knows the hash gets nothing here, and
    /// learns nothing. For what only its owner may read, such as inputs. What is not here at all may come from peers, to which it
    /// sends it too: each piece comes from it once, and the others have it from each other ([`Net::share`]).
    ///
    /// # Errors
    /// When it did not give all of it; what came is kept for the next try until the keeper lets go.
    pub async fn take(
        &self,
        from: Givers<'_>,
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        self.inner.blobs.take(from, blob, keeper, progress).await
    }

    /// Keeps what of `blobs` came by [`Net::take`] from `sender`, as used at `date`, for its next lease. There is room for
    /// [`Limits::cache_bytes`]: what was used longest ago goes first, and counts until it is deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_sent(&self, sender: NodeId, blobs: &[BlobRef], date: UnixSeconds) -> Result<(), StoreError> {
        self.inner.blobs.keep_sent(sender, blobs, date).await
    }

    /// Writes a blob to a file.
    ///
    /// # Errors
    /// When the path is not absolute, the blob is not here, or the file cannot be written.
    pub async fn export(&self, hash: BlobHash, path: &Path, mode: ExportMode) -> Result<(), StoreError> {
        self.inner.blobs.export(hash, path, mode).await
    }

    /// All bytes of a blob of at most `max` bytes.
    ///
    /// # Errors
    /// When it is not here, or larger.
    pub async fn read_bytes(&self, hash: BlobHash, max: u64) -> Result<Vec<u8>, StoreError> {
        self.inner.blobs.read(hash, max).await
    }

    /// Lets `peer` fetch `blobs` under `lease`, besides what it may already. Not kept over a restart.
    pub fn allow(&self, lease: LeaseId, peer: NodeId, blobs: impl IntoIterator<Item = BlobHash>) {
        self.inner.grants.allow(lease, peer, blobs, None);
    }

    /// Lets `peers` fetch `blobs` under `lease` as far as `of` sent them here. Not kept over a restart.
    pub fn share(&self, lease: LeaseId, peers: &[NodeId], blobs: &[BlobHash], of: NodeId) {
        for peer in peers {
            self.inner.grants.allow(lease, *peer, blobs.iter().copied(), Some(of));
        }
    }

    /// Ends everything allowed under `lease`, transfers that run included.
    pub fn revoke(&self, lease: LeaseId) {
        self.inner.grants.revoke(lease);
    }
}

impl Inner {
    fn watchdog(&self, topic: [u8; 32], connections: GossipConnections) -> Watchdog {
        Watchdog {
            gossip: self.gossip.clone(),
            topic,
            neighbours: self.neighbours.clone(),
            connections,
            counters: self.counters.clone(),
            every: self.limits.gossip_probe,
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    fn server(&self, handler: Arc<dyn CallHandler>, calls: Arc<Connections>, asked: mpsc::Sender<Asked>) -> Server {
        let limits = &self.limits;
        let answering = AnswerLimits {
            concurrent: limits.calls,
            timeout: limits.answer_timeout,
        };
        Server {
            endpoint: self.endpoint.clone(),
            gossip: self.gossip.clone(),
            calls,
            answerer: Answerer::new(handler, (self.engine.clone(), asked), self.counters.clone(), answering),
            blobs: BlobServer::new(
                self.blobs.clone(),
                self.grants.clone(),
                self.counters.clone(),
                limits.blob_uploads,
            ),
            limits: ConnectionLimits::new(limits.connections, limits.connections_per_peer),
            peers: self.peers.clone(),
            counters: self.counters.clone(),
            rates: PeerRates::new(limits.calls_per_second),
            idle: limits.idle_connection,
        }
    }

    fn offers_task(
        &self,
        config: &NetConfig,
        asked: mpsc::Receiver<Asked>,
        feed: broadcast::Sender<OfferEvent>,
        neighbours: watch::Sender<Vec<NodeId>>,
    ) -> OffersTask {
        OffersTask {
            endpoint: self.endpoint.clone(),
            gossip: self.gossip.clone(),
            topic: config.topic,
            bootstrap: config
                .bootstrap
                .iter()
                .filter_map(|ticket| endpoint_id(ticket.node))
                .collect(),
            engine: self.engine.clone(),
            asked,
            peers: self.peers.clone(),
            caller: self.caller.clone(),
            counters: self.counters.clone(),
            own: self.own.subscribe(),
            feed,
            neighbours,
        }
    }
}

async fn open_store(config: &NetConfig) -> Result<OpenStore, StartNetError> {
    let opened = OpenStore::open(&config.data_dir, config.limits.collect_interval).await;
    opened.map_err(|source| no_store(config, source))
}

fn no_store(config: &NetConfig, source: Cause) -> StartNetError {
    let path = config.data_dir.clone();
    StartNetError::Store { path, source }
}

fn engine_config(config: &NetConfig, me: NodeId) -> EngineConfig {
    let limits = &config.limits;
    EngineConfig {
        book: BookConfig {
            me,
            topic: config.topic,
            offers: limits.offers,
            offers_per_minute: limits.offers_per_minute,
            draws: blake3::derive_key("gpux/2 draws of the gossip of offers", &config.secret),
            judge: Arc::new(Signatures),
        },
        announcer: Announcer::new(SecretKey::from_bytes(&config.secret), config.topic),
        gossip_per_second: limits.gossip_per_second,
    }
}

//! The task that accepts connections, counts them, and serves their streams until they are idle or closed.
//!
//! Every connection is a task in this task's set; every stream is a task in its connection's set, so a panic ends one stream. A connection that we
//! dialled is served too, because calls go both ways.

use crate::{
    blobs::BlobServer,
    bucket::PeerRates,
    calls::Answerer,
    connections::{CLOSE_IDLE, CLOSE_PROTOCOL, CLOSE_TOO_MANY, ConnectionLimits, Connections, Counted, Kept},
    peers::Peers,
    stats::{Counters, bump},
    ticket::node_id,
    wire::CALLS_ALPN,
};
use gpux_types::NodeId;
use iroh::{
    Endpoint,
    endpoint::{Connection, Incoming, RecvStream, SendStream},
};
use iroh_gossip::net::{GOSSIP_ALPN, Gossip};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at a time. Above half of it, addresses must first prove that they receive; above it, they are refused.
const MAX_HANDSHAKES: usize = 64;

/// Serves connections. Shared by their tasks.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) gossip: Gossip,
    pub(crate) calls: Arc<Connections>,
    pub(crate) answerer: Answerer,
    pub(crate) blobs: BlobServer,
    pub(crate) limits: Arc<ConnectionLimits>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) rates: PeerRates,
    pub(crate) idle: Duration,
}

/// Accepts until `cancel`, then drops all connections' tasks.
pub(crate) async fn run(server: Arc<Server>, mut dialled: mpsc::Receiver<Arc<Kept>>, cancel: CancellationToken) {
    let mut tasks = JoinSet::new();
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        // Every arm is cancel-safe: a channel, the endpoint's queue, a set.
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(done) = tasks.join_next() => note_panic(done),
            Some(kept) = dialled.recv() => {
                let server = server.clone();
                tasks.spawn(async move { server.serve_calls(kept).await });
            }
            incoming = server.endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                server.admit(incoming, &handshakes, &mut tasks);
            }
        }
    }
    tasks.shutdown().await;
}

fn note_panic(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "serving a connection panicked");
    }
}

impl Server {
    fn admit(self: &Arc<Self>, incoming: Incoming, handshakes: &Arc<Semaphore>, tasks: &mut JoinSet<()>) {
        if handshakes.available_permits() < MAX_HANDSHAKES / 2 && !incoming.remote_addr_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            return;
        }
        let Ok(place) = handshakes.clone().try_acquire_owned() else {
            bump(&self.counters.connections_refused);
            incoming.refuse();
            return;
        };
        let server = self.clone();
        tasks.spawn(async move {
            let shaken = timeout(HANDSHAKE_TIMEOUT, incoming).await;
            drop(place);
            match shaken {
                Ok(Ok(connection)) => server.serve(connection).await,
                Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                Err(_) => tracing::debug!("a handshake took too long"),
            }
        });
    }

    async fn serve(self: &Arc<Self>, connection: Connection) {
        let node = node_id(connection.remote_id());
        let Some(counted) = self.limits.admit(node) else {
            bump(&self.counters.connections_refused);
            connection.close(CLOSE_TOO_MANY, b"too many connections");
            return;
        };
        self.peers.met(node);
        match connection.alpn() {
            CALLS_ALPN => {
                let kept = Kept::new(connection);
                self.calls.adopt(node, &kept);
                self.serve_calls(kept).await;
            }
            iroh_blobs::ALPN => self.serve_blobs(Kept::new(connection)).await,
            GOSSIP_ALPN => self.serve_gossip(connection).await,
            _ => connection.close(CLOSE_PROTOCOL, b"unknown protocol"),
        }
        drop::<Counted>(counted);
    }

    async fn serve_gossip(&self, connection: Connection) {
        if self.gossip.handle_connection(connection.clone()).await.is_ok() {
            connection.closed().await;
        }
    }

    async fn serve_calls(self: &Arc<Self>, kept: Arc<Kept>) {
        self.serve_streams(&kept, |node, send, recv| {
            let (server, limited) = (self.clone(), !self.rates.take(node, Instant::now()));
            async move { server.answerer.answer(node, send, recv, limited).await }
        })
        .await;
    }

    async fn serve_blobs(self: &Arc<Self>, kept: Arc<Kept>) {
        self.serve_streams(&kept, |node, send, recv| {
            let server = self.clone();
            async move { server.blobs.serve(node, send, recv).await }
        })
        .await;
    }

    /// Serves the streams of one connection until it closes or nobody uses it any more. How many there are at a time is
    /// bounded by the endpoint's transport settings. What is being answered when the connection closes is finished: it
    /// may be changing something.
    async fn serve_streams<F: Future<Output = ()> + Send + 'static>(
        &self,
        kept: &Arc<Kept>,
        mut serve: impl FnMut(NodeId, SendStream, RecvStream) -> F,
    ) {
        let node = node_id(kept.connection().remote_id());
        let mut streams = JoinSet::new();
        loop {
            // Cancel-safe: a stream that was accepted is in the set before the next turn.
            tokio::select! {
                stream = kept.connection().accept_bi() => {
                    let Ok((send, recv)) = stream else { break };
                    let (guard, answer) = (kept.hold(), serve(node, send, recv));
                    streams.spawn(async move {
                        answer.await;
                        drop(guard);
                    });
                }
                Some(done) = streams.join_next() => note_panic(done),
                () = tokio::time::sleep(self.idle) => {
                    if kept.idle() >= self.idle {
                        kept.connection().close(CLOSE_IDLE, b"idle");
                        break;
                    }
                }
            }
        }
        while let Some(done) = streams.join_next().await {
            note_panic(done);
        }
    }
}

//! Keeps the gossip alive when a neighbour takes nothing.
//!
//! The gossip library has one actor that waits while a neighbour's queue is full. A neighbour that stops reading, or two
//! honest nodes that flood each other, would silence it for ever. So this task asks the actor for a sign of life (a second
//! subscription is told the neighbours at once) and closes the gossip's connections when none comes: that ends the wait,
//! the offers task then joins again and asks for what was missed.

use crate::{
    connections::CLOSE_IDLE,
    stats::{Counters, bump},
};
use futures_util::StreamExt;
use gpux_types::NodeId;
use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks, WeakConnectionHandle};
use iroh_gossip::{
    api::JoinOptions,
    net::{GOSSIP_ALPN, Gossip},
    proto::TopicId,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// Weak handles to the connections of the gossip, dialled and accepted: the library gives no other way to them. A mutex,
/// because the endpoint notes them while it shakes hands.
#[derive(Debug, Clone, Default)]
pub(crate) struct GossipConnections(Arc<Mutex<Vec<WeakConnectionHandle>>>);

impl EndpointHooks for GossipConnections {
    async fn after_handshake<'a>(&'a self, connection: &'a Connection) -> AfterHandshakeOutcome {
        if connection.alpn() == GOSSIP_ALPN {
            let mut all = self.lock();
            // What is left is bounded by the connections that are open.
            all.retain(|weak| {
                weak.upgrade()
                    .is_some_and(|connection| connection.close_reason().is_none())
            });
            all.push(connection.weak_handle());
        }
        AfterHandshakeOutcome::accept()
    }
}

impl GossipConnections {
    fn close_all(&self) {
        for connection in self.lock().drain(..).filter_map(|weak| weak.upgrade()) {
            connection.close(CLOSE_IDLE, b"stalled");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WeakConnectionHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the watchdog works with.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pub(crate) gossip: Gossip,
    pub(crate) topic: [u8; 32],
    pub(crate) neighbours: watch::Receiver<Vec<NodeId>>,
    pub(crate) connections: GossipConnections,
    pub(crate) counters: Arc<Counters>,
    /// How often a sign of life is asked for, and how long it may take.
    pub(crate) every: Duration,
}

impl Watchdog {
    /// Runs until `cancel`.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        while cancel
            .run_until_cancelled(tokio::time::sleep(self.every))
            .await
            .is_some()
        {
            // Without neighbours there is nobody to wait for, and nothing that a probe would be told.
            if self.neighbours.borrow().is_empty() {
                continue;
            }
            let Some(alive) = cancel.run_until_cancelled(timeout(self.every, self.probe())).await else {
                return;
            };
            if alive.is_err() && !self.neighbours.borrow().is_empty() {
                tracing::warn!("the gossip is stalled by a neighbour; its connections are made anew");
                bump(&self.counters.gossip_stalls);
                self.connections.close_all();
            }
        }
    }

    /// Returns when the gossip's actor has answered.
    async fn probe(&self) {
        let options = JoinOptions {
            bootstrap: std::collections::BTreeSet::new(),
            subscription_capacity: 8,
        };
        let topic = TopicId::from_bytes(self.topic);
        if let Ok(mut subscription) = self.gossip.subscribe_with_opts(topic, options).await {
            subscription.next().await;
        }
    }
}

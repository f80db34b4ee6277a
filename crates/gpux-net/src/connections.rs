//! Kept connections: one per peer and protocol, dialled once, used in both directions, closed when idle.
//!
//! A connection that the peer opened serves our calls as well, so a renter behind a NAT that has just come back with
//! another address can be called as soon as it calls, also while a dial to where it was is under way. The maps are behind
//! mutexes that are never held over an await; callers who come together share one dial.

use crate::ticket::{endpoint_id, node_id};
use gpux_types::NodeId;
use iroh::{
    Endpoint, TransportAddr,
    endpoint::{ConnectOptions, Connection, QuicTransportConfig, RecvStream, SendStream, VarInt},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// How long a dial may take. Longer than a hole punch through two NATs and a relay, shorter than a person's patience.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The most slots per protocol; slots are a few hundred bytes. Beyond it idle ones go, then any.
const MAX_SLOTS: usize = 1_024;

/// What a peer is told when we close: `CLOSE_IDLE` is no fault, the others are.
pub(crate) const CLOSE_IDLE: VarInt = VarInt::from_u32(0);
pub(crate) const CLOSE_TOO_MANY: VarInt = VarInt::from_u32(1);
pub(crate) const CLOSE_PROTOCOL: VarInt = VarInt::from_u32(2);

/// The cause of an error, with the library's type hidden: only this crate knows the library.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How packets to a peer travel now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerPath {
    /// From address to address; here the peer's.
    Direct(SocketAddr),
    /// Through the relay with this URL.
    Relayed(String),
}

/// A connection could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("dialling {0}: it is no public key")]
    NotAKey(NodeId),
    #[error("dialling {node}")]
    Connect { node: NodeId, source: Cause },
    #[error("dialling {node}: no answer within {} s", DIAL_TIMEOUT.as_secs())]
    TimedOut { node: NodeId },
}

/// One connection and when it was last used.
#[derive(Debug)]
pub(crate) struct Kept {
    connection: Connection,
    born: Instant,
    /// Milliseconds after `born` of the last use.
    used: AtomicU64,
    streams: AtomicUsize,
}

/// Counts a stream in use; the connection is not idle while one lives.
#[derive(Debug)]
pub(crate) struct Use(Arc<Kept>);

impl Kept {
    pub(crate) fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            connection,
            born: Instant::now(),
            used: AtomicU64::new(0),
            streams: AtomicUsize::new(0),
        })
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Marks the connection as used until the guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Use {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Use(self.clone())
    }

    /// How long nothing has used the connection.
    pub(crate) fn idle(&self) -> Duration {
        if self.streams.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.born
            .elapsed()
            .saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(now, Ordering::Relaxed);
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.touch();
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What there is between us and one peer.
#[derive(Debug, Default)]
struct Link {
    /// Held by who dials.
    dialling: tokio::sync::Mutex<()>,
    kept: watch::Sender<Option<Arc<Kept>>>,
}

type Slot = Arc<Link>;

/// The kept connections of one protocol.
#[derive(Debug)]
pub(crate) struct Connections {
    endpoint: Endpoint,
    alpn: &'static [u8],
    transport: QuicTransportConfig,
    slots: Mutex<HashMap<NodeId, Slot>>,
    /// Connections that we dialled and whose peer may open streams on: the accept task serves them.
    dialled: mpsc::Sender<Arc<Kept>>,
}

impl Connections {
    pub(crate) fn new(
        endpoint: Endpoint,
        alpn: &'static [u8],
        transport: QuicTransportConfig,
        dialled: mpsc::Sender<Arc<Kept>>,
    ) -> Self {
        Self {
            endpoint,
            alpn,
            transport,
            slots: Mutex::new(HashMap::new()),
            dialled,
        }
    }

    /// This node.
    pub(crate) fn me(&self) -> NodeId {
        node_id(self.endpoint.id())
    }

    /// A new stream to `node`, on the kept connection or a new one.
    pub(crate) async fn open(&self, node: NodeId) -> Result<(Use, SendStream, RecvStream), DialError> {
        let (kept, fresh) = self.get(node, None).await?;
        let guard = kept.hold();
        match kept.connection.open_bi().await {
            Ok((send, recv)) => Ok((guard, send, recv)),
            Err(source) if fresh => Err(DialError::Connect {
                node,
                source: source.into(),
            }),
            // It broke while nobody looked. Nothing was sent yet, so a second try repeats nothing.
            Err(_) => {
                drop(guard);
                let (kept, _) = self.get(node, Some(&kept)).await?;
                let guard = kept.hold();
                let opened = kept.connection.open_bi().await;
                let (send, recv) = opened.map_err(|source| DialError::Connect {
                    node,
                    source: source.into(),
                })?;
                Ok((guard, send, recv))
            }
        }
    }

    /// Sees to it that there is a connection to `node`. Every other dial to it that is under way learns by this where it is.
    pub(crate) async fn reach(&self, node: NodeId) -> Result<(), DialError> {
        self.get(node, None).await.map(|_| ())
    }

    /// The kept connection to `node`, unless it is `broken`, and whether it was dialled just now.
    async fn get(&self, node: NodeId, broken: Option<&Arc<Kept>>) -> Result<(Arc<Kept>, bool), DialError> {
        let slot = self.slot(node);
        let _turn = slot.dialling.lock().await;
        let usable = |kept: &Arc<Kept>| kept.is_open() && broken.is_none_or(|broken| !Arc::ptr_eq(broken, kept));
        let mut known = slot.kept.subscribe();
        let there = async {
            let found = known.wait_for(|kept| kept.as_ref().is_some_and(usable)).await;
            found.ok().and_then(|kept| kept.clone())
        };
        tokio::select! {
            biased;
            // There is one, or the peer calls: it may have moved, and a dial to where it was only ends late.
            Some(kept) = there => Ok((kept, false)),
            dialled = self.dial(node) => {
                let kept = Kept::new(dialled?);
                slot.kept.send_replace(Some(kept.clone()));
                // Full only when hundreds of dials wait to be served; then this one connection serves our side alone.
                self.dialled.try_send(kept.clone()).ok();
                Ok((kept, true))
            }
        }
    }

    async fn dial(&self, node: NodeId) -> Result<Connection, DialError> {
        let id = endpoint_id(node).ok_or(DialError::NotAKey(node))?;
        let options = ConnectOptions::new().with_transport_config(self.transport.clone());
        let dial = async {
            let connecting = self.endpoint.connect_with_opts(id, self.alpn, options).await;
            let connecting = connecting.map_err(|source| DialError::Connect {
                node,
                source: source.into(),
            })?;
            connecting.await.map_err(|source| DialError::Connect {
                node,
                source: source.into(),
            })
        };
        tokio::time::timeout(DIAL_TIMEOUT, dial)
            .await
            .map_err(|_| DialError::TimedOut { node })?
    }

    /// How the packets of the kept connection to `node` travel now, where there is one.
    pub(crate) async fn path(&self, node: NodeId) -> Option<PeerPath> {
        let slot = self.lock().get(&node).cloned()?;
        let kept = slot.kept.borrow().clone().filter(|kept| kept.is_open())?;
        let paths = kept.connection.paths();
        let chosen = paths.iter().find(|path| path.is_selected())?;
        if let TransportAddr::Ip(address) = chosen.remote_addr() {
            return Some(PeerPath::Direct(*address));
        }
        if let TransportAddr::Relay(url) = chosen.remote_addr() {
            return Some(PeerPath::Relayed(url.to_string()));
        }
        None
    }

    /// Dials anew next time: `used` did not answer. Other users of that connection keep it.
    pub(crate) fn discard(&self, node: NodeId, used: &Use) {
        self.slot(node).kept.send_if_modified(|kept| {
            let is_it = kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &used.0));
            if is_it {
                *kept = None;
            }
            is_it
        });
    }

    /// Uses a connection that the peer opened for our calls too. The newest is the one most likely alive.
    pub(crate) fn adopt(&self, node: NodeId, kept: &Arc<Kept>) {
        self.slot(node).kept.send_replace(Some(kept.clone()));
    }

    fn slot(&self, node: NodeId) -> Slot {
        let mut slots = self.lock();
        if !slots.contains_key(&node) && slots.len() >= MAX_SLOTS {
            make_room(&mut slots);
        }
        slots.entry(node).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets slots without an open connection; if there is none, the one that was idle longest.
fn make_room(slots: &mut HashMap<NodeId, Slot>) {
    let state = |slot: &Slot| match slot.dialling.try_lock() {
        Ok(_) => slot
            .kept
            .borrow()
            .as_ref()
            .filter(|kept| kept.is_open())
            .map(|kept| kept.idle()),
        Err(_) => Some(Duration::ZERO),
    };
    slots.retain(|_, slot| state(slot).is_some());
    if slots.len() >= MAX_SLOTS {
        let idlest = slots.iter().max_by_key(|(_, slot)| state(slot)).map(|(node, _)| *node);
        if let Some(node) = idlest {
            slots.remove(&node);
        }
    }
}

/// Counts incoming connections, in total and per peer.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    total: usize,
    per_peer: usize,
    counts: Mutex<(usize, HashMap<NodeId, usize>)>,
}

/// One counted connection.
#[derive(Debug)]
pub(crate) struct Counted {
    limits: Arc<ConnectionLimits>,
    node: NodeId,
}

impl ConnectionLimits {
    pub(crate) fn new(total: usize, per_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_peer,
            counts: Mutex::default(),
        })
    }

    /// Counts a connection of `node`, or `None` when it is one too many.
    pub(crate) fn admit(self: &Arc<Self>, node: NodeId) -> Option<Counted> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = counts.1.get(&node).copied().unwrap_or_default();
        if counts.0 >= self.total || of_peer >= self.per_peer {
            return None;
        }
        counts.0 += 1;
        counts.1.insert(node, of_peer + 1);
        Some(Counted {
            limits: self.clone(),
            node,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 = counts.0.saturating_sub(1);
        if let Some(of_peer) = counts.1.get_mut(&self.node) {
            *of_peer = of_peer.saturating_sub(1);
            if *of_peer == 0 {
                counts.1.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_total_and_per_peer_and_given_back() {
        let limits = ConnectionLimits::new(3, 2);
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let first = limits.admit(a).unwrap();
        let _second = limits.admit(a).unwrap();
        assert!(limits.admit(a).is_none(), "two per peer");
        let _third = limits.admit(b).unwrap();
        assert!(limits.admit(b).is_none(), "three in total");
        drop(first);
        assert!(limits.admit(b).is_some());
    }
}

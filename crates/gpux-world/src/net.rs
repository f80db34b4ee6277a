//! What one life of a daemon has of the network: its [`PeerNet`], with the node's store of blobs.

use crate::{
    bug::Bug,
    life::Life,
    network::{DIAL, Host, SimNetwork, dial},
    wild::Wild,
};
use async_trait::async_trait;
use gpux_net::{
    AddMode, BlobRef, CallError, ExportMode, FetchError, Givers, HeardOffer, Keeper, LogStream, NetStats, OfferFeed,
    PeerFetchError, PeerNet, PeerTicket, PublishOfferError, StoreError,
};
use gpux_proto::{LogsRequest, Request, Response, SignedOffer};
use gpux_types::{BlobHash, LeaseId, Millis, NodeId, UnixSeconds};
use std::{collections::BTreeSet, fmt, path::Path, sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};

/// How long a transfer may bring nothing.
const STALL: Duration = Duration::from_secs(20);
/// Bytes that a link carries in a millisecond.
const BYTES_PER_MILLI: u64 = 5_000;

/// What one life of a daemon has of the network.
pub(crate) struct SimNet {
    pub(crate) network: SimNetwork,
    pub(crate) me: NodeId,
    pub(crate) life: Arc<Life>,
    /// Who stands in its door.
    pub(crate) wild: Option<Arc<Wild>>,
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimNet({})", self.me.short())
    }
}

impl SimNet {
    fn at_home<T: Default>(&self, act: impl FnOnce(&mut Host) -> T) -> T {
        if self.life.is_over() {
            return T::default();
        }
        self.network.lock().hosts.get_mut(&self.me).map_or_else(T::default, act)
    }

    fn may_have(&self, from: NodeId, hash: BlobHash) -> bool {
        let inner = self.network.lock();
        let grants = inner.hosts.get(&from).map(|host| &host.grants);
        grants.is_some_and(|grants| {
            grants
                .values()
                .any(|(peer, blobs)| *peer == self.me && blobs.contains(&hash))
        })
    }

    async fn bring(&self, from: NodeId, blob: BlobRef) -> Result<Vec<u8>, PeerFetchError> {
        let (Some((there, _)), Some((back, _))) = (self.network.fate(self.me, from), self.network.fate(from, self.me))
        else {
            tokio::time::sleep(STALL).await;
            return Err(PeerFetchError::Stalled(STALL));
        };
        tokio::time::sleep(there + back).await;
        if let Some(bytes) = self.network.lent(from, self.me, blob.hash) {
            return Ok(bytes);
        }
        if self.network.handler(from).is_none() {
            tokio::time::sleep(DIAL).await;
            return Err(PeerFetchError::Connect("nobody is there".into()));
        }
        if !self.may_have(from, blob.hash) {
            return Err(PeerFetchError::Refused);
        }
        let bytes = self.network.blob(from, blob.hash).ok_or(PeerFetchError::Missing)?;
        tokio::time::sleep(Duration::from_millis(blob.size / BYTES_PER_MILLI)).await;
        self.life.lives().await;
        let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if got != blob.size {
            return Err(PeerFetchError::OtherSize {
                expected: blob.size,
                got,
            });
        }
        Ok(bytes)
    }
}

#[async_trait]
impl PeerNet for SimNet {
    fn node_id(&self) -> NodeId {
        self.me
    }

    fn ticket(&self) -> PeerTicket {
        PeerTicket {
            node: self.me,
            addresses: vec![std::net::SocketAddr::from(([192, 0, 2, 1], 4_433))],
            relay: None,
        }
    }

    async fn shutdown(&self) {}

    fn remember(&self, _: PeerTicket) {}

    fn hint(&self, _: Vec<PeerTicket>) {}

    fn known_peers(&self) -> Vec<PeerTicket> {
        Vec::new()
    }

    fn neighbours(&self) -> Vec<NodeId> {
        let inner = self.network.lock();
        inner.hosts.keys().copied().filter(|node| *node != self.me).collect()
    }

    fn publish_offer(&self, offer: SignedOffer) -> Result<(), PublishOfferError> {
        if self.life.is_over() {
            return Ok(());
        }
        offer.verify()?.check()?;
        self.at_home(|host| host.own = Some(offer.clone()));
        self.network.announce(self.me, &offer);
        Ok(())
    }

    fn withdraw_offer(&self) {
        self.at_home(|host| host.own = None);
    }

    fn live_offers(&self) -> Vec<HeardOffer> {
        let now = self.network.trace.now();
        self.at_home(|host| {
            let live = host.heard.values().filter(|(_, until)| *until > now);
            live.map(|(heard, until)| HeardOffer {
                valid_for: Millis::from(until.saturating_sub(now)),
                ..heard.clone()
            })
            .collect()
        })
    }

    fn offers(&self) -> OfferFeed {
        let inner = self.network.lock();
        let feed = inner.hosts.get(&self.me).map(|host| host.feed.subscribe());
        OfferFeed::new(feed.unwrap_or_else(|| broadcast::channel(1).1))
    }

    async fn call(&self, peer: NodeId, request: &Request) -> Result<Response, CallError> {
        self.life.lives().await;
        let answer = match &self.wild {
            Some(wild) => wild.call(&self.network, (self.me, peer), request).await,
            None => self.network.carry(self.me, peer, request).await,
        };
        self.life.lives().await;
        if let Ok(Response::TooLate(offer)) = &answer {
            self.network.heard_back(offer.lease, &self.life);
        }
        answer
    }

    async fn open_logs(&self, peer: NodeId, _: &LogsRequest) -> Result<LogStream, CallError> {
        Err(dial(peer))
    }

    async fn add_file(&self, path: &Path, _: AddMode, keeper: Keeper) -> Result<BlobRef, StoreError> {
        self.life.lives().await;
        let read = self.life.writes_file().and_then(|()| std::fs::read(path));
        let bytes = read.map_err(|source| StoreError::AddFile {
            path: path.to_owned(),
            source: source.into(),
        })?;
        Ok(self.network.store(self.me, bytes, keeper))
    }

    async fn add_bytes(&self, bytes: Vec<u8>, keeper: Keeper) -> Result<BlobRef, StoreError> {
        self.life.lives().await;
        self.life.writes_file().map_err(|source| StoreError::AddBytes {
            len: bytes.len(),
            source: source.into(),
        })?;
        Ok(self.network.store(self.me, bytes, keeper))
    }

    async fn find(&self, hash: BlobHash) -> Result<Option<BlobRef>, StoreError> {
        self.life.lives().await;
        let found = self.network.blob(self.me, hash);
        Ok(found.map(|bytes| BlobRef {
            hash,
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }))
    }

    async fn keep(&self, hash: BlobHash, keeper: Keeper) -> Result<(), StoreError> {
        self.at_home(|host| {
            if let Some((_, keepers)) = host.blobs.get_mut(&hash) {
                keepers.insert(keeper.to_string());
            }
        });
        Ok(())
    }

    async fn release(&self, keeper: Keeper) -> Result<(), StoreError> {
        if self.network.lock().doors.bug == Some(Bug::Hoarding) {
            return Ok(());
        }
        self.at_home(|host| {
            host.blobs.retain(|_, (_, keepers)| {
                keepers.remove(&keeper.to_string());
                !keepers.is_empty()
            });
        });
        Ok(())
    }

    async fn fetch(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        self.life.lives().await;
        if let Some(bytes) = self.network.blob(self.me, blob.hash) {
            self.network.store(self.me, bytes, keeper);
            return Ok(());
        }
        let mut last = FetchError::NoPeer(blob.hash);
        for peer in from {
            match self.bring(*peer, blob).await {
                Ok(bytes) => {
                    self.life.lives().await;
                    self.life.writes_file().map_err(|source| FetchError::Store {
                        hash: blob.hash,
                        source: StoreError::AddBytes {
                            len: bytes.len(),
                            source: source.into(),
                        },
                    })?;
                    self.network.store(self.me, bytes, keeper);
                    if let Some(progress) = progress {
                        progress.send_replace(blob.size);
                    }
                    return Ok(());
                }
                Err(source) => {
                    last = FetchError::Peer {
                        hash: blob.hash,
                        peer: *peer,
                        source,
                    };
                }
            }
        }
        self.life.lives().await;
        Err(last)
    }

    async fn take(
        &self,
        from: Givers<'_>,
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        self.life.lives().await;
        let from = from.sender;
        let shown = self.at_home(|host| host.shown.contains(&(from, blob.hash)));
        if !shown && self.network.blob(self.me, blob.hash).is_some() {
            // As if it were not here.
            let brought = self.bring(from, blob).await;
            brought.map_err(|source| FetchError::Peer {
                hash: blob.hash,
                peer: from,
                source,
            })?;
        }
        self.fetch(&[from], blob, keeper, progress).await?;
        self.at_home(|host| {
            host.shown.insert((from, blob.hash));
        });
        Ok(())
    }

    async fn keep_sent(&self, sender: NodeId, blobs: &[BlobRef], _: UnixSeconds) -> Result<(), StoreError> {
        self.at_home(|host| {
            for blob in blobs {
                if host.shown.contains(&(sender, blob.hash))
                    && let Some((_, keepers)) = host.blobs.get_mut(&blob.hash)
                {
                    keepers.insert(format!("sent/{sender}"));
                }
            }
        });
        Ok(())
    }

    fn cached(&self) -> (u64, u64) {
        (0, 0)
    }

    fn stats(&self) -> NetStats {
        NetStats::default()
    }

    async fn export(&self, hash: BlobHash, path: &Path, _: ExportMode) -> Result<(), StoreError> {
        self.life.lives().await;
        let bytes = self.network.blob(self.me, hash).ok_or(StoreError::Missing(hash))?;
        let written = match self.life.writes_file() {
            Ok(()) if self.network.lock().doors.bug == Some(Bug::HalfWritten) => {
                std::fs::write(path, bytes.get(..bytes.len() / 2).unwrap_or_default())
            }
            taken => taken.and_then(|()| std::fs::write(path, bytes)),
        };
        written.map_err(|source| StoreError::Export {
            hash,
            path: path.to_owned(),
            source: source.into(),
        })
    }

    async fn read_bytes(&self, hash: BlobHash, max: u64) -> Result<Vec<u8>, StoreError> {
        self.life.lives().await;
        let bytes = self.network.blob(self.me, hash).ok_or(StoreError::Missing(hash))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > max {
            return Err(StoreError::TooLarge { hash, size, limit: max });
        }
        Ok(bytes)
    }

    fn allow(&self, lease: LeaseId, peer: NodeId, blobs: Vec<BlobHash>) {
        self.at_home(|host| {
            let (to, allowed) = host.grants.entry(lease).or_insert((peer, BTreeSet::new()));
            *to = peer;
            allowed.extend(blobs);
        });
    }

    fn share(&self, _: LeaseId, _: &[NodeId], _: &[BlobHash], _: NodeId) {}

    fn revoke(&self, lease: LeaseId) {
        self.at_home(|host| {
            host.grants.remove(&lease);
        });
    }
}

//! Fetching a blob: the missing ranges only, from one peer after the other, every chunk verified as it comes.
//!
//! The size is agreed on beforehand (it is part of what the lease names), so a peer that announces another one is
//! refused before the store makes room for it.

use crate::{
    blobs::{
        error::{FetchError, PeerFetchError, StoreError},
        store::{BlobRef, Blobs, Keeper},
        streams::{Receiving, SizeLie},
    },
    calls::Retry,
    connections::Use,
};
use gpux_types::{BlobHash, NodeId};
use iroh::endpoint::SendStream;
use iroh_blobs::{
    Hash,
    api::remote::LocalInfo,
    get::{
        GetError, StreamPair,
        fsm::{AtBlobHeaderNextError, AtConnected, BlobContentNext, ConnectedNext, DecodeError, RequestCounters},
    },
    protocol::{ChunkRanges, ERR_LIMIT, ERR_PERMISSION, GetRequest},
    store::fs::FsStore,
};
use std::{
    io,
    num::NonZeroU64,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{SemaphorePermit, watch},
    time::timeout,
};

/// How often in a row the same peer is asked whose stream is cut before much of it came. What came is kept, so each try
/// goes further.
pub(super) const TRIES_PER_PEER: usize = 3;
/// A try that brought so many bytes does not count: a large blob may be cut many times on its way.
const WORTH_A_TRY: u64 = 1 << 20;
/// How many bytes more are worth telling of.
const TOLD: u64 = 1 << 18;
/// Verified chunks that wait for the disk.
const AHEAD: usize = 64;

impl Blobs {
    /// Brings `blob` here, keeps it for `keeper`, and tells `progress` how many of its bytes are here.
    pub(crate) async fn fetch(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        let turn = self.turn(blob.hash);
        let turn = turn.lock().await;
        self.senders.mixed(blob.hash);
        let result = self.fetch_in_turn(from, blob, keeper, progress).await;
        drop(turn);
        self.end_turn();
        result
    }

    /// The same, by whoever has the turn.
    pub(super) async fn fetch_in_turn(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        let hash = blob.hash;
        // Kept from now on, so that a collection in the middle of the transfer spares what is here.
        let kept = self.keep(hash, keeper).await;
        kept.map_err(|source| FetchError::Store { hash, source })?;
        let result = self.fetch_kept(from, blob, progress).await;
        if matches!(result, Err(FetchError::OtherSize { .. })) {
            let released = self.release_one(hash, keeper).await;
            released.map_err(|source| FetchError::Store { hash, source })?;
        }
        result
    }

    async fn fetch_kept(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        let hash = blob.hash;
        let mut last = FetchError::NoPeer(hash);
        for peer in from {
            let mut tries = 0;
            while tries < TRIES_PER_PEER {
                let found = self.find(hash).await;
                if let Some(found) = found.map_err(|source| FetchError::Store { hash, source })? {
                    return whole(blob, found, progress);
                }
                let (mut received, store) = (0, self.store.now());
                let ask = Try {
                    peer: *peer,
                    wanted: ChunkRanges::all(),
                    stall: self.stall,
                    limit: None,
                };
                let Err(source) = self.fetch_from(&store, ask, blob, (progress, &mut received)).await else {
                    // The blob is here now, unless it was incomplete at the peer when the transfer began.
                    tries += 1;
                    continue;
                };
                tracing::debug!(blob = %hash, %peer, received, error = %source, "a peer did not give a blob");
                let died = matches!(source, PeerFetchError::Write(_)) && self.store.mend(&store).await;
                let again = died || source.retry() == Retry::Now;
                last = FetchError::Peer {
                    hash,
                    peer: *peer,
                    source,
                };
                if !again {
                    break;
                }
                tries = if received >= WORTH_A_TRY { 0 } else { tries + 1 };
            }
        }
        match self
            .find(hash)
            .await
            .map_err(|source| FetchError::Store { hash, source })?
        {
            Some(found) => whole(blob, found, progress),
            None => Err(last),
        }
    }

    /// One try with one peer.
    pub(super) async fn fetch_from(
        &self,
        store: &FsStore,
        ask: Try,
        blob: BlobRef,
        (progress, received): (Option<&watch::Sender<u64>>, &mut u64),
    ) -> Result<(), PeerFetchError> {
        let local = local(store, blob.hash, ask.wanted).await?;
        if local.is_complete() {
            return Ok(());
        }
        let here = local.local_bytes();
        let (place, pair) = self.open(ask.peer, blob).await?;
        let mut told = 0;
        let came = |bytes: u64| {
            *received = bytes;
            if bytes.saturating_sub(told) >= TOLD {
                told = bytes;
                tell(progress, here.saturating_add(bytes).min(blob.size));
            }
        };
        let receiving = receive(store, pair, local.missing(), ask.stall, came);
        let result = match ask.limit {
            None => receiving.await,
            Some(limit) => {
                let received = timeout(limit, receiving).await;
                received.unwrap_or(Err(PeerFetchError::Stalled(limit)))
            }
        };
        if matches!(result, Err(PeerFetchError::Stalled(_))) {
            self.discard(ask.peer, &place);
        }
        result
    }

    /// A stream that brings `blob` from `peer`, once there is a place among the transfers.
    pub(super) async fn open(&self, peer: NodeId, blob: BlobRef) -> Result<(Place<'_>, Bringing), PeerFetchError> {
        let place = self.downloads.acquire().await;
        let place = place.map_err(|source| PeerFetchError::Connect(source.into()))?;
        let opened = self.connections.open(peer).await;
        let (used, send, recv) = opened.map_err(|source| PeerFetchError::Connect(source.into()))?;
        let recv = Receiving::new(recv, blob.size, self.counters.clone());
        let place = Place { used, _place: place };
        Ok((place, StreamPair::new(0, recv, send)))
    }

    /// Gives up the connection of a transfer that stalled.
    pub(super) fn discard(&self, peer: NodeId, place: &Place<'_>) {
        self.connections.discard(peer, &place.used);
    }

    pub(super) fn turn(&self, hash: BlobHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.entry(hash).or_default().clone()
    }

    /// Forgets turns that nobody holds or waits for.
    pub(super) fn end_turn(&self) {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| Arc::strong_count(turn) > 1);
    }
}

/// A stream of the blob protocol on which a blob comes.
pub(super) type Bringing = StreamPair<Receiving, SendStream>;

/// What one peer is asked for, and its time.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) peer: NodeId,
    /// Of these ranges, those that are not here.
    pub(super) wanted: ChunkRanges,
    /// How long nothing may come.
    pub(super) stall: Duration,
    /// How long all may take.
    pub(super) limit: Option<Duration>,
}

/// A place among the transfers, and the connection that is in use.
#[derive(Debug)]
pub(super) struct Place<'a> {
    used: Use,
    _place: SemaphorePermit<'a>,
}

/// Writes what comes into the store, chunk by verified chunk, and says how many bytes came.
async fn receive(
    store: &FsStore,
    pair: Bringing,
    request: GetRequest,
    stall: Duration,
    mut came: impl FnMut(u64),
) -> Result<(), PeerFetchError> {
    let hash = request.hash;
    let stalled = |_| PeerFetchError::Stalled(stall);
    let connected = AtConnected::new(pair.t0, pair.recv, pair.send, request, RequestCounters::default());
    let begun = async {
        let ConnectedNext::StartRoot(root) = connected.next().await? else {
            return Ok(None);
        };
        Ok::<_, GetError>(Some(root.next().next().await?))
    };
    let begun = timeout(stall, begun).await.map_err(stalled)?.map_err(classify)?;
    let Some((mut content, size)) = begun else {
        return Ok(());
    };
    // The one blob without bytes is always here.
    let size = NonZeroU64::new(size).ok_or_else(|| PeerFetchError::Corrupt("only one blob has no bytes".into()))?;
    let import = store.import_bao(hash, size, AHEAD).await;
    let import = import.map_err(|source| PeerFetchError::Write(source.into()))?;
    let (into, written) = (import.tx, import.rx);
    let read = async move {
        loop {
            let next = timeout(stall, content.next()).await.map_err(stalled)?;
            let BlobContentNext::More((rest, item)) = next else {
                return Ok(());
            };
            let item = item.map_err(|error| classify(error.into()))?;
            if item.is_leaf() {
                came(rest.stats().payload_bytes_read);
            }
            let sent = into.send(item).await;
            sent.map_err(|source| PeerFetchError::Write(source.into()))?;
            content = rest;
        }
    };
    // What came before a cut is written down too.
    let (read, written) = tokio::join!(read, written);
    let written = written.map_err(|source| PeerFetchError::Write(source.into()))?;
    written.map_err(|source| PeerFetchError::Write(source.into()))?;
    read
}

async fn local(store: &FsStore, hash: BlobHash, wanted: ChunkRanges) -> Result<LocalInfo, PeerFetchError> {
    let request = GetRequest::blob_ranges(Hash::from_bytes(hash.0), wanted);
    let local = store.remote().local_for_request(request).await;
    local.map_err(|source| PeerFetchError::Write(source.into()))
}

fn whole(blob: BlobRef, found: BlobRef, progress: Option<&watch::Sender<u64>>) -> Result<(), FetchError> {
    if found.size != blob.size {
        return Err(FetchError::OtherSize {
            hash: blob.hash,
            expected: blob.size,
            got: found.size,
        });
    }
    tell(progress, found.size);
    Ok(())
}

fn tell(progress: Option<&watch::Sender<u64>>, bytes: u64) {
    if let Some(progress) = progress {
        progress.send_replace(bytes);
    }
}

/// What a failed transfer says about the peer.
pub(super) fn classify(error: GetError) -> PeerFetchError {
    let lie = |error: &io::Error| {
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<SizeLie>())
            .copied()
    };
    if let Some(SizeLie { expected, got }) = error.remote_read().and_then(lie) {
        return PeerFetchError::OtherSize { expected, got };
    }
    match error.iroh_error_code() {
        Some(code) if code == ERR_PERMISSION => return PeerFetchError::Refused,
        Some(code) if code == ERR_LIMIT => return PeerFetchError::Busy,
        Some(_) => return PeerFetchError::Missing,
        None => {}
    }
    match &error {
        GetError::Decode {
            source: DecodeError::ParentHashMismatch { .. } | DecodeError::LeafHashMismatch { .. },
            ..
        } => PeerFetchError::Corrupt(error.into()),
        GetError::AtBlobHeaderNext {
            source: AtBlobHeaderNextError::NotFound { .. },
            ..
        } => PeerFetchError::Missing,
        GetError::LocalFailure { .. } | GetError::IrpcSend { .. } | GetError::BadRequest { .. } => {
            PeerFetchError::Write(error.into())
        }
        GetError::InitialNext { .. }
        | GetError::ConnectedNext { .. }
        | GetError::AtBlobHeaderNext { .. }
        | GetError::Decode { .. }
        | GetError::AtClosingNext { .. } => PeerFetchError::Cut(error.into()),
    }
}

impl From<StoreError> for PeerFetchError {
    fn from(source: StoreError) -> Self {
        Self::Write(source.into())
    }
}

//! Fetching a blob: the missing ranges only, from one peer after the other, every chunk verified as it comes.
//!
//! The size is agreed on beforehand (it is part of what the lease names), so a peer that announces another one is
//! refused before the store makes room for it.

use crate::{
    blobs::{
        error::{FetchError, PeerFetchError, StoreError},
        store::{BlobRef, Blobs, Keeper},
    },
    calls::Retry,
    connections::Use,
    stats::{Counters, add},
};
use futures_util::StreamExt;
use gpux_types::{BlobHash, NodeId};
use iroh::endpoint::{RecvStream, SendStream, VarInt};
use iroh_blobs::{
    Hash, HashAndFormat,
    api::remote::{GetProgressItem, LocalInfo},
    get::{
        GetError, StreamPair,
        fsm::{AtBlobHeaderNextError, DecodeError},
    },
    protocol::{ERR_LIMIT, ERR_PERMISSION},
    store::fs::FsStore,
    util::{AsyncReadRecvStream, AsyncReadRecvStreamExtra},
};
use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{SemaphorePermit, watch},
    time::timeout,
};

/// How often in a row the same peer is asked whose stream is cut before much of it came. What came is kept, so each try
/// goes further.
pub(super) const TRIES_PER_PEER: usize = 3;
/// A try that brought so many bytes does not count: a large blob may be cut many times on its way.
const WORTH_A_TRY: u64 = 1 << 20;

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
                let Err(source) = self.fetch_from(&store, *peer, blob, (progress, &mut received)).await else {
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
    async fn fetch_from(
        &self,
        store: &FsStore,
        peer: NodeId,
        blob: BlobRef,
        (progress, received): (Option<&watch::Sender<u64>>, &mut u64),
    ) -> Result<(), PeerFetchError> {
        let local = local(store, blob.hash).await?;
        let here = local.local_bytes();
        let (place, pair) = self.open(peer, blob).await?;
        let items = store.remote().execute_get(pair, local.missing()).stream();
        let mut items = pin!(items);
        loop {
            let Ok(item) = timeout(self.stall, items.next()).await else {
                self.discard(peer, &place);
                return Err(PeerFetchError::Stalled(self.stall));
            };
            match item {
                Some(GetProgressItem::Progress(bytes)) => {
                    *received = bytes;
                    tell(progress, here.saturating_add(bytes).min(blob.size));
                }
                Some(GetProgressItem::Done(_)) => return Ok(()),
                Some(GetProgressItem::Error(error)) => return Err(classify(error)),
                None => {
                    return Err(PeerFetchError::Cut(
                        io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                    ));
                }
            }
        }
    }

    /// A stream that brings `blob` from `peer`, once there is a place among the transfers.
    pub(super) async fn open(&self, peer: NodeId, blob: BlobRef) -> Result<(Place<'_>, Bringing), PeerFetchError> {
        let place = self.downloads.acquire().await;
        let place = place.map_err(|source| PeerFetchError::Connect(source.into()))?;
        let opened = self.connections.open(peer).await;
        let (used, send, recv) = opened.map_err(|source| PeerFetchError::Connect(source.into()))?;
        let recv = AsyncReadRecvStream::new(SizeChecked {
            recv,
            head: Vec::new(),
            expected: blob.size,
            counters: self.counters.clone(),
        });
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
pub(super) type Bringing = StreamPair<AsyncReadRecvStream<SizeChecked>, SendStream>;

/// A place among the transfers, and the connection that is in use.
#[derive(Debug)]
pub(super) struct Place<'a> {
    used: Use,
    _place: SemaphorePermit<'a>,
}

async fn local(store: &FsStore, hash: BlobHash) -> Result<LocalInfo, PeerFetchError> {
    let content = HashAndFormat::raw(Hash::from_bytes(hash.0));
    let local = store.remote().local(content).await;
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

/// Reads a response, counts its bytes, and stops at its first eight bytes when they announce another size than agreed.
pub(super) struct SizeChecked {
    recv: RecvStream,
    head: Vec<u8>,
    expected: u64,
    counters: Arc<Counters>,
}

/// How many bytes announce the size.
const HEAD: usize = 8;

/// A peer announced another size.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("reading a blob: {expected} bytes were agreed on, {got} announced")]
struct SizeLie {
    expected: u64,
    got: u64,
}

impl AsyncRead for SizeChecked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.recv).poll_read(cx, buf))?;
        add(
            &self.counters.blob_bytes_received,
            buf.filled().len().saturating_sub(before),
        );
        if self.head.len() < HEAD {
            let missing = HEAD - self.head.len();
            let fresh = buf.filled().get(before..).unwrap_or_default();
            self.head.extend(fresh.iter().take(missing));
            if let Ok(head) = <[u8; HEAD]>::try_from(self.head.as_slice()) {
                let (expected, got) = (self.expected, u64::from_le_bytes(head));
                if expected != got {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        SizeLie { expected, got },
                    )));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncReadRecvStreamExtra for SizeChecked {
    fn inner(&mut self) -> &mut (impl AsyncRead + Unpin + Send) {
        self
    }

    fn stop(&mut self, code: VarInt) -> io::Result<()> {
        Ok(self.recv.stop(code)?)
    }

    fn id(&self) -> u64 {
        self.recv.id().index()
    }
}

impl From<StoreError> for PeerFetchError {
    fn from(source: StoreError) -> Self {
        Self::Write(source.into())
    }
}

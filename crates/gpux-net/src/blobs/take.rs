//! Taking a blob from a node that must show that it has all of it, whatever is here already.
//!
//! What is here and did not come from that node is read from it all the same, verified and dropped: it costs what it would cost
//! were nothing here, so it tells nothing. Only then is the blob here for that node.

use super::{
    error::{FetchError, PeerFetchError, StoreError},
    fetch::{TRIES_PER_PEER, classify},
    store::{BlobRef, Blobs, Givers, Keeper},
};
use crate::calls::Retry;
use gpux_types::{BlobHash, NodeId};
use iroh_blobs::{
    Hash,
    get::{
        GetError,
        fsm::{AtConnected, BlobContentNext, ConnectedNext, RequestCounters},
    },
    protocol::{ChunkRanges, ChunkRangesExt as _, GetRequest},
};
use tokio::{sync::watch, time::timeout};

/// What is asked for at a time and must come within the time that a transfer may stall.
const PIECE: u64 = 4 << 20;

impl Blobs {
    /// Brings `blob` here from its sender, which sends all of it unless it did so before, and keeps it for `keeper`. What is not
    /// here at all may come from its peers.
    pub(crate) async fn take(
        &self,
        from: Givers<'_>,
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        let turn = self.turn(blob.hash);
        let turn = turn.lock().await;
        let result = self.take_in_turn(from, blob, keeper, progress).await;
        drop(turn);
        self.end_turn();
        result
    }

    async fn take_in_turn(
        &self,
        from: Givers<'_>,
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        let Givers { sender: from, peers } = from;
        let BlobRef { hash, size } = blob;
        let shown = self.senders.has_shown(from, hash);
        if !shown {
            let here = self
                .here(blob)
                .await
                .map_err(|source| FetchError::Store { hash, source })?;
            if !here.is_empty() && !self.senders.is_sole(from, hash) {
                self.read_again(from, blob, here).await?;
            }
            self.senders.begin(from, hash);
        }
        if self
            .find(hash)
            .await
            .map_err(|source| FetchError::Store { hash, source })?
            .is_none()
        {
            // As the fetch below does, before a collection can take what comes.
            let kept = self.keep(hash, keeper).await;
            kept.map_err(|source| FetchError::Store { hash, source })?;
            self.bring_together(from, peers, blob, progress).await;
        }
        self.fetch_in_turn(&[from], blob, keeper, progress).await?;
        if !shown && !self.senders.is_sole(from, hash) {
            // Something else brought bytes meanwhile.
            self.read_again(from, blob, ChunkRanges::bytes(..size)).await?;
        }
        self.senders.note_shown(from, hash);
        Ok(())
    }

    /// What of the blob is here.
    pub(super) async fn here(&self, blob: BlobRef) -> Result<ChunkRanges, StoreError> {
        Ok(self.ranges(blob.hash).await? & ChunkRanges::bytes(..blob.size))
    }

    /// The same, by what the store knows of its size.
    pub(super) async fn ranges(&self, hash: BlobHash) -> Result<ChunkRanges, StoreError> {
        let seen = self
            .store
            .run(|store| async move { store.blobs().observe(Hash::from_bytes(hash.0)).await });
        let seen = seen.await.map_err(|source| StoreError::Status {
            hash,
            source: source.into(),
        })?;
        Ok(seen.ranges)
    }

    /// Has `from` send the ranges, piece by piece, and drops them.
    async fn read_again(&self, from: NodeId, blob: BlobRef, ranges: ChunkRanges) -> Result<(), FetchError> {
        let mut start = 0;
        while start < blob.size {
            let end = start.saturating_add(PIECE);
            let piece = &ranges & &ChunkRanges::bytes(start..end);
            let mut tries = 1;
            while !piece.is_empty() {
                let Err(source) = self.drain(from, blob, piece.clone()).await else {
                    break;
                };
                if source.retry() != Retry::Now || tries >= TRIES_PER_PEER {
                    let hash = blob.hash;
                    return Err(FetchError::Peer {
                        hash,
                        peer: from,
                        source,
                    });
                }
                tries += 1;
            }
            start = end;
        }
        Ok(())
    }

    /// One try with one piece.
    async fn drain(&self, from: NodeId, blob: BlobRef, piece: ChunkRanges) -> Result<(), PeerFetchError> {
        let (guard, pair) = self.open(from, blob).await?;
        let request = GetRequest::blob_ranges(Hash::from_bytes(blob.hash.0), piece);
        let read = async {
            let connected = AtConnected::new(pair.t0, pair.recv, pair.send, request, RequestCounters::default());
            let ConnectedNext::StartRoot(root) = connected.next().await? else {
                return Ok(());
            };
            let (mut content, _) = root.next().next().await?;
            while let BlobContentNext::More((rest, item)) = content.next().await {
                item?;
                content = rest;
            }
            Ok::<_, GetError>(())
        };
        let Ok(read) = timeout(self.stall, read).await else {
            self.discard(from, &guard);
            return Err(PeerFetchError::Stalled(self.stall));
        };
        read.map_err(classify)
    }
}

//! Bringing a blob together with the other nodes of its job: each piece once from its sender, and then from each other.
//!
//! Who brings which piece is said in `pieces.rs`. Every chunk is verified as it comes, so the worst that a peer can do is to be slow,
//! and it is not waited for for long. What is not brought here so is left to the fetch from the sender that comes after.

use super::{
    error::PeerFetchError,
    fetch::Try,
    pieces::{Next, Order, Outcome, Pieces, Source},
    store::{BlobRef, Blobs},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use gpux_types::NodeId;
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt as _};
use std::time::{Duration, Instant};
use tokio::{sync::watch, time::timeout};

/// A blob of less is not worth the words.
const LEAST: u64 = 2 << 20;
/// How long a peer may bring nothing, and how long a piece of its may take beside its time at the least rate.
const PEER_STALL: Duration = Duration::from_secs(5);
/// The least rate, in bytes for each millisecond.
const LEAST_RATE: u64 = 128;

impl Blobs {
    /// Brings what of the blob can be had from the sender and the peers that fetch it too.
    pub(super) async fn bring_together(
        &self,
        sender: NodeId,
        peers: &[NodeId],
        blob: BlobRef,
        progress: Option<&watch::Sender<u64>>,
    ) {
        if peers.is_empty() || blob.size < LEAST {
            return;
        }
        let me = self.connections.me();
        let mut pieces = Pieces::new(blob.hash, blob.size, me, peers, Instant::now());
        let mut coming = FuturesUnordered::new();
        loop {
            let until = match pieces.next(Instant::now()) {
                Next::Over => return,
                Next::Bring(order) => {
                    coming.push(self.bring_piece(sender, blob, order));
                    continue;
                }
                Next::Wait(until) => until.map(|until| until.saturating_duration_since(Instant::now())),
            };
            let done = match until {
                Some(until) => timeout(until, next_of(&mut coming)).await.ok(),
                None => Some(next_of(&mut coming).await),
            };
            if let Some((order, outcome, any)) = done {
                pieces.done(order, outcome, any, Instant::now());
                if let Some(progress) = progress {
                    progress.send_replace(pieces.bytes_here());
                }
            }
        }
    }

    /// One piece; what came of it, and whether any bytes did.
    async fn bring_piece(&self, sender: NodeId, blob: BlobRef, order: Order) -> (Order, Outcome, bool) {
        let (start, end) = order.bytes;
        let wanted = ChunkRanges::bytes(start..end);
        let ask = match order.source {
            Source::Sender => Try {
                peer: sender,
                wanted: wanted.clone(),
                stall: self.stall,
                limit: None,
            },
            Source::Peer(peer) => Try {
                peer,
                wanted: wanted.clone(),
                stall: PEER_STALL,
                limit: Some(PEER_STALL + Duration::from_millis(end.saturating_sub(start) / LEAST_RATE)),
            },
        };
        let (store, mut received) = (self.store.now(), 0);
        let tried = self.fetch_from(&store, ask, blob, (None, &mut received)).await;
        let outcome = match tried {
            Ok(()) => match self.here(blob).await {
                Ok(here) if (&wanted - &here).is_empty() => Outcome::Here,
                _ => Outcome::NotYet,
            },
            Err(error) => {
                tracing::debug!(blob = %blob.hash, piece = order.piece, source = ?order.source, %error, "a piece did not come");
                if matches!(error, PeerFetchError::Write(_)) {
                    self.store.mend(&store).await;
                }
                outcome_of(&error)
            }
        };
        (order, outcome, received > 0)
    }
}

const fn outcome_of(error: &PeerFetchError) -> Outcome {
    match error {
        PeerFetchError::Missing => Outcome::NotYet,
        PeerFetchError::Refused => Outcome::Refused,
        PeerFetchError::OtherSize { .. } | PeerFetchError::Corrupt(_) => Outcome::Lied,
        PeerFetchError::Connect(_)
        | PeerFetchError::Busy
        | PeerFetchError::Stalled(_)
        | PeerFetchError::Cut(_)
        | PeerFetchError::Write(_) => Outcome::Failed,
    }
}

/// The next that is done; for ever where none comes.
async fn next_of<F: Future>(coming: &mut FuturesUnordered<F>) -> F::Output {
    match coming.next().await {
        Some(done) => done,
        None => std::future::pending().await,
    }
}

//! Giving blobs to peers: only what a lease of theirs names, refused before a byte of it is read.

use crate::{
    blobs::{grants::Grants, open::OpenStore, streams::Sending},
    stats::{Counters, bump},
};
use gpux_types::{BlobHash, NodeId};
use iroh::endpoint::{RecvStream, SendStream};
use iroh_blobs::{
    protocol::{ChunkRangesSeq, ERR_LIMIT, ERR_PERMISSION, GetRequest, Request},
    provider::{StreamPair, events::EventSender, handle_get},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// How long a peer may take to send its request, and to wait for a place among the transfers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers streams of the blob protocol. One for all connections.
#[derive(Debug)]
pub(crate) struct BlobServer {
    store: Arc<OpenStore>,
    grants: Arc<Grants>,
    counters: Arc<Counters>,
    uploads: Semaphore,
}

impl BlobServer {
    pub(crate) fn new(store: Arc<OpenStore>, grants: Arc<Grants>, counters: Arc<Counters>, uploads: usize) -> Self {
        let uploads = Semaphore::new(uploads.min(Semaphore::MAX_PERMITS));
        Self {
            store,
            grants,
            counters,
            uploads,
        }
    }

    /// Answers one stream.
    pub(crate) async fn serve(&self, peer: NodeId, mut send: SendStream, mut recv: RecvStream) {
        let request = match timeout(REQUEST_TIMEOUT, Request::read_async(&mut recv)).await {
            Ok(Ok((request, _))) => request,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a blob request could not be read");
                send.reset(ERR_PERMISSION).ok();
                return;
            }
            Err(_) => return,
        };
        let Some((hash, request)) = self.allowed(peer, request) else {
            bump(&self.counters.blobs_refused);
            send.reset(ERR_PERMISSION).ok();
            return;
        };
        let Ok(Ok(_place)) = timeout(REQUEST_TIMEOUT, self.uploads.acquire()).await else {
            send.reset(ERR_LIMIT).ok();
            return;
        };
        bump(&self.counters.blobs_served);
        let send = Sending::new(send, self.counters.clone());
        let pair = StreamPair::new(0, recv, send, EventSender::DEFAULT);
        let store = self.store.now();
        // Either arm may be dropped: what the peer has is verified chunk by chunk, the rest it asks for again.
        tokio::select! {
            result = handle_get(pair, (**store).clone(), request) => {
                if let Err(error) = result {
                    tracing::debug!(%peer, blob = %hash, %error, "a blob transfer ended early");
                    self.store.mend(&store).await;
                }
            }
            () = self.grants.until_revoked(peer, hash) => {
                tracing::debug!(%peer, blob = %hash, "a blob transfer was revoked");
            }
        }
    }

    /// The request, when it is for ranges of one blob that a lease of `peer` names. Blobs that list others are not
    /// followed: their children would pass unasked.
    fn allowed(&self, peer: NodeId, request: Request) -> Option<(BlobHash, GetRequest)> {
        let Request::Get(request) = request else { return None };
        let hash = BlobHash(*request.hash.as_bytes());
        (is_of_one_blob(&request.ranges) && self.grants.allows(peer, hash)).then_some((hash, request))
    }
}

fn is_of_one_blob(ranges: &ChunkRangesSeq) -> bool {
    ranges.is_blob()
}

//! Giving blobs to peers: only what a lease of theirs names, refused before a byte of it is read.
//!
//! What another node sent here is given to the nodes of that node's jobs alone, and a piece of it only when all of the piece is here.

use crate::{
    blobs::{
        grants::{Allowed, Grants},
        store::Blobs,
        streams::Sending,
    },
    stats::{Counters, bump},
};
use gpux_types::{BlobHash, NodeId};
use iroh::endpoint::{RecvStream, SendStream, VarInt};
use iroh_blobs::{
    protocol::{ERR_INTERNAL, ERR_LIMIT, ERR_PERMISSION, GetRequest, Request},
    provider::{StreamPair, events::EventSender, handle_get},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// How long a peer may take to send its request, and to wait for a place among the transfers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What a peer hears that may have what its renter sends here, while it is not here: whether another's is here is not told.
const NOT_YET: VarInt = ERR_INTERNAL;

/// Answers streams of the blob protocol. One for all connections.
#[derive(Debug)]
pub(crate) struct BlobServer {
    blobs: Arc<Blobs>,
    grants: Arc<Grants>,
    counters: Arc<Counters>,
    uploads: Semaphore,
}

impl BlobServer {
    pub(crate) fn new(blobs: Arc<Blobs>, grants: Arc<Grants>, counters: Arc<Counters>, uploads: usize) -> Self {
        let uploads = Semaphore::new(uploads.min(Semaphore::MAX_PERMITS));
        Self {
            blobs,
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
        let (hash, request) = match self.allowed(peer, request).await {
            Ok(allowed) => allowed,
            Err(code) => {
                if code == ERR_PERMISSION {
                    bump(&self.counters.blobs_refused);
                }
                send.reset(code).ok();
                return;
            }
        };
        let Ok(Ok(_place)) = timeout(REQUEST_TIMEOUT, self.uploads.acquire()).await else {
            send.reset(ERR_LIMIT).ok();
            return;
        };
        bump(&self.counters.blobs_served);
        let send = Sending::new(send, self.counters.clone());
        let pair = StreamPair::new(0, recv, send, EventSender::DEFAULT);
        let store = self.blobs.store.now();
        // Either arm may be dropped: what the peer has is verified chunk by chunk, the rest it asks for again.
        tokio::select! {
            result = handle_get(pair, (**store).clone(), request) => {
                if let Err(error) = result {
                    tracing::debug!(%peer, blob = %hash, %error, "a blob transfer ended early");
                    self.blobs.store.mend(&store).await;
                }
            }
            () = self.grants.until_revoked(peer, hash) => {
                tracing::debug!(%peer, blob = %hash, "a blob transfer was revoked");
            }
        }
    }

    /// The request, when it is for ranges of one blob that a lease of `peer` names, or what it is refused with. Blobs that list
    /// others are not followed: their children would pass unasked.
    async fn allowed(&self, peer: NodeId, request: Request) -> Result<(BlobHash, GetRequest), VarInt> {
        let Request::Get(request) = request else {
            return Err(ERR_PERMISSION);
        };
        let hash = BlobHash(*request.hash.as_bytes());
        if !request.ranges.is_blob() {
            return Err(ERR_PERMISSION);
        }
        match self.grants.allows(peer, hash) {
            Allowed::No => Err(ERR_PERMISSION),
            Allowed::Yes => Ok((hash, request)),
            Allowed::Of(nodes) => {
                let senders = &self.blobs.senders;
                let is_its = |of: &NodeId| senders.has_shown(*of, hash) || senders.is_sole(*of, hash);
                if !nodes.iter().any(is_its) {
                    return Err(NOT_YET);
                }
                let here = self.blobs.ranges(hash).await.map_err(|_| NOT_YET)?;
                let wanted = request.ranges.iter().next().cloned().unwrap_or_default();
                if (&wanted - &here).is_empty() {
                    Ok((hash, request))
                } else {
                    Err(NOT_YET)
                }
            }
        }
    }
}

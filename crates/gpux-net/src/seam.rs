//! The seam between the daemon and whatever carries its words, offers and files to other nodes.
//!
//! The daemon codes against [`PeerNet`] alone. [`Net`] is it for real; a simulated network, with many nodes in one process
//! and faults by seed, is it for tests. The trait says what is done; what each call promises stands at [`Net`].

use crate::{
    blobs::{AddMode, BlobRef, ExportMode, FetchError, Givers, Keeper, StoreError},
    calls::CallError,
    net::Net,
    offers::{HeardOffer, OfferFeed, PublishOfferError},
    stats::NetStats,
    ticket::PeerTicket,
};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use gpux_proto::{LogsRequest, Request, Response, SignedOffer};
use gpux_types::{BlobHash, LeaseId, NodeId, UnixSeconds};
use std::{fmt, path::Path};
use tokio::sync::watch;

/// A log as it comes; an error is the last item.
pub type LogStream = BoxStream<'static, Result<Vec<u8>, CallError>>;

/// What the daemon needs of other nodes, and of its own store of blobs.
#[async_trait]
pub trait PeerNet: fmt::Debug + Send + Sync + 'static {
    /// This node's id.
    fn node_id(&self) -> NodeId;
    /// How to reach this node now.
    fn ticket(&self) -> PeerTicket;
    /// Ends everything. Further calls fail.
    async fn shutdown(&self);

    /// Learns how to reach a peer.
    fn remember(&self, peer: PeerTicket);
    /// Tells of nodes that may be tried while there is no neighbour.
    fn hint(&self, peers: Vec<PeerTicket>);
    /// Peers to start from the next time.
    fn known_peers(&self) -> Vec<PeerTicket>;
    /// The nodes that this node gossips with now.
    fn neighbours(&self) -> Vec<NodeId>;

    /// Announces `offer` until another one takes its place or it is withdrawn.
    ///
    /// # Errors
    /// When others would refuse it.
    fn publish_offer(&self, offer: SignedOffer) -> Result<(), PublishOfferError>;
    /// Tells the network that this node sells no more.
    fn withdraw_offer(&self);
    /// The offers of other nodes that hold now.
    fn live_offers(&self) -> Vec<HeardOffer>;
    /// What becomes of other nodes' offers from now on.
    fn offers(&self) -> OfferFeed;

    /// Calls `peer` and waits for its answer.
    ///
    /// # Errors
    /// When the peer cannot be reached, does not answer in time, or refuses.
    async fn call(&self, peer: NodeId, request: &Request) -> Result<Response, CallError>;
    /// The log that `request` asks `peer` for.
    ///
    /// # Errors
    /// When the peer cannot be reached.
    async fn open_logs(&self, peer: NodeId, request: &LogsRequest) -> Result<LogStream, CallError>;

    /// Takes a file into the blob store and keeps it for `keeper`.
    ///
    /// # Errors
    /// When it cannot be read or stored.
    async fn add_file(&self, path: &Path, mode: AddMode, keeper: Keeper) -> Result<BlobRef, StoreError>;
    /// Takes bytes into the blob store and keeps them for `keeper`.
    ///
    /// # Errors
    /// When they cannot be stored.
    async fn add_bytes(&self, bytes: Vec<u8>, keeper: Keeper) -> Result<BlobRef, StoreError>;
    /// The blob, when it is here as a whole.
    ///
    /// # Errors
    /// When the store fails.
    async fn find(&self, hash: BlobHash) -> Result<Option<BlobRef>, StoreError>;
    /// Keeps a blob for `keeper` too.
    ///
    /// # Errors
    /// When the store fails.
    async fn keep(&self, hash: BlobHash, keeper: Keeper) -> Result<(), StoreError>;
    /// Ends what `keeper` keeps.
    ///
    /// # Errors
    /// When the store fails.
    async fn release(&self, keeper: Keeper) -> Result<(), StoreError>;
    /// Brings `blob` here from the first peer in `from` that has it, and keeps it for `keeper`.
    ///
    /// # Errors
    /// When no peer gave all of it.
    async fn fetch(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError>;
    /// Brings `blob` here from its sender, which must have sent all of it once, or from those that it sends it to too, and keeps it
    /// for `keeper`.
    ///
    /// # Errors
    /// When it did not give all of it.
    async fn take(
        &self,
        from: Givers<'_>,
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError>;
    /// Keeps what of `blobs` was taken from `sender`, as used at `date`, for its next lease.
    ///
    /// # Errors
    /// When the store fails.
    async fn keep_sent(&self, sender: NodeId, blobs: &[BlobRef], date: UnixSeconds) -> Result<(), StoreError>;
    /// The bytes that are so kept, and those that were let go and are not deleted yet.
    fn cached(&self) -> (u64, u64);
    /// What went over the network since the start.
    fn stats(&self) -> NetStats;
    /// Writes a blob to a file.
    ///
    /// # Errors
    /// When the blob is not here, or the file cannot be written.
    async fn export(&self, hash: BlobHash, path: &Path, mode: ExportMode) -> Result<(), StoreError>;
    /// All bytes of a blob of at most `max` bytes.
    ///
    /// # Errors
    /// When it is not here, or larger.
    async fn read_bytes(&self, hash: BlobHash, max: u64) -> Result<Vec<u8>, StoreError>;
    /// Lets `peer` fetch `blobs` under `lease`, besides what it may already.
    fn allow(&self, lease: LeaseId, peer: NodeId, blobs: Vec<BlobHash>);
    /// Lets `peers` fetch `blobs` under `lease` as far as `of` sent them here.
    fn share(&self, lease: LeaseId, peers: &[NodeId], blobs: &[BlobHash], of: NodeId);
    /// Ends everything allowed under `lease`.
    fn revoke(&self, lease: LeaseId);
}

#[async_trait]
impl PeerNet for Net {
    fn node_id(&self) -> NodeId {
        Self::node_id(self)
    }

    fn ticket(&self) -> PeerTicket {
        Self::ticket(self)
    }

    async fn shutdown(&self) {
        Self::shutdown(self).await;
    }

    fn remember(&self, peer: PeerTicket) {
        Self::remember(self, peer);
    }

    fn hint(&self, peers: Vec<PeerTicket>) {
        Self::hint(self, peers);
    }

    fn known_peers(&self) -> Vec<PeerTicket> {
        Self::known_peers(self)
    }

    fn neighbours(&self) -> Vec<NodeId> {
        Self::neighbours(self)
    }

    fn publish_offer(&self, offer: SignedOffer) -> Result<(), PublishOfferError> {
        Self::publish_offer(self, offer)
    }

    fn withdraw_offer(&self) {
        Self::withdraw_offer(self);
    }

    fn live_offers(&self) -> Vec<HeardOffer> {
        Self::live_offers(self)
    }

    fn offers(&self) -> OfferFeed {
        Self::offers(self)
    }

    async fn call(&self, peer: NodeId, request: &Request) -> Result<Response, CallError> {
        Self::call(self, peer, request).await
    }

    async fn open_logs(&self, peer: NodeId, request: &LogsRequest) -> Result<LogStream, CallError> {
        Self::open_logs(self, peer, request).await
    }

    async fn add_file(&self, path: &Path, mode: AddMode, keeper: Keeper) -> Result<BlobRef, StoreError> {
        Self::add_file(self, path, mode, keeper).await
    }

    async fn add_bytes(&self, bytes: Vec<u8>, keeper: Keeper) -> Result<BlobRef, StoreError> {
        Self::add_bytes(self, bytes, keeper).await
    }

    async fn find(&self, hash: BlobHash) -> Result<Option<BlobRef>, StoreError> {
        Self::find(self, hash).await
    }

    async fn keep(&self, hash: BlobHash, keeper: Keeper) -> Result<(), StoreError> {
        Self::keep(self, hash, keeper).await
    }

    async fn release(&self, keeper: Keeper) -> Result<(), StoreError> {
        Self::release(self, keeper).await
    }

    async fn fetch(
        &self,
        from: &[NodeId],
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        Self::fetch(self, from, blob, keeper, progress).await
    }

    async fn take(
        &self,
        from: Givers<'_>,
        blob: BlobRef,
        keeper: Keeper,
        progress: Option<&watch::Sender<u64>>,
    ) -> Result<(), FetchError> {
        Self::take(self, from, blob, keeper, progress).await
    }

    async fn keep_sent(&self, sender: NodeId, blobs: &[BlobRef], date: UnixSeconds) -> Result<(), StoreError> {
        Self::keep_sent(self, sender, blobs, date).await
    }

    fn cached(&self) -> (u64, u64) {
        Self::cached(self)
    }

    fn stats(&self) -> NetStats {
        Self::stats(self)
    }

    async fn export(&self, hash: BlobHash, path: &Path, mode: ExportMode) -> Result<(), StoreError> {
        Self::export(self, hash, path, mode).await
    }

    async fn read_bytes(&self, hash: BlobHash, max: u64) -> Result<Vec<u8>, StoreError> {
        Self::read_bytes(self, hash, max).await
    }

    fn allow(&self, lease: LeaseId, peer: NodeId, blobs: Vec<BlobHash>) {
        Self::allow(self, lease, peer, blobs);
    }

    fn share(&self, lease: LeaseId, peers: &[NodeId], blobs: &[BlobHash], of: NodeId) {
        Self::share(self, lease, peers, blobs, of);
    }

    fn revoke(&self, lease: LeaseId) {
        Self::revoke(self, lease);
    }
}

//! Which peers may have which blobs, by the leases that name them.
//!
//! Invariant: what is not granted is refused. A mutex, not a task: every question is one look at a map.

use gpux_types::{BlobHash, LeaseId, NodeId};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

type ByLease = HashMap<LeaseId, HashSet<BlobHash>>;

/// The grants of this node, in memory only: the daemon grants again after a restart.
#[derive(Debug)]
pub(crate) struct Grants {
    by_peer: Mutex<HashMap<NodeId, ByLease>>,
    /// Changes with every revocation, so that running transfers ask again.
    revoked: watch::Sender<u64>,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self {
            by_peer: Mutex::default(),
            revoked: watch::Sender::new(0),
        }
    }

    /// Adds `blobs` to what `peer` may have under `lease`.
    pub(crate) fn allow(&self, lease: LeaseId, peer: NodeId, blobs: impl IntoIterator<Item = BlobHash>) {
        self.lock()
            .entry(peer)
            .or_default()
            .entry(lease)
            .or_default()
            .extend(blobs);
    }

    /// Takes away everything granted under `lease`.
    pub(crate) fn revoke(&self, lease: LeaseId) {
        self.lock().retain(|_, leases| {
            leases.remove(&lease);
            !leases.is_empty()
        });
        self.revoked.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether some lease lets `peer` have `blob`.
    pub(crate) fn allows(&self, peer: NodeId, blob: BlobHash) -> bool {
        let by_peer = self.lock();
        by_peer
            .get(&peer)
            .is_some_and(|leases| leases.values().any(|blobs| blobs.contains(&blob)))
    }

    /// Resolves when `peer` may not have `blob` any more.
    pub(crate) async fn until_revoked(&self, peer: NodeId, blob: BlobHash) {
        let mut revoked = self.revoked.subscribe();
        while self.allows(peer, blob) {
            if revoked.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, ByLease>> {
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_allowed_while_any_lease_of_the_peer_names_it() {
        let grants = Grants::new();
        let (peer, other, blob) = (NodeId([1; 32]), NodeId([2; 32]), BlobHash([3; 32]));
        let (first, second) = (LeaseId([4; 32]), LeaseId([5; 32]));
        assert!(!grants.allows(peer, blob));
        grants.allow(first, peer, [blob]);
        grants.allow(second, peer, [blob]);
        assert!(grants.allows(peer, blob) && !grants.allows(other, blob) && !grants.allows(peer, BlobHash([9; 32])));
        grants.revoke(first);
        assert!(grants.allows(peer, blob));
        grants.revoke(second);
        assert!(!grants.allows(peer, blob));
        assert!(grants.lock().is_empty(), "nothing is kept of a revoked lease");
    }
}

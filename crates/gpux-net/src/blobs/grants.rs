//! Which peers may have which blobs, by the leases that name them.
//!
//! Invariant: what is not granted is refused. A mutex, not a task: every question is one look at a map.

use gpux_types::{BlobHash, LeaseId, NodeId};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// The blobs of a lease, and whose they must be: of `None`, this node's own, so that it need not be asked who sent them.
type ByLease = HashMap<LeaseId, HashMap<BlobHash, Option<NodeId>>>;

/// Whether a peer may have a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// No lease names it.
    No,
    /// A lease of this node's does.
    Yes,
    /// It may have what one of these nodes sent.
    Of(Vec<NodeId>),
}

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

    /// Adds `blobs` to what `peer` may have under `lease`; with `of`, as far as that node sent them.
    pub(crate) fn allow(
        &self,
        lease: LeaseId,
        peer: NodeId,
        blobs: impl IntoIterator<Item = BlobHash>,
        of: Option<NodeId>,
    ) {
        let mut by_peer = self.lock();
        let known = by_peer.entry(peer).or_default().entry(lease).or_default();
        for blob in blobs {
            let whose = known.entry(blob).or_insert(of);
            *whose = whose.and(of);
        }
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
    pub(crate) fn allows(&self, peer: NodeId, blob: BlobHash) -> Allowed {
        let by_peer = self.lock();
        let leases = by_peer.get(&peer).into_iter().flat_map(HashMap::values);
        let mut of = Vec::new();
        for whose in leases.filter_map(|blobs| blobs.get(&blob)) {
            match whose {
                None => return Allowed::Yes,
                Some(node) => of.push(*node),
            }
        }
        if of.is_empty() { Allowed::No } else { Allowed::Of(of) }
    }

    /// Resolves when `peer` may not have `blob` any more.
    pub(crate) async fn until_revoked(&self, peer: NodeId, blob: BlobHash) {
        let mut revoked = self.revoked.subscribe();
        while self.allows(peer, blob) != Allowed::No {
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
        let allows = |peer, blob| grants.allows(peer, blob) == Allowed::Yes;
        assert!(!allows(peer, blob));
        grants.allow(first, peer, [blob], None);
        grants.allow(second, peer, [blob], None);
        assert!(allows(peer, blob) && !allows(other, blob) && !allows(peer, BlobHash([9; 32])));
        grants.revoke(first);
        assert!(allows(peer, blob));
        grants.revoke(second);
        assert_eq!(grants.allows(peer, blob), Allowed::No);
        assert!(grants.lock().is_empty(), "nothing is kept of a revoked lease");
    }

    #[test]
    fn what_others_sent_is_allowed_as_theirs_and_ones_own_without_a_question() {
        let grants = Grants::new();
        let (peer, blob) = (NodeId([1; 32]), BlobHash([3; 32]));
        let (alice, bob) = (NodeId([7; 32]), NodeId([8; 32]));
        grants.allow(LeaseId([4; 32]), peer, [blob], Some(alice));
        grants.allow(LeaseId([5; 32]), peer, [blob], Some(bob));
        let Allowed::Of(mut of) = grants.allows(peer, blob) else {
            panic!("of both")
        };
        of.sort_unstable();
        assert_eq!(of, [alice, bob]);
        grants.allow(LeaseId([5; 32]), peer, [blob], None);
        assert_eq!(grants.allows(peer, blob), Allowed::Yes);
        grants.revoke(LeaseId([5; 32]));
        assert_eq!(grants.allows(peer, blob), Allowed::Of(vec![alice]));
    }
}

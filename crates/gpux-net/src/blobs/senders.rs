//! Who showed that they have which blobs, and what stays here of them for their next leases.
//!
//! A hash is no secret: whoever knows one must not get the bytes from here, nor learn that they are here. So a blob that is here
//! counts as not here for a node that has not sent all of it once. Called for the inputs of leases; layers of images are everybody's.
//! What is kept stands in the names of the store's tags, so there is no second list that could differ.

use super::{
    error::StoreError,
    shelf::{Kept, Owned, Shelf},
    store::{BlobRef, Blobs},
};
use crate::{config::Limits, connections::Cause};
use futures_util::StreamExt as _;
use gpux_types::{BlobHash, NodeId, UnixSeconds};
use iroh_blobs::{Hash, HashAndFormat};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How the tags of what is kept begin; no keeper's do.
const PREFIX: &str = "sent/";
/// The most blobs of which it is known who sent them, kept or not. More are forgotten, and sent again.
const MAX_SHOWN: usize = 131_072;

/// What senders showed, and what is kept of it. A mutex, not a task: every question is one look at a map.
#[derive(Debug)]
pub(crate) struct Senders {
    known: Mutex<Known>,
    /// After how long a blob that nobody keeps is surely deleted.
    deleted_after: Duration,
    /// Held over a change of the shelf and of the tags that it means.
    placing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    shelf: Shelf,
    /// Who sent all of a blob once.
    shown: HashSet<Owned>,
    /// Of a blob that is not whole here, or was not a moment ago: who sent all that is here of it.
    sole: HashMap<BlobHash, NodeId>,
}

impl Senders {
    pub(crate) fn new(limits: &Limits) -> Self {
        let known = Known {
            shelf: Shelf::new(limits.cache_bytes, limits.cache_age),
            shown: HashSet::new(),
            sole: HashMap::new(),
        };
        Self {
            known: Mutex::new(known),
            // One collection may have begun just before.
            deleted_after: limits.collect_interval.saturating_mul(2),
            placing: tokio::sync::Mutex::default(),
        }
    }

    /// Whether `sender` sent all of the blob once.
    pub(crate) fn has_shown(&self, sender: NodeId, hash: BlobHash) -> bool {
        self.lock().has_shown(sender, hash)
    }

    /// Notes that `sender` sent all of the blob.
    pub(crate) fn note_shown(&self, sender: NodeId, hash: BlobHash) {
        let mut known = self.lock();
        known.sole.remove(&hash);
        if known.shown.len() >= MAX_SHOWN {
            known.shown.clear();
        }
        known.shown.insert((sender, hash));
    }

    /// Notes that all that is here of the blob, and all that comes until it is said otherwise, is of `sender`.
    pub(crate) fn begin(&self, sender: NodeId, hash: BlobHash) {
        let mut known = self.lock();
        if known.sole.len() >= MAX_SHOWN {
            known.sole.clear();
        }
        known.sole.insert(hash, sender);
    }

    /// Notes that bytes of the blob came from elsewhere.
    pub(crate) fn mixed(&self, hash: BlobHash) {
        self.lock().sole.remove(&hash);
    }

    /// Whether all that is here of the blob is of `sender`.
    pub(crate) fn is_sole(&self, sender: NodeId, hash: BlobHash) -> bool {
        self.lock().sole.get(&hash) == Some(&sender)
    }

    /// The bytes that are kept for senders, and those that were let go and are not deleted yet.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.lock().shelf.bytes(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn has_shown(&self, sender: NodeId, hash: BlobHash) -> bool {
        self.shown.contains(&(sender, hash)) || self.shelf.has(&(sender, hash))
    }
}

impl Blobs {
    /// Keeps what `sender` sent of `blobs` and there is room for, as used at `date`, and lets go what is old or used least.
    pub(crate) async fn keep_sent(
        &self,
        sender: NodeId,
        blobs: &[BlobRef],
        date: UnixSeconds,
    ) -> Result<(), StoreError> {
        let _placing = self.senders.placing.lock().await;
        let now = Instant::now();
        let moves = {
            let mut known = self.senders.lock();
            let sent = blobs.iter().filter(|blob| known.has_shown(sender, blob.hash));
            let sent: Vec<BlobRef> = sent.copied().collect();
            let times = (now, now + self.senders.deleted_after);
            known.shelf.place(sender, &sent, date, times)
        };
        // A crash in between leaves two tags of one blob, or one more blob: the next start puts that in order.
        for (owned, kept, before) in moves.kept {
            self.tag(owned, kept).await?;
            if let Some(before) = before {
                self.untag(owned, before).await?;
            }
        }
        for (owned, kept) in moves.gone {
            self.untag(owned, kept).await?;
        }
        Ok(())
    }

    /// Finds what an earlier daemon kept.
    pub(crate) async fn adopt_sent(&self) -> Result<(), StoreError> {
        let listed = self.store.run(|store| async move {
            let mut tags = store.tags().list_prefix(PREFIX).await?;
            let mut names = Vec::new();
            while let Some(tag) = tags.next().await {
                names.push(String::from_utf8_lossy(tag?.name.as_ref()).into_owned());
            }
            Ok::<_, Cause>(names)
        });
        let mut newest: HashMap<Owned, Kept> = HashMap::new();
        for name in listed.await.map_err(StoreError::Keep)? {
            let Some((owned, kept)) = read(&name) else {
                tracing::warn!(name, "a kept blob has a name that this version does not know");
                continue;
            };
            let before = newest.get(&owned).copied();
            let (stays, goes) = match before {
                Some(before) if before.used >= kept.used => (before, Some(kept)),
                before => (kept, before),
            };
            newest.insert(owned, stays);
            if let Some(goes) = goes {
                self.untag(owned, goes).await?;
            }
        }
        let mut known = self.senders.lock();
        for (owned, kept) in newest {
            known.shelf.adopt(owned, kept);
        }
        Ok(())
    }

    async fn tag(&self, owned: Owned, kept: Kept) -> Result<(), StoreError> {
        let (name, content) = (name(owned, kept), HashAndFormat::raw(Hash::from_bytes(owned.1.0)));
        let set = self.store.run(|store| {
            let name = name.clone();
            async move { store.tags().set(name, content).await }
        });
        set.await.map_err(|source| StoreError::Keep(source.into()))
    }

    async fn untag(&self, owned: Owned, kept: Kept) -> Result<(), StoreError> {
        let name = name(owned, kept);
        let deleted = self.store.run(|store| {
            let name = name.clone();
            async move { store.tags().delete(name).await }
        });
        let deleted = deleted.await.map(drop);
        deleted.map_err(|source| StoreError::Keep(source.into()))
    }
}

fn name((sender, hash): Owned, kept: Kept) -> String {
    format!("{PREFIX}{sender}/{hash}/{}/{}", kept.size, kept.used.0)
}

fn read(name: &str) -> Option<(Owned, Kept)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('/');
    let owned = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let kept = Kept {
        size: parts.next()?.parse().ok()?,
        used: UnixSeconds(parts.next()?.parse().ok()?),
    };
    parts.next().is_none().then_some((owned, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_from_its_name() {
        let owned = (NodeId([3; 32]), BlobHash([4; 32]));
        let kept = Kept {
            size: 5,
            used: UnixSeconds(6),
        };
        assert_eq!(read(&name(owned, kept)), Some((owned, kept)));
        assert_eq!(read("sent/x/y/1/2"), None);
        assert_eq!(read(&format!("{}/7", name(owned, kept))), None);
    }
}

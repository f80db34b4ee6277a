//! The blob store of this node: what is added, kept, read and given back to the file system.
//!
//! Invariant: a blob without a keeper is deleted at the next collection, one with a keeper never is.

use crate::{
    blobs::{error::StoreError, open::OpenStore, senders::Senders},
    config::Limits,
    connections::{Cause, Connections},
    stats::Counters,
};
use gpux_types::{BlobHash, JobId, LeaseId, NodeId};
use iroh_blobs::{
    BlobFormat, Hash, HashAndFormat,
    api::{
        TempTag,
        blobs::{AddPathOptions, BlobStatus, ExportOptions, ImportMode},
    },
};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Semaphore;

/// A blob: its BLAKE3 hash and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// The hash of its bytes.
    pub hash: BlobHash,
    /// How many bytes it has.
    pub size: u64,
}

/// Who gives a blob.
#[derive(Debug, Clone, Copy)]
pub struct Givers<'a> {
    /// Who sends it.
    pub sender: NodeId,
    /// Others that it sends it to too.
    pub peers: &'a [NodeId],
}

impl Givers<'_> {
    /// Who sends a blob to this node alone.
    #[must_use]
    pub const fn alone(sender: NodeId) -> Self {
        Self { sender, peers: &[] }
    }
}

/// Who keeps a blob here. Noted on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeper {
    /// A lease: inputs and outputs at the provider.
    Lease(LeaseId),
    /// A job: image layers, inputs and outputs at the renter.
    Job(JobId),
    /// This node, for its next lease: image layers.
    Cache,
}

/// How a file becomes a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddMode {
    /// Its bytes are copied (as a reflink where the file system can).
    Copy,
    /// The store reads it where it is. It must not change while the blob is kept; if it does, peers notice and refuse.
    Reference,
}

/// How a blob becomes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMode {
    /// Its bytes are copied (as a reflink where the file system can).
    Copy,
    /// The store's own file is moved there and read there from then on; small blobs are copied all the same.
    Move,
}

/// The store and what transfers into it need.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub(crate) store: Arc<OpenStore>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) downloads: Semaphore,
    pub(crate) stall: Duration,
    /// Held by the one transfer of a blob that runs; others wait and then find it here.
    pub(crate) fetching: Mutex<HashMap<BlobHash, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) senders: Arc<Senders>,
    pub(crate) counters: Arc<Counters>,
}

impl fmt::Display for Keeper {
    /// The prefix of the keeper's tags, complete: no keeper's text begins another's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(lease) => write!(f, "lease/{lease}/"),
            Self::Job(job) => write!(f, "job/{job}/"),
            Self::Cache => f.write_str("cache/"),
        }
    }
}

impl Blobs {
    pub(crate) fn new(
        store: OpenStore,
        connections: Arc<Connections>,
        counters: Arc<Counters>,
        limits: &Limits,
    ) -> Self {
        Self {
            store: Arc::new(store),
            connections,
            downloads: Semaphore::new(limits.blob_downloads.clamp(1, Semaphore::MAX_PERMITS)),
            stall: limits.blob_stall,
            fetching: Mutex::default(),
            senders: Arc::new(Senders::new(limits)),
            counters,
        }
    }

    /// Writes everything down and closes the store.
    pub(crate) async fn close(&self) {
        self.store.close().await;
    }

    /// Takes a file in and keeps it.
    pub(crate) async fn add_file(&self, path: &Path, mode: AddMode, keeper: Keeper) -> Result<BlobRef, StoreError> {
        let path = absolute(path)?;
        let mode = match mode {
            AddMode::Copy => ImportMode::Copy,
            AddMode::Reference => ImportMode::TryReference,
        };
        let added = self.store.run(|store| {
            let options = AddPathOptions {
                path: path.clone(),
                format: BlobFormat::Raw,
                mode,
            };
            async move { Ok::<_, Cause>(store.blobs().add_path_with_opts(options).temp_tag().await?) }
        });
        let kept = self.keep_added(added.await, keeper).await;
        kept.map_err(|source| StoreError::AddFile { path, source })
    }

    /// Takes bytes in and keeps them.
    pub(crate) async fn add_bytes(&self, bytes: Vec<u8>, keeper: Keeper) -> Result<BlobRef, StoreError> {
        let len = bytes.len();
        let added = self.store.run(|store| {
            let bytes = bytes.clone();
            async move { Ok::<_, Cause>(store.blobs().add_bytes(bytes).temp_tag().await?) }
        });
        let kept = self.keep_added(added.await, keeper).await;
        kept.map_err(|source| StoreError::AddBytes { len, source })
    }

    /// The temporary tag keeps the blob until the keeper's own is written.
    async fn keep_added(&self, added: Result<TempTag, Cause>, keeper: Keeper) -> Result<BlobRef, Cause> {
        let added = added?;
        let hash = BlobHash(*added.hash().as_bytes());
        self.senders.mixed(hash);
        self.keep(hash, keeper).await?;
        self.find(hash).await?.ok_or_else(|| StoreError::Missing(hash).into())
    }

    /// The blob, when it is here as a whole.
    pub(crate) async fn find(&self, hash: BlobHash) -> Result<Option<BlobRef>, StoreError> {
        let status = self
            .store
            .run(|store| async move { store.blobs().status(Hash::from_bytes(hash.0)).await });
        match status.await.map_err(|source| StoreError::Status {
            hash,
            source: source.into(),
        })? {
            BlobStatus::Complete { size } => Ok(Some(BlobRef { hash, size })),
            BlobStatus::NotFound | BlobStatus::Partial { .. } => Ok(None),
        }
    }

    /// Notes that `keeper` keeps `hash`, whether it is here already or not.
    pub(crate) async fn keep(&self, hash: BlobHash, keeper: Keeper) -> Result<(), StoreError> {
        let tag = format!("{keeper}{hash}");
        let content = HashAndFormat::raw(Hash::from_bytes(hash.0));
        let kept = self.store.run(|store| {
            let tag = tag.clone();
            async move { store.tags().set(tag, content).await }
        });
        kept.await.map_err(|source| StoreError::Keep(source.into()))
    }

    /// Forgets everything that `keeper` keeps.
    pub(crate) async fn release(&self, keeper: Keeper) -> Result<(), StoreError> {
        let deleted = self
            .store
            .run(|store| async move { store.tags().delete_prefix(keeper.to_string()).await });
        deleted
            .await
            .map(|_| ())
            .map_err(|source| StoreError::Keep(source.into()))
    }

    /// Forgets that `keeper` keeps `hash`.
    pub(crate) async fn release_one(&self, hash: BlobHash, keeper: Keeper) -> Result<(), StoreError> {
        let deleted = self
            .store
            .run(|store| async move { store.tags().delete(format!("{keeper}{hash}")).await });
        deleted
            .await
            .map(|_| ())
            .map_err(|source| StoreError::Keep(source.into()))
    }

    /// Writes the blob to a file.
    pub(crate) async fn export(&self, hash: BlobHash, path: &Path, mode: ExportMode) -> Result<(), StoreError> {
        let path = absolute(path)?;
        self.find(hash).await?.ok_or(StoreError::Missing(hash))?;
        let mode = match mode {
            ExportMode::Copy => iroh_blobs::api::blobs::ExportMode::Copy,
            ExportMode::Move => iroh_blobs::api::blobs::ExportMode::TryReference,
        };
        let exported = self.store.run(|store| {
            let options = ExportOptions {
                hash: Hash::from_bytes(hash.0),
                mode,
                target: path.clone(),
            };
            async move { store.blobs().export_with_opts(options).finish().await }
        });
        exported.await.map(|_| ()).map_err(|source| StoreError::Export {
            hash,
            path,
            source: source.into(),
        })
    }

    /// All bytes of a blob of at most `max` bytes.
    pub(crate) async fn read(&self, hash: BlobHash, max: u64) -> Result<Vec<u8>, StoreError> {
        let blob = self.find(hash).await?.ok_or(StoreError::Missing(hash))?;
        if blob.size > max {
            return Err(StoreError::TooLarge {
                hash,
                size: blob.size,
                limit: max,
            });
        }
        let bytes = self
            .store
            .run(|store| async move { store.blobs().get_bytes(Hash::from_bytes(hash.0)).await });
        Ok(bytes
            .await
            .map_err(|source| StoreError::Read {
                hash,
                source: source.into(),
            })?
            .to_vec())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(StoreError::NotAbsolute(path.to_owned()))
    }
}

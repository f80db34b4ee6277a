//! The store of unpacked layers of one daemon.
//!
//! ```text
//!   ROOT/                0700
//!   ├── .lock            held while the daemon lives
//!   ├── .partial/        layers being unpacked or removed; emptied at start
//!   └── <hex of blob>/   a whole layer: fs/, layer.json, and `earned` once paid work used it
//! ```
//!
//! Layers are asked for through a [`LayerHold`]. Those that nobody uses any more stay, so that an image's next lease starts warm,
//! until the disk is short or they turn out to be those of a lease that was never paid for (`removal.rs`).

use super::feed::{Feed, FeedError};
use super::hold::{Held, LayerHold};
use super::limits::UnpackLimits;
use super::partial::{self, PartialLayer, RECORD};
use super::removal;
use super::report::UnpackTask;
use crate::images::{Digest, LayerDescriptor};
use crate::mounts::UidRange;
use gpux_types::ByteSize;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The version of `layer.json`. A record of another version is removed with its layer, which is then unpacked again.
const RECORD_VERSION: u32 = 1;

/// How much a layer is taken to unpack to before it is known: four times its compressed size, as images rarely exceed, and 64 MiB.
const EXPANSION: u64 = 4;
const EXPANSION_FLOOR: u64 = 64 << 20;

/// Free space that unpacking leaves alone: what the daemon's own state and logs need while the renter is told.
const KEEP_FREE: ByteSize = ByteSize(512 << 20);

/// What is known about a layer on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerRecord {
    version: u32,
    pub(super) digest: Digest,
    diff_id: Digest,
    store_first: u32,
    entries: u64,
    pub(super) bytes: u64,
    skipped_devices: u64,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Another process has it open.
    #[error("opening the layer store {root}: another process uses it")]
    InUse {
        /// Its folder.
        root: PathBuf,
    },
    /// The file system refused.
    #[error("opening the layer store {root}")]
    Io {
        /// Its folder.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a layer is not there.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The disk has no room.
    #[error("unpacking the layer {digest}: it may take {needed}, and {free} are free below {root}")]
    NoSpace {
        /// The layer's blob.
        digest: Digest,
        /// What it may take.
        needed: ByteSize,
        /// What is free and not promised to other layers.
        free: ByteSize,
        /// The store's folder.
        root: PathBuf,
    },
    /// The child did not unpack it.
    #[error("unpacking the layer {digest}")]
    Feed {
        /// The layer's blob.
        digest: Digest,
        /// Why.
        source: Box<FeedError>,
    },
    /// The layer is there, unpacked from the same blob, and the image's configuration names another archive.
    #[error("using the layer {digest}: it unpacks to {got}, the image's configuration names {expected}")]
    DiffId {
        /// The layer's blob.
        digest: Digest,
        /// What the configuration names.
        expected: Digest,
        /// What the blob unpacks to.
        got: Digest,
    },
    /// The store's folder could not be changed.
    #[error("storing the layer {digest} below {root}")]
    Store {
        /// The layer's blob.
        digest: Digest,
        /// The store's folder.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The unpacked layers of one daemon. Cheap to clone; clones share the store.
#[derive(Debug, Clone)]
pub struct LayerStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    /// Where the runtime's leases are, whose records say which layers they use. Where it is not known, nothing is ever removed.
    pub(super) leases: Option<PathBuf>,
    /// What is asked for by those that have no lease in the runtime yet. A plain lock, held for as long as it takes to look through
    /// the store and to rename what goes.
    pub(super) held: Mutex<Held>,
    program: PathBuf,
    ids: UidRange,
    partial_count: AtomicU64,
    /// Bytes promised to layers that are being unpacked. A plain lock, never held while waiting: a task would only add a channel.
    promised: Mutex<u64>,
    /// One lock for each layer that somebody asked for, so that a layer is unpacked once however many ask at once.
    asked: Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    _lock: File,
}

impl LayerStore {
    /// Opens or makes the store in `root`, and removes what a crash left half-done and what belongs to another range of ids.
    ///
    /// `program` is the binary that answers to the hidden verbs. Who uses the layers is not known: none is ever removed.
    ///
    /// # Errors
    /// When another process has it open, or the file system refuses.
    pub fn open(root: &Path, program: &Path, ids: UidRange) -> Result<Self, OpenStoreError> {
        Self::open_for(root, program, ids, None)
    }

    /// The same, for the runtime whose leases are below `leases`.
    pub(crate) fn open_for(
        root: &Path,
        program: &Path,
        ids: UidRange,
        leases: Option<PathBuf>,
    ) -> Result<Self, OpenStoreError> {
        let failed = |source| OpenStoreError::Io {
            root: root.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(failed)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let root = fs::canonicalize(root).map_err(failed)?;
        let lock = partial::lock_exclusively(&root.join(".lock")).map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                OpenStoreError::InUse { root: root.clone() }
            } else {
                failed(source)
            }
        })?;
        remove_if_there(&root.join(".partial")).map_err(failed)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(root.join(".partial"))
            .map_err(failed)?;
        let store = Self {
            inner: Arc::new(Inner {
                root,
                leases,
                held: Mutex::new(Held::new()),
                program: program.to_owned(),
                ids,
                partial_count: AtomicU64::new(0),
                promised: Mutex::new(0),
                asked: Mutex::new(BTreeMap::new()),
                _lock: lock,
            }),
        };
        store.inner.remove_strangers().map_err(failed)?;
        Ok(store)
    }

    /// What finds layers, and keeps those that it found.
    #[must_use]
    pub fn hold(&self) -> LayerHold {
        LayerHold::new(Arc::clone(&self.inner))
    }

    /// What could be had by removing every layer that nobody uses.
    ///
    /// # Errors
    /// When it cannot be told who uses them, or the file system refuses.
    pub async fn removable(&self) -> io::Result<ByteSize> {
        self.blocking(|inner| inner.removable().map(ByteSize)).await
    }

    /// Removes layers that nobody uses until `wanted` bytes more are free: first those that no paid work ever used, then those that
    /// were not asked for the longest. Where all of them would not do, none goes. Answers with those that went.
    ///
    /// # Errors
    /// As [`removable`](Self::removable); what was removed before stays removed.
    pub async fn make_room(&self, wanted: ByteSize) -> io::Result<Vec<Digest>> {
        self.blocking(move |inner| inner.make_room(wanted.0)).await
    }

    /// Removes the layers of a lease that was never paid for, but for those that somebody uses or paid work used before. One that is
    /// still being unpacked, though nobody waits for it any more, is waited for.
    ///
    /// # Errors
    /// As [`make_room`](Self::make_room).
    pub async fn remove_unpaid(&self, layers: BTreeSet<Digest>) -> io::Result<Vec<Digest>> {
        for layer in &layers {
            drop(self.inner.turn(*layer).lock().await);
        }
        self.blocking(move |inner| inner.remove_unpaid(&layers)).await
    }

    /// Says that paid work, or the daemon's owner, used these layers: they stay warm for as long as there is room.
    ///
    /// # Errors
    /// When the file system refuses.
    pub async fn note_earned(&self, layers: BTreeSet<Digest>) -> io::Result<()> {
        self.blocking(move |inner| inner.note_earned(&layers)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(io::Error::other)?
    }
}

/// Tells the unpacking thread that nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One unpacking, on its own thread.
struct UnpackJob {
    /// Kept until the thread is done, however early the one who asked gave up.
    _turn: tokio::sync::OwnedMutexGuard<()>,
    inner: Arc<Inner>,
    blob: PathBuf,
    layer: LayerDescriptor,
    limits: UnpackLimits,
    cancel: Arc<AtomicBool>,
}

impl UnpackJob {
    fn run(&self) -> Result<PathBuf, UnpackError> {
        let digest = self.layer.digest;
        let failed = self.inner.failed(digest);
        let destination = self.inner.folder(digest);
        if let Some(record) = self.inner.record(&destination).map_err(&failed)? {
            if record.diff_id != self.layer.diff_id {
                return Err(UnpackError::DiffId {
                    digest,
                    expected: self.layer.diff_id,
                    got: record.diff_id,
                });
            }
            touch(&destination.join(RECORD)).map_err(&failed)?;
            return Ok(self.inner.files(digest));
        }
        let _promise = self.inner.promise(&self.layer, &self.limits)?;
        let partial = PartialLayer::create(self.inner.next_partial(digest), self.inner.ids.first).map_err(&failed)?;
        let task = UnpackTask {
            target: partial.files(),
            store_first: self.inner.ids.first,
            compression: self.layer.compression,
            diff_id: self.layer.diff_id,
            limits: self.limits,
        };
        let feed = Feed {
            program: &self.inner.program,
            blob: &self.blob,
            layer: &self.layer,
            cancel: &self.cancel,
            keep_free: KEEP_FREE.0,
        };
        let report = feed.run(&task).map_err(|error| UnpackError::Feed {
            digest,
            source: Box::new(error),
        })?;
        partial.mark_opaque(&report).map_err(&failed)?;
        let record = LayerRecord {
            version: RECORD_VERSION,
            digest,
            diff_id: self.layer.diff_id,
            store_first: self.inner.ids.first,
            entries: report.entries,
            bytes: report.bytes,
            skipped_devices: report.skipped_devices,
        };
        partial.publish(&destination, &record).map_err(&failed)?;
        Ok(self.inner.files(digest))
    }
}

impl Inner {
    pub(super) fn get(&self, layer: &LayerDescriptor) -> Option<PathBuf> {
        let folder = self.folder(layer.digest);
        let record = self.record(&folder).ok().flatten()?;
        (record.diff_id == layer.diff_id && touch(&folder.join(RECORD)).is_ok()).then(|| self.files(layer.digest))
    }

    pub(super) async fn ensure_unpacked(
        self: Arc<Self>,
        blob: &Path,
        layer: &LayerDescriptor,
        limits: &UnpackLimits,
    ) -> Result<PathBuf, UnpackError> {
        let job = UnpackJob {
            _turn: self.turn(layer.digest).lock_owned().await,
            inner: Arc::clone(&self),
            blob: blob.to_owned(),
            layer: layer.clone(),
            limits: *limits,
            cancel: Arc::new(AtomicBool::new(false)),
        };
        let _cancel = CancelOnDrop(Arc::clone(&job.cancel));
        let unpacked = tokio::task::spawn_blocking(move || job.run()).await;
        unpacked.unwrap_or_else(|error| Err(self.failed(layer.digest)(io::Error::other(error))))
    }

    fn failed(&self, digest: Digest) -> impl Fn(io::Error) -> UnpackError {
        move |source| UnpackError::Store {
            digest,
            root: self.root.clone(),
            source,
        }
    }

    pub(super) fn next_partial(&self, digest: Digest) -> PathBuf {
        let count = self.partial_count.fetch_add(1, Ordering::Relaxed);
        self.root.join(".partial").join(format!("{}.{count}", digest.hex()))
    }

    /// The lock of a layer; locks that nobody holds are forgotten on the way.
    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(asked.entry(digest).or_default())
    }

    /// The record of a whole layer of this store's ids.
    pub(super) fn record(&self, folder: &Path) -> io::Result<Option<LayerRecord>> {
        let text = match fs::read(folder.join(RECORD)) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let record = serde_json::from_slice::<LayerRecord>(&text).ok();
        Ok(record.filter(|record| {
            record.version == RECORD_VERSION
                && record.store_first == self.ids.first
                && folder
                    .file_name()
                    .is_some_and(|name| name == record.digest.hex().as_str())
        }))
    }

    /// Holds space for a layer until the promise is dropped; layers that nobody uses make room for it.
    fn promise(&self, layer: &LayerDescriptor, limits: &UnpackLimits) -> Result<Promise<'_>, UnpackError> {
        let failed = self.failed(layer.digest);
        let guess = layer.size.saturating_mul(EXPANSION).saturating_add(EXPANSION_FLOOR);
        let needed = guess.min(limits.total.0);
        let short = match self.promise_now(needed).map_err(&failed)? {
            Ok(promise) => return Ok(promise),
            Err(free) => needed.saturating_sub(free),
        };
        if let Err(error) = self.make_room(short) {
            tracing::warn!(%error, "making room for a layer");
        }
        self.promise_now(needed)
            .map_err(&failed)?
            .map_err(|free| UnpackError::NoSpace {
                digest: layer.digest,
                needed: ByteSize(needed),
                free: ByteSize(free),
                root: self.root.clone(),
            })
    }

    /// Holds `needed` bytes, or tells how many could be held.
    fn promise_now(&self, needed: u64) -> io::Result<Result<Promise<'_>, u64>> {
        let free = partial::free_bytes(&self.root)?;
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let unpromised = free.saturating_sub(*promised).saturating_sub(KEEP_FREE.0);
        if unpromised < needed {
            return Ok(Err(unpromised));
        }
        *promised += needed;
        Ok(Ok(Promise { inner: self, needed }))
    }

    /// Removes what has a layer's name and is no layer of this store. Other names are not this store's to remove.
    fn remove_strangers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let path = entry.path();
            if removal::digest_of(&path).is_some() && self.record(&path)?.is_none() {
                tracing::info!(folder = %path.display(), "removing a folder that is no layer of this store");
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }
}

/// Space held for one layer.
struct Promise<'a> {
    inner: &'a Inner,
    needed: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let mut promised = self.inner.promised.lock().unwrap_or_else(PoisonError::into_inner);
        *promised = promised.saturating_sub(self.needed);
    }
}

fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! The store that is open, and its opening again.
//!
//! The library's store ends its database at the first write that the disk refuses and serves nothing from then on, also when
//! there is room again. So whoever sees the store fail asks here whether it is dead, and it is opened again in its place: the
//! transfers of this node and the requests of its peers find the new one, and nothing that was written down is lost.

use crate::connections::Cause;
use iroh_blobs::store::{
    GcConfig,
    fs::{FsStore, options::Options},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// The least pause between two tries to open a dead store: a full disk refuses each.
const OPEN_AGAIN: Duration = Duration::from_millis(500);

/// The blob store, whichever of its lives it is in.
#[derive(Debug)]
pub(crate) struct OpenStore {
    dir: PathBuf,
    collect: Duration,
    now: RwLock<Arc<FsStore>>,
    /// Held by the one that opens it again. When that failed last.
    reopening: Mutex<Option<Instant>>,
    /// Set for ever once nobody may open it again.
    closed: AtomicBool,
}

impl OpenStore {
    /// Opens the store under `dir`, which deletes what nobody keeps every `collect`.
    pub(crate) async fn open(dir: &Path, collect: Duration) -> Result<Self, Cause> {
        Ok(Self {
            now: RwLock::new(Arc::new(load(dir, collect).await?)),
            dir: dir.to_owned(),
            collect,
            reopening: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// The store as it is open now.
    pub(crate) fn now(&self) -> Arc<FsStore> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the store again when `seen`, which failed, is dead. Whether there is another one now: what failed may be tried on it.
    pub(crate) async fn mend(&self, seen: &Arc<FsStore>) -> bool {
        let mut failed_at = self.reopening.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        if !Arc::ptr_eq(&self.now(), seen) {
            return true;
        }
        // Answered by the database itself, once what is being written is on the disk or refused.
        let lives = seen.sync_db().await.is_ok();
        if lives || failed_at.is_some_and(|at| at.elapsed() < OPEN_AGAIN) {
            return false;
        }
        match load(&self.dir, self.collect).await {
            Ok(store) => {
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(store);
                *failed_at = None;
                tracing::warn!(dir = %self.dir.display(), "the blob store had died of a failed write; it is open again");
                true
            }
            Err(error) => {
                *failed_at = Some(Instant::now());
                tracing::error!(dir = %self.dir.display(), %error, "the blob store died of a failed write and cannot be opened again");
                false
            }
        }
    }

    /// Runs `work` on the store, and once more on another one where the store died.
    pub(crate) async fn run<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        work: impl Fn(Arc<FsStore>) -> F,
    ) -> Result<T, E> {
        let store = self.now();
        match work(store.clone()).await {
            Err(_) if self.mend(&store).await => work(self.now()).await,
            done => done,
        }
    }

    /// Writes everything down and closes the store for ever.
    pub(crate) async fn close(&self) {
        let _nobody_opens = self.reopening.lock().await;
        self.closed.store(true, Ordering::Release);
        if let Err(error) = self.now().shutdown().await {
            tracing::warn!(%error, "closing the blob store failed");
        }
    }
}

async fn load(dir: &Path, collect: Duration) -> Result<FsStore, Cause> {
    let mut options = Options::new(dir);
    options.gc = Some(GcConfig {
        interval: collect,
        add_protected: None,
    });
    // A write is on disk so long after it is made; the default is five times that.
    options.batch.max_write_duration = Duration::from_millis(100);
    Ok(FsStore::load_with_opts(dir.join("blobs.db"), options).await?)
}

#[cfg(test)]
#[path = "../../tests/it/small_disk.rs"]
mod small_disk;

#[cfg(test)]
mod tests {
    use super::*;
    use small_disk::SmallDisk;

    async fn add(store: Arc<FsStore>, bytes: &'static [u8]) -> Result<iroh_blobs::Hash, Cause> {
        Ok(store.blobs().add_slice(bytes).with_named_tag("kept").await?.hash)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_died_is_opened_again_with_what_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let store = OpenStore::open(dir.path(), Duration::from_secs(60)).await.unwrap();
        let kept = store.run(|store| add(store, b"written before")).await.unwrap();
        store.now().sync_db().await.unwrap();
        let dead = store.now();
        // What a failed write does to it: its database is gone, and it serves nothing.
        dead.shutdown().await.unwrap();
        assert!(add(dead.clone(), b"refused").await.is_err());

        let bytes = store
            .run(|store| async move { store.blobs().get_bytes(kept).await })
            .await;
        assert_eq!(bytes.unwrap().as_ref(), b"written before");
        assert!(store.mend(&dead).await, "there is another one by now");
        let alive = store.now();
        assert!(!store.mend(&alive).await, "one that lives is left alone");
        assert!(Arc::ptr_eq(&alive, &store.now()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_ends_a_store_for_ever_and_once_there_is_room_it_is_opened_again() {
        let disk = SmallDisk::mount(8);
        let store = OpenStore::open(disk.path(), Duration::from_secs(60)).await.unwrap();
        let kept = store.run(|store| add(store, b"written before")).await.unwrap();
        store.now().sync_db().await.unwrap();
        disk.fill();
        let dead = store.now();
        // Small blobs lie in the database itself.
        let mut written = 0_u32;
        while dead.sync_db().await.is_ok() {
            written += 1;
            assert!(written < 2_000, "it has no room for all of them");
            let bytes = [written.to_le_bytes(); 3_000].concat();
            let _ = dead.blobs().add_slice(bytes).with_named_tag(format!("{written}")).await;
        }
        disk.empty();
        assert!(add(dead, b"refused").await.is_err(), "room alone does not help it");

        let added = store.run(|store| add(store, b"written after")).await.unwrap();
        for (hash, bytes) in [(kept, "written before"), (added, "written after")] {
            let found = store.now().blobs().get_bytes(hash).await.unwrap();
            assert_eq!(found.as_ref(), bytes.as_bytes());
        }
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_was_closed_stays_closed() {
        let dir = tempfile::tempdir().unwrap();
        let store = OpenStore::open(dir.path(), Duration::from_secs(60)).await.unwrap();
        store.close().await;
        assert!(store.run(|store| add(store, b"too late")).await.is_err());
    }
}

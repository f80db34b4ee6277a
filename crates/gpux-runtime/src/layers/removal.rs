//! Removes layers that nobody uses. Which of them go is said in `eviction.rs`.
//!
//! Who uses a layer: whoever holds it (`hold.rs`), and every lease that the runtime has on the disk and that is not over, by its own
//! record. So it is known after a restart too, of runs on this machine, and of leases that the daemon cannot read. Both are looked
//! at under the lock of the holds, and what goes is renamed before that is let go: a layer that somebody finds is never one that is
//! on its way out, and a lease whose hold is dropped has its record by then.

use super::eviction::{self, Idle};
use super::partial::{FILES, RECORD};
use super::store::Inner;
use crate::images::Digest;
use crate::records;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// An empty file in a layer's folder: paid work used it.
const EARNED: &str = "earned";

impl Inner {
    /// What could be had by removing every layer that nobody uses.
    pub(super) fn removable(&self) -> io::Result<u64> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held: BTreeSet<Digest> = held.keys().copied().collect();
        Ok(eviction::removable(&self.idle(&held)?))
    }

    /// Removes what nobody uses for `wanted` bytes, or nothing where that would not do.
    pub(super) fn make_room(&self, wanted: u64) -> io::Result<Vec<Digest>> {
        self.remove(|idle| eviction::for_room(idle, wanted))
    }

    /// Removes those of an unpaid lease's layers that nobody else uses or paid for.
    pub(super) fn remove_unpaid(&self, of_lease: &BTreeSet<Digest>) -> io::Result<Vec<Digest>> {
        self.remove(|idle| eviction::of_unpaid(&idle, of_lease))
    }

    /// Says that paid work used these layers.
    pub(super) fn note_earned(&self, layers: &BTreeSet<Digest>) -> io::Result<()> {
        for layer in layers {
            match fs::File::create(self.folder(*layer).join(EARNED)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn remove(&self, choose: impl FnOnce(Vec<Idle>) -> Vec<Digest>) -> io::Result<Vec<Digest>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = choose(self.idle(&held.keys().copied().collect())?);
        let mut doomed = Vec::with_capacity(chosen.len());
        for digest in &chosen {
            // Renamed first: a crash while removing must not leave half a layer under its final name.
            let path = self.next_partial(*digest);
            fs::rename(self.folder(*digest), &path)?;
            doomed.push(path);
        }
        drop(held);
        for path in doomed {
            fs::remove_dir_all(path)?;
        }
        if !chosen.is_empty() {
            tracing::info!(layers = chosen.len(), "removed layers that nobody used");
        }
        Ok(chosen)
    }

    /// The whole layers that nobody uses; the caller holds the lock of `held`. None where it is not known who uses any.
    fn idle(&self, held: &BTreeSet<Digest>) -> io::Result<Vec<Idle>> {
        let Some(leases) = &self.leases else {
            return Ok(Vec::new());
        };
        let used = records::layers_in_use(leases)
            .map_err(io::Error::other)?
            .iter()
            .filter_map(|files| digest_of(files.parent()?))
            .collect::<BTreeSet<Digest>>();
        let mut idle = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let folder = entry?.path();
            let Some(record) = self.record(&folder)? else {
                continue;
            };
            if held.contains(&record.digest) || used.contains(&record.digest) {
                continue;
            }
            idle.push(Idle {
                digest: record.digest,
                bytes: record.bytes,
                asked: fs::metadata(folder.join(RECORD))?.modified()?,
                earned: folder.join(EARNED).exists(),
            });
        }
        Ok(idle)
    }

    pub(super) fn folder(&self, layer: Digest) -> PathBuf {
        self.root.join(layer.hex())
    }

    pub(super) fn files(&self, layer: Digest) -> PathBuf {
        self.folder(layer).join(FILES)
    }
}

/// The layer whose folder has that name, wherever the store was when it was written down.
pub(super) fn digest_of(folder: &Path) -> Option<Digest> {
    let name = folder.file_name()?.to_str()?;
    format!("sha256:{name}").parse().ok()
}

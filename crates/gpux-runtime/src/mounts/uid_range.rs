//! Ranges of host user ids: 65,536 for the layer store and 65,536 for each lease, none shared.
//!
//! The lease's own folder is the record of its range (file `uid_range`), so that a restarted daemon can never hand a range out twice
//! and removing the folder frees it. Called by the provider when a lease is prepared.

use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Ids in a range: what images may use (0 to 65,535), the same as Docker's and Podman's default.
pub const UID_RANGE_LEN: u32 = 65_536;

/// The name of the record in a lease's folder.
const RECORD: &str = "uid_range";

/// 65,536 host user and group ids, starting at `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UidRange {
    /// The host id that user 0 of the range has.
    pub first: u32,
}

impl UidRange {
    /// Whether a host id lies in the range.
    #[must_use]
    pub const fn contains(self, host_id: u32) -> bool {
        host_id >= self.first && host_id - self.first < UID_RANGE_LEN
    }
}

/// Why a lease got no range of user ids.
#[derive(Debug, thiserror::Error)]
pub enum UidRangeError {
    /// The configured base leaves no room for the ids of even one lease, or covers ids below 65,536.
    #[error("taking user ids from {base}: the base must be between 65,536 and 4,294,770,688")]
    Base {
        /// The configured base.
        base: u32,
    },
    /// Every range is held by a lease.
    #[error("giving {lease_dir} a range of user ids: all {count} ranges are in use")]
    Exhausted {
        /// The folder of the lease.
        lease_dir: PathBuf,
        /// How many ranges there are.
        count: u32,
    },
    /// A record does not hold a range of this allocator.
    #[error("reading the range of user ids in {path}: {text:?} is no range of the configured base")]
    Record {
        /// The record.
        path: PathBuf,
        /// What it held, cut short.
        text: String,
    },
    /// The file system refused.
    #[error("keeping the ranges of user ids below {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Hands out ranges from a configured base: the first is the layer store's, the others are for leases.
#[derive(Debug, Clone, Copy)]
pub struct UidRanges {
    base: u32,
    count: u32,
}

impl UidRanges {
    /// The default base, 0x7000_0000: above what systemd gives to containers and users, with room for 4,095 leases below 2^31.
    pub const DEFAULT_BASE: u32 = 0x7000_0000;

    /// Ranges from `base` up to 2^31 (or to the end of the ids, for a base above it), at most 4,096.
    ///
    /// # Errors
    /// When the base covers ids of the host itself or leaves no room for the store and one lease.
    pub fn new(base: u32) -> Result<Self, UidRangeError> {
        let end = if base < 1 << 31 { 1 << 31 } else { u32::MAX };
        let count = ((end - base) / UID_RANGE_LEN).min(4_096);
        if base < UID_RANGE_LEN || count < 2 {
            return Err(UidRangeError::Base { base });
        }
        Ok(Self { base, count })
    }

    /// Blocks that [`Self::block`] knows: what lies between the default base and 2^31, shared among the daemons of a machine.
    pub const BLOCKS: u32 = 32;

    /// Block `index` of the ids from the default base on: 128 ranges, one for the store and 127 for leases. `None` when there is no
    /// such block.
    #[must_use]
    pub const fn block(index: u32) -> Option<Self> {
        const RANGES: u32 = 128;
        if index >= Self::BLOCKS {
            return None;
        }
        Some(Self {
            base: Self::DEFAULT_BASE + index * RANGES * UID_RANGE_LEN,
            count: RANGES,
        })
    }

    /// The range that unpacked layers are owned by on disk.
    #[must_use]
    pub const fn store(&self) -> UidRange {
        UidRange { first: self.base }
    }

    /// The range of the lease whose folder is `lease_dir`, a direct child of `leases_dir`: the recorded one, else the lowest free one,
    /// which is recorded before this returns.
    ///
    /// # Errors
    /// When all ranges are held, a record is damaged, or the file system refuses.
    pub fn ensure_lease_range(&self, leases_dir: &Path, lease_dir: &Path) -> Result<UidRange, UidRangeError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| UidRangeError::Io { path, source }
        };
        let lock_path = leases_dir.join(".uid_ranges.lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(at(&lock_path))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| at(&lock_path)(errno.into()))?;

        if let Some(range) = self.recorded(lease_dir)? {
            return Ok(range);
        }
        let mut held = BTreeSet::new();
        for entry in fs::read_dir(leases_dir).map_err(at(leases_dir))? {
            let entry = entry.map_err(at(leases_dir))?;
            if entry.file_type().map_err(at(leases_dir))?.is_dir() {
                held.extend(self.recorded(&entry.path())?);
            }
        }
        let range = (1..self.count)
            .map(|index| UidRange {
                first: self.base + index * UID_RANGE_LEN,
            })
            .find(|range| !held.contains(range))
            .ok_or_else(|| UidRangeError::Exhausted {
                lease_dir: lease_dir.to_owned(),
                count: self.count - 1,
            })?;
        write_record(lease_dir, range).map_err(at(lease_dir))?;
        Ok(range)
    }

    fn recorded(&self, lease_dir: &Path) -> Result<Option<UidRange>, UidRangeError> {
        let path = lease_dir.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(UidRangeError::Io { path, source }),
        };
        let ours = |first: u32| {
            let offset = first.checked_sub(self.base)?;
            let index = offset / UID_RANGE_LEN;
            (offset.is_multiple_of(UID_RANGE_LEN) && index >= 1 && index < self.count).then_some(UidRange { first })
        };
        match text.trim().parse().ok().and_then(ours) {
            Some(range) => Ok(Some(range)),
            None => Err(UidRangeError::Record {
                path,
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

/// Writes the record so that a crash leaves either none or a whole one.
fn write_record(lease_dir: &Path, range: UidRange) -> io::Result<()> {
    let draft = lease_dir.join(format!(".{RECORD}.draft"));
    let mut file = File::create(&draft)?;
    writeln!(file, "{}", range.first)?;
    file.sync_all()?;
    fs::rename(&draft, lease_dir.join(RECORD))?;
    File::open(lease_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_share_a_range_and_a_freed_one_is_used_again() {
        let leases = tempfile::tempdir().unwrap();
        let ranges = UidRanges::new(UidRanges::DEFAULT_BASE).unwrap();
        let lease = |name: &str| {
            let dir = leases.path().join(name);
            fs::create_dir_all(&dir).unwrap();
            ranges.ensure_lease_range(leases.path(), &dir).unwrap()
        };
        let (a, b) = (lease("a"), lease("b"));
        assert_ne!(a, b);
        assert_ne!(a, ranges.store());
        assert_eq!(lease("a"), a, "the record wins over a fresh choice");
        fs::remove_dir_all(leases.path().join("a")).unwrap();
        assert_eq!(lease("c"), a);
        assert!(a.contains(a.first + 65_535) && !a.contains(b.first));
    }

    #[test]
    fn blocks_lie_side_by_side_below_the_largest_signed_id() {
        let blocks: Vec<UidRanges> = (0..UidRanges::BLOCKS)
            .map(|index| UidRanges::block(index).unwrap())
            .collect();
        for pair in blocks.windows(2) {
            assert_eq!(pair[0].base + pair[0].count * UID_RANGE_LEN, pair[1].base);
        }
        let last = blocks[blocks.len() - 1];
        assert_eq!(
            u64::from(last.base) + u64::from(last.count) * u64::from(UID_RANGE_LEN),
            1 << 31
        );
        assert!(UidRanges::block(UidRanges::BLOCKS).is_none());
    }

    #[test]
    fn a_base_that_reaches_into_the_hosts_own_ids_is_refused() {
        for base in [0, 1_000, 65_535, u32::MAX - UID_RANGE_LEN] {
            assert!(UidRanges::new(base).is_err(), "{base}");
        }
    }

    #[test]
    fn a_damaged_record_stops_the_allocation_instead_of_sharing_ids() {
        let leases = tempfile::tempdir().unwrap();
        let ranges = UidRanges::new(UidRanges::DEFAULT_BASE).unwrap();
        for (name, text) in [("bad", "0"), ("new", "")] {
            fs::create_dir_all(leases.path().join(name)).unwrap();
            fs::write(leases.path().join("bad").join(RECORD), text).unwrap();
        }
        let error = ranges
            .ensure_lease_range(leases.path(), &leases.path().join("new"))
            .unwrap_err();
        assert!(matches!(error, UidRangeError::Record { .. }), "{error}");
    }
}

//! The two digests of a blob's file, computed in one reading and remembered by the file's identity.

use super::digest::Digest;
use gpux_types::BlobHash;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// SHA-256, as images name blobs, and BLAKE3, as peers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlobDigests {
    pub(super) sha256: Digest,
    pub(super) blake3: BlobHash,
    pub(super) size: u64,
}

/// Both digests of bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct BlobHasher {
    sha256: Sha256,
    blake3: blake3::Hasher,
    size: u64,
}

impl BlobHasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn finish(self) -> BlobDigests {
        BlobDigests {
            sha256: Digest(self.sha256.finalize().into()),
            blake3: BlobHash(*self.blake3.finalize().as_bytes()),
            size: self.size,
        }
    }
}

/// What was found in a file of a certain identity. A file that was changed since has another change time, which cannot be set.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Record {
    version: u32,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    sha256: Digest,
    blake3: BlobHash,
}

const RECORD_VERSION: u32 = 1;

/// Digests remembered from earlier, in a folder of small files.
#[derive(Debug, Clone)]
pub(super) struct DigestCache {
    dir: PathBuf,
}

impl DigestCache {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The digests of `path`, read now unless the same file was read before. `expected` is the name of the record only.
    pub(super) fn digests(&self, path: &Path, expected: Digest) -> io::Result<BlobDigests> {
        let mut file = File::open(path)?;
        let before = identity(&file)?;
        if let Some(known) = self.known(expected, &before) {
            return Ok(known);
        }
        let mut hasher = BlobHasher::default();
        let mut buffer = vec![0u8; CHUNK];
        loop {
            let got = file.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            hasher.update(buffer.get(..got).unwrap_or_default());
        }
        let digests = hasher.finish();
        // A file that changed meanwhile is not remembered; a record that cannot be written costs only time.
        if identity(&file)? == before
            && let Err(error) = self.remember(expected, &before, digests)
        {
            tracing::debug!(%error, path = %path.display(), "the digests of a blob are not remembered");
        }
        Ok(digests)
    }

    fn known(&self, expected: Digest, found: &Record) -> Option<BlobDigests> {
        let record: Record = serde_json::from_slice(&fs::read(self.record_path(expected)).ok()?).ok()?;
        let digests = BlobDigests {
            sha256: record.sha256,
            blake3: record.blake3,
            size: record.size,
        };
        let same = Record {
            sha256: found.sha256,
            blake3: found.blake3,
            ..record
        };
        (same == *found).then_some(digests)
    }

    fn remember(&self, expected: Digest, found: &Record, digests: BlobDigests) -> io::Result<()> {
        let record = Record {
            sha256: digests.sha256,
            blake3: digests.blake3,
            ..*found
        };
        fs::create_dir_all(&self.dir)?;
        let draft = self.dir.join(format!(".{}.{}", expected.hex(), std::process::id()));
        fs::write(&draft, serde_json::to_vec(&record)?)?;
        fs::rename(&draft, self.record_path(expected))
    }

    fn record_path(&self, expected: Digest) -> PathBuf {
        self.dir.join(format!("{}.json", expected.hex()))
    }
}

/// The file's identity, with empty digests.
fn identity(file: &File) -> io::Result<Record> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(Record {
        version: RECORD_VERSION,
        device: found.dev(),
        inode: found.ino(),
        size: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
        sha256: Digest([0; 32]),
        blake3: BlobHash([0; 32]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_an_unchanged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DigestCache::new(dir.path().join("cache"));
        let path = dir.path().join("blob");
        fs::write(&path, "one").unwrap();
        let name = Digest::of(b"one");
        let first = cache.digests(&path, name).unwrap();
        assert_eq!((first.sha256, first.size), (name, 3));
        assert_eq!(first.blake3, BlobHash(*blake3::hash(b"one").as_bytes()));

        // A record that lies shows that it is used while the file is the same.
        let record = cache.record_path(name);
        let lie = fs::read_to_string(&record)
            .unwrap()
            .replace(&name.hex(), &Digest::of(b"lie").hex());
        fs::write(&record, lie).unwrap();
        assert_eq!(cache.digests(&path, name).unwrap().sha256, Digest::of(b"lie"));

        let times = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(times)
            .unwrap();
        assert_eq!(
            cache.digests(&path, name).unwrap().sha256,
            Digest::of(b"two"),
            "same size and times, other change time"
        );
    }
}

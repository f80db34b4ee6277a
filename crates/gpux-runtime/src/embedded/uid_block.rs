//! A block of user ids for each daemon of a machine.
//!
//! Layers on disk are owned by the block's ids, so a daemon keeps its block for ever: recorded in its own folder, and
//! claimed in a folder that all daemons of the machine share. A claim counts as long as the folder that made it records
//! the same block; a daemon's folder that was removed gives its block back by that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::mounts::UidRanges;

/// The record in a daemon's folder.
const RECORD: &str = "uid_block";

/// Why a daemon has no user ids.
#[derive(Debug, thiserror::Error)]
pub enum ClaimUidsError {
    /// The file system refused.
    #[error("keeping the claims of user ids at {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Every block is claimed by a daemon's folder that is still there.
    #[error("claiming user ids for {dir}: all {} blocks are in use", UidRanges::BLOCKS)]
    Exhausted {
        /// The daemon's folder.
        dir: PathBuf,
    },
    /// Another daemon's folder holds the block that this one records: one is a copy of the other.
    #[error("claiming user ids for {dir}: {holder} holds the same block {block}")]
    Held {
        /// The daemon's folder.
        dir: PathBuf,
        /// The other daemon's.
        holder: PathBuf,
        /// The block.
        block: u32,
    },
    /// A record does not hold the number of a block.
    #[error("reading the block of user ids in {path}: {text:?}")]
    Record {
        /// The record.
        path: PathBuf,
        /// What it held, cut short.
        text: String,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> ClaimUidsError {
    let path = path.to_owned();
    move |source| ClaimUidsError::Io {
        path: path.clone(),
        source,
    }
}

/// The daemon's ranges: of the recorded block, else of the lowest free one, which is recorded before this returns.
pub(super) fn ensure(claims: &Path, dir: &Path) -> Result<UidRanges, ClaimUidsError> {
    fs::create_dir_all(claims).map_err(at(claims))?;
    let dir = fs::canonicalize(dir).map_err(at(dir))?;
    let lock_path = claims.join(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&lock_path)
        .map_err(at(&lock_path))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|errno| at(&lock_path)(errno.into()))?;
    let block = match recorded(&dir)? {
        Some(block) => {
            if let Some(holder) = holder(claims, block)?.filter(|holder| *holder != dir) {
                return Err(ClaimUidsError::Held { dir, holder, block });
            }
            block
        }
        None => free_block(claims)?.ok_or_else(|| ClaimUidsError::Exhausted { dir: dir.clone() })?,
    };
    // The claim first: a crash in between leaves a claim without a record, which is free.
    write(&claims.join(block.to_string()), dir.as_os_str().as_bytes())?;
    write(&dir.join(RECORD), format!("{block}\n").as_bytes())?;
    UidRanges::block(block).ok_or(ClaimUidsError::Exhausted { dir })
}

fn free_block(claims: &Path) -> Result<Option<u32>, ClaimUidsError> {
    for block in 0..UidRanges::BLOCKS {
        if holder(claims, block)?.is_none() {
            return Ok(Some(block));
        }
    }
    Ok(None)
}

/// The daemon's folder that holds a block: the one that claimed it, if it still says so itself.
fn holder(claims: &Path, block: u32) -> Result<Option<PathBuf>, ClaimUidsError> {
    let path = claims.join(block.to_string());
    let claimed = match fs::read(&path) {
        Ok(bytes) => PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path)(error)),
    };
    Ok((recorded(&claimed)? == Some(block)).then_some(claimed))
}

fn recorded(dir: &Path) -> Result<Option<u32>, ClaimUidsError> {
    let path = dir.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(at(&path)(error)),
    };
    match text.trim().parse() {
        Ok(block) if block < UidRanges::BLOCKS => Ok(Some(block)),
        Ok(_) | Err(_) => Err(ClaimUidsError::Record {
            path,
            text: text.chars().take(40).collect(),
        }),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ClaimUidsError> {
    let draft = path.with_extension("draft");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&draft, path)).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_never_share_a_block_and_a_removed_one_gives_its_back() {
        let root = tempfile::tempdir().unwrap();
        let claims = root.path().join("claims");
        let daemon = |name: &str| {
            let dir = root.path().join(name);
            fs::create_dir_all(&dir).unwrap();
            ensure(&claims, &dir).unwrap().store()
        };
        let (one, two) = (daemon("one"), daemon("two"));
        assert_ne!(one, two);
        assert_eq!(daemon("one"), one, "a restart changes nothing");
        fs::remove_dir_all(root.path().join("one")).unwrap();
        assert_eq!(daemon("three"), one);
    }

    #[test]
    fn a_copied_folder_is_refused_while_the_original_is_there() {
        let root = tempfile::tempdir().unwrap();
        let claims = root.path().join("claims");
        let (original, copy) = (root.path().join("original"), root.path().join("copy"));
        fs::create_dir_all(&original).unwrap();
        fs::create_dir_all(&copy).unwrap();
        ensure(&claims, &original).unwrap();
        fs::copy(original.join(RECORD), copy.join(RECORD)).unwrap();
        let error = ensure(&claims, &copy).unwrap_err();
        assert!(matches!(error, ClaimUidsError::Held { block: 0, .. }), "{error}");
        fs::remove_dir_all(original).unwrap();
        ensure(&claims, &copy).expect("a moved folder keeps its block");
    }

    #[test]
    fn the_last_block_is_followed_by_an_error() {
        let root = tempfile::tempdir().unwrap();
        let claims = root.path().join("claims");
        for number in 0..=UidRanges::BLOCKS {
            let dir = root.path().join(number.to_string());
            fs::create_dir_all(&dir).unwrap();
            let claimed = ensure(&claims, &dir);
            assert_eq!(claimed.is_ok(), number < UidRanges::BLOCKS);
        }
    }
}

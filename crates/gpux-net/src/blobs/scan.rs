//! Looks at a folder of this machine: what lies in it, before and while its bytes are read.
//!
//! Called by `pack.rs`, and by the daemon to tell early that a folder cannot travel. It follows no link and opens nothing but
//! plain files. Everything here waits for the disk: it is called where that holds up no task.

use gpux_proto::{BadFolder, FolderFile, FolderLink, MAX_FOLDER_ENTRIES};
use gpux_types::ByteSize;
use rustix::fs::{Mode, OFlags};
use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A folder that cannot be sent as it is.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Something in it cannot be read.
    #[error("reading {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device, a socket or a pipe.
    #[error("reading {0}: it is neither a file nor a folder nor a link")]
    NotPlain(PathBuf),
    /// A name that other machines may not have.
    #[error("reading {0}: its name is not UTF-8")]
    Name(PathBuf),
    /// It changed while it was read.
    #[error("reading {0}: it changed while it was read")]
    Changed(PathBuf),
    /// It cannot travel.
    #[error(transparent)]
    Folder(#[from] BadFolder),
}

impl ScanError {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}

/// What says that a file is still the one that was seen, and as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: [(i64, i64); 2],
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            changed: [
                (metadata.mtime(), metadata.mtime_nsec()),
                (metadata.ctime(), metadata.ctime_nsec()),
            ],
        }
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }
}

/// All of a folder: paths are in order, folders before what lies in them.
#[derive(Debug, Default)]
pub struct ScannedFolder {
    pub(super) root: PathBuf,
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<FolderFile>,
    pub(super) links: Vec<FolderLink>,
    /// Of each file, by its path.
    pub(super) stamps: BTreeMap<String, Stamp>,
}

impl ScannedFolder {
    /// Everything below `root`, without reading a file.
    ///
    /// # Errors
    /// When something in it cannot be read, or cannot travel.
    pub fn scan(root: &Path) -> Result<Self, ScanError> {
        let mut scanned = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        let mut open = vec![String::new()];
        while let Some(folder) = open.pop() {
            let dir = scanned.root.join(&folder);
            for entry in fs::read_dir(&dir).map_err(ScanError::read(&dir))? {
                let entry = entry.map_err(ScanError::read(&dir))?;
                let name = entry.file_name().into_string();
                let name = name.map_err(|_| ScanError::Name(entry.path()))?;
                let path = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                let metadata = entry.metadata().map_err(ScanError::read(&entry.path()))?;
                if metadata.is_dir() {
                    open.push(path.clone());
                }
                scanned.add(path, &metadata)?;
            }
        }
        scanned.folders.sort_unstable();
        scanned.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        scanned.links.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(scanned)
    }

    /// The bytes of all its files.
    #[must_use]
    pub fn content(&self) -> ByteSize {
        let sizes = self.files.iter().map(|file| file.size.0);
        ByteSize(sizes.fold(0, u64::saturating_add))
    }

    fn add(&mut self, path: String, metadata: &Metadata) -> Result<(), ScanError> {
        let here = self.root.join(&path);
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.folders.push(path);
        } else if kind.is_file() {
            self.stamps.insert(path.clone(), Stamp::of(metadata));
            self.files.push(FolderFile {
                path,
                size: ByteSize(metadata.len()),
                executable: metadata.permissions().mode() & 0o100 != 0,
            });
        } else if kind.is_symlink() {
            let target = fs::read_link(&here).map_err(ScanError::read(&here))?;
            let target = target.into_os_string().into_string();
            let target = target.map_err(|_| ScanError::Name(here))?;
            self.links.push(FolderLink { path, target });
        } else {
            return Err(ScanError::NotPlain(here));
        }
        let got = self.folders.len() + self.files.len() + self.links.len();
        if got > MAX_FOLDER_ENTRIES {
            let what = "files, folders and links";
            let limit = MAX_FOLDER_ENTRIES;
            return Err(BadFolder::TooMany { what, got, limit }.into());
        }
        Ok(())
    }
}

/// The bytes of the file that was seen, onto the end of `bytes`.
pub(super) fn read_file(path: &Path, seen: Stamp, bytes: &mut Vec<u8>) -> Result<(), ScanError> {
    // What took the file's place meanwhile is neither followed nor waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.map_err(|errno| ScanError::read(path)(errno.into()))?);
    let unchanged = |file: &File| Ok(Stamp::of(&file.metadata()?) == seen);
    let before = unchanged(&file).map_err(ScanError::read(path))?;
    if !before {
        return Err(ScanError::Changed(path.to_owned()));
    }
    // One more than it had, to see that it grew.
    let mut limited = (&file).take(seen.size().saturating_add(1));
    let read = limited.read_to_end(bytes).map_err(ScanError::read(path))?;
    let after = unchanged(&file).map_err(ScanError::read(path))?;
    if !after || u64::try_from(read) != Ok(seen.size()) {
        return Err(ScanError::Changed(path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_after_it_was_seen_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let changes: [fn(&Path); 4] = [
            |path| fs::write(path, "longer than before").unwrap(),
            |path| fs::write(path, "after.").unwrap(),
            |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
            },
            |path| {
                fs::rename(path, path.with_extension("old")).unwrap();
                fs::write(path, "before").unwrap();
            },
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let _ = fs::remove_file(&path);
            fs::write(&path, "before").unwrap();
            let seen = Stamp::of(&fs::symlink_metadata(&path).unwrap());
            let mut bytes = Vec::new();
            read_file(&path, seen, &mut bytes).unwrap();
            assert_eq!(bytes, b"before");
            // Later than the clock of the file system's stamps can tell apart.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change(&path);
            assert!(read_file(&path, seen, &mut bytes).is_err(), "change {index}");
        }
    }
}

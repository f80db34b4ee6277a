//! A layer that is being unpacked: a folder of its own until it is whole, then renamed to its final name.

use super::report::UnpackReport;
use super::store::LayerRecord;
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags, XattrFlags, fsetxattr, openat2, syncfs};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The name of the folder of files in a layer's folder.
pub(super) const FILES: &str = "fs";
/// The name of the record in a layer's folder.
pub(super) const RECORD: &str = "layer.json";

/// A folder that is removed unless it is published.
#[derive(Debug)]
pub(super) struct PartialLayer {
    folder: PathBuf,
    published: bool,
}

impl PartialLayer {
    /// Makes `folder` with an empty `fs` in it, which the first id of the store owns.
    pub(super) fn create(folder: PathBuf, store_first: u32) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let partial = Self {
            folder,
            published: false,
        };
        let files = partial.files();
        fs::create_dir(&files)?;
        fs::set_permissions(&files, fs::Permissions::from_mode(0o755))?;
        chown(&files, Some(store_first), Some(store_first))?;
        Ok(partial)
    }

    pub(super) fn files(&self) -> PathBuf {
        self.folder.join(FILES)
    }

    /// Marks folders as opaque. The paths come from the child, so they are resolved without following anything.
    pub(super) fn mark_opaque(&self, report: &UnpackReport) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(self.files(), flags | OFlags::NOFOLLOW, Mode::empty())?;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        for path in &report.opaque {
            let path = if path.is_empty() { b".".as_slice() } else { path };
            let folder = openat2(&root, path, flags, Mode::empty(), inside)?;
            fsetxattr(&folder, c"trusted.overlay.opaque", b"y", XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Makes everything durable and gives the layer its final name.
    pub(super) fn publish(mut self, destination: &Path, record: &LayerRecord) -> io::Result<()> {
        let mut file = File::create_new(self.folder.join(RECORD))?;
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // One call for all files of the layer; a thousand single ones take longer.
        syncfs(&file)?;
        fs::rename(&self.folder, destination)?;
        self.published = true;
        match destination.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for PartialLayer {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "a partly unpacked layer stays until the next start");
        }
    }
}

/// Locks `path` for this process, so that no second daemon removes what the first is unpacking.
pub(super) fn lock_exclusively(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(errno) => Err(errno.into()),
    }
}

/// Bytes that are free for everybody on the disk of `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

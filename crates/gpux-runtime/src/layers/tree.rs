//! Writes the entries of one layer below a root folder, never outside it.
//!
//! Every path is resolved by the kernel inside the root (`openat2` with `RESOLVE_IN_ROOT`), so a symlink that the layer itself
//! brought leads at most to another place in the layer. Used by the unpacking child, whose `/` the root is anyway.

use super::limits::UnpackLimits;
use super::report::{LayerFault, shown};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown,
    futimens, linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{Read, Write as _};

/// Counted for each entry beside its content: what an inode and a name cost on disk, generously.
const ENTRY_COST: u64 = 4_096;

/// The bytes that are moved at once.
const COPY_BUFFER: usize = 128 << 10;

/// Who owns an entry, what it allows and when it was changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: i64,
}

/// A path inside the layer: plain names, none of them `.` or `..`. Empty is the layer's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Reads a path of the archive. A leading `/` means the layer's root, as every unpacker of images has it.
    pub(super) fn read(raw: &[u8], limits: &UnpackLimits) -> Result<Self, LayerFault> {
        let names: Vec<&[u8]> = raw
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".")
            .collect();
        let escapes = |name: &&[u8]| *name == b".." || name.contains(&0);
        if names.iter().any(escapes) {
            return Err(LayerFault::Escapes { path: shown(raw) });
        }
        let path = names.join(&b'/');
        if path.len() > limits.path_bytes || names.len() > limits.depth || names.iter().any(|name| name.len() > 255) {
            return Err(LayerFault::PathTooLong {
                path: shown(raw),
                limit: limits.path_bytes,
                depth: limits.depth,
            });
        }
        Ok(Self(path))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder's path and the last name; `None` for the root.
    pub(super) fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            None => Some((Self(Vec::new()), &self.0)),
            Some(slash) => Some((Self(self.0.get(..slash)?.to_vec()), self.0.get(slash + 1..)?)),
        }
    }

    fn join(&self, name: &[u8]) -> Self {
        if self.0.is_empty() {
            return Self(name.to_vec());
        }
        Self([&self.0, name].join(&b'/'))
    }

    fn shown(&self) -> String {
        shown(&self.0)
    }

    fn fault(&self) -> impl Fn(Errno) -> LayerFault {
        |errno| LayerFault::Entry {
            path: self.shown(),
            reason: errno.to_string(),
        }
    }
}

/// The folder being filled, and what was counted so far.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    limits: UnpackLimits,
    entries: u64,
    bytes: u64,
    /// Folders' times, set at the end: filling a folder changes its time.
    folder_times: BTreeMap<LayerPath, i64>,
    opaque: Vec<LayerPath>,
    buffer: Vec<u8>,
}

/// What a finished tree holds.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) opaque: Vec<Vec<u8>>,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, limits: UnpackLimits) -> Self {
        Self {
            root,
            limits,
            entries: 0,
            bytes: 0,
            folder_times: BTreeMap::new(),
            opaque: Vec::new(),
            buffer: vec![0; COPY_BUFFER],
        }
    }

    /// A regular file with the next `size` bytes of `content`.
    pub(super) fn file(
        &mut self,
        path: &LayerPath,
        attributes: Attributes,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(), LayerFault> {
        if size > self.limits.file.0 {
            return Err(LayerFault::FileTooLarge {
                path: path.shown(),
                size,
                limit: self.limits.file.0,
            });
        }
        self.charge(size)?;
        let (parent, name) = self.vacant(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::RUSR).map_err(path.fault())?;
        let mut file = std::fs::File::from(file);
        self.copy_exactly(path, size, content, &mut file)?;
        fchown(&file, Some(uid(attributes)), Some(gid(attributes))).map_err(path.fault())?;
        fchmod(&file, mode(attributes)).map_err(path.fault())?;
        futimens(&file, &times(attributes.mtime)).map_err(path.fault())
    }

    /// A folder; one that is there already only gets the attributes.
    pub(super) fn folder(&mut self, path: &LayerPath, attributes: Attributes) -> Result<(), LayerFault> {
        self.charge(0)?;
        let folder = match path.split() {
            None => self
                .open_below(path, ResolveFlags::empty(), OFlags::RDONLY)
                .map_err(path.fault())?,
            Some((parent_path, name)) => self.ensure_folder(path, &parent_path, name)?,
        };
        fchown(&folder, Some(uid(attributes)), Some(gid(attributes))).map_err(path.fault())?;
        fchmod(&folder, mode(attributes)).map_err(path.fault())?;
        self.folder_times.insert(path.clone(), attributes.mtime);
        Ok(())
    }

    fn ensure_folder(&mut self, path: &LayerPath, parent_path: &LayerPath, name: &[u8]) -> Result<OwnedFd, LayerFault> {
        let parent = self.open_folder(parent_path)?;
        let found = stat_if_any(parent.as_fd(), name).map_err(path.fault())?;
        if !found.as_ref().is_some_and(|stat| is(stat, FileType::Directory)) {
            if found.is_some() {
                self.remove(parent.as_fd(), name, path)?;
            }
            mkdirat(&parent, name, Mode::RWXU).map_err(path.fault())?;
            // A whiteout had hidden the lower folder of this name; the new folder must go on hiding it.
            if found.is_some_and(|stat| is(&stat, FileType::CharacterDevice)) {
                self.opaque.push(path.clone());
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&parent, name, flags, Mode::empty()).map_err(path.fault())
    }

    /// A symlink, whatever it points to: it is only ever followed inside a container, or inside this root.
    pub(super) fn symlink(
        &mut self,
        path: &LayerPath,
        attributes: Attributes,
        target: &[u8],
    ) -> Result<(), LayerFault> {
        if target.is_empty() || target.len() > self.limits.path_bytes || target.contains(&0) {
            return Err(LayerFault::Escapes { path: path.shown() });
        }
        self.charge(0)?;
        let (parent, name) = self.vacant(path)?;
        symlinkat(target, &parent, name).map_err(path.fault())?;
        self.dress(parent.as_fd(), name, attributes).map_err(path.fault())
    }

    /// A second name of a file of this layer.
    pub(super) fn hard_link(&mut self, path: &LayerPath, target: &LayerPath) -> Result<(), LayerFault> {
        let fault = || LayerFault::HardLink {
            path: path.shown(),
            target: target.shown(),
        };
        self.charge(0)?;
        let (target_parent, target_name) = target.split().ok_or_else(fault)?;
        let from = self
            .open_below(&target_parent, ResolveFlags::empty(), OFlags::PATH)
            .map_err(|_| fault())?;
        let found = statat(&from, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| fault())?;
        if is(&found, FileType::Directory) || is(&found, FileType::CharacterDevice) {
            return Err(fault());
        }
        if path == target {
            return Ok(());
        }
        let (parent, name) = self.vacant(path)?;
        linkat(&from, target_name, &parent, name, AtFlags::empty()).map_err(|_| fault())
    }

    /// A named pipe.
    pub(super) fn fifo(&mut self, path: &LayerPath, attributes: Attributes) -> Result<(), LayerFault> {
        self.charge(0)?;
        let (parent, name) = self.vacant(path)?;
        mknodat(&parent, name, FileType::Fifo, mode(attributes), 0).map_err(path.fault())?;
        self.dress(parent.as_fd(), name, attributes).map_err(path.fault())
    }

    /// Hides `name` of lower layers: as overlay filesystems write it, a character device 0:0.
    ///
    /// What this layer itself has under that name stays; a folder is made opaque, a file hides the lower one already.
    pub(super) fn whiteout(&mut self, folder: &LayerPath, name: &[u8]) -> Result<(), LayerFault> {
        let path = folder.join(name);
        self.charge(0)?;
        let parent = self.open_folder(folder)?;
        match stat_if_any(parent.as_fd(), name).map_err(path.fault())? {
            None => mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0).map_err(path.fault()),
            Some(stat) if is(&stat, FileType::Directory) => {
                self.opaque.push(path);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// Hides everything that lower layers have in `folder`.
    pub(super) fn opaque(&mut self, folder: &LayerPath) -> Result<(), LayerFault> {
        self.charge(0)?;
        self.open_folder(folder)?;
        self.opaque.push(folder.clone());
        Ok(())
    }

    /// Sets the folders' times and hands out what was counted.
    pub(super) fn finish(mut self) -> Result<Finished, LayerFault> {
        for (path, mtime) in std::mem::take(&mut self.folder_times) {
            match self.open_below(&path, ResolveFlags::NO_SYMLINKS, OFlags::RDONLY) {
                Ok(folder) => futimens(&folder, &times(mtime)).map_err(path.fault())?,
                // A later entry put something else in its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(path.fault()(errno)),
            }
        }
        let mut opaque = std::mem::take(&mut self.opaque);
        opaque.retain(|path| self.open_below(path, ResolveFlags::NO_SYMLINKS, OFlags::RDONLY).is_ok());
        opaque.sort();
        opaque.dedup();
        Ok(Finished {
            entries: self.entries,
            bytes: self.bytes,
            opaque: opaque.into_iter().map(|path| path.0).collect(),
        })
    }

    /// Counts one more entry of `size` bytes.
    fn charge(&mut self, size: u64) -> Result<(), LayerFault> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(LayerFault::TooManyEntries {
                limit: self.limits.entries,
            });
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes.saturating_add(self.entries.saturating_mul(ENTRY_COST)) > self.limits.total.0 {
            return Err(LayerFault::TooLarge {
                limit: self.limits.total.0,
            });
        }
        Ok(())
    }

    /// The open folder of `path` and its name, with whatever had that name removed.
    fn vacant<'p>(&mut self, path: &'p LayerPath) -> Result<(OwnedFd, &'p [u8]), LayerFault> {
        let (_, name) = path.split().ok_or_else(|| LayerFault::Escapes { path: path.shown() })?;
        let parent_path = LayerPath(
            path.0
                .get(..path.0.len().saturating_sub(name.len() + 1))
                .unwrap_or_default()
                .to_vec(),
        );
        let parent = self.open_folder(&parent_path)?;
        if stat_if_any(parent.as_fd(), name).map_err(path.fault())?.is_some() {
            self.remove(parent.as_fd(), name, path)?;
        }
        Ok((parent, name))
    }

    /// Opens the folder at `path`, making what is missing of it.
    fn open_folder(&mut self, path: &LayerPath) -> Result<OwnedFd, LayerFault> {
        match self.open_below(path, ResolveFlags::empty(), OFlags::PATH) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(path.fault()(errno)),
        }
        let Some((parent_path, name)) = path.split() else {
            return Err(path.fault()(Errno::NOENT));
        };
        let parent = self.open_folder(&parent_path)?;
        self.charge(0)?;
        mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map_err(path.fault())?;
        self.open_below(path, ResolveFlags::empty(), OFlags::PATH)
            .map_err(path.fault())
    }

    fn open_below(&self, path: &LayerPath, resolve: ResolveFlags, access: OFlags) -> rustix::io::Result<OwnedFd> {
        let inside = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let name = if path.0.is_empty() { b".".as_slice() } else { &path.0 };
        openat2(
            &self.root,
            name,
            access | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            inside,
        )
    }

    fn remove(&self, parent: BorrowedFd<'_>, name: &[u8], path: &LayerPath) -> Result<(), LayerFault> {
        remove_all(parent, name, self.limits.depth).map_err(path.fault())
    }

    fn copy_exactly(
        &mut self,
        path: &LayerPath,
        size: u64,
        content: &mut impl Read,
        file: &mut std::fs::File,
    ) -> Result<(), LayerFault> {
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(COPY_BUFFER).min(COPY_BUFFER);
            let chunk = self.buffer.get_mut(..want).unwrap_or_default();
            let got = content.read(chunk).map_err(|error| LayerFault::Damaged {
                reason: error.to_string(),
            })?;
            if got == 0 {
                return Err(LayerFault::Damaged {
                    reason: format!("it ends inside {:?}", path.shown()),
                });
            }
            file.write_all(chunk.get(..got).unwrap_or_default())
                .map_err(|error| LayerFault::Entry {
                    path: path.shown(),
                    reason: error.to_string(),
                })?;
            left = left.saturating_sub(u64::try_from(got).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Owner and time of something that is not opened.
    fn dress(&self, parent: BorrowedFd<'_>, name: &[u8], attributes: Attributes) -> rustix::io::Result<()> {
        chownat(
            parent,
            name,
            Some(uid(attributes)),
            Some(gid(attributes)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        utimensat(parent, name, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn remove_all(parent: BorrowedFd<'_>, name: &[u8], levels: usize) -> rustix::io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        done => return done,
    }
    let levels = levels.checked_sub(1).ok_or(Errno::LOOP)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove_all(folder.as_fd(), name, levels)?;
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn stat_if_any(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn uid(attributes: Attributes) -> Uid {
    Uid::from_raw(attributes.uid)
}

fn gid(attributes: Attributes) -> Gid {
    Gid::from_raw(attributes.gid)
}

fn mode(attributes: Attributes) -> Mode {
    Mode::from_raw_mode(attributes.mode & 0o7777)
}

fn times(mtime: i64) -> Timestamps {
    let at = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: at,
        last_modification: at,
    }
}

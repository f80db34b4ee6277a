//! Reading what a part wrote below `/out`, while the part may still change everything there.
//!
//! Invariant: every path is opened from the folder's descriptor with `openat2`, without symbolic links, magic links or
//! other mounts on the way, and without waiting (a pipe without a writer opens at once and is then refused). So nothing
//! that the part does can make the shim read outside, block or follow.

#![expect(unsafe_code, reason = "file leases have no wrapper in rustix")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use gpux_job::OUT;
use gpux_types::ByteSize;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use crate::runtime::OutputFile;

/// Most files in one answer.
const MAX_FILES: usize = 10_000;

/// Most folder entries looked at for one answer: the shim has other duties, and 50,000 take some 100 ms.
const MAX_ENTRIES: usize = 50_000;

/// Deepest folder looked into; the kernel's own limit on paths is near 2,000.
const MAX_DEPTH: usize = 64;

/// Lists the regular files that match, in order of their paths.
pub(crate) fn list(out: &Path, pattern: &str) -> io::Result<Vec<OutputFile>> {
    let root = open_root(out)?;
    let mut listing = Listing {
        root: &root,
        pattern,
        entries: 0,
        found: Vec::new(),
    };
    listing.visit(Path::new(""), 0)?;
    let mut found = listing.found;
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Opens one file of the folder. `path` is as the part sees it.
pub(crate) fn open(out: &Path, path: &str) -> io::Result<File> {
    let below = path
        .strip_prefix(OUT)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not below /out"))?;
    let (file, _) = open_regular(&open_root(out)?, Path::new(below))?
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))?;
    Ok(file)
}

fn open_root(out: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, out, flags, Mode::empty())?)
}

fn open_below(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// The file and its size; `None` when there is something else under the name.
fn open_regular(root: &OwnedFd, path: &Path) -> io::Result<Option<(File, rustix::fs::Stat)>> {
    let fd = match open_below(root, path, OFlags::RDONLY) {
        Ok(fd) => fd,
        // A symbolic link, a socket, or a device without a driver.
        Err(Errno::LOOP | Errno::NXIO | Errno::XDEV) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = fstat(&fd)?;
    Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| (File::from(fd), stat)))
}

struct Listing<'a> {
    root: &'a OwnedFd,
    pattern: &'a str,
    entries: usize,
    found: Vec<OutputFile>,
}

impl Listing<'_> {
    fn visit(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let opened = if depth == 0 {
            openat(
                self.root,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        } else {
            open_below(self.root, folder, OFlags::RDONLY | OFlags::DIRECTORY)
        };
        let fd = match opened {
            Ok(fd) => fd,
            // Removed or replaced since it was listed.
            Err(_) if depth > 0 => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        for entry in Dir::new(fd)? {
            let Ok(entry) = entry else { break };
            // A name that is not UTF-8 cannot be said in an answer.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES || self.found.len() >= MAX_FILES {
                return Ok(());
            }
            let path = folder.join(name);
            if entry.file_type() == FileType::RegularFile {
                self.take(&path)?;
            } else if entry.file_type() == FileType::Directory && depth < MAX_DEPTH {
                self.visit(&path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, below: &Path) -> io::Result<()> {
        let path = Path::new(OUT).join(below);
        let Some(path) = path.to_str().filter(|path| gpux_job::path_matches(self.pattern, path)) else {
            return Ok(());
        };
        match open_regular(self.root, below) {
            Ok(Some((file, stat))) => self.found.push(OutputFile {
                path: path.to_owned(),
                size: ByteSize(u64::try_from(stat.st_size).unwrap_or(0)),
                modified_unix_ms: modified_unix_ms(&stat),
                complete: nobody_writes(&file),
            }),
            // Removed or replaced since it was listed.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn modified_unix_ms(stat: &rustix::fs::Stat) -> u64 {
    let ms = i128::from(stat.st_mtime) * 1_000 + i128::from(stat.st_mtime_nsec) / 1_000_000;
    u64::try_from(ms).unwrap_or(0)
}

/// Chooses the signal of a lease that is broken; in the kernel's generic numbering, which every architecture shares.
const F_SETSIG: libc::c_int = 10;

/// Whether no process has the file open for writing: the kernel grants a read lease only then.
fn nobody_writes(file: &File) -> bool {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the three calls take a descriptor that is open for their length, and integers. Why not safe: leases have no
    // wrapper. A writer that comes while the lease is held waits for its end, a few microseconds; the signal that tells
    // of it is SIGURG, which is ignored, instead of SIGIO, which would end this process.
    unsafe {
        if libc::fcntl(fd, F_SETSIG, libc::SIGURG) != 0 || libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) != 0 {
            return false;
        }
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(out: &Path, pattern: &str) -> Vec<String> {
        list(out, pattern).unwrap().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn regular_files_are_listed_in_order_and_read_back() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("deep")).unwrap();
        for name in ["b.png", "a.png", "deep/c.png", "note.txt"] {
            fs::write(out.path().join(name), name).unwrap();
        }
        assert_eq!(paths(out.path(), "/out/*.png"), ["/out/a.png", "/out/b.png"]);
        assert_eq!(
            paths(out.path(), "/out/**/*.png"),
            ["/out/a.png", "/out/b.png", "/out/deep/c.png"]
        );
        let mut text = String::new();
        open(out.path(), "/out/deep/c.png")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "deep/c.png");
    }

    #[test]
    fn links_pipes_and_sockets_are_neither_listed_nor_opened() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let out = tempfile::tempdir().unwrap();
        symlink(outside.path().join("secret"), out.path().join("link")).unwrap();
        symlink(outside.path(), out.path().join("folder")).unwrap();
        symlink("/proc/self/environ", out.path().join("magic")).unwrap();
        rustix::fs::mknodat(CWD, out.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(out.path().join("socket")).unwrap();
        assert!(paths(out.path(), "/out/**").is_empty());
        for path in [
            "/out/link",
            "/out/folder/secret",
            "/out/magic",
            "/out/pipe",
            "/out/socket",
            "/out/../secret",
        ] {
            assert!(open(out.path(), path).is_err(), "{path}");
        }
        assert!(open(out.path(), "/etc/passwd").is_err());
    }

    #[test]
    fn a_file_that_is_being_written_is_listed_as_incomplete() {
        let out = tempfile::tempdir().unwrap();
        let mut file = File::create(out.path().join("frame")).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!list(out.path(), "/out/*").unwrap()[0].complete);
        drop(file);
        let listed = list(out.path(), "/out/*").unwrap();
        assert!(listed[0].complete);
        assert_eq!(listed[0].size, ByteSize(4));
        assert!(listed[0].modified_unix_ms > 1_600_000_000_000);
    }
}

//! User namespaces as maps of ids, and id-mapped copies of a folder's mount.
//!
//! A user namespace needs a process to be born in: a hidden verb of this binary unshares one and waits; its map is written, its
//! descriptor opened, and the process ends. The descriptor alone keeps the map alive.

#![expect(
    unsafe_code,
    reason = "mount_setattr has no wrapper in rustix; unshare is marked unsafe there"
)]

use super::uid_range::{UID_RANGE_LEN, UidRange};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The hidden verb of the process that a user namespace is born in.
pub(crate) const USER_NAMESPACE_VERB: &str = "__userns";

/// What the waiting process writes once it is in its new namespace.
const READY: u8 = b'+';

/// Why a map of ids could not be made or applied.
#[derive(Debug, thiserror::Error)]
pub enum IdMapError {
    /// The program that knows the hidden verbs did not start or did not answer.
    #[error("making a user namespace with {program}")]
    Create {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused the map.
    #[error("mapping ids {inside} to {outside} in a new user namespace")]
    Map {
        /// First id as the namespace sees it.
        inside: u32,
        /// First id of the host.
        outside: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The folder could not be mounted with its ids mapped.
    #[error("mounting {path} with its owners mapped (the file system must support id-mapped mounts)")]
    Mount {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A user namespace that maps 65,536 ids, held by its descriptor.
#[derive(Debug)]
pub struct UserNamespace {
    fd: OwnedFd,
}

impl UserNamespace {
    /// The map under which files owned by `on_disk` appear as owned by `shown`: the argument of [`super::mount_rootfs`].
    ///
    /// `program` is the binary that answers to the hidden verbs.
    ///
    /// # Errors
    /// When the process cannot be started or the kernel refuses the map (needs root).
    pub fn of_mount(program: &Path, on_disk: UidRange, shown: UidRange) -> Result<Self, IdMapError> {
        Self::create(program, on_disk.first, shown)
    }

    /// A namespace whose users 0 to 65,535 are the host's `outside`.
    ///
    /// # Errors
    /// As [`Self::of_mount`].
    pub fn of_process(program: &Path, outside: UidRange) -> Result<Self, IdMapError> {
        Self::create(program, 0, outside)
    }

    fn create(program: &Path, inside: u32, outside: UidRange) -> Result<Self, IdMapError> {
        let create = |source| IdMapError::Create {
            program: program.to_owned(),
            source,
        };
        let mut child = Command::new(program)
            .arg(USER_NAMESPACE_VERB)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(create)?;
        let mut ready = [0u8; 1];
        let answer = match child.stdout.take() {
            Some(mut out) => out.read_exact(&mut ready),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        let opened = answer.and_then(|()| {
            if ready == [READY] {
                Ok(())
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        });
        let result = opened.map_err(create).and_then(|()| {
            let process = PathBuf::from(format!("/proc/{}", child.id()));
            write_maps(&process, inside, outside)?;
            let fd = File::open(process.join("ns/user")).map_err(create)?.into();
            Ok(Self { fd })
        });
        drop(child.stdin.take());
        let ended = child.wait();
        let namespace = result?;
        ended.map_err(create)?;
        Ok(namespace)
    }

    /// A detached copy of `path`'s mount, read-only, whose owners are mapped. Attach it with `move_mount`.
    pub(crate) fn map_tree(&self, path: &Path) -> Result<OwnedFd, IdMapError> {
        let refused = |errno: rustix::io::Errno| IdMapError::Mount {
            path: path.to_owned(),
            source: errno.into(),
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, path, flags).map_err(refused)?;
        set_id_map(tree.as_fd(), self.fd.as_fd()).map_err(refused)?;
        Ok(tree)
    }
}

impl AsFd for UserNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn write_maps(process: &Path, inside: u32, outside: UidRange) -> Result<(), IdMapError> {
    let line = format!("{inside} {} {UID_RANGE_LEN}\n", outside.first);
    for name in ["uid_map", "gid_map"] {
        fs::OpenOptions::new()
            .write(true)
            .open(process.join(name))
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|source| IdMapError::Map {
                inside,
                outside: outside.first,
                source,
            })?;
    }
    Ok(())
}

/// The hidden verb: enters a new user namespace, says so, and waits until its input ends.
pub(crate) fn wait_as_user_namespace() -> ExitCode {
    // SAFETY: the call is unsafe only for `CLONE_FILES`, which is not among the flags.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) };
    let said = unshared
        .map_err(io::Error::from)
        .and_then(|()| io::stdout().write_all(&[READY]))
        .and_then(|()| io::stdout().flush());
    if said.is_err() {
        return ExitCode::FAILURE;
    }
    match io::copy(&mut io::stdin(), &mut io::sink()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// `mount_setattr(tree, "", AT_EMPTY_PATH, {IDMAP | RDONLY | NOSUID | NODEV})`.
fn set_id_map(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let userns_fd = u64::try_from(namespace.as_raw_fd()).map_err(|_| rustix::io::Errno::BADF)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd,
    };
    // SAFETY: the call reads `size_of::<mount_attr>()` bytes of `attributes` and a C string, both alive for its length, and keeps
    // neither; both descriptors are borrowed. Why not safe: no crate in the tree wraps this call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        let errno = io::Error::last_os_error();
        Err(rustix::io::Errno::from_io_error(&errno).unwrap_or(rustix::io::Errno::INVAL))
    }
}

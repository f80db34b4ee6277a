//! The disk of a lease: a sparse ext4 file on a loop device, of exactly the size that was sold.
//!
//! It gives the container a true "no space left on device" where a project quota is not to be had. The file has no name once it is
//! attached, so its space comes back by itself when the last mount is gone, however the shim ends.
//!
//! The file is sparse: that the host has the space is the promise of whoever admits leases, not of this module.

use super::loop_device::LoopDevice;
use super::uid_range::UidRange;
use gpux_types::ByteSize;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, chownat, mkdirat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The smallest disk: below it ext4 leaves next to nothing for files.
const MIN_SIZE: ByteSize = ByteSize(4 << 20);

/// What to make and where.
#[derive(Debug, Clone, Copy)]
pub struct DiskRequest<'a> {
    /// Where the file is made; its name is gone when [`Disk::mount`] returns. Must not exist.
    pub file: &'a Path,
    /// The size of the file system, metadata included.
    pub size: ByteSize,
    /// An existing folder, on which the disk appears.
    pub mount_point: &'a Path,
    /// Whose user 0 owns the folders that containers write to.
    pub owner: UidRange,
}

/// Why a disk could not be made, used or taken down.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Too small for a file system.
    #[error("making a disk of {size}: the smallest is {MIN_SIZE}")]
    TooSmall {
        /// What was asked.
        size: ByteSize,
    },
    /// The file could not be made.
    #[error("making the disk file {file} of {size}")]
    File {
        /// The file.
        file: PathBuf,
        /// Its size.
        size: ByteSize,
        /// What the system said.
        source: io::Error,
    },
    /// `mkfs.ext4` is missing or did not start.
    #[error("starting mkfs.ext4 for {file} (Debian has it in the package e2fsprogs)")]
    StartFormat {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `mkfs.ext4` failed.
    #[error("formatting {file} as ext4: mkfs.ext4 ended with {status}: {message}")]
    Format {
        /// The file.
        file: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote.
        message: String,
    },
    /// No loop device could be had.
    #[error("putting {file} behind a loop device")]
    Loop {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused the mount.
    #[error("mounting {device} on {mount_point}")]
    Mount {
        /// The loop device.
        device: PathBuf,
        /// The folder.
        mount_point: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder for a container's writes could not be made.
    #[error("making the folder {path} on a lease's disk")]
    Upper {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is still mounted.
    #[error("unmounting {mount_point}")]
    Unmount {
        /// The folder.
        mount_point: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Two folders on a disk for one overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperDirs {
    /// What the container writes; owned by its user 0.
    pub upper: PathBuf,
    /// For the kernel.
    pub work: PathBuf,
}

/// A mounted disk; unmounted on drop, and its space given back.
#[derive(Debug)]
#[must_use = "dropping it takes the disk down"]
pub struct Disk {
    mount_point: PathBuf,
    owner: UidRange,
    mounted: bool,
}

impl Disk {
    /// Makes, formats, attaches and mounts a disk, in the caller's mount namespace. Takes some 25 ms, whatever the size.
    ///
    /// # Errors
    /// When a step fails; nothing is left then.
    pub fn mount(request: &DiskRequest<'_>) -> Result<Self, DiskError> {
        if request.size < MIN_SIZE {
            return Err(DiskError::TooSmall { size: request.size });
        }
        let device = formatted_device(request);
        if let Err(error) = fs::remove_file(request.file)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(DiskError::File {
                file: request.file.to_owned(),
                size: request.size,
                source: error,
            });
        }
        let device = device?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
        // Without a journal and with tables known to be zero there is nothing to keep in order or to fill in later.
        mount(
            device.path(),
            request.mount_point,
            "ext4",
            flags,
            c"noinit_itable,nobarrier",
        )
        .map_err(|errno| DiskError::Mount {
            device: device.path().to_owned(),
            mount_point: request.mount_point.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self {
            mount_point: request.mount_point.to_owned(),
            owner: request.owner,
            mounted: true,
        })
    }

    /// The folder on which it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// New, empty folders `NAME/upper` and `NAME/work` on the disk; `name` is one path component that was not used before.
    ///
    /// # Errors
    /// When the folders exist already or the disk is full.
    pub fn new_upper(&self, name: &str) -> Result<UpperDirs, DiskError> {
        let base = self.mount_point.join(name);
        let dirs = UpperDirs {
            upper: base.join("upper"),
            work: base.join("work"),
        };
        let root = (Uid::from_raw(self.owner.first), Gid::from_raw(self.owner.first));
        for path in [&base, &dirs.upper, &dirs.work] {
            let mode = if path == &dirs.upper { 0o755 } else { 0o700 };
            mkdirat(CWD, path, Mode::from_raw_mode(mode))
                .and_then(|()| rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()))
                .and_then(|()| match path == &dirs.upper {
                    true => chownat(CWD, path, Some(root.0), Some(root.1), AtFlags::SYMLINK_NOFOLLOW),
                    false => Ok(()),
                })
                .map_err(|errno| DiskError::Upper {
                    path: path.clone(),
                    source: errno.into(),
                })?;
        }
        Ok(dirs)
    }

    /// Unmounts, and says when that fails (a process or an overlay still uses it).
    ///
    /// # Errors
    /// When the kernel refuses; the mount is then detached on drop, so that it goes with its last user.
    pub fn unmount(mut self) -> Result<(), DiskError> {
        unmount(&self.mount_point, UnmountFlags::NOFOLLOW).map_err(|errno| DiskError::Unmount {
            mount_point: self.mount_point.clone(),
            source: errno.into(),
        })?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted
            && let Err(errno) = unmount(&self.mount_point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
        {
            tracing::warn!(mount_point = %self.mount_point.display(), error = %errno, "a lease's disk stays mounted");
        }
    }
}

/// A loop device over a new file that holds an empty file system.
fn formatted_device(request: &DiskRequest<'_>) -> Result<LoopDevice, DiskError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(request.file)
        .and_then(|file| file.set_len(request.size.0).map(|()| file))
        .map_err(|source| DiskError::File {
            file: request.file.to_owned(),
            size: request.size,
            source,
        })?;
    format(request)?;
    LoopDevice::attach(&file).map_err(|source| DiskError::Loop {
        file: request.file.to_owned(),
        source,
    })
}

fn format(request: &DiskRequest<'_>) -> Result<(), DiskError> {
    let output = Command::new("mkfs.ext4")
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard"])
        .arg(request.file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|source| DiskError::StartFormat {
            file: request.file.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(DiskError::Format {
        file: request.file.to_owned(),
        status: output.status,
        message: text.trim().chars().take(400).collect(),
    })
}

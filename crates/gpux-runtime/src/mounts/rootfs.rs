//! The root file system of a container: an overlay whose lowers are the image's layers, seen with the lease's own owners.
//!
//! Each layer's folder is cloned as a detached mount, its ids mapped, and attached for a moment to a staging folder, because the
//! overlay takes only attached mounts as lowers (kernels before 6.15). The overlay keeps private copies of them, so the staging
//! mounts are gone again before [`mount_rootfs`] returns: one mount is left, the overlay.

use super::id_map::{IdMapError, UserNamespace};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, UnmountFlags, mount, move_mount, unmount};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What to mount where.
#[derive(Debug)]
pub struct RootfsRequest<'a> {
    /// Folders of unpacked layers, the topmost first; at least one.
    pub layers: &'a [PathBuf],
    /// Maps the owners on disk to the lease's range: see [`UserNamespace::of_mount`].
    pub ids: &'a UserNamespace,
    /// An empty folder for what the container writes, on the lease's disk. Its owner and mode become those of `/`.
    pub upper: &'a Path,
    /// An empty folder beside `upper`, on the same disk, for the kernel's own use.
    pub work: &'a Path,
    /// The folder on which the root file system appears.
    pub target: &'a Path,
}

/// Why a root file system could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountRootfsError {
    /// There is nothing to mount.
    #[error("mounting a root file system on {target}: the image has no layers")]
    NoLayers {
        /// The folder.
        target: PathBuf,
    },
    /// A path holds a character that the overlay's options cannot carry.
    #[error("mounting a root file system with {path}: the path holds a comma, a colon, a backslash or a zero byte")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A layer could not be mapped.
    #[error("mapping the owners of an image layer")]
    IdMap(#[from] IdMapError),
    /// The staging folder could not be made or a layer attached to it.
    #[error("attaching the layer {layer} to {staging}")]
    Stage {
        /// The layer's folder.
        layer: PathBuf,
        /// The staging folder.
        staging: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused the overlay.
    #[error("mounting the overlay of {layers} layers on {target}")]
    Overlay {
        /// How many lowers it has.
        layers: usize,
        /// The folder.
        target: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The overlay is still there.
    #[error("unmounting {target}")]
    Unmount {
        /// The folder.
        target: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A mounted root file system; unmounted on drop.
#[derive(Debug)]
#[must_use = "dropping it unmounts the root file system"]
pub struct Rootfs {
    target: PathBuf,
    mounted: bool,
}

impl Rootfs {
    /// The folder on which it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Unmounts, and says when that fails (a process still uses it).
    ///
    /// # Errors
    /// When the kernel refuses; the mount is then detached on drop, so that it goes with its last user.
    pub fn unmount(mut self) -> Result<(), MountRootfsError> {
        unmount(&self.target, UnmountFlags::NOFOLLOW).map_err(|errno| MountRootfsError::Unmount {
            target: self.target.clone(),
            source: errno.into(),
        })?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        if self.mounted
            && let Err(errno) = unmount(&self.target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
        {
            tracing::warn!(target = %self.target.display(), error = %errno, "a root file system stays mounted");
        }
    }
}

/// Mounts the layers under the upper folder on `target`, in the caller's mount namespace.
///
/// # Errors
/// When a layer or the overlay cannot be mounted; nothing is left mounted then.
pub fn mount_rootfs(request: &RootfsRequest<'_>) -> Result<Rootfs, MountRootfsError> {
    mount_overlay(request)?;
    Ok(Rootfs {
        target: request.target.to_owned(),
        mounted: true,
    })
}

/// The same for a caller whose mount namespace is its own and ends with it: nothing is unmounted, neither the root file system nor
/// the staged layers. Detaching a mount waits for every processor, some milliseconds each time.
///
/// # Errors
/// When a layer or the overlay cannot be mounted; the caller is to end then.
pub(crate) fn mount_rootfs_for_good(request: &RootfsRequest<'_>) -> Result<(), MountRootfsError> {
    std::mem::forget(mount_overlay(request)?);
    Ok(())
}

/// Mounts the overlay, and hands out the layers that are still staged.
fn mount_overlay(request: &RootfsRequest<'_>) -> Result<StagedLayers, MountRootfsError> {
    if request.layers.is_empty() {
        return Err(MountRootfsError::NoLayers {
            target: request.target.to_owned(),
        });
    }
    let upper = option_path(request.upper)?;
    let work = option_path(request.work)?;
    let staged = StagedLayers::attach(request)?;
    let mut options = b"lowerdir=".to_vec();
    options.extend_from_slice(staged.lowerdir().as_bytes());
    options.extend_from_slice(b",upperdir=");
    options.extend_from_slice(upper);
    options.extend_from_slice(b",workdir=");
    options.extend_from_slice(work);
    // The upper folder lives no longer than the lease, so nothing is gained by syncing it.
    options.extend_from_slice(b",volatile,redirect_dir=off,metacopy=off,index=off,xino=off");
    let overlay = |errno: Errno| MountRootfsError::Overlay {
        layers: request.layers.len(),
        target: request.target.to_owned(),
        source: errno.into(),
    };
    let options = CString::new(options).map_err(|_| overlay(Errno::INVAL))?;
    mount("gpux", request.target, "overlay", MountFlags::NODEV, options.as_c_str()).map_err(overlay)?;
    Ok(staged)
}

/// A path as the overlay's comma-separated options can carry it.
fn option_path(path: &Path) -> Result<&[u8], MountRootfsError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| b",:\\\0".contains(byte)) {
        return Err(MountRootfsError::Path { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Id-mapped layers, attached one above the other to a staging folder for as long as this lives.
struct StagedLayers {
    staging: PathBuf,
    trees: Vec<OwnedFd>,
}

impl StagedLayers {
    fn attach(request: &RootfsRequest<'_>) -> Result<Self, MountRootfsError> {
        let mut staging = request.target.as_os_str().to_owned();
        staging.push(".layers");
        let staging = PathBuf::from(staging);
        let stage = |layer: &Path, source: io::Error| MountRootfsError::Stage {
            layer: layer.to_owned(),
            staging: staging.clone(),
            source,
        };
        fs::create_dir_all(&staging).map_err(|source| stage(request.target, source))?;
        let mut staged = Self {
            staging: staging.clone(),
            trees: Vec::with_capacity(request.layers.len()),
        };
        for layer in request.layers {
            let tree = request.ids.map_tree(layer)?;
            move_mount(&tree, "", CWD, &staged.staging, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .map_err(|errno| stage(layer, errno.into()))?;
            staged.trees.push(tree);
        }
        Ok(staged)
    }

    /// The lowers by descriptor: short whatever the folders are called, so that 127 layers fit the one page of mount options.
    fn lowerdir(&self) -> String {
        let names: Vec<String> = self
            .trees
            .iter()
            .map(|tree| format!("/proc/self/fd/{}", tree.as_raw_fd()))
            .collect();
        names.join(":")
    }
}

impl Drop for StagedLayers {
    fn drop(&mut self) {
        for _ in &self.trees {
            if let Err(errno) = unmount(&self.staging, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
                tracing::warn!(staging = %self.staging.display(), error = %errno, "a staged layer stays mounted");
            }
        }
        if let Err(error) = fs::remove_dir(&self.staging) {
            tracing::warn!(staging = %self.staging.display(), %error, "a staging folder stays");
        }
    }
}

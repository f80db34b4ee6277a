//! The stage of a lease: everything mounted or made once, before the first part.
//!
//! The shim mounts in a namespace of its own, so that whatever way it ends, its mounts and with them the disk's loop
//! device end as well. Below `RUN/LEASE/mounts`, on a small memory file system that only the shim sees:
//!
//! ```text
//! disk/            the lease's disk
//!   PART/          upper and work folder of a part's root file system
//!   PART.io/       out and tmp of the part
//! inputs/N         the inputs, read-only, owned by the lease's user 0
//! roots/PART/      mount point of a part's root file system (mounted in the part's namespace)
//! bundles/PART/    its specification, as the container library reads it
//! states/PART/     what the container library keeps
//! ```

#![expect(unsafe_code, reason = "rustix marks unshare unsafe because of CLONE_FILES")]

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use gpux_types::ByteSize;
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount, mount_change, move_mount, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::mounts::{Disk, DiskError, DiskRequest, IdMapError, UserNamespace};
use crate::records::{self, LeaseFiles, LeaseRecord};
use crate::runtime::PartKey;

/// Why a lease has no stage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("{attempted}")]
    System { attempted: String, source: io::Error },
    #[error("making the lease's disk")]
    Disk(#[from] DiskError),
    #[error("mapping the lease's users")]
    Ids(#[from] IdMapError),
}

impl SetupError {
    fn on(verb: &str, path: &Path) -> impl Fn(io::Error) -> Self {
        let attempted = format!("{verb} {}", path.display());
        move |source| Self::System {
            attempted: attempted.clone(),
            source,
        }
    }
}

/// What is there for every part.
#[derive(Debug)]
pub(crate) struct Stage {
    mounts: PathBuf,
    disk: Disk,
    layer_ids: UserNamespace,
    inputs: Vec<(PathBuf, PathBuf)>,
    hostname: String,
}

/// Gives the calling process, which must have one thread, mounts of its own. What the host mounts and unmounts later is
/// still seen; what is mounted here is seen by nobody else.
pub(crate) fn leave_host_mounts() -> Result<(), SetupError> {
    let failed = |errno: rustix::io::Errno| SetupError::System {
        attempted: "making the shim's mount namespace".into(),
        source: errno.into(),
    };
    // SAFETY: the call is unsafe only for `CLONE_FILES`, which is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(failed)
}

impl Stage {
    /// Makes all of it. The caller has left the host's mounts.
    pub(crate) fn prepare(record: &LeaseRecord, files: &LeaseFiles) -> Result<Self, SetupError> {
        let mounts = records::mounts(&record.run);
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        mount("gpux", &mounts, "tmpfs", flags, c"mode=0711,size=16m")
            .map_err(|errno| SetupError::on("mounting a memory file system on", &mounts)(errno.into()))?;
        for name in ["disk", "inputs", "roots", "bundles", "states"] {
            let path = mounts.join(name);
            DirBuilder::new()
                .mode(0o711)
                .create(&path)
                .map_err(SetupError::on("making", &path))?;
        }
        let disk = Disk::mount(&DiskRequest {
            file: &files.disk(),
            size: record.spec.resources.disk,
            mount_point: &mounts.join("disk"),
            owner: record.lease_ids,
        })?;
        let layer_ids = UserNamespace::of_mount(&record.program, record.store_ids, record.lease_ids)?;
        let inputs = mount_inputs(record, &mounts.join("inputs"))?;
        Ok(Self {
            mounts,
            disk,
            layer_ids,
            inputs,
            hostname: records::short_name(record.spec.lease).chars().take(12).collect(),
        })
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(crate) fn layer_ids(&self) -> &UserNamespace {
        &self.layer_ids
    }

    /// Where each input is mounted, and where parts see it.
    pub(crate) fn inputs(&self) -> &[(PathBuf, PathBuf)] {
        &self.inputs
    }

    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    pub(crate) fn root(&self, part: PartKey) -> PathBuf {
        self.mounts.join("roots").join(part.to_string())
    }

    pub(crate) fn bundle(&self, part: PartKey) -> PathBuf {
        self.mounts.join("bundles").join(part.to_string())
    }

    pub(crate) fn states(&self) -> PathBuf {
        self.mounts.join("states")
    }

    pub(crate) fn out(&self, part: PartKey) -> PathBuf {
        self.disk.path().join(format!("{part}.io")).join("out")
    }

    pub(crate) fn tmp(&self, part: PartKey) -> PathBuf {
        self.disk.path().join(format!("{part}.io")).join("tmp")
    }

    /// Bytes used on the disk.
    pub(crate) fn disk_used(&self) -> ByteSize {
        rustix::fs::statvfs(self.disk.path()).map_or(ByteSize(0), |stat| {
            ByteSize(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
        })
    }

    /// Forgets what was made for a part that is over, except its output. Failing is no harm: the rest goes with the
    /// lease.
    pub(crate) fn clear_part(&self, part: PartKey) {
        let staging = self.mounts.join("roots").join(format!("{part}.layers"));
        for path in [
            self.bundle(part),
            self.states().join(part.to_string()),
            self.root(part),
            staging,
        ] {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// Takes everything down.
    pub(crate) fn take_down(self) {
        drop(self.disk);
        let _ = unmount(&self.mounts, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

/// Mounts each input with its owner, the host's root, shown as the lease's user 0.
fn mount_inputs(record: &LeaseRecord, below: &Path) -> Result<Vec<(PathBuf, PathBuf)>, SetupError> {
    if record.spec.inputs.is_empty() {
        return Ok(Vec::new());
    }
    let ids = UserNamespace::of_process(&record.program, record.lease_ids)?;
    let mut mounted = Vec::new();
    for (number, input) in record.spec.inputs.iter().enumerate() {
        let target = below.join(number.to_string());
        let is_dir = fs::symlink_metadata(&input.source)
            .map_err(SetupError::on("reading", &input.source))?
            .is_dir();
        let made = if is_dir {
            fs::create_dir(&target)
        } else {
            fs::File::create(&target).map(drop)
        };
        made.map_err(SetupError::on("making", &target))?;
        let tree = ids.map_tree(&input.source)?;
        move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|errno| SetupError::on("mounting", &target)(errno.into()))?;
        mounted.push((target, input.target.clone()));
    }
    Ok(mounted)
}

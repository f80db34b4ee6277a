//! Root file systems and disks of leases: user-id ranges, id-mapped layers, the overlay over them, and the loop-mounted disk that
//! bounds what a lease may write.
//!
//! Called by the shim, inside a mount namespace of its own. Everything here is synchronous and short (milliseconds). Nothing here
//! reads an image or decides how much disk a lease gets.
//!
//! Invariant: each guard type undoes exactly what it did, on `Drop` as on the explicit call; a process that dies instead leaves
//! nothing either, because the loop device clears itself with its last mount and mounts die with their namespace.

mod disk;
mod id_map;
mod loop_device;
mod namespaces;
mod rootfs;
mod uid_range;

pub use disk::{Disk, DiskError, DiskRequest, UpperDirs};
pub use id_map::{IdMapError, UserNamespace};
pub(crate) use id_map::{USER_NAMESPACE_VERB, wait_as_user_namespace};
pub(crate) use namespaces::{enter_user_namespace, unshare_for_jail};
pub(crate) use rootfs::mount_rootfs_for_good;
pub use rootfs::{MountRootfsError, Rootfs, RootfsRequest, mount_rootfs};
pub use uid_range::{UID_RANGE_LEN, UidRange, UidRangeError, UidRanges};

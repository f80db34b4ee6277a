//! Containers, images and disks of leases: the one crate that knows how a node runs somebody else's program.

mod cgroups;
mod embedded;
mod hidden;
mod images;
mod layers;
mod log_files;
mod measure;
mod meter_file;
mod mounts;
mod records;
mod runtime;
mod shim;

pub use embedded::{ClaimUidsError, EmbeddedRuntime, OpenRuntimeError, RuntimeConfig};
pub use hidden::run_if_hidden;
pub use images::{
    Compression, Digest, ImageConfig, ImageStore, LayerDescriptor, LayoutError, MAX_CONFIG_BYTES, ManifestError,
    ParseDigestError, ParsedConfig, PullError, ReadConfigError, ResolveError, ResolvedImage, image_architecture,
};
pub use layers::{FeedError, LayerFault, LayerHold, LayerStore, OpenStoreError, UnpackError, UnpackLimits};
pub use measure::{Machine, MeasureError};
pub use mounts::{
    Disk, DiskError, DiskRequest, IdMapError, MountRootfsError, Rootfs, RootfsRequest, UID_RANGE_LEN, UidRange,
    UidRangeError, UidRanges, UpperDirs, UserNamespace, mount_rootfs,
};
pub use runtime::{
    AdoptError, CreateLeaseError, ERRNO_FROZEN, EndedBy, FinalUsage, InputMount, LeaseEnd, LeaseSpec, LeaseStatus,
    LogChunk, OutputFile, PartKey, PartSpec, PartState, PartStatus, ProcessIdentity, Retry, Runtime, RuntimeCallError,
    ShimFault, StartPartError, Work,
};

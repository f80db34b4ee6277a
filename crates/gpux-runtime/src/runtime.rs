//! The seam between the daemon and whatever runs containers.
//!
//! Owns the trait [`Runtime`], the words its calls use and the errors they answer with. The daemon codes against
//! this file alone; the embedded runtime and the test double implement it, and one conformance suite
//! (`gpux_testkit::runtime::conformance`) says what every implementation promises.
//!
//! Nothing here does I/O, and nothing here knows prices: the meter counts milliseconds, the daemon turns them into
//! money.

mod part;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use gpux_types::{ByteSize, LeaseId, Millis, Resources};
use serde::{Deserialize, Serialize};

use crate::images::ImageConfig;
pub use part::{EndedBy, PartKey, PartSpec, PartState, PartStatus, ProcessIdentity};

/// What a lease's containers get: fixed for the lease's whole life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSpec {
    /// The lease that pays for the work.
    pub lease: LeaseId,
    /// Limits shared by all parts of the lease together.
    pub resources: Resources,
    /// Unpacked layer directories, top to bottom.
    pub layers: Vec<PathBuf>,
    /// What the image says about environment, program, folder and user.
    pub image: ImageConfig,
    /// Host files that every part sees read-only.
    pub inputs: Vec<InputMount>,
    /// Most bytes of output kept per part; older output is dropped, the newest always stays readable.
    pub log_limit: ByteSize,
    /// The lease is frozen when it was not renewed for this long.
    pub renew_within: Millis,
    /// The lease is killed when, after `renew_within`, it was not renewed for this long either.
    pub hold: Millis,
}

/// One host file, or one folder of plain files, bound read-only into every part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputMount {
    /// Where it is on the host; absolute, without symlinks below the daemon's state folder.
    pub source: PathBuf,
    /// Where the part sees it; absolute.
    pub target: PathBuf,
}

/// Whether a lease's work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Nothing was executed yet; the meter stands at zero.
    Idle,
    /// The meter runs, from the first exec on, also between parts.
    Running,
    /// Frozen: the meter stands still. Read from the cgroup, never remembered.
    Frozen,
    /// Every container is gone and so is the disk; only the final usage and the logs stay.
    Gone,
}

/// One lease, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseStatus {
    /// Which lease.
    pub lease: LeaseId,
    /// Grows whenever a part or the work changes; give it to [`Runtime::wait_change`].
    pub version: u64,
    /// Unfrozen time since the first exec.
    pub metered: Millis,
    /// Whether the work goes on.
    pub work: Work,
    /// All parts ever started under the lease, in order of their names.
    pub parts: Vec<PartStatus>,
    /// Bytes used on the lease's disk.
    pub disk_used: ByteSize,
    /// Most memory that the lease used at one time.
    pub memory_peak: ByteSize,
    /// The lease's shim; `None` when it is gone.
    pub shim: Option<ProcessIdentity>,
}

/// Why a lease's work is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// [`Runtime::destroy_lease`].
    Destroyed,
    /// Nobody renewed it: the dead-man switch killed it after the hold.
    NotRenewed,
    /// Its shim died, and what was left of it was killed at adoption.
    ShimLost,
}

/// What a lease used in all; never changes once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalUsage {
    /// Which lease.
    pub lease: LeaseId,
    /// Unfrozen time from the first exec until the containers were gone.
    pub metered: Millis,
    /// How each part ended.
    pub parts: Vec<PartStatus>,
    /// Why the work is gone.
    pub end: LeaseEnd,
}

/// One regular file that a part wrote below `/out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// Absolute path as the part sees it, such as `/out/frame-0001.png`.
    pub path: String,
    /// Its size when it was listed.
    pub size: ByteSize,
    /// When it was last written, in milliseconds since 1970; a hint for spotting changes, never used for money.
    pub modified_unix_ms: u64,
    /// No process had it open for writing when it was listed.
    pub complete: bool,
}

/// A piece of a part's output (standard output and standard error in the order of their arrival).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The bytes; empty when there is nothing new.
    pub bytes: Vec<u8>,
    /// Offset of the first of them; greater than the offset asked for when older output was dropped.
    pub start: u64,
    /// Offset to ask for next.
    pub next: u64,
    /// The part is over and this chunk reaches its end.
    pub ended: bool,
}

/// What an adapter's failure asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Trying again at once may succeed.
    Now,
    /// Trying again later may succeed.
    After(Duration),
    /// The same call will fail again.
    Never,
}

/// A failure inside a lease's shim, as it crossed the process border.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{attempted}: {cause}")]
#[serde(deny_unknown_fields)]
pub struct ShimFault {
    /// What was attempted, on what.
    pub attempted: String,
    /// The chain of causes.
    pub cause: String,
    /// The kernel's error number; 0 when it was not a system call's, [`ERRNO_FROZEN`] when the lease is frozen.
    pub errno: i32,
}

/// In place of the kernel's error number: nothing was tried, because the lease is frozen. No number of the kernel's is negative.
pub const ERRNO_FROZEN: i32 = -1;

impl ShimFault {
    /// A failure with its chain of causes.
    pub(crate) fn of(attempted: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = error.to_string();
        let mut errno = 0;
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                errno = number;
            }
            next = error.source();
            if let Some(source) = next {
                cause = format!("{cause}: {source}");
            }
        }
        Self {
            attempted: attempted.to_owned(),
            cause,
            errno,
        }
    }
}

/// Why a lease's disk, root file system, cgroup or shim is not there.
#[derive(Debug, thiserror::Error)]
pub enum CreateLeaseError {
    /// Another specification was given for the same lease before.
    #[error("creating lease {lease}: it exists with another specification")]
    Conflict {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease's work has ended; an id never starts twice.
    #[error("creating lease {lease}: it is over")]
    Over {
        /// The lease.
        lease: LeaseId,
    },
    /// The specification asks for something that cannot be given.
    #[error("creating lease {lease}: {what} is not usable")]
    BadSpec {
        /// The lease.
        lease: LeaseId,
        /// The field and its value.
        what: String,
    },
    /// Its folder could not be written.
    #[error("writing {path} for lease {lease}")]
    Folder {
        /// The lease.
        lease: LeaseId,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its shim could not be started.
    #[error("starting the shim of lease {lease}")]
    Spawn {
        /// The lease.
        lease: LeaseId,
        /// The cause.
        source: io::Error,
    },
    /// Its shim could not prepare it; nothing is left behind.
    #[error("preparing lease {lease}")]
    Prepare {
        /// The lease.
        lease: LeaseId,
        /// The cause.
        source: ShimFault,
    },
}

/// Why a part could not even be tried. A program that cannot be executed is no such error: it is
/// [`PartState::NotStarted`].
#[derive(Debug, thiserror::Error)]
pub enum StartPartError {
    /// The same part and attempt was started with another specification.
    #[error("starting part {part} of lease {lease}: it exists with another specification")]
    Conflict {
        /// The lease.
        lease: LeaseId,
        /// The part.
        part: PartKey,
    },
    /// The specification asks for something that cannot be given.
    #[error("starting part {part} of lease {lease}: {what} is not usable")]
    BadSpec {
        /// The lease.
        lease: LeaseId,
        /// The part.
        part: PartKey,
        /// The field and why.
        what: String,
    },
    /// The lease could not be asked.
    #[error("starting part {part} of lease {lease}")]
    Call {
        /// The lease.
        lease: LeaseId,
        /// The part.
        part: PartKey,
        /// The cause.
        source: Box<RuntimeCallError>,
    },
}

impl StartPartError {
    /// Whether nothing starts only because the lease is frozen (the fault says [`ERRNO_FROZEN`]): the same call may succeed
    /// once it is thawed.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let Self::Call { source, .. } = self else {
            return false;
        };
        matches!(source.as_ref(), RuntimeCallError::Fault { source, .. } if source.errno == ERRNO_FROZEN)
    }
}

/// Why a call about an existing lease failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeCallError {
    /// No such lease was created here, or it was forgotten.
    #[error("finding lease {lease}")]
    UnknownLease {
        /// The lease.
        lease: LeaseId,
    },
    /// No such part was started.
    #[error("finding part {part} of lease {lease}")]
    UnknownPart {
        /// The lease.
        lease: LeaseId,
        /// The part.
        part: PartKey,
    },
    /// The lease's work has ended.
    #[error("asking for work of lease {lease}: it is over")]
    Over {
        /// The lease.
        lease: LeaseId,
    },
    /// The shim does not answer. Adoption or `destroy_lease` finds out what is left.
    #[error("asking the shim of lease {lease}")]
    Shim {
        /// The lease.
        lease: LeaseId,
        /// The cause.
        source: io::Error,
    },
    /// The shim answered that it could not do it.
    #[error("working on lease {lease}")]
    Fault {
        /// The lease.
        lease: LeaseId,
        /// The cause.
        source: ShimFault,
    },
    /// A file of the lease's own folder could not be read or written.
    #[error("opening {path} of lease {lease}")]
    Folder {
        /// The lease.
        lease: LeaseId,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl RuntimeCallError {
    /// What the failure asks of the caller.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::UnknownLease { .. } | Self::UnknownPart { .. } | Self::Over { .. } => Retry::Never,
            Self::Shim { .. } | Self::Fault { .. } | Self::Folder { .. } => Retry::After(Duration::from_secs(1)),
        }
    }
}

/// Why the leases of an earlier daemon could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The folder of the leases could not be read.
    #[error("reading {path} for leases")]
    Folder {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What is left of a lease without a shim could not be killed; its resources stay taken.
    #[error("killing what is left of lease {lease}")]
    Kill {
        /// The lease.
        lease: LeaseId,
        /// The cause.
        source: io::Error,
    },
}

/// Runs containers under leases, meters them, and keeps doing both while no daemon is there.
///
/// Every call is safe to repeat. An implementation keeps these promises (the conformance suite checks them):
/// - a lease's work is frozen `renew_within` after the last [`renew`](Self::renew) and killed `hold` later;
/// - the meter runs only from the first exec until the containers are gone, and never while frozen;
/// - after [`destroy_lease`](Self::destroy_lease) nothing of the lease is left but its final usage and its logs.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Makes disk, cgroup and shim of a lease; the dead-man switch starts to count.
    ///
    /// # Errors
    /// Nothing is left behind when it fails.
    async fn create_lease(&self, spec: LeaseSpec) -> Result<(), CreateLeaseError>;

    /// Starts a part and answers once its program was executed ([`PartState::Running`], or
    /// [`PartState::Exited`] when it is over already) or could not be ([`PartState::NotStarted`]). Answers the
    /// present state when it was started before.
    ///
    /// # Errors
    /// When the part could not be tried.
    async fn start_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError>;

    /// Makes the container of a part and answers once it stands ([`PartState::Standing`]): all is done for it but the exec. Or it
    /// could not be made ([`PartState::NotStarted`]). Answers the present state when it was asked for before.
    ///
    /// # Errors
    /// When the part could not be tried.
    async fn stand_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError>;

    /// Lets the program of a part that stands go, and answers as [`start_part`](Self::start_part) does. Of a part that went
    /// before, answers the present state.
    ///
    /// # Errors
    /// When the part is unknown, or could not be tried.
    async fn go_part(&self, lease: LeaseId, part: PartKey) -> Result<PartState, StartPartError>;

    /// Tells the dead-man switch that the lease is still wanted. Thaws nothing.
    ///
    /// # Errors
    /// When the lease is over or does not answer.
    async fn renew(&self, lease: LeaseId) -> Result<(), RuntimeCallError>;

    /// Stops every process of the lease where it is, and the meter.
    ///
    /// # Errors
    /// When the lease is over or does not answer.
    async fn freeze(&self, lease: LeaseId) -> Result<(), RuntimeCallError>;

    /// Lets every process of the lease go on, and the meter.
    ///
    /// # Errors
    /// When the lease is over or does not answer.
    async fn thaw(&self, lease: LeaseId) -> Result<(), RuntimeCallError>;

    /// The lease as it is now; also of a lease that is gone, until it is forgotten.
    ///
    /// # Errors
    /// When the lease is unknown or does not answer.
    async fn status(&self, lease: LeaseId) -> Result<LeaseStatus, RuntimeCallError>;

    /// The lease as soon as its version is above `seen`, or as it is after at most 30 s.
    /// Cancel-safe: dropping the future asks nothing more of the lease.
    ///
    /// # Errors
    /// When the lease is unknown or its shim dies meanwhile.
    async fn wait_change(&self, lease: LeaseId, seen: u64) -> Result<LeaseStatus, RuntimeCallError>;

    /// Asks a part to end (SIGTERM) and kills it when it has not after `grace` of unfrozen time; one that stands is never
    /// executed then. Answers at once; [`wait_change`](Self::wait_change) tells when it is over.
    ///
    /// # Errors
    /// When the part is unknown or the lease does not answer.
    async fn stop_part(&self, lease: LeaseId, part: PartKey, grace: Millis) -> Result<(), RuntimeCallError>;

    /// The regular files below `/out` that match `glob` (`*` and `?` within one folder, `**` across folders),
    /// in order of their paths, at most 10,000. Symbolic links, devices, pipes and sockets are never among them.
    ///
    /// # Errors
    /// When the part is unknown, the lease is over or does not answer.
    async fn outputs(&self, lease: LeaseId, part: PartKey, glob: &str) -> Result<Vec<OutputFile>, RuntimeCallError>;

    /// Opens one output for reading: a regular file below the part's `/out`, whatever the part does meanwhile.
    ///
    /// # Errors
    /// When it is not there or is not a regular file.
    async fn open_output(&self, lease: LeaseId, part: PartKey, path: &str) -> Result<File, RuntimeCallError>;

    /// Output of a part from `offset` on, at most 256 KiB; also after the lease is gone, until it is forgotten.
    ///
    /// # Errors
    /// When the part is unknown or its log cannot be read.
    async fn logs(&self, lease: LeaseId, part: PartKey, offset: u64) -> Result<LogChunk, RuntimeCallError>;

    /// Kills every container of the lease, removes its disk and ends its shim. Answers the same final usage
    /// whenever it is asked again.
    ///
    /// # Errors
    /// When something of the lease may still run.
    async fn destroy_lease(&self, lease: LeaseId) -> Result<FinalUsage, RuntimeCallError>;

    /// Removes the final usage and the logs of a lease that is gone; destroys it first when it is not.
    ///
    /// # Errors
    /// When something of the lease may still run or its folder cannot be removed.
    async fn forget_lease(&self, lease: LeaseId) -> Result<(), RuntimeCallError>;

    /// Takes over the leases of an earlier daemon: all that were created and not forgotten. A lease whose shim is
    /// gone (its process is not the one that was recorded, or the machine was started anew) is killed first; its
    /// parts without a recorded exit are [`PartState::Lost`].
    ///
    /// # Errors
    /// When what is left of a lease cannot be killed.
    async fn adopt(&self) -> Result<Vec<LeaseStatus>, AdoptError>;
}

//! The words for one part of a lease: what is run, and where it is in its life. Part of the seam, see `runtime.rs`.

use std::path::PathBuf;

use gpux_types::{Millis, PartIndex};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::Runtime;

/// One process to run under a lease. `(part, attempt)` names it for ever: starting it twice starts it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartSpec {
    /// Which part of the array this is.
    pub part: PartIndex,
    /// Which try of that part this is.
    pub attempt: u32,
    /// Program and arguments; empty means the image's entrypoint and command.
    pub argv: Vec<String>,
    /// Variables added to the image's, or replacing them.
    pub env: Vec<(String, String)>,
    /// Folder to start in; `None` means the image's.
    pub working_dir: Option<PathBuf>,
    /// Longest unfrozen time the part may run; `None` means as long as the lease.
    pub max_duration: Option<Millis>,
}

impl PartSpec {
    /// The name of this part.
    #[must_use]
    pub fn key(&self) -> PartKey {
        PartKey {
            part: self.part,
            attempt: self.attempt,
        }
    }
}

/// The name of one try of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartKey {
    /// Which part of the array.
    pub part: PartIndex,
    /// Which try.
    pub attempt: u32,
}

impl std::fmt::Display for PartKey {
    /// `7.0`: part 7, first try; also the name of the part's folder.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.part.0, self.attempt)
    }
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    /// Process number in the host's namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

/// Where one part is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// Being prepared: the program has not been executed yet.
    Starting,
    /// Its container is made, and its program waits for [`Runtime::go_part`]. Nothing was executed, so nothing is metered.
    Standing,
    /// The program runs (or is frozen with its lease).
    Running {
        /// Its first process.
        process: ProcessIdentity,
    },
    /// The program ran and is gone.
    Exited {
        /// Its exit code; 128 + the signal's number when a signal ended it.
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The kernel killed one of the part's processes because the lease's memory was used up.
        out_of_memory: bool,
        /// Who ended it.
        ended_by: EndedBy,
    },
    /// The program never ran: the kernel refused to execute it, or its container could not be made.
    NotStarted {
        /// The kernel's error number; 0 when the failure was not a system call's.
        errno: i32,
        /// What was attempted, on what, and why it failed.
        message: String,
    },
    /// The shim died: whether and how the program ended cannot be known. It does not run any more.
    Lost,
}

impl PartState {
    /// Whether nothing of the part runs or ever will again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Starting | Self::Standing | Self::Running { .. } => false,
            Self::Exited { .. } | Self::NotStarted { .. } | Self::Lost => true,
        }
    }
}

/// Who ended a part that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The program itself, or the kernel because of it.
    Itself,
    /// [`Runtime::stop_part`].
    Stop,
    /// Its own `max_duration`.
    TimeLimit,
    /// The end of its lease.
    LeaseEnd,
}

/// One part, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartStatus {
    /// Which part.
    pub part: PartIndex,
    /// Which try.
    pub attempt: u32,
    /// Where it is in its life.
    pub state: PartState,
}

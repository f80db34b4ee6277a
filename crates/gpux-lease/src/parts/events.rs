//! What the part queue hears and what it asks to be done. The daemon makes the one and performs the other.

use super::{PartFault, PartsSummary};
use gpux_types::{BlobHash, LeaseId, PartIndex};
use serde::{Deserialize, Serialize};

/// Something that happened to a lease or a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartEvent {
    /// A lease may be given parts, for the first time or again.
    LeaseReady {
        /// Which.
        lease: LeaseId,
        /// How many parts it runs side by side.
        slots: u32,
    },
    /// A node is not heard; what runs there may still come back.
    LeaseLost {
        /// Which.
        lease: LeaseId,
    },
    /// A lease ends: nothing runs there any more.
    LeaseClosed {
        /// Which.
        lease: LeaseId,
    },
    /// A try of a part brought a valid result.
    Finished {
        /// Where.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which try.
        attempt: u32,
        /// Of all that it handed back: the same for the same files under the same names, and for no others.
        digest: BlobHash,
    },
    /// The secret that was asked for. One that was not asked for says nothing.
    Drawn {
        /// Drawn at random, after the results that it chooses from.
        secret: u64,
    },
    /// A try of a part ended without a result.
    Failed {
        /// Where.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which try.
        attempt: u32,
        /// Through whom.
        fault: PartFault,
    },
    /// The daemon read this queue from its journal. Comes first after a restart.
    Restarted,
}

/// Something for the renter's daemon to do. Each may come again, and doing it again must change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartEffect {
    /// Start this try of a part.
    Assign {
        /// Where.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which try.
        attempt: u32,
    },
    /// Another try won: end this one.
    Cancel {
        /// Where.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which try.
        attempt: u32,
    },
    /// This try's result is the part's result.
    Keep {
        /// Where it came from.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which try.
        attempt: u32,
    },
    /// That result was taken and counts no more: its node was outvoted. The part is done again.
    Discard {
        /// Where it came from.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which try.
        attempt: u32,
    },
    /// Draw a secret and tell it.
    Draw,
    /// What the lease handed back is not what two others made: end it, through its provider's fault.
    Outvoted {
        /// Which.
        lease: LeaseId,
    },
    /// The part failed too often.
    GiveUp {
        /// Which part.
        part: PartIndex,
        /// How it failed last.
        fault: PartFault,
    },
    /// The lease is not needed any more.
    Release {
        /// Which.
        lease: LeaseId,
    },
    /// The lease failed too often in a row: end it.
    Drop {
        /// Which.
        lease: LeaseId,
    },
    /// Parts are queued and no lease is left that could take them.
    Starved,
    /// Every part is done or given up.
    Finish(PartsSummary),
}

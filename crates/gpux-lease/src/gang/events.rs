//! What a gang hears and what it asks to be done. The daemon makes the one and performs the other.

use super::{GangFailure, RankKey};
use crate::parts::PartFault;
use gpux_types::LeaseId;
use serde::{Deserialize, Serialize};

/// Something that happened to a lease or a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GangEvent {
    /// A lease may be given its rank, for the first time or again.
    LeaseReady {
        /// Which.
        lease: LeaseId,
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
    /// The container of a rank is made, and its program waits.
    Stood(RankKey),
    /// A rank ended well, and what it handed back is here.
    Finished(RankKey),
    /// A rank ended without a result, or could not be made or told to go.
    Failed {
        /// Which.
        key: RankKey,
        /// Through whom.
        fault: PartFault,
        /// With which code its program ended, where it ran.
        exit_code: Option<i32>,
    },
    /// The job ends, for a reason that is not the gang's: its leases are being ended.
    JobEnded,
    /// Time passed: see [`Gang::is_late`](super::Gang::is_late).
    Ticked,
    /// The daemon read this gang from its journal; its clock may have started anew. Comes first after a restart.
    Restarted,
}

/// Something for the renter's daemon to do. Each may come again, and doing it again must change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GangEffect {
    /// Have the rank's container made, its program waiting.
    Stand(RankKey),
    /// Let the rank's program go.
    Go(RankKey),
    /// End this try of a rank.
    Cancel(RankKey),
    /// What this rank handed back is its result.
    Keep(RankKey),
    /// The lease is not needed any more.
    Release {
        /// Which.
        lease: LeaseId,
    },
    /// The gang failed, and is not tried again: end every lease.
    Fail {
        /// Why.
        failure: GangFailure,
        /// Whether any rank was ever told to go.
        went: bool,
    },
    /// Every rank ended well.
    Finish,
}

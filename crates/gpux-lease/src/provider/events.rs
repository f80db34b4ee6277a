//! What a provider's lease hears and what it asks to be done. The daemon makes the one and performs the other.

use super::Given;
use crate::lifecycle::{Actor, End, EscrowView, Work};
use crate::receipt::VerifiedReceipt;
use gpux_types::{Amount, Millis, UnixSeconds};
use serde::{Deserialize, Serialize};

/// Something that the provider's daemon saw or heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderEvent {
    /// The escrow was read: when anything of the lease changed, and after a restart. `Closed` only when it is as deep
    /// in the chain as the provider wants its payment.
    EscrowSeen(EscrowView),
    /// A block came.
    BlockSeen {
        /// Its time.
        time: UnixSeconds,
    },
    /// Image and inputs are there and the shim is up.
    Prepared,
    /// They cannot be made ready.
    PreparationFailed {
        /// Through whom.
        by: Actor,
    },
    /// A receipt came whose signature fits the terms.
    ReceiptReceived(VerifiedReceipt),
    /// The shim was asked. Also the answer to [`ProviderEffect::StopWork`], with [`Work::Gone`].
    Metered {
        /// Unfrozen time since the first exec.
        metered: Millis,
        /// What the work does.
        work: Work,
    },
    /// How much of what the node works off on deposits that are not deep enough is this lease's: a level. Comes after each
    /// event that changes what it wants ([`ProviderLease::exposed`](super::ProviderLease::exposed)).
    ExposureShared(Amount),
    /// The shim is gone; what was left of its work was killed.
    ShimLost {
        /// The last reading of the meter that it had synced.
        metered: Millis,
    },
    /// Every part that the renter had for this lease is done.
    PartsDrained,
    /// Somebody wants the lease to end.
    StopRequested {
        /// Who.
        by: Actor,
    },
    /// How far the parts are: a level.
    PartsSeen(Given),
    /// The renter asked how the lease is, as it does every few seconds.
    RenterHeard,
    /// The renter wants to close the lease itself, with a closing amount.
    ClosingWanted,
    /// The time of the last [`ProviderEffect::WakeAt`] has come and there is no meter to read.
    Ticked,
    /// The daemon read this machine from its journal; its clock may have started anew. Comes first after a restart.
    Restarted,
}

impl ProviderEvent {
    /// The event's name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::EscrowSeen(_) => "escrow seen",
            Self::BlockSeen { .. } => "block seen",
            Self::Prepared => "prepared",
            Self::PreparationFailed { .. } => "preparation failed",
            Self::ReceiptReceived(_) => "receipt received",
            Self::Metered { .. } => "metered",
            Self::ExposureShared(_) => "exposure shared",
            Self::ShimLost { .. } => "shim lost",
            Self::PartsDrained => "parts drained",
            Self::StopRequested { .. } => "stop requested",
            Self::PartsSeen(_) => "parts seen",
            Self::RenterHeard => "renter heard",
            Self::ClosingWanted => "closing wanted",
            Self::Ticked => "ticked",
            Self::Restarted => "restarted",
        }
    }
}

/// Something for the provider's daemon to do. Each may come again, and doing it again must change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderEffect {
    /// Get image and inputs and start the shim, answered by `Prepared` or `PreparationFailed`.
    Prepare,
    /// Ask the renter to sign this much, and tell it the meter and the work. At most one ask is worth keeping.
    AskReceipt {
        /// Everything owed when this is used up.
        cumulative: Amount,
    },
    /// Parts may start from now on (unless frozen).
    AllowWork,
    /// Renew the shim's dead-man switch.
    Renew,
    /// Hold all work and start no part.
    Freeze,
    /// Let the work go on.
    Thaw,
    /// End all work, keep no part, answered by `Metered` with [`Work::Gone`]; also when there was none.
    StopWork {
        /// Why.
        end: End,
    },
    /// Sign this closing amount and give it to the renter.
    SignClosing {
        /// All that the provider wants.
        amount: Amount,
    },
    /// Collect on the chain what is owed so far; the lease stays open.
    Draw {
        /// Counts the lease's draws from 0: the same number is the same draw.
        number: u32,
        /// What is claimed over the lease's life: more each time, and at most the receipt's amount.
        amount: Amount,
        /// The newest receipt.
        receipt: VerifiedReceipt,
    },
    /// Settle on the chain.
    Settle {
        /// What is claimed: at most the receipt's amount.
        amount: Amount,
        /// The newest receipt, or `None` when nothing was ever signed and `amount` is zero.
        receipt: Option<VerifiedReceipt>,
    },
    /// Nothing more will be done for this lease: everything kept for it may go.
    Forget,
    /// Read the meter and report it then (or report `Ticked`); replaces any earlier one.
    WakeAt(Millis),
}

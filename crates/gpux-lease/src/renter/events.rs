//! What a renter's lease hears and what it asks to be done. The daemon makes the one and performs the other.

use crate::lifecycle::{End, EscrowView, Work};
use gpux_types::{Amount, Millis, UnixSeconds};
use serde::{Deserialize, Serialize};

/// More money, more time, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// Counts the lease's top-ups from 0: the same number is the same top-up.
    pub number: u32,
    /// What is added.
    pub amount: Amount,
    /// The later expiry; `None` leaves it.
    pub new_expiry: Option<UnixSeconds>,
}

/// Something that the renter's daemon saw or heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenterEvent {
    /// The plan with this quote was accepted: spend.
    Accepted,
    /// The deposit cannot be made, as far as is known: it was refused, or reverted. Bytes that somebody has may still be mined.
    OpenFailed {
        /// The expiry that the deposit would have had: no block takes it later.
        expiry: UnixSeconds,
    },
    /// The escrow was read: when anything of the lease changed, and after a restart. `Closed` only when it is deep
    /// enough in the chain to be sure of.
    EscrowSeen(EscrowView),
    /// A block came.
    BlockSeen {
        /// Its time.
        time: UnixSeconds,
    },
    /// The provider told how its work is: in answer to a call, or by itself.
    Reported {
        /// Its meter.
        metered: Millis,
        /// What the work does.
        work: Work,
    },
    /// The provider asked for a receipt.
    ReceiptAsked {
        /// How much it wants signed.
        cumulative: Amount,
        /// Its meter.
        metered: Millis,
        /// What the work does.
        work: Work,
    },
    /// The provider told that it ends the lease.
    ProviderEnded {
        /// Why.
        end: End,
    },
    /// The provider gave a closing amount whose signature fits the terms: all that it will ever claim.
    ClosingOffered {
        /// The amount.
        amount: Amount,
        /// Why the provider ended the lease.
        end: End,
    },
    /// Every part that this lease was wanted for is done.
    PartsDrained,
    /// The renter's node goes away and the work is to go on meanwhile, paid for: not beyond the deposit of now and the expiry.
    /// The newest word counts. Says nothing to a lease that is not open.
    GoesAway {
        /// For how long. Nothing: it is back.
        horizon: Millis,
    },
    /// The renter wants the lease to end.
    StopRequested,
    /// What the provider handed back is not what two others made of it.
    Outvoted,
    /// The renter wants to add money or time. One at a time.
    TopUpRequested(TopUp),
    /// The top-up of this number is mined, or cannot be made.
    TopUpEnded {
        /// Which.
        number: u32,
    },
    /// The time of the last [`RenterEffect::WakeAt`] has come.
    Ticked,
    /// The daemon read this machine from its journal; its clock may have started anew. Comes first after a restart.
    Restarted,
}

impl RenterEvent {
    /// The event's name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::OpenFailed { .. } => "open failed",
            Self::EscrowSeen(_) => "escrow seen",
            Self::BlockSeen { .. } => "block seen",
            Self::Reported { .. } => "reported",
            Self::ReceiptAsked { .. } => "receipt asked",
            Self::ProviderEnded { .. } => "provider ended",
            Self::ClosingOffered { .. } => "closing offered",
            Self::PartsDrained => "parts drained",
            Self::GoesAway { .. } => "goes away",
            Self::StopRequested => "stop requested",
            Self::Outvoted => "outvoted",
            Self::TopUpRequested(_) => "top-up requested",
            Self::TopUpEnded { .. } => "top-up ended",
            Self::Ticked => "ticked",
            Self::Restarted => "restarted",
        }
    }
}

/// Something for the renter's daemon to do. Each may come again, and doing it again must change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenterEffect {
    /// Send the deposit, and tell the provider terms and transaction. Again: send the same signed bytes again.
    Deposit,
    /// Sign this and give it to the provider: the answer to an ask.
    SignReceipt {
        /// Everything owed so far.
        cumulative: Amount,
    },
    /// Send this top-up.
    SendTopUp(TopUp),
    /// The node may be given parts.
    OfferParts,
    /// The node's parts go to others, and it is given none.
    RequeueParts,
    /// Ask the provider to end the lease.
    AskStop {
        /// Why.
        end: End,
    },
    /// Close the lease on the chain with the provider's closing amount.
    Close {
        /// The amount.
        amount: Amount,
    },
    /// Fetch the money back.
    Reclaim,
    /// Nothing more will be done for this lease: everything kept for it may go.
    Forget,
    /// Report `Ticked` then; replaces any earlier one.
    WakeAt(Millis),
}

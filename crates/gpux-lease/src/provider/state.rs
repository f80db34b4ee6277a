//! Where a lease stands on its provider's side. What leads from one state to the next is in `advance.rs`.

use crate::lifecycle::End;
use gpux_types::{Amount, Millis};
use serde::{Deserialize, Serialize};

/// Where a lease stands on the provider's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderState {
    /// For the deposit, preparing meanwhile.
    Waiting {
        /// When it was requested.
        since: Millis,
        /// How far image and inputs are.
        preparation: Preparation,
    },
    /// Deposited; image and inputs are still on their way.
    Preparing {
        /// When it was requested.
        since: Millis,
    },
    /// Deposited and prepared; the first receipt is asked for and nothing runs yet.
    Ready {
        /// When it became so.
        since: Millis,
    },
    /// Parts may start and run.
    Running,
    /// Held where it is, unbilled.
    Frozen {
        /// When it froze.
        since: Millis,
        /// What it waits for.
        cause: FreezeCause,
    },
    /// The work is being ended.
    Stopping {
        /// When it was last told to end.
        since: Millis,
        /// Why.
        end: End,
    },
    /// The work is gone; the last receipt is asked for.
    Closing {
        /// When the work was gone.
        since: Millis,
        /// Why.
        end: End,
    },
    /// A closing amount is signed; the renter may close with it.
    Offering {
        /// When it was signed.
        since: Millis,
        /// Why the work ended.
        end: End,
        /// What was signed.
        amount: Amount,
    },
    /// The settlement is sent.
    Settling {
        /// When it was last sent.
        since: Millis,
        /// Why the work ended.
        end: End,
        /// What is claimed.
        amount: Amount,
    },
    /// Given up without a deposit; one that still comes goes back at once.
    Refusing {
        /// Since when.
        since: Millis,
        /// Why.
        end: End,
    },
    /// For ever.
    Ended {
        /// Why.
        end: End,
        /// What the escrow paid.
        paid: Amount,
    },
}

/// How far image and inputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// On their way.
    Underway,
    /// All there.
    Done,
}

/// What frozen work waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeCause {
    /// The next receipt.
    Unpaid,
    /// More of the deposit being deep enough in the chain.
    Unassured,
    /// A word of the renter: all that it gave is over.
    Unheard,
}

impl ProviderState {
    /// The state's name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Preparing { .. } => "preparing",
            Self::Ready { .. } => "ready",
            Self::Running => "running",
            Self::Frozen { .. } => "frozen",
            Self::Stopping { .. } => "stopping",
            Self::Closing { .. } => "closing",
            Self::Offering { .. } => "offering",
            Self::Settling { .. } => "settling",
            Self::Refusing { .. } => "refusing",
            Self::Ended { .. } => "ended",
        }
    }

    pub(super) const fn end(&self) -> Option<End> {
        match self {
            Self::Waiting { .. }
            | Self::Preparing { .. }
            | Self::Ready { .. }
            | Self::Running
            | Self::Frozen { .. } => None,
            Self::Stopping { end, .. }
            | Self::Closing { end, .. }
            | Self::Offering { end, .. }
            | Self::Settling { end, .. }
            | Self::Refusing { end, .. }
            | Self::Ended { end, .. } => Some(*end),
        }
    }

    /// Whether work may still come of it.
    pub(super) const fn is_live(&self) -> bool {
        self.end().is_none()
    }

    /// Whether what is claimed in the end is decided.
    pub(super) const fn is_fixed(&self) -> bool {
        matches!(self, Self::Offering { .. } | Self::Settling { .. })
    }

    pub(super) const fn restarted(self, now: Millis) -> Self {
        match self {
            Self::Waiting { preparation, .. } => Self::Waiting {
                since: now,
                preparation,
            },
            Self::Preparing { .. } => Self::Preparing { since: now },
            Self::Ready { .. } => Self::Ready { since: now },
            Self::Frozen { cause, .. } => Self::Frozen { since: now, cause },
            Self::Stopping { end, .. } => Self::Stopping { since: now, end },
            Self::Closing { end, .. } => Self::Closing { since: now, end },
            Self::Offering { end, amount, .. } => Self::Offering {
                since: now,
                end,
                amount,
            },
            Self::Settling { end, amount, .. } => Self::Settling {
                since: now,
                end,
                amount,
            },
            Self::Refusing { end, .. } => Self::Refusing { since: now, end },
            Self::Running | Self::Ended { .. } => self,
        }
    }
}

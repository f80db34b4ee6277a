//! Words that both sides of a lease share: what is seen of the escrow and of the work, and how a lease ends.

use gpux_types::{Amount, Millis, UnixSeconds};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The layout of journaled state machines. Store it beside each; refuse to read a newer one.
pub const JOURNAL_VERSION: u16 = 1;

/// Who made something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Who pays.
    Renter,
    /// Who is paid.
    Provider,
    /// What lies between them.
    Network,
    /// The escrow and the chain below it.
    Chain,
}

/// Why a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The work that it was opened for is done.
    Completed,
    /// Somebody asked for it.
    Stopped,
    /// The deposit, less the reserve, was worked off.
    DepositUsed,
    /// The expiry came near.
    Expired,
    /// The job's own limit of time was reached.
    JobLimit,
    /// No receipt came within the hold.
    Unpaid,
    /// No deposit came.
    NeverFunded,
    /// The deposit did not become deep enough in the chain, or a reorganisation took it away.
    DepositUnassured,
    /// Image or inputs could not be made ready.
    PreparationFailed,
    /// Image or inputs were not ready in time.
    PreparationTimedOut,
    /// The work vanished although nobody stopped it.
    WorkLost,
    /// The process that kept the work is gone, and the work with it.
    ShimLost,
    /// The node was not heard for longer than it holds the work.
    NodeUnreachable,
    /// The quote ran out before a deposit was sent.
    QuoteExpired,
    /// The deposit could not be made.
    OpenFailed,
    /// The lease was closed on the chain, and nobody said why.
    ClosedOnChain,
    /// Its rank of a gang stood, and was not told to go in time.
    NeverWent,
    /// A result of it was not that of two other nodes.
    WrongResults,
}

/// Why a lease ended, and who made it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// By whom.
    pub by: Actor,
}

impl End {
    /// An end for `reason`, made by `by`.
    #[must_use]
    pub const fn new(reason: EndReason, by: Actor) -> Self {
        Self { reason, by }
    }

    /// What the renter states of an end that it only heard of: nobody's word makes it say that it stopped, or did not pay.
    #[must_use]
    pub const fn as_heard(self) -> Self {
        match (self.reason, self.by) {
            (EndReason::Unpaid, _) | (_, Actor::Renter) => Self::new(EndReason::ClosedOnChain, Actor::Provider),
            (_, Actor::Provider | Actor::Network | Actor::Chain) => self,
        }
    }
}

impl Actor {
    /// Its word in signatures and documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Renter => "renter",
            Self::Provider => "provider",
            Self::Network => "network",
            Self::Chain => "chain",
        }
    }
}

impl EndReason {
    /// Its word in signatures and documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::DepositUsed => "deposit_used",
            Self::Expired => "expired",
            Self::JobLimit => "job_limit",
            Self::Unpaid => "unpaid",
            Self::NeverFunded => "never_funded",
            Self::DepositUnassured => "deposit_unassured",
            Self::PreparationFailed => "preparation_failed",
            Self::PreparationTimedOut => "preparation_timed_out",
            Self::WorkLost => "work_lost",
            Self::ShimLost => "shim_lost",
            Self::NodeUnreachable => "node_unreachable",
            Self::QuoteExpired => "quote_expired",
            Self::OpenFailed => "open_failed",
            Self::ClosedOnChain => "closed_on_chain",
            Self::NeverWent => "never_went",
            Self::WrongResults => "wrong_results",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Renter => "the renter",
            Self::Provider => "the provider",
            Self::Network => "the network",
            Self::Chain => "the chain",
        })
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "the work is done",
            Self::Stopped => "it was stopped",
            Self::DepositUsed => "the deposit was used up",
            Self::Expired => "it expired",
            Self::JobLimit => "the job's time limit was reached",
            Self::Unpaid => "receipts stopped coming",
            Self::NeverFunded => "no deposit came",
            Self::DepositUnassured => "the deposit did not become final",
            Self::PreparationFailed => "image or inputs could not be made ready",
            Self::PreparationTimedOut => "image or inputs were not ready in time",
            Self::WorkLost => "the work vanished",
            Self::ShimLost => "the process that kept the work is gone",
            Self::NodeUnreachable => "the node could not be reached",
            Self::QuoteExpired => "the quote ran out",
            Self::OpenFailed => "the deposit could not be made",
            Self::ClosedOnChain => "it was closed on the chain",
            Self::NeverWent => "its rank was not told to go",
            Self::WrongResults => "its result was not that of two other nodes",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (by {})", self.reason, self.by)
    }
}

/// What the escrow says of a lease: a level, not a change, so that seeing it again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscrowView {
    /// Nothing was opened under its id, or a reorganisation took it away.
    #[default]
    Absent,
    /// It holds money.
    Open {
        /// In the newest block.
        deposit: Amount,
        /// As much of it as is deep enough in the chain to be relied on.
        assured: Amount,
        /// All that was drawn of it in the newest block. Nothing in older journals.
        #[serde(default)]
        drawn: Amount,
        /// Block time from which no work is done.
        expiry: UnixSeconds,
    },
    /// It is closed for ever.
    Closed {
        /// All that it ever paid to the provider and the builder.
        paid: Amount,
    },
}

impl EscrowView {
    /// What was drawn so far, while open.
    #[must_use]
    pub const fn drawn(&self) -> Amount {
        match self {
            Self::Open { drawn, .. } => *drawn,
            Self::Absent | Self::Closed { .. } => Amount::ZERO,
        }
    }

    /// What is deposited now: nothing unless open.
    #[must_use]
    pub const fn deposit(&self) -> Amount {
        match self {
            Self::Open { deposit, .. } => *deposit,
            Self::Absent | Self::Closed { .. } => Amount::ZERO,
        }
    }
}

/// Whether a lease's work goes on, as the provider's shim tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Nothing was executed yet; the meter stands at zero.
    #[default]
    Idle,
    /// The meter runs, also between parts.
    Running,
    /// The meter stands.
    Frozen,
    /// Everything is gone for good and the meter is final. Also the answer when there never was anything.
    Gone,
}

/// An event that contradicts what is known; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("handling {event} of a lease that is {state}")]
pub struct UnexpectedEvent {
    /// The state's name.
    pub state: &'static str,
    /// The event's name.
    pub event: &'static str,
}

/// Block time, carried on by the own clock while no block is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockClock {
    time: UnixSeconds,
    at: Millis,
}

impl BlockClock {
    /// A block of `time` was seen at `at`. One that is no newer says nothing: block time may stand while no
    /// transaction comes, and still the next block's time will be near the wall's.
    pub(crate) fn seen(before: Option<Self>, time: UnixSeconds, at: Millis) -> Self {
        before.filter(|before| before.time >= time).unwrap_or(Self { time, at })
    }

    /// Whether a block of `time` is older than the newest one.
    pub(crate) fn is_after(&self, time: UnixSeconds) -> bool {
        self.time > time
    }

    /// What the newest block's time would be at `now`.
    pub(crate) const fn at(&self, now: Millis) -> UnixSeconds {
        self.time.plus_secs(now.saturating_sub(self.at).as_secs())
    }

    /// The same block on a clock that was started anew at `now`.
    pub(crate) const fn restarted(&self, now: Millis) -> Self {
        Self {
            time: self.time,
            at: now,
        }
    }
}

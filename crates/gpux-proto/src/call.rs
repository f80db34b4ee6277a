//! Calls between the two nodes of a lease. Renter to provider: quote, lease, part, stop, status, logs. Provider to renter:
//! meter (which asks for a receipt), part reports, the closing amount and the statement for the closing record. And one between a
//! provider and its watch-tower.

use crate::{JobSpec, OutputSpec, PartSpec, QuoteRequest, SignedQuote, SignedQuoteRequest};
use alloy_primitives::{B256, Signature};
use gpux_lease::{Actor, End, EndReason, Handover, SignedStatement, Work};
use gpux_types::{Amount, ByteSize, LeaseId, Millis, NodeId, PartIndex, UnixSeconds};
use serde::{Deserialize, Serialize};

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Asks for a firm price and holds the resources.
    Quote(Box<SignedQuoteRequest>),
    /// Tells of a deposit that was just sent, and of the job.
    Lease(Box<LeaseRequest>),
    /// Gives one part to a lease. Idempotent for the same part and attempt.
    Part(LeaseId, PartSpec),
    /// Ends a lease: stop the work, settle.
    Stop(StopRequest),
    /// Asks how a lease is.
    Status(LeaseId),
    /// Tells what was metered and asks for a receipt.
    Meter(MeterReport),
    /// Tells what became of a part.
    PartReport(PartReport),
    /// Ends one try of a part without an answer: another node was first. Idempotent.
    CancelPart(CancelPart),
    /// Tells the provider that the renter will close the lease itself, once it has the closing amount. Idempotent.
    WillClose(LeaseId),
    /// Gives the renter the closing amount: all that the provider will ever claim.
    Closing(ClosingOffer),
    /// Gives the renter the provider's statement of the lease's end, for the closing record. Idempotent.
    Record(Box<SignedStatement>),
    /// Leaves with a watch-tower what it may collect once this node is gone. Idempotent.
    Watch(Box<Handover>),
    /// Gives back what a quote holds, by the digest of the request for it: no deposit will come. Only the node that asked can.
    /// Idempotent, also before the quote was given.
    Release(B256),
    /// Gives one rank of a gang to a lease: its container is made, and its program waits for [`Request::Go`]. Idempotent.
    Stand(LeaseId, PartSpec),
    /// Lets the program of a rank go, once every rank of its gang stands. Idempotent.
    Go(GoPart),
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Quote`].
    Quote(Box<SignedQuote>),
    /// Noted, durably where it matters.
    Accepted,
    /// To [`Request::Status`].
    Status(Box<LeaseReport>),
    /// To [`Request::Meter`]: the newest receipt, perhaps lower than asked.
    Receipt {
        /// The cumulative amount.
        cumulative: Amount,
        /// By the receipt key.
        signature: Signature,
    },
    /// Refused.
    Error(PeerError),
    /// To [`Request::Record`]: the renter's own signature, over the same statement where it agrees.
    Record(Box<SignedStatement>),
    /// To [`Request::Lease`], when its quote does not hold any more: a closing amount of zero, with which the renter has its
    /// deposit back at once.
    TooLate(ClosingOffer),
}

/// Why a call was refused: a code for programs and a sentence that is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code:?})")]
pub struct PeerError {
    /// For programs.
    pub code: ErrorCode,
    /// For people; at most 300 characters; says nothing of the peer's inside.
    pub message: String,
}

impl PeerError {
    /// An error with its sentence cut to the limit.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl AsRef<str>) -> Self {
        Self {
            code,
            message: gpux_types::shown(message.as_ref(), 300),
        }
    }
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The message is not one that this node understands or allows.
    BadRequest,
    /// The signature or the peer is not the one that the message needs.
    NotAuthorised,
    /// No such lease here.
    NoSuchLease,
    /// Not enough free resources.
    NoCapacity,
    /// The wallet cannot cover the deposit; or its node signs nothing for this lease now.
    /// Of what is handed to a watch-tower: its collector is not deployed.
    NotCovered,
    /// The request cannot hold here: another escrow, token or price.
    Unsupported,
    /// The quote is over, or was never given.
    QuoteGone,
    /// Too many calls.
    TooMany,
    /// A fault of this node's own.
    Internal,
}

/// A deposit that was just sent. The provider reads the lease from the chain; this message only tells it to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// The request that the quote answered.
    pub request: QuoteRequest,
    /// The quote.
    pub quote: SignedQuote,
    /// The hash of the deposit's transaction.
    pub transaction: B256,
    /// The expiry that the deposit names.
    pub expiry: UnixSeconds,
    /// What to prepare and run.
    pub job: JobSpec,
    /// How to reach the renter's node: a peer ticket in its text form.
    pub renter_ticket: String,
    /// The other nodes that prepare the same job: they give each other what the renter sends them. At most [`MAX_OTHERS`].
    #[serde(default)]
    pub others: Vec<NodeId>,
}

/// The most other nodes of a job that a node is told of.
pub const MAX_OTHERS: usize = 256;

/// Ends a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Which.
    pub lease: LeaseId,
    /// For people and records, at most 200 characters; [`StopRequest::DONE`] is a word of the wire.
    pub reason: String,
}

impl StopRequest {
    /// The reason of a renter whose work is done; every other one only asks for the end. These bytes are part of version 1, however
    /// the end is worded for people.
    pub const DONE: &str = "the work is done (by the renter)";

    /// Asks for an end.
    #[must_use]
    pub fn new(lease: LeaseId, end: End) -> Self {
        let reason = match (end.reason, end.by) {
            (EndReason::Completed, Actor::Renter) => Self::DONE.to_owned(),
            (_, Actor::Renter | Actor::Provider | Actor::Network | Actor::Chain) => end.to_string(),
        };
        Self { lease, reason }
    }

    /// Whether the renter's work is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.reason == Self::DONE
    }
}

/// One try of a part whose result is not wanted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelPart {
    /// Which lease.
    pub lease: LeaseId,
    /// Which part.
    pub part: PartIndex,
    /// Which attempt.
    pub attempt: u32,
}

/// One try of a rank whose program may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoPart {
    /// Which lease.
    pub lease: LeaseId,
    /// Which rank.
    pub part: PartIndex,
    /// Which attempt.
    pub attempt: u32,
}

/// The closing amount of a lease whose work is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosingOffer {
    /// Which lease.
    pub lease: LeaseId,
    /// All that the provider claims over the lease's life.
    pub amount: Amount,
    /// By the provider's signer, over the closing digest of the escrow.
    pub signature: Signature,
    /// The last reading of the meter.
    pub metered: Millis,
    /// Why the lease ends.
    pub end: End,
}

/// What was metered, and what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterReport {
    /// Which lease.
    pub lease: LeaseId,
    /// The cumulative amount that the next receipt should name.
    pub asked: Amount,
    /// Unfrozen time since the first start.
    pub metered: Millis,
    /// What the work is doing.
    pub work: Work,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartReport {
    /// Its process runs.
    Started {
        /// Which lease.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// It ended by itself.
    Ended {
        /// Which lease.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which attempt.
        attempt: u32,
        /// Its exit code; 128 + the signal when a signal ended it.
        exit_code: i32,
        /// Whether it was over its memory.
        out_of_memory: bool,
        /// What it handed back, at most [`crate::MAX_OUTPUTS`].
        outputs: Vec<OutputSpec>,
    },
    /// It could not be started or was lost, by no fault of the renter.
    Failed {
        /// Which lease.
        lease: LeaseId,
        /// Which part.
        part: PartIndex,
        /// Which attempt.
        attempt: u32,
        /// Whether the program itself could not be started (the job's fault), rather than the node lost it.
        bad_program: bool,
        /// For people; at most 300 characters.
        message: String,
    },
    /// Its container is made, and its program waits for [`Request::Go`].
    Standing {
        /// Which lease.
        lease: LeaseId,
        /// Which rank.
        part: PartIndex,
        /// Which attempt.
        attempt: u32,
    },
}

impl PartReport {
    /// The lease, part and attempt that the report is of.
    #[must_use]
    pub const fn key(&self) -> (LeaseId, PartIndex, u32) {
        match self {
            Self::Started { lease, part, attempt }
            | Self::Standing { lease, part, attempt }
            | Self::Ended {
                lease, part, attempt, ..
            }
            | Self::Failed {
                lease, part, attempt, ..
            } => (*lease, *part, *attempt),
        }
    }
}

/// How a lease is, as its provider sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// Which.
    pub lease: LeaseId,
    /// Where it stands.
    pub phase: Phase,
    /// What the work does.
    pub work: Work,
    /// Metered time.
    pub metered: Millis,
    /// The newest receipt that the provider holds.
    pub signed: Amount,
    /// Why it ends or has ended, once it does.
    pub end: Option<End>,
}

/// Where a lease stands at its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Fetching and unpacking.
    Preparing {
        /// Bytes that are here.
        done: ByteSize,
        /// Bytes that are needed.
        total: ByteSize,
    },
    /// Prepared; the deposit is not deep enough in the chain yet.
    AwaitingDeposit,
    /// Prepared and funded; waiting for the first receipt.
    AwaitingReceipt,
    /// Parts may run.
    Running,
    /// Frozen for want of a receipt.
    Frozen,
    /// The work is being stopped.
    Stopping,
    /// The work is gone; the settlement is on its way.
    Settling,
    /// Over.
    Ended,
}

/// Asks for the log of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsRequest {
    /// Which lease.
    pub lease: LeaseId,
    /// Which part.
    pub part: PartIndex,
    /// Which attempt.
    pub attempt: u32,
    /// From which byte.
    pub offset: u64,
    /// Whether to wait for more until the part is over.
    pub follow: bool,
}

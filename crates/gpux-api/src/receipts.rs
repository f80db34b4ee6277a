//! Closing records: how each lease ended, what it moved, and who signed that.

use crate::{cost::TransactionKind, job::Actor};
use gpux_types::{Amount, BasisPoints, JobId, LeaseId, Millis, NodeId, PartIndex, PricePerHour, Token, UnixSeconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The closing records of this node's leases, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptsView {
    /// `gpux.receipts/v1`.
    #[schemars(extend("const" = "gpux.receipts/v1"))]
    pub schema: String,
    /// The token of the amounts.
    pub token: Token,
    /// The records.
    pub receipts: Vec<ReceiptView>,
    /// Where the next page begins. Absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which side of a lease this node was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseSide {
    /// It paid.
    Renter,
    /// It was paid.
    Provider,
}

/// Who signed a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordStanding {
    /// Both, the same words.
    Agreed,
    /// Both, each words of its own.
    Disputed,
    /// This node alone: the other did not answer (yet).
    OneSided,
}

/// How one lease ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptView {
    /// The lease: the hash of its terms, its chain and its escrow.
    pub lease: LeaseId,
    /// Which side this node was.
    pub side: LeaseSide,
    /// The job that it was rented for.
    pub job: JobId,
    /// The job's name.
    pub name: String,
    /// The other side's node.
    pub node: NodeId,
    /// Who signed.
    pub standing: RecordStanding,
    /// In what a disputed record differs, as far as the renter can check it.
    pub differs: Vec<String>,
    /// What the renter paid for an hour.
    pub price: PricePerHour,
    /// The lease's terms and where its money was.
    pub terms: TermsView,
    /// What the renter signed.
    pub renter: Option<StatementView>,
    /// What the provider signed.
    pub provider: Option<StatementView>,
}

impl ReceiptView {
    /// This node's own word.
    #[must_use]
    pub const fn own(&self) -> Option<&StatementView> {
        match self.side {
            LeaseSide::Renter => self.renter.as_ref(),
            LeaseSide::Provider => self.provider.as_ref(),
        }
    }
}

/// The terms whose hash is the lease's id. Whoever has them can check both signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TermsView {
    /// The chain.
    pub chain_id: u64,
    /// The escrow.
    pub escrow: String,
    /// Who paid.
    pub renter: String,
    /// Signed the receipts, and the renter's side of the record.
    pub receipt_key: String,
    /// Who was paid.
    pub provider: String,
    /// Settled, and signed the provider's side of the record.
    pub provider_signer: String,
    /// The token's contract.
    pub token: String,
    /// Who published the app, or the zero address.
    pub builder: String,
    /// The builder's share in basis points.
    pub builder_share: BasisPoints,
    /// Seconds after the expiry in which only the provider could close.
    pub grace_secs: u32,
    /// The hash of the quote.
    pub salt: String,
}

/// What one side signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatementView {
    /// Why the lease ended, as a word such as `completed`.
    pub reason: String,
    /// The same as a sentence.
    pub reason_text: String,
    /// Who made it end.
    pub by: Actor,
    /// What was metered.
    pub metered: Millis,
    /// How its parts ended.
    pub exits: Vec<ExitView>,
    /// How many tries of parts ended otherwise: never started, lost, not wanted any more, or with a code that is not listed.
    pub other_parts: u32,
    /// The end of the log of the try that was given last among those that ran.
    pub last_log: Option<LastLogView>,
    /// The newest receipt.
    pub signed: Amount,
    /// The first deposit.
    pub deposit: Amount,
    /// Added since.
    pub topped_up: Amount,
    /// To the provider.
    pub earned: Amount,
    /// To the builder.
    pub builder: Amount,
    /// Back to the renter.
    pub refund: Amount,
    /// In which transactions.
    pub transactions: Vec<MoveView>,
    /// How many transactions are left out of the list.
    pub transactions_omitted: u32,
    /// The date by the clock of who stated it.
    pub date: UnixSeconds,
    /// What was signed: the EIP-712 digest.
    pub digest: String,
    /// The signature.
    pub signature: String,
}

/// How many parts ended with one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitView {
    /// The code; 128 + the signal when a signal ended it.
    pub code: i32,
    /// How many.
    pub parts: u32,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastLogView {
    /// Of which part.
    pub part: PartIndex,
    /// Which try.
    pub attempt: u32,
    /// How many bytes it wrote in all.
    pub length: u64,
    /// Keccak-256 of its last 65,536 bytes, or of all when there are fewer.
    pub hash: String,
}

/// One transaction of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoveView {
    /// What it did.
    pub kind: TransactionKind,
    /// Its hash.
    pub hash: String,
    /// What it moved.
    pub amount: Amount,
}

//! The bill.

use crate::job::AtRiskView;
use gpux_types::{Amount, JobId, LeaseId, Millis, NodeId, PricePerHour, Token, UnixSeconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a job cost, read from the chain.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CostView {
    /// `gpux.cost/v1`.
    #[schemars(extend("const" = "gpux.cost/v1"))]
    pub schema: String,
    /// The job.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// The token of the amounts.
    pub token: Token,
    /// The token's contract.
    pub token_address: String,
    /// The chain.
    pub chain_id: u64,
    /// The escrow.
    pub escrow: String,
    /// Each lease.
    pub leases: Vec<LeaseCost>,
    /// Deposits and top-ups.
    pub paid_in: Amount,
    /// To providers.
    pub earned: Amount,
    /// To the builder.
    pub builder: Amount,
    /// Back to the renter.
    pub refund: Amount,
    /// What leases that are not over still hold.
    pub held: Amount,
    /// Whether all money in equals all money out to the last unit.
    pub balanced: bool,
    /// How many transactions all leases took.
    pub transactions: u32,
    /// Fees of those that this wallet sent, in wei of the native coin, without the L1 part where the chain charges none.
    pub fees_wei: String,
    /// Whether L1 parts are estimates that the chain did not charge.
    pub l1_estimated: bool,
}

/// What one lease cost.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LeaseCost {
    /// Its id.
    pub lease: LeaseId,
    /// The node.
    pub node: NodeId,
    /// Who was paid.
    pub provider: String,
    /// What the renter pays for an hour.
    pub price: PricePerHour,
    /// The first deposit.
    pub deposit: Amount,
    /// Added since.
    pub topped_up: Amount,
    /// What the provider got, without the builder's share.
    pub earned: Amount,
    /// What the builder got.
    pub builder: Amount,
    /// What came back.
    pub refund: Amount,
    /// The newest receipt that was signed.
    pub signed: Amount,
    /// What was metered.
    pub metered: Millis,
    /// When the escrow ends it.
    pub expiry: UnixSeconds,
    /// What each side has at risk, while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<AtRiskView>,
    /// Its transactions in order.
    pub transactions: Vec<TransactionView>,
}

/// What a transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    /// The first deposit.
    Deposit,
    /// More money.
    TopUp,
    /// A payment on the way; the lease stays open.
    Draw,
    /// The final payment with the refund, sent by the provider.
    Settlement,
    /// The final payment with the refund, sent by the renter with the provider's closing amount.
    Closing,
    /// Everything back after the expiry and grace.
    Reclaim,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransactionView {
    /// Its lease.
    pub lease: LeaseId,
    /// What it did.
    pub kind: TransactionKind,
    /// Its hash.
    pub hash: String,
    /// Its block.
    pub block: Option<u64>,
    /// What it moved: the deposit, the top-up, or what was paid.
    pub amount: Amount,
    /// Who sent it.
    pub sender: Option<String>,
    /// Gas used.
    pub gas_used: Option<u64>,
    /// The L2 part of its fee, in wei.
    pub l2_fee_wei: Option<String>,
    /// The L1 part: what the chain charged, or an estimate where it charges none.
    pub l1_fee_wei: Option<String>,
    /// Whether the L1 part is an estimate that was not charged.
    pub l1_estimated: bool,
}

//! The contracts of this build on a chain, and what a transaction costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The contracts of this build on one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContractsView {
    /// `gpux.contracts/v1`.
    #[schemars(extend("const" = "gpux.contracts/v1"))]
    pub schema: String,
    /// The chain's name in configurations, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The chain.
    pub chain_id: u64,
    /// Each contract.
    pub contracts: Vec<ContractView>,
    /// Who deploys, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// What it has of the native coin, in wei, before anything is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_wei: Option<String>,
    /// What all missing contracts cost at most, in wei.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_wei: Option<String>,
    /// What was paid in fees, in wei, without the L1 part where the chain charges none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fees_wei: Option<String>,
}

/// One contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContractView {
    /// `escrow` or `node_directory`: the key of the configuration.
    pub contract: String,
    /// Where it is, or will be.
    pub address: String,
    /// What is there.
    pub state: ContractState,
    /// What differs from this build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What deploying it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<FeeEstimateView>,
    /// The transaction that deployed it just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<FeeView>,
}

/// What is at a contract's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContractState {
    /// Nothing.
    Absent,
    /// This build's contract, to the last byte.
    Verified,
    /// Another contract.
    Different,
}

/// What a transaction would cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeeEstimateView {
    /// The gas that it takes.
    pub gas: u64,
    /// The fee at the newest block's prices, in wei.
    pub now_wei: String,
    /// The most that is offered, in wei.
    pub most_wei: String,
}

/// What a transaction cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeeView {
    /// Its hash.
    pub hash: String,
    /// Its block.
    pub block: u64,
    /// Gas used.
    pub gas_used: u64,
    /// The L2 part of its fee, in wei.
    pub l2_fee_wei: String,
    /// The L1 part: what the chain charged, or an estimate where it charges none.
    pub l1_fee_wei: Option<String>,
    /// Whether the L1 part is an estimate that was not charged.
    pub l1_estimated: bool,
}

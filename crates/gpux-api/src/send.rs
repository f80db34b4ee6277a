//! Money that the wallet's owner sends to somebody.

use crate::{FeeEstimateView, FeeView};
use gpux_types::{Amount, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A wish to send money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// To whom: an address. One in letters of both cases must have its checksum.
    pub to: String,
    /// How much, as people write it: `12.5` or `12.5 USDC`.
    pub amount: String,
    /// The chain's own coin instead of the token of deposits.
    #[serde(default)]
    pub coin: bool,
    /// Also what open jobs may still need.
    #[serde(default)]
    pub force: bool,
    /// What makes it once: the same name never pays twice. For a plan it may be absent, and the plan gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
}

/// What would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendPlanView {
    /// `gpux.send-plan/v1`.
    #[schemars(extend("const" = "gpux.send-plan/v1"))]
    pub schema: String,
    /// What makes it once.
    pub once: String,
    /// To whom, with its checksum.
    pub to: String,
    /// Whether the address was written with its checksum.
    pub has_checksum: bool,
    /// Whether there is a contract at the address.
    pub is_contract: bool,
    /// The chain.
    pub chain_id: u64,
    /// The chain's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// What is sent: the token of deposits, or the chain's own coin.
    pub token: Token,
    /// The token's contract; absent for the coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_address: Option<String>,
    /// How much.
    pub amount: Amount,
    /// What the wallet has of it.
    pub balance: Amount,
    /// What open jobs may still need of it.
    pub set_aside: Amount,
    /// What it costs; absent when it was sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<FeeEstimateView>,
    /// Whether a payment of this name was signed before: it is followed, and nothing is sent again.
    pub sent_before: bool,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendView {
    /// `gpux.send/v1`.
    #[schemars(extend("const" = "gpux.send/v1"))]
    pub schema: String,
    /// What made it once.
    pub once: String,
    /// To whom.
    pub to: String,
    /// What was sent.
    pub token: Token,
    /// How much.
    pub amount: Amount,
    /// How far it is.
    pub state: SendState,
    /// The transaction, in its newest version.
    pub hash: String,
    /// What it cost, once it is in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<FeeView>,
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SendState {
    /// Signed and on its way: the daemon sees to it, also over restarts.
    OnItsWay,
    /// In a block.
    Mined,
}

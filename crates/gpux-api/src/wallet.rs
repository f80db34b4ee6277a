//! The daemon itself, its wallet, and whether all is well.

use gpux_types::{Amount, NodeId, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The daemon.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DaemonView {
    /// `gpux.daemon/v1`.
    #[schemars(extend("const" = "gpux.daemon/v1"))]
    pub schema: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its node.
    pub node: NodeId,
    /// A ticket by which others find it.
    pub ticket: String,
    /// Its wallet.
    pub wallet: String,
    /// The chain.
    pub chain_id: u64,
    /// The escrow.
    pub escrow: String,
    /// Whether it provides.
    pub provides: bool,
    /// How many offers it knows.
    pub offers: u32,
    /// Leases of its own that hold money, as renter and as provider.
    pub leases: u32,
}

/// The wallet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WalletView {
    /// `gpux.wallet/v1`.
    #[schemars(extend("const" = "gpux.wallet/v1"))]
    pub schema: String,
    /// The address.
    pub address: String,
    /// The chain.
    pub chain_id: u64,
    /// The token of deposits.
    pub token: Token,
    /// The token's contract.
    pub token_address: String,
    /// What it has of it.
    pub balance: Amount,
    /// What it has of the native coin for fees, in wei.
    pub native_wei: String,
}

/// The wallet's address alone, which needs no daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressView {
    /// `gpux.address/v1`.
    #[schemars(extend("const" = "gpux.address/v1"))]
    pub schema: String,
    /// The address.
    pub address: String,
    /// The same as a link with its chain (EIP-681), where the configuration names one: what a QR code of it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
    /// How people call the chain, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The token of deposits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_address: Option<String>,
}

impl From<String> for AddressView {
    fn from(address: String) -> Self {
        Self {
            schema: "gpux.address/v1".to_owned(),
            address,
            uri: None,
            chain_id: None,
            chain: None,
            token_address: None,
        }
    }
}

/// What `gpux doctor` found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DoctorView {
    /// `gpux.doctor/v1`.
    #[schemars(extend("const" = "gpux.doctor/v1"))]
    pub schema: String,
    /// Every check.
    pub checks: Vec<DoctorCheck>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorCheck {
    /// What was looked at.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

//! A whole market on one machine, as `gpux devnet` shows it and keeps it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The market as it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DevnetView {
    /// `gpux.devnet/v1`.
    #[schemars(extend("const" = "gpux.devnet/v1"))]
    pub schema: String,
    /// The chain.
    pub chain_id: u64,
    /// Its JSON-RPC endpoint.
    pub rpc_url: String,
    /// The escrow.
    pub escrow: String,
    /// The token of deposits.
    pub token: String,
    /// Its symbol.
    pub token_symbol: String,
    /// The folder that renters' commands use.
    pub renter_dir: PathBuf,
    /// Every process.
    pub processes: Vec<ProcessView>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessView {
    /// What it is.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the pid it names one process for ever.
    pub start_ticks: u64,
    /// Whether it runs.
    pub alive: bool,
    /// Its folder.
    pub dir: PathBuf,
}

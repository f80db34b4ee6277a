//! What can be typed after `gpux contracts`.

use clap::{Args, Subcommand};
use gpux_types::Address;

#[derive(Debug, Subcommand)]
pub(crate) enum ContractsVerb {
    /// Put the escrow and the node directory of this version on a chain, paid by this folder's wallet
    #[command(after_help = CONTRACTS_DEPLOY)]
    Deploy {
        #[command(flatten)]
        chain: ChainArgs,
        /// Say yes to the fees
        #[arg(short, long)]
        yes: bool,
    },
    /// Compare the contracts on a chain with those of this version, to the last byte
    #[command(after_help = CONTRACTS_VERIFY)]
    Verify {
        #[command(flatten)]
        chain: ChainArgs,
        /// Where the escrow is [default: what the configuration says, else where this version puts it]
        #[arg(long, value_name = "ADDRESS")]
        escrow: Option<Address>,
        /// Where the node directory is [default: as the escrow]
        #[arg(long, value_name = "ADDRESS")]
        node_directory: Option<Address>,
    },
}

/// Which chain.
#[derive(Debug, Args)]
pub(crate) struct ChainArgs {
    /// The chain's name (optimism, optimism-sepolia, devnet) or its id [default: the configuration's]
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) chain: Option<String>,
    /// Where it answers [default: the configuration's, or the chain's public endpoint]. An endpoint with a key in it belongs into
    /// config.toml: other users of this machine see what is typed
    #[arg(long, value_name = "URL")]
    pub(crate) rpc_url: Option<String>,
}

pub(super) const CONTRACTS: &str = "\
Examples:
  gpux contracts verify
  gpux contracts verify --chain optimism-sepolia
  gpux contracts deploy --chain optimism-sepolia";

pub(super) const CONTRACTS_DEPLOY: &str = "\
Examples:
  gpux contracts deploy                  on the chain of config.toml, after asking
  gpux contracts deploy --chain optimism-sepolia -y
  gpux contracts deploy --chain 31337 --rpc-url http://127.0.0.1:8545

It has the same address on every chain, and who is cut off runs it again: nothing is paid for twice.";

pub(super) const CONTRACTS_VERIFY: &str = "\
Examples:
  gpux contracts verify                  exit status 8 when one is missing or another than this version's
  gpux contracts verify --chain optimism --json | jq '.contracts[] | select(.state != \"verified\")'";

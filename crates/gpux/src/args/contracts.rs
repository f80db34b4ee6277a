//! What can be typed after `gpux contracts`.

use super::examples;
use clap::{Args, Subcommand};
use gpux_types::Address;

#[derive(Debug, Subcommand)]
pub(crate) enum ContractsVerb {
    /// Put the escrow and the node directory of this version on a chain, paid by this folder's wallet
    #[command(after_help = examples::CONTRACTS_DEPLOY)]
    Deploy {
        #[command(flatten)]
        chain: ChainArgs,
        /// Say yes to the fees
        #[arg(short, long)]
        yes: bool,
    },
    /// Compare the contracts on a chain with those of this version, to the last byte
    #[command(after_help = examples::CONTRACTS_VERIFY)]
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

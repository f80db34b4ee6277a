//! A market of one's own: `gpux devnet`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum DevnetVerb {
    /// Start it
    #[command(after_help = DEVNET_UP)]
    Up(DevnetUpArgs),
    /// Stop every process of it; its folder stays unless --purge is given
    #[command(after_help = DEVNET_DOWN)]
    Down {
        /// Remove its folder as well
        #[arg(long)]
        purge: bool,
    },
    /// Show its processes
    #[command(after_help = DEVNET_STATUS)]
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct DevnetUpArgs {
    /// How many provider daemons
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) providers: u32,
    /// Time between blocks, such as 2s; 0s makes a block for each transaction
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub(crate) block_time: gpux_types::Millis,
    /// Which test token deposits are made in
    #[arg(long, value_enum, default_value_t = DevnetToken::Dai)]
    pub(crate) token: DevnetToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DevnetToken {
    /// 18 digits
    Dai,
    /// 6 digits
    Usdc,
}

pub(super) const DEVNET: &str = "\
Examples:
  gpux devnet up --providers 3           start a chain, three providers and a renter
  gpux devnet status                     show their processes
  gpux devnet down                       stop them";

pub(super) const DEVNET_UP: &str = "\
Examples:
  gpux devnet up --providers 3           blocks every two seconds, deposits in test DAI
  gpux devnet up --block-time 0s         a block for each transaction
  gpux devnet up --token usdc            deposits in test USDC";

pub(super) const DEVNET_DOWN: &str = "\
Examples:
  gpux devnet down                       stop every process, keep the folder
  gpux devnet down --purge               and remove the folder";

pub(super) const DEVNET_STATUS: &str = "\
Examples:
  gpux devnet status
  gpux devnet status --json | jq -r .rpc_url";

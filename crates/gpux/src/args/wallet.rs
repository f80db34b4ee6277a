//! The wallet.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum WalletVerb {
    /// Make a wallet in the daemon's folder
    #[command(after_help = WALLET_NEW)]
    New {
        /// A file that holds the password [default: it is asked for on the terminal]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Print the wallet's address
    #[command(after_help = WALLET_ADDRESS)]
    Address,
    /// Show what it has
    #[command(after_help = WALLET_BALANCE)]
    Balance,
}

pub(super) const WALLET: &str = "\
Examples:
  gpux wallet new --password-file password
  gpux wallet address
  gpux wallet balance";

pub(super) const WALLET_NEW: &str = "\
Examples:
  gpux wallet new                        asks for a password twice
  gpux wallet new --password-file password
  gpux wallet new --dir /var/lib/gpux --password-file /etc/gpux/password";

pub(super) const WALLET_ADDRESS: &str = "\
Examples:
  gpux wallet address
  gpux wallet address --json | jq -r .address";

pub(super) const WALLET_BALANCE: &str = "\
Examples:
  gpux wallet balance
  gpux wallet balance --json | jq -r .balance";

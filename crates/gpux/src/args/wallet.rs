//! What can be typed after `gpux wallet`. No key and no password is among it: what is typed is seen by others of the machine, and kept.

use clap::{Args, Subcommand};
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
    /// Take over a key that another program made
    #[command(after_help = WALLET_IMPORT)]
    Import {
        /// A keystore (JSON), or a file with the private key in hexadecimal digits [default: the key is asked for on the terminal]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// A file that holds the password: the keystore's, or the new one of a bare key [default: it is asked for on the terminal]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Print the wallet's address
    #[command(after_help = WALLET_ADDRESS)]
    Address {
        /// On a terminal, show what somebody needs who pays in: a QR code, the chain and the token
        #[arg(long)]
        qr: bool,
    },
    /// Show what it has
    #[command(after_help = WALLET_BALANCE)]
    Balance,
    /// Send the token of deposits, or the chain's own coin, to somebody
    #[command(after_help = WALLET_SEND)]
    Send(SendArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// To whom: an address. One in letters of both cases must have its checksum
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    /// How much, such as 12.5 or "12.5 USDC"
    #[arg(value_name = "AMOUNT")]
    pub(crate) amount: String,
    /// Send the chain's own coin rather than the token of deposits
    #[arg(long)]
    pub(crate) coin: bool,
    /// A name that makes it once: the same command with the same name never pays twice [default: a new one]
    #[arg(long, value_name = "NAME")]
    pub(crate) once: Option<String>,
    /// Send also what open jobs may still need
    #[arg(long)]
    pub(crate) force: bool,
    /// Say yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}

pub(super) const WALLET: &str = "\
Examples:
  gpux wallet new --password-file password
  gpux wallet address --qr
  gpux wallet balance
  gpux wallet send 0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85 12.5";

const WALLET_NEW: &str = "\
Examples:
  gpux wallet new                        asks for a password twice
  gpux wallet new --password-file password
  gpux wallet new --dir /var/lib/gpux --password-file /etc/gpux/password";

const WALLET_IMPORT: &str = "\
Examples:
  gpux wallet import keystore.json       asks for its password, which the wallet keeps
  gpux wallet import key.txt --password-file password
  gpux wallet import                     asks for the key, and twice for a new password

FILE must be readable by its owner alone (chmod 600), and stays as it is.";

const WALLET_ADDRESS: &str = "\
Examples:
  gpux wallet address
  gpux wallet address --qr               for a phone; plain when it is not a terminal
  gpux wallet address --json | jq -r .address";

const WALLET_BALANCE: &str = "\
Examples:
  gpux wallet balance
  gpux wallet balance --json | jq -r .balance";

const WALLET_SEND: &str = "\
Examples:
  gpux wallet send 0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85 12.5
  gpux wallet send 0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85 0.01 --coin
  gpux wallet send 0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85 12.5 --once rent-2026-11 -y

An address whose checksum does not hold is refused; one without a checksum is taken with a warning. A script that gives --once can
be run again after anything: it pays once. Exit status 7: it is on its way, and the daemon sees to it.";

//! The daemon.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Its output is a file: no colours (used by commands that start a daemon for themselves)
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// More of what happens in its log (-vv for all)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

pub(super) const DAEMON: &str = "\
Examples:
  gpux daemon --dir /var/lib/gpux        run a node with this folder's config.toml
  gpux daemon -v                         with more in its log, which goes to standard error
  GPUX_LOG=gpux_net=debug gpux daemon    with more of the network only";

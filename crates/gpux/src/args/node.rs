//! What the owner of a node that sells can type.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Show what it sells, to whom, how its price stands, and why it may have no jobs
    #[command(after_help = NODE_STATUS)]
    Status,
    /// Show what it asks, or ask other prices from now on
    #[command(after_help = NODE_PRICE)]
    Price(PriceArgs),
    /// Take no new leases; those that it has go on
    #[command(after_help = NODE_PAUSE)]
    Pause,
    /// Take new leases again
    #[command(after_help = NODE_RESUME)]
    Resume,
    /// Take no new leases, and wait until no quote holds and the last lease is over and paid
    #[command(after_help = NODE_DRAIN)]
    Drain(DrainArgs),
    /// Show what it earned
    #[command(after_help = NODE_EARNINGS)]
    Earnings(EarningsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PriceArgs {
    /// Net price of one core for an hour, such as 0.05
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) cpu: Option<String>,
    /// Net price of one GiB of memory for an hour
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) memory: Option<String>,
    /// Net price of one GiB of disk for an hour
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) disk: Option<String>,
    /// Go back to what config.toml says, before what else is given here
    #[arg(long)]
    pub(crate) reset: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Give up waiting after this long (the node stays paused, its leases go on)
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<gpux_types::Millis>,
    /// Then stop the daemon
    #[arg(long)]
    pub(crate) stop: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EarningsArgs {
    /// Only of leases that ended in this time
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub(crate) since: gpux_types::Millis,
    /// From the beginning
    #[arg(long, conflicts_with = "since")]
    pub(crate) all: bool,
}

pub(super) const NODE: &str = "\
Examples:
  gpux node status --dir /var/lib/gpux   what it sells, to whom, and why it may have no jobs
  gpux node price --cpu 0.04             asks less from now on
  gpux node drain --stop                 waits for quotes that hold and for the last lease, then stops the daemon
  gpux node earnings --since 7d";

const NODE_STATUS: &str = "\
Examples:
  gpux node status
  gpux node status --json | jq -r '.why_idle[].found'";

const NODE_PRICE: &str = "\
Examples:
  gpux node price                        what it asks, and what others ask
  gpux node price --cpu 0.04 --memory 0.01
  gpux node price --reset                what config.toml says

Leases that run, and quotes that were given, keep their price. A price that was set here outlives the daemon.";

const NODE_PAUSE: &str = "\
Examples:
  gpux node pause                        until `gpux node resume`, also after a restart";

const NODE_RESUME: &str = "\
Examples:
  gpux node resume";

const NODE_DRAIN: &str = "\
Examples:
  gpux node drain                        ends when no lease and no quote is left; ends none by itself
  gpux node drain --timeout 2h --stop";

const NODE_EARNINGS: &str = "\
Examples:
  gpux node earnings                     of the last 30 days
  gpux node earnings --all --json | jq -r .earned";

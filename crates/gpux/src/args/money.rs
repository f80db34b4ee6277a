//! What a job costs, what is added to it and what is signed for it.

use super::{job::JobName, market::ListArgs};
use crate::commands::job_names;
use clap::Args;
use clap_complete::ArgValueCandidates;

#[derive(Debug, Args)]
pub(crate) struct TopUpArgs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// How much more for each lease, such as 0.5
    #[arg(value_name = "AMOUNT")]
    pub(crate) amount: String,
    /// Leave the expiry as it is [default: it moves by as much time as the amount pays for]
    #[arg(long)]
    pub(crate) keep_expiry: bool,
    /// Say yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AwayArgs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// For how long, such as 2h; 0 says that you are back
    #[arg(value_name = "DURATION", value_parser = horizon)]
    pub(crate) horizon: gpux_types::Millis,
    /// Say yes to what is at risk
    #[arg(short, long)]
    pub(crate) yes: bool,
}

fn horizon(text: &str) -> Result<gpux_types::Millis, gpux_types::ParseDurationError> {
    if text == "0" {
        return Ok(gpux_types::Millis::ZERO);
    }
    text.parse()
}

#[derive(Debug, Args)]
pub(crate) struct ReceiptsArgs {
    /// Only of this job or lease: a name, an id, or a beginning of either [default: all]
    #[arg(value_name = "JOB|LEASE", add = ArgValueCandidates::new(job_names))]
    pub(crate) of: Option<String>,
    /// Print CSV, one line for each lease
    #[arg(long)]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

pub(super) const TOPUP: &str = "\
Examples:
  gpux topup first-light 0.5             half a DAI more for each of its leases, and the time that it pays for
  gpux topup first-light 0.5 --keep-expiry -y";

pub(super) const AWAY: &str = "\
Examples:
  gpux away first-light 2h               signs for two hours ahead, after asking; then this machine may sleep
  gpux away first-light 20m -y
  gpux away first-light 0                back before that: nothing more is signed ahead

What is signed ahead is at risk: a provider could take it without working. Work that ends early is not paid for beyond its end.";

pub(super) const COST: &str = "\
Examples:
  gpux cost first-light
  gpux cost first-light --json | jq -r '.leases[].transactions[].hash'";

pub(super) const RECEIPTS: &str = "\
Examples:
  gpux receipts                          how every lease ended, the newest first
  gpux receipts first-light              those of one job
  gpux receipts --limit 10               the newest ten
  gpux receipts --csv > leases.csv       for spreadsheets: docs/spec/receipts.md
  gpux receipts --json | jq '.receipts[] | select(.standing != \"agreed\")'";

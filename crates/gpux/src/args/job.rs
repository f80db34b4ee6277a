//! Jobs: run them, see them, end them.

use super::market::{JobArgs, ListArgs};
use crate::commands::job_names;
use clap::Args;
use clap_complete::ArgValueCandidates;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Say yes to the plan
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Do not follow the job
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Print what the job's processes write, as it comes, on standard output
    #[arg(short, long, conflicts_with = "detach")]
    pub(crate) logs: bool,
    /// Open, top up and close all leases together: three transactions in all rather than three for each node
    #[arg(long)]
    pub(crate) batch: bool,
    /// Add to deposits that run low by itself, up to this much in all
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) top_up_within: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Also jobs that are over
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// A job by its name, its id, or a unique beginning of either.
#[derive(Debug, Args)]
pub(crate) struct JobName {
    /// Its name, its id, or a unique beginning of either
    #[arg(value_name = "JOB", add = ArgValueCandidates::new(job_names))]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Go on until the job is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this part
    #[arg(long, value_name = "INDEX")]
    pub(crate) part: Option<u32>,
    /// Only parts on this node: a unique beginning of its id
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Why it failed: how the job and its leases ended, and the last lines of each part that failed
    #[arg(long, conflicts_with_all = ["follow", "part"])]
    pub(crate) diagnose: bool,
    /// Only the last lines of each part
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Give up after this long (the job goes on)
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<gpux_types::Millis>,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// For the record
    #[arg(long, default_value = "stopped by the renter")]
    pub(crate) reason: String,
}

pub(super) const RUN: &str = "\
Examples:
  gpux run apps/render/gpux.yaml         shows the plan and asks once
  gpux run render.yaml -y --max-total 5  asks nothing, spends 5 at most
  gpux run render.yaml -y -d             does not follow the job
  gpux run hello.yaml -y --logs          prints what its processes write
  gpux run --nodes 3 --cpu 2.. --memory 4GiB.. --for 2h docker.io/org/app:1.2 -- ./bench.sh
                                         without a file: one command on three nodes, which start together
  gpux run render.yaml -y --json         prints an event a line for programs: docs/spec/run-events.md

Ctrl-C detaches and leaves the job alone. The exit status is that of the first part that failed, or of the last step;
125 when anything else went wrong; with -d as of every other command.";

pub(super) const PS: &str = "\
Examples:
  gpux ps                                jobs that go on
  gpux ps -a                             and those that are over
  gpux ps -a --limit 5                   the newest five
  gpux ps -a --json | jq -r '.jobs[].name'";

pub(super) const LOGS: &str = "\
Examples:
  gpux logs first-light                  what every part wrote
  gpux logs -f first-light               and what they go on to write
  gpux logs first-light --part 3 --tail 20
  gpux logs first-light --node 8a88e3    what ran on that node
  gpux logs first-light --diagnose       why it failed";

pub(super) const GET: &str = "\
Examples:
  gpux get first-light
  gpux get first-light --json | jq '.job.leases[] | {node, state, metered}'
  gpux get first-light --json | jq .ends_by_itself";

pub(super) const OPEN: &str = "\
Examples:
  gpux open first-light                  opens the folder with the results on a desktop, and prints it
  ls \"$(gpux open first-light)\"";

pub(super) const WAIT: &str = "\
Examples:
  gpux wait first-light && ls first-light
  gpux wait first-light --timeout 10m    exit status 7 when it still goes on";

pub(super) const STOP: &str = "\
Examples:
  gpux stop first-light                  stop the work, settle each lease, get the rest back
  gpux stop first-light --reason wrong-scene

Nothing is given time to end: containers are killed as soon as their nodes hear of it. Parts that are done stay done.";

//! What can be typed. Nothing here knows what it means: that is `commands/`.
//!
//! One file a noun has the arguments of its verbs, and the lines at the end of their help, which can be typed as they are:
//! a test does so for all verbs.

mod context;
mod contracts;
mod daemon;
mod devnet;
mod file;
mod job;
mod line;
mod market;
mod money;
mod node;
mod relay;
mod system;
mod wallet;

pub(crate) use context::ContextVerb;
pub(crate) use contracts::{ChainArgs, ContractsVerb};
pub(crate) use daemon::DaemonArgs;
pub(crate) use devnet::{DevnetToken, DevnetUpArgs, DevnetVerb};
pub(crate) use file::{InitArgs, Template, ValidateArgs};
pub(crate) use job::{JobName, LogsArgs, PsArgs, RunArgs, StopArgs, WaitArgs};
pub(crate) use market::{JobArgs, OffersArgs};
pub(crate) use money::{AwayArgs, ReceiptsArgs, TopUpArgs};
pub(crate) use node::{DrainArgs, EarningsArgs, NodeVerb, PriceArgs};
pub(crate) use relay::RelayArgs;
pub(crate) use system::{CompletionArgs, ManArgs};
pub(crate) use wallet::{SendArgs, WalletVerb};

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::{ffi::OsString, path::PathBuf};

/// Rent computers that nobody owns, by the second, paid from escrow.
#[derive(Debug, Parser)]
#[command(name = "gpux", version, max_term_width = 110, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Whether these words, also where they are wrong, are a `gpux run` that follows its job.
pub(crate) fn is_followed_run(typed: &[OsString]) -> bool {
    let understood = Arguments::command().ignore_errors(true).try_get_matches_from(typed);
    understood.is_ok_and(|matches| match matches.subcommand() {
        Some(("run", given)) => !matches!(given.try_get_one("detach"), Ok(Some(true))),
        _ => false,
    })
}

/// Under which heading the help lists the options of every command.
const GLOBAL: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print data as JSON on standard output, and errors as JSON on standard error
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// The daemon's folder [default: what `gpux devnet up` chose, else ~/.gpux]
    #[arg(long, global = true, env = "GPUX_DIR", hide_env_values = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(crate) dir: Option<PathBuf>,
}

/// Everything that can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the daemon in the foreground (renters' commands start one when none runs)
    #[command(after_help = daemon::DAEMON)]
    Daemon(DaemonArgs),
    /// A whole market on this machine: a chain, providers and a renter, as separate processes
    #[command(subcommand)]
    #[command(after_help = devnet::DEVNET)]
    Devnet(DevnetVerb),
    /// Write a job file to start from
    #[command(after_help = file::INIT)]
    Init(InitArgs),
    /// Check a job file on this machine alone: where it is wrong, and what was probably meant
    #[command(after_help = file::VALIDATE)]
    Validate(ValidateArgs),
    /// List the offers that this node has heard
    #[command(after_help = market::OFFERS)]
    Offers(OffersArgs),
    /// List the models of GPU that are sold, how many are free, and what they cost
    #[command(after_help = market::GPUS)]
    Gpus,
    /// Show what would run where, for how much at most; spends nothing
    #[command(after_help = market::PLAN)]
    Plan(JobArgs),
    /// Plan, ask once, deposit, run, collect and settle
    #[command(after_help = job::RUN)]
    Run(RunArgs),
    /// List jobs
    #[command(after_help = job::PS)]
    Ps(PsArgs),
    /// Show all that is known of a job: its leases, its money, when it ends by itself, what was tried again
    #[command(after_help = job::GET)]
    Get(JobName),
    /// Open the folder of a job's results, or print where it is
    #[command(after_help = job::OPEN)]
    Open(JobName),
    /// Show what a job's processes wrote
    #[command(after_help = job::LOGS)]
    Logs(LogsArgs),
    /// Wait until a job is over; the exit status tells how it ended
    #[command(after_help = job::WAIT)]
    Wait(WaitArgs),
    /// Add money to each running lease of a job
    #[command(after_help = money::TOPUP)]
    Topup(TopUpArgs),
    /// End a job: stop its work, settle its leases, get the rest back
    #[command(after_help = job::STOP)]
    Stop(StopArgs),
    /// Let a job's work go on for a while without this node, paid for ahead
    #[command(after_help = money::AWAY)]
    Away(AwayArgs),
    /// Show every coin and every transaction of a job, read from the chain
    #[command(after_help = money::COST)]
    Cost(JobName),
    /// Show how each lease ended, what it moved, and who signed that: as renter and as provider
    #[command(after_help = money::RECEIPTS)]
    Receipts(ReceiptsArgs),
    /// The wallet that deposits and is refunded
    #[command(subcommand)]
    #[command(after_help = wallet::WALLET)]
    Wallet(WalletVerb),
    /// GPUX's contracts on a chain: deploy this version's, or compare what is there with it
    #[command(subcommand)]
    #[command(after_help = contracts::CONTRACTS)]
    Contracts(ContractsVerb),
    /// The node of this daemon, for whoever owns it and sells on it
    #[command(subcommand)]
    #[command(after_help = node::NODE)]
    Node(NodeVerb),
    /// Run a relay in the foreground, for nodes behind routers that let nobody in
    #[command(after_help = relay::RELAY)]
    Relay(RelayArgs),
    /// Check this machine, the chain, the network and the daemon, and say how to mend what is broken
    #[command(after_help = system::DOCTOR)]
    Doctor,
    /// Which daemon commands talk to
    #[command(subcommand)]
    #[command(after_help = context::CONTEXT)]
    Context(ContextVerb),
    /// Print the completion script of a shell
    #[command(after_help = system::COMPLETION)]
    Completion(CompletionArgs),
    /// Write the manual, a page for each command
    #[command(after_help = system::MAN)]
    Man(ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  gpux devnet up --providers 3           a whole market on this machine
  gpux offers                            who offers what, for how much
  gpux plan apps/render/gpux.yaml        what would run where, for how much at most
  gpux run apps/render/gpux.yaml         plan, ask, deposit, run, collect, settle
  gpux topup blue-otter-3 0.5            half a DAI more for each of its leases
  gpux cost blue-otter-3                 every coin and every transaction of it

Exit status: 0 done, 1 other errors, 2 bad usage or input, 3 no match, 4 not enough money, 5 not authorised,
6 not found, 7 timed out, 8 out of reach, 9 the job failed, 10 a provider failed, 130 interrupted.
Of a followed `gpux run`: its job's own, and 125 for everything else that goes wrong.";

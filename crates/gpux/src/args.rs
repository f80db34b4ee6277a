//! What can be typed. Nothing here knows what it means: that is `commands/`.

mod contracts;
mod examples;

pub(crate) use contracts::{ChainArgs, ContractsVerb};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf};

/// Rent computers that nobody owns, by the second, paid from escrow.
#[derive(Debug, Parser)]
#[command(name = "gpux", version, max_term_width = 110, propagate_version = true, after_help = examples::ALL)]
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
    #[command(after_help = examples::DAEMON)]
    Daemon(DaemonArgs),
    /// A whole market on this machine: a chain, providers and a renter, as separate processes
    #[command(subcommand)]
    #[command(after_help = examples::DEVNET)]
    Devnet(DevnetVerb),
    /// List the offers that this node has heard
    #[command(after_help = examples::OFFERS)]
    Offers,
    /// Show what would run where, for how much at most; spends nothing
    #[command(after_help = examples::PLAN)]
    Plan(JobArgs),
    /// Plan, ask once, deposit, run, collect and settle
    #[command(after_help = examples::RUN)]
    Run(RunArgs),
    /// List jobs
    #[command(after_help = examples::PS)]
    Ps(PsArgs),
    /// Show what a job's processes wrote
    #[command(after_help = examples::LOGS)]
    Logs(LogsArgs),
    /// Wait until a job is over; the exit status tells how it ended
    #[command(after_help = examples::WAIT)]
    Wait(WaitArgs),
    /// Add money to each running lease of a job
    #[command(after_help = examples::TOPUP)]
    Topup(TopUpArgs),
    /// End a job: stop its work, settle its leases, get the rest back
    #[command(after_help = examples::STOP)]
    Stop(StopArgs),
    /// Let a job's work go on for a while without this node, paid for ahead
    #[command(after_help = examples::AWAY)]
    Away(AwayArgs),
    /// Show every coin and every transaction of a job, read from the chain
    #[command(after_help = examples::COST)]
    Cost(JobName),
    /// Show how each lease ended, what it moved, and who signed that: as renter and as provider
    #[command(after_help = examples::RECEIPTS)]
    Receipts(ReceiptsArgs),
    /// The wallet that deposits and is refunded
    #[command(subcommand)]
    #[command(after_help = examples::WALLET)]
    Wallet(WalletVerb),
    /// GPUX's contracts on a chain: deploy this version's, or compare what is there with it
    #[command(subcommand)]
    #[command(after_help = examples::CONTRACTS)]
    Contracts(ContractsVerb),
    /// Check this machine, the chain, the network and the daemon, and say how to mend what is broken
    #[command(after_help = examples::DOCTOR)]
    Doctor,
    /// Print the completion script of a shell
    #[command(after_help = examples::COMPLETION)]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Its output is a file: no colours (used by commands that start a daemon for themselves)
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// More of what happens in its log (-vv for all)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevnetVerb {
    /// Start it
    #[command(after_help = examples::DEVNET_UP)]
    Up(DevnetUpArgs),
    /// Stop every process of it; its folder stays unless --purge is given
    #[command(after_help = examples::DEVNET_DOWN)]
    Down {
        /// Remove its folder as well
        #[arg(long)]
        purge: bool,
    },
    /// Show its processes
    #[command(after_help = examples::DEVNET_STATUS)]
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

/// A job file and what to change in it.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Change a parameter of the job, such as frames=1-24
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Change an input of the job, such as scene=other.blend
    #[arg(long, value_name = "NAME=PATH", value_parser = pair)]
    pub(crate) input: Vec<(String, String)>,
    /// Over how many nodes
    #[arg(long, value_name = "COUNT")]
    pub(crate) nodes: Option<u32>,
    /// The most to spend in all, such as 5
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) max_total: Option<String>,
    /// Where outputs go [default: what the job file says, else a folder of the job's name]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Show why each offer was rejected
    #[arg(long)]
    pub(crate) why: bool,
}

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
}

/// A job by its name, its id, or a unique beginning of either.
#[derive(Debug, Args)]
pub(crate) struct JobName {
    /// Its name, its id, or a unique beginning of either
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReceiptsArgs {
    /// Only of this job or lease: a name, an id, or a beginning of either [default: all]
    #[arg(value_name = "JOB|LEASE")]
    pub(crate) of: Option<String>,
    /// Print CSV, one line for each lease
    #[arg(long)]
    pub(crate) csv: bool,
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
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// For the record
    #[arg(long, default_value = "stopped by the renter")]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalletVerb {
    /// Make a wallet in the daemon's folder
    #[command(after_help = examples::WALLET_NEW)]
    New {
        /// A file that holds the password [default: it is asked for on the terminal]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Print the wallet's address
    #[command(after_help = examples::WALLET_ADDRESS)]
    Address,
    /// Show what it has
    #[command(after_help = examples::WALLET_BALANCE)]
    Balance,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("expected NAME=VALUE, got {text:?}"))?;
    if name.is_empty() {
        Err(format!("expected NAME=VALUE, got {text:?}"))
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

//! What is looked up before anything is spent, and the job file that says what is wanted.

use super::line::LineArgs;
use clap::Args;
use std::path::PathBuf;

/// A job file and what to change in it.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job file; or, with a command behind --, the image that it runs from
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
    #[command(flatten)]
    pub(crate) line: LineArgs,
}

/// How much of a list is shown.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only the first so many [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct OffersArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("expected NAME=VALUE, got {text:?}"))?;
    if name.is_empty() {
        Err(format!("expected NAME=VALUE, got {text:?}"))
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

pub(super) const OFFERS: &str = "\
Examples:
  gpux offers                            from the cheapest to the dearest
  gpux offers --limit 20                 the cheapest twenty
  gpux offers --json | jq '.offers | length'";

pub(super) const GPUS: &str = "\
Examples:
  gpux gpus                              p50: half of the nodes asks this or less for one GPU and hour
  gpux gpus --json | jq '.models[] | select(.largest >= 8) | .model'";

pub(super) const PLAN: &str = "\
Examples:
  gpux plan apps/render/gpux.yaml
  gpux plan render.yaml --set frames=1-24 --input scene=shot-03.blend --nodes 2
  gpux plan render.yaml --why            and why each other offer was rejected
  gpux plan --cpu 2 --for 2h docker.io/org/app:1.2 -- ./bench.sh";

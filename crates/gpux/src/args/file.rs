//! Job files on this machine alone.

use super::market::pair;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// What to start from
    #[arg(value_enum, default_value_t = Template::Hello)]
    pub(crate) template: Template,
    /// Where it is written; a file that is there stays as it is
    #[arg(short, long, value_name = "FILE", default_value = "gpux.yaml")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// The smallest array: one command for each of four values
    Hello,
    /// One command on one node, and the files that it leaves
    Task,
    /// A Blender animation, a part for each frame, over three nodes
    Render,
    /// A Compose file, which docker compose runs too
    Compose,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The job file
    #[arg(value_name = "FILE", default_value = "gpux.yaml")]
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
}

pub(super) const INIT: &str = "\
Examples:
  gpux init                              writes gpux.yaml, the smallest job
  gpux init render -o animation.yaml     a Blender animation over three nodes
  gpux init task -o bench.yaml";

pub(super) const VALIDATE: &str = "\
Examples:
  gpux validate                          checks gpux.yaml, and says what it would do
  gpux validate render.yaml --set frames=1-24
  gpux validate render.yaml --json | jq .mistake

The file alone is read: neither its image nor its inputs are looked at, and no daemon is asked. Exit status 2 when it is wrong;
what is told is the first mistake.";

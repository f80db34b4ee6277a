//! A task that is typed in one line, in the place of a job file.

use clap::Args;
use gpux_job::OneLine;

/// What a line says beside the image, the nodes and the output.
#[derive(Debug, Args)]
#[command(next_help_heading = "A task in one line: gpux run [OPTIONS] IMAGE -- CMD...")]
pub(crate) struct LineArgs {
    /// The command, and its arguments
    #[arg(value_name = "CMD", last = true)]
    pub(crate) command: Vec<String>,
    /// Cores of each node, at least [default: 1]
    #[arg(long, value_name = "CORES", requires = "command")]
    pub(crate) cpu: Option<String>,
    /// Memory of each node, at least [default: 1GiB]
    #[arg(long, value_name = "SIZE", requires = "command")]
    pub(crate) memory: Option<String>,
    /// Disk of each node for what the task writes, at least [default: 1GiB]
    #[arg(long, value_name = "SIZE", requires = "command")]
    pub(crate) disk: Option<String>,
    /// How long each lease may last, such as 2h
    #[arg(long = "for", value_name = "DURATION", requires = "command")]
    pub(crate) duration: Option<String>,
    /// The most for one node, such as 0.40/hour
    #[arg(long, value_name = "PRICE", requires = "command")]
    pub(crate) max_price: Option<String>,
    /// A variable of every container
    #[arg(short, long = "env", value_name = "NAME=VALUE", requires = "command")]
    pub(crate) environment: Vec<String>,
    /// Files that come back, such as '/out/*.json'
    #[arg(long, value_name = "PATTERN", requires = "command")]
    pub(crate) collect: Option<String>,
    /// A name for people [default: one is drawn, such as blue-otter-3]
    #[arg(long, value_name = "NAME", requires = "command")]
    pub(crate) name: Option<String>,
}

impl LineArgs {
    /// The task, where a command was typed.
    pub(crate) fn of_image(self, image: String) -> Option<OneLine> {
        (!self.command.is_empty()).then_some(OneLine {
            image,
            command: self.command,
            name: self.name,
            cpu: self.cpu,
            memory: self.memory,
            disk: self.disk,
            environment: self.environment,
            collect: self.collect,
            duration: self.duration,
            max_price: self.max_price,
        })
    }
}

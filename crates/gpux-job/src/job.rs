//! A job with every value typed, every default filled in and every reference between its keys checked.
//!
//! It is the renter's own: it holds paths of the renter's machine and the budget. Made by `JobFile::resolve`; the
//! daemon keeps it in its journal.

use crate::{
    collect::Collect,
    command::Command,
    gpu::GpuNeed,
    image::ImageSource,
    money::{Money, Price},
    names::{EnvName, JobName, Label},
    path::ContainerPath,
    placement::Placement,
    range::{PartRange, Run},
    verify::Verify,
};
use gpux_types::{Address, BasisPoints, JobId, Millis, PartIndex, Resources};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
};

/// What the renter wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// A name for people.
    pub name: JobName,
    /// What every container starts from.
    pub image: ImageSource,
    /// On how many nodes.
    pub nodes: NonZeroU32,
    /// What each node must give, at least.
    pub resources: Resources,
    /// What GPUs each node must give, at least. Journals of before there were any have none.
    #[serde(default)]
    pub gpu: Option<GpuNeed>,
    /// Where nodes shall be, and what they must be able to do.
    #[serde(default)]
    pub placement: Placement,
    /// Variables of every container, beside those of GPUX.
    pub environment: BTreeMap<EnvName, String>,
    /// Files that every container can read.
    pub inputs: Vec<Input>,
    /// Values that the app reads.
    pub params: BTreeMap<Label, String>,
    /// What the nodes do. Journals of before there were tasks have `array` in this place, and are read.
    #[serde(flatten)]
    pub work: Work,
    /// What a node runs: once for each part.
    pub run: Command,
    /// What the renter's machine runs over everything collected.
    pub then: Option<Command>,
    /// What the renter's machine runs before any money moves.
    pub preflight: Option<Command>,
    /// When a part is tried again.
    pub retry: Retry,
    /// What it may cost.
    pub budget: Budget,
    /// Who published the app.
    pub builder: Option<Builder>,
    /// Where results go; none leaves it to the caller.
    pub output: Option<PathBuf>,
}

/// A file or folder of the renter that containers can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name, for `--input NAME=PATH`.
    pub name: Label,
    /// Where the renter has it.
    pub path: PathBuf,
    /// Where containers see it.
    pub to: ContainerPath,
}

/// What the nodes of a job do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// One command, once on each node; more than one node is a gang.
    Task(Task),
    /// Many parts over the nodes.
    Array(Array),
}

/// One command on each node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which files come back.
    pub collect: Option<Collect>,
}

/// The split of an `array` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// The param whose values the parts are.
    pub over: Label,
    /// What the parts go over.
    pub values: PartRange,
    /// How many consecutive values one part takes at most.
    #[serde(default = "one")]
    pub chunk: NonZeroU32,
    /// Which files of a part come back.
    pub collect: Option<Collect>,
    /// How much is done again to see whether nodes tell the truth.
    #[serde(default)]
    pub verify: Option<Verify>,
}

/// When a part, or a whole gang, is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// After what.
    pub on: BTreeSet<RetryOn>,
    /// How many times for one part, or for the gang; the first try not counted.
    pub max: u32,
}

/// Why a part ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// The node was lost or broke its word.
    ProviderFault,
    /// The command failed.
    Error,
}

/// What a job may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The most for one node and hour, the builder's share included.
    pub max_price: Option<Price>,
    /// The most for the whole job, top-ups included.
    pub max_total: Option<Money>,
    /// How long each lease may last.
    pub max_duration: Millis,
    /// What happens when a deposit runs out while there is work. Journals of before there was a choice stop.
    #[serde(default)]
    pub at_zero: AtZero,
}

/// What happens when a deposit runs out while there is work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AtZero {
    /// The lease ends.
    #[default]
    Stop,
    /// It is topped up by itself before that, as long as `max_total` allows.
    TopUp,
}

/// Who published the app, and earns a share of what providers are paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// The address that is paid.
    pub address: Address,
    /// The share of the gross price.
    pub share: BasisPoints,
}

/// What one container of a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One piece of an `array`.
    Piece {
        /// Its position.
        index: PartIndex,
        /// Its values of the param that the array runs over, such as the numbers of frames: one, unless the array is chunked.
        values: Run,
    },
    /// One process of a `task`: its position is its rank.
    Rank(PartIndex),
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl Array {
    /// How many parts there are.
    #[must_use]
    pub fn part_count(&self) -> u32 {
        self.values.run_count(self.chunk)
    }

    /// At most how many parts are run once more on another of so many nodes, where none is found to lie.
    #[must_use]
    pub fn checks_at_most(&self, nodes: u32) -> u32 {
        let most = |verify: Verify| verify.sample.most_of(self.part_count(), nodes);
        self.verify.map_or(0, most)
    }

    /// The values of the part at that position.
    #[must_use]
    pub fn values_of(&self, part: PartIndex) -> Option<Run> {
        self.values.run(self.chunk, part.0)
    }
}

impl Work {
    pub(crate) const TASK_COLLECT: &str = "task.collect";
    pub(crate) const ARRAY_COLLECT: &str = "array.collect";

    /// The key of the file that says which files come back.
    pub(crate) const fn collect_key(&self) -> &'static str {
        match self {
            Self::Task(_) => Self::TASK_COLLECT,
            Self::Array(_) => Self::ARRAY_COLLECT,
        }
    }

    /// Which files come back.
    #[must_use]
    pub const fn collect(&self) -> Option<&Collect> {
        match self {
            Self::Task(task) => task.collect.as_ref(),
            Self::Array(array) => array.collect.as_ref(),
        }
    }
}

impl Job {
    /// Every part: of an array in the order in which the file names their values, of a task one for each node.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match &self.work {
            Work::Task(_) => (0..self.nodes.get()).map(|rank| Part::Rank(PartIndex(rank))).collect(),
            Work::Array(array) => {
                let indexed = (0..).map(PartIndex).zip(array.values.runs(array.chunk));
                indexed.map(|(index, values)| Part::Piece { index, values }).collect()
            }
        }
    }

    /// How many parts there are.
    #[must_use]
    pub fn part_count(&self) -> u32 {
        match &self.work {
            Work::Task(_) => self.nodes.get(),
            Work::Array(array) => array.part_count(),
        }
    }

    /// The part at that position.
    #[must_use]
    pub fn part(&self, index: PartIndex) -> Option<Part> {
        match &self.work {
            Work::Task(_) => (index.0 < self.nodes.get()).then_some(Part::Rank(index)),
            Work::Array(array) => {
                let values = array.values_of(index)?;
                Some(Part::Piece { index, values })
            }
        }
    }

    /// Whether the job is a gang: one whose ranks start together or not at all.
    #[must_use]
    pub const fn is_gang(&self) -> bool {
        matches!(self.work, Work::Task(_)) && self.nodes.get() > 1
    }

    /// The variables of every container of the job; `id` is known once the job is accepted. Those of one part come on
    /// top, see [`Part::environment`].
    #[must_use]
    pub fn environment(&self, id: Option<JobId>) -> BTreeMap<String, String> {
        let own = self
            .environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()));
        let params = self.params.iter().map(|(name, value)| (name.variable(), value.clone()));
        let id = id.map(|id| ("GPUX_JOB_ID".to_owned(), id.to_string()));
        let facts = [
            ("GPUX_JOB_NAME".to_owned(), self.name.to_string()),
            ("GPUX_NUM_NODES".to_owned(), self.nodes.to_string()),
            // No version rents GPUs yet; what asks for their number is told so rather than left to guess.
            ("GPUX_GPUS_PER_NODE".to_owned(), "0".to_owned()),
            ("GPUX_NUM_GPUS".to_owned(), "0".to_owned()),
        ];
        let count = match &self.work {
            Work::Task(_) => None,
            Work::Array(array) => Some(("GPUX_ARRAY_COUNT".to_owned(), array.part_count().to_string())),
        };
        own.chain(params).chain(facts).chain(count).chain(id).collect()
    }
}

impl Part {
    /// The variables of this part alone.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        match self {
            Self::Piece { index, values } => BTreeMap::from([
                ("GPUX_ARRAY_INDEX".to_owned(), index.to_string()),
                ("GPUX_ARRAY_VALUE".to_owned(), values.to_string()),
                ("GPUX_FRAME_START".to_owned(), values.first.to_string()),
                ("GPUX_FRAME_END".to_owned(), values.last.to_string()),
            ]),
            Self::Rank(rank) => BTreeMap::from([("GPUX_NODE_RANK".to_owned(), rank.to_string())]),
        }
    }
}

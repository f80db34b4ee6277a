//! A job with every value typed, every default filled in and every reference between its keys checked.
//!
//! It is the renter's own: it holds paths of the renter's machine and the budget. Made by `JobFile::resolve`; the
//! daemon keeps it in its journal.

use crate::{
    collect::Collect,
    command::Command,
    image::ImageSource,
    money::{Money, Price},
    names::{EnvName, JobName, Label},
    path::ContainerPath,
    range::PartRange,
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
    /// Variables of every container, beside those of GPUX.
    pub environment: BTreeMap<EnvName, String>,
    /// Files that every container can read.
    pub inputs: Vec<Input>,
    /// Values that the app reads.
    pub params: BTreeMap<Label, String>,
    /// How the work splits.
    pub array: Array,
    /// What a node runs for each part.
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

/// The split of an `array` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// The param whose values the parts are.
    pub over: Label,
    /// One part for each.
    pub values: PartRange,
    /// Which files of a part come back.
    pub collect: Option<Collect>,
}

/// When a part is given to a node again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// After what.
    pub on: BTreeSet<RetryOn>,
    /// How many times for one part, the first try not counted.
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
}

/// Who published the app, and earns a share of what providers are paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// The address that is paid.
    pub address: Address,
    /// The share of the gross price.
    pub share: BasisPoints,
}

/// One piece of an `array` job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Its position.
    pub index: PartIndex,
    /// Its value of the param that the array runs over, such as a frame's number.
    pub value: u32,
}

impl Job {
    /// Every part, in the order in which the file names their values.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let indexed = (0..).zip(self.array.values.values());
        indexed
            .map(|(index, value)| Part {
                index: PartIndex(index),
                value,
            })
            .collect()
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
            ("GPUX_ARRAY_COUNT".to_owned(), self.array.values.count().to_string()),
        ];
        own.chain(params).chain(facts).chain(id).collect()
    }
}

impl Part {
    /// The variables of this part alone.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let index = ("GPUX_ARRAY_INDEX".to_owned(), self.index.to_string());
        let value = ("GPUX_ARRAY_VALUE".to_owned(), self.value.to_string());
        BTreeMap::from([index, value])
    }
}

//! The job file as a person wrote it: YAML 1.2, version 1, strict.
//!
//! Invariant: reading never panics and is bounded in size, depth and count, whatever the text; every value keeps its
//! spelling until its own parser reads it.

use crate::{
    builder::BuilderFile,
    collect::Collect,
    command::CommandText,
    compose,
    error::{ELSEWHERE, JobFileError, JobFileProblem},
    gpu::GpuText,
    image::ImageSource,
    job::{AtZero, RetryOn},
    money::{Money, Price},
    names::{EnvName, JobName, Label},
    param::{ParamFile, respell},
    path::ContainerPath,
    placement::{NetworkFile, PlacementFile},
    text::{Text, cut, given},
    verify::Verify,
};
use gpux_types::{ByteSize, Cpu, Millis};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Options, Spanned};
use std::{collections::BTreeMap, str::FromStr};

/// The longest job file. A caller that reads a file reads at most one byte more.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// The version of the format that this crate reads.
const VERSION: &str = "1";
/// Kinds of job that the format will have; this version knows the first two.
const KINDS: [&str; 5] = ["array", "task", "service", "stream", "dev"];

/// A job file that reads well. What it means is decided by `resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "GPUX job file",
    description = "What a renter wants done, version 1. job-file.md describes it.",
    transform = sections_by_kind
)]
pub struct JobFile {
    /// The version of the format: 1.
    #[schemars(schema_with = "version_schema")]
    pub(crate) gpux: Text<Version>,
    /// What sort of job this is: `task`, one command on some nodes, or `array`, many parts over some nodes.
    #[schemars(schema_with = "kind_schema")]
    pub(crate) kind: Text<Kind>,
    /// The job's name.
    pub(crate) name: JobName,
    /// What every container starts from.
    pub(crate) image: Text<ImageSource>,
    /// On how many nodes; 1 when not given.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "u32", range(min = 1, max = 1000))]
    pub(crate) nodes: Option<Spanned<u32>>,
    /// What each node must give, at least.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ResourcesFile")]
    pub(crate) resources: Option<Spanned<ResourcesFile>>,
    /// How the nodes are connected.
    #[serde(default)]
    pub(crate) network: NetworkFile,
    /// Which nodes will do.
    #[serde(default)]
    pub(crate) placement: PlacementFile,
    /// Variables of every container.
    #[serde(default)]
    #[schemars(schema_with = "environment_schema")]
    pub(crate) environment: BTreeMap<EnvName, Spanned<Text<String>>>,
    /// Files and folders of the renter that containers can read, by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<Label, InputFile>")]
    pub(crate) inputs: BTreeMap<Label, Spanned<InputFile>>,
    /// Values that the app reads, by name: a default, or a table. NAME reaches containers as GPUX_PARAM_NAME.
    #[serde(default)]
    #[schemars(with = "BTreeMap<Label, ParamFile>")]
    pub(crate) params: BTreeMap<Label, Spanned<ParamFile>>,
    /// How the work of an array splits into parts.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ArrayFile")]
    pub(crate) array: Option<Spanned<ArrayFile>>,
    /// What comes back of a task.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "TaskFile")]
    pub(crate) task: Option<Spanned<TaskFile>>,
    /// What a node runs: once, or once for each part of an array.
    #[schemars(with = "CommandText")]
    pub(crate) run: Spanned<CommandText>,
    /// What the renter's machine runs when everything is done: sees /collected, writes to /out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "CommandText")]
    pub(crate) then: Option<Spanned<CommandText>>,
    /// What the renter's machine runs before any money moves; a failure stops the job.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "CommandText")]
    pub(crate) preflight: Option<Spanned<CommandText>>,
    /// When a part, or a whole task, is tried again.
    #[serde(default)]
    pub(crate) retry: RetryFile,
    /// What the job may cost.
    #[serde(default)]
    pub(crate) budget: BudgetFile,
    /// Who published the app, and earns a share.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "BuilderFile")]
    pub(crate) builder: Option<BuilderFile>,
    /// Where results go, relative to this file; otherwise the command decides.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) output: Option<Text<String>>,
}

/// What each node must give, at least.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Resources")]
pub(crate) struct ResourcesFile {
    /// Cores, such as 2 or 0.5; 1 when not given.
    pub(crate) cpu: Text<Cpu>,
    /// Main memory; 1GiB when not given.
    pub(crate) memory: Text<ByteSize>,
    /// Disk for what containers write, the image not counted; 1GiB when not given.
    pub(crate) disk: Text<ByteSize>,
    /// GPUs, such as H100:8 or 24GB..; none when not given.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "GpuText")]
    pub(crate) gpu: Option<GpuText>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Input")]
pub(crate) struct InputFile {
    /// Where the renter has it, relative to this file. `--input NAME=PATH` takes another.
    #[schemars(with = "String")]
    pub(crate) path: Text<String>,
    /// Where containers see it, read only.
    pub(crate) to: ContainerPath,
}

/// The split.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Array")]
pub(crate) struct ArrayFile {
    /// The param whose values the parts are; each part gets its value as GPUX_ARRAY_VALUE.
    #[schemars(with = "Label")]
    pub(crate) over: Spanned<Label>,
    /// How many consecutive values one part takes at most, from GPUX_FRAME_START to GPUX_FRAME_END; 1 when not given.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) chunk: Option<Spanned<u32>>,
    /// Files that come back as soon as they are written.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Collect")]
    pub(crate) collect: Option<Spanned<Collect>>,
    /// Whether some results are done again on another node, to compare them; none when not given.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Verify")]
    pub(crate) verify: Option<Spanned<Verify>>,
}

/// What comes back of a task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Task")]
pub(crate) struct TaskFile {
    /// Files that come back once the command has ended well; those of rank N as rank-N/NAME where there is more than one node.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Collect")]
    pub(crate) collect: Option<Spanned<Collect>>,
}

/// When a part, or a whole task, is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retry")]
pub(crate) struct RetryFile {
    /// After what; provider-fault when not given.
    pub(crate) on: Vec<RetryOn>,
    /// How many times; 3 when not given.
    #[schemars(with = "u32")]
    pub(crate) max: Spanned<u32>,
}

/// What the job may cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Budget")]
pub(crate) struct BudgetFile {
    /// The most for one node and hour.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Price")]
    pub(crate) max_price: Option<Price>,
    /// The most for the whole job, top-ups included.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Money")]
    pub(crate) max_total: Option<Money>,
    /// How long each lease may last, such as 30m or 2h.
    #[serde(deserialize_with = "given")]
    #[schemars(schema_with = "duration_schema")]
    pub(crate) max_duration: Option<Spanned<Text<Millis>>>,
    /// What happens when a deposit runs out while there is work: stop, or top-up within max_total; stop when not given.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "AtZero")]
    pub(crate) at_zero: Option<Spanned<AtZero>>,
}

impl Default for ResourcesFile {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            cpu: Text(Cpu::cores(1)),
            memory: Text(ByteSize(GIB)),
            disk: Text(ByteSize(GIB)),
            gpu: None,
        }
    }
}

impl Default for RetryFile {
    fn default() -> Self {
        use serde_saphyr::Location;
        let max = Spanned::new(3, Location::UNKNOWN, Location::UNKNOWN);
        Self {
            on: vec![RetryOn::ProviderFault],
            max,
        }
    }
}

/// The version, once it is the one that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version;

/// The kind, once it is one that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Task,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("version {0:?} of the job file is not supported: write gpux: {VERSION}")]
    Version(String),
    #[error("kind {0} is not supported by this version: there are array and task")]
    LaterKind(&'static str),
    #[error("unknown kind {0:?}: there are array and task")]
    UnknownKind(String),
}

impl FromStr for Version {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == VERSION {
            Ok(Self)
        } else {
            Err(HeadError::Version(cut(text)))
        }
    }
}

impl FromStr for Kind {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match KINDS.into_iter().find(|kind| *kind == text) {
            Some("array") => Ok(Self::Array),
            Some("task") => Ok(Self::Task),
            Some(later) => Err(HeadError::LaterKind(later)),
            None => Err(HeadError::UnknownKind(cut(text))),
        }
    }
}

/// The keys that decide how all others are read.
#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is the check")]
struct Head {
    gpux: Text<Version>,
    kind: Text<Kind>,
}

impl JobFile {
    /// Reads a job file, or a Compose file with one service.
    ///
    /// # Errors
    /// The first thing found wrong, with its line and column.
    pub fn parse(text: &str) -> Result<Self, JobFileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_FILE_BYTES {
            let problem = JobFileProblem::TooLarge {
                got: text.len(),
                limit: MAX_FILE_BYTES,
            };
            return Err(JobFileError::nowhere(problem));
        }
        let mut file = if compose::is_compose(text)? {
            compose::parse(text)?
        } else {
            Self::parse_own(text)?
        };
        for param in file.params.values_mut() {
            respell(param, text);
        }
        Ok(file)
    }

    fn parse_own(text: &str) -> Result<Self, JobFileError> {
        let wrong = |error| JobFileError::from_yaml(&error, ELSEWHERE);
        // A file of another version or kind is told so, before its keys are called unknown.
        let head: Result<Head, _> = serde_saphyr::from_str_with_options(text, options());
        head.map_err(wrong)?;
        serde_saphyr::from_str_with_options(text, options()).map_err(wrong)
    }
}

impl FromStr for JobFile {
    type Err = JobFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// YAML 1.2 without what a job file has no use for, and limits far above what any job needs.
pub(crate) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 16,
            flow_nesting_limit: 16,
            max_documents: 1,
            max_events: 20_000,
            max_nodes: 10_000,
            max_total_scalar_bytes: MAX_FILE_BYTES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        emit_comments: false,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        with_snippet: false,
    }
}

fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": 1 })
}

fn kind_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["task", "array"] })
}

/// Which section belongs to which kind, as `resolve` has it.
fn sections_by_kind(schema: &mut Schema) {
    let kind = |kind: &str| serde_json::json!({ "properties": { "kind": { "const": kind } } });
    schema.insert(
        "allOf".to_owned(),
        serde_json::json!([
            { "if": kind("array"), "then": { "required": ["array"], "properties": { "task": false } } },
            { "if": kind("task"), "then": { "properties": { "array": false } } },
        ]),
    );
}

fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["30m", "2h"] })
}

fn environment_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^(?!GPUX_)[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": { "type": ["string", "number", "boolean"] }
    })
}

//! What is wrong with a job file: where, what, and what was probably meant.

use crate::{
    bounds::ParamBoundError, collect::Collect, limits::LimitError, names::Label, param::ParamValueError,
    range::ParseRangeError,
};
use gpux_types::Millis;
use serde_saphyr::Location;
use std::fmt;

/// A place in the file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A file that is no job file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFileError {
    /// Where, as far as it is known.
    pub place: Option<Place>,
    /// What.
    pub problem: JobFileProblem,
}

/// What is wrong with the text of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobFileProblem {
    /// Longer than any job needs.
    #[error("the file has {got} bytes, over the limit of {limit}")]
    TooLarge {
        /// Its length.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// Deeper, or with more values, than any job needs.
    #[error("the file goes over a limit: {0}")]
    TooComplex(String),
    /// Not YAML, or YAML that a job file does not use.
    #[error("{0}")]
    Syntax(String),
    /// A key that does not exist here.
    #[error("unknown key {key:?}{advice}")]
    UnknownKey {
        /// The key.
        key: String,
        /// What was probably meant, or what there is.
        advice: Advice,
    },
    /// A word that does not exist here.
    #[error("unknown value {word:?}{advice}")]
    UnknownWord {
        /// The word.
        word: String,
        /// What was probably meant, or what there is.
        advice: Advice,
    },
    /// A key that must be there.
    #[error("the key {0} is missing")]
    MissingKey(&'static str),
    /// The same key twice.
    #[error("the key {0:?} comes twice")]
    RepeatedKey(String),
    /// A list where a text must be, or the like.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What there is.
        found: String,
        /// What must be.
        expected: String,
    },
    /// A value that its own parser refused.
    #[error("{0}")]
    Value(String),
}

/// What to write instead of an unknown key or word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// One known word is close.
    DidYouMean(String),
    /// The key is another tool's, or a later version's.
    Instead(&'static str),
    /// Everything that is known here.
    Known(Vec<String>),
}

/// Keys that people know from elsewhere, or that a later version will have, and what to do now.
pub(crate) const ELSEWHERE: &[(&str, &str)] = &[
    ("args", "write the whole command as run"),
    ("checkpoint", "this version does not have checkpoints"),
    ("command", "write the command as run"),
    ("cpus", "write cpu"),
    ("entrypoint", "write the whole command as run"),
    ("env", "write environment"),
    ("env_file", "write the variables under environment"),
    ("envs", "write environment"),
    ("file_mounts", "write inputs"),
    ("gpu", "write resources: { gpu: 24GB.. }"),
    ("gpus", "write resources: { gpu: 24GB.. }"),
    ("mem", "write memory"),
    ("location", "write placement: { region: … }"),
    ("num_nodes", "write nodes"),
    ("place", "write placement"),
    ("ports", "this version has no open ports"),
    ("ram", "write memory"),
    ("region", "write placement: { region: … }"),
    ("replicas", "write nodes"),
    ("secrets", "this version has no secrets"),
    ("setup", "put it into the image, or at the start of run"),
    ("storage", "write disk"),
    ("tee", "this version has no enclaves"),
    ("topology", "write network: { topology: same-site }"),
    ("timeout", "write budget: { max_duration: 2h }"),
    ("type", "write kind"),
    (
        "volumes",
        "write inputs for files that go in, and task: { collect: … } or array: { collect: … } for files that come back",
    ),
    ("working_dir", "change the directory in run"),
];

impl Advice {
    /// About a key that is not known here, as far as `elsewhere` says what to write in its place.
    pub(crate) fn for_key<'a>(
        key: &str,
        elsewhere: &[(&str, &'static str)],
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let elsewhere = elsewhere.iter().find(|(name, _)| *name == key);
        elsewhere.map_or_else(|| Self::for_word(key, known), |(_, instead)| Self::Instead(instead))
    }

    pub(crate) fn for_word<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        let close = closest(word, known.clone());
        close.map_or_else(
            || Self::Known(known.map(str::to_owned).collect()),
            |name| Self::DidYouMean(name.to_owned()),
        )
    }
}

/// The known word that differs from `word` by at most a third of its letters.
fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes the product of both lengths; no known word is long.
    let word: String = word.chars().take(64).collect::<String>().to_lowercase();
    let distance = |name: &&str| strsim::damerau_levenshtein(&word, name);
    let near = known.min_by_key(distance)?;
    (distance(&near) * 3 <= word.chars().count().max(3)).then_some(near)
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DidYouMean(name) => write!(f, ", did you mean {name:?}?"),
            Self::Instead(instead) => write!(f, ": {instead}"),
            Self::Known(known) if known.is_empty() => write!(f, ": there are none"),
            Self::Known(known) => write!(f, "; there are {}", known.join(", ")),
        }
    }
}

impl Place {
    pub(crate) fn of(location: Location) -> Option<Self> {
        let (line, column) = (location.line(), location.column());
        (line > 0).then_some(Self { line, column })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        placed(f, self.place, &self.problem)
    }
}

impl std::error::Error for JobFileError {}

fn placed(f: &mut fmt::Formatter<'_>, place: Option<Place>, problem: &dyn fmt::Display) -> fmt::Result {
    place.map_or(Ok(()), |place| write!(f, "{place}: "))?;
    problem.fmt(f)
}

impl JobFileError {
    pub(crate) const fn nowhere(problem: JobFileProblem) -> Self {
        Self { place: None, problem }
    }
}

/// A job file that reads well and makes no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// Where in the file, when it is the file's fault.
    pub place: Option<Place>,
    /// What.
    pub problem: ResolveProblem,
}

/// What keeps a well-formed file from being a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveProblem {
    /// `--input` names no input.
    #[error("--input {name}: the job has no such input{advice}")]
    UnknownInput {
        /// The name.
        name: Label,
        /// What was probably meant, or what there is.
        advice: Advice,
    },
    /// `--set` names no param.
    #[error("--set {name}: the job has no such param{advice}")]
    UnknownParam {
        /// The name.
        name: Label,
        /// What was probably meant, or what there is.
        advice: Advice,
    },
    /// `array.over` names no param.
    #[error("array.over: there is no param {name}{advice}")]
    UnknownOver {
        /// The name.
        name: Label,
        /// What was probably meant, or what there is.
        advice: Advice,
    },
    /// A param without a default that was not set.
    #[error("param {0} has no default: give it with --set {0}=…")]
    MissingParam(Label),
    /// A value that does not fit its param.
    #[error(transparent)]
    Param(#[from] ParamValueError),
    /// A value outside what its param takes, or bounds that nothing fits.
    #[error(transparent)]
    Bound(#[from] ParamBoundError),
    /// The values of the array's param are no range.
    #[error("param {name}: {source}")]
    Range {
        /// The param.
        name: Label,
        /// Why not.
        source: ParseRangeError,
    },
    /// Too many, too long or empty.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Two places in the container that cannot both be.
    #[error("{one} and {other} overlap in the container")]
    Overlap {
        /// One place.
        one: String,
        /// The other.
        other: String,
    },
    /// Files that no node hands back.
    #[error("{key}: {pattern} can match nothing: only files below /out come back, as with /out/*.png")]
    NothingCollected {
        /// Where it is written.
        key: &'static str,
        /// What is.
        pattern: Collect,
    },
    /// A key that the file's kind needs.
    #[error("the key {0} is missing")]
    MissingKey(&'static str),
    /// The section of another kind.
    #[error("the key {0} belongs to kind: {0}, and this is another")]
    OtherKind(&'static str),
    /// No node, or more than one job may have.
    #[error("nodes: {got} is outside 1 to {limit}")]
    Nodes {
        /// As written.
        got: u32,
        /// The most.
        limit: u32,
    },
    /// More features than an offer can name.
    #[error("placement.features: {got} features, over the limit of {limit}")]
    Features {
        /// How many are written.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// Fewer nodes than none, or more than all.
    #[error("placement.enough: {got} is outside 1 to the job's {most} nodes")]
    Enough {
        /// As written.
        got: u32,
        /// The job's nodes.
        most: u32,
    },
    /// The nodes of a task start together.
    #[error("placement.enough: a task needs all of its nodes; an array can do with fewer")]
    EnoughOfTask,
    /// A lease of nothing.
    #[error("resources: {0} is 0")]
    NoResource(&'static str),
    /// More tries than anybody would wait for.
    #[error("retry.max: {got} is over the limit of {limit}")]
    Retries {
        /// As written.
        got: u32,
        /// The most.
        limit: u32,
    },
    /// Nothing bounds how long a lease may last.
    #[error("budget.max_duration is missing: how long may each lease last, such as 2h")]
    NoDuration,
    /// Money that is added by itself needs an end.
    #[error("budget.at_zero: top-up adds what budget.max_total leaves, and that is missing")]
    NoLimit,
    /// Results are compared by what comes back of them.
    #[error("array.verify: nothing comes back that could be compared; write array.collect too")]
    NothingToVerify,
    /// A node does not check itself.
    #[error(
        "array.verify: another node does again what one did, so at least 2 nodes are needed, and 3 to tell which is right"
    )]
    NobodyToVerify,
    /// A part of nothing.
    #[error("array.chunk: 0 values are no part; write at least 1")]
    EmptyChunk,
    /// A duration that no lease can have.
    #[error("budget.max_duration: {got} is outside {min} to {max}")]
    Duration {
        /// As written.
        got: Millis,
        /// The least.
        min: Millis,
        /// The most.
        max: Millis,
    },
    /// A path that the daemon's interfaces cannot carry.
    #[error("the path {0:?} is not UTF-8")]
    NotUtf8(String),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        placed(f, self.place, &self.problem)
    }
}

impl std::error::Error for ResolveError {}

impl ResolveError {
    pub(crate) fn at(location: Location, problem: impl Into<ResolveProblem>) -> Self {
        Self {
            place: Place::of(location),
            problem: problem.into(),
        }
    }

    pub(crate) fn nowhere(problem: impl Into<ResolveProblem>) -> Self {
        Self {
            place: None,
            problem: problem.into(),
        }
    }
}

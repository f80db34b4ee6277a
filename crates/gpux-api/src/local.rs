//! What commands print that need no daemon: checks of job files, files that were written, and which daemon is meant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `gpux validate` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationView {
    /// `gpux.validation/v1`.
    #[schemars(extend("const" = "gpux.validation/v1"))]
    pub schema: String,
    /// The file, as it was typed.
    pub file: String,
    /// Whether it makes a job.
    pub valid: bool,
    /// The job's name.
    pub name: Option<String>,
    /// Over how many nodes it runs.
    pub nodes: Option<u32>,
    /// How many parts it has.
    pub parts: Option<u32>,
    /// What it will do, in words.
    pub explanation: Option<String>,
    /// The first thing that is wrong.
    pub mistake: Option<MistakeView>,
}

impl ValidationView {
    /// Of a file that is wrong.
    #[must_use]
    pub fn wrong(file: String, mistake: MistakeView) -> Self {
        Self {
            schema: "gpux.validation/v1".to_owned(),
            file,
            valid: false,
            name: None,
            nodes: None,
            parts: None,
            explanation: None,
            mistake: Some(mistake),
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MistakeView {
    /// In which line, from 1; absent where no line is to blame.
    pub line: Option<u64>,
    /// In which column, in characters from 1.
    pub column: Option<u64>,
    /// What, and what was probably meant.
    pub message: String,
}

/// The files that a command wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilesView {
    /// `gpux.files/v1`.
    #[schemars(extend("const" = "gpux.files/v1"))]
    pub schema: String,
    /// Their paths.
    pub files: Vec<String>,
}

impl From<Vec<String>> for FilesView {
    fn from(files: Vec<String>) -> Self {
        Self {
            schema: "gpux.files/v1".to_owned(),
            files,
        }
    }
}

/// Daemons that commands can talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContextsView {
    /// `gpux.contexts/v1`.
    #[schemars(extend("const" = "gpux.contexts/v1"))]
    pub schema: String,
    /// The daemons.
    pub contexts: Vec<ContextView>,
}

impl From<Vec<ContextView>> for ContextsView {
    fn from(contexts: Vec<ContextView>) -> Self {
        Self {
            schema: "gpux.contexts/v1".to_owned(),
            contexts,
        }
    }
}

/// One daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContextView {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its folder.
    pub folder: String,
    /// Whether commands talk to it.
    pub current: bool,
    /// Whether it runs now.
    pub running: bool,
}

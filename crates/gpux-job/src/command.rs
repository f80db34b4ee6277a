//! Commands: a script for the image's shell, or the words of one program.

use crate::text::Text;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

/// What stands before a script: a failure anywhere in it, an unset variable or a broken pipe ends it.
const SHELL: [&str; 4] = ["bash", "-euo", "pipefail", "-c"];

/// A command that runs inside a container of the job's image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A script that the image's bash runs with `-euo pipefail`.
    Shell(String),
    /// A program and its arguments, run without a shell.
    Argv(Vec<String>),
    /// What the image says, with these arguments in the place of its own where there are any.
    Image(Vec<String>),
}

impl Command {
    /// The program and its arguments, in an image with that entrypoint; none for the image's own.
    #[must_use]
    pub fn argv(&self, entrypoint: &[String]) -> Vec<String> {
        match self {
            Self::Shell(script) => SHELL
                .iter()
                .copied()
                .chain([script.as_str()])
                .map(str::to_owned)
                .collect(),
            Self::Argv(words) => words.clone(),
            Self::Image(words) if words.is_empty() => Vec::new(),
            Self::Image(words) => entrypoint.iter().chain(words).cloned().collect(),
        }
    }

    /// Every text of the command, for checks.
    pub(crate) fn texts(&self) -> &[String] {
        match self {
            Self::Shell(script) => std::slice::from_ref(script),
            Self::Argv(words) | Self::Image(words) => words,
        }
    }
}

impl fmt::Display for Command {
    /// One line for people: the first line of a script, or the words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(script) => {
                let mut lines = script.lines().filter(|line| !line.trim().is_empty());
                f.write_str(lines.next().unwrap_or_default().trim())?;
                if lines.next().is_some() {
                    f.write_str(" …")
                } else {
                    Ok(())
                }
            }
            Self::Argv(words) => f.write_str(&words.join(" ")),
            Self::Image(words) if words.is_empty() => f.write_str("the image's own command"),
            Self::Image(words) => write!(f, "the image's entrypoint with {}", words.join(" ")),
        }
    }
}

/// A command as the file writes it: a text or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandText(pub(crate) Command);

impl<'de> Deserialize<'de> for CommandText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a script, or a list of a program and its arguments")
            }

            fn visit_str<E: de::Error>(self, script: &str) -> Result<Command, E> {
                Ok(Command::Shell(script.to_owned()))
            }

            /// `run: true` is a program, not a fact.
            fn visit_bool<E: de::Error>(self, word: bool) -> Result<Command, E> {
                Ok(Command::Shell(word.to_string()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut words: A) -> Result<Command, A::Error> {
                let mut argv = Vec::new();
                while let Some(Text(word)) = words.next_element()? {
                    argv.push(word);
                }
                Ok(Command::Argv(argv))
            }
        }

        deserializer.deserialize_any(Visitor).map(Self)
    }
}

impl schemars::JsonSchema for CommandText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a script that the image's bash runs with -euo pipefail, or a list of a program and its arguments",
            "oneOf": [
                { "type": ["string", "boolean"], "minLength": 1 },
                { "type": "array", "items": { "type": ["string", "number", "boolean"] }, "minItems": 1 }
            ],
            "examples": ["render --fast", ["render", "--fast"]]
        })
    }
}

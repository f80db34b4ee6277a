//! Names inside a job file: of the job, of inputs and params, of environment variables.

use crate::text::{cut, serde_as_text};
use std::{fmt, str::FromStr};

/// The longest name, in characters: a DNS label.
const MAX_LEN: usize = 63;

/// What every variable that GPUX sets begins with. A job sets none of these itself.
pub(crate) const RESERVED_PREFIX: &str = "GPUX_";

/// A text that is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// Not a job's name.
    #[error(
        "reading a job's name from {0:?}: expected at most 63 lower-case letters, digits and inner hyphens, such as shot-03"
    )]
    Job(String),
    /// Not the name of an input or a param.
    #[error(
        "reading a name from {0:?}: expected at most 63 lower-case letters, digits and underscores after a letter, such as max_size"
    )]
    Label(String),
    /// Not the name of a variable.
    #[error("reading a variable's name from {0:?}: expected letters, digits and underscores, such as LOG_LEVEL")]
    Variable(String),
    /// A variable of GPUX's own.
    #[error("reading a variable's name from {0:?}: names that begin with GPUX_ are set by GPUX")]
    Reserved(String),
}

/// A job's name: a DNS label, so that it can be part of a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(String);

/// The name of an input or a param.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// The name of an environment variable that is not one of GPUX's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvName(String);

impl FromStr for JobName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let hyphen_outside = text.starts_with('-') || text.ends_with('-');
        if text.is_empty() || text.len() > MAX_LEN || hyphen_outside || !text.chars().all(allowed) {
            return Err(ParseNameError::Job(cut(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Label {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || text.len() > MAX_LEN || !text.chars().all(allowed) {
            return Err(ParseNameError::Label(cut(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Label {
    /// The variable that carries the param of this name: `GPUX_PARAM_MAX_SIZE`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{RESERVED_PREFIX}PARAM_{}", self.0.to_ascii_uppercase())
    }
}

impl FromStr for EnvName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || text.len() > MAX_LEN || !text.chars().all(allowed) {
            return Err(ParseNameError::Variable(cut(text)));
        }
        if text.starts_with(RESERVED_PREFIX) {
            return Err(ParseNameError::Reserved(cut(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! as_str {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

as_str!(JobName, Label, EnvName);
serde_as_text!(JobName, "lower-case letters, digits and inner hyphens", "shot-03");
serde_as_text!(
    Label,
    "lower-case letters, digits and underscores after a letter",
    "frames"
);
serde_as_text!(EnvName, "a variable's name that does not begin with GPUX_", "LOG_LEVEL");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert!("shot-03".parse::<JobName>().is_ok());
        for wrong in ["", "-a", "a-", "A", "a_b", "a.b", "a\n", &"a".repeat(64)] {
            assert!(wrong.parse::<JobName>().is_err(), "{wrong}");
        }
        assert_eq!("max_size".parse::<Label>().unwrap().variable(), "GPUX_PARAM_MAX_SIZE");
        for wrong in ["", "1a", "_a", "a-b", "A"] {
            assert!(wrong.parse::<Label>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_job_cannot_set_a_variable_of_gpux() {
        assert!("LOG_LEVEL".parse::<EnvName>().is_ok());
        assert_eq!(
            "GPUX_JOB_ID".parse::<EnvName>(),
            Err(ParseNameError::Reserved("GPUX_JOB_ID".into()))
        );
        for wrong in ["", "A=B", "1A", "A B", "A\0"] {
            assert!(wrong.parse::<EnvName>().is_err(), "{wrong}");
        }
    }
}

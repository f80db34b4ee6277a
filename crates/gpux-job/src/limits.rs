//! How much a job may hold. One place for the renter's file and for what a peer sends.

use crate::{
    command::Command,
    names::{EnvName, Label},
};
use std::collections::BTreeMap;

/// The most nodes of one job.
pub(crate) const MAX_NODES: u32 = 1_000;
/// The most variables, params or inputs.
pub(crate) const MAX_ENTRIES: usize = gpux_types::MAX_INPUTS;
/// The longest value of a variable or param, in bytes.
pub(crate) const MAX_VALUE: usize = 4_096;
/// The longest command with all its arguments, in bytes: a quarter of what Linux takes of one argument.
pub(crate) const MAX_COMMAND: usize = 32_768;

/// A job that holds too much, or a text that no process can be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too many, or too long.
    #[error("{what}: {got} is over the limit of {limit}")]
    Over {
        /// Of what.
        what: String,
        /// How many or how long.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// Nothing where something must be.
    #[error("{0} is empty")]
    Empty(String),
    /// A byte that ends a text in every process's eyes.
    #[error("{0} holds a NUL character")]
    Nul(String),
}

/// Whether there are at most [`MAX_ENTRIES`] of `what`.
pub(crate) fn entries(what: &str, got: usize) -> Result<(), LimitError> {
    under(what, got, MAX_ENTRIES)
}

pub(crate) fn environment(variables: &BTreeMap<EnvName, String>) -> Result<(), LimitError> {
    entries("environment", variables.len())?;
    variables
        .iter()
        .try_for_each(|(name, text)| value(&format!("variable {name}"), text))
}

pub(crate) fn params(params: &BTreeMap<Label, String>) -> Result<(), LimitError> {
    entries("params", params.len())?;
    params
        .iter()
        .try_for_each(|(name, text)| value(&format!("param {name}"), text))
}

pub(crate) fn value(what: &str, text: &str) -> Result<(), LimitError> {
    under(what, text.len(), MAX_VALUE)?;
    no_nul(what, text)
}

/// A path of the renter's: a value that is not empty.
pub(crate) fn local_path(what: &str, text: &str) -> Result<(), LimitError> {
    if text.is_empty() {
        return Err(LimitError::Empty(what.to_owned()));
    }
    value(what, text)
}

pub(crate) fn command(what: &str, command: &Command) -> Result<(), LimitError> {
    let texts = command.texts();
    under(what, texts.len(), gpux_types::MAX_ARGUMENTS)?;
    under(what, texts.iter().map(String::len).sum(), MAX_COMMAND)?;
    texts.iter().try_for_each(|text| no_nul(what, text))?;
    if let Command::Image(_) = command {
        return Ok(());
    }
    // The program itself; further arguments may be empty.
    if texts.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(LimitError::Empty(what.to_owned()));
    }
    Ok(())
}

fn under(what: &str, got: usize, limit: usize) -> Result<(), LimitError> {
    if got <= limit {
        Ok(())
    } else {
        Err(LimitError::Over {
            what: what.to_owned(),
            got,
            limit,
        })
    }
}

fn no_nul(what: &str, text: &str) -> Result<(), LimitError> {
    if text.contains('\0') {
        Err(LimitError::Nul(what.to_owned()))
    } else {
        Ok(())
    }
}

//! What was typed beside the file: `--input scene=other.blend --set frames=1-24`.

use crate::{
    names::{Label, ParseNameError},
    text::cut,
};
use gpux_types::Millis;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Values that take the place of the file's. Paths are absolute: they are relative to where the person is, not to the
/// file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overrides {
    /// Inputs by name.
    pub inputs: BTreeMap<Label, PathBuf>,
    /// Params by name.
    pub params: BTreeMap<Label, String>,
    /// How many nodes.
    pub nodes: Option<u32>,
    /// How long each lease may last.
    pub max_duration: Option<Millis>,
    /// Where results go.
    pub output: Option<PathBuf>,
}

/// A text that does not set anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// Not `NAME=VALUE`.
    #[error("reading {0:?}: expected NAME=VALUE")]
    NotAnAssignment(String),
    /// Not the name of an input or a param.
    #[error("reading {text:?}")]
    Name {
        /// What was given.
        text: String,
        /// Why not.
        source: ParseNameError,
    },
    /// The same name twice.
    #[error("reading {text:?}: {name} is given twice")]
    Repeated {
        /// What was given.
        text: String,
        /// The name.
        name: Label,
    },
}

impl Overrides {
    /// Takes `NAME=PATH` of `--input`; a relative path is taken from `current_dir`.
    ///
    /// # Errors
    /// When the text is no assignment, or the name is given twice.
    pub fn set_input(&mut self, text: &str, current_dir: &Path) -> Result<(), OverrideError> {
        let (name, path) = assignment(text)?;
        set(&mut self.inputs, text, name, current_dir.join(path))
    }

    /// Takes `NAME=VALUE` of `--set`.
    ///
    /// # Errors
    /// When the text is no assignment, or the name is given twice.
    pub fn set_param(&mut self, text: &str) -> Result<(), OverrideError> {
        let (name, value) = assignment(text)?;
        set(&mut self.params, text, name, value.to_owned())
    }
}

fn assignment(text: &str) -> Result<(Label, &str), OverrideError> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| OverrideError::NotAnAssignment(cut(text)))?;
    let name = name.trim().parse().map_err(|source| OverrideError::Name {
        text: cut(text),
        source,
    })?;
    Ok((name, value))
}

fn set<V>(values: &mut BTreeMap<Label, V>, text: &str, name: Label, value: V) -> Result<(), OverrideError> {
    if values.insert(name.clone(), value).is_some() {
        return Err(OverrideError::Repeated { text: cut(text), name });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_person() {
        let mut overrides = Overrides::default();
        overrides
            .set_input("scene=other.blend", Path::new("/home/ada"))
            .unwrap();
        overrides.set_param("frames=1-24").unwrap();
        overrides.set_param("title=a=b").unwrap();
        let name = |text: &str| text.parse::<Label>().unwrap();
        assert_eq!(overrides.inputs[&name("scene")], Path::new("/home/ada/other.blend"));
        assert_eq!(overrides.params[&name("title")], "a=b");
    }

    #[test]
    fn wrong_assignments_are_refused() {
        let mut overrides = Overrides::default();
        assert!(matches!(
            overrides.set_param("frames"),
            Err(OverrideError::NotAnAssignment(_))
        ));
        assert!(matches!(
            overrides.set_param("Frames=1"),
            Err(OverrideError::Name { .. })
        ));
        overrides.set_param("frames=1").unwrap();
        assert!(matches!(
            overrides.set_param("frames=2"),
            Err(OverrideError::Repeated { .. })
        ));
    }
}

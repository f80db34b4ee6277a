//! Paths inside a container: absolute and already normal, so that comparing texts compares places.

use crate::text::{cut, serde_as_text};
use std::{fmt, str::FromStr};

/// The longest path, in bytes.
pub(crate) const MAX_PATH: usize = 512;
/// The longest name of one file or folder: what Linux file systems take.
const MAX_SEGMENT: usize = 255;
/// Folders that belong to the system inside every container.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A place inside a container, such as `/in/scene.blend`. Never the root itself, never below `/proc`, `/sys` or `/dev`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPath(String);

/// A text that is not a path inside a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePathError {
    /// Not absolute and normal.
    #[error(
        "reading a path inside the container from {0:?}: expected an absolute path without . or .., such as /in/scene.blend"
    )]
    NotNormal(String),
    /// In a folder of the system.
    #[error("reading a path inside the container from {0:?}: /proc, /sys and /dev belong to the system")]
    System(String),
}

impl ContainerPath {
    /// The path itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &str) -> bool {
        within(&self.0, other)
    }
}

/// Whether `path` is `folder` or lies below it.
pub(crate) fn within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The names of an absolute, normal path; `None` for any other text.
pub(crate) fn segments(path: &str) -> Option<Vec<&str>> {
    if path.len() > MAX_PATH || path.chars().any(gpux_types::is_obeyed) {
        return None;
    }
    let segments: Vec<_> = path.strip_prefix('/')?.split('/').collect();
    let normal = |name: &&str| !matches!(*name, "" | "." | "..") && name.len() <= MAX_SEGMENT;
    segments.iter().all(normal).then_some(segments)
}

impl FromStr for ContainerPath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if segments(text).is_none() {
            return Err(ParsePathError::NotNormal(cut(text)));
        }
        if SYSTEM.iter().any(|folder| within(text, folder)) {
            return Err(ParsePathError::System(cut(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(
    ContainerPath,
    "an absolute path inside the container",
    "/in/scene.blend"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_normal_paths_outside_the_system_are_places() {
        assert!("/in/scene.blend".parse::<ContainerPath>().is_ok());
        assert!("/device".parse::<ContainerPath>().is_ok(), "not below /dev");
        for wrong in [
            "",
            "/",
            "in",
            "/in/",
            "//in",
            "/in/../etc",
            "/./in",
            "/in\0",
            "/in\nx",
            "/dev",
            "/proc/self",
        ] {
            assert!(wrong.parse::<ContainerPath>().is_err(), "{wrong:?}");
        }
    }
}

//! Short labels that offers carry and jobs ask for: features and regions. Checked when read, so that none can fake a line on a screen.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A label such as `eu-nl` or `cap-docker`: lower-case letters, digits and inner hyphens, at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Tag(String);

/// A text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading a tag from {0:?}: expected at most 32 lower-case letters, digits and inner hyphens, such as eu-nl")]
pub struct ParseTagError(pub String);

impl Tag {
    /// The longest tag, in characters.
    pub const MAX_LEN: usize = 32;

    /// The label itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ParseTagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let hyphen_outside = text.starts_with('-') || text.ends_with('-');
        if text.is_empty() || text.len() > Self::MAX_LEN || hyphen_outside || !text.chars().all(allowed) {
            return Err(ParseTagError(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_plain_label() {
        for text in ["eu-nl", "a", "0", "cap-docker"] {
            assert_eq!(text.parse::<Tag>().unwrap().as_str(), text);
        }
        let long = "a".repeat(33);
        for wrong in ["", "-a", "a-", "EU", "a b", "a\u{1b}[0m", "é", long.as_str()] {
            assert!(wrong.parse::<Tag>().is_err(), "{wrong}");
        }
    }
}

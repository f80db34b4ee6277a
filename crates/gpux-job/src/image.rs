//! Where a job's image comes from. Nothing here opens it.

use crate::text::cut;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The longest reference or folder, in bytes.
const MAX_LEN: usize = 512;

/// An image in a folder or in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// A local OCI layout, as `skopeo` and `buildah` write it: `oci:DIR[:TAG]`.
    Layout {
        /// The layout's folder.
        dir: PathBuf,
        /// Which image of the layout; none when it holds one alone.
        tag: Option<String>,
    },
    /// An image in a registry: `ghcr.io/org/app:1.2` or `…@sha256:…`.
    Registry {
        /// The reference as it was written.
        reference: String,
    },
}

/// A text that does not name an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseImageError {
    /// Neither form.
    #[error(
        "reading an image from {0:?}: expected a folder such as oci:image:latest, or a registry's reference such as ghcr.io/org/app:1.2"
    )]
    NotAnImage(String),
    /// A scheme of another tool.
    #[error(
        "reading an image from {text:?}: {scheme} is not supported; write oci:DIR[:TAG] or a registry's reference without a scheme"
    )]
    Scheme {
        /// What was given.
        text: String,
        /// What stands before the image.
        scheme: String,
    },
}

impl ImageSource {
    /// The same image with a local folder taken relative to `base`.
    #[must_use]
    pub(crate) fn below(&self, base: &Path) -> Self {
        match self {
            Self::Layout { dir, tag } => Self::Layout {
                dir: base.join(dir),
                tag: tag.clone(),
            },
            Self::Registry { reference } => Self::Registry {
                reference: reference.clone(),
            },
        }
    }
}

fn is_tag(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 128 && text.chars().all(allowed)
}

impl FromStr for ImageSource {
    type Err = ParseImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseImageError::NotAnImage(cut(text));
        if text.len() > MAX_LEN || text.chars().any(gpux_types::is_obeyed) {
            return Err(error());
        }
        if let Some(layout) = text.strip_prefix("oci:") {
            let (dir, tag) = match layout.rsplit_once(':') {
                Some((dir, tag)) => (dir, Some(tag)),
                None => (layout, None),
            };
            if dir.is_empty() || dir.contains(':') || tag.is_some_and(|tag| !is_tag(tag)) {
                return Err(error());
            }
            return Ok(Self::Layout {
                dir: PathBuf::from(dir),
                tag: tag.map(str::to_owned),
            });
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ParseImageError::Scheme {
                text: cut(text),
                scheme: format!("{}://", cut(scheme)),
            });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let ends = text.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !starts || !ends || text.contains("//") || !text.chars().all(allowed) {
            return Err(error());
        }
        Ok(Self::Registry {
            reference: text.to_owned(),
        })
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { dir, tag: Some(tag) } => write!(f, "oci:{}:{tag}", dir.display()),
            Self::Layout { dir, tag: None } => write!(f, "oci:{}", dir.display()),
            Self::Registry { reference } => f.write_str(reference),
        }
    }
}

impl schemars::JsonSchema for ImageSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Image".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "oci:DIR[:TAG], a local OCI layout relative to this file, or a registry's reference",
            "examples": ["oci:build/image:render", "ghcr.io/org/app:1.2"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_read_and_print() {
        for text in [
            "oci:build/image:render",
            "oci:/abs/dir",
            "ghcr.io/org/app:1.2",
            "debian",
            "host:5000/a@sha256:00",
        ] {
            assert_eq!(text.parse::<ImageSource>().unwrap().to_string(), text);
        }
        for wrong in ["", "oci:", "oci:a:b:c", "oci:a:", "a b", "a//b", "-a", "a/", "é", "a\n"] {
            assert!(wrong.parse::<ImageSource>().is_err(), "{wrong:?}");
        }
        let error = "docker://debian".parse::<ImageSource>().unwrap_err();
        assert!(matches!(error, ParseImageError::Scheme { scheme, .. } if scheme == "docker://"));
    }

    #[test]
    fn a_layout_is_relative_to_the_job_file() {
        let image: ImageSource = "oci:image:v1".parse().unwrap();
        assert_eq!(image.below(Path::new("/jobs")).to_string(), "oci:/jobs/image:v1");
    }
}

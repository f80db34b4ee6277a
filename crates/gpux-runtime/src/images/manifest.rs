//! Indexes and manifests: which configuration and layers an image has, for which platform.
//!
//! All of it is a stranger's JSON: read within bounds, and only digests and sizes are taken from it.

use super::config::image_architecture;
use super::digest::Digest;
use super::layer::Compression;
use gpux_types::MAX_LAYERS;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most bytes of an index or a manifest; the registries' own limit.
pub(super) const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Most bytes of a layer's blob.
const MAX_LAYER_BYTES: u64 = 64 << 30;

/// Most images of an index.
const MAX_IMAGES: usize = 1_024;

const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// The annotation by which an OCI layout names its images.
const TAG: &str = "org.opencontainers.image.ref.name";

/// What a registry is asked for.
pub(super) const ACCEPTED_TYPES: [&str; 4] = [MANIFEST_TYPES[0], MANIFEST_TYPES[1], INDEX_TYPES[0], INDEX_TYPES[1]];

/// Why an index or a manifest was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON that the image specification describes.
    #[error("it is not the JSON of an image")]
    Json(#[from] serde_json::Error),
    /// Neither an index nor a manifest.
    #[error("its media type {media_type:?} is neither an image's index nor its manifest")]
    MediaType {
        /// What it says.
        media_type: String,
    },
    /// A layer of a kind that cannot be unpacked here.
    #[error("the media type {media_type:?} of a layer is not supported")]
    LayerType {
        /// What it says.
        media_type: String,
    },
    /// Too many layers, or none.
    #[error("it has {count} layers: 1 to {MAX_LAYERS} are supported")]
    LayerCount {
        /// How many.
        count: usize,
    },
    /// A layer too large.
    #[error("a layer has {size} bytes: the most is {MAX_LAYER_BYTES}")]
    LayerSize {
        /// Its size.
        size: u64,
    },
    /// Too many images in an index.
    #[error("it lists {count} images: the most is {MAX_IMAGES}")]
    ImageCount {
        /// How many.
        count: usize,
    },
}

/// A blob as a manifest or an index names it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

impl Descriptor {
    pub(super) fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(TAG).map(String::as_str)
    }

    /// The descriptor of a manifest that was read already.
    pub(super) fn of_manifest(digest: Digest, bytes: &[u8]) -> Self {
        Self {
            media_type: MANIFEST_TYPES[0].to_owned(),
            digest,
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            platform: None,
            annotations: None,
        }
    }

    /// Whether it may be for this machine: its platform fits, or it names none.
    pub(super) fn fits_here(&self) -> bool {
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == image_architecture();
        self.platform.as_ref().is_none_or(fits)
    }

    pub(super) fn platform(&self) -> String {
        let shown = |platform: &Platform| format!("{}/{}", platform.os, platform.architecture);
        let text = self.platform.as_ref().map_or_else(|| "unknown".to_owned(), shown);
        text.chars().take(60).collect()
    }
}

/// An index or a manifest.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// What an image consists of.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    /// From the lowest to the topmost.
    pub(super) layers: Vec<(Descriptor, Compression)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads `bytes`, which are not longer than [`MAX_MANIFEST_BYTES`].
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let raw: RawDocument = serde_json::from_slice(bytes)?;
        let media_type = raw.media_type.unwrap_or_default();
        let unknown = !media_type.is_empty()
            && !INDEX_TYPES.contains(&media_type.as_str())
            && !MANIFEST_TYPES.contains(&media_type.as_str());
        match (raw.manifests, raw.config, raw.layers) {
            (Some(images), None, None) if !unknown => {
                if images.len() > MAX_IMAGES {
                    return Err(ManifestError::ImageCount { count: images.len() });
                }
                Ok(Self::Index(images))
            }
            (None, Some(config), Some(layers)) if !unknown => Manifest::check(config, layers).map(Self::Manifest),
            _ => Err(ManifestError::MediaType {
                media_type: media_type.chars().take(100).collect(),
            }),
        }
    }
}

impl Manifest {
    fn check(config: Descriptor, layers: Vec<Descriptor>) -> Result<Self, ManifestError> {
        if layers.is_empty() || layers.len() > MAX_LAYERS {
            return Err(ManifestError::LayerCount { count: layers.len() });
        }
        let checked = layers.into_iter().map(|layer| {
            let compression =
                Compression::of_media_type(&layer.media_type).ok_or_else(|| ManifestError::LayerType {
                    media_type: layer.media_type.chars().take(100).collect(),
                })?;
            if layer.size > MAX_LAYER_BYTES {
                return Err(ManifestError::LayerSize { size: layer.size });
            }
            Ok((layer, compression))
        });
        Ok(Self {
            config,
            layers: checked.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":0}}"#)
    }

    #[test]
    fn a_manifest_with_a_foreign_layer_or_too_many_layers_is_refused() {
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        let manifest = |layers: &[String]| {
            let text = format!(
                r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
                layers.join(",")
            );
            Document::read(text.as_bytes())
        };
        let layer = descriptor(Compression::Gzip.media_type());
        assert!(matches!(
            manifest(std::slice::from_ref(&layer)),
            Ok(Document::Manifest(_))
        ));
        let foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert!(matches!(manifest(&[foreign]), Err(ManifestError::LayerType { .. })));
        assert!(matches!(manifest(&[]), Err(ManifestError::LayerCount { count: 0 })));
        assert!(matches!(
            manifest(&vec![layer; 128]),
            Err(ManifestError::LayerCount { count: 128 })
        ));
    }

    #[test]
    fn a_document_that_is_both_or_neither_is_refused() {
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        for text in [
            "{}".to_owned(),
            "[]".to_owned(),
            format!(r#"{{"manifests":[],"config":{config},"layers":[]}}"#),
            r#"{"mediaType":"application/json","manifests":[]}"#.to_owned(),
            format!(r#"{{"manifests":[{{"mediaType":"x","digest":"{DIGEST}","size":-1}}]}}"#),
            r#"{"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}"#.to_owned(),
        ] {
            assert!(Document::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}

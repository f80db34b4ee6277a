//! Reading an OCI layout: a folder with `index.json` and blobs by digest, as `skopeo` and `buildah` write it.
//!
//! The folder may be anybody's: every file is read within a bound and checked against the digest that named it. Nothing is written.

use super::config::{MAX_CONFIG_BYTES, ParsedConfig, ReadConfigError};
use super::digest::Digest;
use super::hashing::DigestCache;
use super::layer::LayerDescriptor;
use super::manifest::{Descriptor, Document, MAX_MANIFEST_BYTES, Manifest, ManifestError};
use super::resolved::ResolvedImage;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// How deep indexes may stand in each other: a layout's own, a list by platform, and one more.
const MAX_INDEX_DEPTH: usize = 3;

/// How many tags or platforms an error names.
const MAX_NAMED: usize = 12;

/// Why an image in a layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The folder is no layout.
    #[error(
        "{dir} is no OCI layout (no readable index.json); write one with `buildah push IMAGE oci:{dir}:TAG` or `skopeo copy`"
    )]
    NotALayout {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No image has the tag.
    #[error("{dir} has no image tagged {tag:?}; it has: {}", listed(found))]
    NoSuchTag {
        /// The folder.
        dir: PathBuf,
        /// What was asked for.
        tag: String,
        /// The tags that are there, at most twelve.
        found: Vec<String>,
    },
    /// No tag was given and the layout holds none or several images.
    #[error(
        "{dir} holds {count} images; write which: oci:{dir}:TAG with one of: {}",
        listed(found)
    )]
    WhichImage {
        /// The folder.
        dir: PathBuf,
        /// How many images it holds.
        count: usize,
        /// The tags that are there, at most twelve.
        found: Vec<String>,
    },
    /// The image is not made for this kind of machine.
    #[error("the image is for {}, not for linux/{here}", listed(found))]
    Platform {
        /// The platforms it is made for.
        found: Vec<String>,
        /// This machine's architecture.
        here: &'static str,
    },
    /// Indexes in indexes.
    #[error("indexes stand in each other more than {MAX_INDEX_DEPTH} deep")]
    TooDeep,
    /// A blob is missing or cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than such a file may be.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// A blob is not what its name says.
    #[error(
        "{path} is {got} with {got_size} bytes, not {expected} with {expected_size}: the image is damaged, copy it again"
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// What named it.
        expected: Digest,
        /// The size that was named.
        expected_size: u64,
        /// What it is.
        got: Digest,
        /// Its size.
        got_size: u64,
    },
    /// An index or manifest was not understood.
    #[error("reading {path}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// The configuration was not understood.
    #[error("reading {path}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadConfigError,
    },
    /// Manifest and configuration disagree.
    #[error("the manifest has {layers} layers, the configuration names {diff_ids}")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

/// An OCI layout's folder.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) dir: PathBuf,
}

impl Layout {
    pub(super) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.dir.join("blobs").join("sha256").join(digest.hex())
    }

    /// The image with the tag, or the only one.
    pub(super) fn resolve(&self, tag: Option<&str>, digests: &DigestCache) -> Result<ResolvedImage, LayoutError> {
        let path = self.dir.join("index.json");
        let bytes = match read_bounded(&path, MAX_MANIFEST_BYTES) {
            Err(LayoutError::Read { source, .. }) => {
                return Err(LayoutError::NotALayout {
                    dir: self.dir.clone(),
                    source,
                });
            }
            read => read?,
        };
        let document = Document::read(&bytes).map_err(|source| LayoutError::Manifest { path, source })?;
        let Document::Index(images) = document else {
            return Err(LayoutError::NotALayout {
                dir: self.dir.clone(),
                source: io::ErrorKind::InvalidData.into(),
            });
        };
        let image = self.choose(&images, tag)?;
        self.resolve_descriptor(&image, digests)
    }

    /// The image behind a descriptor of an index or a manifest.
    pub(super) fn resolve_descriptor(
        &self,
        descriptor: &Descriptor,
        digests: &DigestCache,
    ) -> Result<ResolvedImage, LayoutError> {
        let mut descriptor = descriptor.clone();
        for _ in 0..MAX_INDEX_DEPTH {
            let path = self.blob_path(descriptor.digest);
            let bytes = self.read_blob(&descriptor, MAX_MANIFEST_BYTES)?;
            match Document::read(&bytes).map_err(|source| LayoutError::Manifest { path, source })? {
                Document::Manifest(manifest) => return self.read_image(descriptor.digest, manifest, digests),
                Document::Index(images) => descriptor = choose_platform(&images)?,
            }
        }
        Err(LayoutError::TooDeep)
    }

    fn choose(&self, images: &[Descriptor], tag: Option<&str>) -> Result<Descriptor, LayoutError> {
        let found = || {
            images
                .iter()
                .filter_map(Descriptor::tag)
                .take(MAX_NAMED)
                .map(cut)
                .collect()
        };
        let fitting: Vec<&Descriptor> = images
            .iter()
            .filter(|image| tag.is_none_or(|tag| image.tag() == Some(tag)))
            .collect();
        match (fitting.as_slice(), tag) {
            ([image], _) => Ok((*image).clone()),
            ([], Some(tag)) => Err(LayoutError::NoSuchTag {
                dir: self.dir.clone(),
                tag: tag.to_owned(),
                found: found(),
            }),
            // One tag may stand for several platforms.
            (several, Some(_)) => choose_platform(several.iter().copied()),
            (several, None) => Err(LayoutError::WhichImage {
                dir: self.dir.clone(),
                count: several.len(),
                found: found(),
            }),
        }
    }

    fn read_image(
        &self,
        manifest_digest: Digest,
        manifest: Manifest,
        digests: &DigestCache,
    ) -> Result<ResolvedImage, LayoutError> {
        let config_bytes = self.read_blob(&manifest.config, MAX_CONFIG_BYTES)?;
        let config = ParsedConfig::read(&config_bytes).map_err(|source| LayoutError::Config {
            path: self.blob_path(manifest.config.digest),
            source,
        })?;
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(LayoutError::LayerCount {
                layers: manifest.layers.len(),
                diff_ids: config.diff_ids.len(),
            });
        }
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for ((descriptor, compression), diff_id) in manifest.layers.iter().zip(config.diff_ids) {
            let path = self.blob_path(descriptor.digest);
            let found = digests
                .digests(&path, descriptor.digest)
                .map_err(|source| LayoutError::Read { path, source })?;
            self.check(descriptor, found.sha256, found.size)?;
            layers.push(LayerDescriptor {
                digest: descriptor.digest,
                diff_id,
                compression: *compression,
                size: descriptor.size,
                blake3: found.blake3,
            });
        }
        Ok(ResolvedImage {
            manifest_digest,
            config_digest: manifest.config.digest,
            config: config.config,
            config_bytes,
            layers,
            layout: self.dir.clone(),
        })
    }

    fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let bytes = read_bounded(&self.blob_path(descriptor.digest), limit)?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.check(descriptor, Digest::of(&bytes), size)?;
        Ok(bytes)
    }

    fn check(&self, descriptor: &Descriptor, got: Digest, got_size: u64) -> Result<(), LayoutError> {
        if got == descriptor.digest && got_size == descriptor.size {
            return Ok(());
        }
        Err(LayoutError::Digest {
            path: self.blob_path(descriptor.digest),
            expected: descriptor.digest,
            expected_size: descriptor.size,
            got,
            got_size,
        })
    }
}

/// The first image of an index that fits this machine.
pub(super) fn choose_platform<'a>(
    images: impl IntoIterator<Item = &'a Descriptor> + Clone,
) -> Result<Descriptor, LayoutError> {
    let mut fitting = images.clone().into_iter().filter(|image| image.fits_here());
    fitting.next().cloned().ok_or_else(|| LayoutError::Platform {
        found: images.into_iter().take(MAX_NAMED).map(Descriptor::platform).collect(),
        here: super::config::image_architecture(),
    })
}

fn cut(tag: &str) -> String {
    tag.chars().take(100).collect()
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, LayoutError> {
    let failed = |source| LayoutError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(LayoutError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

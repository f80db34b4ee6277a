//! An image whose every blob is on this machine and was checked.

use super::config::ImageConfig;
use super::digest::Digest;
use super::layer::LayerDescriptor;
use std::path::PathBuf;

/// An image that is here: what to run, and the layers as blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The image's name for ever.
    pub manifest_digest: Digest,
    /// Of the configuration's bytes.
    pub config_digest: Digest,
    /// What to run.
    pub config: ImageConfig,
    /// The configuration as it is hashed.
    pub config_bytes: Vec<u8>,
    /// From the lowest to the topmost.
    pub layers: Vec<LayerDescriptor>,
    pub(super) layout: PathBuf,
}

impl ResolvedImage {
    /// Where the blob of one of [`Self::layers`] lies.
    #[must_use]
    pub fn layer_path(&self, layer: &LayerDescriptor) -> PathBuf {
        self.layout.join("blobs").join("sha256").join(layer.digest.hex())
    }

    /// Where the configuration lies.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.layout.join("blobs").join("sha256").join(self.config_digest.hex())
    }

    /// The bytes of all layers together, as they travel.
    #[must_use]
    pub fn compressed_size(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

//! What an image's manifest and configuration together say about one layer.

use super::digest::Digest;
use gpux_types::BlobHash;
use serde::{Deserialize, Serialize};

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain tar archive.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The media types of layers; the first of each compression is the one that is written.
const MEDIA_TYPES: [(&str, Compression); 6] = [
    ("application/vnd.oci.image.layer.v1.tar", Compression::None),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
    ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
];

impl Compression {
    /// The compression that a layer's media type names; `None` for a type that is no layer, or one that must not be redistributed.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        MEDIA_TYPES
            .iter()
            .find(|(name, _)| *name == media_type)
            .map(|(_, compression)| *compression)
    }

    /// The OCI media type of a layer that is compressed so.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// One layer: a blob and what it unpacks to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerDescriptor {
    /// Of the blob as it travels.
    pub digest: Digest,
    /// Of the uncompressed archive.
    pub diff_id: Digest,
    /// How the blob is compressed.
    pub compression: Compression,
    /// The blob's bytes.
    pub size: u64,
    /// The blob's BLAKE3 hash, by which peers ask for it.
    pub blake3: BlobHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compression_reads_its_own_media_type() {
        for (name, compression) in MEDIA_TYPES {
            assert_eq!(Compression::of_media_type(name), Some(compression));
            assert_eq!(Compression::of_media_type(compression.media_type()), Some(compression));
        }
        assert_eq!(
            Compression::of_media_type("application/vnd.oci.image.layer.nondistributable.v1.tar"),
            None
        );
    }
}

//! Images: names, manifests, configurations and layers as blobs.

mod config;
mod digest;

pub use config::{ImageConfig, MAX_CONFIG_BYTES, ParsedConfig, ReadConfigError, image_architecture};
pub use digest::{Digest, ParseDigestError};

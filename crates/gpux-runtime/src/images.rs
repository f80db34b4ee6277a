//! Images: from a name to a checked configuration and layers as blobs.
//!
//! The renter's daemon resolves an image before any money moves; the provider's daemon only reads a configuration that it was sent.
//! Everything here comes from strangers and is bounded. Nothing here unpacks or runs anything.

mod config;
mod digest;
mod hashing;
mod layer;
mod layout;
mod manifest;
mod registry;
mod resolved;
mod store;

pub use config::{ImageConfig, MAX_CONFIG_BYTES, ParsedConfig, ReadConfigError, image_architecture};
pub use digest::{Digest, ParseDigestError};
pub use layer::{Compression, LayerDescriptor};
pub use layout::LayoutError;
pub use manifest::ManifestError;
pub use registry::PullError;
pub use resolved::ResolvedImage;
pub use store::{ImageStore, ResolveError};

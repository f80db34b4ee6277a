//! Content-addressed blobs: a store on disk, transfers that resume and verify every chunk, and who may have what.

mod error;
mod fetch;
mod grants;
mod open;
mod serve;
mod store;

pub(crate) use grants::Grants;
pub(crate) use open::OpenStore;
pub(crate) use serve::BlobServer;
pub(crate) use store::Blobs;

pub use error::{FetchError, PeerFetchError, StoreError};
pub use store::{AddMode, BlobRef, ExportMode, Keeper};

//! Content-addressed blobs: a store on disk, transfers that resume and verify every chunk, and who may have what.

mod error;
mod fetch;
mod grants;
mod open;
mod pack;
mod pieces;
mod scan;
mod senders;
mod serve;
mod shelf;
mod store;
mod streams;
mod swarm;
mod take;
mod unpack;

pub(crate) use grants::Grants;
pub(crate) use open::OpenStore;
pub(crate) use serve::BlobServer;
pub(crate) use store::Blobs;

pub use error::{FetchError, PeerFetchError, StoreError};
pub use pack::{AddInputError, add_folder, add_steady_file};
pub use scan::{ScanError, ScannedFolder};
pub use store::{AddMode, BlobRef, ExportMode, Givers, Keeper};
pub use unpack::{WriteFolderError, write_folder};

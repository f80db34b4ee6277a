//! Image layers on disk: unpacked once, in a jail, into folders that overlays use as lowers.
//!
//! A layer is a tar archive from a stranger, so two programs share the work and neither trusts the other:
//!
//! ```text
//!   daemon (root)                          child `__unpack` (no rights outside its folder)
//!   reads the blob, hashes it  ── pipe ──▶ decompresses, hashes, checks, writes files
//!   marks opaque folders, syncs, ◀─ json ─ report, or what is wrong with the layer
//!   publishes by rename
//! ```
//!
//! Invariant: a folder under its final name is whole and was made from the bytes that its name is the digest of. The name is the
//! digest of the *compressed* blob, which the daemon itself checks: a child taken over by a crafted layer can spoil only the layer
//! that took it over, never one that another renter uses.
//!
//! Invariant: a layer that somebody uses is not removed (`hold.rs`, `removal.rs`).
//!
//! Invariant: files on disk belong to the store's own range of ids, so a set-user-id file of an image is never owned by the host's
//! root.

mod eviction;
mod feed;
mod hold;
mod jail;
mod limits;
mod partial;
mod removal;
mod report;
mod store;
mod tree;
mod unpack;

pub use feed::FeedError;
pub use hold::LayerHold;
pub use limits::UnpackLimits;
pub use report::LayerFault;
pub use store::{LayerStore, OpenStoreError, UnpackError};
pub(crate) use unpack::{UNPACK_VERB, unpack_in_jail};

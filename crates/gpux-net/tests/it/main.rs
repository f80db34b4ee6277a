//! Real endpoints on loopback, several in one process, honest and hostile.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod blobs;
mod calls;
mod folders;
mod offers;
mod senders;
mod small_disk;
mod support;
mod swarm;

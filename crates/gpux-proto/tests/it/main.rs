//! The wire as other implementations see it: every message, every limit, every signature.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod codec;
mod folders;
mod golden;
mod jobs;
mod offers;
mod quotes;
mod samples;

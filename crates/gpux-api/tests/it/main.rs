//! The documents of the local API as programs read them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contracts;
mod documents;
mod errors;
mod golden;
mod node;
mod schemas;
mod send;

//! The real binary as scripts see it: what is on which stream, and with which exit status it ends.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod answers;
mod anvil;
mod contexts;
mod contracts;
mod daemon;
mod documents;
mod draining;
mod exit_codes;
mod help;
mod home;
mod job_files;
mod last_words;
mod mistakes;
mod passwords;
mod progress;
mod run_events;
mod sending;
mod streams;
mod wallets;

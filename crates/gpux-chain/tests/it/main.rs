//! The chain adapter against a real anvil with the real contracts.

mod devnet;
mod reading;
mod sending;
mod watching;
mod world;

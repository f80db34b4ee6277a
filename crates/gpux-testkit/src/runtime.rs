//! Runtimes under test: the promises that every implementation keeps, the program they are tested with, and a double.
//!
//! A crate that implements [`gpux_runtime::Runtime`] writes a function that makes a [`Ground`] and calls
//! [`runtime_conformance!`](crate::runtime_conformance) with its name: every promise becomes a test of its own there.

pub mod conformance;
mod double;
mod ground;
mod process;

pub use double::RuntimeDouble;
pub use ground::{Ground, PROBE_SOURCE, build_probe, key, probe, state_of};

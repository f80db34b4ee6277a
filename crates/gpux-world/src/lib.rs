//! Many real daemons in one process, on a simulated clock, network, chain and runtime, by seed: the world that tries to rob
//! both sides.
//!
//! What is real: all of `gpux-node` but its local API, its SQLite files, the sender, the watcher and the confirmation rules of
//! `gpux-chain`, the escrow's committed bytecode on a real Ethereum machine, every signature, and the words on the wire. What is
//! simulated: time, what carries the words, the chain node and its blocks, and containers (the test double of `gpux-testkit`).
//!
//! ```text
//!  World ── every 2 s ──> SimChain (revm) <── SimNode (JSON-RPC, moods) <── gpux-chain ─┐
//!    │                    SimNetwork <───────── SimNet (PeerNet) <────────── gpux-node ─┤ one life of one daemon,
//!    │                    RuntimeDouble <────── SimRuntime <──────────────── gpux-node ─┤ ended by its Life at any write
//!    └── after each block ──> Judge reads containers, slots, balances, words, files     │
//!                         Store (SQLite in memory's file system) <───────── gpux-node ─┘
//! ```
//!
//! The same seed gives the same trace, and so the same hash. For tests alone: nothing here is part of a program that anybody
//! runs.
#![forbid(unsafe_code)]

mod adversary;
mod bug;
mod calls;
mod chain;
mod chance;
mod coverage;
mod demand;
mod evm;
mod ground;
mod host;
mod jobs;
mod judge;
mod life;
mod mallory;
mod manners;
mod net;
mod network;
mod plan;
mod rpc;
mod runtime;
mod steps;
mod trace;
mod trouble;
mod wild;
mod world;

pub use bug::Bug;
pub use coverage::{Coverage, Reached};
pub use demand::{Demanded, Demands, demand};
pub use judge::{Broken, Invariant};
pub use plan::{Event, Plan, Report, Troubles};
pub use world::run;

//! The whole system, as a person meets it: the real binary, real processes, real containers, a real chain.
//!
//! Each test starts a devnet of its own in a folder of its own. Nothing of GPUX is used here but the documents of its API:
//! what a test knows it was told by a command, by the chain, or by the kernel. Where a provider cheats it is a real one all the
//! same: `src/bin/cheat.rs` is the daemon with a runtime that lies to it, `src/bin/stranger.rs` a peer that keeps no rule. The
//! test of routers needs no market: `nat.rs` has nodes without a daemon in network namespaces. Needs root, anvil, Python, a static
//! busybox, `ip` and `iptables`.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod batched;
#[cfg(test)]
mod cancelled_part;
#[cfg(test)]
mod cheats;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod draws;
#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod firm_prices;
#[cfg(test)]
mod following;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod job;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod low_deposit;
#[cfg(test)]
mod market;
#[cfg(test)]
mod nat;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod process;
#[cfg(test)]
mod provider_failures;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod renter_failures;
#[cfg(test)]
mod rpc;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod verbs;
#[cfg(test)]
mod verifier;
#[cfg(test)]
mod wait;
#[cfg(test)]
mod watch_tower;
#[cfg(test)]
mod wishes;

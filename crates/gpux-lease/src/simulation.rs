//! A small world that joins a real [`ProviderLease`](crate::ProviderLease) and a real
//! [`RenterLease`](crate::RenterLease): an escrow with blocks and reorganisations, a shim with a meter and a dead-man
//! switch, a network that loses, repeats and delays, clocks that differ, daemons that crash between any two steps and
//! start again from their journals, and peers that cheat.
//!
//! Invariant: what is checked (`ledger.rs`) is measured from the world alone, from work that ran, signatures that
//! were given and money that moved, never from a machine's fields. A [`Scenario`] is the whole input, so a failing one
//! is replayed by its one line of JSON.

mod bug;
mod chain;
mod host;
mod ledger;
mod network;
mod shim;
mod tests;
mod world;

use crate::provider::ProviderEvent;
use crate::renter::RenterEvent;
use ledger::Violation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything that decides how a run goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// Of delays, losses and repetitions.
    seed: u64,
    /// Gross price per hour in smallest units.
    price: u64,
    builder_bps: u16,
    /// The deposit pays for this much work.
    deposit_secs: u64,
    /// The job wants this much work.
    job_secs: u64,
    expiry_secs: u64,
    /// How many blocks make a deposit assured.
    depth: u32,
    /// How much of an unassured deposit is worked off.
    exposure_secs: u64,
    /// By how many parts in a million each clock is fast.
    provider_ppm: i32,
    renter_ppm: i32,
    latency_ms: u64,
    loss_percent: u8,
    repeat_percent: u8,
    /// How long the renter may take to close with the signed amount; without it the provider settles at once.
    closing_wait_secs: Option<u64>,
    provider: ProviderKind,
    renter: RenterKind,
    faults: Vec<Fault>,
}

/// Whether the provider's words are its machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ProviderKind {
    Honest,
    /// Asks for this much more than it may, works, and claims all that was signed.
    AsksTooMuch {
        secs: u64,
    },
    /// Reports and asks for a meter that runs this much too fast, and claims all that was signed.
    InflatesMeter {
        percent: u64,
    },
    /// Asks before the deposit is there.
    AsksEarly,
}

/// Whether the renter's signatures are its machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RenterKind {
    Honest,
    /// Signs nothing from then on.
    StopsSigning {
        at_ms: u64,
    },
    /// Signs this much less than it should.
    SignsLess {
        secs: u64,
    },
    /// Does not send its deposit again when a reorganisation drops it.
    NeverResends,
}

/// Something that goes wrong, or is asked for, at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Fault {
    at_ms: u64,
    what: What,
}

impl Fault {
    /// When whoever it took away is back.
    fn over_at_ms(&self) -> u64 {
        let lasts = match self.what {
            What::ProviderCrashes { down_ms, .. } | What::RenterCrashes { down_ms, .. } => down_ms,
            What::NetworkParts { for_ms } | What::ProviderLosesChain { for_ms } => for_ms,
            What::ShimDies
            | What::ProviderDies
            | What::RenterDies
            | What::Reorganises { .. }
            | What::RenterTopsUp { .. }
            | What::RenterStops
            | What::ProviderStops
            | What::PreparationFails => 0,
        };
        self.at_ms + lasts
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    ProviderCrashes { down_ms: u64, point: CrashPoint },
    RenterCrashes { down_ms: u64, point: CrashPoint },
    ShimDies,
    ProviderDies,
    RenterDies,
    NetworkParts { for_ms: u64 },
    ProviderLosesChain { for_ms: u64 },
    Reorganises { blocks: u32, drops_open: bool },
    RenterTopsUp { secs: u64 },
    RenterStops,
    ProviderStops,
    PreparationFails,
}

/// Where in handling its next event a daemon crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum CrashPoint {
    /// Nothing of the event is kept.
    BeforeJournal,
    /// The event is journaled, no effect was performed.
    BeforeEffects,
    /// At once, between two events.
    Between,
}

/// One event that a machine took: the log of a run is replayable machine by machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    at_ms: u64,
    /// On the clock of the daemon that took it.
    now_ms: u64,
    event: Logged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Logged {
    Provider(ProviderEvent),
    Renter(RenterEvent),
    Happened(What),
}

/// A run that broke an invariant.
struct Failure {
    violation: Violation,
    scenario: Scenario,
    log: Vec<Entry>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.log {
            writeln!(f, "{}", serde_json::to_string(entry).map_err(|_| fmt::Error)?)?;
        }
        writeln!(f, "{}", self.violation)?;
        writeln!(f, "add this line to src/simulation/scenarios.jsonl to run it again:")?;
        writeln!(f, "{}", serde_json::to_string(&self.scenario).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

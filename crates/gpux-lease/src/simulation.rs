//! A simulated world around real [`ProviderLease`](crate::ProviderLease)s, [`RenterLease`](crate::RenterLease)s and
//! [`PartQueue`](crate::PartQueue)s: nodes with daemons that crash between any two steps and start again from their
//! journals, clocks that differ and step, a network that loses, repeats, delays and parts one way or both, an escrow
//! with blocks, fees and reorganisations behind endpoints that stall and lie, shims with meters and dead-man switches,
//! and peers that cheat.
//!
//! Two ways in: a [`Scenario`] is one lease between two nodes, small enough to be shrunk and kept as a line of JSON
//! (`tests.rs`); a seed makes a [`Plan`] of many nodes, jobs and troubles (`seeds.rs`). Both run in the same world.
//!
//! Invariant: what is checked (`ledger.rs`) is measured from the world alone, from work that ran, signatures that
//! were given and money that moved, never from a machine's fields. A plan is the whole input: the same one always
//! makes the same log.

mod bug;
mod chain;
mod host;
mod job;
mod ledger;
mod network;
mod pair;
mod seeds;
mod shim;
mod tests;
mod world;

use crate::parts::PartEvent;
use crate::provider::ProviderEvent;
use crate::renter::RenterEvent;
use host::Head;
use ledger::Violation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// No reorganisation of the world takes so many blocks back.
const CERTAIN_DEPTH: u32 = 4;

/// Everything that decides how a run of many nodes goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    /// Of delays, losses and repetitions.
    seed: u64,
    /// How many blocks make a deposit assured.
    depth: u32,
    /// How many blocks make an end certain: to be more than any reorganisation takes back.
    end_depth: u32,
    latency_ms: u64,
    loss_percent: u8,
    repeat_percent: u8,
    /// The longest that a call waits for a block that takes it.
    inclusion_ms: u64,
    /// The longest that image, inputs and shim take.
    preparation_ms: u64,
    /// The run is no shorter, even when all is over before.
    least_ms: u64,
    /// By how many parts in a million each node's clock is fast.
    clocks_ppm: Vec<i32>,
    jobs: Vec<JobPlan>,
    leases: Vec<LeasePlan>,
    troubles: Vec<Timed>,
}

/// One job: parts for all its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct JobPlan {
    renter: usize,
    parts: u32,
    part_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LeasePlan {
    job: usize,
    renter: usize,
    provider: usize,
    deal: Deal,
}

/// What a lease is about, and how each side keeps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Deal {
    /// Gross price per hour in smallest units.
    price: u64,
    builder_bps: u16,
    /// The deposit pays for this much work.
    deposit_secs: u64,
    expiry_secs: u64,
    /// How much of an unassured deposit is worked off.
    exposure_secs: u64,
    /// How long the renter may take to close with the signed amount; without it the provider settles at once.
    closing_wait_secs: Option<u64>,
    provider: ProviderKind,
    renter: RenterKind,
}

/// Something that goes wrong, or is asked for, at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Timed {
    at_ms: u64,
    trouble: Trouble,
}

/// Nodes and leases are named by their numbers in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Trouble {
    DaemonCrashes {
        node: usize,
        down_ms: u64,
        point: CrashPoint,
    },
    /// The whole machine, for ever.
    NodeDies {
        node: usize,
    },
    ShimDies {
        lease: usize,
    },
    /// Nothing travels this way; the other way is another trouble.
    LinkParts {
        from: usize,
        to: usize,
        for_ms: u64,
    },
    HeadLies {
        node: usize,
        head: Head,
        for_ms: u64,
    },
    /// What waits and what is sent meanwhile is not mined before.
    FeesRise {
        for_ms: u64,
    },
    Reorganises {
        blocks: u32,
        drops_open: bool,
    },
    ClockSteps {
        node: usize,
        by_ms: i64,
    },
    ToppedUp {
        lease: usize,
        secs: u64,
    },
    RenterStops {
        lease: usize,
    },
    /// The renter signs ahead by so much. Whether it then goes away is another trouble.
    RenterGoesAway {
        lease: usize,
        for_ms: u64,
    },
    ProviderStops {
        lease: usize,
    },
    PreparationFails {
        lease: usize,
    },
    /// The renter's chain node refuses the deposit that is on its way, and hands it on all the same.
    DepositIsRefused {
        lease: usize,
    },
    /// The parts that run are killed for what they used; the lease goes on.
    OutOfMemory {
        lease: usize,
    },
}

impl Timed {
    /// When whoever it took away is back, and every clock has caught up.
    fn over_at_ms(&self) -> u64 {
        let lasts = match self.trouble {
            Trouble::DaemonCrashes { down_ms, .. } => down_ms,
            Trouble::LinkParts { for_ms, .. }
            | Trouble::HeadLies { for_ms, .. }
            | Trouble::FeesRise { for_ms }
            | Trouble::RenterGoesAway { for_ms, .. } => for_ms,
            Trouble::ClockSteps { by_ms, .. } => by_ms.unsigned_abs(),
            Trouble::NodeDies { .. }
            | Trouble::ShimDies { .. }
            | Trouble::Reorganises { .. }
            | Trouble::ToppedUp { .. }
            | Trouble::RenterStops { .. }
            | Trouble::ProviderStops { .. }
            | Trouble::PreparationFails { .. }
            | Trouble::DepositIsRefused { .. }
            | Trouble::OutOfMemory { .. } => 0,
        };
        self.at_ms + lasts
    }
}

/// One lease between two nodes, and everything that decides how it goes.
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
    /// Lets its meter run and does nothing.
    FakesProgress,
    /// Settles in the middle of the work, for more than was signed and then for less.
    SettlesWildly,
}

impl ProviderKind {
    /// Whether its work is what its meter says, and kept within what is signed.
    const fn works_as_it_says(self) -> bool {
        matches!(self, Self::Honest | Self::AsksEarly)
    }

    /// What no clock of the renter's can show.
    const fn lies_about_work(self) -> bool {
        matches!(self, Self::InflatesMeter { .. } | Self::FakesProgress)
    }
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
    /// Answers each ask with its first receipt.
    SignsOld,
    /// Sends nothing at all from then on.
    GoesSilent {
        at_ms: u64,
    },
    /// With each block tries to open again, to reclaim, and to close without the provider's word.
    Grabs,
}

/// Something that goes wrong, or is asked for, at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Fault {
    at_ms: u64,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    ProviderCrashes {
        down_ms: u64,
        point: CrashPoint,
    },
    RenterCrashes {
        down_ms: u64,
        point: CrashPoint,
    },
    ShimDies,
    ProviderDies,
    RenterDies,
    NetworkParts {
        for_ms: u64,
    },
    ProviderLosesChain {
        for_ms: u64,
    },
    /// Its endpoint shows the chain as it was so many blocks ago.
    ProviderFallsBehind {
        blocks: u32,
        for_ms: u64,
    },
    Reorganises {
        blocks: u32,
        drops_open: bool,
    },
    RenterTopsUp {
        secs: u64,
    },
    RenterStops,
    RenterGoesAway {
        for_ms: u64,
    },
    ProviderStops,
    PreparationFails,
    DepositIsRefused,
    OutOfMemory,
}

/// Where in handling its next event a daemon crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum CrashPoint {
    /// Nothing of the event is kept.
    BeforeJournal,
    /// The event is journaled, no effect was performed.
    BeforeEffects,
    /// The event is journaled, and its first effect was performed.
    AmidEffects,
    /// At once, between two events.
    Between,
}

impl Scenario {
    /// The provider is node 0, the renter node 1; the job is one part.
    fn plan(&self) -> Plan {
        let deal = Deal {
            price: self.price,
            builder_bps: self.builder_bps,
            deposit_secs: self.deposit_secs,
            expiry_secs: self.expiry_secs,
            exposure_secs: self.exposure_secs,
            closing_wait_secs: self.closing_wait_secs,
            provider: self.provider,
            renter: self.renter,
        };
        let troubles = self.faults.iter().flat_map(Fault::troubles).collect();
        Plan {
            seed: self.seed,
            depth: self.depth,
            end_depth: CERTAIN_DEPTH,
            latency_ms: self.latency_ms,
            loss_percent: self.loss_percent,
            repeat_percent: self.repeat_percent,
            inclusion_ms: 0,
            preparation_ms: 2_500,
            least_ms: 0,
            clocks_ppm: vec![self.provider_ppm, self.renter_ppm],
            jobs: vec![JobPlan {
                renter: 1,
                parts: 1,
                part_ms: self.job_secs * 1_000,
            }],
            leases: vec![LeasePlan {
                job: 0,
                renter: 1,
                provider: 0,
                deal,
            }],
            troubles,
        }
    }
}

impl Fault {
    fn troubles(&self) -> Vec<Timed> {
        let (node, lease) = (0, 0);
        let troubles = match self.what {
            What::ProviderCrashes { down_ms, point } => vec![Trouble::DaemonCrashes { node, down_ms, point }],
            What::RenterCrashes { down_ms, point } => {
                let node = 1;
                vec![Trouble::DaemonCrashes { node, down_ms, point }]
            }
            What::ShimDies => vec![Trouble::ShimDies { lease }],
            What::ProviderDies => vec![Trouble::NodeDies { node }],
            What::RenterDies => vec![Trouble::NodeDies { node: 1 }],
            What::NetworkParts { for_ms } => [(0, 1), (1, 0)]
                .map(|(from, to)| Trouble::LinkParts { from, to, for_ms })
                .to_vec(),
            What::ProviderLosesChain { for_ms } => {
                let head = Head::Stalled;
                vec![Trouble::HeadLies { node, head, for_ms }]
            }
            What::ProviderFallsBehind { blocks, for_ms } => {
                let head = Head::Stale(blocks);
                vec![Trouble::HeadLies { node, head, for_ms }]
            }
            What::Reorganises { blocks, drops_open } => vec![Trouble::Reorganises { blocks, drops_open }],
            What::RenterTopsUp { secs } => vec![Trouble::ToppedUp { lease, secs }],
            What::RenterStops => vec![Trouble::RenterStops { lease }],
            What::RenterGoesAway { for_ms } => vec![Trouble::RenterGoesAway { lease, for_ms }],
            What::ProviderStops => vec![Trouble::ProviderStops { lease }],
            What::PreparationFails => vec![Trouble::PreparationFails { lease }],
            What::DepositIsRefused => vec![Trouble::DepositIsRefused { lease }],
            What::OutOfMemory => vec![Trouble::OutOfMemory { lease }],
        };
        let at_ms = self.at_ms;
        troubles.into_iter().map(|trouble| Timed { at_ms, trouble }).collect()
    }
}

/// One event that a machine took, of which lease or job: the log of a run is replayable machine by machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    at_ms: u64,
    /// On the clock of the daemon that took it.
    now_ms: u64,
    of: usize,
    event: Logged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Logged {
    Provider(ProviderEvent),
    Renter(RenterEvent),
    Part(PartEvent),
    Happened(Trouble),
}

/// A run that broke an invariant.
struct Failure {
    violation: Violation,
    plan: Plan,
    log: Vec<Entry>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.log {
            writeln!(f, "{}", serde_json::to_string(entry).map_err(|_| fmt::Error)?)?;
        }
        writeln!(f, "{}", self.violation)?;
        writeln!(f, "the plan of this run, which always makes this log:")?;
        writeln!(f, "{}", serde_json::to_string(&self.plan).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

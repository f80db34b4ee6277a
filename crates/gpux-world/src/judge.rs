//! The judge: counts work where it runs and money where it lies, and compares them with what always holds.
//!
//! It reads the containers' double, the chain, the words on the network and the files on disk; never a field of a daemon.
//! Names and words are those of `docs/spec/invariants.md`.

use crate::{
    chain::SimChain,
    host::SimHost,
    network::{Agreed, SimNetwork},
};
use alloy::primitives::{B256, U256};
use gpux_lease::INTERVAL;
use gpux_runtime::{Runtime as _, Work};
use gpux_types::{Address, Amount, LeaseId, Millis, NodeId, Resources};
use std::{collections::BTreeMap, fmt};

/// What always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// What everybody owns together never changes; the escrow holds what its open leases say.
    MoneyIsConserved,
    /// No claim is above the deposit.
    ClaimWithinDeposit,
    /// No claim is above the newest receipt.
    ClaimWithinReceipt,
    /// An honest provider claims no more than was metered.
    ClaimWithinMeter,
    /// An honest provider never works more than two intervals beyond the receipts, nor in the end beyond what it was paid.
    ProviderLosesTwoIntervalsAtMost,
    /// A renter never signs for more than two intervals beyond the work that ran, unless the node lies about its work.
    RenterLosesTwoIntervalsAtMost,
    /// Nothing runs before the first receipt.
    NoWorkBeforeTheFirstReceipt,
    /// Nothing is signed before the deposit is on the chain.
    NoReceiptBeforeFunding,
    /// Neither what is signed nor the work that runs passes the deposit.
    DepositIsNeverPassed,
    /// What works side by side on a node is never more than it offers.
    CapacityIsKept,
    /// A closed lease that lies deep stays closed.
    ClosedStaysClosed,
    /// A part's output that was told to be here is here, as it was made.
    KeptPartsWereDelivered,
    /// Every lease that was opened is closed in the end, unless nobody is left who knows of it: its renter is gone for ever, and
    /// its provider too or never took it.
    LeaseEnds,
    /// Every job whose renter lives is over in the end.
    JobEnds,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::MoneyIsConserved,
        Self::ClaimWithinDeposit,
        Self::ClaimWithinReceipt,
        Self::ClaimWithinMeter,
        Self::ProviderLosesTwoIntervalsAtMost,
        Self::RenterLosesTwoIntervalsAtMost,
        Self::NoWorkBeforeTheFirstReceipt,
        Self::NoReceiptBeforeFunding,
        Self::DepositIsNeverPassed,
        Self::CapacityIsKept,
        Self::ClosedStaysClosed,
        Self::KeptPartsWereDelivered,
        Self::LeaseEnds,
        Self::JobEnds,
    ];
}

/// An invariant that does not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// Of what, with numbers.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// A lease's slot in the escrow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Slot {
    deposit: u128,
    claimed: u128,
    status: u64,
}

const OPEN: u64 = 1;
const CLOSED: u64 = 2;

/// What is known of one lease.
#[derive(Debug, Clone, Default)]
struct Entry {
    slot: Slot,
    /// The most that was ever in the escrow for it.
    funded: u128,
    /// Unfrozen time since the first exec, as the containers count it.
    worked: Millis,
    gone: bool,
    /// In how many blocks in a row it has been closed.
    closed_for: u64,
}

/// The world's own ledger.
#[derive(Debug)]
pub(crate) struct Judge {
    minted: u128,
    owners: Vec<Address>,
    leases: BTreeMap<LeaseId, Entry>,
    pub(crate) broken: Vec<Broken>,
}

fn units(amount: Amount) -> u128 {
    amount.units()
}

impl Judge {
    /// A judge of a world in which `minted` is owned by `owners` together.
    pub(crate) const fn new(minted: u128, owners: Vec<Address>) -> Self {
        Self {
            minted,
            owners,
            leases: BTreeMap::new(),
            broken: Vec::new(),
        }
    }

    fn breaks(&mut self, invariant: Invariant, what: String) {
        if self.broken.len() < 20 {
            self.broken.push(Broken { invariant, what });
        }
    }

    /// How many leases were funded, and how much was paid for them.
    pub(crate) fn totals(&self) -> (usize, u128) {
        let funded = self.leases.values().filter(|entry| entry.funded > 0);
        funded.fold((0, 0), |(count, paid), entry| (count + 1, paid + entry.slot.claimed))
    }

    /// Whether every lease that was ever funded is closed.
    pub(crate) fn all_closed(&self) -> bool {
        self.leases
            .values()
            .all(|entry| entry.funded == 0 || entry.slot.status == CLOSED)
    }

    /// Compares everything. Called after every block.
    pub(crate) fn look(&mut self, chain: &SimChain, network: &SimNetwork, hosts: &[SimHost]) {
        let agreed = network.agreed();
        for lease in agreed.keys() {
            self.read_slot(chain, *lease);
        }
        self.check_money(chain);
        for (lease, agreed) in &agreed {
            let honest = |node: NodeId| hosts.iter().any(|host| host.node == node && host.nature.honest);
            self.check_lease(*lease, agreed, honest(agreed.provider));
        }
        self.check_capacity(hosts, &agreed);
    }

    /// Counts the work that ran. Called just before [`Judge::look`].
    pub(crate) async fn read_work(&mut self, hosts: &[SimHost]) {
        for host in hosts {
            for status in host.double.adopt().await.unwrap_or_default() {
                let entry = self.leases.entry(status.lease).or_default();
                entry.worked = entry.worked.max(status.metered);
                entry.gone = status.work == Work::Gone;
            }
        }
    }

    fn read_slot(&mut self, chain: &SimChain, lease: LeaseId) {
        let words = chain.view(chain.contracts.escrow, "leaseOf(bytes32)", &[B256::from(lease)]);
        let word = |at: usize| words.get(at).copied().unwrap_or(U256::ZERO);
        let slot = Slot {
            deposit: word(0).saturating_to(),
            claimed: word(1).saturating_to(),
            status: word(3).saturating_to(),
        };
        let entry = self.leases.entry(lease).or_default();
        let reopened = entry.closed_for > crate::chain::SAFE && slot.status != CLOSED;
        if slot.status == CLOSED {
            entry.closed_for += 1;
        } else {
            entry.closed_for = 0;
        }
        entry.funded = entry.funded.max(slot.deposit);
        entry.slot = slot;
        if reopened {
            self.breaks(Invariant::ClosedStaysClosed, format!("{} is open again", lease.short()));
        }
    }

    fn check_money(&mut self, chain: &SimChain) {
        let escrow = chain.tokens(chain.contracts.escrow);
        let owned: u128 = self.owners.iter().map(|owner| chain.tokens(*owner)).sum();
        let open = self.leases.values().filter(|entry| entry.slot.status == OPEN);
        let held: u128 = open
            .map(|entry| entry.slot.deposit.saturating_sub(entry.slot.claimed))
            .sum();
        if owned + escrow != self.minted {
            let what = format!("{owned} owned and {escrow} in the escrow are not {}", self.minted);
            self.breaks(Invariant::MoneyIsConserved, what);
        }
        if held != escrow {
            self.breaks(
                Invariant::MoneyIsConserved,
                format!("the escrow has {escrow}, its open leases say {held}"),
            );
        }
    }

    fn check_lease(&mut self, lease: LeaseId, agreed: &Agreed, honest: bool) {
        use Invariant as I;
        let entry = self.leases.entry(lease).or_default().clone();
        let (slot, signed) = (entry.slot, units(agreed.signed));
        let cost = units(agreed.price.cost_of(entry.worked));
        let two = units(agreed.price.cost_of(Millis(INTERVAL.0 * 2)));
        let name = lease.short();
        let mut check = |holds: bool, invariant, what: String| {
            if !holds {
                self.breaks(invariant, format!("{name}: {what}"));
            }
        };
        let claimed = slot.claimed;
        check(
            claimed <= slot.deposit,
            I::ClaimWithinDeposit,
            format!("{claimed} of {}", slot.deposit),
        );
        check(
            claimed <= signed,
            I::ClaimWithinReceipt,
            format!("{claimed} claimed, {signed} signed"),
        );
        check(
            entry.worked == Millis::ZERO || signed > 0,
            I::NoWorkBeforeTheFirstReceipt,
            format!("{} worked", entry.worked),
        );
        check(
            signed == 0 || entry.funded > 0,
            I::NoReceiptBeforeFunding,
            format!("{signed} signed"),
        );
        check(
            signed <= entry.funded.max(signed.min(1)),
            I::DepositIsNeverPassed,
            format!("{signed} signed of {}", entry.funded),
        );
        if honest {
            check(
                claimed <= cost,
                I::ClaimWithinMeter,
                format!("{claimed} claimed, work for {cost}"),
            );
            check(
                cost <= signed + two,
                I::ProviderLosesTwoIntervalsAtMost,
                format!("work for {cost}, {signed} signed"),
            );
            check(
                signed <= cost + two,
                I::RenterLosesTwoIntervalsAtMost,
                format!("{signed} signed, work for {cost}"),
            );
            check(
                cost <= entry.funded,
                I::DepositIsNeverPassed,
                format!("work for {cost} of {}", entry.funded),
            );
        }
    }

    fn check_capacity(&mut self, hosts: &[SimHost], agreed: &BTreeMap<LeaseId, Agreed>) {
        for host in hosts.iter().filter(|host| host.nature.provides) {
            let at_work = agreed.iter().filter(|(lease, agreed)| {
                let entry = self.leases.get(*lease);
                agreed.provider == host.node && entry.is_some_and(|entry| entry.worked > Millis::ZERO && !entry.gone)
            });
            let sum = at_work.fold(Resources::default(), |sum, (_, agreed)| sum.plus(&agreed.resources));
            if !host.offered().covers(&sum) {
                let what = format!(
                    "{}: {} cores work, {} are offered",
                    host.name,
                    sum.cpu,
                    host.offered().cpu
                );
                self.breaks(Invariant::CapacityIsKept, what);
            }
        }
    }

    /// What must hold once nothing troubles the world any more and time enough has passed.
    pub(crate) fn at_the_end(&mut self, network: &SimNetwork, hosts: &[SimHost]) {
        for (lease, agreed) in network.agreed() {
            let Some(entry) = self.leases.get(&lease).cloned() else {
                continue;
            };
            let honest = hosts
                .iter()
                .any(|host| host.node == agreed.provider && host.nature.honest);
            let stays = hosts
                .iter()
                .any(|host| host.node == agreed.provider && host.alive.is_some());
            let lives = |node: NodeId| hosts.iter().any(|host| host.node == node && !host.gone);
            let somebody = lives(agreed.renter) || (agreed.taken && lives(agreed.provider));
            if entry.funded > 0 && entry.slot.status != CLOSED && somebody {
                self.breaks(
                    Invariant::LeaseEnds,
                    format!("{} holds {}", lease.short(), entry.slot.deposit),
                );
            }
            let cost = units(agreed.price.cost_of(entry.worked));
            let two = units(agreed.price.cost_of(Millis(INTERVAL.0 * 2)));
            if honest && stays && cost > entry.slot.claimed + two {
                let what = format!("{}: work for {cost}, paid {}", lease.short(), entry.slot.claimed);
                self.breaks(Invariant::ProviderLosesTwoIntervalsAtMost, what);
            }
        }
        for host in hosts {
            let Some((_, daemon)) = &host.alive else { continue };
            for job in daemon.jobs().jobs {
                if !job.state.is_over() {
                    self.breaks(
                        Invariant::JobEnds,
                        format!("{} of {} is {:?}", job.name, host.name, job.state),
                    );
                }
                for output in &job.outputs {
                    let path = std::path::Path::new(&job.output).join(&output.path);
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    if *blake3::hash(&bytes).as_bytes() != output.hash.0 {
                        let what = format!("{} of {}: {} bytes are there", output.path, job.name, bytes.len());
                        self.breaks(Invariant::KeptPartsWereDelivered, what);
                    }
                }
            }
        }
    }
}

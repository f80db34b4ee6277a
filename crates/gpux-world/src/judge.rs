//! The judge: counts work where it runs and money where it lies, and compares them with what always holds.
//!
//! It reads the containers' double, the chain, the words on the network and the files on disk; never a field of a daemon.
//! Names and words are those of `docs/spec/invariants.md`.

use crate::{
    chain::{BLOCK_SECS, SimChain},
    coverage::Reached,
    host::SimHost,
    life::Life,
    network::{Agreed, SimNetwork},
};
use alloy::primitives::{B256, U256};
use gpux_lease::INTERVAL;
use gpux_runtime::{PartState, Runtime as _, Work};
use gpux_types::{Address, Amount, LeaseId, Millis, NodeId, Resources};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

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
    /// It signs for no more than its own time, whatever it is told: what a lying node can get.
    RenterSignsForItsOwnTime,
    /// A deposit that its provider gives back is the renter's again within two minutes, once nothing troubles the world; where the
    /// provider's daemon is gone or was started anew, if the renter heard it before.
    LateDepositComesBack,
    /// A renter that closes a lease pays the closing amount that it took first, whatever else its provider signs.
    FirstClosingStands,
    /// Nothing runs before the first receipt.
    NoWorkBeforeTheFirstReceipt,
    /// Nothing is signed before the deposit is on the chain.
    NoReceiptBeforeFunding,
    /// Neither what is signed nor the work that runs passes the deposit.
    DepositIsNeverPassed,
    /// What works side by side on a node is never more than it offers.
    CapacityIsKept,
    /// Of a lease that was stopped and never paid for nothing stays on its node: no container, no blob, and no more than a few
    /// that wait for a late deposit.
    NothingStaysOfTheUnpaid,
    /// A closed lease that lies deep stays closed.
    ClosedStaysClosed,
    /// No rank of a gang runs before every rank of the same attempt stood, and no two attempts run at once.
    GangsStartTogether,
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
    pub const ALL: [Self; 19] = [
        Self::MoneyIsConserved,
        Self::ClaimWithinDeposit,
        Self::ClaimWithinReceipt,
        Self::ClaimWithinMeter,
        Self::ProviderLosesTwoIntervalsAtMost,
        Self::RenterLosesTwoIntervalsAtMost,
        Self::RenterSignsForItsOwnTime,
        Self::LateDepositComesBack,
        Self::FirstClosingStands,
        Self::NoWorkBeforeTheFirstReceipt,
        Self::NoReceiptBeforeFunding,
        Self::DepositIsNeverPassed,
        Self::CapacityIsKept,
        Self::NothingStaysOfTheUnpaid,
        Self::ClosedStaysClosed,
        Self::GangsStartTogether,
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
    /// Whether its renter closed it, and nothing was drawn on it before.
    closed_at_once: bool,
    /// In how many blocks in a row it has been closed.
    closed_for: u64,
    /// The work up to which its renter said that it signs ahead.
    ahead: Millis,
    /// How much ahead it ever said so, in all.
    horizons: Millis,
    /// The attempts whose containers were ever there.
    stood: BTreeSet<u32>,
    /// Those whose programs were executed.
    ran: BTreeSet<u32>,
    /// Those whose programs run now.
    runs: BTreeSet<u32>,
}

/// The world's own ledger.
#[derive(Debug)]
pub(crate) struct Judge {
    minted: u128,
    owners: Vec<Address>,
    /// When nothing troubles the world any more.
    calm: Duration,
    leases: BTreeMap<LeaseId, Entry>,
    pub(crate) broken: Vec<Broken>,
}

/// Whether a file is as a part of a world's jobs makes it: `part-7.txt` says who made it, in whichever folder.
fn is_whole(path: &str, bytes: &[u8]) -> bool {
    let path = path.rsplit('/').next().unwrap_or_default();
    let number = path.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".txt"));
    number.is_some_and(|number| bytes == format!("made by {number}").as_bytes())
}

/// How long a deposit that was given back may stay away.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long what was stopped may take to be gone.
const REMOVED_WITHIN: Duration = Duration::from_secs(30);
/// How many leases of a node may wait for a late deposit.
const MAX_WAITING: usize = 64;

/// The most that a renter signs for by its own clock alone: since it first signed, one hundredth more, and two intervals.
fn own_time(now: Duration, since: Option<Duration>) -> Millis {
    let own = since.map_or(Millis::ZERO, |since| Millis::from(now.saturating_sub(since)));
    let slack = Millis(own.0 / 100);
    let two = Millis(INTERVAL.0 * 2);
    own.saturating_add(slack).saturating_add(two)
}

fn units(amount: Amount) -> u128 {
    amount.units()
}

impl Judge {
    /// A judge of a world in which `minted` is owned by `owners` together.
    pub(crate) const fn new(minted: u128, owners: Vec<Address>, calm: Duration) -> Self {
        Self {
            minted,
            owners,
            calm,
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

    /// A renter signs so much ahead.
    pub(crate) fn goes_away(&mut self, lease: LeaseId, horizon: Millis) {
        let entry = self.leases.entry(lease).or_default();
        // Work was last counted with the newest block, and by the renter perhaps a little more.
        let counted = entry
            .worked
            .saturating_add(Millis::from_secs(BLOCK_SECS))
            .saturating_add(INTERVAL);
        entry.ahead = entry.ahead.max(counted.saturating_add(horizon));
        entry.horizons = entry.horizons.saturating_add(horizon);
    }

    /// Whether no lease is open: a deposit that a reorganisation took away for ever holds nothing.
    pub(crate) fn all_closed(&self) -> bool {
        self.leases.values().all(|entry| entry.slot.status != OPEN)
    }

    /// Compares everything. Called after every block.
    pub(crate) fn look(&mut self, chain: &SimChain, network: &SimNetwork, hosts: &[SimHost]) {
        let agreed = network.agreed();
        for lease in agreed.keys() {
            self.read_slot(chain, *lease);
        }
        self.check_money(chain);
        let now = network.trace.now();
        for (lease, agreed) in &agreed {
            self.check_lease(now, (*lease, agreed));
            let provider = hosts.iter().find(|host| host.node == agreed.provider);
            let (honest, wild) = provider.map_or((false, false), |host| (host.nature.honest, host.nature.wild));
            if honest {
                self.check_honest(*lease, agreed);
            }
            if honest || wild {
                self.check_true_meter(*lease, agreed);
            }
            self.check_given_back(now, (*lease, agreed), hosts);
        }
        self.check_capacity(hosts, &agreed);
        self.check_gangs(hosts, &agreed);
    }

    /// Of gangs whose nodes are all honest: what a node says of its rank is all that anybody knows.
    fn check_gangs(&mut self, hosts: &[SimHost], agreed: &BTreeMap<LeaseId, Agreed>) {
        let mut gangs: BTreeMap<[u8; 32], Vec<LeaseId>> = BTreeMap::new();
        for (lease, agreed) in agreed {
            gangs.entry(agreed.job).or_default().push(*lease);
        }
        let honest = |lease: &LeaseId| {
            let provider = agreed.get(lease).map(|agreed| agreed.provider);
            hosts
                .iter()
                .any(|host| Some(host.node) == provider && host.nature.honest)
        };
        for leases in gangs.values().filter(|leases| leases.iter().all(honest)) {
            let ranks = leases.iter().find_map(|lease| agreed.get(lease)?.gang);
            let Some(ranks) = ranks else { continue };
            let entries: Vec<&Entry> = leases.iter().filter_map(|lease| self.leases.get(lease)).collect();
            let ran: BTreeSet<u32> = entries.iter().flat_map(|entry| entry.ran.iter().copied()).collect();
            let stood = |attempt: &u32| entries.iter().filter(|entry| entry.stood.contains(attempt)).count();
            let alone = ran.iter().find(|attempt| stood(attempt) < ranks);
            let runs: BTreeSet<u32> = entries.iter().flat_map(|entry| entry.runs.iter().copied()).collect();
            let what = match alone {
                Some(attempt) => format!("attempt {attempt} ran, {} of {ranks} ranks of it stood", stood(attempt)),
                None if runs.len() > 1 => format!("attempts {runs:?} run at once"),
                None => continue,
            };
            self.breaks(Invariant::GangsStartTogether, what);
        }
    }

    /// Counts the work that ran. Called just before [`Judge::look`].
    pub(crate) async fn read_work(&mut self, hosts: &[SimHost]) {
        for host in hosts {
            for status in host.double.adopt().await.unwrap_or_default() {
                let entry = self.leases.entry(status.lease).or_default();
                entry.worked = entry.worked.max(status.metered);
                entry.gone = status.work == Work::Gone;
                let of = |wanted: fn(&PartState) -> bool| {
                    let parts = status.parts.iter().filter(move |part| wanted(&part.state));
                    parts.map(|part| part.attempt)
                };
                entry.stood.extend(of(|_| true));
                entry.ran.extend(of(|state| {
                    matches!(state, PartState::Running { .. } | PartState::Exited { .. })
                }));
                entry.runs = of(|state| matches!(state, PartState::Running { .. })).collect();
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
        let told = chain
            .told
            .get(&B256::from(lease))
            .map_or(&[] as &[Reached], Vec::as_slice);
        entry.closed_at_once = told.last() == Some(&Reached::Closed) && !told.contains(&Reached::Drawn);
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

    fn check_lease(&mut self, now: Duration, (lease, agreed): (LeaseId, &Agreed)) {
        use Invariant as I;
        let entry = self.leases.entry(lease).or_default().clone();
        let (slot, signed) = (entry.slot, units(agreed.signed));
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
        let own = own_time(now, agreed.since).saturating_add(entry.horizons);
        let own = units(agreed.price.cost_of(own));
        check(
            signed <= own,
            I::RenterSignsForItsOwnTime,
            format!("{signed} signed in a time for {own}"),
        );
        if let Some(first) = agreed.closing.filter(|_| slot.status == CLOSED && entry.closed_at_once) {
            let what = format!("{name}: closed for {claimed}, {first} was taken first");
            if units(first) != claimed {
                self.breaks(I::FirstClosingStands, what);
            }
        }
    }

    /// What holds of a lease whose provider is honest.
    fn check_honest(&mut self, lease: LeaseId, agreed: &Agreed) {
        use Invariant as I;
        let entry = self.leases.get(&lease).cloned().unwrap_or_default();
        let (claimed, signed) = (entry.slot.claimed, units(agreed.signed));
        let cost = units(agreed.price.cost_of(entry.worked));
        let two = units(agreed.price.cost_of(Millis(INTERVAL.0 * 2)));
        let name = lease.short();
        let mut check = |holds: bool, invariant, what: String| {
            if !holds {
                self.breaks(invariant, format!("{name}: {what}"));
            }
        };
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
            cost <= entry.funded,
            I::DepositIsNeverPassed,
            format!("work for {cost} of {}", entry.funded),
        );
    }

    /// What holds of a lease whose provider's meter is true, whatever that provider signs.
    fn check_true_meter(&mut self, lease: LeaseId, agreed: &Agreed) {
        let entry = self.leases.get(&lease).cloned().unwrap_or_default();
        let signed = units(agreed.signed);
        let cost = units(agreed.price.cost_of(entry.worked));
        let two = units(agreed.price.cost_of(Millis(INTERVAL.0 * 2)));
        let ahead = units(agreed.price.cost_of(entry.worked.max(entry.ahead)));
        if signed > ahead + two {
            let what = format!(
                "{}: {signed} signed, work for {cost}, for {ahead} with what it said that it signs ahead",
                lease.short()
            );
            self.breaks(Invariant::RenterLosesTwoIntervalsAtMost, what);
        }
    }

    fn check_given_back(&mut self, now: Duration, (lease, agreed): (LeaseId, &Agreed), hosts: &[SimHost]) {
        let (Some(entry), Some(since)) = (self.leases.get(&lease), agreed.given_back) else {
            return;
        };
        let lives = |node| hosts.iter().any(|host| host.node == node && !host.gone);
        // A daemon that is gone says nothing twice, nor does the next one. Its word counts where the renter has heard it and has
        // not crashed since.
        let goes_on = |life: &Option<Arc<Life>>| life.as_ref().is_some_and(|life| !life.is_over());
        let told = goes_on(&agreed.heard_back) || goes_on(&agreed.given_by);
        let late = now > since.max(self.calm) + PATIENCE;
        if lives(agreed.renter) && told && late && entry.slot.status == OPEN {
            let what = format!("{} was given back at {since:?} and is open", lease.short());
            self.breaks(Invariant::LateDepositComesBack, what);
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

    /// Counts what is known only in the end.
    pub(crate) fn count(&self, chain: &SimChain, network: &SimNetwork, funded: &[NodeId]) {
        let agreed = network.agreed();
        for (lease, told) in &chain.told {
            let renter = agreed.get(&LeaseId(lease.0)).map(|agreed| agreed.renter);
            if renter.is_some_and(|renter| funded.contains(&renter)) {
                let topped_up = told.iter().filter(|what| **what == Reached::ToppedUp);
                topped_up.for_each(|_| network.trace.reach(Reached::ToppedUpByItself));
            }
        }
        for (lease, agreed) in agreed {
            let closed = self.leases.get(&lease).is_some_and(|entry| entry.slot.status == CLOSED);
            if closed && agreed.taken {
                let told = if agreed.recorded {
                    Reached::RecordOfBoth
                } else {
                    Reached::RecordOfOne
                };
                network.trace.reach(told);
            }
        }
    }

    /// What stays of leases that were stopped and never paid for.
    fn check_unpaid(&mut self, network: &SimNetwork, hosts: &[SimHost]) {
        let (agreed, now) = (network.agreed(), network.trace.now());
        for host in hosts {
            let Some((_, daemon)) = &host.alive else { continue };
            let of_host = agreed
                .iter()
                .filter(|(_, agreed)| agreed.provider == host.node && agreed.taken);
            let (unpaid, others): (Vec<_>, Vec<_>) = of_host.partition(|(lease, agreed)| {
                let paid = self.leases.get(lease).is_some_and(|entry| entry.slot.status != 0);
                !paid && agreed.stopped.is_some_and(|at| now > at + REMOVED_WITHIN)
            });
            let at_work = host.at_work();
            for (lease, _) in &unpaid {
                if at_work.contains(lease) || network.keeps(host.node, **lease) {
                    let what = format!("something of {} is on {}", lease.short(), host.name);
                    self.breaks(Invariant::NothingStaysOfTheUnpaid, what);
                }
            }
            let kept = usize::try_from(daemon.view().leases).unwrap_or(usize::MAX);
            if kept > others.len() + MAX_WAITING {
                let what = format!("{} has {kept} leases, {} were paid for", host.name, others.len());
                self.breaks(Invariant::NothingStaysOfTheUnpaid, what);
            }
        }
    }

    /// What must hold once nothing troubles the world any more and time enough has passed.
    pub(crate) fn at_the_end(&mut self, network: &SimNetwork, hosts: &[SimHost]) {
        self.check_unpaid(network, hosts);
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
            if entry.slot.status == OPEN && somebody {
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
                // Each part of a world's jobs makes one file.
                let kept = u32::try_from(job.outputs.len()).unwrap_or(u32::MAX);
                if job.parts.done > kept {
                    let what = format!(
                        "{} parts of {} are done, {kept} files are there",
                        job.parts.done, job.name
                    );
                    self.breaks(Invariant::KeptPartsWereDelivered, what);
                }
                for output in &job.outputs {
                    let path = std::path::Path::new(&job.output).join(&output.path);
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    if *blake3::hash(&bytes).as_bytes() != output.hash.0 || !is_whole(&output.path, &bytes) {
                        let what = format!("{} of {}: {} bytes are there", output.path, job.name, bytes.len());
                        self.breaks(Invariant::KeptPartsWereDelivered, what);
                    }
                }
            }
        }
    }
}

//! What a world is to be: how many nodes of which nature, what goes wrong, and what became of it.

use crate::{bug::Bug, chance::Chance, coverage::Coverage, host::Nature, judge::Broken};
use std::time::Duration;

/// One world's plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many nodes sell.
    pub providers: usize,
    /// How many nodes rent; each starts one job.
    pub renters: usize,
    /// For how long things go wrong.
    pub troubled: Duration,
    /// What goes wrong.
    pub troubles: Troubles,
    /// What happens at its time, whatever chance does.
    pub events: Vec<(Duration, Event)>,
    /// What is built wrong on purpose.
    pub bug: Option<Bug>,
}

/// Something that a plan wants to happen. Hosts are counted from those that sell on.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A host's chain endpoint serves nothing for so long.
    EndpointAway {
        /// Whose.
        host: usize,
        /// For how long.
        lasts: Duration,
        /// Whether it does not answer at all; else it answers that it failed.
        silent: bool,
    },
    /// A host's daemon dies at a write, counted from then on; where it is not up then, from when it is.
    DiesAtWrite {
        /// Whose.
        host: usize,
        /// Which write, from 1.
        write: u64,
        /// Whether it dies before the write is made; else after it.
        before: bool,
    },
    /// A machine's date is set.
    ClockStepped {
        /// Whose.
        host: usize,
        /// By how many seconds it is ahead of the world's from then on.
        secs: i64,
    },
}

/// What goes wrong in a world. Numbers are times in a thousand steps, messages or blocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    /// Daemons crash at a write, before or after it.
    pub crashes: u64,
    /// Messages are lost, doubled and late.
    pub network: u64,
    /// Two nodes cannot hear each other, one way or both, for up to 20 s.
    pub partitions: u64,
    /// Reorganisations, delayed transactions, spikes of fees.
    pub chain: u64,
    /// Chain nodes are silent, failing, behind or lying for up to 20 s.
    pub rpc: u64,
    /// Containers start slowly.
    pub containers: u64,
    /// Disks are full for up to 20 s: neither databases nor files are written.
    pub disk: u64,
    /// Shims are killed, and what they kept with them.
    pub shims: u64,
    /// Machines lose their power: daemon, shims and containers.
    pub power: u64,
    /// Tries of parts run out of memory, or crash.
    pub misfortunes: u64,
    /// Providers crash just after they have answered a request for a quote.
    pub forgotten_quotes: u64,
    /// A renter without a daemon and with wallets of its own spams quotes, pays late or never, and signs nothing.
    pub spam: u64,
    /// In a thousand renters, so many sign less than they should, old receipts, or none.
    pub manners: u64,
    /// In a thousand renters, so many go away and sign ahead.
    pub absences: u64,
    /// A stranger floods, repeats what it overheard, asks for what is not its own.
    pub adversary: u64,
    /// Nodes, renting or selling, go silent for ever.
    pub vanishing: u64,
    /// In a thousand nodes that sell, so many have a meter that runs too fast, fake their progress, or offer what they don't have.
    pub cheats: u64,
    /// In a thousand nodes that sell and are honest otherwise, so many sign several closing amounts and submit old receipts.
    pub closings: u64,
    /// Somebody sets a machine's date up to a quarter of an hour off.
    pub clocks: u64,
    /// Of a thousand leases, so many are told of only when their quote is over.
    pub told_late: u64,
    /// A renter without a daemon has a lease taken and stops it at once.
    pub stops: u64,
    /// Of a thousand jobs that are not long, so many are gangs.
    pub gangs: u64,
}

impl Troubles {
    /// The troubles of a seed: each kind in some worlds and not in others, so that each is also met alone.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let some_of = |chance: &Chance, most: u64| {
            if chance.in_thousand(500) {
                chance.between(1, most + 1)
            } else {
                0
            }
        };
        let (chance, closings) = (Chance::new(seed, "which troubles"), Chance::new(seed, "which closings"));
        let clocks = Chance::new(seed, "which clocks");
        let some = |most: u64| some_of(&chance, most);
        Self {
            crashes: some(8),
            network: some(60),
            partitions: some(12),
            chain: some(25),
            rpc: some(10),
            containers: some(2),
            disk: some(10),
            shims: some(8),
            power: some(3),
            misfortunes: some(150),
            forgotten_quotes: some(300),
            spam: some(120),
            manners: some(500),
            absences: some(800),
            adversary: some(300),
            vanishing: some(1),
            cheats: some(500),
            closings: some_of(&closings, 1_000),
            clocks: some_of(&clocks, 10),
            gangs: some_of(&Chance::new(seed, "which gangs"), 1_000),
            // Each in a world of its own.
            told_late: 0,
            stops: 0,
        }
    }
}

/// What became of a world.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed of its plan.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: String,
    /// Simulated time.
    pub simulated: Duration,
    /// Lines of its trace.
    pub lines: u64,
    /// What does not hold.
    pub broken: Vec<Broken>,
    /// The newest lines of the trace.
    pub trace: String,
    /// How many leases were funded.
    pub leases: usize,
    /// What was paid for them, in the token's smallest unit.
    pub paid: u128,
    /// How many parts have their results where the renter wants them, and how many its jobs have in all.
    pub parts: (u32, u32),
    /// How each job ended.
    pub jobs: Vec<String>,
    /// How many times a daemon was started.
    pub lives: u64,
    /// What was reached.
    pub coverage: Coverage,
}

impl Plan {
    /// What a node is like; each draws its own.
    pub(crate) fn nature(&self, (natures, closings): (&Chance, &Chance), provides: bool) -> Nature {
        let mut nature = Nature::honest(provides);
        nature.slow = natures.between(0, 1 + self.troubles.containers * 1_500);
        nature.misfortunes = self.troubles.misfortunes;
        nature.bug = self.bug;
        if provides && natures.in_thousand(self.troubles.cheats) {
            nature.honest = false;
            match natures.between(0, 4) {
                0 => nature.ghost = true,
                1 => nature.boasts = true,
                _ => nature.meter = natures.between(110, 300),
            }
        }
        if provides && nature.honest && closings.in_thousand(self.troubles.closings) {
            (nature.honest, nature.wild) = (false, true);
        }
        match self.bug {
            Some(Bug::FastMeter) => nature.meter = 200,
            Some(Bug::BlankCheque) => (nature.meter, nature.honest) = (300, false),
            Some(_) | None => {}
        }
        nature
    }
}

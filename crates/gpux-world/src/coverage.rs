//! What worlds reached: counted from the chain's events, the words on the network and what the world itself did. A trouble or an
//! event of money that no seed reaches is one that no seed checks, so a test asks for each.

use std::{collections::BTreeMap, fmt};

/// Something that worlds are to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// A lease was opened.
    Opened,
    /// Money was added to one.
    ToppedUp,
    /// A top-up that somebody asked for was made.
    ToppedUpAsAsked,
    /// Money was added to one whose job has money set aside for that, and nobody asked.
    ToppedUpByItself,
    /// A provider drew while the work went on.
    Drawn,
    /// A provider settled.
    Settled,
    /// A renter closed with a closing amount.
    Closed,
    /// A renter fetched its money back after expiry and grace.
    Reclaimed,
    /// A deposit that came too late was given back.
    GivenBack,
    /// A renter signed ahead and went away.
    WentAway,
    /// A receipt was lower than asked.
    LowerReceipt,
    /// Both signed how a lease ended.
    RecordOfBoth,
    /// A lease ended and its renter never signed how.
    RecordOfOne,
    /// Work was frozen for want of a receipt or of a deep deposit.
    Frozen,
    /// Frozen work went on.
    Thawed,
    /// A daemon crashed at a write.
    Crashed,
    /// A machine lost its power: daemon, shims and containers at once.
    PowerLost,
    /// A node vanished for ever.
    Vanished,
    /// A write into a database found the disk full.
    DatabaseFull,
    /// A write of a file found the disk full.
    FileRefused,
    /// A shim was killed.
    ShimKilled,
    /// A part was killed for want of memory.
    OutOfMemory,
    /// A part crashed.
    PartCrashed,
    /// Two nodes did not hear each other.
    Parted,
    /// A chain node was silent, failing, behind or lying.
    ChainNodeIll,
    /// Blocks were thrown away.
    Reorganised,
    /// A transaction was forgotten by every pool.
    Forgotten,
    /// A transaction waited.
    Delayed,
    /// Fees rose.
    FeesRose,
    /// A meter ran too fast.
    MeterTooFast,
    /// Work was told of that did not run.
    FakedProgress,
    /// A node offered what it does not have.
    Boasted,
    /// A renter signed for less than it was asked.
    SignedLower,
    /// A renter gave an old receipt once more.
    SignedOld,
    /// A renter gave no receipt any more.
    SignedNothing,
    /// A stranger repeated what it overheard, closings among it.
    Repeated,
    /// A closing amount was told once more by somebody.
    StaleClosing,
    /// A stranger sent hundreds of words at once.
    Flooded,
    /// A stranger with wallets of its own asked for quotes.
    QuotesSpammed,
    /// One of them had a quote taken for a lease that it never paid for.
    LeaseUnpaid,
    /// A quote was forgotten by a provider before it was used.
    QuoteForgotten,
    /// A transaction that opens leases was sent a second time under another nonce.
    OpenedTwice,
    /// A closing amount was above what was signed for.
    ClosingAbove,
    /// After one closing amount was taken, others were given.
    ClosingChanged,
    /// A closing amount was given while the work went on.
    ClosingEarly,
    /// A machine's date was set minutes off while its daemon ran.
    ClockStepped,
    /// A provider settled behind its daemon's back, with an old receipt or for more than one says.
    SettledBehind,
    /// A rank of a gang was told to go.
    GangWent,
    /// A gang was tried again.
    GangTriedAgain,
}

impl Reached {
    /// All of them.
    pub const ALL: [Self; 49] = [
        Self::Opened,
        Self::ToppedUp,
        Self::ToppedUpAsAsked,
        Self::ToppedUpByItself,
        Self::Drawn,
        Self::Settled,
        Self::Closed,
        Self::Reclaimed,
        Self::GivenBack,
        Self::WentAway,
        Self::LowerReceipt,
        Self::RecordOfBoth,
        Self::RecordOfOne,
        Self::Frozen,
        Self::Thawed,
        Self::Crashed,
        Self::PowerLost,
        Self::Vanished,
        Self::DatabaseFull,
        Self::FileRefused,
        Self::ShimKilled,
        Self::OutOfMemory,
        Self::PartCrashed,
        Self::Parted,
        Self::ChainNodeIll,
        Self::Reorganised,
        Self::Forgotten,
        Self::Delayed,
        Self::FeesRose,
        Self::MeterTooFast,
        Self::FakedProgress,
        Self::Boasted,
        Self::SignedLower,
        Self::SignedOld,
        Self::SignedNothing,
        Self::Repeated,
        Self::StaleClosing,
        Self::Flooded,
        Self::QuotesSpammed,
        Self::LeaseUnpaid,
        Self::QuoteForgotten,
        Self::OpenedTwice,
        Self::ClosingAbove,
        Self::ClosingChanged,
        Self::ClosingEarly,
        Self::SettledBehind,
        Self::GangWent,
        Self::GangTriedAgain,
        Self::ClockStepped,
    ];
}

/// How often each was reached, and in how many worlds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Reached, (u64, u64)>,
}

impl Coverage {
    /// Something was reached in this world.
    pub(crate) fn reach(&mut self, what: Reached) {
        let (times, worlds) = self.counts.entry(what).or_default();
        (*times, *worlds) = (*times + 1, 1);
    }

    /// Adds what other worlds reached.
    pub fn add(&mut self, other: &Self) {
        for (what, (times, worlds)) in &other.counts {
            let sum = self.counts.entry(*what).or_default();
            *sum = (sum.0 + times, sum.1 + worlds);
        }
    }

    /// How often something was reached.
    #[must_use]
    pub fn times(&self, what: Reached) -> u64 {
        self.counts.get(&what).map_or(0, |(times, _)| *times)
    }

    /// What was never reached.
    #[must_use]
    pub fn missing(&self) -> Vec<Reached> {
        let all = Reached::ALL.into_iter();
        all.filter(|what| self.times(*what) == 0).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:>9} {:>7}", "reached", "times", "worlds")?;
        for what in Reached::ALL {
            let (times, worlds) = self.counts.get(&what).copied().unwrap_or_default();
            writeln!(f, "{:<20} {times:>9} {worlds:>7}", format!("{what:?}"))?;
        }
        Ok(())
    }
}

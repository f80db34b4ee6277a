//! Faults planted in what daemons stand on, one for each invariant at least: they show that each check can fail.

use crate::judge::Invariant;

/// A fault that is planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Tokens come out of nothing.
    Minting,
    /// The escrow's slots say that more was claimed than was paid in.
    TamperedSlots,
    /// The escrow's closed slots are open again after a while.
    Reopening,
    /// No transaction that ends a lease is ever in a block.
    NoSettlement,
    /// A node's view of the escrow takes waiting transactions for made ones.
    HastyNode,
    /// Every provider's meter runs at twice the time, and it passes for honest.
    FastMeter,
    /// Work is told of that does not run.
    GhostWork,
    /// Work is never frozen.
    NoFreeze,
    /// Containers run before anybody wants them to.
    EagerContainers,
    /// Ranks of gangs are started where they are to stand.
    EagerRanks,
    /// Nodes sell ten times what they have.
    Overselling,
    /// Outputs on the renter's disk are changed behind its back.
    RottenOutputs,
    /// A daemon that starts again finds an empty database.
    ForgetfulDisk,
    /// Time ends while jobs are under way.
    EarlyEnd,
    /// Renters sign whatever they are asked, and meters run at three times the time.
    BlankCheque,
    /// A renter that goes away signs ten times as far ahead as it says.
    FarHorizon,
    /// Deposits are given back, and their renters do not hear of it.
    DeafToGiving,
    /// A disk takes half of each file and says that it took it.
    HalfWritten,
    /// More is told of a lease whose shim is gone than was metered.
    InflatedEnd,
    /// A part that ran out of memory is told as done.
    SilentDeath,
    /// A blob store gives nothing back.
    Hoarding,
    /// The first closing amount of a lease is said to be taken, and its renter does not hear of it.
    LostClosing,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Minting,
        Self::TamperedSlots,
        Self::Reopening,
        Self::NoSettlement,
        Self::HastyNode,
        Self::FastMeter,
        Self::GhostWork,
        Self::NoFreeze,
        Self::EagerContainers,
        Self::EagerRanks,
        Self::Overselling,
        Self::RottenOutputs,
        Self::ForgetfulDisk,
        Self::EarlyEnd,
        Self::BlankCheque,
        Self::FarHorizon,
        Self::DeafToGiving,
        Self::HalfWritten,
        Self::InflatedEnd,
        Self::SilentDeath,
        Self::Hoarding,
        Self::LostClosing,
    ];

    /// What it breaks, among others.
    #[must_use]
    pub const fn breaks(self) -> &'static [Invariant] {
        match self {
            Self::Minting => &[Invariant::MoneyIsConserved],
            Self::TamperedSlots => &[Invariant::ClaimWithinDeposit, Invariant::ClaimWithinReceipt],
            Self::Reopening => &[Invariant::ClosedStaysClosed],
            Self::NoSettlement => &[Invariant::LeaseEnds],
            Self::HastyNode => &[Invariant::NoReceiptBeforeFunding, Invariant::DepositIsNeverPassed],
            Self::FastMeter | Self::InflatedEnd => &[Invariant::ClaimWithinMeter],
            Self::GhostWork | Self::FarHorizon => &[Invariant::RenterLosesTwoIntervalsAtMost],
            Self::NoFreeze | Self::ForgetfulDisk => &[Invariant::ProviderLosesTwoIntervalsAtMost],
            Self::EagerContainers => &[Invariant::NoWorkBeforeTheFirstReceipt],
            Self::EagerRanks => &[Invariant::GangsStartTogether],
            Self::Overselling => &[Invariant::CapacityIsKept],
            Self::RottenOutputs | Self::HalfWritten | Self::SilentDeath => &[Invariant::KeptPartsWereDelivered],
            Self::BlankCheque => &[Invariant::RenterSignsForItsOwnTime],
            Self::DeafToGiving => &[Invariant::LateDepositComesBack],
            Self::Hoarding => &[Invariant::NothingStaysOfTheUnpaid],
            Self::LostClosing => &[Invariant::FirstClosingStands],
            Self::EarlyEnd => &[Invariant::JobEnds],
        }
    }
}

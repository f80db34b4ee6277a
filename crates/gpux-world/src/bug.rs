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
    /// Nodes sell ten times what they have.
    Overselling,
    /// Outputs on the renter's disk are changed behind its back.
    RottenOutputs,
    /// A daemon that starts again finds an empty database.
    ForgetfulDisk,
    /// Time ends while jobs are under way.
    EarlyEnd,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Minting,
        Self::TamperedSlots,
        Self::Reopening,
        Self::NoSettlement,
        Self::HastyNode,
        Self::FastMeter,
        Self::GhostWork,
        Self::NoFreeze,
        Self::EagerContainers,
        Self::Overselling,
        Self::RottenOutputs,
        Self::ForgetfulDisk,
        Self::EarlyEnd,
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
            Self::FastMeter => &[Invariant::ClaimWithinMeter],
            Self::GhostWork => &[Invariant::RenterLosesTwoIntervalsAtMost],
            Self::NoFreeze | Self::ForgetfulDisk => &[Invariant::ProviderLosesTwoIntervalsAtMost],
            Self::EagerContainers => &[Invariant::NoWorkBeforeTheFirstReceipt],
            Self::Overselling => &[Invariant::CapacityIsKept],
            Self::RottenOutputs => &[Invariant::KeptPartsWereDelivered],
            Self::EarlyEnd => &[Invariant::JobEnds],
        }
    }
}

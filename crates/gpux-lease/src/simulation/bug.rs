//! Planted bugs: each is what a wrong machine, daemon or escrow would do, seen from outside. For each invariant one
//! shows that breaking it is noticed (`tests.rs`), and the seeds alone find all of them (`seeds.rs`).

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The escrow keeps what it should give back.
    RefundIsForgotten,
    /// The provider claims what was metered and more than the deposit.
    ClaimIgnoresDeposit,
    /// The provider claims what was metered, whatever was signed.
    ClaimIgnoresReceipt,
    /// The provider claims all that was signed, whatever was metered.
    ClaimIgnoresMeter,
    /// The provider does not journal that a lease has ended.
    EndIsNotJournaled,
    /// The provider journals no receipt until it settles.
    ReceiptIsNotJournaled,
    /// The provider renews the dead-man switch also for unpaid work.
    RenewsUnpaidWork,
    /// The provider does not freeze.
    NeverFreezes,
    /// The provider lets parts start when they are prepared.
    StartsUnpaidWork,
    /// The provider takes the deposit for twice as much.
    DepositCountsTwice,
    /// The provider lets each lease have of the exposure what it wants.
    ExposureIsPerLease,
    /// The provider signs a closing amount before the work is gone.
    ClosesTooEarly,
    /// The provider leaves frozen work frozen.
    NeverThaws,
    /// The renter signs what it is asked to.
    SignsWhatIsAsked,
    /// The renter believes the provider's meter.
    BelievesTheMeter,
    /// The renter signs before its deposit is on the chain.
    SignsBeforeDeposit,
    /// The renter journals new states, but not what it signs within one.
    SignedIsNotJournaled,
    /// The renter takes each request to top up for a new one.
    EveryTopUpIsNew,
    /// The renter does not fetch its money back.
    NeverReclaims,
    /// The renter does not send its deposit again.
    NeverResends,
    /// The renter does not look after a deposit that was refused.
    RefusedDepositsAreForgotten,
    /// The renter's job hears nothing of nodes that are lost or whose lease ended.
    NeverRequeues,
    /// The renter's job takes a part that failed for done.
    FailedPartsAreDone,
    /// The renter's daemon comes back without its job's queue.
    QueueIsNotJournaled,
    /// The provider gives back what it earned on a deposit that a reorganisation took away and brought back.
    GivesBackWhatCameBack,
    /// The renter's daemon asks no machine what to do after a restart whose lease has ended.
    EndedLeasesAreForgotten,
    /// The renter's job does not know over how many leases it goes.
    QueueCountsNoLeases,
    /// The escrow takes a closing amount that the provider did not sign.
    EscrowClosesUnsigned,
    /// The provider's daemon does not ask its machines what to do after a restart.
    RestartsAreForgotten,
    /// The escrow opens a closed lease again.
    EscrowOpensAgain,
    /// The escrow lets the renter reclaim at the expiry.
    EscrowForgetsGrace,
    /// The renter that goes away signs ten times as far ahead as it says.
    SignsBeyondItsHorizon,
    /// The provider bills on for parts that are over while their renter is not heard.
    BillsIdleLeases,
    /// The provider's comparison with the chain settles all that was signed, each minute.
    ReconcilesTooMuch,
}

impl Bug {
    pub(super) const ALL: [Self; 34] = [
        Self::RefundIsForgotten,
        Self::ClaimIgnoresDeposit,
        Self::ClaimIgnoresReceipt,
        Self::ClaimIgnoresMeter,
        Self::EndIsNotJournaled,
        Self::ReceiptIsNotJournaled,
        Self::RenewsUnpaidWork,
        Self::NeverFreezes,
        Self::StartsUnpaidWork,
        Self::DepositCountsTwice,
        Self::ExposureIsPerLease,
        Self::ClosesTooEarly,
        Self::NeverThaws,
        Self::SignsWhatIsAsked,
        Self::BelievesTheMeter,
        Self::SignsBeforeDeposit,
        Self::SignedIsNotJournaled,
        Self::EveryTopUpIsNew,
        Self::NeverReclaims,
        Self::NeverResends,
        Self::RefusedDepositsAreForgotten,
        Self::NeverRequeues,
        Self::FailedPartsAreDone,
        Self::QueueIsNotJournaled,
        Self::GivesBackWhatCameBack,
        Self::EndedLeasesAreForgotten,
        Self::QueueCountsNoLeases,
        Self::EscrowClosesUnsigned,
        Self::RestartsAreForgotten,
        Self::EscrowOpensAgain,
        Self::EscrowForgetsGrace,
        Self::SignsBeyondItsHorizon,
        Self::BillsIdleLeases,
        Self::ReconcilesTooMuch,
    ];
}

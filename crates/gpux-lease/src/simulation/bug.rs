//! Planted bugs: each is what a wrong machine, daemon or escrow would do, seen from outside. For each invariant one
//! shows that breaking it is noticed.

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
}

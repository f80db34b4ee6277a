//! What a node works off in all on deposits that are not deep enough in the chain: one bound for all of its leases, so that
//! many small ones cost it no more than one large one when the chain takes blocks back.
//!
//! The provider keeps one [`Exposure`] and asks it for each lease after every event; what a lease holds is a fact of its machine
//! ([`ProviderEvent::ExposureShared`](crate::ProviderEvent)). Nothing waits here: a lease that gets no share freezes, and each
//! holder's share comes back by itself when its deposit is deep, or its end is.

use gpux_types::{Amount, LeaseId};
use std::collections::BTreeMap;

/// What a lease works on beyond what is deep enough of its deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposed {
    /// So far: a fact, whatever the bound.
    pub worked: Amount,
    /// With what it wants for going on until it is asked again; at least as much.
    pub wanted: Amount,
}

impl Exposed {
    /// The same of a lease that goes no further.
    #[must_use]
    pub const fn so_far(self) -> Self {
        Self {
            worked: self.worked,
            wanted: self.worked,
        }
    }
}

/// The node's bound and who holds what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    bound: Amount,
    shares: BTreeMap<LeaseId, Amount>,
    /// The sum of the shares; wider than an amount, since what was worked is a fact.
    taken: u128,
}

impl Exposure {
    /// Nothing is held of it yet.
    #[must_use]
    pub const fn new(bound: Amount) -> Self {
        Self {
            bound,
            shares: BTreeMap::new(),
            taken: 0,
        }
    }

    /// The most that all leases may hold together.
    #[must_use]
    pub const fn bound(&self) -> Amount {
        self.bound
    }

    /// What a lease holds from now on. More than before is given whole or not at all, so that work that goes on does so for a
    /// while; what it holds already it keeps as far as it wants it.
    pub fn share(&mut self, lease: LeaseId, exposed: Exposed) -> Amount {
        let before = self.shares.remove(&lease).unwrap_or_default();
        self.taken = self.taken.saturating_sub(before.units());
        let free = self.bound.units().saturating_sub(self.taken);
        let going_on = if exposed.wanted.units() <= free {
            exposed.wanted
        } else {
            before.min(exposed.wanted)
        };
        let share = going_on.max(exposed.worked);
        if share > Amount::ZERO {
            self.shares.insert(lease, share);
            self.taken = self.taken.saturating_add(share.units());
        }
        share
    }

    /// What all leases hold together.
    #[must_use]
    pub const fn taken(&self) -> u128 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(units: u128) -> Amount {
        Amount::new(units).unwrap()
    }

    fn lease(index: u8) -> LeaseId {
        LeaseId([index; 32])
    }

    fn exposed(worked: u128, wanted: u128) -> Exposed {
        Exposed {
            worked: amount(worked),
            wanted: amount(wanted),
        }
    }

    #[test]
    fn many_small_leases_hold_no_more_together_than_one_large_one() {
        let mut exposure = Exposure::new(amount(100));
        let given = (0..50).map(|index| exposure.share(lease(index), exposed(0, 6)).units());
        assert_eq!(
            given.sum::<u128>(),
            96,
            "sixteen of six each; none gets a part of what it wants"
        );
        assert_eq!(exposure.taken(), 96);
        assert_eq!(exposure.share(lease(99), exposed(0, 4)), amount(4));
        assert_eq!(exposure.share(lease(98), exposed(0, 1)), Amount::ZERO);
    }

    #[test]
    fn who_gets_no_more_keeps_what_it_holds_and_goes_on_when_others_are_deep() {
        let mut exposure = Exposure::new(amount(10));
        assert_eq!(exposure.share(lease(1), exposed(0, 6)), amount(6));
        assert_eq!(exposure.share(lease(2), exposed(0, 6)), Amount::ZERO);
        assert_eq!(
            exposure.share(lease(1), exposed(5, 11)),
            amount(6),
            "no more, and no less"
        );
        assert_eq!(
            exposure.share(lease(1), exposed(5, 5).so_far()),
            amount(5),
            "it has ended, and is not deep"
        );
        assert_eq!(exposure.share(lease(2), exposed(0, 6)), Amount::ZERO);
        assert_eq!(exposure.share(lease(1), Exposed::default()), Amount::ZERO, "it is deep");
        assert_eq!(exposure.share(lease(2), exposed(0, 6)), amount(6));
    }

    #[test]
    fn what_was_worked_counts_although_it_is_more_than_the_bound() {
        let mut exposure = Exposure::new(amount(10));
        assert_eq!(exposure.share(lease(1), exposed(25, 31)), amount(25));
        assert_eq!(exposure.share(lease(2), exposed(0, 1)), Amount::ZERO);
        assert_eq!(exposure.taken(), 25);
    }

    proptest! {
        #[test]
        fn nothing_is_given_beyond_the_bound_and_every_share_comes_back(
            bound in 0u128..200, asks in prop::collection::vec((0u8..8, 0u128..50, 0u128..50), 0..100),
        ) {
            let mut exposure = Exposure::new(amount(bound));
            let mut held = BTreeMap::new();
            for (of, worked, more) in asks {
                let share = exposure.share(lease(of), exposed(worked, worked + more));
                let before = held.insert(of, share).unwrap_or(Amount::ZERO);
                prop_assert!(share >= amount(worked) && share <= amount(worked + more));
                let sum: u128 = held.values().map(|share| share.units()).sum();
                prop_assert_eq!(exposure.taken(), sum);
                prop_assert!(sum <= bound || share <= before.max(amount(worked)));
            }
            for of in held.keys() {
                exposure.share(lease(*of), Exposed::default());
            }
            prop_assert_eq!(exposure, Exposure::new(amount(bound)));
        }
    }
}

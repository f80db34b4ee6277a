//! How much of the node is free: a pure account of what is leased and what is held by quotes.
//!
//! Invariants: leased plus held never exceed the total; a wallet holds at most one quote; resources come back only when
//! the work is gone.

use gpux_types::{Address, LeaseId, Millis, Resources};
use std::collections::BTreeMap;

/// Why resources are not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HoldError {
    /// Less is free than was asked for.
    #[error("holding {wanted:?}: {free:?} is free")]
    NoRoom {
        /// What was asked for.
        wanted: Resources,
        /// What is free.
        free: Resources,
    },
    /// Quotes hold as much as they may.
    #[error("holding resources for a quote: other quotes hold half of this node")]
    QuotesFull,
}

/// What one quote holds.
#[derive(Debug)]
pub(crate) struct Quoted {
    /// The lease that it would become.
    pub(crate) lease: LeaseId,
    /// What is held.
    pub(crate) resources: Resources,
    /// Until when.
    pub(crate) until: Millis,
}

/// The account of one node.
#[derive(Debug)]
pub(crate) struct Capacity {
    total: Resources,
    leased: BTreeMap<LeaseId, Resources>,
    quoted: BTreeMap<Address, Quoted>,
}

impl Capacity {
    /// Nothing leased, nothing held.
    pub(crate) const fn new(total: Resources) -> Self {
        Self {
            total,
            leased: BTreeMap::new(),
            quoted: BTreeMap::new(),
        }
    }

    /// All that is offered.
    pub(crate) const fn total(&self) -> Resources {
        self.total
    }

    /// What is not leased; quotes are not counted, since they end by themselves.
    pub(crate) fn free(&self) -> Resources {
        let taken = self
            .leased
            .values()
            .fold(Resources::default(), |sum, resources| sum.plus(resources));
        self.total.minus(&taken)
    }

    /// The lease that the present quote of a wallet would become.
    pub(crate) fn quoted_to(&self, wallet: Address, now: Millis) -> Option<LeaseId> {
        let quote = self.quoted.get(&wallet).filter(|quote| quote.until > now);
        quote.map(|quote| quote.lease)
    }

    /// Holds resources for a quote, replacing an earlier quote of the same wallet.
    pub(crate) fn hold(&mut self, wallet: Address, quote: Quoted, now: Millis) -> Result<(), HoldError> {
        let resources = quote.resources;
        self.quoted.retain(|_, quote| quote.until > now);
        let others = self.quoted.iter().filter(|(holder, _)| **holder != wallet);
        let held = others.fold(Resources::default(), |sum, (_, quote)| sum.plus(&quote.resources));
        let free = self.free().minus(&held);
        if !free.covers(&resources) {
            return Err(HoldError::NoRoom {
                wanted: resources,
                free,
            });
        }
        let twice = held.plus(&resources).plus(&held).plus(&resources);
        if held != Resources::default() && !self.total.covers(&twice) {
            return Err(HoldError::QuotesFull);
        }
        self.quoted.insert(wallet, quote);
        Ok(())
    }

    /// Turns a quote that still holds into a lease; false when it does not hold any more.
    pub(crate) fn take(&mut self, wallet: Address, lease: LeaseId, now: Millis) -> bool {
        match self.quoted.get(&wallet) {
            Some(quote) if quote.lease == lease && quote.until > now => {
                self.leased.insert(lease, quote.resources);
                self.quoted.remove(&wallet);
                true
            }
            _ => false,
        }
    }

    /// Counts a lease that an earlier daemon took on.
    pub(crate) fn adopt(&mut self, lease: LeaseId, resources: Resources) {
        self.leased.insert(lease, resources);
    }

    /// Gives back what a lease held. Call it only when its work is gone.
    pub(crate) fn release(&mut self, lease: LeaseId) {
        self.leased.remove(&lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::{ByteSize, Cpu};

    fn some(cores: u32) -> Resources {
        Resources {
            cpu: Cpu::cores(cores),
            memory: ByteSize(u64::from(cores) << 30),
            disk: ByteSize(u64::from(cores) << 30),
        }
    }

    fn quote(byte: u8, cores: u32) -> Quoted {
        Quoted {
            lease: lease(byte),
            resources: some(cores),
            until: Millis(30),
        }
    }

    fn wallet(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }

    fn lease(byte: u8) -> LeaseId {
        LeaseId([byte; 32])
    }

    #[test]
    fn a_quote_becomes_a_lease_only_while_it_holds_and_only_its_own() {
        let mut capacity = Capacity::new(some(8));
        capacity.hold(wallet(1), quote(1, 4), Millis(0)).unwrap();
        assert!(!capacity.take(wallet(1), lease(2), Millis(1)), "another lease");
        assert!(!capacity.take(wallet(2), lease(1), Millis(1)), "another wallet");
        assert!(!capacity.take(wallet(1), lease(1), Millis(30)), "too late");
        assert_eq!(capacity.quoted_to(wallet(1), Millis(29)), Some(lease(1)));
        assert_eq!(capacity.quoted_to(wallet(1), Millis(30)), None);
        assert!(capacity.take(wallet(1), lease(1), Millis(29)));
        assert_eq!(capacity.quoted_to(wallet(1), Millis(29)), None, "it is a lease now");
        assert_eq!(capacity.free(), some(4));
        capacity.release(lease(1));
        assert_eq!(capacity.free(), some(8));
    }

    #[test]
    fn quotes_together_hold_at_most_half_but_one_alone_may_hold_all() {
        let mut capacity = Capacity::new(some(8));
        capacity.hold(wallet(1), quote(1, 8), Millis(0)).unwrap();
        assert!(matches!(
            capacity.hold(wallet(2), quote(2, 1), Millis(1)),
            Err(HoldError::NoRoom { .. })
        ));
        capacity.hold(wallet(1), quote(3, 3), Millis(1)).unwrap();
        assert_eq!(
            capacity.hold(wallet(2), quote(2, 2), Millis(1)),
            Err(HoldError::QuotesFull)
        );
        capacity.hold(wallet(2), quote(2, 1), Millis(1)).unwrap();
    }

    #[test]
    fn leased_resources_are_never_quoted() {
        let mut capacity = Capacity::new(some(8));
        capacity.adopt(lease(9), some(6));
        assert!(matches!(
            capacity.hold(wallet(1), quote(1, 3), Millis(0)),
            Err(HoldError::NoRoom { .. })
        ));
        capacity.hold(wallet(1), quote(1, 2), Millis(0)).unwrap();
    }
}

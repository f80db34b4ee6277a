//! How much of the node is free: a pure account of what is leased and what is held by quotes.
//!
//! Invariants: leased plus held never exceed the total; a wallet holds at most one quote; resources come back only when
//! the work is gone; a quote that lapsed never becomes a lease.

use gpux_proto::QuoteRequest;
use gpux_types::{Address, LeaseId, Millis, Resources};
use std::collections::{BTreeMap, VecDeque};

/// How long it is remembered that a quote lapsed: as long as a deposit is waited for that comes too late for its lease.
const LAPSED_KEPT: Millis = Millis::from_secs(3_600);
/// How many quotes that lapsed are remembered; the oldest go first.
const MAX_LAPSED: usize = 4_096;
/// And of one wallet: nobody else's is forgotten for whoever asks for quotes in a loop.
const MAX_LAPSED_OF_ONE: usize = 16;

/// Why resources are not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HoldError {
    /// Less is free than was asked for.
    #[error("holding {wanted:?}: {free:?} is free")]
    NoRoom {
        /// What was asked for.
        wanted: Share,
        /// What is free.
        free: Share,
    },
    /// Quotes hold as much as they may.
    #[error("holding resources for a quote: other quotes hold half of this node")]
    QuotesFull,
}

/// What one lease or quote holds of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) resources: Resources,
    /// How many of the node's GPUs.
    pub(crate) gpus: u32,
}

impl Share {
    /// What a request wants held.
    pub(crate) fn of(request: &QuoteRequest) -> Self {
        Self {
            resources: request.resources,
            gpus: request.needs.gpu_count(),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            resources: self.resources.plus(&other.resources),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    fn minus(&self, other: &Self) -> Self {
        Self {
            resources: self.resources.minus(&other.resources),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.resources.covers(&other.resources) && self.gpus >= other.gpus
    }
}

/// What one quote holds.
#[derive(Debug)]
pub(crate) struct Quoted {
    /// The lease that it would become.
    pub(crate) lease: LeaseId,
    /// What is held.
    pub(crate) share: Share,
    /// Until when.
    pub(crate) until: Millis,
}

/// A quote that was given here and became no lease.
#[derive(Debug)]
struct Lapsed {
    wallet: Address,
    lease: LeaseId,
    /// Until when that is remembered.
    until: Millis,
}

/// The account of one node.
#[derive(Debug)]
pub(crate) struct Capacity {
    total: Share,
    leased: BTreeMap<LeaseId, Share>,
    quoted: BTreeMap<Address, Quoted>,
    /// The oldest first. In memory only: what an older copy of the database says of a lease may not be the last word.
    lapsed: VecDeque<Lapsed>,
}

impl Capacity {
    /// Nothing leased, nothing held.
    pub(crate) const fn new(total: Share) -> Self {
        Self {
            total,
            leased: BTreeMap::new(),
            quoted: BTreeMap::new(),
            lapsed: VecDeque::new(),
        }
    }

    /// All that is offered.
    pub(crate) const fn total(&self) -> Share {
        self.total
    }

    /// What is not leased; quotes are not counted, since they end by themselves.
    pub(crate) fn free(&self) -> Share {
        let taken = self
            .leased
            .values()
            .fold(Share::default(), |sum, share| sum.plus(share));
        self.total.minus(&taken)
    }

    /// The lease that the present quote of a wallet would become.
    pub(crate) fn quoted_to(&self, wallet: Address, now: Millis) -> Option<LeaseId> {
        let quote = self.quoted.get(&wallet).filter(|quote| quote.until > now);
        quote.map(|quote| quote.lease)
    }

    /// Holds resources for a quote, replacing an earlier quote of the same wallet.
    pub(crate) fn hold(&mut self, wallet: Address, quote: Quoted, now: Millis) -> Result<(), HoldError> {
        let share = quote.share;
        self.let_lapse(now);
        let others = self.quoted.iter().filter(|(holder, _)| **holder != wallet);
        let held = others.fold(Share::default(), |sum, (_, quote)| sum.plus(&quote.share));
        let free = self.free().minus(&held);
        if !free.covers(&share) {
            return Err(HoldError::NoRoom { wanted: share, free });
        }
        let twice = held.plus(&share).plus(&held).plus(&share);
        if held != Share::default() && !self.total.covers(&twice) {
            return Err(HoldError::QuotesFull);
        }
        if let Some(older) = self.quoted.insert(wallet, quote) {
            self.remember_lapsed(wallet, older.lease, now);
        }
        Ok(())
    }

    /// Ends the quotes whose time is over.
    fn let_lapse(&mut self, now: Millis) {
        let over = self.quoted.iter().filter(|(_, quote)| quote.until <= now);
        let over: Vec<(Address, LeaseId)> = over.map(|(wallet, quote)| (*wallet, quote.lease)).collect();
        for (wallet, lease) in over {
            self.quoted.remove(&wallet);
            self.remember_lapsed(wallet, lease, now);
        }
    }

    fn remember_lapsed(&mut self, wallet: Address, lease: LeaseId, now: Millis) {
        self.lapsed.retain(|known| known.until > now);
        let of_one = self.lapsed.iter().filter(|known| known.wallet == wallet).count();
        let oldest = if of_one >= MAX_LAPSED_OF_ONE {
            self.lapsed.iter().position(|known| known.wallet == wallet)
        } else {
            (self.lapsed.len() >= MAX_LAPSED).then_some(0)
        };
        if let Some(oldest) = oldest {
            self.lapsed.remove(oldest);
        }
        self.lapsed.push_back(Lapsed {
            wallet,
            lease,
            until: now.saturating_add(LAPSED_KEPT),
        });
    }

    /// Whether the lease is of a quote that was given here, since this daemon runs, and became none.
    pub(crate) fn has_lapsed(&mut self, lease: LeaseId, now: Millis) -> bool {
        self.let_lapse(now);
        let mut known = self.lapsed.iter();
        known.any(|lapsed| lapsed.lease == lease && lapsed.until > now)
    }

    /// How many quotes hold something.
    pub(crate) fn quotes(&self, now: Millis) -> usize {
        self.quoted.values().filter(|quote| quote.until > now).count()
    }

    /// Ends a quote whose renter does not want it. One that became a lease stays what it is.
    pub(crate) fn let_go(&mut self, wallet: Address, lease: LeaseId, now: Millis) {
        if self.quoted.get(&wallet).is_some_and(|quote| quote.lease == lease) {
            self.quoted.remove(&wallet);
            self.remember_lapsed(wallet, lease, now);
        }
    }

    /// Turns a quote that still holds into a lease; false when it does not hold any more.
    pub(crate) fn take(&mut self, wallet: Address, lease: LeaseId, now: Millis) -> bool {
        match self.quoted.get(&wallet) {
            Some(quote) if quote.lease == lease && quote.until > now => {
                self.leased.insert(lease, quote.share);
                self.quoted.remove(&wallet);
                true
            }
            _ => false,
        }
    }

    /// Counts a lease that an earlier daemon took on.
    pub(crate) fn adopt(&mut self, lease: LeaseId, share: Share) {
        self.leased.insert(lease, share);
    }

    /// Gives back what a lease held that never came to work, and never will.
    pub(crate) fn give_up(&mut self, wallet: Address, lease: LeaseId, now: Millis) {
        self.release(lease);
        self.remember_lapsed(wallet, lease, now);
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

    fn some(cores: u32) -> Share {
        let resources = Resources {
            cpu: Cpu::cores(cores),
            memory: ByteSize(u64::from(cores) << 30),
            disk: ByteSize(u64::from(cores) << 30),
        };
        Share { resources, gpus: 0 }
    }

    fn quote(byte: u8, cores: u32) -> Quoted {
        Quoted {
            lease: lease(byte),
            share: some(cores),
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
    fn only_a_quote_that_was_given_and_not_taken_has_lapsed() {
        let mut capacity = Capacity::new(some(8));
        assert!(!capacity.has_lapsed(lease(1), Millis(99)), "it was never given here");
        capacity.hold(wallet(1), quote(1, 1), Millis(0)).unwrap();
        assert!(!capacity.has_lapsed(lease(1), Millis(29)), "it holds");
        capacity.hold(wallet(1), quote(2, 1), Millis(1)).unwrap();
        assert!(capacity.has_lapsed(lease(1), Millis(1)), "another took its place");
        assert!(capacity.take(wallet(1), lease(2), Millis(2)));
        assert!(!capacity.has_lapsed(lease(2), Millis(99)), "it is a lease");
        capacity.release(lease(2));
        assert!(!capacity.has_lapsed(lease(2), Millis(99)), "it was a lease");
        capacity.hold(wallet(2), quote(3, 1), Millis(2)).unwrap();
        assert!(capacity.has_lapsed(lease(3), Millis(30)), "its time is over");
        assert!(!capacity.take(wallet(2), lease(3), Millis(30)), "for ever");
        capacity.adopt(lease(4), some(1));
        capacity.give_up(wallet(3), lease(4), Millis(30));
        assert!(capacity.has_lapsed(lease(4), Millis(30)), "it came to nothing");
        assert_eq!(capacity.free(), some(8));
        let forgotten = Millis(30).saturating_add(LAPSED_KEPT);
        assert!(capacity.has_lapsed(lease(4), Millis(forgotten.0 - 1)));
        assert!(!capacity.has_lapsed(lease(4), forgotten));
    }

    #[test]
    fn quotes_in_a_loop_make_nobody_elses_forgotten_and_no_list_endless() {
        let mut capacity = Capacity::new(some(8));
        let number = |number: usize| LeaseId(*blake3::hash(&number.to_be_bytes()).as_bytes());
        capacity.give_up(wallet(1), lease(1), Millis(0));
        for round in 0..MAX_LAPSED * 2 {
            capacity.give_up(wallet(2), number(round), Millis(1));
        }
        assert!(capacity.has_lapsed(lease(1), Millis(2)), "another wallet's");
        assert!(capacity.has_lapsed(number(MAX_LAPSED * 2 - 1), Millis(2)), "the newest");
        assert_eq!(capacity.lapsed.len(), 1 + MAX_LAPSED_OF_ONE);
        for round in 0..MAX_LAPSED * 2 {
            let wallet = Address::from_word(gpux_types::B256::from(number(round).0));
            capacity.give_up(wallet, number(round), Millis(3));
        }
        assert_eq!(capacity.lapsed.len(), MAX_LAPSED);
        assert!(!capacity.has_lapsed(lease(1), Millis(4)), "the oldest");
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

    #[test]
    fn a_gpu_is_held_by_one_lease_alone() {
        let with = |cores, gpus| Share { gpus, ..some(cores) };
        let mut capacity = Capacity::new(with(8, 2));
        let asked = |byte, gpus| Quoted {
            share: with(1, gpus),
            ..quote(byte, 1)
        };
        capacity.hold(wallet(1), asked(1, 2), Millis(0)).unwrap();
        assert!(
            capacity.hold(wallet(2), asked(2, 1), Millis(1)).is_err(),
            "both are held"
        );
        assert!(capacity.take(wallet(1), lease(1), Millis(1)));
        assert_eq!(capacity.free(), with(7, 0));
        assert!(
            capacity.hold(wallet(2), asked(2, 1), Millis(1)).is_err(),
            "both are leased"
        );
        capacity.hold(wallet(2), asked(2, 0), Millis(1)).unwrap();
        capacity.release(lease(1));
        assert_eq!(capacity.free(), with(8, 2));
    }
}

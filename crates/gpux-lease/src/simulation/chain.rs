//! The escrow and the chain below it: a slot for each lease, what everybody owns, blocks, calls that wait for their
//! fee, and reorganisations that take blocks back.
//!
//! It says what the contract says (`docs/spec/terms-and-receipts.md`) and refuses what the contract refuses.

use super::bug::Bug;
use super::host::Head;
use crate::lifecycle::EscrowView;
use crate::receipt::VerifiedReceipt;
use crate::settlement::Settlement;
use gpux_types::{Amount, BasisPoints, UnixSeconds};

pub(super) const BLOCK_SECS: u64 = 2;
pub(super) const GRACE_SECS: u64 = 60;
/// Block time when the world begins.
pub(super) const GENESIS: u64 = 1_800_000_000;
/// What each node owns at first.
pub(super) const PURSE: u128 = 1 << 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Open {
        deposit: Amount,
        expiry: UnixSeconds,
    },
    TopUp {
        number: u32,
        amount: Amount,
    },
    Settle {
        amount: Amount,
        receipt: Option<VerifiedReceipt>,
    },
    Draw {
        amount: Amount,
        receipt: VerifiedReceipt,
    },
    /// With the provider's signature over the amount, or with none.
    Close {
        amount: Amount,
        signed: bool,
    },
    Reclaim,
}

/// Whose money a lease moves. Fixed by its terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payees {
    pub(super) renter: usize,
    pub(super) provider: usize,
    pub(super) share: BasisPoints,
}

/// What one lease's slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) deposit: Amount,
    pub(super) claimed: Amount,
    pub(super) expiry: UnixSeconds,
    pub(super) status: Status,
    /// What it moved, for the world's audit.
    to_builder: u128,
    refunded: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    None,
    Open,
    Closed,
}

/// Who owns what after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Books {
    purses: Vec<u128>,
    builders: u128,
    escrow: u128,
    slots: Vec<Slot>,
}

/// A call that is not mined yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    lease: usize,
    call: Call,
    /// Its fee is too low until then.
    not_before_ms: u64,
}

#[derive(Debug)]
pub(super) struct Chain {
    leases: Vec<Payees>,
    /// After each block, the newest last.
    history: Vec<Books>,
    pending: Vec<Pending>,
    mined: Vec<(usize, usize, Call)>,
    bug: Option<Bug>,
}

impl Chain {
    pub(super) fn new(nodes: usize, leases: Vec<Payees>, bug: Option<Bug>) -> Self {
        let slot = Slot {
            deposit: Amount::ZERO,
            claimed: Amount::ZERO,
            expiry: UnixSeconds(0),
            status: Status::None,
            to_builder: 0,
            refunded: 0,
        };
        let books = Books {
            purses: vec![PURSE; nodes],
            builders: 0,
            escrow: 0,
            slots: vec![slot; leases.len()],
        };
        Self {
            leases,
            history: vec![books],
            pending: Vec::new(),
            mined: Vec::new(),
            bug,
        }
    }

    fn books(&self) -> &Books {
        self.history.last().unwrap()
    }

    pub(super) fn slot(&self, lease: usize) -> &Slot {
        &self.books().slots[lease]
    }

    pub(super) fn time(&self) -> UnixSeconds {
        UnixSeconds(GENESIS + BLOCK_SECS * (self.history.len() as u64 - 1))
    }

    /// Like the daemon's sender: the same intent goes out once, and is sent again with a better fee by itself.
    pub(super) fn send(&mut self, lease: usize, call: Call, not_before_ms: u64) {
        let same = |other: &Call| match (other, &call) {
            (Call::TopUp { number: a, .. }, Call::TopUp { number: b, .. }) => a == b,
            (Call::Draw { amount: a, .. }, Call::Draw { amount: b, .. }) => a == b,
            _ => std::mem::discriminant(other) == std::mem::discriminant(&call),
        };
        let waits = self
            .pending
            .iter()
            .any(|other| other.lease == lease && same(&other.call));
        if !waits && !self.mined.iter().any(|(_, of, other)| *of == lease && same(other)) {
            self.force(lease, call, not_before_ms);
        }
    }

    /// Like a sender that wants to cheat: whatever was sent before.
    pub(super) fn force(&mut self, lease: usize, call: Call, not_before_ms: u64) {
        self.pending.push(Pending {
            lease,
            call,
            not_before_ms,
        });
    }

    /// Nothing that waits is mined before then.
    pub(super) fn raise_fees(&mut self, until_ms: u64) {
        for pending in &mut self.pending {
            pending.not_before_ms = pending.not_before_ms.max(until_ms);
        }
    }

    /// Whether the provider's time to settle is over.
    pub(super) fn is_reclaimable(&self, lease: usize) -> bool {
        self.time() > self.slot(lease).expiry.plus_secs(GRACE_SECS)
    }

    pub(super) fn is_mined(&self, lease: usize, wanted: impl Fn(&Call) -> bool) -> bool {
        self.mined.iter().any(|(_, of, call)| *of == lease && wanted(call))
    }

    /// Whether nothing waits to be mined.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn mine(&mut self, at_ms: u64) {
        let height = self.history.len();
        let mut books = self.books().clone();
        self.history.push(books.clone());
        let time = self.time();
        let mut left = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let Pending { lease, call, .. } = pending;
            if pending.not_before_ms > at_ms {
                left.push(pending);
            } else if self.apply(&mut books, lease, call, time) {
                self.mined.push((height, lease, call));
            } else if matches!(call, Call::TopUp { .. }) && books.slots[lease].status == Status::None {
                left.push(pending);
            }
        }
        self.pending = left;
        *self.history.last_mut().unwrap() = books;
    }

    /// Whether it did not revert.
    fn apply(&self, books: &mut Books, lease: usize, call: Call, time: UnixSeconds) -> bool {
        let slot = books.slots[lease];
        let renter = self.leases[lease].renter;
        let reuse = self.bug == Some(Bug::EscrowOpensAgain) && slot.status == Status::Closed;
        match call {
            Call::Open { deposit, expiry } if slot.status == Status::None || reuse => {
                books.purses[renter] -= deposit.units();
                books.escrow += deposit.units();
                let slot = &mut books.slots[lease];
                (slot.deposit, slot.expiry, slot.status) = (deposit, expiry, Status::Open);
                true
            }
            Call::TopUp { amount, .. } if slot.status == Status::Open => {
                books.purses[renter] -= amount.units();
                books.escrow += amount.units();
                books.slots[lease].deposit = slot.deposit.checked_add(amount).unwrap();
                true
            }
            Call::Settle { amount, receipt } if slot.status == Status::Open => {
                let most = receipt.map_or(Amount::ZERO, |receipt| receipt.cumulative());
                if amount > most {
                    return false;
                }
                self.close(books, lease, amount);
                true
            }
            Call::Draw { amount, receipt } if slot.status == Status::Open => {
                let more = amount.min(slot.deposit) > slot.claimed;
                let owed = amount <= receipt.cumulative();
                if more && owed {
                    self.pay(books, lease, amount);
                }
                more && owed
            }
            Call::Close { amount, signed }
                if slot.status == Status::Open && (signed || self.bug == Some(Bug::EscrowClosesUnsigned)) =>
            {
                self.close(books, lease, amount);
                true
            }
            Call::Reclaim if slot.status == Status::Open && self.may_reclaim(&slot, time) => {
                self.close(books, lease, Amount::ZERO);
                true
            }
            Call::Open { .. }
            | Call::TopUp { .. }
            | Call::Settle { .. }
            | Call::Draw { .. }
            | Call::Close { .. }
            | Call::Reclaim => false,
        }
    }

    fn may_reclaim(&self, slot: &Slot, time: UnixSeconds) -> bool {
        let grace = if self.bug == Some(Bug::EscrowForgetsGrace) {
            0
        } else {
            GRACE_SECS
        };
        time > slot.expiry.plus_secs(grace)
    }

    /// Pays provider and builder up to `amount` over the lease's life; gives what the renter would get back now.
    fn pay(&self, books: &mut Books, lease: usize, amount: Amount) -> Amount {
        let Payees { provider, share, .. } = self.leases[lease];
        let slot = &mut books.slots[lease];
        let paid = Settlement::of(slot.deposit, slot.claimed, amount, share);
        slot.claimed = paid.claimed;
        slot.to_builder += paid.to_builder.units();
        books.builders += paid.to_builder.units();
        books.purses[provider] += paid.to_provider.units();
        books.escrow -= paid.to_builder.units() + paid.to_provider.units();
        paid.refund
    }

    fn close(&self, books: &mut Books, lease: usize, amount: Amount) {
        let renter = self.leases[lease].renter;
        let refund = self.pay(books, lease, amount).units();
        let slot = &mut books.slots[lease];
        slot.status = Status::Closed;
        slot.refunded += refund;
        if self.bug != Some(Bug::RefundIsForgotten) {
            books.purses[renter] += refund;
        }
        books.escrow -= refund;
    }

    /// Takes `blocks` back and mines as many anew; their calls wait again, the openings maybe never.
    pub(super) fn reorganise(&mut self, blocks: u32, drops_open: bool) {
        let keep = self.history.len().saturating_sub(blocks as usize).max(1);
        let lost = self.history.len() - keep;
        self.history.truncate(keep);
        let (kept, back): (Vec<_>, Vec<_>) = self.mined.drain(..).partition(|(height, ..)| *height < keep);
        self.mined = kept;
        let dropped = |call: &Call| drops_open && matches!(call, Call::Open { .. });
        let back = back.into_iter().filter(|(.., call)| !dropped(call));
        let waiting = std::mem::take(&mut self.pending);
        for _ in 0..lost {
            self.history.push(self.books().clone());
        }
        let again = back.map(|(_, lease, call)| Pending {
            lease,
            call,
            not_before_ms: 0,
        });
        self.pending = again.chain(waiting).collect();
    }

    /// What somebody sees who relies on money that is `depth` blocks deep, and on an end as deep as `end_depth`; at
    /// the endpoint's head `behind` blocks ago.
    pub(super) fn view(&self, lease: usize, behind: u32, (depth, end_depth): (u32, u32)) -> EscrowView {
        let at = |depth: u32| {
            let index = (self.history.len() - 1).saturating_sub(depth as usize + behind as usize);
            &self.history[index].slots[lease]
        };
        let (newest, deep) = (at(0), at(depth));
        match newest.status {
            Status::None => EscrowView::Absent,
            Status::Closed if at(end_depth).status == Status::Closed => EscrowView::Closed { paid: newest.claimed },
            Status::Open | Status::Closed => EscrowView::Open {
                deposit: newest.deposit,
                assured: deep.deposit.min(newest.deposit),
                drawn: if newest.status == Status::Open {
                    newest.claimed
                } else {
                    Amount::ZERO
                },
                expiry: newest.expiry,
            },
        }
    }

    /// Which head an endpoint shows, as blocks behind and seconds ahead; `None` when it does not answer.
    pub(super) fn behind(&self, head: Head) -> Option<(u32, u64)> {
        match head {
            Head::Newest => Some((0, 0)),
            Head::Stalled => None,
            Head::Stale(blocks) => Some((blocks, 0)),
            Head::Flapping(blocks) => Some((blocks * u32::from(self.history.len().is_multiple_of(2)), 0)),
            Head::Ahead(secs) => Some((0, secs)),
        }
    }

    /// What is wrong with the money: some appeared or vanished, the escrow holds more or less than its leases say, or
    /// somebody was paid by a lease that is not theirs.
    pub(super) fn fault(&self) -> Option<String> {
        let books = self.books();
        let all = PURSE * books.purses.len() as u128;
        let there = books.purses.iter().sum::<u128>() + books.builders + books.escrow;
        if there != all {
            return Some(format!("{there} of {all}"));
        }
        let mut purses = vec![PURSE; books.purses.len()];
        let mut held = 0;
        for (payees, slot) in self.leases.iter().zip(&books.slots) {
            let deposit = slot.deposit.units();
            purses[payees.renter] -= deposit;
            if slot.status == Status::Open {
                held += deposit - slot.claimed.units();
                purses[payees.provider] += slot.claimed.units() - slot.to_builder;
            } else {
                purses[payees.renter] += slot.refunded;
                purses[payees.provider] += deposit.saturating_sub(slot.refunded + slot.to_builder);
            }
        }
        if held != books.escrow {
            return Some(format!("the escrow holds {} for leases of {held}", books.escrow));
        }
        (purses != books.purses).then(|| format!("{:?} instead of {purses:?}", books.purses))
    }
}

//! The escrow and the chain below it: one lease's slot, balances, blocks, and reorganisations that take blocks back.

use super::bug::Bug;
use crate::lifecycle::EscrowView;
use crate::receipt::VerifiedReceipt;
use crate::settlement::Settlement;
use gpux_types::{Amount, BasisPoints, UnixSeconds};

pub(super) const BLOCK_SECS: u64 = 2;
pub(super) const GRACE_SECS: u64 = 60;
/// Block time when the world begins.
pub(super) const GENESIS: u64 = 1_800_000_000;
/// What everybody owns together.
pub(super) const ALL_MONEY: u128 = 1 << 100;

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
    /// With the provider's signature over the amount.
    Close {
        amount: Amount,
    },
    Reclaim,
}

/// Who owns what, and the lease's slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) renter: u128,
    pub(super) provider: u128,
    pub(super) builder: u128,
    pub(super) escrow: u128,
    pub(super) deposit: Amount,
    pub(super) claimed: Amount,
    pub(super) expiry: UnixSeconds,
    pub(super) status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    None,
    Open,
    Closed,
}

#[derive(Debug)]
pub(super) struct Chain {
    /// After each block, the newest last.
    history: Vec<Books>,
    pending: Vec<Call>,
    mined: Vec<(usize, Call)>,
    share: BasisPoints,
    bug: Option<Bug>,
}

impl Chain {
    pub(super) fn new(share: BasisPoints, bug: Option<Bug>) -> Self {
        let books = Books {
            renter: ALL_MONEY,
            provider: 0,
            builder: 0,
            escrow: 0,
            deposit: Amount::ZERO,
            claimed: Amount::ZERO,
            expiry: UnixSeconds(0),
            status: Status::None,
        };
        Self {
            history: vec![books],
            pending: Vec::new(),
            mined: Vec::new(),
            share,
            bug,
        }
    }

    pub(super) fn books(&self) -> &Books {
        self.history.last().unwrap()
    }

    pub(super) fn time(&self) -> UnixSeconds {
        UnixSeconds(GENESIS + BLOCK_SECS * (self.history.len() as u64 - 1))
    }

    /// Like the daemon's sender: the same intent goes out once.
    pub(super) fn send(&mut self, call: Call) {
        let same = |other: &Call| match (other, &call) {
            (Call::TopUp { number: a, .. }, Call::TopUp { number: b, .. }) => a == b,
            _ => std::mem::discriminant(other) == std::mem::discriminant(&call),
        };
        if !self.pending.iter().any(same) && !self.mined.iter().any(|(_, other)| same(other)) {
            self.pending.push(call);
        }
    }

    /// Whether the provider's time to settle is over.
    pub(super) fn is_reclaimable(&self) -> bool {
        self.time() > self.books().expiry.plus_secs(GRACE_SECS)
    }

    pub(super) fn is_mined(&self, wanted: impl Fn(&Call) -> bool) -> bool {
        self.mined.iter().any(|(_, call)| wanted(call))
    }

    /// Whether nothing waits to be mined.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn mine(&mut self) {
        let height = self.history.len();
        let mut books = self.books().clone();
        self.history.push(books.clone());
        let time = self.time();
        let mut left = Vec::new();
        for call in std::mem::take(&mut self.pending) {
            if self.apply(&mut books, call, time) {
                self.mined.push((height, call));
            } else if matches!(call, Call::TopUp { .. }) && books.status == Status::None {
                left.push(call);
            }
        }
        self.pending = left;
        *self.history.last_mut().unwrap() = books;
    }

    /// Whether it did not revert.
    fn apply(&self, books: &mut Books, call: Call, time: UnixSeconds) -> bool {
        match call {
            Call::Open { deposit, expiry } if books.status == Status::None => {
                books.renter -= deposit.units();
                books.escrow += deposit.units();
                (books.deposit, books.expiry, books.status) = (deposit, expiry, Status::Open);
                true
            }
            Call::TopUp { amount, .. } if books.status == Status::Open => {
                books.renter -= amount.units();
                books.escrow += amount.units();
                books.deposit = books.deposit.checked_add(amount).unwrap();
                true
            }
            Call::Settle { amount, receipt } if books.status == Status::Open => {
                if amount > receipt.map_or(Amount::ZERO, |receipt| receipt.cumulative()) {
                    return false;
                }
                self.close(books, amount);
                true
            }
            Call::Close { amount } if books.status == Status::Open => {
                self.close(books, amount);
                true
            }
            Call::Reclaim if books.status == Status::Open && time > books.expiry.plus_secs(GRACE_SECS) => {
                self.close(books, Amount::ZERO);
                true
            }
            Call::Open { .. } | Call::TopUp { .. } | Call::Settle { .. } | Call::Close { .. } | Call::Reclaim => false,
        }
    }

    fn close(&self, books: &mut Books, amount: Amount) {
        let paid = Settlement::of(books.deposit, books.claimed, amount, self.share);
        books.builder += paid.to_builder.units();
        books.provider += paid.to_provider.units();
        books.renter += if self.bug == Some(Bug::RefundIsForgotten) {
            0
        } else {
            paid.refund.units()
        };
        books.escrow -= books.deposit.units();
        (books.claimed, books.status) = (paid.claimed, Status::Closed);
    }

    /// Takes `blocks` back and mines as many anew; their calls wait again, the opening maybe never.
    pub(super) fn reorganise(&mut self, blocks: u32, drops_open: bool) {
        let keep = self.history.len().saturating_sub(blocks as usize).max(1);
        let lost = self.history.len() - keep;
        self.history.truncate(keep);
        let (kept, back): (Vec<_>, Vec<_>) = self.mined.drain(..).partition(|(height, _)| *height < keep);
        self.mined = kept;
        let back = back
            .into_iter()
            .map(|(_, call)| call)
            .filter(|call| !(drops_open && matches!(call, Call::Open { .. })));
        let waiting = std::mem::take(&mut self.pending);
        for _ in 0..lost {
            self.history.push(self.books().clone());
        }
        self.pending = back.chain(waiting).collect();
    }

    /// What somebody sees who relies on money that is `depth` blocks deep, and on an end as deep as `end_depth`.
    pub(super) fn view(&self, depth: u32, end_depth: u32) -> EscrowView {
        let at = |depth: u32| {
            let index = (self.history.len() - 1).saturating_sub(depth as usize);
            &self.history[index]
        };
        let (newest, deep) = (at(0), at(depth));
        match newest.status {
            Status::None => EscrowView::Absent,
            Status::Closed if at(end_depth).status == Status::Closed => EscrowView::Closed { paid: newest.claimed },
            Status::Open | Status::Closed => EscrowView::Open {
                deposit: newest.deposit,
                assured: deep.deposit.min(newest.deposit),
                expiry: newest.expiry,
            },
        }
    }
}

//! The closing record of a lease: what each side says of its end, what the two must agree on, and who signed what.
//!
//! The provider states the end first; the renter signs the same statement when it agrees with everything in it that it can
//! check itself, else a statement of its own. Specification: `docs/spec/receipts.md`. The daemons make the statements, carry
//! them and keep them; what they mean to each other is decided here. Nothing here holds a key.

mod signed;
#[cfg(test)]
mod tests;

use crate::lifecycle::{Actor, End, EndReason};
use crate::meter::Tariff;
use alloy_primitives::{B256, keccak256};
use gpux_types::{Amount, LeaseId, Millis, PartIndex, UnixSeconds};
use serde::{Deserialize, Serialize};
pub use signed::{SignedStatement, VerifyStatementError, statement_digest};
use std::{collections::BTreeMap, fmt};

/// How many different exit codes a statement lists.
pub const MAX_EXITS: usize = 64;
/// How many transactions a statement lists.
pub const MAX_MOVES: usize = 64;
/// How much of the end of a log is hashed, in bytes.
pub const LOG_TAIL: usize = 64 << 10;

/// By how much the two sides' dates may differ, in seconds: one may have been away, and neither's clock is anybody's proof.
const DATE_TOLERANCE_SECS: u64 = 86_400;

/// One of the two sides of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Who pays.
    Renter,
    /// Who is paid.
    Provider,
}

/// How many parts ended with one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExitCount {
    /// The code; 128 + the signal when a signal ended it.
    pub code: i32,
    /// How many tries of parts ended with it.
    pub parts: u32,
}

/// The end of the log of the try that was given last among those that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastLog {
    /// Of which part.
    pub part: PartIndex,
    /// Which try.
    pub attempt: u32,
    /// How many bytes it wrote in all.
    pub length: u64,
    /// Keccak-256 of its last [`LOG_TAIL`] bytes, or of all when there are fewer.
    pub hash: B256,
}

impl LastLog {
    /// Of a log of `length` bytes that ends in `tail`: its last [`LOG_TAIL`] bytes, or all of them.
    #[must_use]
    pub fn of(part: PartIndex, attempt: u32, length: u64, tail: &[u8]) -> Self {
        let from = tail.len().saturating_sub(LOG_TAIL);
        Self {
            part,
            attempt,
            length,
            hash: keccak256(tail.get(from..).unwrap_or_default()),
        }
    }
}

/// What the escrow moved over a lease's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Amounts {
    /// The first deposit.
    pub deposit: Amount,
    /// Added since.
    pub topped_up: Amount,
    /// To the provider.
    pub earned: Amount,
    /// To the builder.
    pub builder: Amount,
    /// Back to the renter.
    pub refund: Amount,
}

impl Amounts {
    /// What was paid in.
    #[must_use]
    pub fn paid_in(&self) -> Amount {
        self.deposit.saturating_add(self.topped_up)
    }

    /// What was paid to the provider and the builder.
    #[must_use]
    pub fn claimed(&self) -> Amount {
        self.earned.saturating_add(self.builder)
    }
}

/// What a transaction did to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// The first deposit.
    Deposit,
    /// More money, or more time.
    TopUp,
    /// A payment on the way.
    Draw,
    /// The final payment with the refund, by the provider.
    Settlement,
    /// The final payment with the refund, by the renter.
    Closing,
    /// Everything unclaimed back, after the expiry and the grace.
    Reclaim,
}

/// One transaction of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Move {
    /// What it did.
    pub kind: MoveKind,
    /// Its hash.
    pub transaction: B256,
    /// What it moved: the deposit, the top-up, what was paid, or what a reclaim brought back.
    pub amount: Amount,
}

/// What one side says of a lease that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The lease: the hash of its terms, its chain and its escrow.
    pub lease: LeaseId,
    /// Why it ended, and by whom.
    pub end: End,
    /// What was metered.
    pub metered: Millis,
    /// How its parts ended, by rising codes; at most [`MAX_EXITS`].
    pub exits: Vec<ExitCount>,
    /// How many tries of parts ended otherwise: never started, lost, not wanted any more, or with a code that is not listed.
    pub other_parts: u32,
    /// What was written last; `None` when nothing ran, or its log is gone or not this side's to read.
    pub last_log: Option<LastLog>,
    /// The newest receipt.
    pub signed: Amount,
    /// What the escrow moved.
    pub amounts: Amounts,
    /// In which transactions, in their order; of more than [`MAX_MOVES`] the first and the newest.
    pub moves: Vec<Move>,
    /// How many are left out of the list.
    pub moves_omitted: u32,
    /// The date by the clock of the side that states it.
    pub date: UnixSeconds,
}

/// How many parts ended with each code, in the form of a statement, and how many found no place in it.
#[must_use]
pub fn count_exits(codes: impl IntoIterator<Item = (i32, u32)>) -> (Vec<ExitCount>, u32) {
    let mut counts = BTreeMap::<i32, u32>::new();
    for (code, parts) in codes {
        let count = counts.entry(code).or_default();
        *count = count.saturating_add(parts);
    }
    let mut counts = counts.into_iter().map(|(code, parts)| ExitCount { code, parts });
    let listed = counts.by_ref().take(MAX_EXITS).collect();
    (listed, counts.fold(0, |sum, count| sum.saturating_add(count.parts)))
}

/// Transactions in the form of a statement, and how many are left out: the first is always there, and so is the newest.
#[must_use]
pub fn list_moves(mut moves: Vec<Move>) -> (Vec<Move>, u32) {
    let over = moves.len().saturating_sub(MAX_MOVES);
    if over > 0 {
        moves.drain(1..=over);
    }
    (moves, u32::try_from(over).unwrap_or(u32::MAX))
}

impl Statement {
    /// Whether a stranger's statement is small enough to be looked at.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.exits.len() <= MAX_EXITS && self.moves.len() <= MAX_MOVES
    }

    fn ended_well(&self) -> u32 {
        let well = self.exits.iter().filter(|exit| exit.code == 0);
        well.fold(0, |sum, exit| sum.saturating_add(exit.parts))
    }
}

/// Something in which the two sides' words differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// They name another lease.
    Lease,
    /// Another reason, or another side made it end.
    End,
    /// More was metered than work can have been done on the receipts.
    Metered,
    /// Fewer parts ended well than the renter has results of.
    Exits,
    /// The provider names a higher receipt than was signed.
    Signed,
    /// More was paid than was signed.
    PaidBeyondSigned,
    /// Another deposit.
    Deposit,
    /// Other top-ups.
    TopUps,
    /// Another payment to the provider.
    Earned,
    /// Another payment to the builder.
    Builder,
    /// Another refund.
    Refund,
    /// Other transactions.
    Transactions,
    /// The dates are more than a day apart.
    Date,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lease => "lease",
            Self::End => "end",
            Self::Metered => "metered",
            Self::Exits => "exits",
            Self::Signed => "signed",
            Self::PaidBeyondSigned => "paid_beyond_signed",
            Self::Deposit => "deposit",
            Self::TopUps => "top_ups",
            Self::Earned => "earned",
            Self::Builder => "builder",
            Self::Refund => "refund",
            Self::Transactions => "transactions",
            Self::Date => "date",
        })
    }
}

/// What of the provider's statement the renter, which would say `renter`, cannot sign. Empty: it signs the provider's.
///
/// It checks only what it knows itself: the chain, its own receipts, its own results, who ended the lease. What only the
/// provider can know (its exact meter within what was paid for, the other exits, the log) stays the provider's word.
#[must_use]
pub fn differences(renter: &Statement, provider: &Statement, tariff: &Tariff) -> Vec<Difference> {
    use Difference as D;
    let (mine, theirs) = (&renter.amounts, &provider.amounts);
    let checks = [
        (D::Lease, renter.lease != provider.lease),
        (D::End, !same_end(renter.end, provider.end)),
        (D::Metered, provider.metered > tariff.work_bound(renter.signed)),
        (D::Exits, provider.ended_well() < renter.ended_well()),
        (D::Signed, provider.signed > renter.signed),
        (D::PaidBeyondSigned, theirs.claimed() > renter.signed),
        (D::Deposit, mine.deposit != theirs.deposit),
        (D::TopUps, mine.topped_up != theirs.topped_up),
        (D::Earned, mine.earned != theirs.earned),
        (D::Builder, mine.builder != theirs.builder),
        (D::Refund, mine.refund != theirs.refund),
        (
            D::Transactions,
            renter.moves != provider.moves || renter.moves_omitted != provider.moves_omitted,
        ),
        (D::Date, renter.date.0.abs_diff(provider.date.0) > DATE_TOLERANCE_SECS),
    ];
    let differ = checks.into_iter().filter(|(_, differs)| *differs);
    differ.map(|(what, _)| what).collect()
}

/// Whether the renter can live with the provider's word for the end. Done and stopped are one to who was asked to stop; a
/// renter that saw nothing but a closed slot takes every word but that it did not pay, or that it asked for the end: that it
/// would know.
fn same_end(renter: End, provider: End) -> bool {
    use EndReason as R;
    let asked = |end: End| matches!(end.reason, R::Completed | R::Stopped);
    let same = renter == provider || (renter.by == provider.by && asked(renter) && asked(provider));
    let known_better = provider.reason == R::Unpaid || (provider.by == Actor::Renter && asked(provider));
    same || (renter.reason == R::ClosedOnChain && !known_better)
}

/// What is signed of a lease's end so far. Kept by each side; the same whichever statement came first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosingRecord {
    /// The provider's statement.
    pub provider: Option<SignedStatement>,
    /// The renter's: the provider's own words where it agrees.
    pub renter: Option<SignedStatement>,
}

/// How a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has signed anything.
    Unsigned,
    /// Only this side has.
    OneSided(Side),
    /// Both signed the same words.
    Agreed,
    /// Each signed words of its own, which differ in this (perhaps in nothing that either could check).
    Disputed(Vec<Difference>),
}

impl ClosingRecord {
    /// Takes a statement whose signature was checked. What both have signed stays for ever; else the newest word of a side
    /// counts. False when nothing changed.
    pub fn take(&mut self, side: Side, statement: SignedStatement) -> bool {
        if self.is_agreed() {
            return false;
        }
        let slot = match side {
            Side::Renter => &mut self.renter,
            Side::Provider => &mut self.provider,
        };
        let changed = slot.as_ref() != Some(&statement);
        *slot = Some(statement);
        changed
    }

    /// What a side has signed.
    #[must_use]
    pub const fn of(&self, side: Side) -> Option<&SignedStatement> {
        match side {
            Side::Renter => self.renter.as_ref(),
            Side::Provider => self.provider.as_ref(),
        }
    }

    /// Whether both signed the same words.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        match (&self.provider, &self.renter) {
            (Some(provider), Some(renter)) => provider.statement == renter.statement,
            _ => false,
        }
    }

    /// How it stands, at the lease's tariff.
    #[must_use]
    pub fn standing(&self, tariff: &Tariff) -> Standing {
        match (&self.provider, &self.renter) {
            (None, None) => Standing::Unsigned,
            (Some(_), None) => Standing::OneSided(Side::Provider),
            (None, Some(_)) => Standing::OneSided(Side::Renter),
            (Some(_), Some(_)) if self.is_agreed() => Standing::Agreed,
            (Some(provider), Some(renter)) => {
                Standing::Disputed(differences(&renter.statement, &provider.statement, tariff))
            }
        }
    }
}

/// What the renter, which would say `mine`, signs in answer to the provider's statement: that, or its own.
#[must_use]
pub fn answer(mine: Statement, provider: &Statement, tariff: &Tariff) -> Statement {
    if differences(&mine, provider, tariff).is_empty() {
        provider.clone()
    } else {
        mine
    }
}

//! What the escrow's events moved, in the words of bills and closing records. Pure.

use gpux_chain::{EscrowEvent, LeaseLog};
use gpux_lease::{Amounts, Move, MoveKind};
use gpux_types::Amount;

/// Adds what an event moved to the sums; tells what it was, unless it moved nothing of the lease.
pub(crate) fn book(amounts: &mut Amounts, event: &EscrowEvent) -> Option<(MoveKind, Amount)> {
    match event {
        EscrowEvent::Opened { deposit, .. } => {
            amounts.deposit = *deposit;
            Some((MoveKind::Deposit, *deposit))
        }
        EscrowEvent::ToppedUp { amount, .. } => {
            amounts.topped_up = amounts.topped_up.saturating_add(*amount);
            Some((MoveKind::TopUp, *amount))
        }
        EscrowEvent::Drawn { paid, builder_paid, .. } => Some((MoveKind::Draw, pay(amounts, *paid, *builder_paid))),
        EscrowEvent::Settled {
            paid,
            builder_paid,
            refund,
            ..
        } => {
            amounts.refund = amounts.refund.saturating_add(*refund);
            Some((MoveKind::Settlement, pay(amounts, *paid, *builder_paid)))
        }
        EscrowEvent::Closed {
            paid,
            builder_paid,
            refund,
            ..
        } => {
            amounts.refund = amounts.refund.saturating_add(*refund);
            Some((MoveKind::Closing, pay(amounts, *paid, *builder_paid)))
        }
        EscrowEvent::Reclaimed { refund, .. } => {
            amounts.refund = amounts.refund.saturating_add(*refund);
            Some((MoveKind::Reclaim, *refund))
        }
        EscrowEvent::Skipped { .. } | EscrowEvent::Credited { .. } | EscrowEvent::Withdrawn { .. } => None,
    }
}

/// Adds what a provider and a builder were paid; returns both together.
fn pay(amounts: &mut Amounts, paid: Amount, builder_paid: Amount) -> Amount {
    amounts.earned = amounts.earned.saturating_add(paid);
    amounts.builder = amounts.builder.saturating_add(builder_paid);
    paid.saturating_add(builder_paid)
}

/// The sums of a lease's events, what each moved, and whether one of them closed it.
pub(super) fn all(logs: &[LeaseLog]) -> (Amounts, Vec<Move>, bool) {
    let mut amounts = Amounts::default();
    let booked = logs.iter().filter_map(|log| {
        let (kind, amount) = book(&mut amounts, &log.event)?;
        Some(Move {
            kind,
            transaction: log.transaction,
            amount,
        })
    });
    let moves: Vec<Move> = booked.collect();
    let ends = |kind| matches!(kind, MoveKind::Settlement | MoveKind::Closing | MoveKind::Reclaim);
    let closed = moves.iter().any(|moved| ends(moved.kind));
    (amounts, moves, closed)
}

//! What this node earned as a provider, from its closing records, and what its payments cost in fees.

use super::Kept;
use crate::{fault::internal, node::Node, provider::owner, store::Role};
use futures_util::{StreamExt, stream};
use gpux_api::{DayEarnings, EarningsView, ErrorBody, FeesView, OpenEarnings, ProvidedState};
use gpux_lease::{MoveKind, Side, Standing, Statement};
use gpux_types::{Address, Amount, B256, Millis, Token, UnixSeconds};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One day.
const DAY_SECS: u64 = 86_400;
/// How many transactions the chain is asked for: the newest.
const MAX_FEES: usize = 500;
/// And how many at once.
const ASKED_AT_ONCE: usize = 8;

/// What ended since `since`, and what is still open.
pub(crate) async fn earnings(node: &Arc<Node>, since: UnixSeconds) -> Result<EarningsView, ErrorBody> {
    let folded = node.apart("adding up earnings", move |node| of_records(node, since));
    let (mut view, payments) = folded.await?;
    view.fees = fees(node, payments).await;
    Ok(view)
}

/// All of it that the disk tells, and the payments.
fn of_records(node: &Node, since: UnixSeconds) -> Result<(EarningsView, Vec<B256>), ErrorBody> {
    let sold = owner::view(node)?;
    let kept = node.store.records::<Kept>(Role::Provider);
    let kept = kept.map_err(|error| internal("reading closing records", &error))?;
    let until = node.clock.date();
    let ends = kept.iter().filter_map(ended).filter(|(own, _)| own.date >= since);
    let (mut view, payments) = fold(ends, (since, until), node.chain.token().token.clone());
    let open = sold.leases.iter().filter(|lease| lease.state != ProvidedState::Ended);
    view.open = open.fold(OpenEarnings::default(), |sum, lease| OpenEarnings {
        leases: sum.leases.saturating_add(1),
        signed: sum.signed.saturating_add(lease.signed),
    });
    Ok((view, payments))
}

/// What this node said of an end, and whether the renter said something else. Nothing while this node has not signed: what the
/// escrow paid is not known then.
fn ended(kept: &Kept) -> Option<(&Statement, bool)> {
    let own = &kept.record.of(Side::Provider)?.statement;
    let disputed = matches!(kept.record.standing(&kept.tariff), Standing::Disputed(_));
    Some((own, disputed))
}

/// The sums over some ends, and the transactions that paid, the newest last.
fn fold<'a>(
    ends: impl Iterator<Item = (&'a Statement, bool)>,
    (since, until): (UnixSeconds, UnixSeconds),
    token: Token,
) -> (EarningsView, Vec<B256>) {
    let mut view = EarningsView {
        schema: "gpux.earnings/v1".into(),
        token,
        since,
        until,
        leases: 0,
        earned: Amount::ZERO,
        metered: Millis::ZERO,
        disputed: 0,
        reasons: BTreeMap::new(),
        days: Vec::new(),
        open: OpenEarnings::default(),
        fees: FeesView::default(),
    };
    let (mut days, mut payments) = (BTreeMap::<u64, DayEarnings>::new(), BTreeSet::new());
    for (own, disputed) in ends {
        let (earned, metered) = (own.amounts.earned, own.metered);
        view.leases = view.leases.saturating_add(1);
        view.earned = view.earned.saturating_add(earned);
        view.metered = view.metered.saturating_add(metered);
        view.disputed = view.disputed.saturating_add(u32::from(disputed));
        let reason = view.reasons.entry(own.end.reason.word().to_owned()).or_default();
        *reason = reason.saturating_add(1);
        let first = own.date.0 / DAY_SECS * DAY_SECS;
        let day = days.entry(first).or_insert(DayEarnings {
            day: UnixSeconds(first),
            leases: 0,
            earned: Amount::ZERO,
            metered: Millis::ZERO,
        });
        day.leases = day.leases.saturating_add(1);
        day.earned = day.earned.saturating_add(earned);
        day.metered = day.metered.saturating_add(metered);
        let paid = own.moves.iter().filter(|moved| is_payment(moved.kind));
        payments.extend(paid.map(|moved| (own.date, moved.transaction)));
    }
    view.days = days.into_values().collect();
    // A call for many leases stands in the record of each.
    let mut seen = BTreeSet::new();
    let payments = payments.into_iter().map(|(_, transaction)| transaction);
    (view, payments.filter(|transaction| seen.insert(*transaction)).collect())
}

/// Whether a provider may have sent it. A closing is sent by the renter.
const fn is_payment(kind: MoveKind) -> bool {
    match kind {
        MoveKind::Draw | MoveKind::Settlement => true,
        MoveKind::Deposit | MoveKind::TopUp | MoveKind::Closing | MoveKind::Reclaim => false,
    }
}

/// What the payments that this node sent itself cost, as far as the chain tells of them.
async fn fees(node: &Node, payments: Vec<B256>) -> FeesView {
    let own: [Address; 2] = [node.wallet.address(), node.provider_sender.address()];
    let newest = payments.len().saturating_sub(MAX_FEES);
    let transactions = u32::try_from(payments.len()).unwrap_or(u32::MAX);
    let asked = payments.into_iter().skip(newest).map(|hash| node.chain.mined(hash));
    let mut mined = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
    let (mut counted, mut wei) = (0u32, 0u128);
    while let Some(answer) = mined.next().await {
        let Ok(Some(mined)) = answer else { continue };
        counted = counted.saturating_add(1);
        if own.contains(&mined.from) {
            wei = wei
                .saturating_add(mined.l2_fee)
                .saturating_add(mined.l1_fee.unwrap_or(0));
        }
    }
    FeesView {
        transactions,
        counted,
        wei: wei.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_lease::{Actor, Amounts, End, EndReason, Move};
    use gpux_types::LeaseId;

    fn amount(units: u128) -> Amount {
        Amount::new(units).unwrap()
    }

    fn end(date: u64, earned: u128, reason: EndReason, moves: &[(MoveKind, u8)]) -> Statement {
        let moves = moves.iter().map(|(kind, byte)| Move {
            kind: *kind,
            transaction: B256::repeat_byte(*byte),
            amount: amount(earned),
        });
        Statement {
            lease: LeaseId([1; 32]),
            end: End::new(reason, Actor::Renter),
            metered: Millis(1_500),
            exits: Vec::new(),
            other_parts: 0,
            last_log: None,
            signed: amount(earned),
            amounts: Amounts {
                earned: amount(earned),
                ..Amounts::default()
            },
            moves: moves.collect(),
            moves_omitted: 0,
            date: UnixSeconds(date),
        }
    }

    #[test]
    fn earnings_are_the_sums_of_what_ended_by_day_and_each_payment_is_counted_once() {
        use MoveKind::{Closing, Deposit, Draw, Settlement, TopUp};
        let ends = [
            end(
                DAY_SECS + 5,
                7,
                EndReason::Completed,
                &[(Deposit, 1), (TopUp, 2), (Settlement, 9)],
            ),
            end(
                DAY_SECS * 2 - 1,
                5,
                EndReason::Completed,
                &[(Deposit, 3), (Draw, 4), (Settlement, 9)],
            ),
            end(
                DAY_SECS * 3,
                0,
                EndReason::PreparationFailed,
                &[(Deposit, 5), (Closing, 6)],
            ),
        ];
        let disputed = [false, true, false];
        let token = Token {
            symbol: "T".into(),
            decimals: 6,
        };
        let all = (UnixSeconds(0), UnixSeconds(DAY_SECS * 4));
        let (view, payments) = fold(ends.iter().zip(disputed), all, token);
        assert_eq!((view.leases, view.earned, view.metered), (3, amount(12), Millis(4_500)));
        assert_eq!(view.disputed, 1);
        let reasons = [("completed".to_owned(), 2), ("preparation_failed".to_owned(), 1)];
        assert_eq!(view.reasons, BTreeMap::from(reasons));
        let days: Vec<_> = view
            .days
            .iter()
            .map(|day| (day.day.0 / DAY_SECS, day.leases, day.earned))
            .collect();
        assert_eq!(days, [(1, 2, amount(12)), (3, 1, Amount::ZERO)]);
        assert_eq!(
            payments,
            [B256::repeat_byte(9), B256::repeat_byte(4)],
            "one call paid two leases"
        );
    }
}

//! What the simulated world does not reach: contradictions, patience, and the order of effects.

use super::*;
use crate::exposure::Exposed;
use gpux_types::{LeaseId, PricePerHour, UnixSeconds};

const START: Millis = Millis(1_000_000);

fn amount(units: u128) -> Amount {
    Amount::new(units).unwrap()
}

/// One unit a millisecond.
fn config() -> ProviderConfig {
    ProviderConfig::new(Tariff::new(PricePerHour(amount(3_600_000))))
}

fn at(secs: u64) -> Millis {
    START.saturating_add(Millis::from_secs(secs))
}

fn open(deposit: u128) -> ProviderEvent {
    let deposit = amount(deposit);
    ProviderEvent::EscrowSeen(EscrowView::Open {
        deposit,
        assured: deposit,
        drawn: Amount::ZERO,
        expiry: UnixSeconds(10_000),
    })
}

fn receipt(cumulative: u128) -> ProviderEvent {
    ProviderEvent::ReceiptReceived(VerifiedReceipt::unsigned(LeaseId::default(), amount(cumulative)))
}

fn metered(secs: u64, work: Work) -> ProviderEvent {
    ProviderEvent::Metered {
        metered: Millis::from_secs(secs),
        work,
    }
}

fn handle(lease: &mut ProviderLease, secs: u64, event: ProviderEvent) -> Vec<ProviderEffect> {
    let mut effects = lease.handle(at(secs), event).unwrap();
    effects.retain(|effect| !matches!(effect, ProviderEffect::WakeAt(_)));
    effects
}

/// With its first receipt, one second after the request.
fn running(config: ProviderConfig) -> ProviderLease {
    let (mut lease, effects) = ProviderLease::request(config, START);
    assert_eq!(effects, [ProviderEffect::Prepare]);
    handle(&mut lease, 1, open(100_000));
    let asked = handle(&mut lease, 1, ProviderEvent::Prepared);
    assert_eq!(
        asked,
        [ProviderEffect::AskReceipt {
            cumulative: amount(5_000)
        }]
    );
    assert!(!lease.allows_work());
    assert_eq!(handle(&mut lease, 1, receipt(5_000)), [ProviderEffect::AllowWork]);
    assert!(lease.allows_work());
    lease
}

#[test]
fn a_receipt_before_any_deposit_is_a_contradiction_and_changes_nothing() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    let before = lease.clone();
    let error = lease.handle(at(1), receipt(5_000)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "handling receipt received of a lease that is waiting"
    );
    assert_eq!(lease, before);
}

#[test]
fn preparation_that_fails_after_it_succeeded_is_a_contradiction() {
    let mut lease = running(config());
    let before = lease.clone();
    lease
        .handle(at(2), ProviderEvent::PreparationFailed { by: Actor::Network })
        .unwrap_err();
    assert_eq!(lease, before);
}

#[test]
fn a_first_receipt_below_one_interval_starts_nothing() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    handle(&mut lease, 1, open(100_000));
    handle(&mut lease, 1, ProviderEvent::Prepared);
    assert_eq!(
        handle(&mut lease, 1, receipt(4_999)),
        [ProviderEffect::AskReceipt {
            cumulative: amount(5_000)
        }]
    );
    assert!(!lease.allows_work());
}

#[test]
fn the_dead_man_switch_is_renewed_only_while_work_is_paid() {
    let mut lease = running(config());
    assert_eq!(
        handle(&mut lease, 5, metered(4, Work::Running)),
        [ProviderEffect::Renew]
    );
    let ask = ProviderEffect::AskReceipt {
        cumulative: amount(10_000),
    };
    assert_eq!(
        handle(&mut lease, 6, metered(5, Work::Running)),
        [ask],
        "no renewal any more"
    );
}

#[test]
fn unpaid_work_freezes_waits_its_hold_and_is_settled_with_the_newest_receipt() {
    let mut lease = running(config());
    assert!(!handle(&mut lease, 10, metered(9, Work::Running)).contains(&ProviderEffect::Freeze));
    let frozen = handle(&mut lease, 11, metered(10, Work::Running));
    assert!(frozen.contains(&ProviderEffect::Freeze), "{frozen:?}");
    assert!(!lease.allows_work());
    handle(&mut lease, 130, metered(10, Work::Frozen));
    assert_eq!(lease.state().name(), "frozen");
    let stop = handle(&mut lease, 131, metered(10, Work::Frozen));
    let end = End::new(EndReason::Unpaid, Actor::Renter);
    assert!(stop.contains(&ProviderEffect::StopWork { end }), "{stop:?}");
    handle(&mut lease, 132, metered(10, Work::Gone));
    let settle = handle(&mut lease, 142, ProviderEvent::Ticked);
    assert!(
        matches!(settle.as_slice(), [ProviderEffect::Settle { amount: paid, receipt: Some(_) }] if *paid == amount(5_000)),
        "{settle:?}"
    );
}

#[test]
fn other_events_never_put_off_the_next_reading_of_the_meter() {
    let mut lease = running(config());
    lease.handle(at(2), metered(1, Work::Running)).unwrap();
    let late = Millis(at(2).0 + 900);
    let effects = lease
        .handle(late, ProviderEvent::BlockSeen { time: UnixSeconds(1) })
        .unwrap();
    assert_eq!(effects, [ProviderEffect::WakeAt(at(3))]);
}

#[test]
fn a_lease_that_was_never_funded_returns_a_late_deposit_at_once() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    handle(&mut lease, 1, ProviderEvent::Prepared);
    let end = End::new(EndReason::NeverFunded, Actor::Renter);
    assert_eq!(
        handle(&mut lease, 120, ProviderEvent::Ticked),
        [ProviderEffect::StopWork { end }]
    );
    handle(&mut lease, 121, metered(0, Work::Gone));
    assert_eq!(lease.state().name(), "refusing");
    let back = handle(&mut lease, 300, open(100_000));
    assert_eq!(
        back,
        [ProviderEffect::Settle {
            amount: Amount::ZERO,
            receipt: None
        }]
    );
    let closed = ProviderEvent::EscrowSeen(EscrowView::Closed { paid: Amount::ZERO });
    assert_eq!(handle(&mut lease, 310, closed), [ProviderEffect::Forget]);
    assert_eq!(
        lease.state(),
        ProviderState::Ended {
            end,
            paid: Amount::ZERO
        }
    );
}

#[test]
fn a_settlement_that_does_not_land_is_sent_again_the_same() {
    let mut lease = running(config());
    handle(&mut lease, 3, metered(2, Work::Running));
    handle(&mut lease, 3, ProviderEvent::PartsDrained);
    let first = handle(&mut lease, 4, metered(3, Work::Gone));
    let [ProviderEffect::Settle { amount: paid, .. }] = first.as_slice() else {
        panic!("{first:?}")
    };
    assert_eq!(*paid, amount(3_000), "what was metered, not what was signed");
    assert_eq!(handle(&mut lease, 20, receipt(9_000)), [], "too late to be claimed");
    assert_eq!(handle(&mut lease, 34, ProviderEvent::Ticked), first);
    assert_eq!(handle(&mut lease, 35, ProviderEvent::Restarted), first);
}

#[test]
fn a_stop_that_does_not_happen_is_asked_for_again() {
    let mut lease = running(config());
    let end = End::new(EndReason::Stopped, Actor::Renter);
    let stop = [ProviderEffect::StopWork { end }];
    assert_eq!(
        handle(&mut lease, 2, ProviderEvent::StopRequested { by: Actor::Renter }),
        stop
    );
    assert_eq!(handle(&mut lease, 20, metered(2, Work::Running)), []);
    assert_eq!(handle(&mut lease, 32, metered(2, Work::Running)), stop);
}

#[test]
fn the_jobs_own_limit_ends_it() {
    let limit = Some(Millis::from_secs(4));
    let mut lease = running(ProviderConfig {
        job_limit: limit,
        ..config()
    });
    let end = End::new(EndReason::JobLimit, Actor::Renter);
    assert_eq!(
        handle(&mut lease, 6, metered(4, Work::Running)),
        [ProviderEffect::StopWork { end }]
    );
}

#[test]
fn an_offered_close_is_waited_for_and_then_settled_alone() {
    let wait = Millis::from_secs(600);
    let mut lease = running(ProviderConfig {
        closing: Closing::Offer { wait },
        ..config()
    });
    handle(&mut lease, 3, ProviderEvent::PartsDrained);
    let given = [ProviderEffect::SignClosing { amount: amount(2_000) }];
    assert_eq!(handle(&mut lease, 4, metered(2, Work::Gone)), given);
    assert_eq!(
        handle(&mut lease, 5, ProviderEvent::Restarted),
        given,
        "the same amount again"
    );
    assert_eq!(handle(&mut lease, 604, ProviderEvent::Ticked), []);
    let settled = handle(&mut lease, 605, ProviderEvent::Ticked);
    assert!(
        matches!(settled.as_slice(), [ProviderEffect::Settle { .. }]),
        "{settled:?}"
    );
}

#[test]
fn preparation_that_takes_too_long_refunds() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    handle(&mut lease, 1, open(100_000));
    let end = End::new(EndReason::PreparationTimedOut, Actor::Provider);
    assert_eq!(
        handle(&mut lease, 600, ProviderEvent::Ticked),
        [ProviderEffect::StopWork { end }]
    );
    let settled = handle(&mut lease, 601, metered(0, Work::Gone));
    assert_eq!(
        settled,
        [ProviderEffect::Settle {
            amount: Amount::ZERO,
            receipt: None
        }]
    );
}

#[test]
fn nothing_is_asked_on_a_meter_from_before_a_restart() {
    let mut lease = running(config());
    handle(&mut lease, 6, metered(5, Work::Running));
    let asks = |effects: &[ProviderEffect]| {
        effects
            .iter()
            .any(|one| matches!(one, ProviderEffect::AskReceipt { .. }))
    };
    let restarted = handle(&mut lease, 20, ProviderEvent::Restarted);
    assert!(
        restarted.contains(&ProviderEffect::AllowWork) && !asks(&restarted),
        "{restarted:?}"
    );
    assert!(asks(&handle(&mut lease, 20, metered(9, Work::Frozen))));
}

#[test]
fn an_older_receipt_that_comes_late_changes_nothing() {
    let mut lease = running(config());
    handle(&mut lease, 2, receipt(10_000));
    let before = lease.clone();
    for older in [0, 5_000, 9_999, 10_000] {
        assert_eq!(handle(&mut lease, 2, receipt(older)), []);
    }
    assert_eq!(lease, before);
}

#[test]
fn past_the_expiry_no_last_receipt_is_waited_for() {
    let mut lease = running(config());
    handle(&mut lease, 3, metered(8, Work::Running));
    handle(
        &mut lease,
        4,
        ProviderEvent::BlockSeen {
            time: UnixSeconds(10_000),
        },
    );
    assert_eq!(lease.state().name(), "stopping");
    let settled = handle(&mut lease, 5, metered(8, Work::Gone));
    let [ProviderEffect::Settle { amount: paid, .. }] = settled.as_slice() else {
        panic!("{settled:?}")
    };
    assert_eq!(*paid, amount(5_000));
}

#[test]
fn work_that_ended_while_a_reorganisation_held_its_deposit_back_is_paid_when_it_returns() {
    let mut lease = running(config());
    handle(&mut lease, 4, metered(3, Work::Running));
    handle(&mut lease, 5, ProviderEvent::EscrowSeen(EscrowView::Absent));
    handle(&mut lease, 5, ProviderEvent::PartsDrained);
    handle(&mut lease, 6, metered(3, Work::Gone));
    assert_eq!(lease.state().name(), "closing");
    let settled = handle(&mut lease, 300, open(100_000));
    assert!(
        matches!(settled.as_slice(), [ProviderEffect::Settle { amount, receipt: Some(_) }] if amount.units() == 3_000),
        "{settled:?}"
    );
}

/// The expiry of [`open`] and a day.
const GRACE_OVER: u64 = 10_000 + 86_400;

fn block(time: u64) -> ProviderEvent {
    let time = UnixSeconds(time);
    ProviderEvent::BlockSeen { time }
}

#[test]
fn what_a_receipt_is_there_for_is_waited_for_until_the_grace_is_over() {
    let mut lease = running(config());
    handle(&mut lease, 2, block(2));
    handle(&mut lease, 4, metered(3, Work::Running));
    handle(&mut lease, 5, ProviderEvent::EscrowSeen(EscrowView::Absent));
    handle(&mut lease, 5, ProviderEvent::PartsDrained);
    handle(&mut lease, 6, metered(3, Work::Gone));
    handle(&mut lease, 80_000, ProviderEvent::Ticked);
    assert_eq!(lease.state().name(), "closing", "the endpoint is behind for a day");
    let mut shown = lease.clone();
    let settled = handle(&mut shown, 80_001, open(100_000));
    assert!(
        matches!(settled.as_slice(), [ProviderEffect::Settle { amount, .. }] if amount.units() == 3_000),
        "{settled:?}"
    );
    handle(&mut lease, 80_001, block(GRACE_OVER));
    assert_eq!(lease.state().name(), "closing", "the renter cannot reclaim yet");
    assert_eq!(
        handle(&mut lease, 80_001, block(GRACE_OVER + 1)),
        [ProviderEffect::Forget]
    );
}

#[test]
fn a_settlement_is_sent_again_when_the_chain_shows_the_lease_again_hours_later() {
    let mut lease = running(config());
    handle(&mut lease, 4, block(4));
    handle(&mut lease, 5, ProviderEvent::PartsDrained);
    handle(&mut lease, 6, metered(3, Work::Gone));
    handle(&mut lease, 20, ProviderEvent::Ticked);
    assert_eq!(lease.state().name(), "settling", "no last receipt came");
    handle(&mut lease, 30, ProviderEvent::EscrowSeen(EscrowView::Absent));
    let waits = lease.handle(at(9_000), ProviderEvent::Ticked).unwrap();
    assert!(
        matches!(waits.as_slice(), [ProviderEffect::WakeAt(wake)] if *wake > at(9_000)),
        "nothing is done, and not at once again: {waits:?}"
    );
    let again = handle(&mut lease, 9_001, open(100_000));
    assert!(matches!(again.as_slice(), [ProviderEffect::Settle { .. }]), "{again:?}");
}

#[test]
fn a_block_older_than_one_seen_before_ends_no_wait() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    handle(&mut lease, 1, block(1_000));
    handle(&mut lease, 200, ProviderEvent::Ticked);
    handle(&mut lease, 201, metered(0, Work::Gone));
    assert_eq!(lease.state().name(), "refusing");
    handle(&mut lease, 202, block(500));
    handle(&mut lease, 9_000, ProviderEvent::Ticked);
    assert_eq!(
        lease.state().name(),
        "refusing",
        "its deposit may be in a block that is not shown"
    );
    handle(&mut lease, 9_001, block(1_000));
    assert_eq!(lease.state().name(), "ended");
}

#[test]
fn readings_and_repetitions_need_no_disk_and_receipts_and_decisions_do() {
    let mut lease = running(config());
    let mut writes = |secs, event| {
        let journal = lease.clone();
        handle(&mut lease, secs, event);
        lease.must_be_written(&journal)
    };
    assert!(!writes(2, metered(1, Work::Running)));
    assert!(!writes(2, block(1_000)));
    assert!(!writes(3, open(100_000)), "as before");
    assert!(writes(6, receipt(10_000)));
    assert!(!writes(6, receipt(10_000)));
    assert!(writes(7, ProviderEvent::ClosingWanted));
    assert!(!writes(7, ProviderEvent::ClosingWanted));
    assert!(writes(8, open(200_000)));
    assert!(writes(9, ProviderEvent::PartsDrained));
    assert!(!writes(9, ProviderEvent::PartsDrained));
}

#[test]
fn what_an_end_asks_for_is_asked_for_again_after_a_restart() {
    let mut lease = running(config());
    handle(&mut lease, 2, ProviderEvent::PartsDrained);
    handle(&mut lease, 3, metered(0, Work::Gone));
    let closed = ProviderEvent::EscrowSeen(EscrowView::Closed { paid: Amount::ZERO });
    assert_eq!(handle(&mut lease, 4, closed), [ProviderEffect::Forget]);
    let ended = lease.clone();
    assert_eq!(
        handle(&mut lease, 0, ProviderEvent::Restarted),
        [ProviderEffect::Forget]
    );
    assert_eq!(lease, ended);
}

#[test]
fn a_renter_that_wants_to_close_gets_a_closing_amount_and_ten_minutes() {
    let mut lease = running(config());
    handle(&mut lease, 2, ProviderEvent::ClosingWanted);
    handle(&mut lease, 4, metered(3, Work::Running));
    handle(&mut lease, 5, ProviderEvent::PartsDrained);
    let signed = handle(&mut lease, 6, metered(4, Work::Gone));
    let amount = amount(4_000);
    assert_eq!(
        signed,
        [ProviderEffect::SignClosing { amount }],
        "what was metered, and nothing is sent"
    );
    assert!(handle(&mut lease, 605, ProviderEvent::Ticked).is_empty());
    let again = handle(&mut lease, 605, ProviderEvent::Restarted);
    assert_eq!(
        again,
        [ProviderEffect::SignClosing { amount }],
        "the same amount after a restart"
    );
    assert!(handle(&mut lease, 1_204, ProviderEvent::Ticked).is_empty());
    let settled = handle(&mut lease, 1_205, ProviderEvent::Ticked);
    assert!(
        matches!(settled.as_slice(), [ProviderEffect::Settle { amount: claimed, .. }] if *claimed == amount),
        "no close came: {settled:?}"
    );
}

#[test]
fn a_wish_to_close_comes_too_late_once_the_settlement_is_sent() {
    let mut lease = running(config());
    handle(&mut lease, 4, metered(3, Work::Running));
    handle(&mut lease, 5, ProviderEvent::PartsDrained);
    let settled = handle(&mut lease, 6, metered(4, Work::Gone));
    assert!(matches!(settled.as_slice(), [ProviderEffect::Settle { .. }]));
    let before = lease.clone();
    handle(&mut lease, 6, ProviderEvent::ClosingWanted);
    assert_eq!(lease, before);
}

#[test]
fn earned_and_signed_money_is_drawn_when_enough_lies_unclaimed_and_never_more_than_either() {
    let mut config = config();
    config.draw_from = Some(amount(10_000));
    let mut lease = running(config);
    let draw = |effects: &[ProviderEffect]| {
        effects.iter().find_map(|effect| {
            if let ProviderEffect::Draw { amount, receipt, .. } = effect {
                assert!(*amount <= receipt.cumulative());
                Some(amount.units())
            } else {
                None
            }
        })
    };
    handle(&mut lease, 6, metered(5, Work::Running));
    handle(&mut lease, 6, receipt(40_000));
    assert_eq!(draw(&handle(&mut lease, 10, metered(9, Work::Running))), None);
    assert_eq!(
        draw(&handle(&mut lease, 11, metered(10, Work::Running))),
        Some(10_000),
        "signed is more, earned is not"
    );
    assert_eq!(draw(&handle(&mut lease, 12, metered(11, Work::Running))), None, "once");
    assert_eq!(
        draw(&handle(&mut lease, 13, ProviderEvent::Restarted)),
        Some(10_000),
        "what may not have been sent"
    );
    assert_eq!(draw(&handle(&mut lease, 22, metered(20, Work::Running))), Some(20_000));
}

#[test]
fn what_the_chain_lacks_is_asked_for_again_and_nothing_else() {
    let mut config = config();
    config.draw_from = Some(amount(10_000));
    let mut lease = running(config);
    let slot = |lease: &ProviderLease| lease.escrow();
    assert_eq!(lease.unmet(slot(&lease), Amount::ZERO), None, "nothing is drawn yet");
    handle(&mut lease, 2, receipt(20_000));
    let drawn = handle(&mut lease, 11, metered(10, Work::Running));
    let draw = drawn
        .into_iter()
        .find(|effect| matches!(effect, ProviderEffect::Draw { .. }));
    assert!(draw.is_some());
    assert_eq!(
        lease.unmet(slot(&lease), amount(9_999)),
        draw,
        "the draw is not on the chain"
    );
    assert_eq!(lease.unmet(slot(&lease), amount(10_000)), None, "it is");
    assert_eq!(
        lease.unmet(EscrowView::Absent, Amount::ZERO),
        None,
        "there is nothing to draw from"
    );

    handle(&mut lease, 12, ProviderEvent::PartsDrained);
    let settled = handle(&mut lease, 13, metered(11, Work::Gone));
    assert_eq!(settled.len(), 1, "{settled:?}");
    assert_eq!(lease.unmet(slot(&lease), amount(10_000)), settled.first().copied());
    let closed = EscrowView::Closed { paid: amount(11_000) };
    assert_eq!(lease.unmet(closed, amount(11_000)), None);
}

/// A deposit that is there, of which nothing is deep.
fn shallow(deposit: u128) -> ProviderEvent {
    ProviderEvent::EscrowSeen(EscrowView::Open {
        deposit: amount(deposit),
        assured: Amount::ZERO,
        drawn: Amount::ZERO,
        expiry: UnixSeconds(10_000),
    })
}

#[test]
fn on_a_deposit_that_is_not_deep_work_waits_for_a_share_of_the_exposure_and_stops_at_its_end() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    handle(&mut lease, 1, shallow(100_000));
    assert_eq!(lease.exposed(), Exposed::default(), "nothing is ready to run");
    handle(&mut lease, 1, ProviderEvent::Prepared);
    assert_eq!(handle(&mut lease, 1, receipt(5_000)), []);
    assert!(!lease.allows_work());
    let wanted = |worked, wanted| Exposed {
        worked: amount(worked),
        wanted: amount(wanted),
    };
    assert_eq!(lease.exposed(), wanted(0, 6_000));
    let share = ProviderEvent::ExposureShared(amount(6_000));
    assert_eq!(handle(&mut lease, 1, share), [ProviderEffect::AllowWork]);
    assert_eq!(handle(&mut lease, 1, share), [], "a level");
    handle(&mut lease, 5, metered(4, Work::Running));
    assert_eq!(lease.exposed(), wanted(4_000, 10_000));
    let frozen = handle(&mut lease, 6, metered(5, Work::Running));
    assert!(
        frozen.contains(&ProviderEffect::Freeze),
        "a second before it is used up: {frozen:?}"
    );
    handle(&mut lease, 6, receipt(50_000));
    let more = handle(&mut lease, 7, ProviderEvent::ExposureShared(amount(11_000)));
    assert_eq!(more, [ProviderEffect::Thaw, ProviderEffect::AllowWork]);
    handle(&mut lease, 8, open(100_000));
    assert_eq!(lease.exposed(), Exposed::default(), "all of it is deep");
}

#[test]
fn what_was_worked_on_a_deposit_that_is_not_deep_counts_until_the_end_is_deep() {
    let (mut lease, _) = ProviderLease::request(config(), START);
    handle(&mut lease, 1, shallow(100_000));
    handle(&mut lease, 1, ProviderEvent::Prepared);
    handle(&mut lease, 1, receipt(5_000));
    handle(&mut lease, 1, ProviderEvent::ExposureShared(amount(6_000)));
    handle(&mut lease, 4, metered(3, Work::Running));
    handle(&mut lease, 4, ProviderEvent::PartsDrained);
    handle(&mut lease, 5, metered(3, Work::Gone));
    assert!(
        matches!(lease.state(), ProviderState::Settling { .. }),
        "{:?}",
        lease.state()
    );
    assert_eq!(lease.exposed().so_far(), lease.exposed());
    assert_eq!(lease.exposed().worked, amount(3_000));
    let paid = amount(3_000);
    handle(&mut lease, 6, ProviderEvent::EscrowSeen(EscrowView::Closed { paid }));
    assert_eq!(lease.exposed(), Exposed::default());
}

/// Everything that was given is over since the tenth second, paid for up to the ninetieth, and the renter does not know.
fn idle() -> ProviderLease {
    let mut lease = running(config());
    let time = UnixSeconds(1_000);
    handle(&mut lease, 1, ProviderEvent::BlockSeen { time });
    handle(&mut lease, 2, receipt(90_000));
    handle(&mut lease, 10, metered(9, Work::Running));
    handle(&mut lease, 10, ProviderEvent::PartsSeen(Given::Untold));
    lease
}

#[test]
fn a_node_that_stands_idle_and_does_not_hear_its_renter_bills_ten_seconds_and_ends_the_lease() {
    let mut lease = idle();
    assert_eq!(
        handle(&mut lease, 19, metered(18, Work::Running)),
        [ProviderEffect::Renew]
    );
    let frozen = [ProviderEffect::Freeze, ProviderEffect::Renew];
    assert_eq!(handle(&mut lease, 20, metered(19, Work::Running)), frozen);
    let goes_on = [ProviderEffect::Thaw, ProviderEffect::AllowWork];
    let given = ProviderEvent::PartsSeen(Given::Unfinished);
    assert_eq!(handle(&mut lease.clone(), 100, given), goes_on, "there is a part");
    let heard = ProviderEvent::RenterHeard;
    assert_eq!(handle(&mut lease.clone(), 100, heard), goes_on, "the renter is back");
    let end = End::new(EndReason::Completed, Actor::Provider);
    let stopped = [ProviderEffect::StopWork { end }];
    assert_eq!(
        handle(&mut lease, 139, metered(19, Work::Frozen)),
        [ProviderEffect::Renew]
    );
    assert_eq!(handle(&mut lease, 140, metered(19, Work::Frozen)), stopped);

    let mut heard_of = idle();
    handle(&mut heard_of, 15, heard);
    assert_eq!(
        handle(&mut heard_of, 24, metered(23, Work::Running)),
        [ProviderEffect::Renew],
        "it is wanted"
    );
}

#[test]
fn the_settlement_and_the_word_of_the_end_wait_for_a_renter_that_signed_ahead_and_knows_nothing_of_its_results() {
    let mut lease = idle();
    handle(&mut lease, 20, metered(19, Work::Running));
    handle(&mut lease, 140, metered(19, Work::Frozen));
    assert_eq!(handle(&mut lease, 141, metered(19, Work::Gone)), []);
    assert_eq!((lease.told_end(), lease.end().is_some()), (None, true));
    assert_eq!(
        handle(&mut lease, 142, ProviderEvent::Restarted),
        [],
        "also after a restart"
    );
    let settled = [lease.settlement(amount(19_000))];
    let mut told = lease.clone();
    assert_eq!(handle(&mut told, 143, ProviderEvent::PartsSeen(Given::Told)), settled);
    assert!(told.told_end().is_some());
    // As long as it had signed ahead, and as work is held: 71 s and 120 s.
    assert_eq!(handle(&mut lease, 332, ProviderEvent::Ticked), []);
    assert_eq!(handle(&mut lease, 333, ProviderEvent::Ticked), settled);
}

#[test]
fn no_settlement_waits_for_a_renter_that_signed_nothing_ahead_or_beyond_the_expiry() {
    let ends = |mut lease: ProviderLease, secs| {
        handle(&mut lease, secs, ProviderEvent::StopRequested { by: Actor::Provider });
        handle(&mut lease, secs, metered(9, Work::Gone))
    };
    let mut near = running(config());
    handle(&mut near, 5, receipt(14_000));
    handle(&mut near, 10, metered(9, Work::Running));
    handle(&mut near, 10, ProviderEvent::PartsSeen(Given::Untold));
    assert_eq!(ends(near.clone(), 11), [near.settlement(amount(9_000))]);
    let mut late = idle();
    assert_eq!(ends(late.clone(), 11), []);
    let time = UnixSeconds(10_000 - 61);
    handle(&mut late, 11, ProviderEvent::BlockSeen { time });
    assert_eq!(ends(late.clone(), 11), []);
    assert_eq!(ends(late.clone(), 12), [late.settlement(amount(9_000))]);
}

/// A rank stands since the tenth second; the renter was heard then.
fn standing() -> ProviderLease {
    let mut lease = running(config());
    handle(&mut lease, 10, ProviderEvent::RenterHeard);
    handle(&mut lease, 10, ProviderEvent::PartsSeen(Given::Standing));
    lease
}

const NEVER_WENT: [ProviderEffect; 1] = [ProviderEffect::StopWork {
    end: End::new(EndReason::NeverWent, Actor::Renter),
}];

#[test]
fn a_rank_that_stands_waits_for_a_renter_that_is_heard_but_not_for_ever_and_is_never_billed() {
    let mut lease = standing();
    for secs in (20..10 + 2_700).step_by(100) {
        handle(&mut lease, secs, ProviderEvent::RenterHeard);
        let waits = handle(&mut lease, secs, metered(0, Work::Idle));
        assert_eq!(waits, [ProviderEffect::Renew], "after {secs} s");
    }
    handle(&mut lease, 2_709, ProviderEvent::RenterHeard);
    assert_eq!(handle(&mut lease, 2_710, metered(0, Work::Idle)), NEVER_WENT);
    let nothing = lease.settlement(Amount::ZERO);
    assert_eq!(handle(&mut lease, 2_711, metered(0, Work::Gone)), [nothing]);
}

#[test]
fn a_rank_that_stands_is_given_up_when_its_renter_is_not_heard_for_the_hold() {
    let mut lease = standing();
    assert_eq!(handle(&mut lease, 129, metered(0, Work::Idle)), [ProviderEffect::Renew]);
    assert_eq!(handle(&mut lease.clone(), 130, metered(0, Work::Idle)), NEVER_WENT);
    handle(&mut lease, 129, ProviderEvent::RenterHeard);
    assert_eq!(handle(&mut lease, 248, metered(0, Work::Idle)), [ProviderEffect::Renew]);
    let went = ProviderEvent::PartsSeen(Given::Unfinished);
    assert_eq!(handle(&mut lease, 248, went), []);
    assert_eq!(
        handle(&mut lease, 400, metered(1, Work::Running)),
        [ProviderEffect::Renew],
        "what goes is the receipts' affair"
    );
}

#[test]
fn how_long_a_rank_stood_begins_anew_with_the_daemon() {
    let mut lease = standing();
    handle(&mut lease, 100, ProviderEvent::Restarted);
    assert_eq!(handle(&mut lease, 219, metered(0, Work::Idle)), [ProviderEffect::Renew]);
    assert_eq!(handle(&mut lease, 220, metered(0, Work::Idle)), NEVER_WENT);
}

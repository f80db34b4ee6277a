//! What the simulated world does not reach: contradictions, patience, and the order of effects.

use super::*;
use gpux_types::{PricePerHour, UnixSeconds};

const START: Millis = Millis(5_000);

fn amount(units: u128) -> Amount {
    Amount::new(units).unwrap()
}

fn at(secs: u64) -> Millis {
    START.saturating_add(Millis::from_secs(secs))
}

fn open(deposit: u128) -> RenterEvent {
    let deposit = amount(deposit);
    RenterEvent::EscrowSeen(EscrowView::Open {
        deposit,
        assured: deposit,
        drawn: Amount::ZERO,
        expiry: UnixSeconds(10_000),
    })
}

fn ask(cumulative: u128, secs: u64) -> RenterEvent {
    RenterEvent::ReceiptAsked {
        cumulative: amount(cumulative),
        metered: Millis::from_secs(secs),
        work: Work::Running,
    }
}

fn report(secs: u64, work: Work) -> RenterEvent {
    RenterEvent::Reported {
        metered: Millis::from_secs(secs),
        work,
    }
}

fn signed(cumulative: u128) -> RenterEffect {
    RenterEffect::SignReceipt {
        cumulative: amount(cumulative),
    }
}

fn handle(lease: &mut RenterLease, secs: u64, event: RenterEvent) -> Vec<RenterEffect> {
    let mut effects = lease.handle(at(secs), event).unwrap();
    effects.retain(|effect| !matches!(effect, RenterEffect::WakeAt(_)));
    effects
}

fn quoted() -> RenterLease {
    RenterLease::quoted(
        RenterConfig::new(Tariff::new(PricePerHour(amount(3_600_000))), 60),
        START,
    )
}

fn block(time: u64) -> RenterEvent {
    RenterEvent::BlockSeen {
        time: UnixSeconds(time),
    }
}

#[test]
fn who_goes_away_signs_ahead_once_as_far_as_deposit_and_expiry_go() {
    let mut lease = opened();
    handle(&mut lease, 1, block(9_000));
    handle(
        &mut lease,
        1,
        RenterEvent::GoesAway {
            horizon: Millis::from_secs(60),
        },
    );
    assert_eq!(handle(&mut lease, 2, ask(5_000, 0)), [signed(60_000)]);
    assert_eq!(
        handle(&mut lease, 3, ask(6_000, 1)),
        [signed(60_000)],
        "not again by as much"
    );
    let horizon = Millis::from_secs(100_000);
    handle(&mut lease, 4, RenterEvent::GoesAway { horizon });
    assert_eq!(
        handle(&mut lease, 5, ask(6_000, 1)),
        [signed(100_000)],
        "all of the deposit"
    );
    assert_eq!(
        lease.ahead(),
        Some(Millis::from_secs(100)),
        "as far as the deposit goes"
    );
    let mut rich = opened();
    handle(&mut rich, 0, open(10_000_000));
    handle(&mut rich, 1, block(9_000));
    handle(&mut rich, 4, RenterEvent::GoesAway { horizon });
    assert_eq!(
        rich.ahead(),
        Some(Millis::from_secs(997)),
        "until the expiry, by block time"
    );

    let mut ending = opened();
    handle(&mut ending, 2, ask(5_000, 0));
    handle(&mut ending, 3, RenterEvent::StopRequested);
    let before = ending.signed();
    handle(&mut ending, 4, RenterEvent::GoesAway { horizon });
    handle(&mut ending, 4, ask(60_000, 0));
    assert_eq!(
        (ending.signed(), ending.ahead()),
        (before, None),
        "nothing is signed ahead of an end"
    );
}

#[test]
fn what_is_signed_ahead_is_not_raised_by_a_top_up_or_a_restart_and_ends_when_the_renter_is_back() {
    let away = |lease: &mut RenterLease, secs, horizon| {
        let horizon = Millis::from_secs(horizon);
        handle(lease, secs, RenterEvent::GoesAway { horizon });
    };
    let mut lease = opened();
    handle(&mut lease, 1, block(0));
    away(&mut lease, 1, 600);
    handle(&mut lease, 1, open(900_000));
    assert_eq!(
        handle(&mut lease, 2, ask(5_000, 0)),
        [signed(100_000)],
        "what was agreed to"
    );
    handle(&mut lease, 3, RenterEvent::Restarted);
    assert_eq!(handle(&mut lease, 4, ask(105_000, 1)), [signed(100_000)]);
    away(&mut lease, 5, 200);
    assert_eq!(
        handle(&mut lease, 5, ask(105_000, 1)),
        [signed(201_000)],
        "agreed to anew"
    );

    let mut lease = opened();
    handle(&mut lease, 1, block(0));
    handle(&mut lease, 2, ask(5_000, 0));
    away(&mut lease, 3, 60);
    away(&mut lease, 4, 0);
    assert_eq!(handle(&mut lease, 4, ask(6_000, 1)), [signed(6_000)], "nothing ahead");
    handle(&mut lease, 36, RenterEvent::Ticked);
    assert!(matches!(lease.state(), RenterState::Lost { .. }), "silence counts");

    let old = lease.account;
    let mut old = serde_json::to_value(old).unwrap();
    old.as_object_mut().unwrap().remove("ahead_most").unwrap();
    let old: Account = serde_json::from_value(old).unwrap();
    assert_eq!(old.ahead_most, Amount::ZERO, "an older journal agreed to nothing more");
}

#[test]
fn a_node_is_not_lost_while_its_renter_is_away_and_is_when_it_is_back() {
    for restarts in [false, true] {
        let mut lease = opened();
        handle(&mut lease, 1, block(0));
        handle(&mut lease, 2, ask(5_000, 0));
        handle(
            &mut lease,
            3,
            RenterEvent::GoesAway {
                horizon: Millis::from_secs(600),
            },
        );
        handle(&mut lease, 500, RenterEvent::Ticked);
        assert_eq!(lease.state(), RenterState::Running);
        let back = if restarts {
            handle(&mut lease, 501, RenterEvent::Restarted);
            532
        } else {
            handle(&mut lease, 632, RenterEvent::Ticked);
            assert_eq!(lease.state(), RenterState::Running, "it listens as long as ever first");
            634
        };
        assert_eq!(
            handle(&mut lease, back, RenterEvent::Ticked),
            [RenterEffect::RequeueParts]
        );
    }
}

/// Deposited, one second after the quote.
fn opened() -> RenterLease {
    let mut lease = quoted();
    assert_eq!(handle(&mut lease, 0, RenterEvent::Accepted), [RenterEffect::Deposit]);
    assert_eq!(handle(&mut lease, 1, open(100_000)), [RenterEffect::OfferParts]);
    lease
}

#[test]
fn nothing_is_signed_before_the_deposit_is_on_the_chain() {
    let mut lease = quoted();
    lease.handle(at(0), ask(5_000, 0)).unwrap_err();
    handle(&mut lease, 0, RenterEvent::Accepted);
    let before = lease.clone();
    let error = lease.handle(at(1), ask(5_000, 0)).unwrap_err();
    assert_eq!(error.to_string(), "handling receipt asked of a lease that is opening");
    assert_eq!(lease, before);
}

#[test]
fn a_quote_that_ran_out_is_not_accepted() {
    let mut lease = quoted();
    handle(&mut lease, 30, RenterEvent::Accepted);
    let end = End::new(EndReason::QuoteExpired, Actor::Renter);
    assert_eq!(lease.state(), RenterState::Failed { end });
}

#[test]
fn a_repeated_ask_gets_the_same_receipt_and_a_lower_one_the_newest() {
    let mut lease = opened();
    assert_eq!(handle(&mut lease, 2, ask(5_000, 0)), [signed(5_000)]);
    assert_eq!(handle(&mut lease, 2, ask(5_000, 0)), [signed(5_000)]);
    assert_eq!(handle(&mut lease, 2, ask(3, 0)), [signed(5_000)]);
}

#[test]
fn an_ask_for_too_much_is_signed_only_as_far_as_the_own_clock_goes() {
    let mut lease = opened();
    assert_eq!(handle(&mut lease, 2, ask(90_000, 0)), [signed(5_000)]);
    // Ten seconds on: ten of work, a tenth of slack, five ahead.
    assert_eq!(handle(&mut lease, 12, ask(90_000, 80)), [signed(15_100)]);
}

#[test]
fn a_silent_node_is_lost_and_comes_back_with_its_first_word() {
    let mut lease = opened();
    handle(&mut lease, 2, ask(5_000, 0));
    handle(&mut lease, 4, report(2, Work::Running));
    assert_eq!(lease.state(), RenterState::Running);
    assert_eq!(handle(&mut lease, 33, RenterEvent::Ticked), []);
    assert_eq!(
        handle(&mut lease, 34, RenterEvent::Ticked),
        [RenterEffect::RequeueParts]
    );
    assert!(!lease.takes_parts());
    assert_eq!(
        handle(&mut lease, 40, report(9, Work::Frozen)),
        [RenterEffect::OfferParts]
    );
    assert_eq!(lease.state(), RenterState::Running);
}

#[test]
fn a_node_that_stays_silent_is_given_up_and_the_money_fetched_back_after_the_grace() {
    let mut lease = opened();
    handle(&mut lease, 31, RenterEvent::Ticked);
    handle(&mut lease, 155, RenterEvent::Ticked);
    assert_eq!(lease.state().name(), "lost");
    let end = End::new(EndReason::NodeUnreachable, Actor::Network);
    let given_up = handle(&mut lease, 156, RenterEvent::Ticked);
    assert_eq!(given_up, [RenterEffect::RequeueParts, RenterEffect::AskStop { end }]);
    let grace_end = RenterEvent::BlockSeen {
        time: UnixSeconds(10_060),
    };
    handle(&mut lease, 157, grace_end);
    assert_eq!(
        lease.state().name(),
        "ending",
        "the last second of the grace is the provider's"
    );
    let after = RenterEvent::BlockSeen {
        time: UnixSeconds(10_061),
    };
    assert_eq!(handle(&mut lease, 158, after), [RenterEffect::Reclaim]);
    assert_eq!(handle(&mut lease, 188, RenterEvent::Ticked), [RenterEffect::Reclaim]);
    let closed = RenterEvent::EscrowSeen(EscrowView::Closed { paid: Amount::ZERO });
    assert!(handle(&mut lease, 190, closed).contains(&RenterEffect::Forget));
    assert_eq!(
        lease.state(),
        RenterState::Reclaimed {
            end,
            paid: Amount::ZERO
        }
    );
}

#[test]
fn a_top_up_is_sent_once_and_again_only_after_a_restart() {
    let mut lease = opened();
    let top_up = TopUp {
        number: 0,
        amount: amount(10),
        new_expiry: None,
    };
    let request = RenterEvent::TopUpRequested(top_up);
    assert_eq!(handle(&mut lease, 2, request), [RenterEffect::SendTopUp(top_up)]);
    assert_eq!(handle(&mut lease, 2, request), []);
    let second = RenterEvent::TopUpRequested(TopUp { number: 1, ..top_up });
    lease.handle(at(3), second).unwrap_err();
    assert!(handle(&mut lease, 4, RenterEvent::Restarted).contains(&RenterEffect::SendTopUp(top_up)));
    handle(&mut lease, 5, RenterEvent::TopUpEnded { number: 0 });
    let restarted = handle(&mut lease, 6, RenterEvent::Restarted);
    assert!(!restarted.contains(&RenterEffect::SendTopUp(top_up)), "it is mined");
    assert_eq!(
        handle(&mut lease, 6, second),
        [RenterEffect::SendTopUp(TopUp { number: 1, ..top_up })]
    );
}

#[test]
fn a_lease_that_ended_takes_no_top_up() {
    let mut lease = opened();
    handle(
        &mut lease,
        2,
        RenterEvent::EscrowSeen(EscrowView::Closed { paid: Amount::ZERO }),
    );
    let top_up = TopUp {
        number: 0,
        amount: amount(10),
        new_expiry: None,
    };
    lease.handle(at(3), RenterEvent::TopUpRequested(top_up)).unwrap_err();
}

#[test]
fn a_stop_is_asked_for_until_the_provider_settles() {
    let mut lease = opened();
    let end = End::new(EndReason::Stopped, Actor::Renter);
    assert!(handle(&mut lease, 2, RenterEvent::StopRequested).contains(&RenterEffect::AskStop { end }));
    assert_eq!(handle(&mut lease, 6, RenterEvent::Ticked), []);
    assert_eq!(
        handle(&mut lease, 7, RenterEvent::Ticked),
        [RenterEffect::AskStop { end }]
    );
    let closed = RenterEvent::EscrowSeen(EscrowView::Closed { paid: amount(7) });
    handle(&mut lease, 8, closed);
    assert_eq!(lease.state(), RenterState::Settled { end, paid: amount(7) });
}

#[test]
fn after_the_end_is_decided_little_more_is_signed_however_much_is_asked() {
    let mut lease = opened();
    handle(&mut lease, 2, ask(5_000, 0));
    handle(&mut lease, 12, ask(15_000, 10));
    handle(&mut lease, 12, RenterEvent::PartsDrained);
    let last = handle(&mut lease, 100, ask(90_000, 90));
    // Ten counted, one interval for stopping, and the slack; nothing ahead.
    assert_eq!(last.last(), Some(&signed(15_150)));
    assert_eq!(handle(&mut lease, 200, ask(90_000, 200)).last(), Some(&signed(15_150)));
}

#[test]
fn a_deposit_that_cannot_be_made_has_failed_for_ever_once_no_block_can_take_it() {
    let mut lease = unfunded();
    let end = End::new(EndReason::OpenFailed, Actor::Chain);
    handle(&mut lease, 2, block(160));
    handle(&mut lease, 20_000, RenterEvent::Ticked);
    assert!(
        matches!(lease.state(), RenterState::Unfunded { .. }),
        "blocks that are not heard of may have it"
    );
    handle(&mut lease, 20_001, block(161));
    assert_eq!(lease.state(), RenterState::Failed { end });
}

/// Its deposit, with 100 as its expiry and 60 s of grace, was refused.
fn unfunded() -> RenterLease {
    let mut lease = quoted();
    handle(&mut lease, 0, RenterEvent::Accepted);
    let failed = RenterEvent::OpenFailed {
        expiry: UnixSeconds(100),
    };
    assert_eq!(handle(&mut lease, 1, failed), [RenterEffect::RequeueParts]);
    assert_eq!(handle(&mut lease, 1, failed), []);
    lease
}

#[test]
fn a_deposit_that_was_refused_and_is_mined_all_the_same_is_ended_and_fetched_back() {
    let mut lease = unfunded();
    let end = End::new(EndReason::OpenFailed, Actor::Chain);
    assert!(!lease.takes_parts());
    handle(&mut lease, 2, RenterEvent::Restarted);
    let mined = RenterEvent::EscrowSeen(EscrowView::Open {
        deposit: amount(50_000),
        assured: Amount::ZERO,
        drawn: Amount::ZERO,
        expiry: UnixSeconds(100),
    });
    let asked = [RenterEffect::RequeueParts, RenterEffect::AskStop { end }];
    assert_eq!(handle(&mut lease, 30, mined), asked);
    assert_eq!(
        handle(&mut lease, 31, ask(5_000, 0)),
        [RenterEffect::SignReceipt {
            cumulative: Amount::ZERO
        }]
    );
    assert_eq!(handle(&mut lease, 32, block(161)), [RenterEffect::Reclaim]);
    let paid = Amount::ZERO;
    handle(&mut lease, 33, RenterEvent::EscrowSeen(EscrowView::Closed { paid }));
    assert_eq!(lease.state(), RenterState::Reclaimed { end, paid });
}

#[test]
fn a_deposit_that_a_reorganisation_drops_is_sent_again() {
    let mut lease = opened();
    let dropped = handle(&mut lease, 2, RenterEvent::EscrowSeen(EscrowView::Absent));
    assert_eq!(dropped, [RenterEffect::Deposit]);
    assert_eq!(handle(&mut lease, 4, open(100_000)), [RenterEffect::OfferParts]);
}

#[test]
fn what_an_end_asks_for_is_asked_for_again_after_a_restart_and_no_top_up_with_it() {
    let mut lease = opened();
    let top_up = TopUp {
        number: 0,
        amount: amount(1),
        new_expiry: None,
    };
    handle(&mut lease, 2, RenterEvent::TopUpRequested(top_up));
    let closed = RenterEvent::EscrowSeen(EscrowView::Closed { paid: amount(7) });
    let end = [RenterEffect::RequeueParts, RenterEffect::Forget];
    assert_eq!(handle(&mut lease, 3, closed), end);
    let ended = lease.clone();
    assert_eq!(handle(&mut lease, 0, RenterEvent::Restarted), end);
    assert_eq!(lease, ended);
}

fn closing(units: u128) -> RenterEvent {
    RenterEvent::ClosingOffered {
        amount: amount(units),
        end: End::new(EndReason::Completed, Actor::Renter),
    }
}

#[test]
fn a_closing_amount_is_taken_up_to_what_was_signed_and_closed_with_until_it_is() {
    let mut lease = opened();
    handle(&mut lease, 2, ask(5_000, 0));
    let before = lease.clone();
    lease.handle(at(3), closing(5_001)).unwrap_err();
    assert_eq!(lease, before, "more than a settlement could take");
    let close = RenterEffect::Close { amount: amount(4_000) };
    assert_eq!(
        handle(&mut lease, 3, closing(4_000)),
        [RenterEffect::RequeueParts, close]
    );
    assert_eq!(handle(&mut lease, 3, closing(4_000)), [close], "told again, done again");
    lease.handle(at(4), closing(3_000)).unwrap_err();
    assert_eq!(
        handle(&mut lease, 9, RenterEvent::Ticked),
        [close],
        "instead of asking for the end"
    );
    let mut restarted: RenterLease = serde_json::from_str(&serde_json::to_string(&lease).unwrap()).unwrap();
    assert!(handle(&mut restarted, 0, RenterEvent::Restarted).contains(&close));
    let paid = amount(4_000);
    handle(&mut lease, 10, RenterEvent::EscrowSeen(EscrowView::Closed { paid }));
    let end = End::new(EndReason::Completed, Actor::Renter);
    assert_eq!(lease.state(), RenterState::Settled { end, paid });
}

#[test]
fn a_deposit_that_is_given_back_before_it_is_seen_is_closed_once_it_is() {
    let mut lease = quoted();
    lease.handle(at(0), closing(0)).unwrap_err();
    handle(&mut lease, 0, RenterEvent::Accepted);
    lease.handle(at(1), closing(1)).unwrap_err();
    let close = RenterEffect::Close { amount: Amount::ZERO };
    let early = handle(&mut lease, 1, closing(0));
    assert!(!early.contains(&close), "there is nothing to close yet");
    assert!(matches!(lease.state(), RenterState::Ending { .. }));
    handle(&mut lease, 2, open(100_000));
    assert_eq!(handle(&mut lease, 6, RenterEvent::Ticked), [close]);
    // An endpoint that lies about the time does not keep it from its money.
    handle(&mut lease, 7, block(1_000_000_000));
    assert!(matches!(lease.state(), RenterState::Reclaimable { .. }));
    assert_eq!(handle(&mut lease, 40, RenterEvent::Ticked), [close]);
    let paid = Amount::ZERO;
    handle(&mut lease, 41, RenterEvent::EscrowSeen(EscrowView::Closed { paid }));
    assert!(matches!(
        lease.state(),
        RenterState::Reclaimed { paid: Amount::ZERO, .. }
    ));
}

#[test]
fn what_the_chain_lacks_is_asked_for_again_and_nothing_else() {
    let mut lease = quoted();
    assert_eq!(lease.unmet(EscrowView::Absent), None, "nothing was agreed to");
    handle(&mut lease, 0, RenterEvent::Accepted);
    assert_eq!(lease.unmet(EscrowView::Absent), Some(RenterEffect::Deposit));
    handle(&mut lease, 1, open(100_000));
    let slot = lease.escrow();
    assert_eq!(lease.unmet(slot), None);

    handle(&mut lease, 2, ask(5_000, 0));
    handle(&mut lease, 3, RenterEvent::StopRequested);
    assert_eq!(lease.unmet(slot), None, "the provider settles");
    handle(&mut lease, 4, closing(4_000));
    let close = RenterEffect::Close { amount: amount(4_000) };
    assert_eq!(lease.unmet(slot), Some(close));
    assert_eq!(lease.unmet(EscrowView::Closed { paid: amount(4_000) }), None);

    let mut lease = opened();
    handle(&mut lease, 2, block(10_061));
    handle(&mut lease, 8, RenterEvent::Ticked);
    assert!(
        matches!(lease.state(), RenterState::Reclaimable { .. }),
        "{:?}",
        lease.state()
    );
    assert_eq!(lease.unmet(slot), Some(RenterEffect::Reclaim));
}

#[test]
fn what_a_renter_signed_promised_or_decided_must_be_written_and_readings_need_not() {
    let mut lease = opened();
    let journal = lease.clone();
    handle(&mut lease, 1, block(9_000));
    handle(&mut lease, 1, report(0, Work::Idle));
    assert!(!lease.must_be_written(&journal), "it is heard anew");
    let horizon = Millis::from_secs(1);
    let top_up = TopUp {
        number: 0,
        amount: amount(1),
        new_expiry: None,
    };
    for event in [
        ask(5_000, 0),
        RenterEvent::GoesAway { horizon },
        RenterEvent::TopUpRequested(top_up),
        RenterEvent::StopRequested,
    ] {
        let mut changed = lease.clone();
        handle(&mut changed, 2, event);
        assert!(changed.must_be_written(&lease), "{event:?}");
    }
    handle(&mut lease, 2, RenterEvent::TopUpRequested(top_up));
    let mut ended = lease.clone();
    handle(&mut ended, 3, RenterEvent::TopUpEnded { number: 0 });
    assert!(ended.must_be_written(&lease), "else it is sent again after a restart");
}

#[test]
fn an_end_that_was_only_heard_never_makes_the_renter_say_that_it_stopped_or_did_not_pay() {
    let closed = End::new(EndReason::ClosedOnChain, Actor::Provider);
    for (reason, by, stated) in [
        (EndReason::Unpaid, Actor::Renter, closed),
        (EndReason::Unpaid, Actor::Provider, closed),
        (EndReason::Stopped, Actor::Renter, closed),
        (
            EndReason::ShimLost,
            Actor::Provider,
            End::new(EndReason::ShimLost, Actor::Provider),
        ),
    ] {
        let end = End::new(reason, by);
        let amount = Amount::ZERO;
        for heard in [
            RenterEvent::ProviderEnded { end },
            RenterEvent::ClosingOffered { amount, end },
        ] {
            let mut lease = opened();
            handle(&mut lease, 1, heard);
            assert_eq!((lease.end(), lease.own_end()), (Some(end), Some(stated)), "{heard:?}");
            handle(
                &mut lease,
                2,
                RenterEvent::EscrowSeen(EscrowView::Closed { paid: amount }),
            );
            assert_eq!(lease.own_end(), Some(stated), "also once it is over");
        }
    }
    let mut lease = opened();
    handle(&mut lease, 1, RenterEvent::StopRequested);
    let end = End::new(EndReason::Unpaid, Actor::Renter);
    handle(&mut lease, 2, RenterEvent::ProviderEnded { end });
    let stopped = End::new(EndReason::Stopped, Actor::Renter);
    assert_eq!(lease.own_end(), Some(stopped), "what it decided before is its own");
}

#[test]
fn what_is_fetched_back_after_draws_is_a_reclaim_and_what_the_provider_took_beyond_them_a_settlement() {
    for (paid, reclaimed) in [(3_000, true), (3_001, false)] {
        let mut lease = opened();
        let drawn = RenterEvent::EscrowSeen(EscrowView::Open {
            deposit: amount(50_000),
            assured: Amount::ZERO,
            drawn: amount(3_000),
            expiry: UnixSeconds(100),
        });
        handle(&mut lease, 1, drawn);
        handle(&mut lease, 2, RenterEvent::StopRequested);
        assert_eq!(handle(&mut lease, 3, block(161)), [RenterEffect::Reclaim]);
        let paid = amount(paid);
        handle(&mut lease, 4, RenterEvent::EscrowSeen(EscrowView::Closed { paid }));
        let end = End::new(EndReason::Stopped, Actor::Renter);
        let expected = if reclaimed {
            RenterState::Reclaimed { end, paid }
        } else {
            RenterState::Settled { end, paid }
        };
        assert_eq!(lease.state(), expected);
    }
}

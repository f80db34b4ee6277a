//! What the world shows: the invariants over random scenarios, the failures that users are promised to survive, and
//! for each invariant a planted bug that breaks it.

use super::bug::Bug;
use super::ledger::Invariant;
use super::pair::{provider_config, renter_config};
use super::world::{Outcome, run};
use super::{CrashPoint, Fault, Logged, ProviderKind, RenterKind, Scenario, What};
use crate::lifecycle::{Actor, End, EndReason};
use crate::provider::{ProviderLease, ProviderState};
use crate::renter::{RenterLease, RenterState};
use gpux_types::{Amount, Millis, PricePerHour};
use proptest::prelude::*;

/// Nothing goes wrong: one unit of money for each millisecond of work.
fn calm() -> Scenario {
    Scenario {
        seed: 1,
        price: 3_600_000,
        builder_bps: 500,
        deposit_secs: 200,
        job_secs: 60,
        expiry_secs: 400,
        depth: 0,
        exposure_secs: 0,
        provider_ppm: 0,
        renter_ppm: 0,
        latency_ms: 100,
        loss_percent: 0,
        repeat_percent: 0,
        closing_wait_secs: None,
        provider: ProviderKind::Honest,
        renter: RenterKind::Honest,
        faults: Vec::new(),
    }
}

fn with(at_secs: u64, what: What) -> Scenario {
    let faults = vec![Fault {
        at_ms: at_secs * 1_000,
        what,
    }];
    Scenario { faults, ..calm() }
}

fn crash_of_provider(down_secs: u64) -> What {
    What::ProviderCrashes {
        down_ms: down_secs * 1_000,
        point: CrashPoint::Between,
    }
}

fn crash_of_renter(down_secs: u64) -> What {
    What::RenterCrashes {
        down_ms: down_secs * 1_000,
        point: CrashPoint::Between,
    }
}

fn went_well(scenario: &Scenario) -> Outcome {
    run(scenario, None).unwrap().0
}

#[track_caller]
fn assert_ended(outcome: &Outcome, reason: EndReason, by: Actor) {
    let end = End::new(reason, by);
    let ProviderState::Ended { end: provider, .. } = outcome.provider else {
        panic!("{:?}", outcome.provider);
    };
    assert_eq!(provider, end);
}

fn any_fault() -> impl Strategy<Value = What> {
    let point = prop_oneof![
        Just(CrashPoint::Between),
        Just(CrashPoint::BeforeJournal),
        Just(CrashPoint::BeforeEffects),
        Just(CrashPoint::AmidEffects)
    ];
    let down = prop_oneof![3 => 0u64..20_000, 1 => 20_000u64..200_000];
    prop_oneof![
        6 => (down.clone(), point.clone()).prop_map(|(down_ms, point)| What::ProviderCrashes { down_ms, point }),
        6 => (down.clone(), point).prop_map(|(down_ms, point)| What::RenterCrashes { down_ms, point }),
        4 => down.clone().prop_map(|for_ms| What::NetworkParts { for_ms }),
        2 => down.prop_map(|for_ms| What::ProviderLosesChain { for_ms }),
        3 => (1u32..4, any::<bool>()).prop_map(|(blocks, drops_open)| What::Reorganises { blocks, drops_open }),
        3 => (1u64..200).prop_map(|secs| What::RenterTopsUp { secs }),
        1 => Just(What::ShimDies),
        1 => Just(What::ProviderDies),
        1 => Just(What::RenterDies),
        1 => Just(What::RenterStops),
        2 => (0u64..60_000).prop_map(|for_ms| What::RenterGoesAway { for_ms }),
        1 => Just(What::ProviderStops),
        1 => Just(What::PreparationFails),
        1 => Just(What::OutOfMemory),
    ]
}

fn any_provider() -> impl Strategy<Value = ProviderKind> {
    prop_oneof![
        6 => Just(ProviderKind::Honest),
        2 => (1u64..1_000).prop_map(|secs| ProviderKind::AsksTooMuch { secs }),
        1 => (1u64..300).prop_map(|percent| ProviderKind::InflatesMeter { percent }),
        1 => Just(ProviderKind::AsksEarly),
        1 => Just(ProviderKind::FakesProgress),
        1 => Just(ProviderKind::SettlesWildly),
    ]
}

fn any_renter() -> impl Strategy<Value = RenterKind> {
    prop_oneof![
        6 => Just(RenterKind::Honest),
        2 => (0u64..100_000).prop_map(|at_ms| RenterKind::StopsSigning { at_ms }),
        1 => (1u64..10).prop_map(|secs| RenterKind::SignsLess { secs }),
        1 => Just(RenterKind::NeverResends),
        1 => Just(RenterKind::SignsOld),
        1 => (0u64..100_000).prop_map(|at_ms| RenterKind::GoesSilent { at_ms }),
        1 => Just(RenterKind::Grabs),
    ]
}

prop_compose! {
    fn any_scenario()(
        seed: u64,
        (price, builder_bps) in (prop_oneof![Just(3_600_000u64), 1u64..100_000, 1u64 << 50..u64::MAX], 0u16..=1_000),
        (deposit_secs, job_secs, expiry_secs) in (5u64..250, 1u64..250, 60u64..400),
        (depth, exposure_secs) in (0u32..4, 0u64..60),
        (provider_ppm, renter_ppm) in (-500i32..500, -500i32..500),
        (latency_ms, loss_percent, repeat_percent) in (0u64..400, prop_oneof![Just(0u8), 0u8..40], 0u8..30),
        closing_wait_secs in prop::option::of(0u64..100),
        (provider, renter) in (any_provider(), any_renter()),
        faults in prop::collection::vec((0u64..250_000, any_fault()).prop_map(|(at_ms, what)| Fault { at_ms, what }), 0..5),
    ) -> Scenario {
        Scenario {
            seed, price, builder_bps, deposit_secs, job_secs, expiry_secs, depth, exposure_secs, provider_ppm, renter_ppm,
            latency_ms, loss_percent, repeat_percent, closing_wait_secs, provider, renter, faults,
        }
    }
}

/// As many as `make sim` asks for, or what CI has time for.
fn cases() -> u32 {
    let asked = std::env::var("GPUX_SIM_SCENARIOS");
    asked.map_or(3_000, |asked| asked.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_scenario_breaks_an_invariant(scenario in any_scenario()) {
        if let Err(failure) = run(&scenario, None) {
            return Err(TestCaseError::fail(failure.to_string()));
        }
    }
}

/// Both honest, and nothing that the promises do not cover: enough money and time, no death, short outages.
fn any_survivable() -> impl Strategy<Value = Scenario> {
    let short = 0u64..25_000;
    let point = prop_oneof![
        Just(CrashPoint::Between),
        Just(CrashPoint::BeforeJournal),
        Just(CrashPoint::BeforeEffects),
        Just(CrashPoint::AmidEffects)
    ];
    let fault = prop_oneof![
        (short.clone(), point.clone()).prop_map(|(down_ms, point)| What::ProviderCrashes { down_ms, point }),
        (short.clone(), point).prop_map(|(down_ms, point)| What::RenterCrashes { down_ms, point }),
        short.clone().prop_map(|for_ms| What::NetworkParts { for_ms }),
        short.prop_map(|for_ms| What::ProviderLosesChain { for_ms }),
        (1u32..4, any::<bool>()).prop_map(|(blocks, drops_open)| What::Reorganises { blocks, drops_open }),
        (1u64..200).prop_map(|secs| What::RenterTopsUp { secs }),
    ];
    let faults = prop::collection::vec(
        (0u64..250_000, fault).prop_map(|(at_ms, what)| Fault { at_ms, what }),
        0..5,
    );
    (any_scenario(), faults).prop_map(|(scenario, faults)| Scenario {
        price: scenario.price.max(3_600_000),
        deposit_secs: scenario.job_secs + 60,
        expiry_secs: 1_000,
        loss_percent: scenario.loss_percent / 2,
        provider: ProviderKind::Honest,
        renter: RenterKind::Honest,
        faults,
        ..scenario
    })
}

/// Whether the job was done and paid although something went wrong.
fn survived(outcome: &Outcome) -> bool {
    let done = End::new(EndReason::Completed, Actor::Renter);
    matches!(outcome.provider, ProviderState::Ended { end, .. } if end == done)
        && matches!(outcome.renter, RenterState::Settled { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn short_outages_end_no_honest_lease(scenario in any_survivable()) {
        match run(&scenario, None) {
            Err(failure) => return Err(TestCaseError::fail(failure.to_string())),
            Ok((outcome, _)) => {
                let line = serde_json::to_string(&scenario).unwrap();
                prop_assert!(survived(&outcome), "{:?} {:?} {}", outcome.provider, outcome.renter, line);
            }
        }
    }
}

#[test]
fn a_provider_that_forgets_to_thaw_does_not_survive_an_outage() {
    let scenario = with(30, crash_of_renter(30));
    assert!(survived(&went_well(&scenario)));
    assert!(!survived(&run(&scenario, Some(Bug::NeverThaws)).unwrap().0));
}

#[test]
fn scenarios_that_once_failed_do_so_no_more() {
    for line in include_str!("scenarios.jsonl").lines() {
        let scenario: Scenario = serde_json::from_str(line).unwrap();
        if let Err(failure) = run(&scenario, None) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_calm_lease_is_paid_to_the_unit_and_refunded() {
    let outcome = went_well(&calm());
    assert_ended(&outcome, EndReason::Completed, Actor::Renter);
    assert_eq!(outcome.paid.units(), u128::from(outcome.delivered.0));
    assert!((60_000..66_000).contains(&outcome.delivered.0), "{}", outcome.delivered);
    assert!(matches!(outcome.renter, RenterState::Settled { paid, .. } if paid == outcome.paid));
}

#[test]
fn a_providers_daemon_that_restarts_goes_on_and_bills_no_frozen_time() {
    let outcome = went_well(&with(30, crash_of_provider(40)));
    assert_ended(&outcome, EndReason::Completed, Actor::Renter);
    assert!(
        outcome.delivered < Millis::from_secs(67),
        "40 s frozen are not work: {}",
        outcome.delivered
    );
    assert_eq!(outcome.paid.units(), u128::from(outcome.delivered.0));
}

#[test]
fn a_renters_daemon_that_restarts_within_the_hold_goes_on() {
    let outcome = went_well(&with(30, crash_of_renter(100)));
    assert_ended(&outcome, EndReason::Completed, Actor::Renter);
    assert!(outcome.delivered < Millis::from_secs(67), "{}", outcome.delivered);
}

#[test]
fn a_renter_that_never_comes_back_is_settled_with_its_newest_receipt() {
    let outcome = went_well(&with(30, What::RenterDies));
    assert_ended(&outcome, EndReason::Unpaid, Actor::Renter);
    let unpaid = u128::from(outcome.delivered.0) - outcome.paid.units();
    assert!(unpaid <= 5_000, "{unpaid} ms were worked for nothing");
}

#[test]
fn a_dead_provider_gets_nothing_and_the_renter_everything_back() {
    let outcome = went_well(&with(30, What::ProviderDies));
    assert_eq!(outcome.paid, Amount::ZERO);
    let RenterState::Reclaimed { end, .. } = outcome.renter else {
        panic!("{:?}", outcome.renter)
    };
    assert_eq!(end, End::new(EndReason::NodeUnreachable, Actor::Network));
}

#[test]
fn what_a_provider_drew_before_it_died_stays_paid_and_the_rest_is_reclaimed() {
    let outcome = went_well(&Scenario {
        closing_wait_secs: Some(10),
        ..with(40, What::ProviderDies)
    });
    assert!(outcome.paid > Amount::ZERO);
    assert!(
        matches!(outcome.renter, RenterState::Reclaimed { paid, .. } if paid == outcome.paid),
        "{:?}",
        outcome.renter
    );
}

#[test]
fn a_dead_shim_is_settled_for_what_it_metered() {
    let outcome = went_well(&with(30, What::ShimDies));
    assert_ended(&outcome, EndReason::ShimLost, Actor::Provider);
    assert_eq!(outcome.paid.units(), u128::from(outcome.delivered.0));
}

#[test]
fn work_stops_before_the_deposit_is_used_up_and_a_top_up_carries_it_on() {
    let short = Scenario {
        deposit_secs: 40,
        ..calm()
    };
    let outcome = went_well(&short);
    assert_ended(&outcome, EndReason::DepositUsed, Actor::Renter);
    assert!((30_000..33_000).contains(&outcome.delivered.0), "{}", outcome.delivered);
    let topped = Scenario {
        deposit_secs: 40,
        ..with(20, What::RenterTopsUp { secs: 100 })
    };
    assert_ended(&went_well(&topped), EndReason::Completed, Actor::Renter);
}

/// The same with more work than a minute, and a deposit for more than that.
fn long(scenario: Scenario) -> Scenario {
    Scenario {
        job_secs: 200,
        deposit_secs: 300,
        ..scenario
    }
}

/// Away for a minute from the twentieth second on; really gone for 50 seconds from the thirtieth.
fn away(what: What) -> Scenario {
    let away = Fault {
        at_ms: 20_000,
        what: What::RenterGoesAway { for_ms: 60_000 },
    };
    let gone = Fault { at_ms: 30_000, what };
    Scenario {
        faults: vec![away, gone],
        ..calm()
    }
}

#[test]
fn work_goes_on_within_the_horizon_of_a_renter_that_said_that_it_goes_away() {
    let parted = What::NetworkParts { for_ms: 50_000 };
    for gone in [crash_of_renter(50), parted] {
        // There is something to do until it is back.
        let froze = |scenario: Scenario| {
            let (outcome, log) = run(
                &Scenario {
                    job_secs: 100,
                    ..scenario
                },
                None,
            )
            .unwrap();
            assert_ended(&outcome, EndReason::Completed, Actor::Renter);
            let frozen = |event| {
                matches!(
                    event,
                    Logged::Provider(crate::ProviderEvent::Metered {
                        work: crate::Work::Frozen,
                        ..
                    })
                )
            };
            log.iter().any(|entry| frozen(entry.event))
        };
        assert!(
            !froze(away(gone)),
            "{gone:?}: the work was held although it was paid for"
        );
        assert!(froze(with(30, gone)), "{gone:?}: without a word the work is held");
    }
}

#[test]
fn a_renter_that_went_away_and_never_comes_back_pays_no_more_than_its_horizon() {
    let left = Scenario {
        provider: ProviderKind::AsksTooMuch { secs: 500 },
        ..long(away(What::RenterDies))
    };
    let outcome = went_well(&left);
    assert!(
        outcome.paid <= amount_of(91),
        "20 s, 60 s and two intervals: {}",
        outcome.paid
    );
    assert!(
        outcome.paid > amount_of(70),
        "it was paid for what was signed ahead: {}",
        outcome.paid
    );
}

/// The renter says that it goes away, cannot be reached for so long, and what it had given takes a minute.
fn idle_while_away(parted_secs: u64) -> Scenario {
    let away = Fault {
        at_ms: 20_000,
        what: What::RenterGoesAway { for_ms: 170_000 },
    };
    let parted = Fault {
        at_ms: 25_000,
        what: What::NetworkParts {
            for_ms: parted_secs * 1_000,
        },
    };
    Scenario {
        faults: vec![away, parted],
        ..calm()
    }
}

#[test]
fn a_renter_that_is_away_pays_ten_seconds_for_a_node_that_stands_idle_and_finds_its_results() {
    // Back while the work is held, back while the settlement waits, and back when it waits no more.
    let back = [(100, Actor::Renter), (200, Actor::Provider), (340, Actor::Provider)];
    for (parted_secs, by) in back {
        let outcome = went_well(&Scenario {
            expiry_secs: 1_000,
            ..idle_while_away(parted_secs)
        });
        assert_ended(&outcome, EndReason::Completed, by);
        let idle = outcome.delivered.saturating_sub(Millis::from_secs(60));
        assert!(
            (9_000..15_000).contains(&idle.0),
            "away for {parted_secs} s, {idle} were billed of a node that stood idle"
        );
        assert_eq!(outcome.paid.units(), u128::from(outcome.delivered.0));
    }
}

/// What so many seconds cost.
fn amount_of(secs: u128) -> Amount {
    Amount::new(secs * 1_000).unwrap()
}

#[test]
fn work_stops_before_the_expiry() {
    let outcome = went_well(&Scenario {
        expiry_secs: 60,
        job_secs: 100,
        ..calm()
    });
    assert_ended(&outcome, EndReason::Expired, Actor::Renter);
    assert!(outcome.delivered < Millis::from_secs(45), "{}", outcome.delivered);
    assert_eq!(outcome.paid.units(), u128::from(outcome.delivered.0));
}

#[test]
fn a_deposit_that_is_not_deep_is_worked_off_only_up_to_the_exposure() {
    // Sixty blocks deep is two minutes: the work starts, stops at the exposure, and goes on then.
    let scenario = Scenario {
        depth: 60,
        exposure_secs: 20,
        ..calm()
    };
    let (outcome, log) = run(&scenario, None).unwrap();
    assert_ended(&outcome, EndReason::Completed, Actor::Renter);
    let frozen = log.iter().any(|entry| {
        matches!(entry.event, Logged::Provider(crate::ProviderEvent::Metered { metered, work: crate::Work::Frozen })
            if (18_000..=20_000).contains(&metered.0))
    });
    assert!(frozen, "the work was never held at the exposure");
}

#[test]
fn a_deposit_that_a_reorganisation_drops_is_sent_again_and_the_lease_goes_on() {
    let dropped = What::Reorganises {
        blocks: 6,
        drops_open: true,
    };
    let outcome = went_well(&Scenario {
        depth: 2,
        ..with(10, dropped)
    });
    assert_ended(&outcome, EndReason::Completed, Actor::Renter);
}

#[test]
fn an_endpoint_that_is_behind_the_opening_for_hours_costs_nothing_while_the_grace_lasts() {
    let behind = What::ProviderFallsBehind {
        blocks: 4_000,
        for_ms: 7_000_000,
    };
    let outcome = went_well(&Scenario {
        expiry_secs: 7_200,
        ..with(30, behind)
    });
    assert_ended(&outcome, EndReason::DepositUnassured, Actor::Chain);
    assert!(outcome.delivered > Millis::from_secs(20), "{}", outcome.delivered);
    assert_eq!(outcome.paid.units(), u128::from(outcome.delivered.0));
}

#[test]
fn a_failed_preparation_refunds_at_once() {
    let outcome = went_well(&with(0, What::PreparationFails));
    assert_ended(&outcome, EndReason::PreparationFailed, Actor::Network);
    assert_eq!(outcome.paid, Amount::ZERO);
    assert!(
        matches!(outcome.renter, RenterState::Settled { paid: Amount::ZERO, .. }),
        "{:?}",
        outcome.renter
    );
}

#[test]
fn asking_for_more_brings_no_more_than_two_intervals() {
    let greedy = Scenario {
        provider: ProviderKind::AsksTooMuch { secs: 1_000 },
        ..calm()
    };
    let outcome = went_well(&greedy);
    let gained = outcome.paid.units() - u128::from(outcome.delivered.0);
    assert!((1..=10_000).contains(&gained), "{gained}");
}

#[test]
fn a_log_replays_to_the_same_states() {
    let faults = vec![
        Fault {
            at_ms: 20_000,
            what: crash_of_provider(30),
        },
        Fault {
            at_ms: 25_000,
            what: What::RenterTopsUp { secs: 10 },
        },
    ];
    let scenario = Scenario {
        loss_percent: 20,
        repeat_percent: 20,
        faults,
        ..calm()
    };
    let (outcome, log) = run(&scenario, None).unwrap();
    let text: Vec<String> = log.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    let log: Vec<super::Entry> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let deal = scenario.plan().leases[0].deal;
    let zeros = {
        let mut chance = super::network::Chance(scenario.seed);
        (chance.below(1 << 40), chance.below(1 << 40))
    };
    let (mut provider, _) = ProviderLease::request(provider_config(&deal), Millis(zeros.0));
    let mut renter = RenterLease::quoted(renter_config(&deal), Millis(zeros.1));
    for entry in log {
        // Contradictions were answered with an error then and are now.
        match entry.event {
            Logged::Provider(event) => drop(provider.handle(Millis(entry.now_ms), event)),
            Logged::Renter(event) => drop(renter.handle(Millis(entry.now_ms), event)),
            Logged::Part(_) | Logged::Happened(_) => {}
        }
    }
    assert_eq!((provider, renter), outcome.machines);
}

#[test]
fn the_price_of_the_calm_world_is_one_unit_a_millisecond() {
    let price = PricePerHour(Amount::new(calm().price.into()).unwrap());
    assert_eq!(price.cost_of(Millis(1)).units(), 1);
}

fn silent(at_ms: u64) -> Scenario {
    Scenario {
        renter: RenterKind::StopsSigning { at_ms },
        ..calm()
    }
}

/// What breaks each invariant on the provider's side or the escrow's, and where it shows.
fn planted_at_the_provider() -> Vec<(Bug, Invariant, Scenario)> {
    use Invariant as I;
    let unpaid = RenterKind::StopsSigning { at_ms: 20_000 };
    let unpaid_crash = Scenario {
        renter: unpaid,
        ..with(27, crash_of_provider(60))
    };
    let short = Scenario {
        deposit_secs: 40,
        ..calm()
    };
    let faults = [(30, What::RenterDies), (40, crash_of_provider(1))];
    let faults = faults
        .map(|(secs, what)| Fault {
            at_ms: secs * 1_000,
            what,
        })
        .to_vec();
    let both_crash = Scenario { faults, ..calm() };
    vec![
        (Bug::RefundIsForgotten, I::MoneyIsConserved, calm()),
        (Bug::ClaimIgnoresDeposit, I::ClaimWithinDeposit, calm()),
        (Bug::ClaimIgnoresReceipt, I::ClaimWithinReceipt, silent(20_000)),
        (Bug::ClaimIgnoresMeter, I::ClaimWithinMeter, calm()),
        (Bug::ReceiptIsNotJournaled, I::EntitlementIsCollected, both_crash),
        (
            Bug::EndIsNotJournaled,
            I::TerminalStaysTerminal,
            with(300, crash_of_provider(1)),
        ),
        (Bug::RenewsUnpaidWork, I::ProviderLosesTwoIntervalsAtMost, unpaid_crash),
        (Bug::NeverFreezes, I::WorkStaysWithinOneInterval, silent(20_000)),
        (Bug::StartsUnpaidWork, I::NoWorkBeforeTheFirstReceipt, silent(0)),
        (Bug::DepositCountsTwice, I::DepositIsNeverPassed, short),
        (
            Bug::ExposureIsPerLease,
            I::ExposureIsOfTheNode,
            Scenario {
                depth: 60,
                exposure_secs: 20,
                ..calm()
            },
        ),
        (Bug::ClosesTooEarly, I::ClosingIsGivenOnceAndLast, calm()),
        (Bug::BillsIdleLeases, I::IdleLeasesAreUnbilled, idle_while_away(100)),
        (Bug::ReconcilesTooMuch, I::ClaimWithinMeter, long(calm())),
    ]
}

/// The same on the renter's side.
fn planted_at_the_renter() -> Vec<(Bug, Invariant, Scenario)> {
    use Invariant as I;
    let greedy = Scenario {
        provider: ProviderKind::AsksTooMuch { secs: 100 },
        ..calm()
    };
    let inflated = Scenario {
        provider: ProviderKind::InflatesMeter { percent: 100 },
        ..calm()
    };
    let early = Scenario {
        provider: ProviderKind::AsksEarly,
        ..calm()
    };
    vec![
        (Bug::SignsWhatIsAsked, I::RenterLosesTwoIntervalsAtMost, greedy),
        (Bug::BelievesTheMeter, I::RenterSignsForItsOwnTime, inflated),
        (Bug::SignsBeforeDeposit, I::NoReceiptBeforeFunding, early),
        (
            Bug::SignedIsNotJournaled,
            I::SignedNeverFalls,
            with(30, crash_of_renter(5)),
        ),
        (
            Bug::EveryTopUpIsNew,
            I::ReplayChangesNothing,
            with(20, What::RenterTopsUp { secs: 5 }),
        ),
        (
            Bug::SignsBeyondItsHorizon,
            I::RenterLosesTwoIntervalsAtMost,
            long(away(What::RenterDies)),
        ),
        (Bug::NeverReclaims, I::LeaseEnds, with(30, What::ProviderDies)),
        (Bug::RefusedDepositsAreForgotten, I::LeaseEnds, refused_and_mined()),
        (Bug::NeverRequeues, I::JobEnds, with(30, What::ProviderDies)),
        (
            Bug::QueueIsNotJournaled,
            I::DonePartsStayDone,
            with(70, crash_of_renter(1)),
        ),
        (
            Bug::FailedPartsAreDone,
            I::KeptPartsWereDelivered,
            with(20, What::OutOfMemory),
        ),
    ]
}

/// Nobody but the renter can know of its deposit.
fn refused_and_mined() -> Scenario {
    let faults = [What::DepositIsRefused, What::ProviderDies].map(|what| Fault { at_ms: 1_000, what });
    Scenario {
        faults: faults.to_vec(),
        ..calm()
    }
}

#[test]
fn a_deposit_that_was_refused_and_is_mined_all_the_same_comes_back() {
    let outcome = went_well(&refused_and_mined());
    assert!(
        matches!(outcome.renter, RenterState::Reclaimed { paid: Amount::ZERO, .. }),
        "{:?}",
        outcome.renter
    );
}

/// The same in the escrow, with a renter that tries everything.
fn planted_in_the_escrow() -> Vec<(Bug, Invariant, Scenario)> {
    use Invariant as I;
    let grabbing = |scenario| Scenario {
        renter: RenterKind::Grabs,
        ..scenario
    };
    let dead = with(30, What::ProviderDies);
    vec![
        (Bug::EscrowOpensAgain, I::ClosedStaysClosed, grabbing(calm())),
        (Bug::EscrowForgetsGrace, I::GraceIsKept, grabbing(dead)),
        (Bug::EscrowClosesUnsigned, I::EntitlementIsCollected, grabbing(calm())),
    ]
}

fn planted() -> Vec<(Bug, Invariant, Scenario)> {
    let lists = [
        planted_at_the_provider(),
        planted_at_the_renter(),
        planted_in_the_escrow(),
    ];
    lists.concat()
}

#[test]
fn every_invariant_has_a_planted_bug() {
    let planted = planted();
    for invariant in Invariant::ALL {
        assert!(
            planted.iter().any(|(_, broken, _)| *broken == invariant),
            "{invariant:?}"
        );
    }
}

#[test]
fn each_planted_bug_breaks_its_invariant_and_nothing_breaks_without_it() {
    for (bug, invariant, scenario) in planted() {
        went_well(&scenario);
        let failure = match run(&scenario, Some(bug)) {
            Err(failure) => failure,
            Ok((outcome, _)) => panic!("{bug:?} was not noticed: {outcome:?}"),
        };
        assert_eq!(failure.violation.invariant, invariant, "{bug:?}: {}", failure.violation);
    }
}

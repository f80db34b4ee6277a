//! The arithmetic of rent, for all prices and times.

use super::*;
use proptest::prelude::*;

fn amount(units: u128) -> Amount {
    Amount::new(units).unwrap()
}

fn tariff(price: u128) -> Tariff {
    Tariff::new(PricePerHour(amount(price)))
}

/// One unit a millisecond.
fn simple() -> Tariff {
    tariff(3_600_000)
}

#[test]
fn a_provider_asks_one_interval_ahead_and_no_more_than_the_cap() {
    assert_eq!(simple().ask(Millis(7_000), Amount::MAX), amount(12_000));
    assert_eq!(simple().ask(Millis(7_000), amount(9_000)), amount(9_000));
}

#[test]
fn work_freezes_four_seconds_after_what_is_paid() {
    assert_eq!(simple().freeze_after(amount(5_000)), Millis(9_000));
}

#[test]
fn a_renter_signs_one_interval_and_a_hundredth_ahead_of_its_count() {
    assert_eq!(simple().willing(Millis(100_000), Amount::MAX), amount(106_000));
    assert_eq!(
        simple().willing_last(Millis(100_000), Amount::MAX),
        amount(101_000),
        "nothing lies ahead at the end"
    );
    assert_eq!(
        simple().willing(Millis(100_000), amount(50_000)),
        amount(50_000),
        "never above the deposit"
    );
}

#[test]
fn the_slack_is_a_hundredth_then_four_seconds_and_the_drift_of_clocks() {
    assert_eq!(slack(Millis(100_000)), Millis(1_000));
    assert_eq!(slack(Millis(300_000)), Millis(3_000));
    let day = Millis::from_secs(86_400);
    assert_eq!(slack(day), Millis(4_000 + 43_200));
}

#[test]
fn a_free_lease_is_covered_for_ever() {
    assert_eq!(tariff(0).covered(Amount::ZERO), Millis::MAX);
    assert_eq!(tariff(0).freeze_after(Amount::ZERO), Millis::MAX);
    assert_eq!(tariff(0).ask(Millis::from_secs(1_000), Amount::MAX), Amount::ZERO);
}

/// Reports each second of work that really went on.
fn steady(clock: &mut WorkClock, from: u64, secs: u64) {
    for second in from + 1..=from + secs {
        clock.hear(
            Millis::from_secs(second),
            Millis::from_secs(second),
            Work::Running,
            Millis::MAX,
        );
    }
}

#[test]
fn frozen_time_is_not_counted_and_cannot_be_saved_up() {
    let mut clock = WorkClock::start(Millis::ZERO);
    steady(&mut clock, 0, 10);
    clock.hear(Millis::from_secs(70), Millis::from_secs(10), Work::Frozen, Millis::MAX);
    clock.hear(Millis::from_secs(71), Millis::from_secs(60), Work::Running, Millis::MAX);
    assert_eq!(
        clock.counted(),
        Millis::from_secs(12),
        "one second passed and one is jitter"
    );
}

#[test]
fn an_older_report_that_comes_late_counts_nothing_and_costs_nothing() {
    let mut clock = WorkClock::start(Millis::ZERO);
    steady(&mut clock, 0, 10);
    clock.hear(Millis::from_secs(14), Millis::from_secs(9), Work::Frozen, Millis::MAX);
    clock.hear(Millis::from_secs(15), Millis::from_secs(15), Work::Running, Millis::MAX);
    assert_eq!(clock.counted(), Millis::from_secs(15));
}

#[test]
fn silence_is_counted_only_as_far_as_honest_work_goes() {
    let mut clock = WorkClock::start(Millis::ZERO);
    steady(&mut clock, 0, 10);
    let bound = simple().work_bound(amount(15_000));
    clock.hear(Millis::from_secs(100), Millis::from_secs(100), Work::Running, bound);
    assert_eq!(clock.counted(), Millis::from_secs(25));
}

proptest! {
    #[test]
    fn what_is_signed_is_bounded_and_never_falls(asked in 0u128..1 << 96, willing in 0u128..1 << 96, signed in 0u128..1 << 96) {
        let (asked, willing, signed) = (amount(asked), amount(willing), amount(signed));
        let answer = sign(asked, willing, signed);
        prop_assert!(answer >= signed);
        prop_assert!(answer <= signed.max(willing));
        prop_assert!(answer <= signed.max(asked));
        prop_assert_eq!(sign(asked, willing, answer), answer, "the same ask again gets the same receipt");
    }

    #[test]
    fn nothing_overflows(price in 0u128..1 << 96, metered: u64, signed in 0u128..1 << 96, deposit in 0u128..1 << 96) {
        let (tariff, metered, deposit) = (tariff(price), Millis(metered), amount(deposit));
        prop_assert!(tariff.ask(metered, deposit) <= deposit);
        prop_assert!(tariff.willing(metered, deposit) <= deposit);
        prop_assert!(tariff.willing_last(metered, deposit) <= tariff.willing(metered, deposit));
        prop_assert!(tariff.freeze_after(amount(signed)) >= tariff.covered(amount(signed)));
    }

    #[test]
    fn a_count_is_never_above_the_own_time_the_report_or_the_bound(
        reports in prop::collection::vec((0u64..20_000, 0u64..30_000, 0u8..4, 0u64..200_000), 0..40),
    ) {
        let mut clock = WorkClock::start(Millis::ZERO);
        let (mut now, mut metered, mut most) = (0, 0, 0);
        for (gap, told, work, bound) in reports {
            now += gap;
            metered += told;
            most = bound.max(most);
            let work = [Work::Idle, Work::Running, Work::Frozen, Work::Gone][usize::from(work)];
            clock.hear(Millis(now), Millis(metered), work, Millis(bound));
            prop_assert!(clock.counted().0 <= now);
            prop_assert!(clock.counted().0 <= metered);
            prop_assert!(clock.counted().0 <= most);
            let before = clock;
            clock.hear(Millis(now), Millis(metered), work, Millis(bound.saturating_mul(2)));
            prop_assert_eq!(clock, before, "the same report again counts nothing");
        }
    }
}

#[test]
fn a_draw_is_worth_a_hundred_fees_and_at_least_the_exposure() {
    let units = |units| Amount::new(units).unwrap();
    assert_eq!(draw_from(units(3), units(1_000)), units(1_000));
    assert_eq!(draw_from(units(30), units(1_000)), units(3_000));
    assert_eq!(
        draw_from(Amount::MAX, Amount::ZERO),
        Amount::MAX,
        "products do not wrap"
    );
}

//! What each side of a running lease has at risk, now and at most: the words of `docs/spec/money.md` as functions.
//!
//! Total functions for displays and questions to people; nothing is decided by them.

use crate::meter::Tariff;
use gpux_types::{Amount, Millis};

/// A disciplined clock is slewed by at most one part in this many.
const DRIFT_DIVISOR: u64 = 2_000;

/// Money that one side would lose if the other did its worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtRisk {
    /// In this moment.
    pub now: Amount,
    /// In the worst moment that the rules allow.
    pub most: Amount,
}

/// The renter's risk: what it signed for work that it has not counted. Of `deposit`, with work signed ahead up to `ahead`.
#[must_use]
pub fn renter_at_risk(
    tariff: &Tariff,
    (signed, deposit): (Amount, Amount),
    counted: Millis,
    ahead: Option<Millis>,
) -> AtRisk {
    let due = tariff.due(counted);
    let two_intervals = two_intervals(tariff).saturating_add(Millis(counted.0 / DRIFT_DIVISOR));
    let upto = counted.max(ahead.unwrap_or_default()).saturating_add(two_intervals);
    let now = signed.saturating_sub(due);
    AtRisk {
        now,
        most: tariff.due(upto).saturating_sub(due).min(deposit).max(now),
    }
}

/// The provider's risk: what it worked without a receipt for it.
#[must_use]
pub fn provider_at_risk(tariff: &Tariff, signed: Amount, metered: Millis) -> AtRisk {
    let due = tariff.due(metered);
    let now = due.saturating_sub(signed);
    let most = tariff.due(metered.saturating_add(two_intervals(tariff)));
    AtRisk {
        now,
        most: most.saturating_sub(due).max(now),
    }
}

fn two_intervals(tariff: &Tariff) -> Millis {
    tariff.interval.saturating_add(tariff.interval)
}

/// What a renter that goes away for `horizon` would sign ahead of the work that it counted, and what it risks by that.
#[must_use]
pub fn away_at_risk(tariff: &Tariff, (signed, deposit): (Amount, Amount), counted: Millis, horizon: Millis) -> AtRisk {
    let ahead = counted.saturating_add(horizon);
    let signed = signed.max(tariff.due(ahead).min(deposit));
    renter_at_risk(tariff, (signed, deposit), counted, Some(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::slack;
    use gpux_types::PricePerHour;
    use proptest::prelude::*;

    fn amount(units: u128) -> Amount {
        Amount::new(units).unwrap()
    }

    /// One unit a millisecond.
    fn tariff() -> Tariff {
        Tariff::new(PricePerHour(amount(3_600_000)))
    }

    #[test]
    fn each_side_risks_what_is_ahead_of_the_other_and_two_intervals_at_most() {
        let renter = renter_at_risk(&tariff(), (amount(25_000), amount(100_000)), Millis(20_000), None);
        assert_eq!((renter.now, renter.most), (amount(5_000), amount(10_010)));
        let provider = provider_at_risk(&tariff(), amount(20_000), Millis(23_000));
        assert_eq!((provider.now, provider.most), (amount(3_000), amount(10_000)));
        let paid = provider_at_risk(&tariff(), amount(25_000), Millis(23_000));
        assert_eq!(paid.now, Amount::ZERO);
    }

    #[test]
    fn who_goes_away_risks_the_horizon_as_well_and_never_more_than_the_deposit() {
        let hour = Millis::from_secs(3_600);
        let of = |deposit| away_at_risk(&tariff(), (amount(25_000), amount(deposit)), Millis(20_000), hour);
        let away = of(10_000_000);
        assert_eq!((away.now, away.most), (amount(3_600_000), amount(3_610_010)));
        let away = of(1_000_000);
        assert_eq!((away.now, away.most), (amount(980_000), amount(1_000_000)));
    }

    proptest! {
        #[test]
        fn what_a_renter_signs_by_the_rules_stays_within_what_it_is_told(
            price in 1u128..1 << 60, counted in 0u64..1 << 40, deposit in 0u128..1 << 95, horizon in 0u64..1 << 40,
        ) {
            let (tariff, deposit) = (Tariff::new(PricePerHour(amount(price))), amount(deposit));
            let willing = tariff.willing(Millis(counted), deposit);
            let risk = renter_at_risk(&tariff, (Amount::ZERO, deposit), Millis(counted), None);
            prop_assert!(willing.saturating_sub(tariff.due(Millis(counted))) <= risk.most);
            let away = away_at_risk(&tariff, (willing, deposit), Millis(counted), Millis(horizon));
            prop_assert!(away.now <= away.most && away.most >= risk.most.min(away.most));
            prop_assert!(slack(Millis(counted)) <= Millis(4_000 + counted / DRIFT_DIVISOR));
        }

        #[test]
        fn honest_work_stays_within_what_a_provider_is_told(
            price in 1u128..1 << 60, signed in 0u128..1 << 90, behind in 0u64..10_000,
        ) {
            let tariff = Tariff::new(PricePerHour(amount(price)));
            let metered = Millis(tariff.work_bound(amount(signed)).0.saturating_sub(behind));
            let before = Millis(metered.0.saturating_sub(10_000));
            let risk = provider_at_risk(&tariff, amount(signed), before);
            let lost = tariff.due(metered).saturating_sub(amount(signed));
            prop_assert!(lost.units() <= risk.most.units() + 1, "{} {:?}", lost, risk);
        }
    }
}

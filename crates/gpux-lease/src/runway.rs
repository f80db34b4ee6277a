//! How long a deposit still lasts, when its renter is warned, and what is added to it by itself.
//!
//! Total functions that the renter's daemon asks now and then; they hold no state.

use crate::meter::Tariff;
use gpux_types::{Amount, Millis};

/// A renter is warned when the deposit pays for less than this much more work: time for a person to act.
const WARN_AT: Millis = Millis::from_secs(600);
/// A fifth of what the deposit pays for in all is early enough where that is less.
const WARN_PART: u64 = 5;
/// The least time that a top-up by itself pays for: less is not worth its fee.
const LEAST_STEP: Millis = Millis::from_secs(60);

/// What a deposit pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runway {
    /// Work in all.
    pub whole: Millis,
    /// Work that is still to be done on it.
    pub left: Millis,
}

impl Runway {
    /// Of a deposit on which so much was worked.
    #[must_use]
    pub fn of(tariff: &Tariff, deposit: Amount, counted: Millis) -> Self {
        let whole = tariff.covered(deposit);
        Self {
            whole,
            left: whole.saturating_sub(counted),
        }
    }

    /// Whether the renter should know that it ends.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.left < WARN_AT.min(Millis(self.whole.0 / WARN_PART))
    }

    /// What to add by itself to a deposit that runs low, of a budget of which `budget` is left for `leases` leases alike: a
    /// quarter of the time that it has paid for, and never more than the lease's share. Nothing when that is not worth it.
    #[must_use]
    pub fn next_top_up(&self, tariff: &Tariff, budget: Amount, leases: u32) -> Option<Amount> {
        let share = Amount::new(budget.units() / u128::from(leases.max(1))).ok()?;
        let step = Millis(self.whole.0 / 4).max(LEAST_STEP);
        let amount = tariff.due(step).min(share);
        let worth = amount > Amount::ZERO && amount >= tariff.due(LEAST_STEP);
        (self.is_low() && worth).then_some(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::PricePerHour;
    use proptest::prelude::*;

    fn amount(units: u128) -> Amount {
        Amount::new(units).unwrap()
    }

    /// One unit a millisecond.
    fn tariff() -> Tariff {
        Tariff::new(PricePerHour(amount(3_600_000)))
    }

    fn runway(deposit_secs: u64, counted_secs: u64) -> Runway {
        let deposit = amount(u128::from(deposit_secs) * 1_000);
        Runway::of(&tariff(), deposit, Millis::from_secs(counted_secs))
    }

    #[test]
    fn a_warning_comes_ten_minutes_before_the_end_or_in_the_last_fifth() {
        assert!(!runway(7_200, 6_600).is_low());
        assert!(runway(7_200, 6_601).is_low());
        assert!(!runway(100, 80).is_low());
        assert!(runway(100, 81).is_low());
        assert!(runway(100, 500).is_low(), "time does not wrap");
    }

    #[test]
    fn a_top_up_buys_a_quarter_of_the_time_within_the_leases_share_of_the_budget() {
        let low = runway(1_000, 900);
        assert_eq!(low.next_top_up(&tariff(), amount(10_000_000), 2), Some(amount(250_000)));
        assert_eq!(low.next_top_up(&tariff(), amount(300_000), 2), Some(amount(150_000)));
        assert_eq!(
            low.next_top_up(&tariff(), amount(100_000), 2),
            None,
            "less than a minute"
        );
        assert_eq!(
            runway(1_000, 500).next_top_up(&tariff(), amount(10_000_000), 1),
            None,
            "not low"
        );
        let free = Tariff::new(PricePerHour::default());
        assert_eq!(
            low.next_top_up(&free, amount(1_000), 1),
            None,
            "what costs nothing needs nothing"
        );
    }

    proptest! {
        #[test]
        fn top_ups_of_all_leases_together_never_pass_the_budget(
            price in 1u128..1 << 60, deposit in 0u128..1 << 90, counted in 0u64..1 << 40, budget in 0u128..1 << 90, leases in 1u32..200,
        ) {
            let tariff = Tariff::new(PricePerHour(amount(price)));
            let runway = Runway::of(&tariff, amount(deposit), Millis(counted));
            if let Some(added) = runway.next_top_up(&tariff, amount(budget), leases) {
                prop_assert!(added.units() * u128::from(leases) <= budget);
                prop_assert!(added > Amount::ZERO);
            }
        }
    }
}

//! When a provider hands over and what a tower does with it. Signatures are checked where there are keys: `gpux-chain`'s tests.

use super::*;
use gpux_types::BasisPoints;
use proptest::prelude::*;

const EXPIRY: UnixSeconds = UnixSeconds(1_000_000);
const GRACE_SECS: u32 = 86_400;

fn units(units: u128) -> Amount {
    Amount::new(units).unwrap()
}

fn handover(amount: u128, reward: u128) -> Handover {
    Handover {
        terms: Terms {
            renter: Address::ZERO,
            receipt_key: Address::ZERO,
            provider: Address::repeat_byte(1),
            provider_signer: Address::ZERO,
            token: Address::ZERO,
            builder: Address::ZERO,
            builder_share: BasisPoints::default(),
            grace_secs: GRACE_SECS,
            salt: B256::ZERO,
        },
        payout: Address::ZERO,
        amount: units(amount),
        cumulative: units(amount),
        receipt: Signature::test_signature(),
        not_before: not_before(EXPIRY, GRACE_SECS),
        reward: units(reward),
        signature: Signature::test_signature(),
    }
}

const fn open(deposit: Amount, claimed: Amount) -> WatchedSlot {
    WatchedSlot {
        deposit,
        claimed,
        expiry: EXPIRY,
        open: true,
        in_final: None,
        collector: true,
    }
}

fn step(amount: u128, claimed: u128, after_expiry: u64, fee: u128) -> TowerStep {
    let slot = open(units(100_000), units(claimed));
    tower_step(
        &handover(amount, 500),
        &slot,
        EXPIRY.plus_secs(after_expiry),
        units(fee),
        Amount::ZERO,
    )
}

#[test]
fn a_lease_is_handed_over_at_once_and_then_each_minute_when_more_was_earned() {
    let mut pace = HandoverPace::default();
    assert!(!pace.is_due(Millis(0), Amount::ZERO), "nothing is not handed over");
    assert!(pace.is_due(Millis(0), units(1)));
    pace.tried(Millis(0));
    assert!(!pace.is_due(Millis(59_999), units(2)), "not yet");
    assert!(
        pace.is_due(Millis(60_000), units(1)),
        "the tower did not take it: again"
    );
    pace.taken(units(1));
    assert!(!pace.is_due(Millis(600_000), units(1)), "it has that");
    assert!(pace.is_due(Millis(60_000), units(2)));
}

#[test]
fn a_tower_collects_in_the_first_second_that_it_may_when_its_reward_is_above_the_fee() {
    let half = u64::from(GRACE_SECS / 2);
    assert_eq!(step(50_000, 0, half - 1, 0), TowerStep::Wait);
    assert_eq!(step(50_000, 0, half, 499), TowerStep::Collect);
    assert_eq!(step(50_000, 0, half, 500), TowerStep::Wait, "the fee is the reward");
    assert_eq!(
        step(50_000, 10_001, half, 400),
        TowerStep::Wait,
        "a hundredth of what is left is 399"
    );
    assert_eq!(step(50_000, 50_000, half, 0), TowerStep::Wait, "all of it was drawn");
    assert_eq!(
        step(200_000, 60_000, half, 399),
        TowerStep::Collect,
        "no more than the deposit"
    );
    assert_eq!(step(200_000, 60_000, half, 400), TowerStep::Wait);
}

#[test]
fn a_tower_sends_nothing_to_a_collector_that_a_reorganisation_took_away() {
    let (offered, there) = (handover(50_000, 500), open(units(100_000), Amount::ZERO));
    let gone = WatchedSlot {
        collector: false,
        ..there
    };
    let at = |slot| tower_step(&offered, &slot, offered.not_before, Amount::ZERO, Amount::ZERO);
    assert_eq!([at(there), at(gone)], [TowerStep::Collect, TowerStep::Wait]);
}

#[test]
fn a_builders_share_is_no_reason_to_pay_a_fee() {
    let mut offered = handover(50_000, 500);
    offered.terms.builder_share = BasisPoints::new(1_000).unwrap();
    let slot = open(units(100_000), Amount::ZERO);
    let at = |fee| tower_step(&offered, &slot, offered.not_before, units(fee), Amount::ZERO);
    assert_eq!([at(449), at(450)], [TowerStep::Collect, TowerStep::Wait]);
}

#[test]
fn a_tower_forgets_what_is_closed_for_ever_or_long_over_and_nothing_else() {
    let end = u64::from(GRACE_SECS) + KEPT_SECS;
    assert_eq!(step(50_000, 0, end, 500), TowerStep::Wait);
    assert_eq!(step(50_000, 0, end + 1, 0), TowerStep::Drop);
    let mut slot = WatchedSlot {
        open: false,
        ..open(units(100_000), Amount::ZERO)
    };
    let offered = handover(50_000, 500);
    let at = |slot: &WatchedSlot| tower_step(&offered, slot, offered.not_before, Amount::ZERO, Amount::ZERO);
    assert!(may_be_over(&offered, &slot, Amount::ZERO));
    slot.in_final = Some(FinalSlot {
        closed: false,
        claimed: Amount::ZERO,
    });
    assert_eq!(at(&slot), TowerStep::Wait, "what closed it may be taken back");
    slot.in_final = Some(FinalSlot {
        closed: true,
        claimed: Amount::ZERO,
    });
    assert_eq!(at(&slot), TowerStep::Drop);
    let gone = WatchedSlot {
        deposit: Amount::ZERO,
        claimed: Amount::ZERO,
        expiry: UnixSeconds(0),
        open: false,
        in_final: None,
        collector: true,
    };
    assert_eq!(at(&gone), TowerStep::Wait, "the deposit may come back");
}

#[test]
fn a_tower_forgets_before_its_time_what_was_drawn_so_far_for_ever_that_the_rest_is_worth_no_place() {
    let deposit = units(100_000);
    let least = units(100);
    let asked = |offered: &Handover, claimed, claimed_in_final| {
        let mut slot = open(deposit, units(claimed));
        let looks = may_be_over(offered, &slot, least);
        slot.in_final = looks.then_some(FinalSlot {
            closed: false,
            claimed: units(claimed_in_final),
        });
        (looks, tower_step(offered, &slot, EXPIRY, units(400), least))
    };
    let offered = handover(50_000, 500);
    assert_eq!(
        asked(&offered, 39_900, 39_900),
        (false, TowerStep::Wait),
        "101 are left"
    );
    assert_eq!(asked(&offered, 39_901, 39_901), (true, TowerStep::Drop), "100 are left");
    assert_eq!(
        asked(&offered, 50_000, 39_900),
        (true, TowerStep::Wait),
        "the draw may be taken back"
    );
    let more_than_is_there = handover(1_000_000, 500);
    assert_eq!(asked(&more_than_is_there, 100_000, 100_000), (true, TowerStep::Drop));
    assert_eq!(asked(&more_than_is_there, 0, 0), (false, TowerStep::Wait));
}

#[test]
fn a_tower_takes_what_is_open_worth_its_fee_and_can_be_used_within_the_grace() {
    let mut offered = handover(50_000, 500);
    let slot = open(units(100_000), Amount::ZERO);
    let fee = units(499);
    assert_eq!(check_slot(&offered, &slot, fee), Ok(()));
    let refused = Err(WatchRefusal::NotWorth(units(500)));
    assert_eq!(
        check_slot(&offered, &slot, units(500)),
        refused,
        "the fee is the reward"
    );
    let closed = WatchedSlot { open: false, ..slot };
    assert_eq!(check_slot(&offered, &closed, fee), Err(WatchRefusal::NotOpen));
    let nowhere = WatchedSlot {
        collector: false,
        ..slot
    };
    assert_eq!(check_slot(&offered, &nowhere, fee), Err(WatchRefusal::NoCollector));
    offered.not_before = EXPIRY.plus_secs(u64::from(GRACE_SECS) + 1);
    assert_eq!(check_slot(&offered, &slot, fee), Err(WatchRefusal::TooLate));
}

#[test]
fn a_tower_takes_a_higher_amount_each_half_minute_and_no_more_leases_than_it_said() {
    const LIMITS: WatchLimits = WatchLimits { leases: 3, of_one: 2 };
    let asked = |amount, now, held, leases, of_one| {
        let watching = Watching { held, leases, of_one };
        admit(units(amount), Millis(now), watching, LIMITS)
    };
    let held = Some((units(5), Millis(1_000)));
    assert_eq!(asked(5, 0, None, 2, 1), Ok(Admission::Keep));
    assert_eq!(asked(5, 0, None, 3, 1), Err(WatchRefusal::Full(3)));
    assert_eq!(asked(5, 0, None, 2, 2), Err(WatchRefusal::FullForOne(2)));
    assert_eq!(
        asked(6, 31_000, held, 3, 2),
        Ok(Admission::Keep),
        "it has its place already"
    );
    assert_eq!(asked(6, 30_999, held, 3, 2), Err(WatchRefusal::TooSoon));
    assert_eq!(asked(5, 1_001, held, 3, 2), Ok(Admission::Known));
    assert_eq!(asked(4, 61_000, held, 3, 2), Err(WatchRefusal::Lower(units(5))));
}

#[test]
fn who_is_paid_and_how_much_is_checked_before_any_signature() {
    let escrow = EscrowRef {
        chain_id: 1,
        address: Address::ZERO,
    };
    let mut offered = handover(5, 0);
    let other = Address::repeat_byte(2);
    let provider = offered.terms.provider;
    let refused = offered.verify(&escrow, other);
    let collector = other;
    assert_eq!(
        refused,
        Err(VerifyHandoverError::OtherCollector { provider, collector })
    );
    offered.cumulative = units(4);
    let refused = offered.verify(&escrow, provider);
    assert!(
        matches!(refused, Err(VerifyHandoverError::Amount { .. })),
        "{refused:?}"
    );
    offered.cumulative = units(5);
    let refused = offered.verify(&escrow, provider);
    assert!(matches!(refused, Err(VerifyHandoverError::Receipt(_))), "{refused:?}");
}

proptest! {
    #[test]
    fn a_reward_is_a_hundredth_and_a_hundred_fees_at_most(amount in 0u128..1 << 96, fee in 0u128..1 << 96) {
        let reward = reward(units(amount), units(fee));
        prop_assert!(reward.units() <= amount / 100);
        prop_assert!(reward.units() <= fee.saturating_mul(100));
        prop_assert!(reward.units() == amount / 100 || reward.units() == fee.saturating_mul(100).min((1 << 96) - 1));
    }

    #[test]
    fn a_tower_never_sends_for_less_than_its_fee_or_before_it_may(
        amount in 1u128..1 << 96, reward in 0u128..1 << 96, deposit in 0u128..1 << 96, claimed in 0u128..1 << 96,
        time in 0u64..1 << 40, fee in 0u128..1 << 96,
    ) {
        let offered = handover(amount, reward);
        let slot = open(units(deposit), units(claimed.min(deposit)));
        if tower_step(&offered, &slot, UnixSeconds(time), units(fee), units(fee)) == TowerStep::Collect {
            prop_assert!(time >= offered.not_before.0);
            let left = amount.min(deposit).saturating_sub(slot.claimed.units());
            prop_assert!(fee < reward.min(left / 100));
        }
    }
}

//! Facts about collectors: they are where they are said to be, and take what the provider's signer signed.

use crate::world::{World, dai, done};
use gpux_chain::{
    Call, Collector, CollectorRevert, Depth, HotKey, Intent, IntentKey, RevertReason, SendError, SlotStatus,
};
use gpux_lease::{Handover, Terms, VerifyHandoverError, not_before, receipt_digest};
use gpux_types::{Address, Amount, UnixSeconds};
use std::sync::Arc;

const PAYOUT: Address = Address::repeat_byte(0x99);

fn collector(world: &World) -> Collector {
    Collector {
        escrow: world.chain.escrow().address,
        signer: world.provider.address(),
        payout: PAYOUT,
    }
}

fn terms(world: &World) -> Terms {
    Terms {
        provider: collector(world).address(),
        ..world.terms(1)
    }
}

/// What the provider leaves when it has earned `amount`.
fn handover(world: &World, amount: Amount, expiry: UnixSeconds) -> Handover {
    let (escrow, terms) = (world.chain.escrow(), terms(world));
    let receipt = receipt_digest(&escrow, terms.lease_id(&escrow), amount);
    let mut words = Handover {
        not_before: not_before(expiry, terms.grace_secs),
        terms,
        payout: PAYOUT,
        amount,
        cumulative: amount,
        receipt: world.receipts.sign_digest(receipt),
        reward: dai(1),
        signature: world.provider.sign_digest(receipt),
    };
    words.signature = world.provider.sign_digest(words.digest(&escrow));
    words
}

fn collect(world: &World, words: &Handover) -> Intent {
    Intent {
        key: IntentKey::collect(words.lease(&world.chain.escrow()), words.amount),
        call: Call::Collect(Box::new(words.clone())),
    }
}

async fn open(world: &mut World) -> UnixSeconds {
    let (expiry, terms) = (world.in_an_hour().await, terms(world));
    let key = IntentKey::open(terms.lease_id(&world.chain.escrow()));
    let call = Call::Open {
        terms,
        deposit: dai(20),
        expiry,
        permit: true,
    };
    let renter = world.renter_sender();
    done(&renter, Intent { key, call }).await.unwrap();
    expiry
}

/// Somebody with coins and nothing to do with the lease.
async fn tower(world: &mut World) -> (Address, gpux_chain::SenderHandle) {
    let key = Arc::new(HotKey::generate());
    world.give_coins(key.address()).await;
    (key.address(), world.sender(key))
}

#[tokio::test]
async fn anybody_collects_for_a_provider_from_the_time_on_that_it_named_and_the_money_goes_where_it_said() {
    let mut world = World::instant().await;
    let expiry = open(&mut world).await;
    let (address, tower) = tower(&mut world).await;
    let (made, newest) = (collector(&world), handover(&world, dai(10), expiry));
    assert!(!world.chain.has_code(made.address()).await.unwrap());
    let deploy = Intent {
        key: IntentKey::deploy(made.address()),
        call: Call::DeployCollector(made),
    };
    done(&tower, deploy).await.unwrap();
    assert!(
        world.chain.has_code(made.address()).await.unwrap(),
        "it is where it was said to be"
    );

    let older = handover(&world, dai(4), expiry);
    let refused = done(&tower, collect(&world, &older)).await.unwrap_err();
    let SendError::Reverted {
        reason: RevertReason::Collector(why),
        ..
    } = refused
    else {
        panic!("{refused:?}")
    };
    assert!(matches!(*why, CollectorRevert::TooEarly(_)), "{why:?}");

    world.jump(newest.not_before).await;
    for (words, paid) in [(&older, dai(4)), (&newest, dai(10))] {
        done(&tower, collect(&world, words)).await.unwrap();
        let slot = world
            .chain
            .lease(words.lease(&world.chain.escrow()), Depth::Latest)
            .await
            .unwrap();
        assert_eq!(
            (slot.claimed, slot.status),
            (paid, SlotStatus::Open),
            "an older one takes nothing from a newer"
        );
    }
    let tower_has = world.chain.token_balance(address).await.unwrap();
    let payout_has = world.chain.token_balance(PAYOUT).await.unwrap();
    let net = dai(10).saturating_sub(newest.terms.builder_share.of(dai(10)));
    assert_eq!(tower_has.units(), net.units() / 100, "a hundredth of what came in");
    assert_eq!(payout_has, net.saturating_sub(tower_has), "and all the rest");
}

#[tokio::test]
async fn what_lies_at_a_collector_is_swept_by_anybody_to_where_it_belongs() {
    let mut world = World::instant().await;
    let (_, tower) = tower(&mut world).await;
    let (made, token) = (collector(&world), world.chain.token().address);
    let renter = world.renter_sender();
    let transfer = Call::TransferToken {
        token,
        to: made.address(),
        amount: dai(3),
    };
    let key = IntentKey::new("early").unwrap();
    done(&renter, Intent { key, call: transfer }).await.unwrap();
    let sweep = |seen| Intent {
        key: IntentKey::sweep(made.address(), UnixSeconds(seen)),
        call: Call::Sweep {
            collector: made.address(),
            token,
        },
    };
    let deploy = Intent {
        key: IntentKey::deploy(made.address()),
        call: Call::DeployCollector(made),
    };
    done(&tower, deploy).await.unwrap();
    done(&tower, sweep(1)).await.unwrap();
    assert_eq!(world.chain.token_balance(PAYOUT).await.unwrap(), dai(3));
    let empty = done(&tower, sweep(2)).await.unwrap_err();
    assert!(
        matches!(
            empty,
            SendError::Reverted {
                reason: RevertReason::Collector(_),
                ..
            }
        ),
        "{empty:?}"
    );
}

#[tokio::test]
async fn a_handover_with_a_word_changed_is_worth_nothing() {
    type Change = fn(&mut Handover);

    let world = World::instant().await;
    let (escrow, good) = (world.chain.escrow(), handover(&world, dai(10), UnixSeconds(7_200)));
    let collector = collector(&world).address();
    assert_eq!(good.verify(&escrow, collector), Ok(terms(&world).lease_id(&escrow)));
    let changes: [(&str, Change); 5] = [
        ("amount", |words| words.amount = dai(9)),
        ("time", |words| words.not_before = words.not_before.plus_secs(1)),
        ("reward", |words| words.reward = dai(2)),
        ("receipt", |words| words.cumulative = dai(11)),
        ("terms", |words| words.terms.grace_secs += 1),
    ];
    for (what, change) in changes {
        let mut words = good.clone();
        change(&mut words);
        let refused = words.verify(&escrow, collector).unwrap_err();
        let signature = matches!(
            refused,
            VerifyHandoverError::Signature(_) | VerifyHandoverError::Receipt(_)
        );
        assert!(signature, "{what}: {refused}");
    }
}

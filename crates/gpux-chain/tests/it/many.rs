//! Facts about calls for many leases.

use crate::world::{World, dai, done};
use gpux_chain::{
    Call, CloseLeg, Depth, EscrowEvent, Intent, IntentKey, JobTerms, NodeTerms, OpenLeg, SenderHandle, SlotStatus,
    TopUpLeg,
};
use gpux_lease::closing_digest;

const LEASES: [u8; 3] = [1, 2, 3];

async fn open_all(world: &World, renter: &SenderHandle) {
    let expiry = world.in_an_hour().await;
    let leg = |salt: &u8| OpenLeg {
        node: NodeTerms::of(&world.terms(*salt)),
        deposit: dai(10),
        expiry,
    };
    let open = Intent {
        key: IntentKey::many(&IntentKey::open(world.lease(1))),
        call: Call::OpenMany {
            job: JobTerms::of(&world.terms(1)),
            legs: LEASES.iter().map(leg).collect(),
            permit: true,
        },
    };
    let opened = done(renter, open).await.unwrap();
    assert_eq!(opened.events.len(), 3, "{:?}", opened.events);
}

fn top_up_all(world: &World) -> Intent {
    let leg = |salt: &u8| TopUpLeg {
        node: NodeTerms::of(&world.terms(*salt)),
        amount: dai(5),
        new_expiry: None,
    };
    Intent {
        key: IntentKey::many(&IntentKey::top_up(world.lease(1), 1)),
        call: Call::TopUpMany {
            job: JobTerms::of(&world.terms(1)),
            legs: LEASES.iter().map(leg).collect(),
            permit: true,
        },
    }
}

/// Closes all with what their provider signed: 4 each.
fn close_all(world: &World) -> Intent {
    let leg = |salt: &u8| CloseLeg {
        node: NodeTerms::of(&world.terms(*salt)),
        amount: dai(4),
        signature: world
            .provider
            .sign_digest(closing_digest(&world.chain.escrow(), world.lease(*salt), dai(4))),
    };
    Intent {
        key: IntentKey::many(&IntentKey::close(world.lease(1))),
        call: Call::CloseMany {
            job: JobTerms::of(&world.terms(1)),
            legs: LEASES.iter().map(leg).collect(),
        },
    }
}

#[tokio::test]
async fn three_leases_are_opened_topped_up_and_closed_in_three_transactions() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    open_all(&world, &renter).await;
    let topped_up = done(&renter, top_up_all(&world)).await.unwrap();
    assert_eq!(topped_up.events.len(), 3);
    let closed = done(&renter, close_all(&world)).await.unwrap();
    for salt in LEASES {
        let slot = world.chain.lease(world.lease(salt), Depth::Latest).await.unwrap();
        assert_eq!(
            (slot.deposit, slot.claimed),
            (dai(15), dai(4)),
            "the lease of salt {salt}"
        );
        assert_eq!(slot.status, SlotStatus::Closed);
        let builder_paid = world.terms(salt).builder_share.of(dai(4));
        let expected = EscrowEvent::Closed {
            lease: world.lease(salt),
            paid: dai(4).saturating_sub(builder_paid),
            builder_paid,
            refund: dai(11),
        };
        assert!(closed.events.contains(&expected), "{:?}", closed.events);
    }
    assert_eq!(world.all_dai().await, dai(100));
    assert_eq!(world.transactions_of(world.renter.address()).await, 3);
    assert_eq!(world.transactions_of(world.provider.address()).await, 0);
}

#[tokio::test]
async fn a_lease_that_its_provider_settled_first_is_left_out_and_the_others_are_closed() {
    let mut world = World::instant().await;
    let (renter, provider) = (world.renter_sender(), world.sender(world.provider.clone()));
    open_all(&world, &renter).await;
    done(&provider, world.settle(2, dai(7))).await.unwrap();
    let topped_up = done(&renter, top_up_all(&world)).await.unwrap();
    let closed = done(&renter, close_all(&world)).await.unwrap();
    for events in [&topped_up.events, &closed.events] {
        let skipped = events
            .iter()
            .filter(|event| matches!(event, EscrowEvent::Skipped { lease, .. } if *lease == world.lease(2)));
        assert_eq!(skipped.count(), 1, "{events:?}");
        assert_eq!(events.len(), 3);
    }
    let slot = world.chain.lease(world.lease(2), Depth::Latest).await.unwrap();
    assert_eq!(
        (slot.deposit, slot.claimed),
        (dai(10), dai(7)),
        "as the provider settled it"
    );
    assert_eq!(world.all_dai().await, dai(100));
}

#[tokio::test]
async fn a_draw_pays_what_a_receipt_owes_and_the_settlement_only_the_rest() {
    let mut world = World::instant().await;
    let (renter, provider) = (world.renter_sender(), world.sender(world.provider.clone()));
    done(&renter, world.open(1, dai(10)).await).await.unwrap();
    let Call::Settle {
        terms,
        cumulative,
        signature,
        ..
    } = world.settle(1, dai(3)).call
    else {
        panic!("a settlement")
    };
    let draw = Intent {
        key: IntentKey::draw(world.lease(1), 1),
        call: Call::Draw {
            terms,
            amount: cumulative,
            cumulative,
            signature: signature.unwrap(),
        },
    };
    let drawn = done(&provider, draw).await.unwrap();
    assert!(matches!(drawn.events.as_slice(), [EscrowEvent::Drawn { claimed, .. }] if *claimed == dai(3)));
    let slot = world.chain.lease(world.lease(1), Depth::Latest).await.unwrap();
    assert_eq!((slot.claimed, slot.status), (dai(3), SlotStatus::Open));
    let settled = done(&provider, world.settle(1, dai(4))).await.unwrap();
    let EscrowEvent::Settled {
        paid,
        builder_paid,
        refund,
        ..
    } = settled.events[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!(paid.saturating_add(builder_paid), dai(1), "the rest of four");
    assert_eq!(refund, dai(6));
    assert_eq!(world.all_dai().await, dai(100));
}

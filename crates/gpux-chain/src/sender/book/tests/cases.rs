//! Single facts, each as short a history as shows it.

use super::world::{Lie, Publish, Step, World, key, receipt, refusal};
use crate::{
    call::{Call, Intent},
    client::Head,
    confirm::Depth,
    journal::{EntryState, PermitUse},
    sender::{
        Command, SendError,
        book::{Book, Effect, Event, Place, Status, nonces::Claim, track::Track, version::Version},
        jobs::{Poll, PublishError},
        prepare::{Again, Prepared},
    },
};
use gpux_types::{Address, Amount, B256, UnixSeconds};
use std::{mem, time::Duration};

const REFUSED: Publish = Publish::Refused { kept: false };

impl World {
    /// Runs everything that is asked for until nothing is.
    fn settle(&mut self, publish: Publish) {
        while !self.effects.is_empty() {
            for effect in mem::take(&mut self.effects) {
                self.run(effect, publish, 0);
            }
        }
    }

    fn sent(&mut self, number: u8, publish: Publish) {
        self.send(number);
        self.settle(publish);
    }

    /// So many seconds and blocks later the book has looked again, and what it asked for is done.
    fn later(&mut self, secs: u64, blocks: usize) {
        for _ in 0..blocks {
            self.empty_block();
        }
        self.now += Duration::from_secs(secs);
        self.handle(Event::PollDue);
        self.settle(Publish::Accepted);
    }

    fn nonce_of(&self, number: u8) -> Option<u64> {
        self.book.tracks.get(&key(number)).map(Track::nonce)
    }

    fn is_pending(&self, number: u8) -> bool {
        self.book.tracks.get(&key(number)).is_some_and(Track::is_pending)
    }
}

#[test]
fn a_refused_nonce_is_the_next_one_that_is_given() {
    let mut world = World::new(None);
    // Both are signed before either is handed over.
    world.send(0);
    world.send(1);
    for effect in mem::take(&mut world.effects) {
        world.run(effect, Publish::Accepted, 0);
    }
    let [first, second]: [Effect; 2] = mem::take(&mut world.effects).try_into().ok().unwrap();
    world.run(first, REFUSED, 0);
    world.run(second, Publish::Accepted, 0);
    world.settle(Publish::Accepted);
    assert_eq!((world.nonce_of(0), world.nonce_of(1)), (Some(0), Some(1)));
    world.sent(2, Publish::Accepted);
    assert_eq!(world.nonce_of(2), Some(0), "the second waits behind it");
    assert_eq!(world.pooled(), [0, 1]);
}

/// The first of two is refused, and nobody sends anything else.
fn with_a_gap() -> World {
    let mut world = World::new(None);
    world.send(0);
    world.send(1);
    for effect in mem::take(&mut world.effects) {
        world.run(effect, Publish::Accepted, 0);
    }
    for effect in mem::take(&mut world.effects) {
        let refused = matches!(&effect, Effect::Publish { key: of, .. } if *of == key(0));
        world.run(effect, if refused { REFUSED } else { Publish::Accepted }, 0);
    }
    world.settle(Publish::Accepted);
    assert_eq!(world.pooled(), [1]);
    world
}

#[test]
fn a_gap_that_nobody_fills_is_used_up_after_a_while_over_restarts_too() {
    for restarted in [false, true] {
        let mut world = with_a_gap();
        if restarted {
            world.step(&super::Step::Restart);
            world.settle(Publish::Accepted);
            assert!(
                !world.is_pending(0),
                "what was reported as refused is not sent again by itself"
            );
        }
        world.later(1, 1);
        world.later(29, 5);
        assert_eq!(world.pooled(), [1], "the caller may try again first");
        world.later(2, 0);
        assert_eq!(world.pooled(), [0, 1], "restarted: {restarted}");
        world.come_to_rest();
        world.check_rest().unwrap();
        assert_eq!(world.nonce_of(1), None, "it is final");
    }
}

#[test]
fn without_new_blocks_no_gap_is_filled_and_no_fee_is_raised() {
    let mut world = with_a_gap();
    let before = world.journaled().len();
    for _ in 0..200 {
        world.later(60, 0);
    }
    assert_eq!(world.journaled().len(), before);
}

#[test]
fn a_refused_intent_keeps_its_nonce_and_gets_no_other_until_it_is_final_what_that_went_to() {
    let mut world = World::new(None);
    world.sent(0, REFUSED);
    assert_eq!(world.book.claim(&key(0), 0), Claim::Bound(0));
    world.sent(0, REFUSED);
    assert_eq!(world.nonce_of(0), Some(0), "again under the same one");
    world.sent(1, Publish::Accepted);
    assert_eq!(world.nonce_of(1), Some(0), "others may use it");
    assert_eq!(world.book.claim(&key(0), 0), Claim::Undecided(0));
    world.step(&Step::Block {
        transactions: 1,
        choice: 1,
    });
    world.later(1, 0);
    assert_eq!(
        world.book.claim(&key(0), 1),
        Claim::Undecided(0),
        "a block that may be taken back"
    );
    world.step(&super::Step::Finalize);
    world.later(20, 0);
    world.later(20, 0);
    world.later(40, 0);
    assert_eq!(world.book.claim(&key(0), 1), Claim::Free);
    let states: Vec<_> = world.journaled().iter().map(|entry| entry.state).collect();
    assert!(states.contains(&EntryState::Final { succeeded: true }), "{states:?}");
    assert!(!states.contains(&EntryState::Refused), "{states:?}");
    world.sent(0, Publish::Accepted);
    assert_eq!(world.nonce_of(0), Some(1));
}

#[test]
fn what_was_refused_and_mined_all_the_same_is_found_and_not_sent_again() {
    let mut world = World::new(None);
    world.sent(0, Publish::Refused { kept: true });
    world.step(&Step::Block {
        transactions: 1,
        choice: 1,
    });
    world.sent(0, Publish::Accepted);
    assert_eq!(world.journaled().len(), 1, "the chain counts its nonce as used");
    world.later(1, 0);
    let status = world.book.tracks[&key(0)].progress.borrow().status.clone();
    assert!(matches!(status, Status::Mined { .. }), "{status:?}");
}

#[test]
fn what_is_found_to_be_final_while_it_is_prepared_again_is_not_signed_again() {
    let mut world = World::new(None);
    world.sent(0, Publish::Refused { kept: true });
    world.step(&Step::Block {
        transactions: 1,
        choice: 1,
    });
    world.step(&Step::Finalize);
    world.send(0);
    let [prepare]: [Effect; 1] = mem::take(&mut world.effects).try_into().ok().unwrap();
    // Another call makes the book hear how many of its transactions are in blocks.
    world.sent(2, Publish::Accepted);
    world.later(1, 0);
    world.run(prepare, Publish::Accepted, 0);
    world.settle(Publish::Accepted);
    assert_eq!(world.nonce_of(0), None);
    assert!(world.book.done[&key(0)].succeeded);
}

#[test]
fn only_the_next_in_line_is_offered_more_and_only_after_blocks_went_by() {
    let mut world = World::new(None);
    world.sent(0, Publish::Accepted);
    world.sent(1, Publish::Accepted);
    for _ in 0..100 {
        world.later(31, 0);
    }
    assert_eq!(world.journaled().len(), 2, "no blocks were made");
    for _ in 0..5 {
        world.later(31, 3);
    }
    let nonces: Vec<_> = world.journaled().iter().map(|entry| entry.nonce).collect();
    assert!(nonces.iter().filter(|nonce| **nonce == 0).count() > 1, "{nonces:?}");
    assert_eq!(nonces.iter().filter(|nonce| **nonce == 1).count(), 1, "{nonces:?}");
}

#[test]
fn a_sequencer_that_ignores_a_transaction_for_hours_is_offered_eight_times_the_tip_at_most() {
    let mut world = World::new(None);
    world.sent(0, Publish::Accepted);
    for _ in 0..200 {
        world.later(43, 7);
    }
    let tips = || world.offered().iter().map(|(_, tip)| *tip);
    let (least, most) = (tips().min().unwrap(), tips().max().unwrap());
    assert!(most <= 8 * least, "{least} to {most}");
    assert!(world.journaled().len() <= 20, "{}", world.journaled().len());
}

fn head() -> Head {
    Head {
        number: 100,
        hash: B256::ZERO,
        parent: B256::ZERO,
        timestamp: UnixSeconds(1),
        base_fee: 1_000_000,
    }
}

/// A poll that counts so many transactions and knows no receipt.
fn counted(world: &World, count: u64, firm_count: u64) -> Event {
    Event::Polled(Ok(Poll {
        head: head(),
        safe: None,
        finalized: None,
        count,
        firm_count: Some(firm_count),
        receipts: world.book.tracks.keys().map(|key| (key.clone(), Vec::new())).collect(),
    }))
}

#[test]
fn a_nonce_that_seems_taken_is_not_given_up_before_that_is_final() {
    let mut world = World::new(None);
    world.sent(0, Publish::Accepted);
    for _ in 0..100 {
        let poll = counted(&world, 1, 0);
        world.handle(poll);
        world.now += Duration::from_secs(60);
    }
    assert_eq!(
        world.effects.len(),
        0,
        "a chain node that lags may not know the receipt"
    );
    let poll = counted(&world, 1, 1);
    world.handle(poll);
    assert_eq!(world.effects.len(), 0, "said once");
    world.now += Duration::from_secs(31);
    let poll = counted(&world, 1, 1);
    world.handle(poll);
    assert!(
        matches!(world.effects.as_slice(), [Effect::Simulate { .. }]),
        "whether it still works is found out first"
    );
}

/// Its first nonce went to another program's transaction for ever.
fn lost() -> World {
    let mut world = World::new(None);
    world.sent(0, Publish::Accepted);
    for _ in 0..2 {
        let poll = counted(&world, 1, 1);
        world.handle(poll);
        world.now += Duration::from_secs(31);
    }
    world.effects.clear();
    world
}

fn again() -> Again {
    Again {
        head: head(),
        tip: 1,
        count: 1,
        gas_limit: 77_000,
    }
}

#[test]
fn a_call_whose_nonce_is_lost_is_signed_again_only_if_it_still_works() {
    let mut world = lost();
    world.handle(Event::Simulated {
        key: key(0),
        result: Ok(again()),
    });
    assert_eq!(world.nonce_of(0), Some(1));
    let mut world = lost();
    let reason = refusal("execution reverted")
        .refusal()
        .and_then(crate::RevertReason::of);
    world.handle(Event::Simulated {
        key: key(0),
        result: Err(SendError::Reverted {
            key: key(0),
            reason: reason.unwrap(),
        }),
    });
    assert_eq!(world.nonce_of(0), None);
    assert_eq!(
        world.book.claim(&key(0), 1),
        Claim::Free,
        "it may be sent again, with a new permit"
    );
}

#[test]
fn the_success_of_an_older_version_counts_and_the_revert_of_a_newer_one_does_not_hide_it() {
    let mut world = lost();
    world.handle(Event::Simulated {
        key: key(0),
        result: Ok(again()),
    });
    let hashes: Vec<_> = world.book.tracks[&key(0)]
        .versions
        .iter()
        .map(|version| version.entry.hash)
        .collect();
    let receipt = |hash: B256, status: &str| {
        let receipt = serde_json::json!({
            "transactionHash": hash, "blockHash": B256::ZERO, "blockNumber": "0x5", "status": status,
            "from": Address::ZERO, "gasUsed": "0x1", "effectiveGasPrice": "0x1", "logs": [],
        });
        serde_json::from_value::<crate::mined::RawReceipt>(receipt).unwrap()
    };
    let poll = |receipts| {
        Event::Polled(Ok(Poll {
            head: head(),
            safe: None,
            finalized: None,
            count: 2,
            firm_count: None,
            receipts: vec![(key(0), receipts)],
        }))
    };
    world.handle(poll(vec![receipt(hashes[0], "0x0")]));
    assert!(
        world.is_pending(0),
        "what was reverted under the former nonce says nothing"
    );
    world.handle(poll(vec![receipt(hashes[1], "0x0"), receipt(hashes[0], "0x1")]));
    let status = world.book.tracks[&key(0)].progress.borrow().status.clone();
    assert!(
        matches!(&status, Status::Mined { mined, .. } if mined.succeeded && mined.hash == hashes[0]),
        "{status:?}"
    );
}

fn prepared(count: u64, permit_nonce: Option<u64>) -> Prepared {
    let call = Call::TransferNative {
        to: Address::ZERO,
        wei: 0,
    };
    Prepared {
        intent: Intent { key: key(9), call },
        head: head(),
        tip: 0,
        count,
        mined: count,
        native: u128::MAX,
        token_balance: Amount::MAX,
        permit_nonce,
        permit_deadline: 0,
        gas_limit: 21_000,
    }
}

/// A book with transactions on their way, by nonce and permit nonce.
fn on_their_way(book: &mut Book, transactions: &[(u64, Option<u64>)]) {
    for (index, (nonce, permit)) in transactions.iter().enumerate() {
        let token = Address::repeat_byte(3);
        let place = Place {
            nonce: *nonce,
            permit: *permit,
        };
        let permit = permit.map(|nonce| PermitUse { token, nonce });
        let fees = super::super::Fees { max: 2, tip: 1 };
        let version = Version::sign(&book.chain, &*book.signer, &prepared(0, None), place, (fees, permit)).unwrap();
        let mut track = Track::new();
        track.versions.push(version);
        book.tracks.insert(key(u8::try_from(index).unwrap()), track);
    }
}

#[test]
fn permits_follow_the_order_of_the_nonces_and_gaps_of_both_are_filled_together() {
    let token = Some(Address::repeat_byte(3));
    let place = |nonce, permit| Place {
        nonce,
        permit: Some(permit),
    };
    let placed = |transactions: &[(u64, Option<u64>)], bound| {
        let mut world = World::new(None);
        on_their_way(&mut world.book, transactions);
        world.book.place(&prepared(5, Some(2)), bound, token)
    };
    assert_eq!(placed(&[], None), place(5, 2));
    assert_eq!(placed(&[(5, Some(2)), (6, Some(3))], None), place(7, 4));
    assert_eq!(placed(&[(6, Some(3))], None), place(5, 2), "where both are missing");
    assert_eq!(
        placed(&[(6, Some(2))], None),
        place(7, 3),
        "not before one whose permit is first"
    );
    assert_eq!(placed(&[(6, None)], None), place(5, 2));
    assert_eq!(placed(&[(6, Some(3))], Some(5)), place(5, 2), "bound to its nonce");
}

#[test]
fn bytes_that_the_journal_did_not_take_are_free_of_their_nonce_and_taken_back_in_the_journal() {
    let mut world = World::new(None);
    world.sent(0, Publish::NotJournaled { kept: true });
    assert_eq!(world.nonce_of(0), None);
    assert_eq!(world.journaled()[0].state, EntryState::Superseded);
    world.sent(1, Publish::Accepted);
    assert_eq!(world.nonce_of(1), Some(0));
}

#[test]
fn nobody_can_tell_of_a_block_with_bytes_that_never_left() {
    let mut world = World::new(None);
    world.send(0);
    let [prepare]: [Effect; 1] = mem::take(&mut world.effects).try_into().ok().unwrap();
    world.run(prepare, Publish::Accepted, 0);
    world.step(&Step::Lie(Some(Lie::Receipts)));
    // Asked before the bytes were signed, answered after.
    let hash = world.book.tracks[&key(0)].newest().entry.hash;
    let early = Event::Polled(Ok(Poll {
        head: head(),
        safe: Some(1),
        finalized: Some(1),
        count: 0,
        firm_count: Some(0),
        receipts: vec![(key(0), vec![receipt(hash, 0, true)])],
    }));
    let [publish]: [Effect; 1] = mem::take(&mut world.effects).try_into().ok().unwrap();
    world.handle(early);
    assert!(world.is_pending(0));
    world.run(publish, Publish::NotJournaled { kept: false }, 0);
    let [fail]: [Effect; 1] = mem::take(&mut world.effects).try_into().ok().unwrap();
    world.handle(Event::PollDue);
    assert_eq!(world.effects.len(), 0, "nothing is asked about");
    world.run(fail, Publish::Accepted, 0);
    assert!(world.book.done.is_empty() && world.book.tracks.is_empty());
}

#[test]
fn nothing_is_handed_over_before_the_journal_has_answered() {
    let mut world = World::new(None);
    world.send(0);
    let [prepare]: [Effect; 1] = mem::take(&mut world.effects).try_into().ok().unwrap();
    world.run(prepare, Publish::Accepted, 0);
    let waiting = mem::take(&mut world.effects);
    world.send(0);
    for _ in 0..3 {
        let poll = counted(&world, 0, 0);
        world.handle(poll);
        world.now += Duration::from_secs(60);
    }
    assert_eq!(world.effects.len(), 0, "a slow disk");
    let Effect::Publish { key: of, hash, .. } = &waiting[0] else {
        panic!("it is published")
    };
    world.handle(Event::Published {
        key: of.clone(),
        hash: *hash,
        result: Err(PublishError::Rpc(refusal("already known"))),
    });
    assert!(world.is_pending(0));
}

impl World {
    fn could_take_effect(&mut self, number: u8) -> bool {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let key = key(number);
        self.handle(Event::Command(Command::CouldTakeEffect { key, reply }));
        answer.try_recv().unwrap()
    }
}

#[test]
fn money_is_not_free_before_a_final_block_says_that_its_transaction_did_nothing() {
    let mut world = World::new(None);
    assert!(!world.could_take_effect(0));
    world.sent(0, REFUSED);
    assert!(world.could_take_effect(0), "refused, and perhaps kept");
    world.sent(0, Publish::Accepted);
    // The choice of a block that reverts its first transaction.
    world.step(&Step::Block {
        transactions: 1,
        choice: 0,
    });
    world.later(1, 0);
    let status = world.book.tracks[&key(0)].progress.borrow().status.clone();
    assert!(
        matches!(&status, Status::Mined { mined, depth: Depth::Latest } if !mined.succeeded),
        "{status:?}"
    );
    assert!(world.could_take_effect(0), "the block may be taken back");
    world.step(&super::Step::Finalize);
    world.later(20, 0);
    assert!(world.could_take_effect(0), "said once");
    world.later(31, 0);
    assert!(!world.could_take_effect(0));
}

#[test]
fn a_count_that_cannot_be_is_believed_only_when_it_is_told_for_long() {
    let mut world = World::new(None);
    world.sent(0, Publish::Accepted);
    let told = |world: &mut World, secs: u64, count: u64| {
        world.now += Duration::from_secs(secs);
        let poll = counted(world, count, count);
        world.handle(poll);
        world.book.counted
    };
    assert_eq!(told(&mut world, 0, 5_000), 0);
    assert_eq!(told(&mut world, 500, 5_000), 0);
    assert_eq!(told(&mut world, 50, 0), 0, "an answer that can be");
    assert_eq!(told(&mut world, 60, 5_000), 0, "from here anew");
    assert_eq!(told(&mut world, 590, 5_000), 0);
    assert_eq!(told(&mut world, 20, 5_000), 5_000, "another program used the wallet");
}

#[test]
fn what_two_transactions_would_do_twice_keeps_its_far_nonce_and_holds_up_nobody() {
    let mut world = World::new(None);
    world.step(&super::Step::Lie(Some(super::Lie::Counts(1_000_000))));
    world.sent(0, Publish::Accepted);
    world.sent(1, Publish::Accepted);
    assert_eq!(
        (world.nonce_of(0), world.nonce_of(1)),
        (Some(1_000_000), Some(1_000_001))
    );
    world.step(&super::Step::Lie(None));
    for _ in 0..4 {
        world.later(31, 1);
    }
    assert_eq!((world.nonce_of(0), world.nonce_of(1)), (Some(1_000_000), Some(0)));
    assert!(!world.is_pending(0), "it holds nobody's money or place");
    assert!(world.could_take_effect(0));
    assert_eq!(world.book.claim(&key(0), 0), Claim::Undecided(1_000_000));
}

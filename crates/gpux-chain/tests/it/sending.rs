//! Facts about sending.

use crate::world::{World, dai, done, until, within};
use gpux_chain::{
    Call, Depth, EntryState, EscrowEvent, EscrowRevert, Intent, IntentKey, Journal, JournalEntry, MemoryJournal, Retry,
    RevertReason, SendError, SenderConfig, SenderHandle, Sent, SlotStatus,
};
use gpux_types::{Address, Amount};
use std::{
    io,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

#[tokio::test]
async fn a_lease_is_opened_topped_up_and_settled_with_permits_and_no_unit_is_lost() {
    let mut world = World::instant().await;
    let (renter, provider) = (world.renter_sender(), world.sender(world.provider.clone()));
    let (lease, terms) = (world.lease(1), world.terms(1));
    let opened = done(&renter, world.open(1, dai(10)).await).await.unwrap();
    let expiry = world.in_an_hour().await.plus_secs(600);
    let topped_up = done(&renter, world.top_up(1, dai(5), Some(expiry))).await.unwrap();
    let slot = world.chain.lease(lease, Depth::Latest).await.unwrap();
    let found = (slot.deposit, slot.status, slot.expiry);
    assert_eq!(found, (dai(15), SlotStatus::Open, expiry));

    let settled = done(&provider, world.settle(1, dai(4))).await.unwrap();
    let slot = world.chain.lease(lease, Depth::Latest).await.unwrap();
    assert_eq!((slot.claimed, slot.status), (dai(4), SlotStatus::Closed));
    assert_eq!(world.all_dai().await, dai(100));

    let builder_paid = terms.builder_share.of(dai(4));
    let (renter, provider, token) = (terms.renter, terms.provider, terms.token);
    let expected = [
        (opened.hash, opened.events[0].clone()),
        (
            topped_up.hash,
            EscrowEvent::ToppedUp {
                lease,
                from: renter,
                amount: dai(5),
                deposit: dai(15),
                expiry,
            },
        ),
        (
            settled.hash,
            EscrowEvent::Settled {
                lease,
                paid: dai(4).saturating_sub(builder_paid),
                builder_paid,
                refund: dai(11),
            },
        ),
    ];
    let EscrowEvent::Opened { expiry, .. } = opened.events[0] else {
        panic!("{opened:?}")
    };
    assert_eq!(
        expected[0].1,
        EscrowEvent::Opened {
            lease,
            renter,
            provider,
            token,
            deposit: dai(10),
            expiry
        }
    );
    let logs = world.chain.lease_logs(lease, 0).await.unwrap();
    let found: Vec<_> = logs.into_iter().map(|log| (log.transaction, log.event)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_mined_transaction_tells_what_it_cost_and_what_it_would_cost_on_l1() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    let mined = done(&renter, world.open(1, dai(10)).await).await.unwrap();
    assert_eq!(mined.l2_fee, u128::from(mined.gas_used) * mined.effective_gas_price);
    assert_eq!(mined.l1_fee, None, "anvil charges none");
    let estimate = mined.l1_fee_estimate.unwrap();
    assert!(
        estimate.scalars.assumed && estimate.wei > 0 && estimate.fastlz_bytes > 200,
        "{estimate:?}"
    );
    // The chain node tells the same of anybody's transaction.
    assert_eq!(world.chain.mined(mined.hash).await.unwrap(), Some(mined));
}

#[tokio::test]
async fn three_leases_open_in_one_block_and_their_permits_follow_each_other() {
    let mut world = World::manual().await;
    let renter = world.renter_sender();
    let intents = [
        world.open(1, dai(1)).await,
        world.open(2, dai(2)).await,
        world.open(3, dai(3)).await,
    ];
    let [first, second, third] = intents.map(|intent| renter.send(intent));
    let (first, second, third) = tokio::try_join!(first, second, third).unwrap();
    world.devnet.mine().await.unwrap();
    let confirmed = [first, second, third].map(|sent| renter.confirmed(sent.hash, Depth::Latest));
    let [first, second, third] = confirmed;
    let (first, second, third) = within(async { tokio::try_join!(first, second, third) }).await.unwrap();
    assert_eq!((first.block, second.block), (second.block, third.block));
    assert_eq!(
        world.chain.token_balance(world.chain.escrow().address).await.unwrap(),
        dai(6)
    );
}

#[tokio::test]
async fn the_same_intent_is_sent_once_however_often_it_is_asked_for() {
    let mut world = World::manual().await;
    let journal = Arc::new(MemoryJournal::default());
    let (renter, stop) = world.sender_with(world.renter.clone(), journal.clone(), SenderConfig::default());
    let intent = world.open(1, dai(1)).await;
    let (first, second) = tokio::try_join!(renter.send(intent.clone()), renter.send(intent.clone())).unwrap();
    assert_eq!(first, second);
    assert_eq!(renter.send(intent.clone()).await.unwrap(), first);
    world.devnet.mine().await.unwrap();
    within(renter.confirmed(first.hash, Depth::Latest)).await.unwrap();
    assert_eq!(renter.send(intent.clone()).await.unwrap(), first);
    stop.cancel();
    let (restarted, _) = world.sender_with(world.renter.clone(), journal, SenderConfig::default());
    assert_eq!(restarted.send(intent).await.unwrap(), first);
    within(restarted.confirmed(first.hash, Depth::Latest)).await.unwrap();
    assert_eq!(world.transactions_of(world.renter.address()).await, 1);
}

/// A journal whose machine loses power right after the first entry is on the disk.
struct LastWords {
    entries: MemoryJournal,
    recorded: mpsc::Sender<()>,
    power: Mutex<mpsc::Receiver<()>>,
}

impl Journal for LastWords {
    fn record(&self, entry: &JournalEntry) -> io::Result<()> {
        self.entries.record(entry)?;
        self.recorded.send(()).unwrap();
        // Ends when the test does.
        let _ = self.power.lock().unwrap().recv();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn load(&self) -> io::Result<Vec<JournalEntry>> {
        self.entries.load()
    }
}

/// A renter that crashed after journaling a lease's opening and before sending it.
async fn crashed_before_broadcast(world: &mut World) -> (Intent, MemoryJournal, mpsc::Sender<()>) {
    let entries = MemoryJournal::default();
    let ((recorded, on_disk), (power_line, power)) = (mpsc::channel(), mpsc::channel());
    let journal = LastWords {
        entries: entries.clone(),
        recorded,
        power: Mutex::new(power),
    };
    let (renter, crash) = world.sender_with(world.renter.clone(), Arc::new(journal), SenderConfig::default());
    let intent = world.open(1, dai(1)).await;
    let asked = intent.clone();
    let sending = tokio::spawn(async move { renter.send(asked).await });
    tokio::task::spawn_blocking(move || on_disk.recv().unwrap())
        .await
        .unwrap();
    crash.cancel();
    assert!(matches!(sending.await.unwrap(), Err(SendError::Stopped { .. })));
    assert_eq!(entries.load().unwrap().len(), 1);
    (intent, entries, power_line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_journal_and_broadcast_leads_to_the_same_bytes_being_sent() {
    let mut world = World::instant().await;
    let (intent, entries, _power) = crashed_before_broadcast(&mut world).await;
    let journaled = entries.load().unwrap()[0].clone();
    assert_eq!(world.transactions_of(world.renter.address()).await, 0);
    let (restarted, _) = world.sender_with(world.renter.clone(), Arc::new(entries.clone()), SenderConfig::default());
    let sent = restarted.send(intent).await.unwrap();
    assert_eq!(sent.hash, journaled.hash);
    within(restarted.confirmed(sent.hash, Depth::Latest)).await.unwrap();
    assert_eq!(world.transactions_of(world.renter.address()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_that_another_program_took_is_replaced_and_the_lease_still_opens_once() {
    let mut world = World::instant().await;
    let (intent, entries, _power) = crashed_before_broadcast(&mut world).await;
    let journaled = entries.load().unwrap()[0].clone();
    let outside = world.renter_sender();
    let transfer = Call::TransferNative {
        to: Address::repeat_byte(5),
        wei: 1,
    };
    done(
        &outside,
        Intent {
            key: IntentKey::new("outside").unwrap(),
            call: transfer,
        },
    )
    .await
    .unwrap();
    let (restarted, _) = world.sender_with(world.renter.clone(), Arc::new(entries.clone()), impatient());
    let sent = restarted.send(intent).await.unwrap();
    assert_eq!(sent.hash, journaled.hash, "the journaled bytes are tried first");
    let waiting = restarted.confirmed(sent.hash, Depth::Latest);
    tokio::pin!(waiting);
    let too_early = tokio::time::timeout(Duration::from_millis(500), &mut waiting);
    assert!(too_early.await.is_err(), "the other transaction is in no final block");
    let mined = while_blocks_are_made(&world, waiting).await.unwrap();
    assert_ne!(mined.hash, journaled.hash);
    assert_eq!(
        world.chain.lease(world.lease(1), Depth::Latest).await.unwrap().deposit,
        dai(1)
    );
    assert_eq!(world.transactions_of(world.renter.address()).await, 2);
}

/// Does something about what waits at once.
fn impatient() -> SenderConfig {
    SenderConfig {
        bump_after: Duration::from_millis(100),
        ..SenderConfig::default()
    }
}

async fn while_blocks_are_made<T>(world: &World, happening: impl Future<Output = T>) -> T {
    let blocks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.devnet.mine().await.unwrap();
        }
    };
    tokio::select! {
        done = within(happening) => done,
        () = blocks => unreachable!("blocks are made until the test ends"),
    }
}

#[tokio::test]
async fn an_outside_transaction_between_two_sends_does_not_disturb_them() {
    let mut world = World::instant().await;
    let (renter, outside) = (world.renter_sender(), world.renter_sender());
    done(&renter, world.open(1, dai(1)).await).await.unwrap();
    let transfer = Call::TransferNative {
        to: Address::repeat_byte(5),
        wei: 7,
    };
    done(
        &outside,
        Intent {
            key: IntentKey::new("outside").unwrap(),
            call: transfer,
        },
    )
    .await
    .unwrap();
    done(&renter, world.open(2, dai(1)).await).await.unwrap();
    assert_eq!(world.chain.native_balance(Address::repeat_byte(5)).await.unwrap(), 7);
}

#[tokio::test]
async fn a_transaction_that_blocks_go_by_without_is_offered_more_under_the_same_nonce() {
    let mut world = World::manual().await;
    let journal = MemoryJournal::default();
    let config = SenderConfig {
        max_fee_per_gas: 100_000_000_000,
        ..impatient()
    };
    let (renter, _) = world.sender_with(world.renter.clone(), Arc::new(journal.clone()), config);
    let sent = renter.send(world.open(1, dai(1)).await).await.unwrap();
    let dear = async {
        while journal.load().unwrap().len() < 2 {
            let base_fee = serde_json::json!(["0x4a817c800"]);
            world
                .devnet
                .control("anvil_setNextBlockBaseFeePerGas", base_fee)
                .await
                .unwrap();
            world.devnet.mine().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(dear).await;
    let mined = while_blocks_are_made(&world, renter.confirmed(sent.hash, Depth::Latest))
        .await
        .unwrap();
    assert_ne!(mined.hash, sent.hash);
    let nonces: Vec<_> = journal.load().unwrap().iter().map(|entry| entry.nonce).collect();
    assert!(nonces.iter().all(|nonce| *nonce == nonces[0]), "{nonces:?}");
    assert_eq!(world.transactions_of(world.renter.address()).await, 1);
}

/// A journal on a disk that is slow and then fails for the first entry, and works for all others.
struct FailsOnce {
    entries: MemoryJournal,
    recording: mpsc::Sender<()>,
    fail: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Journal for FailsOnce {
    fn record(&self, entry: &JournalEntry) -> io::Result<()> {
        let failing = self.fail.lock().unwrap().take();
        match failing {
            Some(fail) => {
                self.recording.send(()).unwrap();
                fail.recv().unwrap();
                Err(io::ErrorKind::StorageFull.into())
            }
            None => self.entries.record(entry),
        }
    }

    fn load(&self) -> io::Result<Vec<JournalEntry>> {
        self.entries.load()
    }
}

/// A renter with a transaction that waits behind a nonce which nobody uses.
async fn behind_a_gap(world: &mut World) -> (SenderHandle, Sent) {
    let ((fail, failing), (recording, is_recording)) = (mpsc::channel(), mpsc::channel());
    let journal = FailsOnce {
        entries: MemoryJournal::default(),
        recording,
        fail: Mutex::new(Some(failing)),
    };
    let (renter, _) = world.sender_with(world.renter.clone(), Arc::new(journal), impatient());
    let sender = renter.clone();
    let first = tokio::spawn(async move { sender.send(transfer("first")).await });
    tokio::task::spawn_blocking(move || is_recording.recv().unwrap())
        .await
        .unwrap();
    // Signed under the next nonce.
    let second = renter.send(transfer("second")).await.unwrap();
    fail.send(()).unwrap();
    let failed = first.await.unwrap();
    assert!(matches!(failed, Err(SendError::Journal { .. })), "{failed:?}");
    (renter, second)
}

fn transfer(name: &str) -> Intent {
    let call = Call::TransferNative {
        to: Address::repeat_byte(5),
        wei: 1,
    };
    Intent {
        key: IntentKey::new(name).unwrap(),
        call,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_transaction_fills_a_gap_that_a_failed_one_left() {
    let mut world = World::manual().await;
    let (renter, second) = behind_a_gap(&mut world).await;
    let third = renter.send(transfer("third")).await.unwrap();
    world.devnet.mine().await.unwrap();
    for sent in [second, third] {
        within(renter.confirmed(sent.hash, Depth::Latest)).await.unwrap();
    }
    assert_eq!(world.transactions_of(world.renter.address()).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_that_nobody_fills_is_filled_by_the_sender() {
    let mut world = World::manual().await;
    let (renter, second) = behind_a_gap(&mut world).await;
    while_blocks_are_made(&world, renter.confirmed(second.hash, Depth::Latest))
        .await
        .unwrap();
    assert_eq!(world.transactions_of(world.renter.address()).await, 2);
}

#[tokio::test]
async fn an_empty_wallet_is_told_what_it_has_and_needs_and_nothing_is_sent() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    let error = renter.send(world.open(1, dai(101)).await).await.unwrap_err();
    let SendError::InsufficientBalance { have, need, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*have, *need, error.retry()), (dai(100), dai(101), Retry::Never));
    let transfer = Call::TransferNative {
        to: Address::repeat_byte(5),
        wei: u128::MAX,
    };
    let error = renter
        .send(Intent {
            key: IntentKey::new("all").unwrap(),
            call: transfer,
        })
        .await
        .unwrap_err();
    assert!(
        matches!(error, SendError::InsufficientNative { need: u128::MAX, .. }),
        "{error}"
    );
    // Enough for what is sent, but not for the fee as well.
    let wei = world.chain.native_balance(world.renter.address()).await.unwrap() - 1;
    let transfer = Call::TransferNative {
        to: Address::repeat_byte(5),
        wei,
    };
    let error = renter
        .send(Intent {
            key: IntentKey::new("rest").unwrap(),
            call: transfer,
        })
        .await
        .unwrap_err();
    assert!(
        matches!(error, SendError::InsufficientNative { need, .. } if need > wei),
        "{error}"
    );
    assert_eq!(world.transactions_of(world.renter.address()).await, 0);
}

#[tokio::test]
async fn leases_on_their_way_count_against_the_balance() {
    let mut world = World::manual().await;
    let renter = world.renter_sender();
    renter.send(world.open(1, dai(60)).await).await.unwrap();
    let error = renter.send(world.open(2, dai(60)).await).await.unwrap_err();
    let SendError::InsufficientBalance { have, need, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((have, need), (dai(100), dai(120)));
}

#[tokio::test]
async fn a_call_that_would_revert_is_refused_with_the_contracts_reason_and_not_sent() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    let intent = world.top_up(1, dai(1), None);
    let error = renter.send(intent).await.unwrap_err();
    let SendError::Reverted {
        reason: RevertReason::Escrow(reason),
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(matches!(**reason, EscrowRevert::LeaseNotOpen(_)), "{reason:?}");
    assert!(error.to_string().contains("LeaseNotOpen"), "{error}");
    let error = renter.send(world.settle(1, dai(1))).await.unwrap_err();
    let SendError::Reverted {
        reason: RevertReason::Escrow(reason),
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(matches!(**reason, EscrowRevert::CallerNotProvider(_)), "{reason:?}");
    assert_eq!(world.transactions_of(world.renter.address()).await, 0);
}

#[tokio::test]
async fn without_a_permit_a_standing_allowance_is_used_and_its_absence_is_told() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    let plain = |intent: Intent| {
        let Call::Open {
            terms, deposit, expiry, ..
        } = intent.call
        else {
            unreachable!("it opens a lease")
        };
        Intent {
            key: intent.key,
            call: Call::Open {
                terms,
                deposit,
                expiry,
                permit: false,
            },
        }
    };
    let intent = plain(world.open(1, dai(3)).await);
    let error = renter.send(intent.clone()).await.unwrap_err();
    let SendError::NeedsAllowance { have, need, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((have, need), (Amount::ZERO, dai(3)));
    let token = world.chain.token().address;
    let approve = Call::Approve { token, amount: dai(50) };
    done(
        &renter,
        Intent {
            key: IntentKey::new("approve").unwrap(),
            call: approve,
        },
    )
    .await
    .unwrap();
    done(&renter, intent).await.unwrap();
    // A permit would replace the allowance by its own; a standing one that is enough is left alone.
    done(&renter, world.open(2, dai(3)).await).await.unwrap();
    assert_eq!(world.chain.allowance(world.renter.address()).await.unwrap(), dai(44));
}

#[tokio::test]
async fn an_allowance_that_a_transaction_on_its_way_uses_up_is_not_counted_twice() {
    let mut world = World::manual().await;
    let renter = world.renter_sender();
    let token = world.chain.token().address;
    let approve = Call::Approve { token, amount: dai(5) };
    renter
        .send(Intent {
            key: IntentKey::new("approve").unwrap(),
            call: approve,
        })
        .await
        .unwrap();
    world.devnet.mine().await.unwrap();
    let first = renter.send(world.open(1, dai(4)).await).await.unwrap();
    let second = renter.send(world.open(2, dai(4)).await).await.unwrap();
    world.devnet.mine().await.unwrap();
    within(renter.confirmed(first.hash, Depth::Latest)).await.unwrap();
    within(renter.confirmed(second.hash, Depth::Latest)).await.unwrap();
}

#[tokio::test]
async fn a_deeper_confirmation_waits_for_deeper_blocks_and_ends_the_journal_entry() {
    let mut world = World::manual().await;
    let journal = MemoryJournal::default();
    let (renter, _) = world.sender_with(world.renter.clone(), Arc::new(journal.clone()), SenderConfig::default());
    let sent = renter.send(world.open(1, dai(1)).await).await.unwrap();
    world.devnet.mine().await.unwrap();
    let mined = within(renter.confirmed(sent.hash, Depth::Latest)).await.unwrap();
    let finalized_head = world.chain.head_at(Depth::Finalized).await.unwrap();
    assert!(finalized_head.number < mined.block, "{finalized_head:?}");
    assert_eq!(journal.load().unwrap().len(), 1);
    let too_early = tokio::time::timeout(
        Duration::from_millis(300),
        renter.confirmed(sent.hash, Depth::Finalized),
    );
    assert!(too_early.await.is_err(), "it is in the newest block only");
    let finalized = renter.confirmed(sent.hash, Depth::Finalized);
    tokio::pin!(finalized);
    for _ in 0..4 {
        world.devnet.mine().await.unwrap();
    }
    assert_eq!(within(finalized).await.unwrap(), mined);
    assert!(world.chain.head_at(Depth::Finalized).await.unwrap().number >= mined.block);
    until(|| journal.load().unwrap()[0].state == EntryState::Final { succeeded: true }).await;
    assert_eq!(
        within(renter.confirmed(sent.hash, Depth::Finalized)).await.unwrap(),
        mined
    );
}

#[tokio::test]
async fn a_transaction_that_a_reorganisation_dropped_is_sent_again_with_the_same_bytes() {
    let mut world = World::manual().await;
    let renter = world.renter_sender();
    let sent = renter.send(world.open(1, dai(1)).await).await.unwrap();
    world
        .devnet
        .control("anvil_mine", serde_json::json!(["0x1"]))
        .await
        .unwrap();
    let first = within(renter.confirmed(sent.hash, Depth::Latest)).await.unwrap();
    world
        .devnet
        .control("anvil_reorg", serde_json::json!([1, []]))
        .await
        .unwrap();
    assert_eq!(world.chain.mined(sent.hash).await.unwrap(), None);
    // The sender looks after a block that nobody waits for only now and then: waiting for a deeper block wakes it.
    let again = while_blocks_are_made(&world, renter.confirmed(sent.hash, Depth::Safe))
        .await
        .unwrap();
    assert_eq!(again.hash, first.hash);
    assert_ne!(again.block_hash, first.block_hash);
}

#[tokio::test]
async fn from_send_to_mined_on_instant_blocks_takes_a_few_round_trips() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    done(&renter, world.open(1, dai(1)).await).await.unwrap();
    let intent = world.open(2, dai(1)).await;
    let begun = tokio::time::Instant::now();
    done(&renter, intent).await.unwrap();
    let took = begun.elapsed();
    println!("open to mined on instant blocks: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{took:?}");
}

//! Facts about watching.

use crate::world::{World, dai, done, within};
use gpux_chain::{
    Chain, ChainConfig, Depth, Journal, LeaseSeen, MemoryJournal, SenderConfig, SlotStatus, WatchCursor, WatcherConfig,
    WatcherHandle, watcher,
};
use gpux_types::B256;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

fn watching(world: &mut World, chain: &Chain, cursor: Option<WatchCursor>) -> WatcherHandle {
    let (handle, task) = watcher(chain.clone(), WatcherConfig::default(), cursor);
    let cancel = world.cancelled();
    world.spawn(task.run(cancel));
    handle
}

async fn until(receiver: &mut watch::Receiver<Option<LeaseSeen>>, wanted: impl Fn(&LeaseSeen) -> bool) -> LeaseSeen {
    let seen = receiver.wait_for(|seen| seen.as_ref().is_some_and(&wanted));
    let seen = within(seen).await;
    seen.unwrap().unwrap()
}

#[tokio::test]
async fn a_lease_is_seen_open_then_deeper_then_closed() {
    let mut world = World::manual().await;
    let (renter, provider) = (world.renter_sender(), world.sender(world.provider.clone()));
    let chain = world.chain.clone();
    let handle = watching(&mut world, &chain, None);
    let mut receiver = handle.watch(world.lease(1));
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::None).await;
    renter.send(world.open(1, dai(2)).await).await.unwrap();
    world.devnet.mine().await.unwrap();
    let seen = until(&mut receiver, |seen| seen.latest.status == SlotStatus::Open).await;
    assert_eq!(
        (seen.at(Depth::Latest).deposit, seen.at(Depth::Finalized).status),
        (dai(2), SlotStatus::None)
    );
    for _ in 0..4 {
        world.devnet.mine().await.unwrap();
    }
    until(&mut receiver, |seen| seen.finalized.status == SlotStatus::Open).await;
    provider.send(world.settle(1, dai(1))).await.unwrap();
    world.devnet.mine().await.unwrap();
    let seen = until(&mut receiver, |seen| seen.latest.status == SlotStatus::Closed).await;
    assert_eq!(seen.latest.claimed, dai(1));
}

#[tokio::test]
async fn a_deposit_that_a_reorganisation_took_back_is_seen_gone() {
    let mut world = World::manual().await;
    let chain = world.chain.clone();
    let handle = watching(&mut world, &chain, None);
    let mut receiver = handle.watch(world.lease(1));
    let renter = world.renter_sender();
    renter.send(world.open(1, dai(2)).await).await.unwrap();
    world.devnet.mine().await.unwrap();
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::Open).await;
    world.devnet.control("anvil_reorg", json!([1, []])).await.unwrap();
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::None).await;
}

#[tokio::test]
async fn a_deposit_that_is_only_on_the_other_side_of_a_reorganisation_is_seen() {
    let mut world = World::manual().await;
    let journal = MemoryJournal::default();
    let config = SenderConfig::default();
    let (renter, stop) = world.sender_with(world.renter.clone(), Arc::new(journal.clone()), config);
    renter.send(world.open(1, dai(2)).await).await.unwrap();
    stop.cancel();
    let opening = journal.load().unwrap()[0].raw.clone();
    world
        .devnet
        .control("anvil_dropAllTransactions", json!([]))
        .await
        .unwrap();
    for _ in 0..4 {
        world.devnet.mine().await.unwrap();
    }
    let chain = world.chain.clone();
    let handle = watching(&mut world, &chain, None);
    let mut receiver = handle.watch(world.lease(1));
    until(&mut receiver, |seen| seen.finalized.status == SlotStatus::None).await;
    world
        .devnet
        .control("anvil_reorg", json!([1, [[opening, 0]]]))
        .await
        .unwrap();
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::Open).await;
}

/// Sets the chain back to before a deposit that was seen, and returns after how many polls that is believed.
async fn polls_until_a_chain_set_back_is_believed(config: WatcherConfig) -> u128 {
    let mut world = World::manual().await;
    let chain = world.chain.clone();
    let (handle, task) = watcher(chain.clone(), config, None);
    let cancel = world.cancelled();
    world.spawn(task.run(cancel));
    let mut receiver = handle.watch(world.lease(1));
    let renter = world.renter_sender();
    until(&mut receiver, |_| true).await;
    world.devnet.control("evm_snapshot", json!([])).await.unwrap();
    renter.send(world.open(1, dai(2)).await).await.unwrap();
    world.devnet.mine().await.unwrap();
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::Open).await;
    world.devnet.control("evm_revert", json!(["0x0"])).await.unwrap();
    let begun = tokio::time::Instant::now();
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::None).await;
    begun.elapsed().as_millis() / chain.config().poll_interval.as_millis()
}

#[tokio::test]
async fn a_chain_that_is_set_back_to_an_older_block_is_believed_after_a_while_and_a_refresh_that_is_due_makes_it_no_sooner()
 {
    let always_due = WatcherConfig {
        refresh: Duration::ZERO,
        ..WatcherConfig::default()
    };
    for config in [WatcherConfig::default(), always_due] {
        let polls = polls_until_a_chain_set_back_is_believed(config).await;
        assert!(polls >= 8, "believed after {polls} polls");
    }
}

#[tokio::test]
async fn a_chain_node_that_is_away_only_delays_what_is_seen() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    let config = ChainConfig {
        call_timeout: Duration::from_millis(300),
        ..world.chain.config().clone()
    };
    let impatient = Chain::connect(config).await.unwrap();
    let handle = watching(&mut world, &impatient, None);
    let mut receiver = handle.watch(world.lease(1));
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::None).await;
    let intent = world.open(1, dai(2)).await;
    let pid = Pid::from_raw(world.devnet.info().anvil.pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // The signal takes a moment to stop every thread.
    let unanswered = async {
        loop {
            if let Err(error) = impatient.head().await {
                return error;
            }
        }
    };
    let error = within(unanswered).await;
    assert!(matches!(error.retry(), gpux_chain::Retry::After(_)), "{error}");
    kill_process(pid, Signal::CONT).unwrap();
    done(&renter, intent).await.unwrap();
    until(&mut receiver, |seen| seen.latest.status == SlotStatus::Open).await;
}

#[tokio::test]
async fn a_restarted_watcher_goes_on_at_its_cursor_also_when_that_block_is_gone() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    let head = world.chain.head().await.unwrap();
    done(&renter, world.open(1, dai(2)).await).await.unwrap();
    for hash in [head.hash, B256::repeat_byte(1)] {
        let cursor = WatchCursor {
            number: head.number,
            hash,
        };
        let chain = world.chain.clone();
        let handle = watching(&mut world, &chain, Some(cursor));
        let mut receiver = handle.watch(world.lease(1));
        until(&mut receiver, |seen| seen.latest.status == SlotStatus::Open).await;
        let newest = world.chain.head().await.unwrap();
        let mut cursor = handle.cursor();
        cursor
            .wait_for(|cursor| cursor.is_some_and(|cursor| cursor.hash == newest.hash))
            .await
            .unwrap();
    }
}

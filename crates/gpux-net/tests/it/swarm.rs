//! The nodes of one job bring a blob together: its sender sends it about once, whatever some of them do.

use crate::{
    blobs::{Mischief, dishonest_giver},
    support::{TestNode, lease, start, ticket_of},
};
use gpux_net::{AddMode, BlobRef, FetchError, Givers, Keeper, PeerFetchError};
use gpux_types::NodeId;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const LEASE: fn(u8) -> Keeper = |number| Keeper::Lease(lease(number));

/// Bytes that no compression or chance repeats.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// A number that may be set for a run by hand.
fn set(name: &str, usual: u8) -> usize {
    std::env::var(name).map_or(usize::from(usual), |text| text.parse().unwrap())
}

async fn add(sender: &TestNode, bytes: Vec<u8>) -> BlobRef {
    let file = sender.dir.path().join(format!("sent-{}", bytes.len()));
    std::fs::write(&file, &bytes).unwrap();
    sender.net.add_file(&file, AddMode::Reference, LEASE(0)).await.unwrap()
}

/// Nodes that know each other and the sender, which lets each have the blob, and that share it with each other and `others`.
async fn job(sender: &TestNode, count: usize, blob: BlobRef, others: &[NodeId]) -> Vec<Arc<TestNode>> {
    let mut nodes = Vec::new();
    for seed in (100..).take(count) {
        nodes.push(Arc::new(start(seed, &[]).await));
    }
    let all = everybody(&nodes, others);
    for (number, node) in (0..).zip(&nodes) {
        for other in &nodes {
            node.net.remember(other.ticket());
        }
        node.net.remember(sender.ticket());
        sender.net.allow(lease(number), node.id(), [blob.hash]);
        node.net.share(lease(1), &all, &[blob.hash], sender.id());
    }
    nodes
}

fn everybody(nodes: &[Arc<TestNode>], others: &[NodeId]) -> Vec<NodeId> {
    nodes
        .iter()
        .map(|node| node.id())
        .chain(others.iter().copied())
        .collect()
}

/// All take the blob at once; how long the last took.
async fn all_take(sender: &TestNode, nodes: &[Arc<TestNode>], others: &[NodeId], blob: BlobRef) -> Duration {
    let (peers, from, began) = (everybody(nodes, others), sender.id(), Instant::now());
    let takes = nodes.iter().cloned().map(|node| {
        let peers = peers.clone();
        tokio::spawn(async move {
            let from = Givers {
                sender: from,
                peers: &peers,
            };
            node.net.take(from, blob, LEASE(1), None).await
        })
    });
    for take in takes.collect::<Vec<_>>() {
        take.await.unwrap().unwrap();
    }
    for node in nodes {
        assert_eq!(node.net.find(blob.hash).await.unwrap(), Some(blob));
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_nodes_bring_a_blob_and_its_sender_sends_less_than_one_and_a_half() {
    let (count, mib) = (set("GPUX_SWARM_NODES", 20), set("GPUX_SWARM_MIB", 24));
    let sender = start(1, &[]).await;
    let blob = add(&sender, noise(mib << 20, 1)).await;
    let nodes = job(&sender, count, blob, &[]).await;
    let took = all_take(&sender, &nodes, &[], blob).await;
    let sent = sender.net.stats().blob_bytes_sent;
    let (copies, rest) = (sent / blob.size, sent % blob.size * 100 / blob.size);
    println!("{count} nodes and {mib} MiB: the sender sent {copies}.{rest:02} copies; all had it after {took:?}");
    assert!(
        sent >= blob.size && sent <= blob.size * 3 / 2,
        "{sent} of {}",
        blob.size
    );
    let others: u64 = nodes.iter().map(|node| node.net.stats().blob_bytes_sent).sum();
    assert!(
        (others + sent) / blob.size >= nodes.len() as u64,
        "the rest came from each other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_lie_stall_or_are_gone_hold_nobody_up_and_are_not_believed() {
    let sender = start(1, &[]).await;
    let bytes = noise(12 << 20, 2);
    let blob = add(&sender, bytes.clone()).await;
    let cut = Mischief::Cut {
        after: 100_000,
        connection: true,
    };
    let mut hostile = Vec::new();
    for (seed, mischief) in [(51, Mischief::Corrupt), (52, Mischief::Stall { after: 0 }), (53, cut)] {
        hostile.push(dishonest_giver(seed, bytes.clone(), mischief).await.0);
    }
    let gone = NodeId(*iroh::SecretKey::from_bytes(&[77; 32]).public().as_bytes());
    let idle = start(60, &[]).await;
    let mut others: Vec<NodeId> = hostile.iter().map(|peer| ticket_of(peer).node).collect();
    others.extend([gone, idle.id()]);
    let nodes = job(&sender, 3, blob, &others).await;
    for node in &nodes {
        for peer in &hostile {
            node.net.remember(ticket_of(peer));
        }
        node.net.remember(idle.ticket());
    }
    let took = all_take(&sender, &nodes, &others, blob).await;
    println!("with five of eight hostile or gone: {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    for node in &nodes {
        assert!(node.net.read_bytes(blob.hash, blob.size).await.unwrap() == bytes);
    }
    let sent = sender.net.stats().blob_bytes_sent;
    assert!(sent <= blob.size * 2, "{sent} of {}", blob.size);
}

fn peer_error(error: FetchError) -> PeerFetchError {
    match error {
        FetchError::Peer { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gives_to_the_nodes_of_the_job_alone_and_only_what_its_renter_sent() {
    let (alice, bob, provider) = (start(1, &[]).await, start(2, &[]).await, start(3, &[]).await);
    let (friend, stranger) = (start(4, &[]).await, start(5, &[]).await);
    for taker in [&provider, &friend, &stranger] {
        for giver in [&alice, &bob, &provider] {
            taker.net.remember(giver.ticket());
        }
    }
    let bytes = noise(6 << 20, 3);
    let blob = add(&alice, bytes.clone()).await;
    alice.net.allow(lease(1), provider.id(), [blob.hash]);
    provider
        .net
        .take(Givers::alone(alice.id()), blob, LEASE(1), None)
        .await
        .unwrap();

    // Bob knows the hash and names it in a job of his own, on the same node and on one of a friend's.
    provider.net.share(lease(2), &[friend.id()], &[blob.hash], bob.id());
    let fetch = async |taker: &TestNode| taker.net.fetch(&[provider.id()], blob, LEASE(2), None).await;
    let missing = peer_error(fetch(&friend).await.unwrap_err());
    let as_if_not_here = matches!(missing, PeerFetchError::Missing);
    assert!(as_if_not_here, "{missing:?}: it is Alice's");

    provider.net.share(lease(3), &[friend.id()], &[blob.hash], alice.id());
    let refused = peer_error(fetch(&stranger).await.unwrap_err());
    assert!(
        matches!(refused, PeerFetchError::Refused),
        "{refused:?}: it is not of the job"
    );
    fetch(&friend).await.unwrap();
    assert!(friend.net.read_bytes(blob.hash, blob.size).await.unwrap() == bytes);

    let second = add(&bob, noise(3 << 20, 4)).await;
    bob.net.allow(lease(4), provider.id(), [second.hash]);
    provider
        .net
        .take(Givers::alone(bob.id()), second, LEASE(4), None)
        .await
        .unwrap();
    provider.net.share(lease(4), &[friend.id()], &[second.hash], bob.id());
    provider.net.revoke(lease(4));
    let refused = friend.net.fetch(&[provider.id()], second, LEASE(4), None).await;
    assert!(
        matches!(peer_error(refused.unwrap_err()), PeerFetchError::Refused),
        "the lease is over"
    );
}

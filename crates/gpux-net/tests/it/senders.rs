//! What one node sent is not there for another that only knows its hash, and need not be sent twice.

use crate::support::{TestNode, lease, start, start_with};
use gpux_net::{BlobRef, FetchError, Givers, Keeper, Limits, PeerFetchError};
use gpux_types::UnixSeconds;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Bytes that no compression or chance repeats.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

const LEASE: fn(u8) -> Keeper = |number| Keeper::Lease(lease(number));

/// A renter that gives the provider what it has.
async fn renter(seed: u8, provider: &TestNode) -> TestNode {
    let renter = start(seed, &[]).await;
    provider.net.remember(renter.ticket());
    renter
}

/// Lets the provider have the blob from the renter, which may have it or not.
fn grant(renter: &TestNode, provider: &TestNode, blob: BlobRef) {
    renter.net.allow(lease(1), provider.id(), [blob.hash]);
}

async fn received(provider: &TestNode, act: impl Future<Output = Result<(), FetchError>>) -> Result<u64, FetchError> {
    let before = provider.net.stats().blob_bytes_received;
    act.await?;
    Ok(provider.net.stats().blob_bytes_received - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_knows_a_hash_gets_nothing_of_what_another_sent() {
    let provider = start(1, &[]).await;
    let (alice, bob) = (renter(2, &provider).await, renter(3, &provider).await);
    let bytes = noise(5_000_000, 1);
    let blob = alice.net.add_bytes(bytes.clone(), LEASE(9)).await.unwrap();
    for renter in [&alice, &bob] {
        grant(renter, &provider, blob);
    }
    let net = &provider.net;
    let all = received(&provider, net.take(Givers::alone(alice.id()), blob, LEASE(1), None)).await;
    assert!(all.unwrap() >= blob.size);

    let refused = net
        .take(Givers::alone(bob.id()), blob, LEASE(2), None)
        .await
        .unwrap_err();
    let FetchError::Peer { source, .. } = refused else {
        panic!("{refused:?}");
    };
    assert!(
        matches!(source, PeerFetchError::Missing),
        "{source:?}: as if it were not here"
    );
    assert_eq!(net.find(blob.hash).await.unwrap(), Some(blob));

    // With the bytes it is as with one that is not here: all of them are sent, and only then it is.
    bob.net.add_bytes(bytes, LEASE(9)).await.unwrap();
    let again = received(&provider, net.take(Givers::alone(bob.id()), blob, LEASE(2), None))
        .await
        .unwrap();
    assert!(again >= blob.size, "{again}");
    for renter in [&alice, &bob] {
        let nothing = received(&provider, net.take(Givers::alone(renter.id()), blob, LEASE(3), None)).await;
        assert_eq!(nothing.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_began_to_send_is_sent_by_whoever_comes_next_too() {
    let provider = start(1, &[]).await;
    let (alice, bob) = (renter(2, &provider).await, renter(3, &provider).await);
    let bytes = noise(60_000_000, 2);
    let blob = alice.net.add_bytes(bytes.clone(), LEASE(9)).await.unwrap();
    bob.net.add_bytes(bytes, LEASE(9)).await.unwrap();
    for renter in [&alice, &bob] {
        grant(renter, &provider, blob);
    }
    let net = provider.net.clone();
    let (progress, mut seen) = watch::channel(0);
    let from = alice.id();
    let begun = tokio::spawn(async move { net.take(Givers::alone(from), blob, LEASE(1), Some(&progress)).await });
    seen.wait_for(|bytes| *bytes > 1 << 20).await.unwrap();
    begun.abort();
    let _ = begun.await;
    let before = provider.net.stats().blob_bytes_received;
    let all = received(
        &provider,
        provider.net.take(Givers::alone(bob.id()), blob, LEASE(2), None),
    )
    .await;
    assert!(all.unwrap() >= blob.size, "what Alice sent is not Bob's");
    // Alice sent the beginning, which is here now by Bob: hers too only when she sends it.
    let all = received(
        &provider,
        provider.net.take(Givers::alone(alice.id()), blob, LEASE(1), None),
    )
    .await;
    assert!(all.unwrap() >= blob.size);
    assert!(before < blob.size, "it was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_of_ones_own_that_was_cut_goes_on() {
    let provider = start(1, &[]).await;
    let alice = renter(2, &provider).await;
    let blob = alice.net.add_bytes(noise(60_000_000, 3), LEASE(9)).await.unwrap();
    grant(&alice, &provider, blob);
    let (net, from, (progress, mut seen)) = (provider.net.clone(), alice.id(), watch::channel(0));
    let begun = tokio::spawn(async move { net.take(Givers::alone(from), blob, LEASE(1), Some(&progress)).await });
    seen.wait_for(|bytes| *bytes > 20 << 20).await.unwrap();
    begun.abort();
    let _ = begun.await;
    let rest = received(
        &provider,
        provider.net.take(Givers::alone(alice.id()), blob, LEASE(1), None),
    )
    .await;
    assert!(rest.unwrap() < 45_000_000);
}

/// A provider whose store collects all the time, with so much room.
async fn collecting(cache_bytes: u64, dir: &Arc<tempfile::TempDir>) -> TestNode {
    let limits = Limits {
        cache_bytes,
        collect_interval: Duration::from_millis(100),
        ..Limits::default()
    };
    start_with(1, &[], limits, dir.clone()).await
}

async fn is_deleted(node: &TestNode, blob: BlobRef) {
    let gone = async {
        while node.net.find(blob.hash).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_stays_over_collections_and_restarts_and_is_not_sent_again() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let provider = collecting(10_000_000, &dir).await;
    let alice = renter(2, &provider).await;
    let blob = alice.net.add_bytes(noise(3_000_000, 4), LEASE(9)).await.unwrap();
    let unkept = alice.net.add_bytes(noise(100_000, 5), LEASE(9)).await.unwrap();
    for blob in [blob, unkept] {
        grant(&alice, &provider, blob);
        provider
            .net
            .take(Givers::alone(alice.id()), blob, LEASE(1), None)
            .await
            .unwrap();
    }
    for date in [1, 2] {
        let kept = provider.net.keep_sent(alice.id(), &[blob], UnixSeconds(date)).await;
        kept.unwrap();
    }
    provider.net.release(LEASE(1)).await.unwrap();
    is_deleted(&provider, unkept).await;
    assert_eq!(provider.net.cached(), (3_000_000, 0));
    provider.net.shutdown().await;
    drop(provider);

    let provider = collecting(10_000_000, &dir).await;
    provider.net.remember(alice.ticket());
    assert_eq!(provider.net.cached(), (3_000_000, 0));
    provider
        .net
        .take(Givers::alone(alice.id()), unkept, LEASE(2), None)
        .await
        .unwrap();
    provider.net.release(LEASE(2)).await.unwrap();
    is_deleted(&provider, unkept).await;
    let nothing = received(
        &provider,
        provider.net.take(Givers::alone(alice.id()), blob, LEASE(2), None),
    )
    .await;
    assert_eq!(nothing.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_room_is_deleted_unless_a_lease_works_with_it() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let provider = collecting(5_000_000, &dir).await;
    let alice = renter(2, &provider).await;
    let mut blobs = Vec::new();
    for seed in [6, 7, 8] {
        let blob = alice.net.add_bytes(noise(2_000_000, seed), LEASE(9)).await.unwrap();
        grant(&alice, &provider, blob);
        provider
            .net
            .take(Givers::alone(alice.id()), blob, LEASE(seed), None)
            .await
            .unwrap();
        blobs.push(blob);
    }
    let keep = async |blob: BlobRef, date| {
        let kept = provider.net.keep_sent(alice.id(), &[blob], UnixSeconds(date)).await;
        kept.unwrap();
    };
    keep(blobs[0], 1).await;
    keep(blobs[1], 2).await;
    provider.net.release(LEASE(6)).await.unwrap();
    keep(blobs[2], 3).await;
    let (kept, going) = provider.net.cached();
    assert_eq!(
        (kept, going),
        (2_000_000, 2_000_000),
        "what went counts until it is deleted"
    );
    is_deleted(&provider, blobs[0]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    keep(blobs[2], 4).await;
    assert_eq!(provider.net.cached(), (4_000_000, 0));
    // It goes for the first one, and a lease still works with it.
    provider
        .net
        .take(Givers::alone(alice.id()), blobs[0], LEASE(6), None)
        .await
        .unwrap();
    keep(blobs[0], 5).await;
    let deleted = tokio::time::timeout(Duration::from_millis(500), is_deleted(&provider, blobs[1]));
    assert!(deleted.await.is_err(), "a lease keeps it");
}

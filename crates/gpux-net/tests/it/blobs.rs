//! Blobs: given only to peers of a lease that names them, verified, resumed, bounded.

use crate::small_disk::SmallDisk;
use crate::support::{TestNode, bare_endpoint, eventually, lease, start, start_with, ticket_of};
use gpux_net::{AddMode, BlobRef, ExportMode, FetchError, Keeper, Limits, PeerFetchError, StoreError};
use gpux_types::{BlobHash, JobId, NodeId};
use iroh::Endpoint;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

const KEEPER: Keeper = Keeper::Cache;

/// Bytes that no compression or chance repeats.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

async fn pair() -> (TestNode, TestNode) {
    let (giver, taker) = (start(1, &[]).await, start(2, &[]).await);
    taker.net.remember(giver.ticket());
    (giver, taker)
}

fn peer_error(error: FetchError) -> PeerFetchError {
    match error {
        FetchError::Peer { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_goes_to_the_peer_of_a_lease_that_names_it_and_to_nobody_else() {
    let (giver, taker) = pair().await;
    let stranger = start(3, &[]).await;
    stranger.net.remember(giver.ticket());
    let bytes = noise(3_000_000, 1);
    let file = giver.dir.path().join("input");
    std::fs::write(&file, &bytes).unwrap();
    let blob = giver
        .net
        .add_file(&file, AddMode::Reference, Keeper::Job(JobId([1; 16])))
        .await
        .unwrap();
    assert_eq!(
        blob,
        BlobRef {
            hash: BlobHash(*blake3::hash(&bytes).as_bytes()),
            size: 3_000_000
        }
    );

    let refused = taker.net.fetch(&[giver.id()], blob, KEEPER, None).await.unwrap_err();
    assert!(
        matches!(peer_error(refused), PeerFetchError::Refused),
        "nothing was allowed yet"
    );
    giver.net.allow(lease(1), taker.id(), [blob.hash]);
    let refused = stranger.net.fetch(&[giver.id()], blob, KEEPER, None).await.unwrap_err();
    assert!(
        matches!(peer_error(refused), PeerFetchError::Refused),
        "the lease is not the stranger's"
    );
    let progress = watch::Sender::new(0);
    let start = Instant::now();
    taker
        .net
        .fetch(&[giver.id()], blob, KEEPER, Some(&progress))
        .await
        .unwrap();
    println!("3 MB fetched in {} ms", start.elapsed().as_millis());
    assert_eq!(
        (*progress.borrow(), taker.net.find(blob.hash).await.unwrap()),
        (blob.size, Some(blob))
    );
    assert_eq!(taker.net.read_bytes(blob.hash, blob.size).await.unwrap(), bytes);
    assert_eq!(
        (giver.net.stats().blobs_refused, giver.net.stats().blobs_served),
        (2, 1)
    );

    giver.net.revoke(lease(1));
    let second = giver.net.add_bytes(b"another".to_vec(), KEEPER).await.unwrap();
    giver.net.allow(lease(2), taker.id(), [second.hash]);
    giver.net.revoke(lease(2));
    let refused = taker.net.fetch(&[giver.id()], second, KEEPER, None).await.unwrap_err();
    assert!(
        matches!(peer_error(refused), PeerFetchError::Refused),
        "the lease is over"
    );
    for node in [giver, taker, stranger] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_comes_from_the_next_peer_when_the_first_has_it_not() {
    let (giver, taker) = pair().await;
    let empty = start(3, &[]).await;
    taker.net.remember(empty.ticket());
    let blob = giver.net.add_bytes(noise(100_000, 2), KEEPER).await.unwrap();
    for node in [&giver, &empty] {
        node.net.allow(lease(1), taker.id(), [blob.hash]);
    }
    let nowhere = NodeId(*iroh::SecretKey::from_bytes(&[77; 32]).public().as_bytes());
    let missing = taker.net.fetch(&[empty.id()], blob, KEEPER, None).await.unwrap_err();
    assert!(matches!(peer_error(missing), PeerFetchError::Missing));
    taker
        .net
        .fetch(&[nowhere, empty.id(), giver.id()], blob, KEEPER, None)
        .await
        .unwrap();
    for node in [giver, taker, empty] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_want_the_same_blob_at_once_and_it_travels_once() {
    let (giver, taker) = pair().await;
    let blob = giver.net.add_bytes(noise(2_000_000, 3), KEEPER).await.unwrap();
    giver.net.allow(lease(1), taker.id(), [blob.hash]);
    let from = [giver.id()];
    let fetches = (0..8).map(|_| taker.net.fetch(&from, blob, KEEPER, None));
    for result in futures_util::future::join_all(fetches).await {
        result.unwrap();
    }
    assert_eq!(giver.net.stats().blobs_served, 1);
    giver.net.shutdown().await;
    taker.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_arrives_whole() {
    let (giver, taker) = pair().await;
    let blob = giver.net.add_bytes(noise(100_000_000, 12), KEEPER).await.unwrap();
    giver.net.allow(lease(1), taker.id(), [blob.hash]);
    let start = Instant::now();
    taker.net.fetch(&[giver.id()], blob, KEEPER, None).await.unwrap();
    println!("100 MB fetched in {} ms", start.elapsed().as_millis());
    let path = taker.dir.path().join("whole");
    taker.net.export(blob.hash, &path, ExportMode::Move).await.unwrap();
    assert_eq!(
        blake3::hash(&std::fs::read(path).unwrap()).as_bytes(),
        blob.hash.as_bytes()
    );
    giver.net.shutdown().await;
    taker.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_blob_and_small_blobs_travel() {
    let (giver, taker) = pair().await;
    for len in [0, 1, 1_024, 16 * 1_024, 16 * 1_024 + 1] {
        let blob = giver.net.add_bytes(noise(len, 4), KEEPER).await.unwrap();
        giver.net.allow(lease(1), taker.id(), [blob.hash]);
        taker.net.fetch(&[giver.id()], blob, KEEPER, None).await.unwrap();
        assert_eq!(taker.net.read_bytes(blob.hash, 1 << 20).await.unwrap(), noise(len, 4));
    }
    giver.net.shutdown().await;
    taker.net.shutdown().await;
}

/// What a dishonest giver does with the honest bytes of a response.
#[derive(Clone, Copy)]
pub(crate) enum Mischief {
    /// Announces one byte more.
    SizeLie,
    /// Announces an absurd size.
    HugeSize,
    /// Changes one byte near the end.
    Corrupt,
    /// Ends the stream in the middle, or cuts the connection.
    Cut { after: usize, connection: bool },
    /// Sends a little and nothing more.
    Stall { after: usize },
}

/// A giver of one blob on a bare endpoint: the library's own encoding, tampered with.
pub(crate) async fn dishonest_giver(seed: u8, bytes: Vec<u8>, mischief: Mischief) -> (Endpoint, Arc<AtomicU64>) {
    let endpoint = bare_endpoint(seed, &[iroh_blobs::ALPN]).await;
    let store = iroh_blobs::store::mem::MemStore::new();
    let tag = store.add_slice(&bytes).await.unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let (accepting, counting) = (endpoint.clone(), sent.clone());
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let (store, sent) = (store.clone(), counting.clone());
            tokio::spawn(async move {
                // The taker tries to gossip with everybody it knows; this endpoint only gives blobs.
                let Ok(connection) = incoming.await else { return };
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let (request, _) = iroh_blobs::protocol::Request::read_async(&mut recv).await.unwrap();
                    let iroh_blobs::protocol::Request::Get(request) = request else {
                        panic!("{request:?}")
                    };
                    let ranges = request.ranges.iter().next().unwrap().clone();
                    let mut answer = store.export_bao(tag.hash, ranges).bao_to_vec().await.unwrap();
                    match mischief {
                        Mischief::SizeLie => answer[0] ^= 1,
                        Mischief::HugeSize => answer[..8].copy_from_slice(&u64::MAX.to_le_bytes()),
                        Mischief::Corrupt => *answer.last_mut().unwrap() ^= 1,
                        Mischief::Cut { after, .. } | Mischief::Stall { after } => answer.truncate(after),
                    }
                    sent.fetch_add(answer.len() as u64, Ordering::SeqCst);
                    if send.write_all(&answer).await.is_err() {
                        continue;
                    }
                    match mischief {
                        Mischief::Stall { .. } => std::future::pending().await,
                        Mischief::Cut { connection: true, .. } => {
                            // Long enough for what was sent to arrive.
                            tokio::time::sleep(Duration::from_millis(200)).await;
                            connection.close(9u32.into(), b"cut");
                        }
                        _ => drop(send.finish()),
                    }
                }
            });
        }
    });
    (endpoint, sent)
}

async fn fetch_from_dishonest(mischief: Mischief) -> (FetchError, TestNode) {
    let bytes = noise(1_000_000, 5);
    let (endpoint, _) = dishonest_giver(50, bytes.clone(), mischief).await;
    let limits = Limits {
        blob_stall: Duration::from_millis(300),
        ..Limits::default()
    };
    let taker = start_with(2, &[], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    taker.net.remember(ticket_of(&endpoint));
    let blob = BlobRef {
        hash: BlobHash(*blake3::hash(&bytes).as_bytes()),
        size: bytes.len() as u64,
    };
    let error = taker
        .net
        .fetch(&[ticket_of(&endpoint).node], blob, KEEPER, None)
        .await
        .unwrap_err();
    assert_eq!(taker.net.find(blob.hash).await.unwrap(), None);
    endpoint.close().await;
    (error, taker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giver_that_announces_another_size_is_refused_before_anything_is_stored() {
    for mischief in [Mischief::SizeLie, Mischief::HugeSize] {
        let (error, taker) = fetch_from_dishonest(mischief).await;
        let error = peer_error(error);
        assert!(
            matches!(error, PeerFetchError::OtherSize { expected: 1_000_000, got } if got != 1_000_000),
            "{error:?}"
        );
        taker.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_bytes_are_noticed() {
    let (error, taker) = fetch_from_dishonest(Mischief::Corrupt).await;
    let error = peer_error(error);
    assert!(matches!(error, PeerFetchError::Corrupt(_)), "{error:?}");
    taker.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giver_that_sends_nothing_more_is_given_up() {
    let (error, taker) = fetch_from_dishonest(Mischief::Stall { after: 100_000 }).await;
    let error = peer_error(error);
    assert!(matches!(error, PeerFetchError::Stalled(_)), "{error:?}");
    taker.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_transfer_goes_on_where_it_was_also_after_a_restart() {
    let bytes = noise(4_000_000, 6);
    let (endpoint, sent) = dishonest_giver(
        50,
        bytes.clone(),
        Mischief::Cut {
            after: 1_000_000,
            connection: true,
        },
    )
    .await;
    let cut = ticket_of(&endpoint);
    let (honest, taker) = pair().await;
    taker.net.remember(cut.clone());
    let blob = honest.net.add_bytes(bytes.clone(), KEEPER).await.unwrap();
    honest.net.allow(lease(1), taker.id(), [blob.hash]);

    let progress = watch::Sender::new(0);
    let error = peer_error(
        taker
            .net
            .fetch(&[cut.node], blob, KEEPER, Some(&progress))
            .await
            .unwrap_err(),
    );
    assert!(matches!(error, PeerFetchError::Cut(_)), "{error:?}");
    let (tries, here) = (sent.load(Ordering::SeqCst) / 1_000_000, *progress.borrow());
    assert_eq!(tries, 3, "asked again after each cut");
    assert!(here > 2_500_000, "each try went further: {here} bytes are here");

    let dir = taker.dir.clone();
    taker.net.shutdown().await;
    drop(taker);
    let taker = start_with(2, &[honest.ticket()], Limits::default(), dir).await;
    let progress = watch::Sender::new(0);
    let mut seen = progress.subscribe();
    let first = tokio::spawn(async move {
        seen.changed().await.unwrap();
        *seen.borrow()
    });
    taker
        .net
        .fetch(&[honest.id()], blob, KEEPER, Some(&progress))
        .await
        .unwrap();
    assert!(first.await.unwrap() >= here, "nothing that was here is fetched again");
    assert_eq!(taker.net.read_bytes(blob.hash, blob.size).await.unwrap(), bytes);
    endpoint.close().await;
    honest.net.shutdown().await;
    taker.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_transfer_ends_in_the_middle() {
    let (giver, taker) = pair().await;
    let blob = giver.net.add_bytes(noise(200_000_000, 7), KEEPER).await.unwrap();
    giver.net.allow(lease(1), taker.id(), [blob.hash]);
    let progress = watch::Sender::new(0);
    let mut seen = progress.subscribe();
    let (taking, from) = (taker.net.clone(), giver.id());
    let fetch = tokio::spawn(async move { taking.fetch(&[from], blob, KEEPER, Some(&progress)).await });
    seen.wait_for(|bytes| *bytes > 0).await.unwrap();
    giver.net.revoke(lease(1));
    let error = peer_error(fetch.await.unwrap().unwrap_err());
    assert!(matches!(error, PeerFetchError::Refused), "{error:?}");
    assert!(*seen.borrow() < blob.size);
    giver.net.shutdown().await;
    taker.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_back_out_and_an_agreed_size_that_is_wrong_is_refused() {
    let node = start(1, &[]).await;
    let bytes = noise(50_000, 8);
    let blob = node.net.add_bytes(bytes.clone(), KEEPER).await.unwrap();
    for (name, mode) in [("copy", ExportMode::Copy), ("move", ExportMode::Move)] {
        let path = node.dir.path().join(name);
        node.net.export(blob.hash, &path, mode).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), bytes);
    }
    assert_eq!(
        node.net.read_bytes(blob.hash, blob.size).await.unwrap(),
        bytes,
        "still readable after the move"
    );
    let small = node.net.read_bytes(blob.hash, 49_999).await;
    assert!(
        matches!(
            small,
            Err(StoreError::TooLarge {
                size: 50_000,
                limit: 49_999,
                ..
            })
        ),
        "{small:?}"
    );
    let lie = BlobRef { size: 50_001, ..blob };
    let refused = node.net.fetch(&[node.id()], lie, Keeper::Lease(lease(1)), None).await;
    assert!(
        matches!(
            refused,
            Err(FetchError::OtherSize {
                expected: 50_001,
                got: 50_000,
                ..
            })
        ),
        "{refused:?}"
    );
    let relative = node.net.export(blob.hash, "relative".as_ref(), ExportMode::Copy).await;
    assert!(matches!(relative, Err(StoreError::NotAbsolute(_))), "{relative:?}");
    let missing = node.net.read_bytes(BlobHash([9; 32]), 1).await;
    assert!(matches!(missing, Err(StoreError::Missing(_))), "{missing:?}");
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_live_as_long_as_somebody_keeps_them() {
    let limits = Limits {
        collect_interval: Duration::from_millis(300),
        ..Limits::default()
    };
    let node = start_with(1, &[], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    let (first, second) = (Keeper::Lease(lease(1)), Keeper::Job(JobId([2; 16])));
    let kept = node.net.add_bytes(noise(100_000, 9), first).await.unwrap();
    let dropped = node.net.add_bytes(noise(100_000, 10), first).await.unwrap();
    node.net.keep(kept.hash, second).await.unwrap();
    node.net.release(first).await.unwrap();
    let start = Instant::now();
    while node.net.find(dropped.hash).await.unwrap().is_some() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "a blob that nobody keeps is still here"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.net.find(kept.hash).await.unwrap(), Some(kept));
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_in_use_is_refused_and_free_after_the_shutdown() {
    let node = start(1, &[]).await;
    let dir = node.dir.clone();
    let blob = node.net.add_bytes(noise(20_000, 11), KEEPER).await.unwrap();
    node.net.shutdown().await;
    drop(node);
    let again = start_with(1, &[], Limits::default(), dir).await;
    eventually("the node is back", || !again.ticket().addresses.is_empty()).await;
    assert_eq!(again.net.find(blob.hash).await.unwrap(), Some(blob));
    again.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taker_whose_disk_is_full_blames_no_peer_and_fetches_once_there_is_room() {
    let disk = SmallDisk::mount(24);
    let giver = start(1, &[]).await;
    let taker = start_with(2, &[giver.ticket()], Limits::default(), disk.0.clone()).await;
    let blob = giver.net.add_bytes(noise(3_000_000, 1), KEEPER).await.unwrap();
    giver.net.allow(lease(1), taker.id(), [blob.hash]);
    disk.fill();
    let error = taker.net.fetch(&[giver.id()], blob, KEEPER, None).await.unwrap_err();
    assert!(error.is_own(), "{error:?} is no fault of the peer");
    disk.empty();
    let mut tries = 0;
    while let Err(error) = taker.net.fetch(&[giver.id()], blob, KEEPER, None).await {
        tries += 1;
        assert!(tries < 20 && error.is_own(), "{error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(taker.net.find(blob.hash).await.unwrap(), Some(blob));
    let bytes = taker.net.read_bytes(blob.hash, blob.size).await.unwrap();
    assert_eq!(bytes, noise(3_000_000, 1));
    taker.net.shutdown().await;
}

//! Offers: found by everybody from one bootstrap peer, gone when over, believed only when signed and new.

use crate::support::{TOPIC, TestNode, address_of, bare_endpoint, eventually, start, start_with};
use futures_util::StreamExt;
use gpux_net::{Limits, OfferEvent, PublishOfferError};
use iroh::{
    Endpoint,
    address_lookup::memory::MemoryLookup,
    endpoint::{ConnectOptions, Connection, QuicTransportConfig, SendStream},
    protocol::Router,
};
use iroh_gossip::{
    api::{Event, GossipReceiver, GossipSender},
    net::{GOSSIP_ALPN, Gossip},
    proto::TopicId,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const TTL: Duration = Duration::from_secs(30);

/// A peer that takes part in the gossip and keeps no rule.
struct Hostile {
    endpoint: Endpoint,
    _router: Router,
    sender: GossipSender,
    receiver: GossipReceiver,
}

impl Hostile {
    async fn join(seed: u8, node: &TestNode) -> Self {
        let endpoint = bare_endpoint(seed, &[]).await;
        let lookup = MemoryLookup::new();
        lookup.add_endpoint_info(address_of(&node.ticket()));
        endpoint.address_lookup().unwrap().add(lookup);
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let router = Router::builder(endpoint.clone())
            .accept(GOSSIP_ALPN, gossip.clone())
            .spawn();
        let peer = address_of(&node.ticket()).id;
        let topic = gossip
            .subscribe_and_join(TopicId::from_bytes(TOPIC), vec![peer])
            .await
            .unwrap();
        let (sender, receiver) = topic.split();
        Self {
            endpoint,
            _router: router,
            sender,
            receiver,
        }
    }

    async fn say(&self, bytes: Vec<u8>) {
        self.sender.broadcast(bytes.into()).await.unwrap();
    }

    /// The next announcement of anybody.
    async fn overhear(&mut self) -> Vec<u8> {
        loop {
            if let Event::Received(message) = self.receiver.next().await.unwrap().unwrap() {
                return message.content.to_vec();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_find_each_others_offers_from_one_bootstrap_peer() {
    let first = start(1, &[]).await;
    let others = [start(2, &[first.ticket()]).await, start(3, &[first.ticket()]).await];
    first.net.publish_offer(first.offer(1, TTL)).unwrap();
    for node in &others {
        node.net.publish_offer(node.offer(1, TTL)).unwrap();
    }
    let all = [&first, &others[0], &others[1]];
    for node in all {
        let took = eventually("all three know both others", || node.knows().len() == 2).await;
        println!("node {} knew both others {} ms later", node.seed, took.as_millis());
        assert!(
            !node.knows().iter().any(|(id, _)| *id == node.id()),
            "its own offer is not among them"
        );
    }
    let renter = start(4, &[first.ticket()]).await;
    let took = eventually("a renter that joins late knows all three", || renter.knows().len() == 3).await;
    println!("late joiner knew all offers {} ms after its start", took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    for node in all {
        renter
            .net
            .call(node.id(), &gpux_proto::Request::Status(crate::support::lease(1)))
            .await
            .unwrap();
    }
    for node in [first, renter].into_iter().chain(others) {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_renewed_withdrawn_and_expires() {
    let limits = Limits {
        offers_per_minute: 600,
        ..Limits::default()
    };
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let seller = start_with(1, &[], limits.clone(), dir()).await;
    let renter = start_with(2, &[seller.ticket()], limits, dir()).await;
    let mut feed = renter.net.offers();
    let short = Duration::from_millis(1_500);
    seller.net.publish_offer(seller.offer(1, short)).unwrap();
    assert!(matches!(feed.next().await, Some(OfferEvent::Heard(heard)) if heard.offer.sequence == 1));
    for _ in 0..3 {
        assert!(matches!(feed.next().await, Some(OfferEvent::Renewed(node, _)) if node == seller.id()));
    }
    seller.net.publish_offer(seller.offer(2, short)).unwrap();
    loop {
        match feed.next().await.unwrap() {
            OfferEvent::Heard(heard) if heard.offer.sequence == 2 => break,
            OfferEvent::Renewed(..) => {}
            other => panic!("{other:?}"),
        }
    }
    seller.net.withdraw_offer();
    loop {
        match feed.next().await.unwrap() {
            OfferEvent::Withdrawn(node) if node == seller.id() => break,
            OfferEvent::Renewed(..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(renter.knows().is_empty());
    seller.net.publish_offer(seller.offer(3, short)).unwrap();
    eventually("the third offer is known", || renter.knows() == [(seller.id(), 3)]).await;
    seller.net.shutdown().await;
    eventually("a node that left takes its offer along", || renter.knows().is_empty()).await;
    renter.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_a_node_that_vanished_expires() {
    let seller = start(1, &[]).await;
    let renter = start(2, &[seller.ticket()]).await;
    let mut feed = renter.net.offers();
    // A node that vanishes without a word: what it said once is repeated by nobody.
    let mut hostile = Hostile::join(9, &renter).await;
    seller
        .net
        .publish_offer(seller.offer(1, Duration::from_millis(4_500)))
        .unwrap();
    let bytes = hostile.overhear().await;
    assert!(bytes.len() <= 150, "only a digest is flooded: {} bytes", bytes.len());
    let alone = start(3, &[]).await;
    let hostile = Hostile::join(10, &alone).await;
    // The hostile neighbour has no offers to give, so the seller itself is asked.
    alone.net.remember(seller.ticket());
    hostile.say(bytes).await;
    eventually("the offer is known", || alone.knows().len() == 1).await;
    assert!(matches!(feed.next().await, Some(OfferEvent::Heard(_))));
    eventually("and over", || alone.knows().is_empty()).await;
    for node in [seller, renter, alone] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_oversized_repeated_and_senseless_announcements_are_dropped_and_counted() {
    let seller = start(1, &[]).await;
    let renter = start(2, &[seller.ticket()]).await;
    let mut hostile = Hostile::join(9, &renter).await;
    eventually("the renter is between them", || renter.net.neighbours().len() == 2).await;
    seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
    let good = hostile.overhear().await;
    eventually("the offer is known", || renter.knows().len() == 1).await;
    let before = renter.net.stats();
    let after = |fact: fn(&gpux_net::NetStats) -> u64, more: u64| {
        let net = renter.net.clone();
        move || fact(&net.stats()) >= fact(&before) + more
    };

    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    hostile.say(forged).await;
    // The same order again is a replay before any signature is looked at.
    eventually(
        "a bent signature on a known order",
        after(|stats| stats.offers_replayed, 1),
    )
    .await;
    hostile.say(vec![1; 4_000]).await;
    eventually("oversized", after(|stats| stats.offers_oversized, 1)).await;
    hostile.say(b"nonsense".to_vec()).await;
    eventually("senseless", after(|stats| stats.offers_malformed, 1)).await;

    let fresh = start(3, &[]).await;
    let hostile = Hostile::join(10, &fresh).await;
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    hostile.say(forged).await;
    eventually("forged", || fresh.net.stats().offers_forged == 1).await;
    assert!(fresh.knows().is_empty());
    fresh.net.remember(seller.ticket());
    hostile.say(good.clone()).await;
    eventually("the true one is heard all the same", || fresh.knows().len() == 1).await;
    assert_eq!(renter.knows().len(), 1);
    hostile.endpoint.close().await;
    for node in [seller, renter, fresh] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_neighbour_is_limited() {
    let limits = Limits {
        gossip_per_second: 10,
        gossip_probe: Duration::from_millis(500),
        ..Limits::default()
    };
    let node = start_with(1, &[], limits.clone(), Arc::new(tempfile::tempdir().unwrap())).await;
    let hostile = Hostile::join(9, &node).await;
    let seller = start_with(2, &[node.ticket()], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    eventually("they are neighbours", || node.net.neighbours().len() == 2).await;
    let flooding = hostile.sender.clone();
    let start = Instant::now();
    let flood = tokio::spawn(async move {
        for n in 0..u32::MAX {
            if flooding.broadcast(n.to_le_bytes().to_vec().into()).await.is_err() {
                return;
            }
        }
    });
    eventually("much was dropped", || node.net.stats().offers_limited > 1_000).await;
    seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
    eventually("an honest offer is heard in the middle of a flood", || {
        node.knows().len() == 1
    })
    .await;
    // A burst of 40 and 10 per second from each of two neighbours: the seller passes the flood on.
    let most = 2 * (40 + 10 * (start.elapsed().as_secs() + 1));
    let judged = node.net.stats().offers_malformed;
    assert!(
        (40..=most).contains(&judged),
        "{judged} judged, at most {most} are allowed"
    );
    flood.abort();
    seller.net.shutdown().await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_no_neighbour_has_is_given_up_and_counted() {
    let (node, seller) = (start(1, &[]).await, start(2, &[]).await);
    let eavesdropper = {
        seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
        let mut hostile = Hostile::join(9, &seller).await;
        hostile.overhear().await
    };
    seller.net.shutdown().await;
    let hostile = Hostile::join(10, &node).await;
    hostile.say(eavesdropper).await;
    eventually("it is given up", || node.net.stats().offers_untold == 1).await;
    assert!(node.knows().is_empty());
    node.net.shutdown().await;
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_node_under_a_flood_stays_bounded() {
    let limits = Limits {
        offers: 64,
        ..Limits::default()
    };
    let node = start_with(1, &[], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    let hostile = Hostile::join(9, &node).await;
    let judged = || {
        let stats = node.net.stats();
        stats.offers_limited + stats.offers_malformed + stats.offers_oversized + stats.offers_forged
    };
    let flood = async |from: u32, count: u32| {
        for n in from..from + count {
            // Nonsense, digests of made-up nodes, and what is longer than any digest, in turn; never the same twice.
            let length = [60, 126, 3_900][usize::try_from(n % 3).unwrap()];
            let mut bytes = vec![n.to_le_bytes()[0]; length];
            bytes[0] = 1;
            bytes[4..8].copy_from_slice(&n.to_le_bytes());
            hostile.say(bytes).await;
        }
    };
    flood(0, 3_000).await;
    eventually("the flood came", || judged() > 500).await;
    let (before, first) = (resident(), judged());
    flood(3_000, 6_000).await;
    // What comes faster than it can be heard is dropped unheard, so not all is counted.
    eventually("more of it came", || judged() > first + 500).await;
    let grown = resident().saturating_sub(before);
    // The gossip library itself keeps what it passed on for half a minute, here in both nodes: 6,000 messages of 1,362
    // bytes on average are 8 MiB each.
    assert!(grown < 48 << 20, "{} MiB more", grown >> 20);
    node.net.shutdown().await;
}

/// Joins the gossip of `node` by hand and then reads nothing.
async fn join_and_read_nothing(node: &TestNode) -> (Endpoint, Connection, SendStream) {
    let endpoint = bare_endpoint(60, &[GOSSIP_ALPN]).await;
    let options = ConnectOptions::new().with_transport_config(
        QuicTransportConfig::builder()
            .stream_receive_window(2_000u32.into())
            .receive_window(2_000u32.into())
            .build(),
    );
    let connecting = endpoint
        .connect_with_opts(address_of(&node.ticket()), GOSSIP_ALPN, options)
        .await
        .unwrap();
    let connection = connecting.await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    // The topic, then "join" without addresses.
    stream
        .write_all(&[&[0, 0, 0, 32][..], &TOPIC, &[0, 0, 0, 3], &[0, 0, 0]].concat())
        .await
        .unwrap();
    (endpoint, connection, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_that_reads_nothing_does_not_silence_the_others() {
    let limits = Limits {
        gossip_probe: Duration::from_millis(500),
        ..Limits::default()
    };
    let node = start_with(1, &[], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    let (silent, connection, _stream) = join_and_read_nothing(&node).await;
    eventually("it is a neighbour", || node.net.neighbours().len() == 1).await;
    let talker = Hostile::join(9, &node).await;
    let talking = talker.sender.clone();
    let talk = tokio::spawn(async move {
        for n in 0..u32::MAX {
            talking
                .broadcast([n.to_le_bytes().as_slice(), &[0; 1_000]].concat().into())
                .await
                .unwrap();
        }
    });
    eventually("the stall was noticed", || node.net.stats().gossip_stalls > 0).await;
    eventually("the silent one is gone", || connection.close_reason().is_some()).await;
    talk.abort();
    silent.close().await;
    let seller = start(2, &[node.ticket()]).await;
    seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
    eventually("offers are heard again", || node.knows().len() == 1).await;
    seller.net.publish_offer(seller.offer(2, TTL)).unwrap();
    eventually("and go on being heard", || node.knows() == [(seller.id(), 2)]).await;
    seller.net.shutdown().await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_another_node_is_not_published() {
    let (a, b) = (start(1, &[]).await, start(2, &[]).await);
    let refused = a.net.publish_offer(b.offer(1, TTL));
    assert!(matches!(refused, Err(PublishOfferError::OtherNode { got, .. }) if got == b.id()));
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_with_another_address_is_found_again() {
    let bootstrap = start(1, &[]).await;
    let renter = start(2, &[bootstrap.ticket()]).await;
    let seller = start(3, &[bootstrap.ticket()]).await;
    seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
    eventually("the offer is known", || renter.knows() == [(seller.id(), 1)]).await;
    let ask = gpux_proto::Request::Status(crate::support::lease(1));
    renter.net.call(seller.id(), &ask).await.unwrap();
    let (old, dir) = (seller.ticket(), seller.dir.clone());
    seller.net.shutdown().await;
    drop(seller);
    let seller = start_with(3, &[bootstrap.ticket()], Limits::default(), dir).await;
    assert_ne!(seller.ticket().addresses, old.addresses, "the system drew another port");
    seller.net.publish_offer(seller.offer(2, TTL)).unwrap();
    eventually("the new offer is known", || renter.knows() == [(seller.id(), 2)]).await;
    renter.net.call(seller.id(), &ask).await.unwrap();
    assert!(renter.net.known_peers().iter().any(|known| *known == seller.ticket()));
    for node in [bootstrap, renter, seller] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_bootstrap_peer_comes_up_later_joins_all_the_same() {
    let first = start(1, &[]).await;
    let (ticket, dir) = (first.ticket(), first.dir.clone());
    first.net.publish_offer(first.offer(1, TTL)).unwrap();
    let renter = start(2, std::slice::from_ref(&ticket)).await;
    eventually("they are neighbours", || !renter.net.neighbours().is_empty()).await;
    first.net.shutdown().await;
    eventually("the neighbour is gone", || renter.net.neighbours().is_empty()).await;
    drop(first);
    let again = start_with(1, &[renter.ticket()], Limits::default(), dir).await;
    again.net.publish_offer(again.offer(2, TTL)).unwrap();
    eventually("the market is whole again", || renter.knows() == [(again.id(), 2)]).await;
    again.net.shutdown().await;
    renter.net.shutdown().await;
}

/// The same node again: same key, same store, another port.
async fn moved(node: TestNode, bootstrap: &[gpux_net::PeerTicket]) -> TestNode {
    let (seed, old, dir) = (node.seed, node.ticket(), node.dir.clone());
    node.net.shutdown().await;
    drop(node);
    let again = start_with(seed, bootstrap, Limits::default(), dir).await;
    assert_ne!(again.ticket().addresses, old.addresses, "the system drew another port");
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn renter_and_provider_that_both_come_back_elsewhere_find_each_other_again() {
    let bootstrap = start(1, &[]).await;
    let renter = start(2, &[bootstrap.ticket()]).await;
    let seller = start(3, &[bootstrap.ticket()]).await;
    seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
    eventually("the offer is known", || renter.knows() == [(seller.id(), 1)]).await;
    let (of_seller, of_renter) = (seller.ticket(), renter.ticket());
    // Each remembers where the other was, which is wrong now.
    let seller = moved(seller, &[of_renter, bootstrap.ticket()]).await;
    let renter = moved(renter, &[of_seller, bootstrap.ticket()]).await;
    seller.net.publish_offer(seller.offer(2, TTL)).unwrap();
    eventually("the new offer is known", || renter.knows() == [(seller.id(), 2)]).await;
    let ask = gpux_proto::Request::Status(crate::support::lease(1));
    renter.net.call(seller.id(), &ask).await.unwrap();
    for node in [bootstrap, renter, seller] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_peer_moved_finds_it_by_a_hint_while_it_still_dials_where_it_was() {
    let seller = start(1, &[]).await;
    let stale = seller.ticket();
    let seller = moved(seller, &[]).await;
    seller.net.publish_offer(seller.offer(1, TTL)).unwrap();
    let renter = start(2, std::slice::from_ref(&stale)).await;
    // The dial to the old address has begun: nobody answers there, so it lasts until it is given up.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(renter.net.neighbours().is_empty());
    renter.net.hint(vec![seller.ticket()]);
    eventually("the offer is known", || renter.knows() == [(seller.id(), 1)]).await;
    assert!(
        renter.net.known_peers().iter().any(|known| {
            let told = seller.ticket().addresses;
            told.iter().all(|address| known.addresses.contains(address))
        }),
        "and where it is now is remembered"
    );
    for node in [renter, seller] {
        node.net.shutdown().await;
    }
}

//! The three ways to a first peer, each with the other two gone, or wrong.

use crate::daemons::{Ways, World, free_port, offers, until};
use gpux_node::ApiAddress;

/// Waits until the daemon has heard the one offer that there is.
async fn hears_the_offer(daemon: &ApiAddress) {
    until("an offer is heard", async || {
        (offers(daemon).await.offers.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renter_finds_an_offer_by_the_directory_by_a_ticket_and_by_remembered_peers() {
    let mut world = World::start().await;
    let wallet = world.wallet("provider").await;
    for name in ["by-directory", "by-ticket"] {
        world.wallet(name).await;
    }
    let selling = Ways {
        announce: true,
        sells: true,
        port: Some(free_port()),
        ..Ways::default()
    };
    let provider = world.daemon("provider", &selling).await;
    let announced = until("the provider is announced", async || world.announced(0).await.pop()).await;
    assert_eq!(
        announced.announcer, wallet,
        "by the wallet that its offers are signed with"
    );
    assert!(provider.ticket.starts_with(&announced.endpoint.to_string()));

    let reading = Ways {
        directory: true,
        ..Ways::default()
    };
    let by_directory = world.daemon("by-directory", &reading).await;
    hears_the_offer(&by_directory).await;

    let told = Ways {
        ticket: Some(provider.ticket.clone()),
        ..Ways::default()
    };
    let by_ticket = world.daemon("by-ticket", &told).await;
    hears_the_offer(&by_ticket).await;

    world.stop_all().await;
    world.daemon("provider", &selling).await;
    for name in ["by-ticket", "by-directory"] {
        let remembering = world.daemon(name, &Ways::default()).await;
        hears_the_offer(&remembering).await;
    }
    assert!(
        world.announced(announced.block + 1).await.is_empty(),
        "a node that is where it was is not announced again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renter_whose_peers_have_all_moved_finds_them_by_the_directory_alone() {
    let mut world = World::start().await;
    for name in ["provider", "renter"] {
        world.wallet(name).await;
    }
    let selling = Ways {
        announce: true,
        sells: true,
        port: Some(free_port()),
        ..Ways::default()
    };
    let provider = world.daemon("provider", &selling).await;
    let announced = until("the provider is announced", async || world.announced(0).await.pop()).await;
    let renting = Ways {
        ticket: Some(provider.ticket.clone()),
        directory: true,
        ..Ways::default()
    };
    let renter = world.daemon("renter", &renting).await;
    hears_the_offer(&renter).await;

    world.stop_all().await;
    let moved = Ways {
        port: Some(free_port()),
        ..selling
    };
    let elsewhere = world.daemon("provider", &moved).await;
    assert_ne!(elsewhere.ticket, provider.ticket);
    until("it is announced where it is now", async || {
        world.announced(announced.block + 1).await.pop()
    })
    .await;
    // The ticket and what was remembered name the old address: dials to it are under way when the directory is read.
    let renter = world.daemon("renter", &renting).await;
    hears_the_offer(&renter).await;
}

//! The three ways to a first peer, each with the other two gone.

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
    let announced = until("the provider is announced", async || {
        let head = world.chain.head().await.unwrap().number;
        let mut heard = world.chain.announcements(0, head).await.unwrap().heard;
        heard.pop()
    })
    .await;
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
    let head = world.chain.head().await.unwrap().number;
    let again = world.chain.announcements(announced.block + 1, head).await.unwrap();
    assert!(
        again.heard.is_empty(),
        "a node that is where it was is not announced again"
    );
}

//! Facts about connecting and reading.

use crate::world::{World, config_of, dai, done};
use gpux_chain::{Call, Chain, ChainConfig, ConnectError, Depth, Intent, IntentKey, Retry, SlotStatus};
use gpux_types::{Address, Amount, NodeId};

#[tokio::test]
async fn the_token_is_read_with_a_domain_that_its_permits_verify_under() {
    let world = World::instant().await;
    let token = world.chain.token();
    assert_eq!((token.token.symbol.as_str(), token.token.decimals), ("DAI", 18));
    let permit = token.permit.as_ref().unwrap();
    assert_eq!((permit.name.as_str(), permit.version.as_str()), ("Test Dai", "1"));
    assert!(world.chain.l1_scalars().assumed);
}

#[tokio::test]
async fn a_wrong_chain_a_missing_contract_and_another_contract_are_told_apart_before_anything_is_signed() {
    let world = World::instant().await;
    let config = config_of(&world.devnet);
    let connect = async |config: ChainConfig| Chain::connect(config).await.unwrap_err();
    let error = connect(ChainConfig {
        chain_id: 10,
        ..config.clone()
    })
    .await;
    assert!(
        matches!(
            error,
            ConnectError::WrongChain {
                expected: 10,
                got: 901,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Never);
    let error = connect(ChainConfig {
        escrow: Address::repeat_byte(1),
        ..config.clone()
    })
    .await;
    assert!(matches!(error, ConnectError::NoCode { what: "escrow", .. }), "{error}");
    let error = connect(ChainConfig {
        escrow: config.token,
        ..config.clone()
    })
    .await;
    assert!(
        matches!(error, ConnectError::WrongCode { what: "escrow", .. }),
        "{error}"
    );
    let error = connect(ChainConfig {
        token: config.escrow,
        ..config.clone()
    })
    .await;
    assert!(matches!(error, ConnectError::Token(_)), "{error}");
    let error = connect(ChainConfig {
        rpc_url: "ftp://127.0.0.1".into(),
        ..config.clone()
    })
    .await;
    assert!(matches!(error, ConnectError::Client(_)), "{error}");
}

#[tokio::test]
async fn a_lease_that_was_never_opened_is_none_at_every_depth() {
    let world = World::instant().await;
    for depth in [Depth::Latest, Depth::Safe, Depth::Finalized] {
        let slot = world.chain.lease(world.lease(9), depth).await.unwrap();
        assert_eq!((slot.status, slot.deposit), (SlotStatus::None, Amount::ZERO));
    }
}

#[tokio::test]
async fn the_newest_announcement_of_each_announcer_is_found() {
    let mut world = World::instant().await;
    let (renter, provider) = (world.renter_sender(), world.sender(world.provider.clone()));
    let announce = |name: &str, node: u8, addr: &[u8]| Intent {
        key: IntentKey::new(name).unwrap(),
        call: Call::Announce {
            endpoint: NodeId([node; 32]),
            addr: addr.to_vec(),
        },
    };
    done(&renter, announce("a1", 1, b"old")).await.unwrap();
    done(&renter, announce("a2", 1, b"new")).await.unwrap();
    done(&provider, announce("b1", 2, b"here")).await.unwrap();
    let head = world.chain.head().await.unwrap().number;
    let read = world.chain.announcements(0, head).await.unwrap();
    let found = |heard: &[gpux_chain::Announcement]| -> Vec<(gpux_types::Address, NodeId, Vec<u8>)> {
        heard
            .iter()
            .map(|heard| (heard.announcer, heard.endpoint, heard.addr.clone()))
            .collect()
    };
    let expected = [
        (world.provider.address(), NodeId([2; 32]), b"here".to_vec()),
        (world.renter.address(), NodeId([1; 32]), b"new".to_vec()),
    ];
    assert_eq!((found(&read.heard), read.from), (expected.to_vec(), 0));
    let before = world.chain.announcements(0, head - 2).await.unwrap();
    let old = [(world.renter.address(), NodeId([1; 32]), b"old".to_vec())];
    assert_eq!(found(&before.heard), old, "only the blocks that were asked for");
    done(&provider, announce("b2", 2, b"")).await.unwrap();
    let read = world.chain.announcements(head + 1, head + 1).await.unwrap();
    let gone = [(world.provider.address(), NodeId([2; 32]), Vec::new())];
    assert_eq!(found(&read.heard), gone, "one that has gone says so");
}

#[tokio::test]
async fn a_lease_shows_at_the_depth_of_its_block_only() {
    let mut world = World::manual().await;
    let renter = world.renter_sender();
    let sent = renter.send(world.open(1, dai(1)).await).await.unwrap();
    world.devnet.mine().await.unwrap();
    renter.confirmed(sent.hash, Depth::Latest).await.unwrap();
    let status = async |depth| world.chain.lease(world.lease(1), depth).await.unwrap().status;
    assert_eq!(
        (status(Depth::Latest).await, status(Depth::Finalized).await),
        (SlotStatus::Open, SlotStatus::None)
    );
    for _ in 0..4 {
        world.devnet.mine().await.unwrap();
    }
    assert_eq!(status(Depth::Finalized).await, SlotStatus::Open);
}

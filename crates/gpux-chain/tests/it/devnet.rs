//! Facts about the devnet.

use crate::world::{World, anvil, config_of, dai, done};
use gpux_chain::{Chain, Depth, Devnet, DevnetConfig, DevnetError, SlotStatus};

fn config(world: &World) -> DevnetConfig {
    DevnetConfig {
        anvil: anvil(),
        dir: world.dir.path().into(),
        chain_id: DevnetConfig::CHAIN_ID,
        block_secs: Some(1),
        funding: Vec::new(),
    }
}

#[tokio::test]
async fn a_stopped_devnet_goes_on_where_it_was() {
    let mut world = World::instant().await;
    let renter = world.renter_sender();
    done(&renter, world.open(1, dai(1)).await).await.unwrap();
    Devnet::open(world.dir.path()).unwrap().stop().await.unwrap();
    assert!(!world.devnet.is_alive());
    assert!(Devnet::open(world.dir.path()).is_err(), "the description went with it");
    world.devnet = Devnet::start(config(&world)).await.unwrap();
    let chain = Chain::connect(config_of(&world.devnet)).await.unwrap();
    assert_eq!(
        chain.lease(world.lease(1), Depth::Latest).await.unwrap().status,
        SlotStatus::Open
    );
    let before = chain.head().await.unwrap().number;
    while chain.head().await.unwrap().number == before {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_folder_has_one_devnet_at_a_time() {
    let world = World::instant().await;
    let error = Devnet::start(config(&world)).await.unwrap_err();
    assert!(matches!(error, DevnetError::Running { .. }), "{error}");
}

#[tokio::test]
async fn a_program_that_is_no_anvil_is_told_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let config = DevnetConfig {
        anvil: "/bin/false".into(),
        dir: dir.path().into(),
        chain_id: 1,
        block_secs: None,
        funding: Vec::new(),
    };
    assert!(matches!(Devnet::start(config).await, Err(DevnetError::Silent { .. })));
}

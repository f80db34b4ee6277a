//! Facts about the contracts of this build: how they come onto a chain, and that nothing else is taken for them.

use crate::world::{World, config_of, until, within};
use gpux_chain::{
    Chain, CodeMismatch, ConnectError, Contract, DeployError, DeployTarget, Deployer, Journal, KnownChain,
    MemoryJournal, SenderConfig, SenderHandle,
};
use gpux_types::Address;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// OP Mainnet's id, OP Sepolia's, and anvil's own.
const CHAINS: [u64; 3] = [10, 11_155_420, 31_337];
const LIMIT: u128 = SenderConfig::MAX_FEE_PER_GAS as u128;

/// A chain on which nothing was deployed.
async fn bare(world: &World) {
    for contract in Contract::OF_A_MARKET {
        let at = contract.address();
        world.ask("anvil_setCode", json!([at, "0x"])).await;
        world.ask("anvil_setNonce", json!([at, "0x0"])).await;
    }
}

async fn connect(world: &World, chain_id: u64) -> Result<Deployer, ConnectError> {
    let target = DeployTarget {
        rpc_url: world.devnet.info().rpc_url.clone(),
        chain_id,
        poll_interval: Duration::from_millis(20),
        call_timeout: Duration::from_secs(10),
    };
    Deployer::connect(target).await
}

async fn deployer(world: &World) -> Deployer {
    connect(world, world.devnet.info().chain_id).await.unwrap()
}

fn sender(world: &mut World, deployer: &Deployer, journal: &MemoryJournal) -> (SenderHandle, CancellationToken) {
    let journal: Arc<dyn Journal> = Arc::new(journal.clone());
    let (handle, task) = deployer
        .sender(world.renter.clone(), journal, SenderConfig::default())
        .unwrap();
    let cancel = world.cancelled().child_token();
    world.spawn(task.run(cancel.clone()));
    (handle, cancel)
}

async fn code_at(world: &World, at: Address) -> Vec<u8> {
    let code = world.ask("eth_getCode", json!([at, "latest"])).await;
    hex::decode(code.as_str().unwrap().trim_start_matches("0x")).unwrap()
}

async fn set_code(world: &World, at: Address, code: &[u8]) {
    let code = format!("0x{}", hex::encode(code));
    world.ask("anvil_setCode", json!([at, code])).await;
}

#[tokio::test]
async fn the_contracts_are_deployed_and_verified_on_every_chain_at_the_same_addresses() {
    for chain_id in CHAINS {
        let mut world = World::of_chain(chain_id).await;
        bare(&world).await;
        let error = Chain::connect(config_of(&world.devnet)).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoCode { .. }), "{error}");
        let deployer = deployer(&world).await;
        let wallet = world.renter.address();
        let plan = deployer.plan(wallet, LIMIT).await.unwrap();
        let (sender, _) = sender(&mut world, &deployer, &MemoryJournal::default());
        for step in &plan {
            let estimate = step.estimate.unwrap();
            let mined = within(deployer.deploy(&sender, step.contract)).await.unwrap().unwrap();
            assert!(mined.l2_fee <= estimate.most, "{mined:?} {estimate:?}");
            assert!(
                mined.gas_used <= estimate.gas && estimate.now() <= estimate.most,
                "{estimate:?}"
            );
            assert_eq!(within(deployer.deploy(&sender, step.contract)).await.unwrap(), None);
        }
        let after = deployer.plan(wallet, LIMIT).await.unwrap();
        assert!(after.iter().all(|step| step.estimate.is_none()), "{after:?}");
        assert_eq!(world.transactions_of(wallet).await, 2);
        // A daemon connects to what was deployed, and to nothing that was deployed for another chain.
        Chain::connect(config_of(&world.devnet)).await.unwrap();
        if let Some(known) = KnownChain::with_id(chain_id) {
            assert_eq!(
                known.deployment(),
                None,
                "{} is no live network",
                world.devnet.info().rpc_url
            );
        }
    }
}

#[tokio::test]
async fn a_changed_byte_and_a_word_of_another_chain_are_refused_before_anything_is_signed() {
    for chain_id in CHAINS {
        let world = World::of_chain(chain_id).await;
        let deployer = deployer(&world).await;
        for contract in Contract::OF_A_MARKET {
            let at = contract.address();
            let honest = code_at(&world, at).await;
            assert_eq!(deployer.look(contract, at).await.unwrap(), Ok(()));
            let mut changed = honest.clone();
            changed[100] ^= 1;
            set_code(&world, at, &changed).await;
            let refused = deployer.look(contract, at).await.unwrap();
            assert!(
                matches!(refused, Err(CodeMismatch::Code { offset: 100, .. })),
                "{refused:?}"
            );
            let error = Chain::connect(config_of(&world.devnet)).await.unwrap_err();
            let told = matches!(error, ConnectError::WrongCode { what, chain_id: on, .. } if what == contract.name() && on == chain_id);
            assert!(told, "{error}");
            let planned = deployer.plan(world.renter.address(), LIMIT).await;
            assert!(matches!(planned, Err(DeployError::Other { .. })), "{planned:?}");
            set_code(&world, at, &honest).await;
            Chain::connect(config_of(&world.devnet)).await.unwrap();
        }
        // The escrow's digests stay right when its word for the chain id is another: it computes them anew. Its code tells.
        let at = Contract::Escrow.address();
        let honest = code_at(&world, at).await;
        let mut word = [0; 32];
        word[24..].copy_from_slice(&chain_id.to_be_bytes());
        let place = honest.windows(32).position(|window| window == word).unwrap();
        let mut changed = honest.clone();
        changed[place + 31] ^= 1;
        set_code(&world, at, &changed).await;
        let error = Chain::connect(config_of(&world.devnet)).await.unwrap_err();
        let ConnectError::WrongCode { source, .. } = error else {
            panic!("{error}")
        };
        assert!(
            matches!(*source, CodeMismatch::Immutable { name: "chain id", .. }),
            "{source}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_refused_before_anything_is_looked_at() {
    let world = World::of_chain(10).await;
    let refused = connect(&world, 11_155_420).await.unwrap_err();
    let told = matches!(
        refused,
        ConnectError::WrongChain {
            expected: 11_155_420,
            got: 10,
            ..
        }
    );
    assert!(told, "{refused}");
}

#[tokio::test]
async fn a_chain_without_the_deployment_proxy_is_refused_before_anything_is_paid() {
    let world = World::of_chain(31_337).await;
    bare(&world).await;
    let proxy: Address = "0x4e59b44847b379578588920cA78FbF26c0B4956C".parse().unwrap();
    for code in [&[][..], &[0x60, 0x00][..]] {
        set_code(&world, proxy, code).await;
        let refused = deployer(&world).await.plan(world.renter.address(), LIMIT).await;
        assert!(
            matches!(refused, Err(DeployError::NoProxy { chain_id: 31_337 })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_deployment_that_was_cut_off_goes_on_and_pays_for_nothing_twice() {
    let mut world = World::manual().await;
    bare(&world).await;
    let deployer = Arc::new(deployer(&world).await);
    let journal = MemoryJournal::default();
    let [escrow, directory] = Contract::OF_A_MARKET;
    let wallet = world.renter.address();

    // Cut while the first transaction waits for its block.
    let (first, stop) = sender(&mut world, &deployer, &journal);
    let cut = tokio::spawn({
        let deployer = deployer.clone();
        async move { deployer.deploy(&first, escrow).await }
    });
    until(|| !journal.load().unwrap().is_empty()).await;
    stop.cancel();
    assert!(cut.await.unwrap().is_err(), "nobody says that it is done");

    // Again: the same transaction, whose block comes now. Then cut between the two contracts.
    let (second, stop) = sender(&mut world, &deployer, &journal);
    let again = deployer.deploy(&second, escrow);
    let mined = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.devnet.mine().await.unwrap();
    };
    let (mined, ()) = within(async { tokio::join!(again, mined) }).await;
    assert_eq!(mined.unwrap().unwrap().hash, journal.load().unwrap()[0].hash);
    stop.cancel();

    let plan = deployer.plan(wallet, LIMIT).await.unwrap();
    let missing: Vec<_> = plan.iter().filter(|step| step.estimate.is_some()).collect();
    assert_eq!(
        missing.iter().map(|step| step.contract).collect::<Vec<_>>(),
        [directory]
    );
    let (third, _) = sender(&mut world, &deployer, &journal);
    assert_eq!(within(deployer.deploy(&third, escrow)).await.unwrap(), None);
    let last = deployer.deploy(&third, directory);
    let mined = async {
        until(|| journal.load().unwrap().len() == 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.devnet.mine().await.unwrap();
    };
    let (last, ()) = within(async { tokio::join!(last, mined) }).await;
    assert!(last.unwrap().is_some());
    assert_eq!(world.transactions_of(wallet).await, 2);
}

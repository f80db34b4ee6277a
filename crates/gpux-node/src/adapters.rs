//! What a daemon stands on: its keys, its files, the chain, the peers, the containers, the clock.
//!
//! `daemon.rs` joins them to a node. For real they are made here, from the daemon's folder and its configuration; a simulated
//! world makes its own and starts the same daemon on them ([`crate::Daemon`]).

use crate::{
    clock::Clock, config::DaemonConfig, daemon::DaemonError, dir::DaemonDir, entropy::Entropy, node::LocalRuntime,
    peer::Peers, provider::topic, store::Store, wallet,
};
use gpux_chain::{Chain, ChainConfig, HotKey, WalletKey};
use gpux_net::{Limits, Net, NetConfig, PeerNet, PeerTicket};
use gpux_runtime::{EmbeddedRuntime, ImageStore, Machine, Runtime, RuntimeConfig};
use std::{sync::Arc, time::Duration};

/// The name under which met peers are kept.
pub(crate) const PEERS: &str = "peers";

/// What a daemon stands on.
#[derive(Debug)]
pub struct Adapters {
    /// The clocks.
    pub clock: Clock,
    /// Where unpredictable bytes come from.
    pub entropy: Entropy,
    /// The database.
    pub store: Store,
    /// Owns the money.
    pub wallet: Arc<WalletKey>,
    /// The provider's signer.
    pub signer: HotKey,
    /// The chain, checked to be the configured one.
    pub chain: Chain,
    /// Answers peers; the network was started with it.
    pub peers: Arc<Peers>,
    /// The network.
    pub net: Arc<dyn PeerNet>,
    /// Images of jobs.
    pub images: ImageStore,
    /// Containers, or why there are none here.
    pub local: Result<LocalRuntime, String>,
    /// What this machine is, where it provides.
    pub machine: Option<Machine>,
}

impl Adapters {
    /// The real ones, on what `choose` makes of the embedded runtime.
    pub(crate) async fn open(
        dir: &DaemonDir,
        config: &DaemonConfig,
        choose: impl FnOnce(Arc<dyn Runtime>) -> Arc<dyn Runtime>,
    ) -> Result<Self, DaemonError> {
        let clock = Clock::start();
        let store = Store::open(&dir.database())?;
        let wallet = Arc::new(wallet::open(dir, &config.wallet)?);
        let signer = HotKey::open_or_create(&dir.signer_key()).map_err(DaemonError::Signer)?;
        let chain = Chain::connect(chain_config(config)).await?;
        let images = ImageStore::open(&dir.images()).map_err(|source| DaemonError::Folder {
            what: "the image store",
            source,
        })?;
        let local = open_runtime(dir, choose);
        let machine = config.provide.as_ref().map(|_| Machine::measure(dir.path()));
        let peers = Arc::new(Peers::default());
        let net = Net::start(net_config(dir, config, &chain, &store)?, peers.clone()).await?;
        Ok(Self {
            clock,
            entropy: Entropy::system(),
            store,
            wallet,
            signer,
            chain,
            peers,
            net: Arc::new(net),
            images,
            local,
            machine: machine.transpose()?,
        })
    }
}

/// The chain as it is configured.
#[must_use]
pub(crate) fn chain_config(config: &DaemonConfig) -> ChainConfig {
    let chain = &config.chain;
    ChainConfig {
        rpc_url: chain.rpc_url.clone(),
        chain_id: chain.chain_id,
        escrow: chain.escrow,
        node_directory: chain.node_directory,
        token: chain.token,
        poll_interval: chain.poll.into(),
        call_timeout: Duration::from_secs(10),
    }
}

/// Which part of the free disk renters' inputs are kept in.
const CACHED_PART: u64 = 10;

fn net_config(dir: &DaemonDir, config: &DaemonConfig, chain: &Chain, store: &Store) -> Result<NetConfig, DaemonError> {
    let secret = dir.secret(&dir.endpoint_key()).map_err(|source| DaemonError::Folder {
        what: "the endpoint's key",
        source,
    })?;
    // Peers of the last run let a node come back also when its configured ones are gone.
    let mut bootstrap = config.network.bootstrap.clone();
    bootstrap.extend(store.fact::<Vec<PeerTicket>>(PEERS)?.unwrap_or_default());
    let mut limits = Limits {
        cache_bytes: 0,
        ..Limits::default()
    };
    if let Some(provide) = &config.provide {
        limits.cache_age = provide.input_cache_age.into();
        limits.cache_bytes = provide.input_cache.map_or_else(
            // A disk that cannot be looked at keeps nothing.
            || crate::dir::free(dir.path()).map_or(0, |free| free.0 / CACHED_PART),
            |bytes| bytes.0,
        );
    }
    Ok(NetConfig {
        secret,
        data_dir: dir.blobs(),
        bind: config.network.bind.clone(),
        advertise: config.network.advertise.clone(),
        relays: config.network.relays.clone(),
        relay_authority: config.network.relay_authority.clone(),
        topic: topic(&chain.escrow()),
        bootstrap,
        limits,
    })
}

/// The container runtime of this machine, or why there is none.
fn open_runtime(
    dir: &DaemonDir,
    choose: impl FnOnce(Arc<dyn Runtime>) -> Arc<dyn Runtime>,
) -> Result<LocalRuntime, String> {
    let config = RuntimeConfig::new(dir.runtime());
    let runtime = EmbeddedRuntime::open(config).map_err(|error| crate::error_chain(&error))?;
    let layers = runtime.open_layers(&dir.layers());
    let layers = layers.map_err(|error| crate::error_chain(&error))?;
    Ok(LocalRuntime {
        runtime: choose(Arc::new(runtime)),
        layers,
    })
}

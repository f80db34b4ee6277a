//! Starts every part of the daemon in order, runs it until it is told to stop, and ends every task it started.

use crate::{
    adapters::{Adapters, PEERS},
    config::{ChainSection, DaemonConfig, LoadConfigError, ProvideSection},
    dir::DaemonDir,
    directory, http,
    market::Market,
    node::Node,
    provider::{Provider, Selling, TakeOverError, Towers},
    records::Records,
    renter::{Experience, Renter},
    store::{Store, StoreError},
    wallet::WalletError,
    watch::Watch,
};
use gpux_api::ErrorCode;
use gpux_chain::{
    Chain, Collector, ConnectError, DevnetConfig, DigestSigner, HotKey, KeyFileError, SenderConfig, SenderHandle,
    SenderTask, WatcherConfig, sender, watcher,
};
use gpux_market::{Gpus, Rates, Tag};
use gpux_net::StartNetError;
use gpux_runtime::{Machine, MeasureError, Runtime};
use gpux_types::{Amount, ByteSize, Cpu, ParseAmountError, PricePerHour, Resources, Token, UnixSeconds};
use std::{collections::BTreeSet, io, num::NonZeroU64, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpListener, signal::unix::SignalKind};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The most features of a node, its site among them: an offer has room for 32, and five of them tell of GPUs.
const MOST_FEATURES: usize = 25;

/// How long tasks may take to end once they are told to.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What a whole coin is worth in the token, unless the configuration says: fees are weighed with it, never paid.
const COIN_PRICE: &str = "4000";

/// How often the peers that were met are looked at.
const PEERS_KEPT_EVERY: Duration = Duration::from_secs(5);

/// A daemon that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another daemon has the folder.
    #[error("starting the daemon: another one runs in {0}")]
    Running(std::path::PathBuf),
    /// A file of the folder cannot be used.
    #[error("opening {what} of the daemon")]
    Folder {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadConfigError),
    /// A price of the configuration is no amount of the token.
    #[error("understanding the price {key} of the configuration")]
    Price {
        /// Which.
        key: &'static str,
        /// Why.
        source: ParseAmountError,
    },
    /// The API would be reachable from other machines.
    #[error("listening for commands on {0}: only addresses of the loopback are allowed")]
    NotLoopback(std::net::SocketAddr),
    /// The region of the configuration is no tag.
    #[error("understanding the region {0:?} of the configuration: expected small letters, digits and dashes")]
    Region(String),
    /// What the configuration says that the node has cannot be offered.
    #[error("understanding {key} of the configuration: {why}")]
    Offered {
        /// Which key.
        key: &'static str,
        /// What would be right.
        why: &'static str,
    },
    /// The wallet cannot be opened.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The provider's signer cannot be opened.
    #[error("opening the provider's signer")]
    Signer(#[source] KeyFileError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain is out of reach, or not the one that was configured.
    #[error("connecting to the chain")]
    Chain(#[from] ConnectError),
    /// Peers cannot be reached.
    #[error("starting the peer endpoint")]
    Net(#[from] StartNetError),
    /// Leases of an earlier daemon cannot be taken over.
    #[error("taking over the leases of an earlier daemon")]
    TakeOver(#[from] TakeOverError),
    /// The machine cannot be measured.
    #[error("measuring this machine")]
    Measure(#[from] MeasureError),
}

impl DaemonError {
    /// What it is for programs.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Config(_) | Self::Price { .. } | Self::NotLoopback(_) | Self::Region(_) | Self::Offered { .. } => {
                ErrorCode::InvalidInput
            }
            Self::Wallet(_) | Self::Signer(_) => ErrorCode::NotAuthorised,
            Self::Chain(_) => ErrorCode::Unreachable,
            Self::Running(_) | Self::Store(StoreError::Newer { .. }) => ErrorCode::Conflict,
            Self::Folder { .. } | Self::Store(_) | Self::Net(_) | Self::TakeOver(_) | Self::Measure(_) => {
                ErrorCode::Internal
            }
        }
    }
}

/// Chooses the library that encrypts connections, once for the process, before anything connects.
pub fn install_tls() {
    // A second installation is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Runs the daemon of `dir` until it is told to stop.
///
/// # Errors
/// When a part of it cannot start; nothing runs then.
pub async fn run_daemon(dir: &Path) -> Result<(), DaemonError> {
    run_daemon_on(dir, |embedded| embedded).await
}

/// Runs the daemon of `dir` until it is told to stop, on what `choose` makes of the embedded runtime.
///
/// # Errors
/// When a part of it cannot start; nothing runs then.
pub async fn run_daemon_on(
    dir: &Path,
    choose: impl FnOnce(Arc<dyn Runtime>) -> Arc<dyn Runtime>,
) -> Result<(), DaemonError> {
    let dir = DaemonDir::new(dir);
    dir.create().map_err(|source| DaemonError::Folder {
        what: "the folder",
        source,
    })?;
    let _lock = lock(&dir)?;
    let config = DaemonConfig::load(&dir.config())?;
    let adapters = Adapters::open(&dir, &config, choose).await?;
    let node = assemble(dir.clone(), config, adapters)?;
    begin(&node).await?;
    serve(&node).await?;
    dir.remove_api_address();
    node.tasks.close();
    if tokio::time::timeout(STOP_PATIENCE, node.tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    node.net.shutdown().await;
    Ok(())
}

/// Holds the folder for this process.
pub(crate) fn lock(dir: &DaemonDir) -> Result<std::fs::File, DaemonError> {
    let folder = |source| DaemonError::Folder {
        what: "the lock",
        source,
    };
    let file = std::fs::File::create(dir.path().join("daemon.lock")).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(DaemonError::Running(dir.path().to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(folder(source)),
    }
}

/// Joins the adapters to a node, and starts what sends its transactions and watches its leases.
pub(crate) fn assemble(dir: DaemonDir, config: DaemonConfig, adapters: Adapters) -> Result<Arc<Node>, DaemonError> {
    let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
    let Adapters {
        clock,
        entropy,
        store,
        wallet,
        signer,
        chain,
        peers,
        net,
        images,
        local,
        machine,
    } = adapters;
    let assurance = config.chain.assurance(&chain.token().token);
    let max_fee = config.chain.max_fee_per_gas;
    let (wallet_sender, task) = open_sender(&chain, wallet.clone(), &store, max_fee)?;
    tasks.spawn(task.run(cancel.clone()));
    let (provider_sender, task) = open_sender(&chain, Arc::new(signer.clone()), &store, max_fee)?;
    tasks.spawn(task.run(cancel.clone()));
    let (watcher, task) = watcher(chain.clone(), watcher_config(&config.chain, clock.date()), None);
    tasks.spawn(task.run(cancel.clone()));
    let (local, why_no_runtime) = local.map_or_else(|why| (None, Some(why)), |local| (Some(local), None));
    let selling = match (&config.provide, machine) {
        (Some(section), Some(machine)) => Some(selling(section, machine, &wallet, &signer, &chain)?),
        (Some(_) | None, _) => None,
    };
    let provider = selling.map(|(selling, towers)| Provider::new(selling, signer, assurance.exposure, towers));
    if let Some(provider) = &provider {
        provider.obey(&store)?;
    }
    let node = Arc::new(Node {
        coin_price: coin_price(&config, &chain.token().token)?,
        max_fee_per_gas: max_fee.get().into(),
        watch: Watch::open(&config.watch, &store)?,
        market: Market::new(chain.token().token.clone()),
        config,
        dir,
        clock,
        entropy,
        cancel,
        tasks,
        store,
        wallet,
        chain,
        assurance,
        sender: wallet_sender,
        provider_sender,
        watcher,
        net,
        images,
        local,
        why_no_runtime,
        provider,
        renter: Renter::default(),
        experience: Experience::default(),
        records: Records::default(),
    });
    peers.connect(&node);
    Ok(node)
}

/// Takes up what an earlier daemon left, then trades.
pub(crate) async fn begin(node: &Arc<Node>) -> Result<(), DaemonError> {
    if let Some(provider) = &node.provider {
        provider.start(node).await?;
    }
    crate::records::remember(node);
    node.renter.clone().start(node)?;
    node.tasks.spawn(
        node.market
            .clone()
            .follow(node.net.clone(), node.clock.clone(), node.cancel.clone()),
    );
    node.tasks.spawn(keep_peers(node.clone()));
    node.tasks.spawn(crate::records::keep(node.clone()));
    if let (true, ..) | (_, 1.., _) = node.watch.load() {
        node.tasks.spawn(crate::watch::keep(node.clone()));
    }
    if node.config.network.directory {
        node.tasks.spawn(directory::read_while_alone(node.clone()));
    }
    node.tasks.spawn(directory::keep_announced(node.clone()));
    Ok(())
}

/// What sends the transactions of one key.
fn open_sender(
    chain: &Chain,
    key: Arc<dyn DigestSigner>,
    store: &Store,
    max_fee_per_gas: NonZeroU64,
) -> Result<(SenderHandle, SenderTask), DaemonError> {
    let journal = Arc::new(store.clone());
    let config = SenderConfig {
        max_fee_per_gas: max_fee_per_gas.get().into(),
        ..SenderConfig::default()
    };
    sender(chain.clone(), key, journal, config).map_err(|source| DaemonError::Folder {
        what: "the journal of transactions",
        source,
    })
}

fn selling(
    section: &ProvideSection,
    machine: Machine,
    wallet: &Arc<gpux_chain::WalletKey>,
    signer: &HotKey,
    chain: &Chain,
) -> Result<(Selling, Option<Towers>), DaemonError> {
    let price = |key, text: &str| price(&chain.token().token, key, text).map(PricePerHour);
    let region = section
        .region
        .as_ref()
        .map(|region| region.parse().map_err(|_| DaemonError::Region(region.clone())))
        .transpose()?;
    let payout = section.payout.unwrap_or_else(|| wallet.address());
    let collector = Collector {
        escrow: chain.escrow().address,
        signer: signer.address(),
        payout,
    };
    let towers = (!section.towers.is_empty()).then(|| Towers::new(&section.towers, collector));
    let selling = Selling {
        payee: towers.as_ref().map_or(payout, Towers::address),
        rates: Rates {
            cpu_core: price("price_cpu", &section.price_cpu)?,
            memory_gib: price("price_memory", &section.price_memory)?,
            disk_gib: price("price_disk", &section.price_disk)?,
        },
        total: offered(&machine, section),
        longest: section.longest_lease,
        region,
        features: features(section)?,
        gpus: gpus(section, &chain.token().token)?,
        cpu_score: machine.cpu_score,
        cpu_model: machine.cpu_model,
    };
    Ok((selling, towers))
}

/// What an owner says that its node can do, and the name of its site among it.
fn features(section: &ProvideSection) -> Result<BTreeSet<Tag>, DaemonError> {
    let wrong = |key, why| DaemonError::Offered { key, why };
    let labels = "expected at most 32 small letters, digits and inner dashes for each";
    let tags = section.features.iter().map(|feature| feature.parse().ok());
    let tags: Option<BTreeSet<Tag>> = tags.collect();
    let mut tags = tags.ok_or_else(|| wrong("provide.features", labels))?;
    if tags.iter().any(gpux_market::is_of_gpus) {
        return Err(wrong("provide.features", "GPUs are declared in [provide.gpu]"));
    }
    if let Some(site) = &section.site {
        let tag = site.parse().ok().and_then(|site| gpux_market::site_tag(&site));
        let site = "expected at most 27 small letters, digits and inner dashes";
        tags.insert(tag.ok_or_else(|| wrong("provide.site", site))?);
    }
    if tags.len() > MOST_FEATURES {
        return Err(wrong(
            "provide.features",
            "at most 25 fit into an offer, the site among them",
        ));
    }
    Ok(tags)
}

/// The GPUs that an owner says its node has.
fn gpus(section: &ProvideSection, token: &Token) -> Result<Option<Gpus>, DaemonError> {
    let Some(section) = &section.gpu else { return Ok(None) };
    let wrong = |why| DaemonError::Offered {
        key: "provide.gpu",
        why,
    };
    let model = section.model.parse();
    let gpus = Gpus {
        model: model.map_err(|_| wrong("its model is at most 22 small letters, digits and inner dashes"))?,
        free: section.count.get(),
        total: section.count.get(),
        memory: section.memory,
        rate: PricePerHour(price(token, "gpu.price", &section.price)?),
    };
    let fits = gpus.features().is_some();
    let why = "its model has at most 22 characters, its memory is in whole MiB, its price below 2^79 of the token's smallest units";
    fits.then_some(Some(gpus)).ok_or_else(|| wrong(why))
}

/// People move the time of a devnet; nobody moves that of another chain.
fn watcher_config(chain: &ChainSection, date: UnixSeconds) -> WatcherConfig {
    let usual = WatcherConfig::default();
    let is_devnet = chain.chain_id == DevnetConfig::CHAIN_ID;
    let absent = if is_devnet { Duration::ZERO } else { usual.leap_told_for };
    WatcherConfig {
        date: Some(date),
        leap_told_for: chain.leap_told_for.map_or(absent, Duration::from),
        ..usual
    }
}

/// What one whole coin of the chain is worth in the token.
fn coin_price(config: &DaemonConfig, token: &Token) -> Result<Amount, DaemonError> {
    let provide = config.provide.as_ref().and_then(|section| section.coin_price.as_ref());
    let text = provide.or(config.watch.coin_price.as_ref());
    price(token, "coin_price", text.map_or(COIN_PRICE, String::as_str))
}

fn price(token: &Token, key: &'static str, text: &str) -> Result<Amount, DaemonError> {
    token.parse(text).map_err(|source| DaemonError::Price { key, source })
}

/// The part of the measured machine that is offered: never more than was measured.
fn offered(machine: &Machine, section: &ProvideSection) -> Resources {
    let spare_half_core = Cpu {
        millicores: machine.cpu.millicores.saturating_sub(500),
    };
    Resources {
        cpu: section.cpu.unwrap_or(spare_half_core).min(machine.cpu),
        memory: section
            .memory
            .unwrap_or(ByteSize(machine.memory.0 / 4 * 3))
            .min(machine.memory),
        disk: section
            .disk
            .unwrap_or(ByteSize(machine.disk_free.0 / 2))
            .min(machine.disk_free),
    }
}

/// Remembers over restarts whom this node has met, to the last moment.
async fn keep_peers(node: Arc<Node>) {
    let mut kept = Vec::new();
    loop {
        let stopped = tokio::select! {
            biased;
            () = node.cancel.cancelled() => true,
            () = tokio::time::sleep(PEERS_KEPT_EVERY) => false,
        };
        let known = node.net.known_peers();
        if known != kept {
            match node.store.put_fact(PEERS, &known) {
                Ok(()) => kept = known,
                Err(error) => tracing::warn!(error = %crate::error_chain(&error), "remembering peers"),
            }
        }
        if stopped {
            return;
        }
    }
}

/// Answers the local API until the daemon is told to stop.
async fn serve(node: &Arc<Node>) -> Result<(), DaemonError> {
    let folder = |source| DaemonError::Folder {
        what: "the API's socket",
        source,
    };
    let bind = node.config.api.bind;
    if !bind.ip().is_loopback() {
        return Err(DaemonError::NotLoopback(bind));
    }
    let listener = TcpListener::bind(bind).await.map_err(folder)?;
    let token = random_token();
    let address = listener.local_addr().map_err(folder)?;
    node.dir
        .write_api_address(address, &token, node.net.ticket().to_string())
        .map_err(folder)?;
    tracing::info!(node = %node.net.node_id().short(), %address, provides = node.provider.is_some(), "ready");
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate()).map_err(folder)?;
    let cancel = node.cancel.clone();
    let told = async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        cancel.cancel();
    };
    let router = http::router(node.clone(), &token);
    let server = axum::serve(listener, router).with_graceful_shutdown(told);
    let stopped = node.cancel.clone();
    tokio::select! {
        served = server => served.map_err(folder),
        // Followers hold connections open: they are not waited for.
        () = async { stopped.cancelled().await; tokio::time::sleep(Duration::from_millis(500)).await } => Ok(()),
    }
}

fn random_token() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

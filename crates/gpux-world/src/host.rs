//! One node of a world: its disk, its keys, its containers, and the daemon that lives, crashes and lives again on it.

use crate::{
    bug::Bug,
    chain::{BEGINNING, CHAIN_ID, Contracts},
    chance::Chance,
    coverage::Reached,
    ground,
    life::{Disk, Life},
    network::SimNetwork,
    rpc::{Mood, SharedChain, SimNode},
    runtime::SimRuntime,
    trace::{Trace, trace},
    wild::Wild,
};
use futures_util::FutureExt as _;
use gpux_chain::{Chain, ChainConfig, HotKey, WalletKey};
use gpux_lease::EscrowRef;
use gpux_node::{Adapters, Clock, Daemon, DaemonConfig, DaemonDir, Entropy, LocalRuntime, Peers, Store};
use gpux_runtime::{ImageStore, LayerStore, Machine, Runtime as _};
use gpux_testkit::runtime::RuntimeDouble;
use gpux_types::{ByteSize, Cpu, LeaseId, NodeId, Resources, UnixSeconds};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// What a host is like, for its whole existence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    /// Whether it sells.
    pub(crate) provides: bool,
    /// The meter that its daemon is told, in hundredths of the true one.
    pub(crate) meter: u64,
    /// How slow containers start at most, in milliseconds.
    pub(crate) slow: u64,
    /// How many tries of parts in a thousand crash or run out of memory.
    pub(crate) misfortunes: u64,
    /// Whether it tells of work that does not run.
    pub(crate) ghost: bool,
    /// Whether it offers what it does not have.
    pub(crate) boasts: bool,
    /// Whether it signs several closing amounts and submits old receipts.
    pub(crate) wild: bool,
    /// What is wrong with it on purpose.
    pub(crate) bug: Option<Bug>,
    /// Whether it passes for honest.
    pub(crate) honest: bool,
}

impl Nature {
    /// A well-behaved host.
    pub(crate) const fn honest(provides: bool) -> Self {
        Self {
            provides,
            meter: 100,
            slow: 0,
            misfortunes: 0,
            ghost: false,
            boasts: false,
            wild: false,
            bug: None,
            honest: true,
        }
    }
}

/// Everything that hosts of one world share.
#[derive(Clone)]
pub(crate) struct Commons {
    pub(crate) seed: u64,
    pub(crate) dir: PathBuf,
    pub(crate) chain: SharedChain,
    pub(crate) contracts: Contracts,
    pub(crate) network: SimNetwork,
    pub(crate) trace: Trace,
}

/// See the module's documentation.
pub(crate) struct SimHost {
    pub(crate) name: String,
    pub(crate) node: NodeId,
    pub(crate) nature: Nature,
    pub(crate) double: RuntimeDouble,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) disk: Arc<Disk>,
    /// By how many seconds the date that its machine believes is off.
    date_off: Arc<AtomicI64>,
    pub(crate) wallet: Arc<WalletKey>,
    signer: HotKey,
    wild: Option<Arc<Wild>>,
    commons: Commons,
    dir: PathBuf,
    layers: LayerStore,
    /// The present life and its daemon, if it has one.
    pub(crate) alive: Option<(Arc<Life>, Daemon)>,
    /// It will never live again.
    pub(crate) gone: bool,
    lives: u64,
}

/// The keys of the host of that name: its wallet and its signer.
pub(crate) fn keys(seed: u64, name: &str) -> (WalletKey, HotKey) {
    let chance = Chance::new(seed, &format!("keys of {name}"));
    loop {
        // One in 2^128 draws is no key.
        if let (Ok(wallet), Ok(signer)) = (
            WalletKey::without_file(&chance.bytes()),
            HotKey::from_bytes(&chance.bytes()),
        ) {
            return (wallet, signer);
        }
    }
}

impl SimHost {
    pub(crate) fn new(commons: Commons, name: &str, nature: Nature) -> std::io::Result<Self> {
        let (wallet, signer) = keys(commons.seed, name);
        let (wallet, dir) = (Arc::new(wallet), commons.dir.join(name));
        std::fs::create_dir_all(&dir)?;
        DaemonDir::new(&dir).create()?;
        let wild = nature.wild.then(|| {
            trace!(commons.trace, "{name}: signs and submits what it likes");
            let escrow = EscrowRef {
                chain_id: CHAIN_ID,
                address: commons.contracts.escrow,
            };
            let chance = Chance::new(commons.seed, &format!("closings of {name}"));
            Wild::new((signer.clone(), wallet.clone()), escrow, commons.chain.clone(), chance)
        });
        Ok(Self {
            name: name.to_owned(),
            node: NodeId(*blake3::hash(format!("{}/{name}", commons.seed).as_bytes()).as_bytes()),
            nature,
            double: RuntimeDouble::new(),
            mood: Arc::default(),
            disk: Disk::new(commons.trace.clone()),
            date_off: Arc::default(),
            wallet,
            signer,
            wild,
            layers: ground::layers(&dir.join("layers"))?,
            dir,
            commons,
            alive: None,
            gone: false,
            lives: 0,
        })
    }

    /// Starts the daemon. Errors are texts: the world tries again.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        self.lives += 1;
        let (life, seed) = (self.lives, self.commons.seed);
        let chance = |what: &str| Chance::new(seed, &format!("{} of {} in life {life}", what, self.name));
        let life = Life::new(self.disk.clone());
        let config = self.config()?;
        let node = SimNode {
            chain: self.commons.chain.clone(),
            mood: self.mood.clone(),
            chance: chance("chain node"),
            trace: self.commons.trace.clone(),
            life: life.clone(),
        };
        let chain = Chain::connect_to(Arc::new(node), self.chain_config()).await;
        let chain = chain.map_err(|error| gpux_node::error_chain(&error))?;
        let dir = DaemonDir::new(&self.dir);
        if self.nature.bug == Some(Bug::ForgetfulDisk) {
            for name in ["", "-wal", "-shm"] {
                // At the first start there is none.
                let _ = std::fs::remove_file(format!("{}{name}", dir.database().display()));
            }
        }
        let store = Store::open_with(&dir.database(), Some(life.clone()));
        let store = store.map_err(|error| gpux_node::error_chain(&error))?;
        let peers = Arc::new(Peers::default());
        let mut net = self.commons.network.attach(self.node, peers.clone(), life.clone());
        net.wild = self.wild.clone();
        let runtime = SimRuntime {
            double: self.double.clone(),
            life: life.clone(),
            chance: chance("containers"),
            trace: self.commons.trace.clone(),
            seed,
            nature: self.nature,
            ghosts: Mutex::default(),
        };
        let entropy = chance("entropy");
        let adapters = Adapters {
            clock: self.clock(),
            entropy: Entropy::of(move || entropy.bytes()),
            store,
            wallet: self.wallet.clone(),
            signer: self.signer.clone(),
            chain,
            peers,
            net: Arc::new(net),
            images: ImageStore::open(&dir.images()).map_err(|error| error.to_string())?,
            local: Ok(LocalRuntime {
                runtime: Arc::new(runtime),
                layers: self.layers.clone(),
            }),
            machine: self.nature.provides.then(|| machine(self.oversells())),
        };
        let daemon = Daemon::start(dir, config, adapters).await;
        let daemon = daemon.map_err(|error| gpux_node::error_chain(&error))?;
        trace!(self.commons.trace, "{}: life {} begins", self.name, self.lives);
        self.alive = Some((life, daemon));
        Ok(())
    }

    /// A life's clocks: the date goes on as the world's time does, and is off by what it was set to.
    fn clock(&self) -> Clock {
        let (off, start) = (self.date_off.clone(), Instant::now());
        let began = BEGINNING.saturating_add(self.commons.trace.now().as_secs());
        Clock::telling(move || {
            let date = began.saturating_add(start.elapsed().as_secs());
            UnixSeconds(date.saturating_add_signed(off.load(Ordering::Relaxed)))
        })
    }

    /// Somebody sets the machine's date: so many seconds off from now on.
    pub(crate) fn set_date_off(&self, secs: i64) {
        trace!(self.commons.trace, "{}: its date is set {secs} s off", self.name);
        self.commons.trace.reach(Reached::ClockStepped);
        self.date_off.store(secs, Ordering::Relaxed);
    }

    /// Ends the present life at once.
    pub(crate) fn kill(&mut self) {
        if let Some((life, daemon)) = self.alive.take() {
            life.end();
            self.commons.network.detach(self.node);
            daemon.cancel();
            trace!(
                self.commons.trace,
                "{}: life {} is over after {} writes",
                self.name,
                self.lives,
                life.writes()
            );
        }
    }

    /// What it sells in all.
    pub(crate) fn offered(&self) -> Resources {
        Resources {
            cpu: Cpu::cores(3),
            memory: ByteSize(6 << 30),
            disk: ByteSize(2 << 30),
        }
    }

    fn oversells(&self) -> bool {
        self.nature.boasts || self.nature.bug == Some(Bug::Overselling)
    }

    /// The machine loses its power: what works on it is gone, and its daemon.
    pub(crate) fn lose_power(&mut self) {
        for lease in self.at_work() {
            self.double.lose_shim(lease);
        }
        self.kill();
    }

    /// The leases whose containers are there.
    pub(crate) fn at_work(&self) -> Vec<LeaseId> {
        let adopted = self
            .double
            .adopt()
            .now_or_never()
            .and_then(Result::ok)
            .unwrap_or_default();
        let there = adopted.into_iter().filter(|status| status.shim.is_some());
        there.map(|status| status.lease).collect()
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn chain_config(&self) -> ChainConfig {
        let contracts = self.commons.contracts;
        ChainConfig {
            rpc_url: "http://world.invalid".to_owned(),
            chain_id: CHAIN_ID,
            escrow: contracts.escrow,
            node_directory: contracts.directory,
            token: contracts.token,
            poll_interval: Duration::from_secs(1),
            call_timeout: Duration::from_secs(10),
        }
    }

    fn config(&self) -> Result<DaemonConfig, String> {
        let contracts = self.commons.contracts;
        let mut text = format!(
            "[chain]\nrpc_url = \"http://world.invalid\"\nchain_id = {CHAIN_ID}\nescrow = \"{}\"\nnode_directory = \"{}\"\n\
             token = \"{}\"\npoll = 1000\nleap_told_for = 600000\ngrace_secs = 60\nsafe_from = \"20000000\"\nfinalized_from = \"40000000\"\nexposure = \"3000000\"\n\
             [network]\ndirectory = false\n",
            contracts.escrow, contracts.directory, contracts.token
        );
        if self.nature.provides {
            let cores = if self.oversells() { 30 } else { 3 };
            write!(
                text,
                "[provide]\nprice_cpu = \"180\"\nprice_memory = \"4\"\nprice_disk = \"1\"\ncpu = {cores}\nmemory = \"6GiB\"\ndisk = \"2GiB\"\n",
            )
            .map_err(|error| error.to_string())?;
        }
        toml::from_str(&text).map_err(|error| error.to_string())
    }
}

fn machine(oversells: bool) -> Machine {
    Machine {
        cpu: Cpu::cores(if oversells { 40 } else { 4 }),
        memory: ByteSize(8 << 30),
        memory_free: ByteSize(8 << 30),
        disk: ByteSize(64 << 30),
        disk_free: ByteSize(64 << 30),
        cpu_model: "a core of the simulated world".to_owned(),
        cpu_score: 1_000,
        cpu_score_all: 4_000,
    }
}

/// A folder for a world: in memory where there is such a place, so that a world writes to no disk.
pub(crate) fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
}

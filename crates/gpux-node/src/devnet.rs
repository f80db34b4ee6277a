//! A whole market on one machine: a chain, providers and a renter, as separate processes that talk over real sockets.

use crate::{
    config::{ApiSection, ChainSection, DaemonConfig, NetworkSection, ProvideSection, WalletSection, WatchSection},
    dir::{DaemonDir, spawn_daemon, tail_of_file, write_private},
    wallet::{self, WalletError},
};
use gpux_api::{DevnetView, ErrorCode, ProcessView};
use gpux_chain::{Devnet, DevnetConfig, DevnetError, DevnetInfo, Funding, HotKey, KdfCost, KeyFileError, find_anvil};
use gpux_net::PeerTicket;
use gpux_runtime::{EmbeddedRuntime, Machine, MeasureError, Runtime, RuntimeConfig};
use gpux_types::{Address, Amount, ByteSize, Cpu, Millis};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a daemon may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// What wallets get for fees: one whole coin.
const FEES_WEI: u128 = 1_000_000_000_000_000_000;
/// Whole tokens that the renter gets.
const RENTER_TOKENS: u128 = 1_000;
/// The grace of leases here, in seconds: a day elsewhere.
const GRACE_SECS: u32 = 30;

/// What kind of market.
#[derive(Debug, Clone)]
pub struct DevnetOptions {
    /// How many providers.
    pub providers: u32,
    /// Time between blocks; zero makes a block for each transaction.
    pub block_time: Millis,
    /// The token of deposits: `DAI` or `USDC`.
    pub token: &'static str,
}

/// A market that cannot be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DevnetMarketError {
    /// One runs already.
    #[error("starting a devnet: one runs in {0} already")]
    Running(PathBuf),
    /// None runs.
    #[error("looking for a devnet in {0}: none was started there")]
    None(PathBuf),
    /// The chain program is missing.
    #[error("starting a devnet: anvil was not found on the PATH or below contracts/node_modules")]
    NoAnvil,
    /// The chain did not start.
    #[error("starting the devnet's chain")]
    Chain(#[from] DevnetError),
    /// A file cannot be written or read.
    #[error("writing {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A wallet cannot be made.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A signer cannot be made.
    #[error("making a provider's signer")]
    Signer(#[from] KeyFileError),
    /// The machine cannot be measured.
    #[error("measuring this machine")]
    Measure(#[from] MeasureError),
    /// A daemon did not start.
    #[error("starting the daemon {name}: it did not answer within {START_PATIENCE:?}; its log ends with:\n{log}")]
    Daemon {
        /// Which.
        name: String,
        /// The end of its log.
        log: String,
    },
}

impl DevnetMarketError {
    /// What it is for programs.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Running(_) => ErrorCode::Conflict,
            Self::None(_) => ErrorCode::NotFound,
            Self::NoAnvil | Self::Chain(_) => ErrorCode::Unreachable,
            Self::File { .. } | Self::Wallet(_) | Self::Signer(_) | Self::Measure(_) | Self::Daemon { .. } => {
                ErrorCode::Internal
            }
        }
    }
}

fn state_file(dir: &Path) -> PathBuf {
    dir.join("market.json")
}

/// Starts a market in `dir`, telling each step through `say`.
///
/// # Errors
/// When one runs there already or a part of it cannot start; what was started is stopped then.
pub async fn up(dir: &Path, options: &DevnetOptions, say: &dyn Fn(&str)) -> Result<DevnetView, DevnetMarketError> {
    if status(dir).is_ok_and(|view| view.processes.iter().any(|process| process.alive)) {
        return Err(DevnetMarketError::Running(dir.to_owned()));
    }
    remove(dir)?;
    std::fs::create_dir_all(dir).map_err(|source| file(dir, source))?;
    let started = start(dir, options, say).await;
    if started.is_err() {
        // The first error is the one worth telling.
        let _ = down(dir, false).await;
    }
    started
}

async fn start(dir: &Path, options: &DevnetOptions, say: &dyn Fn(&str)) -> Result<DevnetView, DevnetMarketError> {
    let names: Vec<String> = (1..=options.providers)
        .map(|number| format!("provider-{number}"))
        .collect();
    let renter = DaemonDir::new(&dir.join("renter"));
    let mut fund = vec![make_wallet(&renter, RENTER_TOKENS)?];
    for name in &names {
        let provider = DaemonDir::new(&dir.join(name));
        fund.push(make_wallet(&provider, 0)?);
        let signer = HotKey::open_or_create(&provider.signer_key())?;
        fund.push(funding(signer.address(), 0));
    }
    say("starting the chain and deploying the contracts");
    let chain = start_chain(dir, options, fund).await?;
    let info = chain.info().clone();
    let token = info
        .tokens
        .iter()
        .find(|token| token.symbol.contains(options.token))
        .or(info.tokens.first())
        .ok_or(DevnetMarketError::NoAnvil)?;
    let mut view = DevnetView {
        schema: "gpux.devnet/v1".into(),
        chain_id: info.chain_id,
        rpc_url: info.rpc_url.clone(),
        escrow: format!("{:#x}", info.escrow),
        token: format!("{:#x}", token.address),
        token_symbol: token.symbol.clone(),
        renter_dir: renter.path().to_owned(),
        processes: vec![process("chain", info.anvil.pid, dir)],
    };
    save(dir, &view)?;
    let section = chain_section(&info, token.address, options);
    let mut bootstrap: Vec<PeerTicket> = Vec::new();
    let share = Share::of_this_machine(dir, options.providers)?;
    for (number, name) in (0u32..).zip(&names) {
        let config = config(&section, &bootstrap, Some(share.section(number)));
        let ticket = start_daemon(&mut view, dir, name, &config, say).await?;
        // Everybody starts from the first provider alone and finds the rest by gossip.
        if bootstrap.is_empty() {
            bootstrap.push(ticket);
        }
    }
    start_daemon(&mut view, dir, "renter", &config(&section, &bootstrap, None), say).await?;
    Ok(view)
}

async fn start_chain(dir: &Path, options: &DevnetOptions, fund: Vec<Funding>) -> Result<Devnet, DevnetMarketError> {
    let roots = anvil_roots();
    let path = std::env::var_os("PATH");
    let anvil = find_anvil(&roots, path.as_deref()).ok_or(DevnetMarketError::NoAnvil)?;
    let block_secs = (options.block_time > Millis::ZERO).then(|| options.block_time.as_secs().max(1));
    let config = DevnetConfig {
        anvil,
        dir: dir.join("chain"),
        chain_id: DevnetConfig::CHAIN_ID,
        block_secs,
        funding: fund,
    };
    Ok(Devnet::start(config).await?)
}

/// Where the project may lie: above the working folder, and above this program.
fn anvil_roots() -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    here.ancestors()
        .chain(program.ancestors())
        .map(Path::to_owned)
        .collect()
}

fn make_wallet(dir: &DaemonDir, tokens: u128) -> Result<Funding, DevnetMarketError> {
    let password: [u8; 16] = rand::random();
    let password: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
    // Nothing here is worth a slow key derivation: the chain is gone with the devnet.
    let wallet = wallet::create(dir, password.as_bytes(), KdfCost::Light)?;
    let path = dir.password();
    write_private(&path, password.as_bytes()).map_err(|source| file(&path, source))?;
    Ok(funding(wallet.address(), tokens))
}

fn funding(address: Address, tokens: u128) -> Funding {
    let whole = |decimals: u32| Amount::new(tokens * 10u128.pow(decimals)).unwrap_or(Amount::MAX);
    Funding {
        address,
        wei: FEES_WEI,
        dai: whole(18),
        usdc: whole(6),
    }
}

fn chain_section(info: &DevnetInfo, token: Address, options: &DevnetOptions) -> ChainSection {
    ChainSection {
        name: gpux_chain::KnownChain::with_id(info.chain_id).map(|chain| chain.name.to_owned()),
        rpc_url: info.rpc_url.clone(),
        chain_id: info.chain_id,
        escrow: info.escrow,
        node_directory: info.node_directory,
        node_directory_from: 0,
        token,
        leap_told_for: None,
        poll: if options.block_time == Millis::ZERO {
            Millis(20)
        } else {
            Millis(200)
        },
        max_fee_per_gas: crate::config::default_max_fee(),
        safe_from: None,
        finalized_from: None,
        exposure: None,
        grace_secs: GRACE_SECS,
    }
}

fn config(chain: &ChainSection, bootstrap: &[PeerTicket], provide: Option<ProvideSection>) -> DaemonConfig {
    let network = NetworkSection {
        bind: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        bootstrap: bootstrap.to_vec(),
        // Everybody has a ticket here, and the demo counts transactions.
        directory: false,
        ..NetworkSection::default()
    };
    DaemonConfig {
        chain: chain.clone(),
        wallet: WalletSection::default(),
        network,
        api: ApiSection::default(),
        watch: WatchSection::default(),
        provide,
    }
}

/// What each provider offers: its part of what was measured, so that all together sell the machine once.
struct Share {
    cpu: Cpu,
    memory: ByteSize,
    disk: ByteSize,
}

impl Share {
    fn of_this_machine(dir: &Path, providers: u32) -> Result<Self, DevnetMarketError> {
        let machine = Machine::measure(dir)?;
        let parts = providers.max(1);
        Ok(Self {
            cpu: Cpu {
                millicores: machine.cpu.millicores / parts,
            },
            // A quarter stays for the chain, the daemons and the system.
            memory: ByteSize(machine.memory.0 / 4 * 3 / u64::from(parts)),
            disk: ByteSize(machine.disk_free.0 / 2 / u64::from(parts)),
        })
    }

    fn section(&self, number: u32) -> ProvideSection {
        let prices = ["0.20", "0.24", "0.28", "0.32"];
        let regions = ["eu-west", "eu-north", "us-east", "ap-south"];
        let pick = |list: [&'static str; 4]| {
            usize::try_from(number % 4)
                .ok()
                .and_then(|at| list.get(at).copied())
                .unwrap_or("0.20")
        };
        ProvideSection {
            payout: None,
            towers: Vec::new(),
            price_cpu: pick(prices).into(),
            price_memory: "0.02".into(),
            price_disk: "0.001".into(),
            cpu: Some(self.cpu),
            memory: Some(self.memory),
            disk: Some(self.disk),
            coin_price: None,
            region: Some(pick(regions).into()),
            site: None,
            features: Vec::new(),
            gpu: None,
            longest_lease: Millis::from_secs(24 * 3_600),
            input_cache: None,
            input_cache_age: Millis::from_secs(24 * 3_600),
        }
    }
}

async fn start_daemon(
    view: &mut DevnetView,
    dir: &Path,
    name: &str,
    config: &DaemonConfig,
    say: &dyn Fn(&str),
) -> Result<PeerTicket, DevnetMarketError> {
    let daemon = DaemonDir::new(&dir.join(name));
    say(&format!("starting {name}"));
    let path = daemon.config();
    let text = toml::to_string_pretty(config).map_err(|error| file(&path, io::Error::other(error)))?;
    write_private(&path, text.as_bytes()).map_err(|source| file(&path, source))?;
    let pid = spawn_daemon(daemon.path()).map_err(|source| file(daemon.path(), source))?;
    view.processes.push(process(name, pid, daemon.path()));
    save(dir, view)?;
    let deadline = tokio::time::Instant::now() + START_PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if let Some(ticket) = daemon
            .read_api_address()
            .filter(|address| address.pid == pid)
            .and_then(|address| address.ticket.parse().ok())
        {
            return Ok(ticket);
        }
        if !view.processes.last().is_some_and(is_alive) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = tail_of_file(&daemon.log(), 10).unwrap_or_default();
    Err(DevnetMarketError::Daemon {
        name: name.to_owned(),
        log,
    })
}

/// The market of `dir`.
///
/// # Errors
/// When none was started there.
pub fn status(dir: &Path) -> Result<DevnetView, DevnetMarketError> {
    let none = || DevnetMarketError::None(dir.to_owned());
    let bytes = std::fs::read(state_file(dir)).map_err(|_| none())?;
    let mut view: DevnetView = serde_json::from_slice(&bytes).map_err(|_| none())?;
    for process in &mut view.processes {
        if let Some(successor) = successor(process) {
            *process = successor;
        }
        process.alive = is_alive(process);
    }
    Ok(view)
}

/// Stops every process of the market in `dir` and all work of its leases; removes the folder when `purge`.
///
/// # Errors
/// When none was started there, or its folder cannot be removed.
pub async fn down(dir: &Path, purge: bool) -> Result<DevnetView, DevnetMarketError> {
    let mut view = status(dir)?;
    // The chain goes last: daemons that stop still read it.
    for process in view.processes.iter().rev() {
        stop(process).await;
    }
    for process in view.processes.iter().filter(|process| process.name != "chain") {
        end_leases(&DaemonDir::new(&process.dir)).await;
    }
    for process in &mut view.processes {
        process.alive = is_alive(process);
    }
    if purge {
        remove(dir)?;
    } else {
        std::fs::remove_file(state_file(dir)).map_err(|source| file(dir, source))?;
    }
    Ok(view)
}

/// Ends what a stopped daemon left running on purpose: on a devnet nobody comes back for it.
async fn end_leases(dir: &DaemonDir) {
    let Ok(runtime) = EmbeddedRuntime::open(RuntimeConfig::new(dir.runtime())) else {
        return;
    };
    for lease in runtime.adopt().await.unwrap_or_default() {
        if let Err(error) = runtime.forget_lease(lease.lease).await {
            tracing::warn!(lease = %lease.lease.short(), error = %crate::error_chain(&error), "ending a lease of the devnet");
        }
    }
    if let Err(error) = runtime.remove() {
        tracing::warn!(%error, "removing the runtime of a daemon of the devnet");
    }
}

async fn stop(process: &ProcessView) {
    let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
    signal(process, rustix::process::Signal::TERM);
    while is_alive(process) {
        if tokio::time::Instant::now() > deadline {
            signal(process, rustix::process::Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn signal(process: &ProcessView, signal: rustix::process::Signal) {
    let pid = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw);
    if let (true, Some(pid)) = (is_alive(process), pid) {
        // One that ended meanwhile is what was wanted.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn process(name: &str, pid: u32, dir: &Path) -> ProcessView {
    ProcessView {
        name: name.to_owned(),
        pid,
        start_ticks: start_ticks(pid).unwrap_or(0),
        alive: true,
        dir: dir.to_owned(),
    }
}

fn is_alive(process: &ProcessView) -> bool {
    start_ticks(process.pid) == Some(process.start_ticks)
}

/// The daemon that a command started in the place of one that ended.
fn successor(gone: &ProcessView) -> Option<ProcessView> {
    let pid = DaemonDir::new(&gone.dir).read_api_address()?.pid;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // A daemon that was killed leaves its number behind, which may be another process's by now.
    let dir = gone.dir.as_os_str().as_encoded_bytes();
    let is_of_the_folder = words.split(|byte| *byte == 0).any(|word| word == dir);
    (is_of_the_folder && pid != gone.pid).then(|| process(&gone.name, pid, &gone.dir))
}

/// When a process that still runs started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything: fields are counted from its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn save(dir: &Path, view: &DevnetView) -> Result<(), DevnetMarketError> {
    let path = state_file(dir);
    let text = serde_json::to_vec_pretty(view).map_err(|error| file(&path, io::Error::other(error)))?;
    write_private(&path, &text).map_err(|source| file(&path, source))
}

fn remove(dir: &Path) -> Result<(), DevnetMarketError> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file(dir, source)),
        _ => Ok(()),
    }
}

fn file(path: &Path, source: io::Error) -> DevnetMarketError {
    DevnetMarketError::File {
        path: path.to_owned(),
        source,
    }
}

//! A chain and daemons for one test. They share a process, so one word ends them all, as the machine's shutdown would.

use gpux_api::OffersView;
use gpux_chain::{Announcement, Chain, ChainConfig, Devnet, DevnetConfig, Funding, find_anvil};
use gpux_node::{ApiAddress, DaemonDir, install_tls, new_wallet, run_daemon};
use gpux_types::{Address, Amount};
use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A chain and the daemons on it.
pub(crate) struct World {
    home: tempfile::TempDir,
    devnet: Devnet,
    pub(crate) chain: Chain,
    running: JoinSet<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.devnet.info().anvil.kill();
    }
}

/// How a daemon is to find peers and be found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    pub(crate) ticket: Option<String>,
    pub(crate) directory: bool,
    pub(crate) announce: bool,
    pub(crate) sells: bool,
    /// Where it listens; a free port when there is none.
    pub(crate) port: Option<u16>,
}

impl World {
    pub(crate) async fn start() -> Self {
        install_tls();
        let home = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = std::env::var_os("PATH");
        let config = DevnetConfig {
            anvil: find_anvil(&[root], path.as_deref()).expect("anvil is installed: run `npm ci` in contracts/"),
            dir: home.path().join("chain"),
            chain_id: DevnetConfig::CHAIN_ID,
            block_secs: None,
            funding: Vec::new(),
        };
        let devnet = Devnet::start(config).await.unwrap();
        let token = devnet.info().tokens[0].address;
        let chain = Chain::connect(ChainConfig::devnet(devnet.info(), token)).await.unwrap();
        Self {
            home,
            devnet,
            chain,
            running: JoinSet::new(),
        }
    }

    /// A folder with a wallet that can pay fees; gives the wallet's address.
    pub(crate) async fn wallet(&self, name: &str) -> Address {
        let dir = self.dir(name);
        let address: Address = new_wallet(&dir, b"a password").unwrap().parse().unwrap();
        std::fs::write(dir.path().join("wallet.password"), "a password").unwrap();
        let funding = Funding {
            address,
            wei: 1_000_000_000_000_000_000,
            dai: Amount::ZERO,
            usdc: Amount::ZERO,
        };
        self.devnet.fund(funding).await.unwrap();
        address
    }

    /// What the directory tells of since block `from`, the newest last.
    pub(crate) async fn announced(&self, from: u64) -> Vec<Announcement> {
        let head = self.chain.head().await.unwrap().number;
        if from > head {
            return Vec::new();
        }
        self.chain.announcements(from, head).await.unwrap().heard
    }

    fn dir(&self, name: &str) -> DaemonDir {
        DaemonDir::new(&self.home.path().join(name))
    }

    /// Starts a daemon, and waits until it answers.
    pub(crate) async fn daemon(&mut self, name: &str, ways: &Ways) -> ApiAddress {
        let dir = self.dir(name);
        std::fs::write(dir.config(), self.config(ways)).unwrap();
        let path = dir.path().to_owned();
        self.running.spawn(async move {
            if let Err(error) = run_daemon(&path).await {
                panic!("{}: {}", path.display(), gpux_node::error_chain(&error));
            }
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = dir.read_api_address() {
                return address;
            }
            if let Some(ended) = self.running.try_join_next() {
                panic!("a daemon ended: {ended:?}");
            }
            assert!(Instant::now() < deadline, "{name} did not start");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn config(&self, ways: &Ways) -> String {
        let info = self.devnet.info();
        let bootstrap: Vec<String> = ways.ticket.iter().map(|ticket| format!("{ticket:?}")).collect();
        let mut text = format!(
            r#"
[chain]
rpc_url = "{}"
chain_id = {}
escrow = "{}"
node_directory = "{}"
token = "{}"
poll = 100

[network]
bind = ["127.0.0.1:{}"]
bootstrap = [{}]
directory = {}
announce = {}
"#,
            info.rpc_url,
            info.chain_id,
            info.escrow,
            info.node_directory,
            self.chain.config().token,
            ways.port.unwrap_or(0),
            bootstrap.join(","),
            ways.directory,
            ways.announce,
        );
        if ways.sells {
            text.push_str("[provide]\nprice_cpu = \"0.2\"\nprice_memory = \"0.02\"\nprice_disk = \"0.001\"\n");
        }
        text
    }

    /// Ends all daemons as the end of the machine does, and waits for it.
    pub(crate) async fn stop_all(&mut self) {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The offers that a daemon has heard.
pub(crate) async fn offers(daemon: &ApiAddress) -> OffersView {
    let body = get(daemon.socket, &daemon.token, "/v1/offers").await;
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

async fn get(address: SocketAddr, token: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

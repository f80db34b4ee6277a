//! `config.toml`: the only configuration of a daemon, parsed once into types that cannot be wrong.

use gpux_types::{Address, ByteSize, Cpu, Millis};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadConfigError {
    /// Not there, or not readable.
    #[error("reading the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An unknown key, a wrong value, or not TOML.
    #[error("understanding the configuration {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Which key, and where.
        source: Box<toml::de::Error>,
    },
}

/// Everything that a daemon is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonConfig {
    /// The chain that holds the escrow.
    pub chain: ChainSection,
    /// The wallet.
    #[serde(default)]
    pub wallet: WalletSection,
    /// How peers are reached.
    #[serde(default)]
    pub network: NetworkSection,
    /// The local API.
    #[serde(default)]
    pub api: ApiSection,
    /// What is sold. Absent: this node only rents.
    pub provide: Option<ProvideSection>,
}

/// The chain that holds the escrow.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSection {
    /// A JSON-RPC endpoint.
    pub rpc_url: String,
    /// The EIP-155 chain id that the endpoint must have.
    pub chain_id: u64,
    /// The escrow contract.
    pub escrow: Address,
    /// The node directory contract.
    pub node_directory: Address,
    /// The token of deposits.
    pub token: Address,
    /// How often the chain is asked for a new block. Absent: every second.
    #[serde(default = "default_poll")]
    pub poll: Millis,
    /// Deposits of at least this many smallest units count only at the `safe` block. Absent: never needed.
    pub safe_from: Option<gpux_types::Amount>,
    /// Deposits of at least this many smallest units count only at the `finalized` block. Absent: never needed.
    pub finalized_from: Option<gpux_types::Amount>,
    /// How long after the expiry the provider can still settle, in seconds; a day unless this is a devnet.
    #[serde(default = "default_grace")]
    pub grace_secs: u32,
}

/// The wallet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletSection {
    /// A file that holds the keystore's password. Absent: `wallet.password` in the daemon's folder.
    pub password_file: Option<PathBuf>,
}

/// How peers are reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSection {
    /// Where to listen for peers.
    pub bind: Vec<SocketAddr>,
    /// Relays for nodes behind strict NAT. Nothing is contacted that is not named here.
    pub relays: Vec<String>,
    /// Tickets of peers to start from.
    pub bootstrap: Vec<gpux_net::PeerTicket>,
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self {
            bind: vec![SocketAddr::from(([0, 0, 0, 0], 0))],
            relays: Vec::new(),
            bootstrap: Vec::new(),
        }
    }
}

/// The local API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSection {
    /// Where to listen, on the loopback. Port 0: any free one.
    pub bind: SocketAddr,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// What is sold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvideSection {
    /// Where payments go. Absent: the wallet.
    pub payout: Option<Address>,
    /// Net price of one core for an hour, in the token's units, such as `0.05`.
    pub price_cpu: String,
    /// Net price of one GiB of memory for an hour.
    pub price_memory: String,
    /// Net price of one GiB of disk for an hour.
    pub price_disk: String,
    /// The part of the measured cores that is offered. Absent: all but half a core.
    pub cpu: Option<Cpu>,
    /// The part of the measured memory that is offered. Absent: three quarters.
    pub memory: Option<ByteSize>,
    /// The part of the free disk that is offered. Absent: half.
    pub disk: Option<ByteSize>,
    /// Where this node says that it is, such as `eu-west`.
    pub region: Option<String>,
    /// The longest lease that is offered.
    #[serde(default = "default_longest")]
    pub longest_lease: Millis,
}

const fn default_poll() -> Millis {
    Millis(1_000)
}

const fn default_grace() -> u32 {
    24 * 3_600
}

const fn default_longest() -> Millis {
    Millis::from_secs(7 * 24 * 3_600)
}

impl DaemonConfig {
    /// The configuration in the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or has an unknown key or a wrong value.
    pub fn load(path: &Path) -> Result<Self, LoadConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| LoadConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

//! `config.toml`: the only configuration of a daemon, parsed once into types that cannot be wrong.

mod chain;

pub use chain::{ChainChoice, ChainSection, ChooseChainError};
pub(crate) use chain::{Target, default_max_fee, target};

use gpux_chain::{ConfirmPolicy, DevnetConfig};
use gpux_types::{Address, Amount, ByteSize, Cpu, Millis, Token};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    num::NonZeroU32,
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
    /// No chain that can be used was chosen.
    #[error("choosing a chain")]
    Chain(#[from] ChooseChainError),
    /// A provider that is away for longer than this loses what it earned.
    #[error(
        "understanding the configuration {path}: chain.grace_secs is {secs}, and on chain {chain_id} it must be from {LEAST_GRACE_SECS} \
         (a day) to {MOST_GRACE_SECS} (30 days): leave the key out for a day"
    )]
    Grace {
        /// The file.
        path: PathBuf,
        /// What it says.
        secs: u32,
        /// The chain.
        chain_id: u64,
    },
}

/// Long enough to find out that a machine is down and to start it again. A devnet may have less.
const LEAST_GRACE_SECS: u32 = 24 * 3_600;
/// The escrow takes no longer one.
const MOST_GRACE_SECS: u32 = 30 * 24 * 3_600;

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
    /// What is watched for others.
    #[serde(default)]
    pub watch: WatchSection,
    /// What is sold. Absent: this node only rents.
    pub provide: Option<ProvideSection>,
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
    /// Addresses to tell peers besides those found, such as a forwarded port of a router.
    pub advertise: Vec<SocketAddr>,
    /// Relays for nodes behind strict NAT. Nothing is contacted that is not named here.
    pub relays: Vec<String>,
    /// A PEM file with the authority that signed the relays' certificates, where it is none of the world's.
    pub relay_authority: Option<PathBuf>,
    /// Tickets of peers to start from.
    pub bootstrap: Vec<gpux_net::PeerTicket>,
    /// Whether nodes that announced themselves on the chain are tried when no other peer answers. Absent: yes.
    pub directory: bool,
    /// Whether this node announces itself on the chain, from its wallet and again when its addresses change. Absent: no.
    pub announce: bool,
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self {
            bind: vec![SocketAddr::from(([0, 0, 0, 0], 0))],
            advertise: Vec::new(),
            relays: Vec::new(),
            relay_authority: None,
            bootstrap: Vec::new(),
            directory: true,
            announce: false,
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

/// What is watched for other providers, as their watch-tower (decision 11).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchSection {
    /// Whether this node takes what others hand over, and collects it from its wallet once they are gone. Absent: no.
    pub serve: bool,
    /// How many leases are watched at most. Absent: 10,000, below 1 KiB each.
    pub max_leases: usize,
    /// How many of them one node may have handed over. Absent: 1,000.
    pub max_leases_of_one: usize,
    /// What one whole coin of the chain is worth in the token: how fees are weighed. Absent: as in `[provide]`, or 4,000.
    pub coin_price: Option<String>,
}

impl Default for WatchSection {
    fn default() -> Self {
        Self {
            serve: false,
            max_leases: 10_000,
            max_leases_of_one: 1_000,
            coin_price: None,
        }
    }
}

/// What is sold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvideSection {
    /// Where payments go. Absent: the wallet.
    pub payout: Option<Address>,
    /// Tickets of nodes that serve as this provider's watch-towers: while there is one, leases are paid to a collector, which pays
    /// `payout`. Absent: none.
    #[serde(default)]
    pub towers: Vec<gpux_net::PeerTicket>,
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
    /// What one whole coin of the chain is worth in the token: how fees are weighed. Absent: 4,000.
    pub coin_price: Option<String>,
    /// Where this node says that it is, such as `eu-west`.
    pub region: Option<String>,
    /// The site in which it stands: a name of the owner's own, the same on all of its nodes that stand together.
    pub site: Option<String>,
    /// What this node can do beyond plain containers, as its owner says, such as `cap-docker`.
    #[serde(default)]
    pub features: Vec<String>,
    /// The GPUs that are sold. Nothing is detected: what is declared here is offered.
    pub gpu: Option<GpuSection>,
    /// The longest lease that is offered.
    #[serde(default = "default_longest")]
    pub longest_lease: Millis,
    /// The most disk that is taken by what renters sent for their leases, kept for their next ones; those used longest ago go first.
    /// `"0B"`: nothing is kept. Absent: a tenth of what is free when the daemon starts.
    pub input_cache: Option<ByteSize>,
    /// How long it is kept after a lease last worked with it.
    #[serde(default = "default_cache_age")]
    pub input_cache_age: Millis,
}

/// GPUs that are sold: all of one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuSection {
    /// The model, such as `h100-sxm`: at most 22 small letters, digits and dashes.
    pub model: String,
    /// How many.
    pub count: NonZeroU32,
    /// The memory of each, in whole MiB.
    pub memory: ByteSize,
    /// Net price of one for an hour, beside the cores, memory and disk of its lease.
    pub price: String,
}

/// How much money is good how deep in the chain, and how much is worked off before it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assurance {
    /// When the end of a lease that this node rents is believed.
    pub(crate) confirm: ConfirmPolicy,
    /// When a deposit, or its end, is no risk any more to the node as a provider: never in the newest block alone, since small
    /// deposits are many.
    pub(crate) deep: ConfirmPolicy,
    /// What is worked off on all deposits together that are not deep.
    pub(crate) exposure: Amount,
}

/// Whole tokens that a renter believes in the newest block, and that a provider works off before deposits are deep. A sequencer
/// that takes back blocks it has published has not been seen; this is what it may cost a provider in all if it is.
const SAFE_FROM_TOKENS: u128 = 10;
/// Whole tokens from which on L1 itself must be final: a quarter of an hour, which such jobs can wait for.
const FINALIZED_FROM_TOKENS: u128 = 1_000;

impl ChainSection {
    /// What was configured, and for the rest what is safe with this token on this chain.
    pub(crate) fn assurance(&self, token: &Token) -> Assurance {
        let whole = |tokens: u128| {
            let unit = 10u128.checked_pow(u32::from(token.decimals));
            let units = unit.and_then(|unit| unit.checked_mul(tokens));
            units.and_then(|units| Amount::new(units).ok()).unwrap_or(Amount::MAX)
        };
        let defaults = if self.chain_id == DevnetConfig::CHAIN_ID {
            ConfirmPolicy::NEWEST
        } else {
            ConfirmPolicy {
                safe_from: Some(whole(SAFE_FROM_TOKENS)),
                finalized_from: Some(whole(FINALIZED_FROM_TOKENS)),
            }
        };
        let confirm = ConfirmPolicy {
            safe_from: self.safe_from.or(defaults.safe_from),
            finalized_from: self.finalized_from.or(defaults.finalized_from),
        };
        let usual = whole(SAFE_FROM_TOKENS);
        let most = confirm.safe_from.map_or(usual, |safe_from| safe_from.min(usual));
        Assurance {
            deep: ConfirmPolicy {
                safe_from: confirm.safe_from.map(|_| Amount::ZERO),
                finalized_from: confirm.finalized_from,
            },
            confirm,
            exposure: self.exposure.unwrap_or(most),
        }
    }
}

const fn default_longest() -> Millis {
    Millis::from_secs(7 * 24 * 3_600)
}

const fn default_cache_age() -> Millis {
    Millis::from_secs(7 * 24 * 3_600)
}

impl DaemonConfig {
    /// The section about the wallet of the configuration at `path`, all else unread; the absent one where there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn load_wallet(path: &Path) -> Result<WalletSection, LoadConfigError> {
        #[derive(Deserialize)]
        struct OnlyWallet {
            #[serde(default)]
            wallet: WalletSection,
        }
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(WalletSection::default()),
            read => read.map_err(|source| LoadConfigError::Read {
                path: path.to_owned(),
                source,
            })?,
        };
        let read: Result<OnlyWallet, _> = toml::from_str(&text);
        let read = read.map_err(|source| LoadConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Ok(read.wallet)
    }

    /// The configuration in the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key or a wrong value, or a grace that costs money.
    pub fn load(path: &Path) -> Result<Self, LoadConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|source| LoadConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let ChainSection {
            chain_id, grace_secs, ..
        } = config.chain;
        let least = if chain_id == DevnetConfig::CHAIN_ID {
            0
        } else {
            LEAST_GRACE_SECS
        };
        if !(least..=MOST_GRACE_SECS).contains(&grace_secs) {
            return Err(LoadConfigError::Grace {
                path: path.to_owned(),
                secs: grace_secs,
                chain_id,
            });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_chain::Depth;

    fn section(chain_id: u64, more: &str) -> ChainSection {
        let text = format!(
            "rpc_url = \"http://127.0.0.1:1\"\nchain_id = {chain_id}\nescrow = \"{0}\"\nnode_directory = \"{0}\"\ntoken = \"{0}\"\n{more}",
            Address::ZERO
        );
        toml::from_str(&text).unwrap()
    }

    fn token(decimals: u8) -> Token {
        Token {
            symbol: "T".into(),
            decimals,
        }
    }

    #[test]
    fn without_a_word_more_money_must_lie_deeper_on_any_chain_but_the_devnet() {
        for decimals in [6, 18] {
            let token = token(decimals);
            let money = |text: &str| token.parse(text).unwrap();
            let assurance = section(10, "").assurance(&token);
            let depths = ["9.999999", "10", "999.999999", "1000"].map(|text| assurance.confirm.depth_for(money(text)));
            use Depth::{Finalized, Latest, Safe};
            assert_eq!(depths, [Latest, Safe, Safe, Finalized]);
            let depths =
                ["0.000001", "9.999999", "999.999999", "1000"].map(|text| assurance.deep.depth_for(money(text)));
            assert_eq!(depths, [Safe, Safe, Safe, Finalized], "small deposits are many");
            assert_eq!(assurance.exposure, money("10"));
            let devnet = section(DevnetConfig::CHAIN_ID, "").assurance(&token);
            assert_eq!(devnet.confirm, ConfirmPolicy::NEWEST);
            assert_eq!(devnet.deep, ConfirmPolicy::NEWEST);
        }
    }

    #[test]
    fn a_grace_that_could_cost_a_provider_its_pay_is_refused_off_the_devnet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let load = |chain_id: u64, grace: u32| {
            let text = format!(
                "[chain]\nrpc_url = \"http://127.0.0.1:1\"\nchain_id = {chain_id}\nescrow = \"{0}\"\nnode_directory = \"{0}\"\ntoken = \"{0}\"\n\
                 grace_secs = {grace}\n",
                Address::ZERO
            );
            std::fs::write(&path, text).unwrap();
            DaemonConfig::load(&path)
        };
        for (chain_id, grace) in [
            (10, 86_399),
            (10, 30 * 86_400 + 1),
            (DevnetConfig::CHAIN_ID, 30 * 86_400 + 1),
        ] {
            let refused = load(chain_id, grace).unwrap_err();
            assert!(matches!(refused, LoadConfigError::Grace { .. }), "{refused}");
        }
        for (chain_id, grace) in [(10, 86_400), (10, 30 * 86_400), (DevnetConfig::CHAIN_ID, 30)] {
            assert_eq!(load(chain_id, grace).unwrap().chain.grace_secs, grace);
        }
    }

    #[test]
    fn gas_has_a_limit_that_can_be_changed() {
        assert_eq!(section(10, "").max_fee_per_gas.get(), 2_000_000_000);
        assert_eq!(section(10, "max_fee_per_gas = 7").max_fee_per_gas.get(), 7);
    }

    #[test]
    fn no_more_is_worked_off_unassured_than_counts_in_the_newest_block() {
        let token = token(6);
        let lower = section(10, "safe_from = \"2000000\"").assurance(&token);
        assert_eq!(lower.exposure, token.parse("2").unwrap());
        let higher = section(10, "safe_from = \"50000000\"").assurance(&token);
        assert_eq!(
            higher.exposure,
            token.parse("10").unwrap(),
            "only a word of the owner's raises it"
        );
        let told = section(10, "exposure = \"0\"").assurance(&token);
        assert_eq!(told.exposure, Amount::ZERO);
    }
}

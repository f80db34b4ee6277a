//! The `[chain]` section: which chain, by name or by its own words, and what follows from a name.
//!
//! What stands in the file beats what the table of names says, except the chain id: a name and another id is a mistake that could
//! cost money, and is refused.

use super::LEAST_GRACE_SECS;
use gpux_chain::{CHAINS, Deployment, KnownChain, SenderConfig};
use gpux_types::{Address, Amount, Millis};
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU64, path::Path};

/// The chain that holds the escrow.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ChainSection {
    /// A name of [`gpux_chain::CHAINS`], from which all that is not written here follows. Absent: a chain that has none, of which
    /// `rpc_url`, `chain_id`, `escrow`, `node_directory` and `token` are written.
    pub name: Option<String>,
    /// A JSON-RPC endpoint. Absent with a name: the chain's public one, where it has one.
    pub rpc_url: String,
    /// The EIP-155 chain id that the endpoint must have.
    pub chain_id: u64,
    /// The escrow contract. Absent with a name: the one of this build, once it is deployed there.
    pub escrow: Address,
    /// The node directory contract. Absent with a name: as the escrow.
    pub node_directory: Address,
    /// The block in which that contract was made: nothing older is read. Absent: the first.
    #[serde(default)]
    pub node_directory_from: u64,
    /// The token of deposits. Absent with a name: native USDC, and test DAI on the devnet.
    pub token: Address,
    /// How often the chain is asked for a new block. Absent: every second.
    pub poll: Millis,
    /// How long a block that is more than an hour ahead of time must be told before it is believed. Absent: ten minutes, and no
    /// time at all on the devnet, whose time people move.
    pub leap_told_for: Option<Millis>,
    /// The most wei that is ever offered for a unit of gas; a tenth of it is the most for the sequencer's tip. Gas that
    /// costs more is waited for. Absent: 2 gwei, some hundred times what OP chains usually take: 0.0003 coins for a deposit.
    pub max_fee_per_gas: NonZeroU64,
    /// A lease with a deposit of at least this many smallest units is over for its renter only when its end is in the `safe`
    /// block. A provider counts every deposit only there, however small. Absent: 10 tokens, and on the devnet never needed.
    pub safe_from: Option<Amount>,
    /// With at least this many smallest units both wait for the `finalized` block. Absent: 1,000 tokens, and on the devnet
    /// never needed.
    pub finalized_from: Option<Amount>,
    /// How much a provider works off on deposits that are not deep enough yet, in smallest units: on all of its leases
    /// together. Absent: 10 tokens, or `safe_from` where that is less.
    pub exposure: Option<Amount>,
    /// How long after the expiry the provider can still settle, in seconds; a day unless this is a devnet.
    pub grace_secs: u32,
}

/// The section as it stands in the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Option<String>,
    rpc_url: Option<String>,
    chain_id: Option<u64>,
    escrow: Option<Address>,
    node_directory: Option<Address>,
    node_directory_from: Option<u64>,
    token: Option<Address>,
    poll: Option<Millis>,
    leap_told_for: Option<Millis>,
    max_fee_per_gas: Option<NonZeroU64>,
    safe_from: Option<Amount>,
    finalized_from: Option<Amount>,
    exposure: Option<Amount>,
    grace_secs: Option<u32>,
}

/// A `[chain]` section, or a choice on the command line, that names no chain that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseChainError {
    /// No such name.
    #[error("no chain is called {0:?}: the names are {names}; for another chain leave the name out and write chain.chain_id, chain.rpc_url, chain.escrow, chain.node_directory and chain.token", names = names())]
    UnknownName(String),
    /// The name is of another chain than the id.
    #[error("chain.name {name:?} is chain {named}, and chain.chain_id is {written}: one of them is wrong")]
    OtherId {
        /// The name.
        name: String,
        /// Its chain.
        named: u64,
        /// What stands in the file.
        written: u64,
    },
    /// A key that does not follow from anything.
    #[error("chain.{key} is missing: write it, or chain.name, which is one of {names}", names = names())]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The devnet's chain listens on a port of its own each time.
    #[error("chain.rpc_url is missing: {0} has no public endpoint; `gpux devnet up` writes where it listens")]
    NoEndpoint(&'static str),
    /// Nobody has put the contracts there.
    #[error(
        "GPUX's contracts are not deployed on {title} yet, so nothing can be rented there: when somebody has deployed them \
         (`gpux contracts deploy`), write the chain.escrow and chain.node_directory that it prints; \
         `gpux devnet up` makes a market on this machine"
    )]
    NotDeployed {
        /// How people call the chain.
        title: &'static str,
    },
}

fn names() -> String {
    CHAINS.map(|chain| chain.name).join(", ")
}

/// What follows from a chain's name, its id being checked.
fn known(name: Option<&str>, chain_id: Option<u64>) -> Result<Option<&'static KnownChain>, ChooseChainError> {
    let Some(name) = name else { return Ok(None) };
    let known = KnownChain::named(name).ok_or_else(|| ChooseChainError::UnknownName(name.to_owned()))?;
    match chain_id {
        Some(written) if written != known.chain_id => Err(ChooseChainError::OtherId {
            name: name.to_owned(),
            named: known.chain_id,
            written,
        }),
        _ => Ok(Some(known)),
    }
}

impl Written {
    fn endpoint(&self, known: Option<&KnownChain>) -> Result<String, ChooseChainError> {
        match (&self.rpc_url, known) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(known)) => known
                .public_rpc
                .map(str::to_owned)
                .ok_or(ChooseChainError::NoEndpoint(known.title)),
            (None, None) => Err(ChooseChainError::Missing { key: "rpc_url" }),
        }
    }

    fn chain_id(&self, known: Option<&KnownChain>) -> Result<u64, ChooseChainError> {
        let named = known.map(|known| known.chain_id);
        self.chain_id
            .or(named)
            .ok_or(ChooseChainError::Missing { key: "chain_id" })
    }

    /// Where the contracts are that a daemon uses.
    fn deployment(&self, known: Option<&KnownChain>) -> Result<Deployment, ChooseChainError> {
        let there = known.and_then(KnownChain::deployment);
        let missing = |key| match known {
            Some(known) => ChooseChainError::NotDeployed { title: known.title },
            None => ChooseChainError::Missing { key },
        };
        let one = |written: Option<Address>, there: Option<Address>, key| written.or(there).ok_or_else(|| missing(key));
        let from = there.map_or(0, |there| there.from_block);
        Ok(Deployment {
            escrow: one(self.escrow, there.map(|there| there.escrow), "escrow")?,
            node_directory: one(
                self.node_directory,
                there.map(|there| there.node_directory),
                "node_directory",
            )?,
            // The table's block is of the table's contract.
            from_block: self
                .node_directory_from
                .unwrap_or(if self.node_directory.is_some() { 0 } else { from }),
        })
    }
}

impl TryFrom<Written> for ChainSection {
    type Error = ChooseChainError;

    fn try_from(written: Written) -> Result<Self, ChooseChainError> {
        let known = known(written.name.as_deref(), written.chain_id)?;
        let Deployment {
            escrow,
            node_directory,
            from_block,
        } = written.deployment(known)?;
        let token = written.token.or(known.map(KnownChain::token));
        Ok(Self {
            rpc_url: written.endpoint(known)?,
            chain_id: written.chain_id(known)?,
            escrow,
            node_directory,
            node_directory_from: from_block,
            token: token.ok_or(ChooseChainError::Missing { key: "token" })?,
            poll: written.poll.unwrap_or(DEFAULT_POLL),
            leap_told_for: written.leap_told_for,
            max_fee_per_gas: written.max_fee_per_gas.unwrap_or_else(default_max_fee),
            safe_from: written.safe_from,
            finalized_from: written.finalized_from,
            exposure: written.exposure,
            grace_secs: written.grace_secs.unwrap_or(LEAST_GRACE_SECS),
            name: written.name,
        })
    }
}

pub(crate) const fn default_max_fee() -> NonZeroU64 {
    NonZeroU64::new(SenderConfig::MAX_FEE_PER_GAS).expect("it is more than nothing")
}

const DEFAULT_POLL: Millis = Millis(1_000);

/// What was typed beside a configuration, for commands about a chain that may have no contracts yet.
#[derive(Debug, Clone, Default)]
pub struct ChainChoice {
    /// A name or a chain id.
    pub chain: Option<String>,
    /// A JSON-RPC endpoint.
    pub rpc_url: Option<String>,
    /// Where the escrow is.
    pub escrow: Option<Address>,
    /// Where the node directory is.
    pub node_directory: Option<Address>,
}

/// A chain to look at or to deploy on.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) known: Option<&'static KnownChain>,
    pub(crate) rpc_url: String,
    pub(crate) chain_id: u64,
    /// Where the escrow is, where anybody has said so.
    pub(crate) escrow: Option<Address>,
    pub(crate) node_directory: Option<Address>,
    /// The token of deposits, where anybody has said so.
    pub(crate) token: Option<Address>,
    pub(crate) poll: Millis,
    pub(crate) max_fee_per_gas: NonZeroU64,
}

/// The one section that is read of a configuration whose chain may have no contracts yet.
#[derive(Deserialize)]
struct OnlyChain {
    chain: Option<Written>,
}

/// The chain of the configuration at `config`, if there is one, changed by what was typed. A chain that was typed is not the
/// configuration's: nothing of that is used then.
///
/// # Errors
/// When neither says which chain, or how to reach it.
pub(crate) fn target(config: &Path, choice: ChainChoice) -> Result<Target, super::LoadConfigError> {
    let mut written = match (&choice.chain, std::fs::read_to_string(config)) {
        (Some(_), _) => Written::default(),
        (None, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Written::default(),
        (None, Err(source)) => {
            return Err(super::LoadConfigError::Read {
                path: config.to_owned(),
                source,
            });
        }
        (None, Ok(text)) => {
            let read: Result<OnlyChain, _> = toml::from_str(&text);
            let read = read.map_err(|source| super::LoadConfigError::Parse {
                path: config.to_owned(),
                source: Box::new(source),
            })?;
            read.chain.unwrap_or_default()
        }
    };
    if let Some(chain) = choice.chain {
        match chain.parse() {
            Ok(chain_id) => written.chain_id = Some(chain_id),
            Err(_) => written.name = Some(chain),
        }
    }
    written.rpc_url = choice.rpc_url.or(written.rpc_url);
    let known = known(written.name.as_deref(), written.chain_id)?;
    let there = known.and_then(KnownChain::deployment);
    Ok(Target {
        rpc_url: written.endpoint(known)?,
        chain_id: written.chain_id(known)?,
        escrow: choice.escrow.or(written.escrow).or(there.map(|there| there.escrow)),
        node_directory: choice
            .node_directory
            .or(written.node_directory)
            .or(there.map(|there| there.node_directory)),
        token: written.token.or(known.map(KnownChain::token)),
        poll: written.poll.unwrap_or(DEFAULT_POLL),
        max_fee_per_gas: written.max_fee_per_gas.unwrap_or_else(default_max_fee),
        known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<ChainSection, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    const RAW: &str = "rpc_url = \"http://127.0.0.1:1\"\nchain_id = 31337\nescrow = \"0x0000000000000000000000000000000000000001\"\n\
         node_directory = \"0x0000000000000000000000000000000000000002\"\ntoken = \"0x0000000000000000000000000000000000000003\"\n";

    #[test]
    fn a_live_network_by_name_is_refused_until_its_contracts_are_there_and_says_what_to_do() {
        for name in ["optimism", "optimism-sepolia"] {
            let refused = section(&format!("name = \"{name}\"")).unwrap_err();
            assert!(refused.contains("not deployed"), "{refused}");
            assert!(
                refused.contains("gpux contracts deploy") && refused.contains("chain.escrow"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_name_says_all_but_what_is_written() {
        let mine = "escrow = \"0x0000000000000000000000000000000000000001\"\nnode_directory = \"0x0000000000000000000000000000000000000002\"";
        let optimism = section(&format!("name = \"optimism\"\n{mine}")).unwrap();
        assert_eq!(
            (optimism.chain_id, optimism.rpc_url.as_str()),
            (10, "https://mainnet.optimism.io")
        );
        assert_eq!(optimism.token.to_string(), "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85");
        assert_eq!(
            (optimism.escrow, optimism.node_directory_from),
            (Address::with_last_byte(1), 0)
        );
        let other = format!(
            "name = \"optimism\"\nrpc_url = \"http://127.0.0.1:8545\"\ntoken = \"{}\"\n{mine}",
            Address::ZERO
        );
        let other = section(&other).unwrap();
        assert_eq!(
            (other.rpc_url.as_str(), other.token),
            ("http://127.0.0.1:8545", Address::ZERO)
        );

        let devnet = section("name = \"devnet\"\nrpc_url = \"http://127.0.0.1:8545\"").unwrap();
        let there = Deployment::of_this_build();
        assert_eq!(
            (devnet.escrow, devnet.node_directory),
            (there.escrow, there.node_directory)
        );
        let nowhere = section("name = \"devnet\"").unwrap_err();
        assert!(nowhere.contains("gpux devnet up"), "{nowhere}");
    }

    #[test]
    fn a_name_with_the_id_of_another_chain_is_refused() {
        let refused = section("name = \"optimism\"\nchain_id = 11155420").unwrap_err();
        assert!(
            refused.contains("chain 10") && refused.contains("11155420"),
            "{refused}"
        );
        let refused = section("name = \"optimsm\"").unwrap_err();
        assert!(refused.contains("optimism, optimism-sepolia, devnet"), "{refused}");
    }

    #[test]
    fn a_chain_without_a_name_needs_every_word_of_its_own() {
        assert_eq!(section(RAW).unwrap().chain_id, 31_337);
        for key in ["rpc_url", "chain_id", "escrow", "node_directory", "token"] {
            let rest: Vec<&str> = RAW
                .lines()
                .filter(|line| !line.starts_with(&format!("{key} =")))
                .collect();
            let refused = section(&rest.join("\n")).unwrap_err();
            assert!(refused.contains(&format!("chain.{key} is missing")), "{key}: {refused}");
        }
        let refused = section(&format!("{RAW}rcp = 1")).unwrap_err();
        assert!(refused.contains("unknown field `rcp`"), "{refused}");
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let read = section("name = \"devnet\"\nrpc_url = \"http://127.0.0.1:8545\"\ngrace_secs = 30").unwrap();
        let again = section(&toml::to_string(&read).unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{again:?}"));
    }

    #[test]
    fn a_chain_to_deploy_on_needs_no_contracts_and_what_is_typed_beats_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let typed = |chain: &str| ChainChoice {
            chain: Some(chain.into()),
            ..ChainChoice::default()
        };
        let sepolia = target(&path, typed("optimism-sepolia")).unwrap();
        assert_eq!((sepolia.chain_id, sepolia.escrow), (11_155_420, None));
        assert!(target(&path, typed("31337")).is_err(), "it has no endpoint");
        assert!(target(&path, ChainChoice::default()).is_err(), "nobody says which");

        std::fs::write(
            &path,
            "[chain]\nname = \"optimism\"\nrpc_url = \"http://127.0.0.1:1\"\n[provide]\nanything = 1\n",
        )
        .unwrap();
        let configured = target(&path, ChainChoice::default()).unwrap();
        assert_eq!(
            (configured.chain_id, configured.rpc_url.as_str()),
            (10, "http://127.0.0.1:1")
        );
        let sepolia = target(&path, typed("optimism-sepolia")).unwrap();
        assert_eq!(
            sepolia.rpc_url, "https://sepolia.optimism.io",
            "the other chain's endpoint is not asked"
        );
    }
}

//! The chains that have a name: what a configuration need not say about them.
//!
//! Whoever reads a configuration asks; nothing here is trusted. An endpoint that answers another chain id, and a contract of other
//! code than this build's, are refused by `connect` however they were found.

use crate::{built::Contract, devnet::DevnetConfig};
use alloy::primitives::address;
use gpux_types::Address;

/// A chain that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownChain {
    /// How it is called in configurations and on the command line.
    pub name: &'static str,
    /// How people call it.
    pub title: &'static str,
    /// Its EIP-155 chain id.
    pub chain_id: u64,
    /// A public endpoint that takes a few calls a second from anybody; `None` where there is none.
    pub public_rpc: Option<&'static str>,
    /// The token of deposits; `None`: the test DAI of this build.
    token: Option<Address>,
    /// In which block the contracts of this build were deployed, at the addresses that follow from their code; `None`: not yet.
    deployed_in: Option<u64>,
}

/// Where the contracts of a market are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// The escrow.
    pub escrow: Address,
    /// The node directory.
    pub node_directory: Address,
    /// No event of theirs is in an older block.
    pub from_block: u64,
}

impl Deployment {
    /// Where the deployment proxy puts the contracts of this build, on every chain.
    #[must_use]
    pub fn of_this_build() -> Self {
        Self {
            escrow: Contract::Escrow.address(),
            node_directory: Contract::NodeDirectory.address(),
            from_block: 0,
        }
    }
}

/// Every chain with a name.
///
/// Tokens: native USDC, as its issuer lists it at <https://developers.circle.com/stablecoins/usdc-contract-addresses>. Not the bridged
/// USDC.e of OP Mainnet, which has no EIP-3009. What permits are signed under is read from the token itself.
/// Endpoints: those of the chain's own documentation, <https://docs.optimism.io/op-mainnet/network-information/connecting-to-op>.
pub const CHAINS: [KnownChain; 3] = [
    KnownChain {
        name: "optimism",
        title: "OP Mainnet",
        chain_id: 10,
        public_rpc: Some("https://mainnet.optimism.io"),
        token: Some(address!("0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85")),
        deployed_in: None,
    },
    KnownChain {
        name: "optimism-sepolia",
        title: "OP Sepolia, a test network",
        chain_id: 11_155_420,
        public_rpc: Some("https://sepolia.optimism.io"),
        token: Some(address!("0x5fd84259d66Cd46123540766Be93DFE6D43130D7")),
        deployed_in: None,
    },
    KnownChain {
        name: "devnet",
        title: "a devnet",
        chain_id: DevnetConfig::CHAIN_ID,
        public_rpc: None,
        token: None,
        deployed_in: Some(0),
    },
];

impl KnownChain {
    /// The chain of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CHAINS.iter().find(|chain| chain.name == name)
    }

    /// The chain with this id.
    #[must_use]
    pub fn with_id(chain_id: u64) -> Option<&'static Self> {
        CHAINS.iter().find(|chain| chain.chain_id == chain_id)
    }

    /// The token of deposits.
    #[must_use]
    pub fn token(&self) -> Address {
        self.token.unwrap_or_else(|| Contract::TestDai.address())
    }

    /// Where the contracts are; `None` while nobody has deployed those of this build.
    #[must_use]
    pub fn deployment(&self) -> Option<Deployment> {
        self.deployed_in.map(|from_block| Deployment {
            from_block,
            ..Deployment::of_this_build()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_one_to_one() {
        for chain in &CHAINS {
            assert_eq!(KnownChain::named(chain.name), Some(chain));
            assert_eq!(KnownChain::with_id(chain.chain_id), Some(chain));
        }
        assert_eq!(KnownChain::named("Optimism"), None);
        assert_eq!(KnownChain::with_id(1), None);
    }

    #[test]
    fn a_live_network_has_no_contracts_until_somebody_deployed_them() {
        let deployed = CHAINS.map(|chain| (chain.name, chain.deployment().is_some()));
        assert_eq!(
            deployed,
            [("optimism", false), ("optimism-sepolia", false), ("devnet", true)]
        );
    }
}

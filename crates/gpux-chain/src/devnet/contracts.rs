//! Putting the contracts on a fresh devnet and making money there.
//!
//! Everything is sent from anvil's first account, which anvil itself signs for. The contracts go through the deployment proxy, as
//! `gpux contracts deploy` sends them: so their addresses are the same on every chain, and all of it fits into one block.

use super::{DevnetError, DevnetInfo, Funding};
use crate::{
    abi::TestDai,
    built::{Contract, PROXY},
    rpc::{Rpc, RpcError},
};
use alloy::{
    primitives::{B256, Bytes, U64, U256, address},
    sol_types::SolCall,
};
use gpux_types::{Address, Amount};
use serde_json::json;

/// Anvil's first account. Its key is public, so it owns nothing but test money.
const DEPLOYER: Address = address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
/// Gas for one deployment: twice what the largest contract takes.
const DEPLOY_GAS: u64 = 6_000_000;
/// Gas for one mint.
const MINT_GAS: u64 = 200_000;

const ALL: [Contract; 4] = [
    Contract::Escrow,
    Contract::NodeDirectory,
    Contract::TestDai,
    Contract::TestUsdc,
];

/// Where the contracts of a devnet are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contracts {
    pub(super) escrow: Address,
    pub(super) node_directory: Address,
    pub(super) dai: Address,
    pub(super) usdc: Address,
}

impl Contracts {
    /// The contracts of a devnet that runs.
    pub(super) fn of(info: &DevnetInfo) -> Self {
        let token = |symbol| info.token(symbol).map_or(Address::ZERO, |token| token.address);
        Self {
            escrow: info.escrow,
            node_directory: info.node_directory,
            dai: token("DAI"),
            usdc: token("USDC"),
        }
    }

    /// Deploys those that are not there from an earlier time, and pays out the funding, in one block.
    pub(super) async fn deploy(rpc: &Rpc, chain_id: u64, funding: &[Funding]) -> Result<Self, DevnetError> {
        let contracts = Self {
            escrow: Contract::Escrow.address(),
            node_directory: Contract::NodeDirectory.address(),
            dai: Contract::TestDai.address(),
            usdc: Contract::TestUsdc.address(),
        };
        for contract in ALL {
            let code = rpc.code(contract.address()).await.map_err(DevnetError::Rpc)?;
            if code.is_empty() {
                let input = contract.deployment();
                let call = json!([{ "from": DEPLOYER, "to": PROXY, "gas": U64::from(DEPLOY_GAS), "input": input }]);
                let _: B256 = rpc.call("eth_sendTransaction", call).await.map_err(DevnetError::Rpc)?;
            }
        }
        for funding in funding {
            contracts.fund(rpc, *funding).await.map_err(DevnetError::Rpc)?;
        }
        mine(rpc).await.map_err(DevnetError::Rpc)?;
        for contract in ALL {
            let at = contract.address();
            let code = rpc.code(at).await.map_err(DevnetError::Rpc)?;
            let checked = contract.check(&code, chain_id, at);
            checked.map_err(|source| DevnetError::Deploy {
                what: contract.name(),
                source,
            })?;
        }
        Ok(contracts)
    }

    /// Sets the coin's balance and sends the mints, without waiting for a block.
    pub(super) async fn fund(&self, rpc: &Rpc, funding: Funding) -> Result<(), RpcError> {
        let Funding {
            address,
            wei,
            dai,
            usdc,
        } = funding;
        let set = json!([address, U256::from(wei)]);
        let _: Option<serde_json::Value> = rpc.call_opt("anvil_setBalance", set).await?;
        for (token, amount) in [(self.dai, dai), (self.usdc, usdc)] {
            if amount == Amount::ZERO {
                continue;
            }
            // Both test tokens mint alike.
            let mint = TestDai::mintCall {
                to: address,
                amount: U256::from(amount.units()),
            };
            let input = Bytes::from(mint.abi_encode());
            let call = json!([{ "from": DEPLOYER, "to": token, "gas": U64::from(MINT_GAS), "input": input }]);
            let _: B256 = rpc.call("eth_sendTransaction", call).await?;
        }
        Ok(())
    }
}

/// Makes a block now.
pub(super) async fn mine(rpc: &Rpc) -> Result<(), RpcError> {
    rpc.call_opt::<serde_json::Value>("evm_mine", json!([])).await.map(drop)
}

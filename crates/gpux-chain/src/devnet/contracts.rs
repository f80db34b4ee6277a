//! Putting the contracts on a fresh devnet and making money there.
//!
//! Everything is sent from anvil's first account, which anvil itself signs for, at fixed nonces: so the addresses are
//! the same on every devnet, and all of it fits into one block.

use super::{DevnetError, DevnetInfo, Funding};
use crate::{
    abi::{Escrow, NodeDirectory, TestDai, TestUsdc},
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

    /// Deploys them, unless the chain goes on from an earlier time, and pays out the funding, in one block.
    pub(super) async fn deploy(rpc: &Rpc, funding: &[Funding]) -> Result<Self, DevnetError> {
        let [escrow, node_directory, dai, usdc] = [0, 1, 2, 3].map(|nonce| DEPLOYER.create(nonce));
        let contracts = Self {
            escrow,
            node_directory,
            dai,
            usdc,
        };
        let all = [
            ("the escrow", escrow, &Escrow::BYTECODE),
            ("the node directory", node_directory, &NodeDirectory::BYTECODE),
            ("the test DAI", dai, &TestDai::BYTECODE),
            ("the test USDC", usdc, &TestUsdc::BYTECODE),
        ];
        let count: U64 = rpc
            .call("eth_getTransactionCount", json!([DEPLOYER, "latest"]))
            .await
            .map_err(DevnetError::Rpc)?;
        if count.is_zero() {
            for (_, _, bytecode) in &all {
                let call = json!([{ "from": DEPLOYER, "gas": U64::from(DEPLOY_GAS), "input": bytecode }]);
                let _: B256 = rpc.call("eth_sendTransaction", call).await.map_err(DevnetError::Rpc)?;
            }
        }
        for funding in funding {
            contracts.fund(rpc, *funding).await.map_err(DevnetError::Rpc)?;
        }
        mine(rpc).await.map_err(DevnetError::Rpc)?;
        for (what, address, _) in all {
            let code: Bytes = rpc
                .call("eth_getCode", json!([address, "latest"]))
                .await
                .map_err(DevnetError::Rpc)?;
            if code.is_empty() {
                return Err(DevnetError::Deploy { what });
            }
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

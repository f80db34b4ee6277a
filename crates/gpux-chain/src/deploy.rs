//! Putting the contracts of this build on a chain from somebody's wallet, and looking whether they are there.
//!
//! `gpux contracts` calls it. One transaction for each contract, through the deployment proxy alone: so a contract has one address
//! on every chain, which proves its code, and whoever was cut off between two contracts finds by looking which one is missing.
//! Why there is no other way: docs/decisions/0016-contracts-have-one-address.md.

use crate::{
    built::{CodeMismatch, Contract, PROXY},
    call::{Call, Intent, IntentKey},
    client::{Chain, ChainConfig},
    confirm::Depth,
    connect::{ConnectError, check_chain_id, read_scalars, rpc_error},
    journal::Journal,
    keys::DigestSigner,
    mined::Mined,
    rpc::{Rpc, RpcError},
    sender::{ConfirmError, Estimate, SendError, SenderConfig, SenderHandle, SenderTask, sender},
    token::TokenInfo,
};
use alloy::primitives::{Bytes, bytes};
use gpux_types::Address;
use std::{io, sync::Arc, time::Duration};

/// The proxy's whole code: it deploys what stands behind the first word, which is the salt, and answers the address.
const PROXY_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// A chain that contracts are put on, or looked for.
#[derive(Clone)]
pub struct DeployTarget {
    /// The JSON-RPC endpoint. It may hold an access key and is never shown.
    pub rpc_url: String,
    /// The EIP-155 chain id that the endpoint must answer.
    pub chain_id: u64,
    /// How often the newest block is asked for while something is awaited.
    pub poll_interval: Duration,
    /// The longest that one call may take.
    pub call_timeout: Duration,
}

impl std::fmt::Debug for DeployTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeployTarget")
            .field("chain_id", &self.chain_id)
            .finish_non_exhaustive()
    }
}

/// A contract that cannot be put where it belongs.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The chain has no deployment proxy.
    #[error("looking for the deployment proxy {PROXY} on chain {chain_id}: it is not there, or is another contract")]
    NoProxy {
        /// The chain.
        chain_id: u64,
    },
    /// The chain node gives no good answer.
    #[error("looking for the {} at {at}", contract.name())]
    Look {
        /// Which contract.
        contract: Contract,
        /// Where.
        at: Address,
        /// Why.
        source: RpcError,
    },
    /// Something else is at the contract's address, as the chain node tells it. The address follows from the code, so no other can
    /// be there: the node lies, or is broken.
    #[error("checking the {} at {at}", contract.name())]
    Other {
        /// Which contract.
        contract: Contract,
        /// Where.
        at: Address,
        /// What differs.
        source: CodeMismatch,
    },
    /// The transaction was not sent, or would fail.
    #[error("deploying the {}", contract.name())]
    Send {
        /// Which contract.
        contract: Contract,
        /// Why.
        source: SendError,
    },
    /// The transaction did not come to be.
    #[error("deploying the {}", contract.name())]
    Confirm {
        /// Which contract.
        contract: Contract,
        /// Why.
        source: ConfirmError,
    },
}

/// A contract to be deployed, or that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeployStep {
    /// Which.
    pub contract: Contract,
    /// Where it is, or will be.
    pub address: Address,
    /// What deploying it costs; `None` when it is there, to the last byte.
    pub estimate: Option<Estimate>,
}

/// A connection to a chain that may have none of our contracts yet: of the right id, and nothing else is known of it.
#[derive(Debug)]
pub struct Deployer {
    /// Its escrow and directory are where they will be, and it has no token: it stays in here, so that nobody takes it for a chain
    /// that was checked.
    chain: Chain,
}

impl Deployer {
    /// Connects to the chain node and checks the chain id.
    ///
    /// # Errors
    /// When it is of another chain or gives no good answer.
    pub async fn connect(target: DeployTarget) -> Result<Self, ConnectError> {
        let rpc = Rpc::new(&target.rpc_url, target.call_timeout).map_err(ConnectError::Client)?;
        check_chain_id(&rpc, target.chain_id).await?;
        let scalars = read_scalars(&rpc).await.map_err(|error| rpc_error(&rpc, error))?;
        let config = ChainConfig {
            rpc_url: target.rpc_url,
            chain_id: target.chain_id,
            escrow: Contract::Escrow.address(),
            node_directory: Contract::NodeDirectory.address(),
            token: Address::ZERO,
            poll_interval: target.poll_interval,
            call_timeout: target.call_timeout,
        };
        let chain = Chain::checked(rpc, config, TokenInfo::none(), scalars);
        Ok(Self { chain })
    }

    /// Whether the code at `at` is that of this build's contract.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn look(&self, contract: Contract, at: Address) -> Result<Result<(), CodeMismatch>, DeployError> {
        let code = self.chain.rpc().code(at).await;
        let code = code.map_err(|source| DeployError::Look { contract, at, source })?;
        Ok(contract.check(&code, self.chain.config().chain_id, at))
    }

    /// What is missing, and what each missing contract costs if `wallet` deploys it now. Nothing is sent.
    ///
    /// # Errors
    /// When the chain has no deployment proxy, gas is dearer than `max_fee_per_gas`, or the chain node gives no good answer.
    pub async fn plan(&self, wallet: Address, max_fee_per_gas: u128) -> Result<Vec<DeployStep>, DeployError> {
        let mut steps = Vec::new();
        for contract in Contract::OF_A_MARKET {
            let address = contract.address();
            let estimate = match self.look(contract, address).await? {
                Ok(()) => None,
                Err(CodeMismatch::Absent) => Some(self.price(contract, wallet, max_fee_per_gas).await?),
                Err(source) => {
                    return Err(DeployError::Other {
                        contract,
                        at: address,
                        source,
                    });
                }
            };
            steps.push(DeployStep {
                contract,
                address,
                estimate,
            });
        }
        Ok(steps)
    }

    async fn price(&self, contract: Contract, wallet: Address, limit: u128) -> Result<Estimate, DeployError> {
        let proxy = self.chain.rpc().code(PROXY).await;
        let proxy = proxy.map_err(|source| DeployError::Look {
            contract,
            at: PROXY,
            source,
        })?;
        if proxy != PROXY_CODE {
            return Err(DeployError::NoProxy {
                chain_id: self.chain.config().chain_id,
            });
        }
        let estimate = self.chain.estimate(wallet, &intent(contract), limit).await;
        estimate.map_err(|source| DeployError::Send { contract, source })
    }

    /// How much of the chain's own coin an account has, in wei.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn native_balance(&self, owner: Address) -> Result<u128, RpcError> {
        self.chain.native_balance(owner).await
    }

    /// A sender for `signer`, and the task that the caller must run for it.
    ///
    /// # Errors
    /// As [`sender`].
    pub fn sender(
        &self,
        signer: Arc<dyn DigestSigner>,
        journal: Arc<dyn Journal>,
        config: SenderConfig,
    ) -> io::Result<(SenderHandle, SenderTask)> {
        sender(self.chain.clone(), signer, journal, config)
    }

    /// Deploys a contract and returns when it is in the newest block, checked; `None` when it was there before. Asked again, also
    /// after a crash, it goes on with the transaction that was signed.
    ///
    /// # Errors
    /// When it was not deployed.
    pub async fn deploy(&self, sender: &SenderHandle, contract: Contract) -> Result<Option<Mined>, DeployError> {
        let at = contract.address();
        let other = |source| DeployError::Other { contract, at, source };
        match self.look(contract, at).await? {
            Ok(()) => return Ok(None),
            Err(CodeMismatch::Absent) => {}
            Err(source) => return Err(other(source)),
        }
        let sent = sender.send(intent(contract)).await;
        let sent = sent.map_err(|source| DeployError::Send { contract, source })?;
        let mined = sender.confirmed(sent.hash, Depth::Latest).await;
        let mined = mined.map_err(|source| DeployError::Confirm { contract, source })?;
        self.look(contract, at).await?.map_err(other)?;
        Ok(Some(mined))
    }
}

fn intent(contract: Contract) -> Intent {
    Intent {
        key: IntentKey::deploy(contract.address()),
        call: Call::Deploy(contract),
    }
}

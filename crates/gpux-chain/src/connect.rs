//! Connecting to a chain, and the proof that it is the right one, before anything is signed for it.

use crate::{
    abi::L1Block,
    built::{CodeMismatch, Contract},
    client::{Chain, ChainConfig, view},
    confirm::Depth,
    fees::L1Scalars,
    rpc::{ChainNode, Retry, Rpc, RpcClientError, RpcError},
    token::{TokenError, TokenInfo},
};
use alloy::primitives::{Bytes, U64, address};
use gpux_types::Address;
use serde_json::json;
use std::sync::Arc;

/// Where OP chains tell what L1 costs.
const L1_BLOCK: Address = address!("0x4200000000000000000000000000000000000015");

/// A chain that is not the one that was configured, or cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The HTTP client cannot be made.
    #[error("connecting to the chain node")]
    Client(#[source] RpcClientError),
    /// The chain node gives no good answer.
    #[error("connecting to the chain node at {host}")]
    Rpc {
        /// The host of its URL.
        host: String,
        /// Why.
        source: RpcError,
    },
    /// The chain node is of another chain.
    #[error("connecting to the chain node at {host}: expected chain {expected}, got chain {got}")]
    WrongChain {
        /// The host of its URL.
        host: String,
        /// The configured chain id.
        expected: u64,
        /// The chain id that it answers.
        got: u64,
    },
    /// There is no contract at a configured address.
    #[error("looking for the {what} on chain {chain_id}: there is no contract at {address}")]
    NoCode {
        /// Which contract.
        what: &'static str,
        /// The configured address.
        address: Address,
        /// The chain.
        chain_id: u64,
    },
    /// The contract at a configured address is not that of this build.
    #[error("checking the {what} {address} on chain {chain_id}: it is not that of this build")]
    WrongCode {
        /// Which contract.
        what: &'static str,
        /// The configured address.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// What differs.
        source: Box<CodeMismatch>,
    },
    /// The contract at the token's address cannot be used as a token.
    #[error("checking the token")]
    Token(#[source] TokenError),
}

impl ConnectError {
    /// What to do about it.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Rpc { source, .. } | Self::Token(TokenError::Read { source, .. }) => source.retry(),
            Self::Client(_)
            | Self::WrongChain { .. }
            | Self::NoCode { .. }
            | Self::WrongCode { .. }
            | Self::Token(TokenError::Decimals { .. }) => Retry::Never,
        }
    }
}

impl Chain {
    /// Connects to the configured chain node and checks the chain id, that the code of escrow and node directory is that of this
    /// build to the last byte, and what the token is.
    ///
    /// The process must have installed its default TLS provider before
    /// (`rustls::crypto::ring::default_provider().install_default()`).
    ///
    /// # Errors
    /// When one of these is not so, or the chain node gives no good answer.
    pub async fn connect(config: ChainConfig) -> Result<Self, ConnectError> {
        let rpc = Rpc::new(&config.rpc_url, config.call_timeout).map_err(ConnectError::Client)?;
        Self::check(rpc, config).await
    }

    /// Connects to a chain node in this process, with the same checks; the configured URL is not used.
    ///
    /// # Errors
    /// As [`Chain::connect`].
    pub async fn connect_to(node: Arc<dyn ChainNode>, config: ChainConfig) -> Result<Self, ConnectError> {
        let rpc = Rpc::of_node(node, config.call_timeout);
        Self::check(rpc, config).await
    }

    async fn check(rpc: Rpc, config: ChainConfig) -> Result<Self, ConnectError> {
        check_chain_id(&rpc, config.chain_id).await?;
        let (escrow, directory, token_code) = tokio::join!(
            check_contract(&rpc, Contract::Escrow, config.escrow, config.chain_id),
            check_contract(&rpc, Contract::NodeDirectory, config.node_directory, config.chain_id),
            code_of(&rpc, "token", config.token, config.chain_id),
        );
        escrow.and(directory).and(token_code)?;
        let (token, scalars) = tokio::join!(TokenInfo::read(&rpc, config.token, config.chain_id), read_scalars(&rpc),);
        let (token, scalars) = (
            token.map_err(ConnectError::Token)?,
            scalars.map_err(|error| rpc_error(&rpc, error))?,
        );
        Ok(Self::checked(rpc, config, token, scalars))
    }
}

pub(crate) fn rpc_error(rpc: &Rpc, source: RpcError) -> ConnectError {
    ConnectError::Rpc {
        host: rpc.host().into(),
        source,
    }
}

pub(crate) async fn check_chain_id(rpc: &Rpc, expected: u64) -> Result<(), ConnectError> {
    let chain_id: U64 = rpc
        .call("eth_chainId", json!([]))
        .await
        .map_err(|error| rpc_error(rpc, error))?;
    let got = chain_id.to();
    if got == expected {
        return Ok(());
    }
    Err(ConnectError::WrongChain {
        host: rpc.host().into(),
        expected,
        got,
    })
}

/// The code at a configured address, where there is some.
async fn code_of(rpc: &Rpc, what: &'static str, address: Address, chain_id: u64) -> Result<Bytes, ConnectError> {
    let code = rpc.code(address).await.map_err(|error| rpc_error(rpc, error))?;
    if code.is_empty() {
        return Err(ConnectError::NoCode {
            what,
            address,
            chain_id,
        });
    }
    Ok(code)
}

/// A contract that passes computes ids and digests as this program does, for this chain and this address: its code is the one
/// that the tests ran, and the words in it are those of this chain and address.
async fn check_contract(rpc: &Rpc, contract: Contract, address: Address, chain_id: u64) -> Result<Bytes, ConnectError> {
    let code = code_of(rpc, contract.name(), address, chain_id).await?;
    let checked = contract.check(&code, chain_id, address);
    checked.map(|()| code).map_err(|source| ConnectError::WrongCode {
        what: contract.name(),
        address,
        chain_id,
        source: Box::new(source),
    })
}

/// The L1 prices of an OP chain; the assumed ones on a chain that has none, such as the devnet.
pub(crate) async fn read_scalars(rpc: &Rpc) -> Result<L1Scalars, RpcError> {
    if rpc.code(L1_BLOCK).await?.is_empty() {
        return Ok(L1Scalars::ASSUMED);
    }
    let (l1_base_fee, blob_base_fee, base_fee_scalar, blob_base_fee_scalar) = tokio::try_join!(
        view(rpc, L1_BLOCK, L1Block::basefeeCall {}, Depth::Latest),
        view(rpc, L1_BLOCK, L1Block::blobBaseFeeCall {}, Depth::Latest),
        view(rpc, L1_BLOCK, L1Block::baseFeeScalarCall {}, Depth::Latest),
        view(rpc, L1_BLOCK, L1Block::blobBaseFeeScalarCall {}, Depth::Latest),
    )?;
    Ok(L1Scalars {
        base_fee_scalar,
        blob_base_fee_scalar,
        l1_base_fee: crate::abi::wei(l1_base_fee),
        blob_base_fee: crate::abi::wei(blob_base_fee),
        assumed: false,
    })
}

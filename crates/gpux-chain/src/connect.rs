//! Connecting to a chain, and the proof that it is the right one, before anything is signed for it.

use crate::{
    abi::{Escrow, L1Block},
    client::{Chain, ChainConfig, view},
    confirm::Depth,
    fees::L1Scalars,
    rpc::{ChainNode, Retry, Rpc, RpcClientError, RpcError},
    token::{TokenError, TokenInfo},
};
use alloy::primitives::{Bytes, U64, address};
use gpux_lease::{EscrowRef, Terms, receipt_digest};
use gpux_types::{Address, Amount, B256, BasisPoints};
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
    /// The contract at the escrow's address is not the escrow.
    #[error("checking the escrow {address}: {what} is not that of a GPUX escrow of this version")]
    WrongEscrow {
        /// The configured address.
        address: Address,
        /// What differs.
        what: &'static str,
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
            | Self::WrongEscrow { .. }
            | Self::Token(TokenError::Decimals { .. }) => Retry::Never,
        }
    }
}

impl Chain {
    /// Connects to the configured chain node and checks the chain id, that the contracts are there, that the escrow
    /// computes ids and digests as this program does, and what the token is.
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
        check_chain(&rpc, &config).await?;
        let (escrow, token, scalars) = tokio::join!(
            check_escrow(&rpc, config.escrow, config.chain_id),
            TokenInfo::read(&rpc, config.token, config.chain_id),
            read_scalars(&rpc),
        );
        escrow?;
        let (token, scalars) = (
            token.map_err(ConnectError::Token)?,
            scalars.map_err(|error| rpc_error(&rpc, error))?,
        );
        Ok(Self::checked(rpc, config, token, scalars))
    }
}

fn rpc_error(rpc: &Rpc, source: RpcError) -> ConnectError {
    ConnectError::Rpc {
        host: rpc.host().into(),
        source,
    }
}

async fn check_chain(rpc: &Rpc, config: &ChainConfig) -> Result<(), ConnectError> {
    let chain_id: U64 = rpc
        .call("eth_chainId", json!([]))
        .await
        .map_err(|error| rpc_error(rpc, error))?;
    let (expected, got) = (config.chain_id, chain_id.to());
    if got != expected {
        return Err(ConnectError::WrongChain {
            host: rpc.host().into(),
            expected,
            got,
        });
    }
    let (escrow, directory, token) = tokio::join!(
        check_code(rpc, "escrow", config.escrow, got),
        check_code(rpc, "node directory", config.node_directory, got),
        check_code(rpc, "token", config.token, got),
    );
    escrow.and(directory).and(token)
}

async fn check_code(rpc: &Rpc, what: &'static str, address: Address, chain_id: u64) -> Result<(), ConnectError> {
    let code: Bytes = rpc
        .call("eth_getCode", json!([address, "latest"]))
        .await
        .map_err(|error| rpc_error(rpc, error))?;
    if code.is_empty() {
        Err(ConnectError::NoCode {
            what,
            address,
            chain_id,
        })
    } else {
        Ok(())
    }
}

/// Compares the contract's domain, one lease id and one digest with our own. Another contract, another version, or one
/// on another chain or at another address answers differently.
async fn check_escrow(rpc: &Rpc, address: Address, chain_id: u64) -> Result<(), ConnectError> {
    let escrow = EscrowRef { chain_id, address };
    let terms = sample_terms();
    let lease = terms.lease_id(&escrow);
    let cumulative = Amount::MAX;
    let digest_call = Escrow::receiptDigestCall {
        leaseId: lease.into(),
        cumulative: crate::abi::uint96(cumulative),
    };
    let (domain, id, digest) = tokio::join!(
        view(rpc, address, Escrow::eip712DomainCall {}, Depth::Latest),
        view(
            rpc,
            address,
            Escrow::leaseIdOfCall {
                terms: crate::abi::terms(&terms)
            },
            Depth::Latest
        ),
        view(rpc, address, digest_call, Depth::Latest),
    );
    let same = |what, answer: Result<bool, RpcError>| match answer {
        Ok(true) => Ok(()),
        Err(error) if error.is_outage() && !matches!(error, RpcError::Implausible { .. }) => Err(rpc_error(rpc, error)),
        Ok(false) | Err(_) => Err(ConnectError::WrongEscrow { address, what }),
    };
    same(
        "its signing domain",
        domain.map(|domain| domain.name == "GPUX" && domain.version == "1"),
    )?;
    same("the id that it gives a lease", id.map(|id| id == B256::from(lease)))?;
    same(
        "the digest that it gives a receipt",
        digest.map(|digest| digest == receipt_digest(&escrow, lease, cumulative)),
    )
}

/// Terms in which every word is another one, so that no two of them can be mixed up unseen.
fn sample_terms() -> Terms {
    let [renter, receipt_key, provider, provider_signer, token, builder] = [1, 2, 3, 4, 5, 6].map(Address::repeat_byte);
    let builder_share = BasisPoints::new(BasisPoints::LIMIT).unwrap_or_default();
    let salt = B256::repeat_byte(9);
    Terms {
        renter,
        receipt_key,
        provider,
        provider_signer,
        token,
        builder,
        builder_share,
        grace_secs: 8,
        salt,
    }
}

/// The L1 prices of an OP chain; the assumed ones on a chain that has none, such as the devnet.
async fn read_scalars(rpc: &Rpc) -> Result<L1Scalars, RpcError> {
    let code: Bytes = rpc.call("eth_getCode", json!([L1_BLOCK, "latest"])).await?;
    if code.is_empty() {
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

//! Reading the chain: heads, leases, balances and logs, each call with a deadline and each answer checked.
//!
//! Everybody in this crate and the daemon's agents read through [`Chain`]; only `sender` writes.

use crate::{
    abi::{self, Escrow, Token},
    confirm::Depth,
    fees::L1Scalars,
    rpc::{Rpc, RpcError},
    token::TokenInfo,
};
use alloy::{
    primitives::{Bytes, U64, U256},
    sol_types::SolCall,
};
use gpux_lease::EscrowRef;
use gpux_types::{Address, Amount, B256, LeaseId, UnixSeconds};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{fmt, sync::Arc, time::Duration};

/// Where the chain is and which contracts on it are meant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// The JSON-RPC endpoint, `http://` or `https://`. It may hold an access key and is never shown.
    pub rpc_url: String,
    /// The EIP-155 chain id that the endpoint must answer.
    pub chain_id: u64,
    /// The escrow contract.
    pub escrow: Address,
    /// The node directory contract.
    pub node_directory: Address,
    /// The token that deposits are made in.
    pub token: Address,
    /// How often the newest block is asked for while something is awaited.
    pub poll_interval: Duration,
    /// The longest that one call may take.
    pub call_timeout: Duration,
}

impl fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainConfig")
            .field("chain_id", &self.chain_id)
            .field("escrow", &self.escrow)
            .field("node_directory", &self.node_directory)
            .field("token", &self.token)
            .field("poll_interval", &self.poll_interval)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

/// A block of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent: B256,
    /// The block's own time.
    pub timestamp: UnixSeconds,
    /// Wei per gas that every transaction in it burnt.
    pub base_fee: u128,
}

/// What a lease's slot says it is. The names are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotStatus {
    /// Never opened.
    #[default]
    None,
    /// Money is in it.
    Open,
    /// Settled or reclaimed, for ever.
    Closed,
}

/// What the escrow stores of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slot {
    /// All that was ever paid in.
    pub deposit: Amount,
    /// All that was ever claimed by the provider, the builder's share included.
    pub claimed: Amount,
    /// Until when the work may run, in block time.
    pub expiry: UnixSeconds,
    /// Whether money is in it.
    pub status: SlotStatus,
}

impl Slot {
    /// Whether it shows less than `known` did. Every transaction of a lease only adds: so it is older, or the chain was
    /// reorganised.
    pub(crate) fn is_behind(&self, known: &Self) -> bool {
        let rank = |slot: &Self| match slot.status {
            SlotStatus::None => 0,
            SlotStatus::Open => 1,
            SlotStatus::Closed => 2,
        };
        rank(self) < rank(known)
            || self.deposit < known.deposit
            || self.claimed < known.claimed
            || self.expiry < known.expiry
    }
}

/// A connection to one chain, checked once to be the right one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rpc: Rpc,
    config: ChainConfig,
    token: TokenInfo,
    scalars: L1Scalars,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBlock {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    #[serde(default)]
    base_fee_per_gas: U256,
}

impl Chain {
    /// Only `connect` makes one, after its checks.
    pub(crate) fn checked(rpc: Rpc, config: ChainConfig, token: TokenInfo, scalars: L1Scalars) -> Self {
        Self(Arc::new(Inner {
            rpc,
            config,
            token,
            scalars,
        }))
    }

    /// The configuration that this connection was made with.
    #[must_use]
    pub fn config(&self) -> &ChainConfig {
        &self.0.config
    }

    /// The escrow, as the ids of leases name it.
    #[must_use]
    pub fn escrow(&self) -> EscrowRef {
        EscrowRef {
            chain_id: self.0.config.chain_id,
            address: self.0.config.escrow,
        }
    }

    /// The token that deposits are made in.
    #[must_use]
    pub fn token(&self) -> &TokenInfo {
        &self.0.token
    }

    /// The L1 prices that were read when the connection was made, or the assumed ones.
    #[must_use]
    pub fn l1_scalars(&self) -> L1Scalars {
        self.0.scalars
    }

    /// The newest block.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn head(&self) -> Result<Head, RpcError> {
        self.head_at(Depth::Latest).await
    }

    /// The newest block of this depth.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn head_at(&self, depth: Depth) -> Result<Head, RpcError> {
        let block: RawBlock = self
            .rpc()
            .call("eth_getBlockByNumber", json!([depth.tag(), false]))
            .await?;
        Ok(block.into())
    }

    /// The block with this number on the present chain, if it is there.
    pub(crate) async fn block(&self, number: u64) -> Result<Option<Head>, RpcError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let block: Option<RawBlock> = self.rpc().call_opt(METHOD, json!([U64::from(number), false])).await?;
        match block.map(Head::from) {
            Some(head) if head.number != number => Err(RpcError::Implausible {
                method: METHOD,
                what: "it is another block than the one asked for",
            }),
            block => Ok(block),
        }
    }

    /// What the escrow stores of a lease in the newest block of this depth. Where the chain is too young to have such a
    /// block, or had no escrow yet, no lease is that deep.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn lease(&self, lease: LeaseId, depth: Depth) -> Result<Slot, RpcError> {
        let call = Escrow::leaseOfCall { leaseId: lease.into() };
        let output = match output(self.rpc(), self.0.config.escrow, &call, depth).await {
            Ok(output) if output.is_empty() && depth > Depth::Latest => return Ok(Slot::default()),
            Err(RpcError::Missing { .. }) if depth > Depth::Latest => return Ok(Slot::default()),
            Err(error) if !error.is_outage() && depth > Depth::Latest => return Ok(Slot::default()),
            output => output?,
        };
        let slot = decode(&call, &output)?;
        Ok(Slot {
            deposit: abi::amount96(slot.deposit),
            claimed: abi::amount96(slot.claimed),
            expiry: abi::time40(slot.expiry),
            status: match slot.status {
                0 => SlotStatus::None,
                1 => SlotStatus::Open,
                2 => SlotStatus::Closed,
                _ => {
                    return Err(RpcError::Implausible {
                        method: CALL,
                        what: "a lease has no such status",
                    });
                }
            },
        })
    }

    /// How much of the deposit token an account has, cut to what an escrow can hold.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn token_balance(&self, owner: Address) -> Result<Amount, RpcError> {
        self.balance_of(self.0.token.address, owner).await
    }

    /// How much of any token an account has, cut to what an escrow can hold.
    pub(crate) async fn balance_of(&self, token: Address, owner: Address) -> Result<Amount, RpcError> {
        self.view(token, Token::balanceOfCall { owner }, Depth::Latest)
            .await
            .map(abi::amount)
    }

    /// How much of the deposit token the escrow may pull from an account, cut to what an escrow can hold.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn allowance(&self, owner: Address) -> Result<Amount, RpcError> {
        self.allowance_of(self.0.token.address, owner).await
    }

    /// How much of any token the escrow may pull from an account, cut to what an escrow can hold.
    pub(crate) async fn allowance_of(&self, token: Address, owner: Address) -> Result<Amount, RpcError> {
        let call = Token::allowanceCall {
            owner,
            spender: self.0.config.escrow,
        };
        self.view(token, call, Depth::Latest).await.map(abi::amount)
    }

    /// What the escrow owes a payee who could not be paid, cut to what an escrow can hold.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn credit_of(&self, token: Address, payee: Address) -> Result<Amount, RpcError> {
        let call = Escrow::creditOfCall { token, payee };
        self.view(self.0.config.escrow, call, Depth::Latest)
            .await
            .map(abi::amount)
    }

    /// How much of the chain's own coin an account has, in wei.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn native_balance(&self, owner: Address) -> Result<u128, RpcError> {
        let balance: U256 = self.rpc().call("eth_getBalance", json!([owner, "latest"])).await?;
        Ok(abi::wei(balance))
    }

    /// How many transactions an account has sent, up to the newest block.
    pub(crate) async fn mined_count(&self, account: Address) -> Result<u64, RpcError> {
        self.count(account, "latest").await
    }

    /// How many transactions an account has sent, those that wait in the node's pool included.
    pub(crate) async fn pending_count(&self, account: Address) -> Result<u64, RpcError> {
        self.count(account, "pending").await
    }

    async fn count(&self, account: Address, block: &str) -> Result<u64, RpcError> {
        let count: U64 = self
            .rpc()
            .call("eth_getTransactionCount", json!([account, block]))
            .await?;
        Ok(count.to())
    }

    /// The answer of a contract's view.
    pub(crate) async fn view<C: SolCall + Send + Sync>(
        &self,
        to: Address,
        call: C,
        depth: Depth,
    ) -> Result<C::Return, RpcError> {
        view(self.rpc(), to, call, depth).await
    }

    /// The transport, for the modules that speak methods of their own.
    pub(crate) fn rpc(&self) -> &Rpc {
        &self.0.rpc
    }
}

const CALL: &str = "eth_call";

/// The answer of a contract's view, over a transport that is not checked yet.
pub(crate) async fn view<C: SolCall + Send + Sync>(
    rpc: &Rpc,
    to: Address,
    call: C,
    depth: Depth,
) -> Result<C::Return, RpcError> {
    decode(&call, &output(rpc, to, &call, depth).await?)
}

impl Rpc {
    /// The code at an address, in the newest block; empty where there is none.
    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, RpcError> {
        self.call("eth_getCode", json!([address, Depth::Latest.tag()])).await
    }
}

async fn output<C: SolCall + Sync>(rpc: &Rpc, to: Address, call: &C, depth: Depth) -> Result<Bytes, RpcError> {
    let input = Bytes::from(call.abi_encode());
    rpc.call(CALL, json!([{ "to": to, "input": input }, depth.tag()])).await
}

fn decode<C: SolCall>(_: &C, output: &Bytes) -> Result<C::Return, RpcError> {
    C::abi_decode_returns_validate(output).map_err(|_| RpcError::Implausible {
        method: CALL,
        what: "the contract answers something else",
    })
}

impl From<RawBlock> for Head {
    fn from(block: RawBlock) -> Self {
        Self {
            number: block.number.to(),
            hash: block.hash,
            parent: block.parent_hash,
            timestamp: UnixSeconds(block.timestamp.to()),
            base_fee: abi::wei(block.base_fee_per_gas),
        }
    }
}

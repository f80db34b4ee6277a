//! What a deposit token is: its words for people, and whether its permits can be signed.
//!
//! A token's word is not trusted: a permit is offered only when the token's domain separator is the one that EIP-712
//! gives for this very token, and even then the escrow only tries it.

use crate::{
    abi::{Escrow, Permit, Token as TokenAbi},
    client::view,
    confirm::Depth,
    rpc::{Rpc, RpcError},
};
use alloy::{
    primitives::{Bytes, U256},
    sol_types::{Eip712Domain, SolCall, SolStruct},
};
use gpux_types::{Address, B256, Token};
use serde_json::json;

/// The longest symbol that is kept, in characters.
const MAX_SYMBOL_CHARS: usize = 16;
/// The longest EIP-712 name or version that is tried, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// More digits than this cannot be a token of money: 10^38 is the end of 128 bits.
const MAX_DECIMALS: u8 = 36;

/// The token that deposits are made in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token's contract.
    pub address: Address,
    /// How its amounts are written.
    pub token: Token,
    /// How its permits are signed; absent when it has none that work.
    pub permit: Option<PermitDomain>,
}

/// The EIP-712 domain of a token, proven by its domain separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitDomain {
    /// The domain's name.
    pub name: String,
    /// The domain's version.
    pub version: String,
    pub(crate) chain_id: u64,
    pub(crate) token: Address,
}

impl PermitDomain {
    fn eip712(&self) -> Eip712Domain {
        Eip712Domain::new(
            Some(self.name.clone().into()),
            Some(self.version.clone().into()),
            Some(U256::from(self.chain_id)),
            Some(self.token),
            None,
        )
    }

    /// What the owner signs to let `permit.spender` pull.
    pub(crate) fn digest(&self, permit: &Permit) -> B256 {
        permit.eip712_signing_hash(&self.eip712())
    }
}

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The chain node gave no good answer, or the contract is no token.
    #[error("reading {what} of the token {token}")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// Which token.
        token: Address,
        /// Why.
        source: RpcError,
    },
    /// More digits behind the point than amounts can have.
    #[error("reading the token {token}: {decimals} decimals are more than {}", MAX_DECIMALS)]
    Decimals {
        /// Which token.
        token: Address,
        /// What it says.
        decimals: u8,
    },
}

impl TokenInfo {
    /// No token: for a connection that is only there to deploy contracts.
    pub(crate) fn none() -> Self {
        Self {
            address: Address::ZERO,
            token: Token {
                symbol: "?".into(),
                decimals: 0,
            },
            permit: None,
        }
    }

    /// Asks the token for everything that is known of it.
    pub(crate) async fn read(rpc: &Rpc, token: Address, chain_id: u64) -> Result<Self, TokenError> {
        let read = |what| move |source| TokenError::Read { what, token, source };
        let decimals = view(rpc, token, TokenAbi::decimalsCall {}, Depth::Latest);
        let (decimals, symbol, permit) =
            tokio::join!(decimals, symbol(rpc, token), permit_domain(rpc, token, chain_id));
        let decimals = decimals.map_err(read("the decimals"))?;
        if decimals > MAX_DECIMALS {
            return Err(TokenError::Decimals { token, decimals });
        }
        let symbol = symbol.map_err(read("the symbol"))?;
        let permit = permit.map_err(read("the permit's domain"))?;
        Ok(Self {
            address: token,
            token: Token { symbol, decimals },
            permit,
        })
    }
}

/// The symbol, as a string or, in some old tokens, as 32 bytes.
async fn symbol(rpc: &Rpc, token: Address) -> Result<String, RpcError> {
    let input = Bytes::from(TokenAbi::symbolCall {}.abi_encode());
    let output: Bytes = rpc
        .call("eth_call", json!([{ "to": token, "input": input }, "latest"]))
        .await?;
    let text = TokenAbi::symbolCall::abi_decode_returns(&output)
        .unwrap_or_else(|_| String::from_utf8_lossy(output.get(..32).unwrap_or_default()).into_owned());
    let symbol = gpux_types::shown(
        text.trim_matches(|c: char| c == '\0' || c.is_whitespace()),
        MAX_SYMBOL_CHARS,
    );
    Ok(if symbol.is_empty() { "?".into() } else { symbol })
}

/// The domain whose separator the token states, if it states one that can be found and counts permits.
async fn permit_domain(rpc: &Rpc, token: Address, chain_id: u64) -> Result<Option<PermitDomain>, RpcError> {
    let (separator, nonce, name, version, domain) = tokio::join!(
        optional(view(rpc, token, TokenAbi::DOMAIN_SEPARATORCall {}, Depth::Latest)),
        optional(view(rpc, token, TokenAbi::noncesCall { owner: token }, Depth::Latest)),
        optional(view(rpc, token, TokenAbi::nameCall {}, Depth::Latest)),
        optional(view(rpc, token, TokenAbi::versionCall {}, Depth::Latest)),
        optional(view(rpc, token, Escrow::eip712DomainCall {}, Depth::Latest)),
    );
    let (Some(separator), Some(_), name, version, domain) = (separator?, nonce?, name?, version?, domain?) else {
        return Ok(None);
    };
    let named = domain.map(|domain| (domain.name, domain.version));
    let guesses = [version, Some("1".into()), Some("2".into())].into_iter().flatten();
    let guesses = name.into_iter().flat_map(move |name| {
        guesses
            .clone()
            .map(move |version| (name.clone(), version))
            .collect::<Vec<_>>()
    });
    let candidates = named.into_iter().chain(guesses);
    Ok(candidates
        .filter(|(name, version)| name.len() <= MAX_NAME_BYTES && version.len() <= MAX_NAME_BYTES)
        .map(|(name, version)| PermitDomain {
            name,
            version,
            chain_id,
            token,
        })
        .find(|domain| domain.eip712().separator() == separator))
}

/// `None` when the contract has no such view; an error only when the chain node is to blame.
async fn optional<T>(answer: impl Future<Output = Result<T, RpcError>>) -> Result<Option<T>, RpcError> {
    match answer.await {
        Ok(value) => Ok(Some(value)),
        Err(RpcError::Implausible { .. }) => Ok(None),
        Err(error) if !error.is_outage() => Ok(None),
        Err(error) => Err(error),
    }
}

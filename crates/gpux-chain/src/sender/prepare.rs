//! What must be known before a call is signed: balances, fees, nonces, and that it would not revert.
//!
//! Reads only. Nothing here signs a transaction; the permit of the simulation is signed for the chain's present permit
//! nonce, and only the escrow could use it, for this wallet's own call.

use super::{SendError, SenderConfig, book::USUAL_TIP};
use crate::{
    abi::{Permit, Token},
    call::{Call, Intent, IntentKey, RawCall, SignedPermit},
    client::{Chain, Head},
    confirm::Depth,
    keys::DigestSigner,
    revert::RevertReason,
    rpc::RpcError,
};
use alloy::primitives::{U64, U256};
use gpux_types::{Address, Amount};
use serde_json::json;
use std::sync::Arc;

/// A chain node that counts more of a wallet's transactions in its pool than this is not believed.
pub(super) const MOST_WAITING: u64 = 1_024;
/// What the smallest transaction takes: a transfer to an account without code.
pub(super) const TRANSFER_GAS: u64 = 21_000;

/// A call that would work now, and what was read to know so.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) intent: Intent,
    pub(crate) head: Head,
    pub(crate) tip: u128,
    /// The wallet's transactions, those included that wait in the chain node's pool without a gap before them.
    pub(crate) count: u64,
    /// The wallet's transactions in blocks.
    pub(crate) mined: u64,
    pub(crate) native: u128,
    /// The wallet's units of the token that the call pulls.
    pub(crate) token_balance: Amount,
    /// The chain's permit nonce, when a permit must be signed.
    pub(crate) permit_nonce: Option<u64>,
    /// Until when a permit signed for it is valid, in block time.
    pub(crate) permit_deadline: u64,
    pub(crate) gas_limit: u64,
}

/// What the book knows that the chain does not.
#[derive(Debug, Clone)]
pub(crate) struct PrepareJob {
    pub(crate) intent: Intent,
    /// What the transactions before this one will pull of the same token.
    pub(crate) reserved: Amount,
    pub(crate) signer: Arc<dyn DigestSigner>,
    pub(crate) config: SenderConfig,
}

const ESTIMATE_GAS: &str = "eth_estimateGas";

struct Funds {
    balance: Amount,
    permit_nonce: Option<u64>,
}

impl PrepareJob {
    /// Reads, decides on a permit, and simulates.
    pub(crate) async fn run(self, chain: &Chain) -> Result<Prepared, SendError> {
        let wallet = self.signer.address();
        let key = &self.intent.key;
        let rpc = |source| SendError::Rpc {
            key: key.clone(),
            source,
        };
        let (head, tip, counts, native, funds) = tokio::join!(
            chain.head(),
            tip(chain),
            counts(chain, wallet),
            chain.native_balance(wallet),
            self.funds(chain),
        );
        let head = head.map_err(rpc)?;
        let funds = funds?;
        let native = native.map_err(rpc)?;
        if native < self.intent.call.value() {
            let need = self.intent.call.value();
            return Err(SendError::InsufficientNative {
                key: key.clone(),
                have: native,
                need,
                least: need,
            });
        }
        let (count, mined) = counts.map_err(rpc)?;
        let permit_deadline = head.timestamp.0.saturating_add(self.config.permit_lifetime.as_secs());
        let permit = funds
            .permit_nonce
            .and_then(|nonce| sign_permit(chain, &*self.signer, &self.intent.call, (nonce, permit_deadline)));
        let config = chain.config();
        let raw = self.intent.call.encode(config.escrow, config.node_directory, permit);
        let raw = raw.map_err(|source| SendError::Encode {
            key: key.clone(),
            source,
        })?;
        let gas_limit = simulate(chain, wallet, &raw, key).await?;
        Ok(Prepared {
            head,
            tip: tip.map_err(rpc)?,
            count,
            mined,
            native,
            token_balance: funds.balance,
            permit_nonce: funds.permit_nonce,
            permit_deadline,
            gas_limit,
            intent: self.intent,
        })
    }

    /// The wallet's tokens, and the permit nonce if the standing allowance is not enough.
    async fn funds(&self, chain: &Chain) -> Result<Funds, SendError> {
        let key = &self.intent.key;
        let Some((token, amount, permit_wanted)) = self.intent.call.pull() else {
            return Ok(Funds {
                balance: Amount::ZERO,
                permit_nonce: None,
            });
        };
        let rpc = |source| SendError::Rpc {
            key: key.clone(),
            source,
        };
        let owner = self.signer.address();
        let permits = permit_wanted && token == chain.token().address && chain.token().permit.is_some();
        let (balance, allowance, nonce) = tokio::join!(
            chain.balance_of(token, owner),
            chain.allowance_of(token, owner),
            permit_nonce(chain, token, owner, permits),
        );
        let (balance, allowance, nonce) = (balance.map_err(rpc)?, allowance.map_err(rpc)?, nonce.map_err(rpc)?);
        if balance < amount {
            return Err(SendError::InsufficientBalance {
                key: key.clone(),
                have: balance,
                need: amount,
            });
        }
        let covered = allowance >= amount.saturating_add(self.reserved);
        match nonce {
            Some(nonce) if !covered => Ok(Funds {
                balance,
                permit_nonce: Some(nonce),
            }),
            None if allowance < amount => Err(SendError::NeedsAllowance {
                key: key.clone(),
                have: allowance,
                need: amount,
            }),
            _ => Ok(Funds {
                balance,
                permit_nonce: None,
            }),
        }
    }
}

/// What a call that was signed before needs to be signed again under another nonce.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    pub(crate) head: Head,
    pub(crate) tip: u128,
    pub(crate) count: u64,
    pub(crate) gas_limit: u64,
}

/// Whether a call that was signed before still works, in the newest block.
pub(crate) async fn again(chain: &Chain, wallet: Address, call: &RawCall, key: &IntentKey) -> Result<Again, SendError> {
    let rpc = |source| SendError::Rpc {
        key: key.clone(),
        source,
    };
    let (head, tip, counts, gas_limit) = tokio::join!(
        chain.head(),
        tip(chain),
        counts(chain, wallet),
        simulate(chain, wallet, call, key),
    );
    let (count, _) = counts.map_err(rpc)?;
    Ok(Again {
        head: head.map_err(rpc)?,
        tip: tip.map_err(rpc)?,
        count,
        gas_limit: gas_limit?,
    })
}

/// The wallet's transactions: with those that wait in the pool, and in blocks alone.
async fn counts(chain: &Chain, wallet: Address) -> Result<(u64, u64), RpcError> {
    let (count, mined) = tokio::try_join!(chain.pending_count(wallet), chain.mined_count(wallet))?;
    if count.saturating_sub(mined) > MOST_WAITING {
        return Err(RpcError::Implausible {
            method: "eth_getTransactionCount",
            what: "more transactions of the wallet wait than were ever sent",
        });
    }
    Ok((count.max(mined), mined))
}

/// What the chain node suggests for the sequencer, in wei per gas.
pub(super) async fn tip(chain: &Chain) -> Result<u128, RpcError> {
    match chain.rpc().call::<U256>("eth_maxPriorityFeePerGas", json!([])).await {
        Ok(tip) => Ok(crate::abi::wei(tip)),
        Err(error) if !error.is_outage() => Ok(USUAL_TIP),
        Err(error) => Err(error),
    }
}

async fn permit_nonce(chain: &Chain, token: Address, owner: Address, wanted: bool) -> Result<Option<u64>, RpcError> {
    if !wanted {
        return Ok(None);
    }
    let nonce: U256 = chain.view(token, Token::noncesCall { owner }, Depth::Latest).await?;
    // A token that does not count its permits one by one gets none.
    Ok(u64::try_from(nonce).ok())
}

/// The signed permit for what the call pulls; `None` when it pulls nothing or the token has no permits.
pub(crate) fn sign_permit(
    chain: &Chain,
    signer: &dyn DigestSigner,
    call: &Call,
    (nonce, deadline): (u64, u64),
) -> Option<SignedPermit> {
    let (token, amount, _) = call.pull()?;
    let domain = chain
        .token()
        .permit
        .as_ref()
        .filter(|_| token == chain.token().address)?;
    let permit = Permit {
        owner: signer.address(),
        spender: chain.config().escrow,
        value: U256::from(amount.units()),
        nonce: U256::from(nonce),
        deadline: U256::from(deadline),
    };
    Some(SignedPermit {
        deadline: permit.deadline,
        signature: signer.sign_digest(domain.digest(&permit)),
    })
}

/// The gas limit for a call that works; why not, for one that would revert.
async fn simulate(chain: &Chain, from: Address, raw: &RawCall, key: &IntentKey) -> Result<u64, SendError> {
    Ok(gas_of(chain, from, raw, key).await?.1)
}

/// The gas that a call takes and its limit; why not, for one that would revert.
pub(super) async fn gas_of(
    chain: &Chain,
    from: Address,
    raw: &RawCall,
    key: &IntentKey,
) -> Result<(u64, u64), SendError> {
    // Named, because nodes differ in what they take otherwise; the permit is signed for the newest block's nonce.
    let call = json!([{ "from": from, "to": raw.to, "value": raw.value, "input": raw.input }, Depth::Latest.tag()]);
    match chain.rpc().call::<U64>(ESTIMATE_GAS, call).await {
        Ok(gas) => match gas_limit(raw, gas.to()) {
            Ok(limit) => Ok((gas.to(), limit)),
            Err(source) => Err(SendError::Rpc {
                key: key.clone(),
                source,
            }),
        },
        Err(error) => Err(match error.refusal().and_then(RevertReason::of) {
            Some(reason) => SendError::Reverted {
                key: key.clone(),
                reason,
            },
            None => SendError::Rpc {
                key: key.clone(),
                source: error,
            },
        }),
    }
}

/// The gas limit for a call that is told to take so much: a quarter more, as another transaction may make the same call a
/// little dearer before it is in its block. What no call of this size takes is not believed: other chain nodes would
/// refuse the signed bytes for ever, and all that comes after them would wait.
fn gas_limit(raw: &RawCall, gas: u64) -> Result<u64, RpcError> {
    let limit = gas.saturating_mul(5) / 4 + 10_000;
    if gas < TRANSFER_GAS || limit > raw.most_gas() {
        return Err(RpcError::Implausible {
            method: ESTIMATE_GAS,
            what: "no call of this size takes so much gas, or so little",
        });
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_estimate_of_gas_is_not_believed() {
        let raw = RawCall {
            to: Address::ZERO,
            value: U256::ZERO,
            input: vec![0; 516].into(),
        };
        assert_eq!(gas_limit(&raw, 92_000).unwrap(), 125_000);
        for gas in [0, 20_999, 900_000, 200_000_000, u64::MAX] {
            let error = gas_limit(&raw, gas).unwrap_err();
            assert!(matches!(error, RpcError::Implausible { .. }), "{gas}: {error:?}");
        }
    }
}

//! A provider's collector: where it is before it is deployed, and what is sent to it. What it does is in
//! `contracts/src/Collector.sol`, why it is there in docs/decisions/0011-watch-tower.md.

use crate::{
    abi::{self, Collector as Contract},
    built::{self, PROXY},
    call::{EncodeCallError, IntentKey, RawCall, compact},
    client::Chain,
    rpc::RpcError,
};
use alloy::{
    primitives::{Bytes, U256},
    sol_types::{SolCall, SolConstructor},
};
use gpux_lease::Handover;
use gpux_types::{Address, Amount, B256, LeaseId, UnixSeconds};
use serde::{Deserialize, Serialize};

/// The three words that make a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    /// The escrow of the leases.
    pub escrow: Address,
    /// The key that signs handovers, which is the terms' provider signer.
    pub signer: Address,
    /// Where all the money goes.
    pub payout: Address,
}

impl Collector {
    /// Where it is, or will be.
    #[must_use]
    pub fn address(&self) -> Address {
        PROXY.create2_from_code(B256::ZERO, self.code())
    }

    fn code(&self) -> Vec<u8> {
        let words = Contract::constructorCall {
            escrow_: self.escrow,
            signer_: self.signer,
            payout_: self.payout,
        };
        [Contract::BYTECODE.to_vec(), words.abi_encode()].concat()
    }

    /// What deploys it.
    pub(crate) fn deploy(&self) -> RawCall {
        to(PROXY, built::deployment(&self.code()))
    }
}

impl Chain {
    /// Whether a contract is deployed at `address`, in the newest block.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn has_code(&self, address: Address) -> Result<bool, RpcError> {
        Ok(!self.rpc().code(address).await?.is_empty())
    }
}

impl IntentKey {
    /// What is deployed at an address that follows from its code is deployed there once.
    #[must_use]
    pub fn deploy(contract: Address) -> Self {
        Self::of(format!("deploy:{contract}"))
    }

    /// What is handed over of a lease is used once for each amount.
    #[must_use]
    pub fn collect(lease: LeaseId, amount: Amount) -> Self {
        Self::of(format!("collect:{lease}:{}", amount.units()))
    }

    /// A collector is swept once for what was seen there at block time `seen`.
    #[must_use]
    pub fn sweep(collector: Address, seen: UnixSeconds) -> Self {
        Self::of(format!("sweep:{collector}:{}", seen.0))
    }
}

/// The draw that a handover allows, for whoever sends it.
///
/// # Errors
/// When a signature in it has no form that the contracts take.
pub(crate) fn collect(handover: &Handover) -> Result<RawCall, EncodeCallError> {
    let terms = abi::terms(&handover.terms);
    let (receipt, own) = (compact(&handover.receipt)?, compact(&handover.signature)?);
    let call = Contract::drawCall {
        terms: Contract::Terms {
            renter: terms.renter,
            receiptKey: terms.receiptKey,
            provider: terms.provider,
            providerSigner: terms.providerSigner,
            token: terms.token,
            builder: terms.builder,
            builderBps: terms.builderBps,
            grace: terms.grace,
            salt: terms.salt,
        },
        handover: Contract::Handover {
            amount: abi::uint96(handover.amount),
            receiptCumulative: abi::uint96(handover.cumulative),
            receiptR: receipt.0,
            receiptVs: receipt.1,
            notBefore: abi::uint40(handover.not_before),
            reward: abi::uint96(handover.reward),
            r: own.0,
            vs: own.1,
        },
    };
    Ok(to(handover.terms.provider, call.abi_encode()))
}

/// What sends on all of a token that lies at a collector.
pub(crate) fn sweep(collector: Address, token: Address) -> RawCall {
    to(collector, Contract::sweepCall { token }.abi_encode())
}

fn to(to: Address, input: impl Into<Bytes>) -> RawCall {
    RawCall {
        to,
        value: U256::ZERO,
        input: input.into(),
    }
}

//! What a wallet can send, and the key that makes sending it idempotent.

use crate::{
    abi::{self, Escrow, NodeDirectory, Token},
    keys::Signature,
};
use alloy::{
    primitives::{Bytes, U256},
    sol_types::SolCall,
};
use gpux_lease::Terms;
use gpux_types::{Address, Amount, LeaseId, NodeId, UnixSeconds};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest intent key, in bytes: a verb, a lease id and a number fit.
const MAX_KEY_BYTES: usize = 120;

/// Names one thing to be done once: the same key never leads to two transactions that both take effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntentKey(String);

/// A text that is no intent key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading an intent key: expected 1 to {MAX_KEY_BYTES} visible ASCII characters")]
pub struct InvalidIntentKey;

impl IntentKey {
    /// A key of the caller's own making: 1 to 120 visible ASCII characters.
    ///
    /// # Errors
    /// When the text is longer or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidIntentKey> {
        let text = text.into();
        let fits = (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err(InvalidIntentKey) }
    }

    /// A lease is opened once.
    #[must_use]
    pub fn open(lease: LeaseId) -> Self {
        Self(format!("open:{lease}"))
    }

    /// The `number`-th top-up of a lease by this wallet.
    #[must_use]
    pub fn top_up(lease: LeaseId, number: u32) -> Self {
        Self(format!("topup:{lease}:{number}"))
    }

    /// A lease is settled once.
    #[must_use]
    pub fn settle(lease: LeaseId) -> Self {
        Self(format!("settle:{lease}"))
    }

    /// A lease is reclaimed once.
    #[must_use]
    pub fn reclaim(lease: LeaseId) -> Self {
        Self(format!("reclaim:{lease}"))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IntentKey {
    type Error = InvalidIntentKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<IntentKey> for String {
    fn from(key: IntentKey) -> Self {
        key.0
    }
}

impl fmt::Display for IntentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing to be done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What makes it once.
    pub key: IntentKey,
    /// What is done. For a key that was sent before, the call of that time counts.
    pub call: Call,
}

/// A transaction in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Opens a lease; the wallet is the renter.
    Open {
        /// The words of the lease.
        terms: Terms,
        /// What is paid in.
        deposit: Amount,
        /// Until when, in block time.
        expiry: UnixSeconds,
        /// Whether a permit may be signed when the standing allowance is too small.
        permit: bool,
    },
    /// Adds money to an open lease, moves its expiry, or both.
    TopUp {
        /// The words of the lease.
        terms: Terms,
        /// What is added; may be zero when the expiry is moved.
        amount: Amount,
        /// The new expiry in block time; absent: unchanged.
        new_expiry: Option<UnixSeconds>,
        /// Whether a permit may be signed when the standing allowance is too small.
        permit: bool,
    },
    /// Collects what a receipt owes, refunds the renter and closes the lease; the wallet is the provider's.
    Settle {
        /// The words of the lease.
        terms: Terms,
        /// What is claimed: at most the receipt's amount.
        amount: Amount,
        /// The receipt's amount.
        cumulative: Amount,
        /// The receipt's signature; absent only when its amount is zero.
        signature: Option<Signature>,
    },
    /// Takes back everything unclaimed after expiry and grace; the wallet is the renter.
    Reclaim {
        /// The words of the lease.
        terms: Terms,
    },
    /// Pays a credited payee its credit.
    Withdraw {
        /// The token.
        token: Address,
        /// Who is paid.
        payee: Address,
    },
    /// Announces a node in the directory.
    Announce {
        /// Which node.
        endpoint: NodeId,
        /// How to reach it, in the encoding of the wire.
        addr: Vec<u8>,
    },
    /// Lets the escrow pull up to this amount.
    Approve {
        /// The token.
        token: Address,
        /// How much.
        amount: Amount,
    },
    /// Sends a token.
    TransferToken {
        /// The token.
        token: Address,
        /// To whom.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Sends the chain's own coin.
    TransferNative {
        /// To whom.
        to: Address,
        /// How much.
        wei: u128,
    },
}

/// A call as the chain takes it.
#[derive(Debug, Clone)]
pub(crate) struct RawCall {
    pub(crate) to: Address,
    pub(crate) value: U256,
    pub(crate) input: Bytes,
}

/// A signed EIP-2612 permit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedPermit {
    pub(crate) deadline: U256,
    pub(crate) signature: Signature,
}

impl Call {
    /// The money that the call takes out of the wallet's token balance through the escrow's allowance, and whether a
    /// permit may give that allowance.
    pub(crate) fn pull(&self) -> Option<(Address, Amount, bool)> {
        match self {
            Self::Open {
                terms, deposit, permit, ..
            } => Some((terms.token, *deposit, *permit)),
            Self::TopUp {
                terms, amount, permit, ..
            } if *amount > Amount::ZERO => Some((terms.token, *amount, *permit)),
            Self::TopUp { .. }
            | Self::Settle { .. }
            | Self::Reclaim { .. }
            | Self::Withdraw { .. }
            | Self::Announce { .. }
            | Self::Approve { .. }
            | Self::TransferToken { .. }
            | Self::TransferNative { .. } => None,
        }
    }

    /// The coin that the call sends, in wei.
    pub(crate) fn value(&self) -> u128 {
        if let Self::TransferNative { wei, .. } = self {
            *wei
        } else {
            0
        }
    }

    /// The call's bytes, with a permit in front of the pull if there is one.
    pub(crate) fn encode(&self, escrow: Address, directory: Address, permit: Option<SignedPermit>) -> RawCall {
        let to = match self {
            Self::Open { .. } | Self::TopUp { .. } | Self::Settle { .. } | Self::Reclaim { .. } => escrow,
            Self::Withdraw { .. } => escrow,
            Self::Announce { .. } => directory,
            Self::Approve { token, .. } | Self::TransferToken { token, .. } => *token,
            Self::TransferNative { to, .. } => *to,
        };
        RawCall {
            to,
            value: U256::from(self.value()),
            input: self.input(escrow, permit).into(),
        }
    }

    fn input(&self, escrow: Address, permit: Option<SignedPermit>) -> Vec<u8> {
        let uint = |amount: &Amount| U256::from(amount.units());
        match self {
            Self::Open {
                terms, deposit, expiry, ..
            } => encode_open(terms, *deposit, *expiry, permit),
            Self::TopUp {
                terms,
                amount,
                new_expiry,
                ..
            } => encode_top_up(terms, *amount, new_expiry.unwrap_or_default(), permit),
            Self::Settle {
                terms,
                amount,
                cumulative,
                signature,
            } => encode_settle(terms, *amount, *cumulative, *signature),
            Self::Reclaim { terms } => Escrow::reclaimCall {
                terms: abi::terms(terms),
            }
            .abi_encode(),
            Self::Withdraw { token, payee } => Escrow::withdrawCall {
                token: *token,
                payee: *payee,
            }
            .abi_encode(),
            Self::Announce { endpoint, addr } => {
                let (endpoint, addr) = (endpoint.0.into(), addr.clone().into());
                NodeDirectory::announceCall { endpoint, addr }.abi_encode()
            }
            Self::Approve { amount, .. } => Token::approveCall {
                spender: escrow,
                amount: uint(amount),
            }
            .abi_encode(),
            Self::TransferToken { to, amount, .. } => Token::transferCall {
                to: *to,
                amount: uint(amount),
            }
            .abi_encode(),
            Self::TransferNative { .. } => Vec::new(),
        }
    }
}

fn encode_settle(terms: &Terms, amount: Amount, cumulative: Amount, signature: Option<Signature>) -> Vec<u8> {
    let call = Escrow::settleCall {
        terms: abi::terms(terms),
        amount: abi::uint96(amount),
        receiptCumulative: abi::uint96(cumulative),
        receiptSignature: signature.map_or(Bytes::new(), |signature| signature.as_bytes().into()),
    };
    call.abi_encode()
}

fn encode_open(terms: &Terms, deposit: Amount, expiry: UnixSeconds, permit: Option<SignedPermit>) -> Vec<u8> {
    let (terms, deposit, expiry) = (abi::terms(terms), abi::uint96(deposit), abi::uint40(expiry));
    match permit {
        None => Escrow::openCall { terms, deposit, expiry }.abi_encode(),
        Some(permit) => {
            let (v, r, s) = permit.parts();
            Escrow::openWithPermitCall {
                terms,
                deposit,
                expiry,
                permitDeadline: permit.deadline,
                v,
                r,
                s,
            }
            .abi_encode()
        }
    }
}

fn encode_top_up(terms: &Terms, amount: Amount, expiry: UnixSeconds, permit: Option<SignedPermit>) -> Vec<u8> {
    let (terms, amount, expiry) = (abi::terms(terms), abi::uint96(amount), abi::uint40(expiry));
    match permit {
        None => Escrow::topUpCall {
            terms,
            amount,
            newExpiry: expiry,
        }
        .abi_encode(),
        Some(permit) => {
            let (v, r, s) = permit.parts();
            let permit_deadline = permit.deadline;
            Escrow::topUpWithPermitCall {
                terms,
                amount,
                newExpiry: expiry,
                permitDeadline: permit_deadline,
                v,
                r,
                s,
            }
            .abi_encode()
        }
    }
}

impl SignedPermit {
    fn parts(&self) -> (u8, alloy::primitives::B256, alloy::primitives::B256) {
        let v = 27 + u8::from(self.signature.v());
        (v, self.signature.r().into(), self.signature.s().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_acts_on_a_lease_differ() {
        let lease = LeaseId([1; 32]);
        let keys = [
            IntentKey::open(lease),
            IntentKey::top_up(lease, 1),
            IntentKey::top_up(lease, 2),
            IntentKey::settle(lease),
            IntentKey::reclaim(lease),
            IntentKey::open(LeaseId([2; 32])),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert!(keys.iter().all(|key| IntentKey::new(key.as_str()) == Ok(key.clone())));
    }

    #[test]
    fn strange_keys_are_refused() {
        for text in [String::new(), "a b".into(), "ä".into(), "x".repeat(121)] {
            assert_eq!(IntentKey::new(text), Err(InvalidIntentKey));
        }
    }
}

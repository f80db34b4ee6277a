//! What a wallet can send, and the key that makes sending it idempotent.

mod bounds;
mod encode;

pub(crate) use encode::compact;

use crate::{built::Contract, collector::Collector, keys::Signature};
use alloy::primitives::{Bytes, U256};
use gpux_lease::{Handover, Terms};
use gpux_types::{Address, Amount, B256, BasisPoints, LeaseId, NodeId, UnixSeconds};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest intent key, in bytes: a verb, a lease id and a number fit.
const MAX_KEY_BYTES: usize = 120;

/// How the sender's own keys begin; callers' keys do not.
const FILL: &str = "fill-nonce:";

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

    /// A lease is closed by its renter once.
    #[must_use]
    pub fn close(lease: LeaseId) -> Self {
        Self(format!("close:{lease}"))
    }

    /// The `number`-th draw on a lease.
    #[must_use]
    pub fn draw(lease: LeaseId, number: u32) -> Self {
        Self(format!("draw:{lease}:{number}"))
    }

    /// A key of this crate's own making, which fits.
    pub(crate) const fn of(text: String) -> Self {
        Self(text)
    }

    /// The same act on many leases, named by the first of them: `act` is a key of that lease alone.
    #[must_use]
    pub fn many(act: &Self) -> Self {
        Self(format!("many:{act}"))
    }

    /// The sender's own: a transaction that only uses up this nonce, because others wait behind it.
    pub(crate) fn fill(nonce: u64) -> Self {
        Self(format!("{FILL}{nonce}"))
    }

    /// True for the sender's own.
    pub(crate) fn is_fill(&self) -> bool {
        self.0.starts_with(FILL)
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

/// The terms that the leases of one job share: a call for many leases names them once. With [`NodeTerms`] they make
/// [`Terms`], which says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobTerms {
    renter: Address,
    receipt_key: Address,
    token: Address,
    builder: Address,
    builder_share: BasisPoints,
    grace_secs: u32,
}

impl JobTerms {
    /// Those among `terms`.
    #[must_use]
    pub const fn of(terms: &Terms) -> Self {
        Self {
            renter: terms.renter,
            receipt_key: terms.receipt_key,
            token: terms.token,
            builder: terms.builder,
            builder_share: terms.builder_share,
            grace_secs: terms.grace_secs,
        }
    }
}

/// The terms in which the leases of one job differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeTerms {
    provider: Address,
    provider_signer: Address,
    salt: B256,
}

impl NodeTerms {
    /// Those among `terms`.
    #[must_use]
    pub const fn of(terms: &Terms) -> Self {
        Self {
            provider: terms.provider,
            provider_signer: terms.provider_signer,
            salt: terms.salt,
        }
    }
}

/// A lease to open, in a call for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLeg {
    /// Its own terms.
    pub node: NodeTerms,
    /// What is paid in.
    pub deposit: Amount,
    /// Until when, in block time.
    pub expiry: UnixSeconds,
}

/// A lease to add to, in a call for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUpLeg {
    /// Its own terms.
    pub node: NodeTerms,
    /// What is added; may be zero when the expiry is moved.
    pub amount: Amount,
    /// The new expiry in block time; absent: unchanged.
    pub new_expiry: Option<UnixSeconds>,
}

/// A lease to close, in a call for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseLeg {
    /// Its own terms.
    pub node: NodeTerms,
    /// The provider's closing amount.
    pub amount: Amount,
    /// The provider signer's signature over it.
    pub signature: Signature,
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
    /// Opens many leases of one job, all or none; the wallet is the renter.
    OpenMany {
        /// What they share.
        job: JobTerms,
        /// The leases; at least one.
        legs: Vec<OpenLeg>,
        /// Whether a permit may be signed when the standing allowance is too small.
        permit: bool,
    },
    /// Adds to many leases of one job; those that are not open are left out.
    TopUpMany {
        /// What they share.
        job: JobTerms,
        /// The leases; at least one.
        legs: Vec<TopUpLeg>,
        /// Whether a permit may be signed when the standing allowance is too small.
        permit: bool,
    },
    /// Collects what a receipt owes; the lease stays open and the wallet is the provider's.
    Draw {
        /// The words of the lease.
        terms: Terms,
        /// What is claimed over the lease's life: at most the receipt's amount.
        amount: Amount,
        /// The receipt's amount.
        cumulative: Amount,
        /// The receipt's signature.
        signature: Signature,
    },
    /// Closes a lease with the provider's closing amount; the wallet is the renter.
    Close {
        /// The words of the lease.
        terms: Terms,
        /// The provider's closing amount.
        amount: Amount,
        /// The provider signer's signature over it.
        signature: Signature,
    },
    /// Closes many leases of one job, each alone: one that cannot be closed is left as it was.
    CloseMany {
        /// What they share.
        job: JobTerms,
        /// The leases; at least one.
        legs: Vec<CloseLeg>,
    },
    /// Takes back what is unclaimed of many leases, each alone.
    ReclaimMany(Vec<Terms>),
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
    /// Deploys a contract of this build at its own address; anybody may.
    Deploy(Contract),
    /// Deploys a provider's collector; anybody may.
    DeployCollector(Collector),
    /// Collects for a provider what its signer allowed; anybody may.
    Collect(Box<Handover>),
    /// Sends on what lies at a collector, to its payout address; anybody may.
    Sweep {
        /// Where it lies.
        collector: Address,
        /// The token.
        token: Address,
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

/// A call that cannot be put into the form that the contracts take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeCallError {
    /// A signature in its second form, which leaves no bit for the parity and which the escrow refuses.
    #[error("encoding a signature as two words: its s value is in the upper half")]
    UpperHalf,
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
        let (token, amount, permit) = match self {
            Self::Open {
                terms, deposit, permit, ..
            } => (terms.token, *deposit, *permit),
            Self::TopUp {
                terms, amount, permit, ..
            } => (terms.token, *amount, *permit),
            Self::OpenMany { job, legs, permit } => (job.token, sum(legs, |leg| leg.deposit), *permit),
            Self::TopUpMany { job, legs, permit } => (job.token, sum(legs, |leg| leg.amount), *permit),
            Self::Draw { .. }
            | Self::Settle { .. }
            | Self::Close { .. }
            | Self::CloseMany { .. }
            | Self::Reclaim { .. }
            | Self::ReclaimMany(_)
            | Self::Withdraw { .. }
            | Self::Announce { .. }
            | Self::Deploy(_)
            | Self::DeployCollector(_)
            | Self::Collect(_)
            | Self::Sweep { .. }
            | Self::Approve { .. }
            | Self::TransferToken { .. }
            | Self::TransferNative { .. } => return None,
        };
        (amount > Amount::ZERO).then_some((token, amount, permit))
    }

    /// The coin that the call sends, in wei.
    pub(crate) fn value(&self) -> u128 {
        if let Self::TransferNative { wei, .. } = self {
            *wei
        } else {
            0
        }
    }
}

fn sum<T>(legs: &[T], of: impl Fn(&T) -> Amount) -> Amount {
    legs.iter().fold(Amount::ZERO, |sum, leg| sum.saturating_add(of(leg)))
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
            IntentKey::close(lease),
            IntentKey::draw(lease, 1),
            IntentKey::collect(lease, Amount::new(1).unwrap()),
            IntentKey::collect(lease, Amount::MAX),
            IntentKey::deploy(Address::ZERO),
            IntentKey::sweep(Address::ZERO, UnixSeconds(u64::MAX)),
            IntentKey::many(&IntentKey::open(lease)),
            IntentKey::many(&IntentKey::top_up(lease, u32::MAX)),
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

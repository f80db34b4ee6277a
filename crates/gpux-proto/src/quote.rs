//! A provider's signed answer to one request, and how it becomes the terms of a lease.

use alloy_primitives::{Address, B256, Signature, keccak256};
use gpux_lease::{EscrowRef, Terms, VerifySignatureError, verify_signer};
use gpux_market::{GpuWish, Tag};
use gpux_types::{Amount, BasisPoints, ByteSize, LeaseId, Millis, NodeId, PricePerHour, QuoteId, Resources};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a renter wants from one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteRequest {
    /// Where the deposit will be.
    pub escrow: EscrowRef,
    /// Which token.
    pub token: Address,
    /// The renter's wallet; its balance must cover the deposit.
    pub renter: Address,
    /// The key that will sign receipts.
    pub receipt_key: Address,
    /// The renter's node, which proves its key by speaking.
    pub renter_node: NodeId,
    /// The asked provider's node, so that a request cannot be replayed to another.
    pub provider_node: NodeId,
    /// What to hold.
    pub resources: Resources,
    /// The deposit that the renter is going to make.
    pub deposit: Amount,
    /// Who published the app, or the zero address.
    pub builder: Address,
    /// The builder's share.
    pub builder_share: BasisPoints,
    /// The hash of the job's specification.
    pub job_hash: [u8; 32],
    /// The bytes to fetch before the job can start.
    pub preparation_bytes: ByteSize,
    /// What the node must have beyond that. Journals of before there were any have none.
    #[serde(default)]
    pub needs: Needs,
}

/// What a lease needs of its node beyond cores, memory and disk. A provider that does not have it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// GPUs, held for this lease alone.
    pub gpus: Option<GpuWish>,
    /// What the node must be able to do; at most [`Needs::MAX_FEATURES`].
    pub features: BTreeSet<Tag>,
    /// Where the node must be.
    pub region: Option<Tag>,
}

impl Needs {
    /// The most features: what an offer can name.
    pub const MAX_FEATURES: usize = 32;

    /// How many GPUs.
    #[must_use]
    pub fn gpu_count(&self) -> u32 {
        self.gpus.as_ref().map_or(0, |gpus| gpus.count.get())
    }
}

impl QuoteRequest {
    /// What the renter's wallet signs.
    #[must_use]
    pub fn digest(&self) -> B256 {
        tagged_digest(b"GPUX quote request v1\0", &crate::encode(self))
    }
}

/// A request with the wallet's signature: quotes are held for wallets, so a wallet must have asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedQuoteRequest {
    /// What is wanted.
    pub request: QuoteRequest,
    /// By `request.renter` over [`QuoteRequest::digest`].
    pub signature: Signature,
}

/// What a provider promises for as long as `holds_for` after its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Makes the quote, and so the lease, unique.
    pub nonce: [u8; 16],
    /// Who is paid.
    pub provider: Address,
    /// Who settles and signs closing amounts.
    pub provider_signer: Address,
    /// What is held.
    pub resources: Resources,
    /// Net to the provider; the builder's share comes on top.
    pub price: PricePerHour,
    /// The hash of the job's specification.
    pub job_hash: [u8; 32],
    /// The most that preparation may fetch, without pay.
    pub max_preparation_bytes: ByteSize,
    /// The longest that preparation may take, without pay.
    pub max_preparation: Millis,
    /// How long frozen work is kept without pay.
    pub hold: Millis,
    /// How long after the expiry the provider can still settle, in seconds.
    pub grace_secs: u32,
    /// How long the resources are held for the deposit, from the receipt of the quote.
    pub holds_for: Millis,
}

impl Quote {
    /// The salt of the terms.
    #[must_use]
    pub fn id(&self) -> QuoteId {
        QuoteId(tagged_digest(b"GPUX quote v1\0", &crate::encode(self)).0)
    }

    /// The terms that this quote and its request give.
    #[must_use]
    pub fn terms(&self, request: &QuoteRequest) -> Terms {
        Terms {
            renter: request.renter,
            receipt_key: request.receipt_key,
            provider: self.provider,
            provider_signer: self.provider_signer,
            token: request.token,
            builder: request.builder,
            builder_share: request.builder_share,
            grace_secs: self.grace_secs,
            salt: self.id().into(),
        }
    }

    /// What receipts count in: the net price with the builder's share on top.
    #[must_use]
    pub fn gross_price(&self, share: BasisPoints) -> PricePerHour {
        self.price.gross_of_net(share)
    }
}

/// A quote with the provider's signature over the lease id that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedQuote {
    /// What is promised.
    pub quote: Quote,
    /// By `quote.provider_signer` over [`SignedQuote::digest`].
    pub signature: Signature,
}

/// A quote that does not answer the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyQuoteError {
    /// For another job.
    #[error("checking a quote: it is for another job")]
    OtherJob,
    /// For less than was asked.
    #[error("checking a quote: it offers less than was asked")]
    TooSmall,
    /// Not by the provider's signer, or for other terms.
    #[error("checking a quote's signature")]
    Signature(#[from] VerifySignatureError),
}

impl SignedQuote {
    /// What the provider's signer signs: the lease id, so that nobody can use the quote for other terms.
    #[must_use]
    pub fn digest(lease: LeaseId) -> B256 {
        tagged_digest(b"GPUX quote for lease v1\0", lease.as_bytes())
    }

    /// The terms and id of the lease, when the quote answers `request`.
    ///
    /// # Errors
    /// When it is for another job, too small, or not signed for these terms.
    pub fn verify(&self, request: &QuoteRequest) -> Result<(Terms, LeaseId), VerifyQuoteError> {
        if self.quote.job_hash != request.job_hash {
            return Err(VerifyQuoteError::OtherJob);
        }
        if !self.quote.resources.covers(&request.resources) {
            return Err(VerifyQuoteError::TooSmall);
        }
        let terms = self.quote.terms(request);
        let lease = terms.lease_id(&request.escrow);
        verify_signer(Self::digest(lease), &self.signature, self.quote.provider_signer)?;
        Ok((terms, lease))
    }
}

/// Keccak of a tag and a body: a signature of one kind of message is never valid for another.
pub(crate) fn tagged_digest(tag: &[u8], body: &[u8]) -> B256 {
    keccak256([tag, body].concat())
}

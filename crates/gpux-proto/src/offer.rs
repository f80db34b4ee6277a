//! Offers as they are gossiped: the offer's bytes and the signature of the wallet that stands behind it.

use crate::{DecodeError, decode, encode, quote::tagged_digest};
use alloy_primitives::{B256, Signature};
use gpux_lease::{VerifySignatureError, verify_signer};
use gpux_market::Offer;
use serde::{Deserialize, Serialize};

/// The largest offer that is passed on, in bytes: an honest one is about 400.
pub const MAX_OFFER_BYTES: usize = 2_048;

/// An offer that cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyOfferError {
    /// Larger than offers may be.
    #[error("checking an offer of {got} bytes: the limit is {MAX_OFFER_BYTES}")]
    TooLarge {
        /// Its length.
        got: usize,
    },
    /// Not an offer.
    #[error("checking an offer's bytes")]
    Decode(#[from] DecodeError),
    /// Not signed by the wallet that it names.
    #[error("checking an offer's signature")]
    Signature(#[from] VerifySignatureError),
}

/// An offer with its wallet's signature, which binds the endpoint key inside the offer to the wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOffer {
    body: Vec<u8>,
    signature: Signature,
}

impl SignedOffer {
    /// What the wallet signs for `offer`.
    #[must_use]
    pub fn digest(offer: &Offer) -> B256 {
        body_digest(&encode(offer))
    }

    /// `offer` with the wallet's signature over [`SignedOffer::digest`].
    #[must_use]
    pub fn new(offer: &Offer, signature: Signature) -> Self {
        Self {
            body: encode(offer),
            signature,
        }
    }

    /// The offer, when its wallet signed it.
    ///
    /// # Errors
    /// When it is too large, malformed, or not signed by the wallet that it names.
    pub fn verify(&self) -> Result<Offer, VerifyOfferError> {
        if self.body.len() > MAX_OFFER_BYTES {
            return Err(VerifyOfferError::TooLarge { got: self.body.len() });
        }
        let offer: Offer = decode(&self.body)?;
        verify_signer(body_digest(&self.body), &self.signature, offer.wallet)?;
        Ok(offer)
    }
}

fn body_digest(body: &[u8]) -> B256 {
    tagged_digest(b"GPUX offer v1\0", body)
}

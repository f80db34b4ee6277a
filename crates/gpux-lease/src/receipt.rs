//! Signed promises about one lease's money: the renter's receipt and the provider's closing amount.
//!
//! Peers' signatures enter the crate here and nowhere else: what the state machines take is a [`VerifiedReceipt`],
//! which only [`Receipt::verify`] makes. Nothing here holds a key; the daemon signs the digests.

use crate::terms::{EscrowRef, Terms, VerifySignatureError, closing_digest, receipt_digest, verify_signer};
use alloy_primitives::{B256, Signature};
use gpux_types::{Amount, LeaseId};
use serde::{Deserialize, Serialize};

/// The renter's word that it owes `cumulative` so far, as it arrives from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The lease that pays.
    pub lease: LeaseId,
    /// Everything owed since the lease began, not what was added.
    pub cumulative: Amount,
    /// Over [`receipt_digest`], by the receipt key of the terms.
    pub signature: Signature,
}

/// A receipt whose signature was checked against the terms of its lease.
///
/// Invariant: only [`Receipt::verify`] makes one, or reading back a journal that one was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedReceipt(Receipt);

/// Why a receipt or closing amount is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyReceiptError {
    /// It speaks of another lease.
    #[error("checking a receipt of lease {got}: expected lease {expected}")]
    OtherLease {
        /// The lease of the terms.
        expected: LeaseId,
        /// The lease that it names.
        got: LeaseId,
    },
    /// Its signature proves nothing.
    #[error("checking the signature of a receipt of lease {lease}")]
    Signature {
        /// The lease.
        lease: LeaseId,
        /// What is wrong with it.
        source: VerifySignatureError,
    },
}

impl Receipt {
    /// What the receipt key signs.
    #[must_use]
    pub fn digest(&self, escrow: &EscrowRef) -> B256 {
        receipt_digest(escrow, self.lease, self.cumulative)
    }

    /// The receipt, once the receipt key of `terms` is known to have signed it.
    ///
    /// # Errors
    /// When it is of another lease or the escrow would refuse the signature.
    pub fn verify(self, terms: &Terms, escrow: &EscrowRef) -> Result<VerifiedReceipt, VerifyReceiptError> {
        check(self.lease, terms, escrow)?;
        verify_signer(self.digest(escrow), &self.signature, terms.receipt_key).map_err(|source| {
            VerifyReceiptError::Signature {
                lease: self.lease,
                source,
            }
        })?;
        Ok(VerifiedReceipt(self))
    }
}

impl VerifiedReceipt {
    /// The receipt as it goes to the escrow.
    #[must_use]
    pub const fn receipt(&self) -> &Receipt {
        &self.0
    }

    /// Everything owed so far, by the renter's word.
    #[must_use]
    pub const fn cumulative(&self) -> Amount {
        self.0.cumulative
    }

    /// A receipt that nobody signed, for tests that are not about signatures.
    #[cfg(test)]
    pub(crate) fn unsigned(lease: LeaseId, cumulative: Amount) -> Self {
        let signature = Signature::test_signature();
        Self(Receipt {
            lease,
            cumulative,
            signature,
        })
    }
}

/// The provider's word that `amount` is all it wants: the renter may close the lease with it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedClosing {
    /// The lease that ends.
    pub lease: LeaseId,
    /// All that the provider claims over the lease's life.
    pub amount: Amount,
    /// Over [`closing_digest`], by the provider signer of the terms.
    pub signature: Signature,
}

impl SignedClosing {
    /// What the provider signer signs.
    #[must_use]
    pub fn digest(&self, escrow: &EscrowRef) -> B256 {
        closing_digest(escrow, self.lease, self.amount)
    }

    /// Checks that the provider signer of `terms` gave this closing amount.
    ///
    /// # Errors
    /// When it is of another lease or the escrow would refuse the signature.
    pub fn verify(&self, terms: &Terms, escrow: &EscrowRef) -> Result<(), VerifyReceiptError> {
        check(self.lease, terms, escrow)?;
        verify_signer(self.digest(escrow), &self.signature, terms.provider_signer).map_err(|source| {
            VerifyReceiptError::Signature {
                lease: self.lease,
                source,
            }
        })
    }
}

fn check(got: LeaseId, terms: &Terms, escrow: &EscrowRef) -> Result<(), VerifyReceiptError> {
    let expected = terms.lease_id(escrow);
    if got == expected {
        Ok(())
    } else {
        Err(VerifyReceiptError::OtherLease { expected, got })
    }
}

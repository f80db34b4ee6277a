//! The fixed words of a lease, whose hash is its id, exactly as the escrow computes it.
//!
//! Specification and test vectors: `docs/spec/terms-and-receipts.md`.

#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256, Signature, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue, eip712_domain};
use gpux_types::{Amount, BasisPoints, LeaseId};
use serde::{Deserialize, Serialize};

mod sol_types {
    alloy_sol_types::sol! {
        struct Terms {
            address renter;
            address receiptKey;
            address provider;
            address providerSigner;
            address token;
            address builder;
            uint16 builderBps;
            uint32 grace;
            bytes32 salt;
        }

        struct Receipt {
            bytes32 leaseId;
            uint96 cumulative;
        }

        struct Closing {
            bytes32 leaseId;
            uint96 amount;
        }
    }
}

/// One escrow contract on one chain: where a lease's money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EscrowRef {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The contract's address.
    #[schemars(with = "String")]
    pub address: Address,
}

impl EscrowRef {
    fn domain(&self) -> Eip712Domain {
        eip712_domain! {
            name: "GPUX",
            version: "1",
            chain_id: self.chain_id,
            verifying_contract: self.address,
        }
    }
}

/// What both sides agreed on and nobody can change later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Terms {
    /// Pays, and gets the refund.
    #[schemars(with = "String")]
    pub renter: Address,
    /// Signs receipts and nothing else.
    #[schemars(with = "String")]
    pub receipt_key: Address,
    /// Is paid; may be cold.
    #[schemars(with = "String")]
    pub provider: Address,
    /// Settles, and signs closing amounts.
    #[schemars(with = "String")]
    pub provider_signer: Address,
    /// The token of the deposit.
    #[schemars(with = "String")]
    pub token: Address,
    /// Who published the app, or the zero address.
    #[schemars(with = "String")]
    pub builder: Address,
    /// The builder's share of what the provider claims.
    pub builder_share: BasisPoints,
    /// How long after the expiry the provider can still settle, in seconds.
    pub grace_secs: u32,
    /// The hash of the quote, which makes the id unique.
    #[schemars(with = "String")]
    pub salt: B256,
}

impl Terms {
    /// `keccak256(abi.encode(terms, chain id, escrow))`.
    #[must_use]
    pub fn lease_id(&self, escrow: &EscrowRef) -> LeaseId {
        let terms = sol_types::Terms {
            renter: self.renter,
            receiptKey: self.receipt_key,
            provider: self.provider,
            providerSigner: self.provider_signer,
            token: self.token,
            builder: self.builder,
            builderBps: self.builder_share.points(),
            grace: self.grace_secs,
            salt: self.salt,
        };
        let chain_id = alloy_primitives::U256::from(escrow.chain_id);
        keccak256((terms, chain_id, escrow.address).abi_encode()).into()
    }
}

/// The EIP-712 digest of a receipt: `Receipt(bytes32 leaseId,uint96 cumulative)`.
#[must_use]
pub fn receipt_digest(escrow: &EscrowRef, lease: LeaseId, cumulative: Amount) -> B256 {
    let receipt = sol_types::Receipt {
        leaseId: lease.into(),
        cumulative: uint96(cumulative),
    };
    receipt.eip712_signing_hash(&escrow.domain())
}

/// The EIP-712 digest of a closing amount: `Closing(bytes32 leaseId,uint96 amount)`.
#[must_use]
pub fn closing_digest(escrow: &EscrowRef, lease: LeaseId, amount: Amount) -> B256 {
    let closing = sol_types::Closing {
        leaseId: lease.into(),
        amount: uint96(amount),
    };
    closing.eip712_signing_hash(&escrow.domain())
}

/// One deposit of those that a renter signs for and anybody sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The lease, and with it all of its terms.
    pub lease: LeaseId,
    /// What is pulled for it.
    pub deposit: Amount,
    /// Its expiry in block time, in seconds.
    pub expiry: u64,
}

/// The nonce of the EIP-3009 authorisation that opens exactly these leases, in this order, and no others.
#[must_use]
pub fn opening_nonce(openings: &[Opening]) -> B256 {
    let words = |opening: &Opening| {
        let (deposit, expiry) = (uint96(opening.deposit), alloy_primitives::U256::from(opening.expiry));
        (B256::from(opening.lease), deposit, expiry).abi_encode()
    };
    keccak256(openings.iter().flat_map(words).collect::<Vec<u8>>())
}

pub(crate) fn uint96(amount: Amount) -> alloy_primitives::Uint<96, 2> {
    alloy_primitives::Uint::from(amount.units())
}

/// A signature that does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifySignatureError {
    /// The same signature in its second form, which the escrow refuses.
    #[error("checking a signature: its s value is in the upper half")]
    Malleable,
    /// No key can have made it.
    #[error("checking a signature: no key fits it")]
    Unrecoverable,
    /// Another key made it.
    #[error("checking a signature: expected {expected}, signed by {signer}")]
    WrongSigner {
        /// Whose signature was wanted.
        expected: Address,
        /// Whose it is.
        signer: Address,
    },
}

/// The address whose key signed `digest`.
///
/// # Errors
/// When the signature is malleable or fits no key.
pub fn recover_signer(digest: B256, signature: &Signature) -> Result<Address, VerifySignatureError> {
    if signature.normalize_s().is_some() {
        return Err(VerifySignatureError::Malleable);
    }
    signature
        .recover_address_from_prehash(&digest)
        .map_err(|_| VerifySignatureError::Unrecoverable)
}

/// Checks that `expected` signed `digest`.
///
/// # Errors
/// When it did not, or the escrow would refuse the signature.
pub fn verify_signer(digest: B256, signature: &Signature, expected: Address) -> Result<(), VerifySignatureError> {
    let signer = recover_signer(digest, signature)?;
    if signer == expected {
        Ok(())
    } else {
        Err(VerifySignatureError::WrongSigner { expected, signer })
    }
}

//! The specification's vectors, which Solidity's tests read as well: ids, digests and signatures are the same here.

use gpux_chain::{HotKey, Signature};
use gpux_lease::{EscrowRef, Terms, closing_digest, receipt_digest, verify_signer};
use gpux_types::{Address, Amount, B256, BasisPoints, LeaseId};
use serde::Deserialize;

const VECTORS: &str = include_str!("../../../../docs/spec/vectors/terms.json");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    receipt_private_key: B256,
    provider_signer_private_key: B256,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    chain_id: u64,
    escrow: Address,
    terms: Words,
    lease_id: LeaseId,
    receipt: Signed,
    closing: Signed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    renter: Address,
    receipt_key: Address,
    provider: Address,
    provider_signer: Address,
    token: Address,
    builder: Address,
    builder_bps: u16,
    grace: u32,
    salt: B256,
}

impl Words {
    /// The terms; `None` when no lease can have them.
    fn terms(&self) -> Option<Terms> {
        Some(Terms {
            renter: self.renter,
            receipt_key: self.receipt_key,
            provider: self.provider,
            provider_signer: self.provider_signer,
            token: self.token,
            builder: self.builder,
            builder_share: BasisPoints::new(self.builder_bps).ok()?,
            grace_secs: self.grace,
            salt: self.salt,
        })
    }
}

#[derive(Deserialize)]
struct Signed {
    #[serde(alias = "cumulative")]
    amount: Amount,
    digest: B256,
    signature: String,
}

impl Signed {
    fn check(&self, digest: B256, key: &HotKey, signer: Address) {
        assert_eq!(digest, self.digest);
        let signature: Signature = self.signature.parse().unwrap();
        assert_eq!(verify_signer(digest, &signature, signer), Ok(()));
        assert_eq!(key.sign_digest(digest), signature, "signatures are deterministic");
    }
}

#[test]
fn ids_digests_and_signatures_are_those_of_the_specification() {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    let receipt_key = HotKey::from_bytes(&vectors.receipt_private_key).unwrap();
    let provider_signer = HotKey::from_bytes(&vectors.provider_signer_private_key).unwrap();
    let mut ids = 0;
    for vector in vectors.vectors {
        let escrow = EscrowRef {
            chain_id: vector.chain_id,
            address: vector.escrow,
        };
        let (receipt, closing, lease) = (vector.receipt, vector.closing, vector.lease_id);
        let digest = receipt_digest(&escrow, lease, receipt.amount);
        receipt.check(digest, &receipt_key, vector.terms.receipt_key);
        let digest = closing_digest(&escrow, lease, closing.amount);
        closing.check(digest, &provider_signer, vector.terms.provider_signer);
        match vector.terms.terms() {
            Some(terms) => {
                ids += 1;
                assert_eq!(terms.lease_id(&escrow), lease, "{}", vector.name);
            }
            // The escrow refuses it as well.
            None => assert!(vector.terms.builder_bps > BasisPoints::LIMIT, "{}", vector.name),
        }
    }
    assert!(ids >= 2, "{ids} of the vectors are terms that can be");
}

//! Terms, receipts and closing amounts against the vectors that the escrow's own tests check.

use super::*;
use crate::receipt::{Receipt, SignedClosing, VerifyReceiptError};
use serde_json::Value;

struct Vector {
    name: String,
    terms: Terms,
    escrow: EscrowRef,
    lease: LeaseId,
    receipt: Receipt,
    receipt_digest: B256,
    closing: SignedClosing,
    closing_digest: B256,
}

fn text<T: std::str::FromStr>(value: &Value) -> T
where
    T::Err: std::fmt::Debug,
{
    value.as_str().unwrap().parse().unwrap()
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_u64().unwrap()).ok()
}

fn amount(value: &Value) -> Amount {
    Amount::new(text(value)).unwrap()
}

/// `None` for terms that only a contract can be given: a builder's share over the limit.
fn vector(value: &Value) -> Option<Vector> {
    let words = &value["terms"];
    let terms = Terms {
        renter: text(&words["renter"]),
        receipt_key: text(&words["receiptKey"]),
        provider: text(&words["provider"]),
        provider_signer: text(&words["providerSigner"]),
        token: text(&words["token"]),
        builder: text(&words["builder"]),
        builder_share: BasisPoints::new(number(&words["builderBps"])?).ok()?,
        grace_secs: number(&words["grace"])?,
        salt: text(&words["salt"]),
    };
    let lease = text(&value["leaseId"]);
    let (receipt, closing) = (&value["receipt"], &value["closing"]);
    Some(Vector {
        name: value["name"].as_str().unwrap().to_owned(),
        terms,
        escrow: EscrowRef {
            chain_id: value["chainId"].as_u64()?,
            address: text(&value["escrow"]),
        },
        lease,
        receipt: Receipt {
            lease,
            cumulative: amount(&receipt["cumulative"]),
            signature: text(&receipt["signature"]),
        },
        receipt_digest: text(&receipt["digest"]),
        closing: SignedClosing {
            lease,
            amount: amount(&closing["amount"]),
            signature: text(&closing["signature"]),
        },
        closing_digest: text(&closing["digest"]),
    })
}

fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../../../../docs/spec/vectors/terms.json")).unwrap();
    let vectors: Vec<_> = file["vectors"].as_array().unwrap().iter().filter_map(vector).collect();
    assert!(vectors.len() >= 3);
    vectors
}

/// One whose receipt key made its receipt.
fn sound() -> Vector {
    let sound = |vector: &Vector| vector.receipt.verify(&vector.terms, &vector.escrow).is_ok();
    vectors().into_iter().find(sound).unwrap()
}

#[test]
fn ids_and_digests_are_those_of_the_escrow() {
    for vector in vectors() {
        assert_eq!(vector.terms.lease_id(&vector.escrow), vector.lease, "{}", vector.name);
        assert_eq!(
            vector.receipt.digest(&vector.escrow),
            vector.receipt_digest,
            "{}",
            vector.name
        );
        assert_eq!(
            vector.closing.digest(&vector.escrow),
            vector.closing_digest,
            "{}",
            vector.name
        );
    }
}

#[test]
fn signatures_of_the_vectors_are_their_keys() {
    let address = |digest, signature| recover_signer(digest, &signature).unwrap();
    let first = sound();
    for vector in vectors() {
        let receipt_key = address(vector.receipt_digest, vector.receipt.signature);
        assert_eq!(receipt_key, first.terms.receipt_key, "{}", vector.name);
        let signer = address(vector.closing_digest, vector.closing.signature);
        assert_eq!(signer, first.terms.provider_signer, "{}", vector.name);
    }
    assert_eq!(first.closing.verify(&first.terms, &first.escrow), Ok(()));
}

#[test]
fn a_receipt_of_another_amount_lease_or_key_is_refused() {
    let Vector {
        terms, escrow, receipt, ..
    } = sound();
    let more = Receipt {
        cumulative: receipt.cumulative.saturating_add(Amount::new(1).unwrap()),
        ..receipt
    };
    assert!(matches!(
        more.verify(&terms, &escrow),
        Err(VerifyReceiptError::Signature { .. })
    ));
    let other = Receipt {
        lease: LeaseId([7; 32]),
        ..receipt
    };
    assert!(matches!(
        other.verify(&terms, &escrow),
        Err(VerifyReceiptError::OtherLease { .. })
    ));
    let other_key = Terms {
        receipt_key: terms.provider,
        ..terms.clone()
    };
    let moved = Receipt {
        lease: other_key.lease_id(&escrow),
        ..receipt
    };
    assert!(matches!(
        moved.verify(&other_key, &escrow),
        Err(VerifyReceiptError::Signature { .. })
    ));
}

#[test]
fn the_second_form_of_a_signature_is_refused_as_the_escrow_does() {
    let Vector {
        terms, escrow, receipt, ..
    } = sound();
    let order =
        alloy_primitives::U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
            .unwrap();
    let signature = Signature::new(
        receipt.signature.r(),
        order - receipt.signature.s(),
        !receipt.signature.v(),
    );
    let error = Receipt { signature, ..receipt }.verify(&terms, &escrow).unwrap_err();
    let VerifyReceiptError::Signature { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source, VerifySignatureError::Malleable);
}

#[test]
fn a_signature_that_is_no_curve_point_is_refused_without_a_panic() {
    let Vector {
        terms, escrow, receipt, ..
    } = sound();
    let zero = alloy_primitives::U256::ZERO;
    for (r, s) in [
        (zero, zero),
        (alloy_primitives::U256::MAX, receipt.signature.s()),
        (receipt.signature.r(), zero),
    ] {
        let bad = Receipt {
            signature: Signature::new(r, s, false),
            ..receipt
        };
        assert!(bad.verify(&terms, &escrow).is_err());
    }
}

#[test]
fn nonces_of_openings_are_those_of_the_escrow() {
    let file: Value = serde_json::from_str(include_str!("../../../../docs/spec/vectors/openings.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 5);
    for vector in vectors {
        let legs = vector["legs"].as_array().unwrap().iter();
        let openings: Vec<_> = legs
            .map(|leg| Opening {
                lease: text(&leg["leaseId"]),
                deposit: amount(&leg["deposit"]),
                expiry: leg["expiry"].as_u64().unwrap(),
            })
            .collect();
        let nonce: B256 = text(&vector["nonce"]);
        assert_eq!(opening_nonce(&openings), nonce, "{}", vector["name"]);
        let signed = &vector["authorization"];
        let renter: Address = text(&vector["legs"][0]["terms"]["renter"]);
        let signature: Signature = text(&signed["signature"]);
        assert_eq!(verify_signer(text(&signed["digest"]), &signature, renter), Ok(()));
    }
}

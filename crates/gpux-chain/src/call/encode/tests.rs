//! The calls that carry a signature, against the specification's vectors.

use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    receipt: Signed,
    closing: Signed,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
    r: B256,
    vs: B256,
}

impl Signed {
    fn signature(&self) -> Signature {
        self.signature.parse().unwrap()
    }

    /// Whether a call ends with the two words.
    fn ends(&self, call: &Call) -> bool {
        let input = call.input(Address::ZERO, None).unwrap();
        input.ends_with(&[self.r.0, self.vs.0].concat())
    }
}

fn vectors() -> Vec<Vector> {
    let file: Vectors = serde_json::from_str(include_str!("../../../../../docs/spec/vectors/terms.json")).unwrap();
    file.vectors
}

fn some_terms() -> Terms {
    Terms {
        renter: Address::repeat_byte(1),
        receipt_key: Address::repeat_byte(2),
        provider: Address::repeat_byte(3),
        provider_signer: Address::repeat_byte(4),
        token: Address::repeat_byte(5),
        builder: Address::ZERO,
        builder_share: Default::default(),
        grace_secs: 86_400,
        salt: B256::repeat_byte(6),
    }
}

/// Every call that carries a receipt's or a closing amount's signature, with this one.
fn calls(signature: Signature) -> (Vec<Call>, Vec<Call>) {
    let (terms, amount) = (some_terms(), Amount::new(7).unwrap());
    let of_receipts = vec![
        Call::Draw {
            terms: terms.clone(),
            amount,
            cumulative: amount,
            signature,
        },
        Call::Settle {
            terms: terms.clone(),
            amount,
            cumulative: amount,
            signature: Some(signature),
        },
    ];
    let legs = vec![CloseLeg {
        node: NodeTerms::of(&terms),
        amount,
        signature,
    }];
    let job = JobTerms::of(&terms);
    let of_closings = vec![
        Call::Close {
            terms,
            amount,
            signature,
        },
        Call::CloseMany { job, legs },
    ];
    (of_receipts, of_closings)
}

#[test]
fn signatures_are_the_two_words_of_the_specification() {
    let vectors = vectors();
    let mut parities = [0, 0];
    for Vector { name, receipt, closing } in &vectors {
        let (of_receipts, _) = calls(receipt.signature());
        assert!(of_receipts.iter().all(|call| receipt.ends(call)), "{name}");
        let (_, of_closings) = calls(closing.signature());
        assert!(of_closings.iter().all(|call| closing.ends(call)), "{name}");
        for signed in [receipt, closing] {
            parities[usize::from(signed.signature().v())] += 1;
        }
    }
    assert!(parities.iter().all(|count| *count > 0), "{parities:?}");
}

#[test]
fn a_settlement_of_nothing_has_no_signature() {
    let call = Call::Settle {
        terms: some_terms(),
        amount: Amount::ZERO,
        cumulative: Amount::ZERO,
        signature: None,
    };
    assert!(call.input(Address::ZERO, None).unwrap().ends_with(&[0; 128]));
}

/// From the first s above half of the order to the highest number there is.
#[test]
fn a_signature_of_the_upper_half_is_refused_in_every_call() {
    let half: U256 = "0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
        .parse()
        .unwrap();
    let with = |s: U256, parity| Signature::new(U256::from(9), s, parity);
    for parity in [false, true] {
        let (of_receipts, of_closings) = calls(with(half, parity));
        for call in of_receipts.iter().chain(&of_closings) {
            assert!(call.input(Address::ZERO, None).is_ok());
        }
        for s in [half + U256::from(1), U256::from(1) << 255, U256::MAX] {
            let (of_receipts, of_closings) = calls(with(s, parity));
            for call in of_receipts.iter().chain(&of_closings) {
                assert_eq!(call.input(Address::ZERO, None), Err(EncodeCallError::UpperHalf), "{s}");
            }
        }
    }
}

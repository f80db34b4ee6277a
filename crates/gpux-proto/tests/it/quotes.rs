//! A quote binds its provider to one request: each change of either is refused.

use crate::samples::{self, Changes, Draw};
use alloy_primitives::{Address, B256, Signature, U256};
use gpux_lease::VerifySignatureError;
use gpux_proto::{Quote, QuoteRequest, SignedQuote, VerifyQuoteError};
use gpux_types::{Amount, BasisPoints, Millis, PricePerHour};
use k256::ecdsa::SigningKey;

fn key() -> SigningKey {
    SigningKey::from_slice(&[9; 32]).unwrap()
}

/// A request, and a quote for it that its provider signed.
fn agreed() -> (QuoteRequest, SignedQuote) {
    let request = samples::quote_request(&Draw::fixed());
    let quote = Quote {
        provider_signer: Address::from_private_key(&key()),
        ..samples::quote(&Draw::fixed())
    };
    let lease = quote.terms(&request).lease_id(&request.escrow);
    let signature: Signature = key()
        .sign_prehash_recoverable(SignedQuote::digest(lease).as_slice())
        .unwrap()
        .into();
    (request, SignedQuote { quote, signature })
}

#[test]
fn a_quote_for_the_request_gives_its_terms_and_lease() {
    let (request, signed) = agreed();
    let (terms, lease) = signed.verify(&request).unwrap();
    assert_eq!(terms.lease_id(&request.escrow), lease);
    assert_eq!(terms.salt, B256::from(signed.quote.id()));
    assert_eq!((terms.renter, terms.receipt_key), (request.renter, request.receipt_key));
    assert_eq!(
        (terms.provider, terms.provider_signer),
        (signed.quote.provider, signed.quote.provider_signer)
    );
    assert_eq!(
        (terms.token, terms.builder, terms.builder_share),
        (request.token, request.builder, request.builder_share)
    );
    assert_eq!(terms.grace_secs, signed.quote.grace_secs);
}

#[test]
fn each_change_of_the_quote_breaks_its_signature() {
    let changes: &Changes<Quote> = &[
        ("the nonce", |quote| quote.nonce[0] ^= 1),
        ("who is paid", |quote| quote.provider = Address::ZERO),
        ("who signs", |quote| quote.provider_signer = Address::repeat_byte(0xee)),
        ("more than was asked", |quote| quote.resources.memory.0 += 1),
        ("the price", |quote| quote.price = PricePerHour(Amount::ZERO)),
        ("the bytes of preparation", |quote| quote.max_preparation_bytes.0 += 1),
        ("the time of preparation", |quote| quote.max_preparation = Millis(1)),
        ("the hold", |quote| quote.hold = Millis(1)),
        ("the grace", |quote| quote.grace_secs += 1),
        ("how long it holds", |quote| quote.holds_for = Millis(1)),
    ];
    for (what, change) in changes {
        let (request, mut signed) = agreed();
        change(&mut signed.quote);
        assert!(
            matches!(signed.verify(&request), Err(VerifyQuoteError::Signature(_))),
            "{what}"
        );
    }
}

#[test]
fn a_quote_serves_no_other_request() {
    let changes: &Changes<QuoteRequest> = &[
        ("another chain", |request| request.escrow.chain_id += 1),
        ("another escrow", |request| request.escrow.address = Address::ZERO),
        ("another token", |request| request.token = Address::ZERO),
        ("another renter", |request| request.renter = Address::ZERO),
        ("another receipt key", |request| request.receipt_key = Address::ZERO),
        ("another builder", |request| request.builder = Address::ZERO),
        ("another share", |request| request.builder_share = BasisPoints::ZERO),
    ];
    for (what, change) in changes {
        let (mut request, signed) = agreed();
        change(&mut request);
        assert!(
            matches!(signed.verify(&request), Err(VerifyQuoteError::Signature(_))),
            "{what}"
        );
    }
}

#[test]
fn a_quote_for_another_job_or_for_less_is_refused_before_its_signature() {
    let (mut request, signed) = agreed();
    request.job_hash[0] ^= 1;
    assert_eq!(signed.verify(&request), Err(VerifyQuoteError::OtherJob));
    let (mut request, signed) = agreed();
    request.resources.disk.0 += 1;
    assert_eq!(signed.verify(&request), Err(VerifyQuoteError::TooSmall));
}

#[test]
fn the_second_form_of_a_signature_is_refused() {
    let (request, mut signed) = agreed();
    let order = U256::from_be_slice(&alloy_primitives::hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    let twin = Signature::new(
        signed.signature.r(),
        order - signed.signature.s(),
        !signed.signature.v(),
    );
    signed.signature = twin;
    assert_eq!(
        signed.verify(&request),
        Err(VerifyQuoteError::Signature(VerifySignatureError::Malleable))
    );
}

#[test]
fn a_request_signs_all_that_it_asks() {
    let request = samples::quote_request(&Draw::fixed());
    let changes: &Changes<QuoteRequest> = &[
        ("the asked node", |request| request.provider_node.0[0] ^= 1),
        ("the asking node", |request| request.renter_node.0[0] ^= 1),
        ("the deposit", |request| request.deposit = Amount::ZERO),
        ("the resources", |request| request.resources.cpu.millicores += 1),
        ("the job", |request| request.job_hash[0] ^= 1),
        ("the bytes", |request| request.preparation_bytes.0 += 1),
    ];
    for (what, change) in changes {
        let mut other = request.clone();
        change(&mut other);
        assert_ne!(other.digest(), request.digest(), "{what}");
    }
}

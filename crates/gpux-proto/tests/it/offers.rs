//! An offer is believed when the wallet that it names signed exactly these bytes.

use crate::samples::{self, Changes, Draw};
use alloy_primitives::{Address, Signature};
use gpux_market::Offer;
use gpux_proto::{DecodeError, MAX_OFFER_BYTES, SignedOffer, VerifyOfferError, decode, encode};
use k256::ecdsa::SigningKey;

fn key() -> SigningKey {
    SigningKey::from_slice(&[9; 32]).unwrap()
}

fn sign(offer: &Offer) -> Signature {
    key()
        .sign_prehash_recoverable(SignedOffer::digest(offer).as_slice())
        .unwrap()
        .into()
}

fn offer() -> Offer {
    Offer {
        wallet: Address::from_private_key(&key()),
        ..samples::offer(&Draw::fixed())
    }
}

/// A signed offer over a body that no honest node would make.
fn with_body(body: Vec<u8>) -> SignedOffer {
    decode(&encode(&(body, sign(&offer())))).unwrap()
}

#[test]
fn an_offer_that_its_wallet_signed_is_believed() {
    let offer = offer();
    assert_eq!(SignedOffer::new(&offer, sign(&offer)).verify(), Ok(offer));
}

#[test]
fn an_offer_that_was_changed_or_is_of_another_wallet_is_refused() {
    let changes: &Changes<Offer> = &[
        ("the node", |offer| offer.node.0[0] ^= 1),
        ("the wallet", |offer| offer.wallet = Address::repeat_byte(0xee)),
        ("who is paid", |offer| offer.provider = Address::ZERO),
        ("the sequence", |offer| offer.sequence += 1),
        ("the rates", |offer| offer.rates = gpux_market::Rates::default()),
        ("what is free", |offer| offer.free.cpu.millicores += 1),
        ("the escrow", |offer| offer.escrow = Address::ZERO),
    ];
    for (what, change) in changes {
        let mut other = offer();
        change(&mut other);
        let signed = SignedOffer::new(&other, sign(&offer()));
        assert!(matches!(signed.verify(), Err(VerifyOfferError::Signature(_))), "{what}");
    }
}

#[test]
fn an_offer_over_the_limit_is_refused_unread() {
    let got = MAX_OFFER_BYTES + 1;
    assert_eq!(
        with_body(vec![0; got]).verify(),
        Err(VerifyOfferError::TooLarge { got })
    );
}

#[test]
fn a_body_that_is_no_offer_is_refused() {
    assert_eq!(
        with_body(Vec::new()).verify(),
        Err(VerifyOfferError::Decode(DecodeError::Empty))
    );
    let mut body = encode(&offer());
    body.push(0);
    assert_eq!(
        with_body(body).verify(),
        Err(VerifyOfferError::Decode(DecodeError::Trailing(1)))
    );
}

#[test]
fn an_honest_offer_is_a_quarter_of_the_limit() {
    assert!(
        encode(&offer()).len() * 4 < MAX_OFFER_BYTES,
        "{}",
        encode(&offer()).len()
    );
}

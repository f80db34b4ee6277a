//! How many receipts one core checks in a second, against recovering the signers alone.
//!
//! Checked means: the peer's message is decoded, the receipt's digest made, its signer recovered and compared with the terms'
//! receipt key. The disk is not in it: a receipt is written down once per lease and interval. The two take turns, on one
//! thread, over the same signatures. `bench/run` calls this.
//!
//! ```text
//! receipts [--rounds 20] [--json FILE]
//! ```

#![expect(clippy::panic, reason = "a measurement that fails must end at once")]

use alloy_primitives::Signature;
use gpux_lease::{EscrowRef, Receipt, Terms};
use gpux_proto::{Response, decode, encode};
use gpux_types::{Address, Amount, B256, BasisPoints};
use k256::ecdsa::SigningKey;
use secp256k1::{Message, SECP256K1, ecdsa::RecoverableSignature};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Receipts in one round.
const RECEIPTS: u32 = 1_000;

struct World {
    terms: Terms,
    escrow: EscrowRef,
    /// What peers sent.
    messages: Vec<Vec<u8>>,
    /// The same signatures, as the library takes them.
    raw: Vec<(Message, RecoverableSignature)>,
}

impl World {
    fn new() -> Self {
        let key = SigningKey::from_slice(&[7; 32]).expect("a key");
        let escrow = EscrowRef {
            chain_id: 10,
            address: Address::repeat_byte(1),
        };
        let terms = Terms {
            renter: Address::repeat_byte(2),
            provider: Address::repeat_byte(3),
            receipt_key: Address::from_public_key(key.verifying_key()),
            provider_signer: Address::repeat_byte(4),
            token: Address::repeat_byte(5),
            builder: Address::ZERO,
            builder_share: BasisPoints::ZERO,
            grace_secs: 86_400,
            salt: B256::repeat_byte(6),
        };
        let lease = terms.lease_id(&escrow);
        let receipts = (0..RECEIPTS).map(|number| {
            let cumulative = Amount::new(u128::from(number) + 1).expect("small");
            let digest = gpux_lease::receipt_digest(&escrow, lease, cumulative);
            let (signature, id) = key.sign_prehash_recoverable(digest.as_slice()).expect("signed");
            let signature = Signature::from((signature, id));
            (digest, signature, encode(&Response::Receipt { cumulative, signature }))
        });
        let (mut messages, mut raw) = (Vec::new(), Vec::new());
        for (digest, signature, message) in receipts {
            messages.push(message);
            let taken = signature.to_secp256k1().expect("a signature");
            raw.push((Message::from_digest(digest.0), taken));
        }
        Self {
            terms,
            escrow,
            messages,
            raw,
        }
    }

    fn check(&self) {
        let lease = self.terms.lease_id(&self.escrow);
        for message in &self.messages {
            let Response::Receipt { cumulative, signature } = decode(message).expect("a message") else {
                panic!("another message")
            };
            let receipt = Receipt {
                lease,
                cumulative,
                signature,
            };
            black_box(receipt.verify(&self.terms, &self.escrow).expect("a good receipt"));
        }
    }

    fn recover(&self) {
        for (digest, signature) in &self.raw {
            black_box(SECP256K1.recover_ecdsa(*digest, signature).expect("a key"));
        }
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Checking a receipt may cost no more than its one recovery and two thirds of another.
const GOAL: f64 = 0.6;

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut rounds, mut json) = (20_usize, None);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        match arg.as_str() {
            "--rounds" => rounds = value().parse().expect("a number of rounds"),
            "--json" => json = Some(value()),
            "--bench" => {}
            _ => panic!("unknown option {arg}"),
        }
    }
    let world = World::new();
    // One round of each warms up.
    let mut times: Vec<(Duration, Duration)> = (0..=rounds)
        .map(|_| (time(|| world.check()), time(|| world.recover())))
        .skip(1)
        .collect();
    let per_second = |time: Duration| f64::from(RECEIPTS) / time.as_secs_f64();
    let middle = times.len() / 2;
    times.sort_by_key(|(checked, _)| *checked);
    let checked = times.get(middle).map_or(0.0, |(checked, _)| per_second(*checked));
    times.sort_by_key(|(_, raw)| *raw);
    let raw = times.get(middle).map_or(0.0, |(_, raw)| per_second(*raw));
    let ratio = checked / raw;
    println!(
        "receipts checked per second and core: {checked:.0}, signers recovered alone: {raw:.0}, ratio {ratio:.2} (goal >= {GOAL})"
    );
    assert!(ratio >= GOAL, "the goal is missed");
    if let Some(path) = json {
        let text =
            format!("{{\"checked_per_second\":{checked:.0},\"recovered_per_second\":{raw:.0},\"ratio\":{ratio:.3}}}\n");
        std::fs::write(path, text).expect("the JSON file is writable");
    }
}

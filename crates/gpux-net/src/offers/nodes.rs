//! Nodes that say things, for tests.

use crate::{
    offers::{
        announcement::{Announcer, Details, DetailsHash, Order, Signatures},
        book::BookConfig,
        engine::EngineConfig,
        own::OwnOffer,
    },
    ticket::PeerTicket,
};
use alloy_primitives::{Address, Signature};
use gpux_market::Offer;
use gpux_proto::SignedOffer;
use gpux_types::{ByteSize, Cpu, Millis, NodeId, Resources};
use iroh::SecretKey;
use k256::ecdsa::SigningKey;
use std::{sync::Arc, time::Duration};

pub(crate) const TOPIC: [u8; 32] = [7; 32];
pub(crate) const TTL: Duration = Duration::from_secs(30);

/// A node with a wallet, made from a number.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) secret: SecretKey,
    wallet: SigningKey,
}

impl Node {
    pub(crate) fn new(seed: u32) -> Self {
        let key = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        Self {
            secret: SecretKey::from_bytes(&key),
            wallet: SigningKey::from_slice(&key).unwrap(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId(*self.secret.public().as_bytes())
    }

    pub(crate) fn ticket(&self) -> PeerTicket {
        PeerTicket {
            node: self.id(),
            addresses: vec![([127, 0, 0, 1], 9).into()],
            relay: None,
        }
    }

    pub(crate) fn offer(&self, sequence: u64) -> Offer {
        let some = Resources {
            cpu: Cpu::cores(1),
            memory: ByteSize(1 << 30),
            disk: ByteSize(1 << 30),
        };
        Offer {
            node: self.id(),
            wallet: Address::from_private_key(&self.wallet),
            provider: Address::repeat_byte(1),
            signer: Address::repeat_byte(2),
            sequence,
            ttl: TTL.into(),
            chain_id: 31_337,
            escrow: Address::repeat_byte(3),
            token: Address::repeat_byte(4),
            rates: gpux_market::Rates::default(),
            total: some,
            free: some,
            largest: some,
            cpu_model: "test".into(),
            cpu_score: 1_000,
            features: std::collections::BTreeSet::new(),
            region: None,
            lease_min: Millis::ZERO,
            lease_max: Millis::from_secs(3_600),
            grace_min_secs: 30,
            addresses: Vec::new(),
            relay: None,
        }
    }

    pub(crate) fn sign(&self, offer: &Offer) -> SignedOffer {
        let digest = SignedOffer::digest(offer);
        let signature: Signature = self.wallet.sign_prehash_recoverable(digest.as_slice()).unwrap().into();
        SignedOffer::new(offer, signature)
    }

    /// A digest, and the details that it names.
    pub(crate) fn announce(&self, beat: u64, offer: Option<SignedOffer>, sequence: u64) -> (Vec<u8>, Vec<u8>) {
        let announcer = Announcer::new(self.secret.clone(), TOPIC);
        let details = offer.map(|offer| Details::tell(&self.ticket(), offer));
        let hash = details.as_deref().map(DetailsHash::of);
        let digest = announcer.announce(Order { sequence, beat }, hash);
        (digest, details.unwrap_or_default())
    }

    pub(crate) fn says(&self, sequence: u64, beat: u64) -> (Vec<u8>, Vec<u8>) {
        self.announce(beat, Some(self.sign(&self.offer(sequence))), sequence)
    }

    /// What this node sells, ready to be announced.
    pub(crate) fn own(&self, sequence: u64, ttl: Duration) -> OwnOffer {
        let mut offer = self.offer(sequence);
        offer.ttl = ttl.into();
        OwnOffer {
            signed: self.sign(&offer),
            sequence,
            ttl,
        }
    }

    pub(crate) fn book(&self, offers: usize) -> BookConfig {
        BookConfig {
            me: self.id(),
            topic: TOPIC,
            offers,
            offers_per_minute: 60,
            draws: self.secret.to_bytes(),
            judge: Arc::new(Signatures),
        }
    }

    pub(crate) fn engine(&self, offers: usize) -> EngineConfig {
        EngineConfig {
            book: self.book(offers),
            announcer: Announcer::new(self.secret.clone(), TOPIC),
            gossip_per_second: 500,
        }
    }
}

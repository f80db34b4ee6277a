//! An announcement: an offer, or its withdrawal, as one node gossips it.
//!
//! The wallet signs what is sold, rarely. The endpoint's own key signs every announcement of it together with a beat
//! that only grows and the addresses of the moment, so that nobody can announce in another node's name, keep a dead
//! offer alive by repeating it, or take an announcement into another market.

use crate::ticket::{MAX_ADDRESSES, PeerTicket, endpoint_id, is_relay};
use gpux_market::{Offer, OfferError};
use gpux_proto::{DecodeError, SignedOffer, VerifyOfferError, decode, encode};
use gpux_types::NodeId;
use iroh::{SecretKey, Signature};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The longest announcement, in bytes: the largest offer (2,048), its signatures, a relay and 16 addresses. Also keeps a
/// gossip message within the 4,096 bytes that the gossip library frames.
pub(crate) const MAX_ANNOUNCEMENT_BYTES: usize = 3_072;

/// Keeps these signatures apart from everything else that an endpoint key may sign.
const DOMAIN: &[u8] = b"GPUX announcement v1\0";

/// What a node says, exactly as signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Statement {
    node: NodeId,
    order: Order,
    addresses: Vec<SocketAddr>,
    relay: Option<String>,
    /// `None` withdraws the offer of this sequence.
    offer: Option<SignedOffer>,
}

/// Which of two announcements of one node is newer: first by the offer, then by the beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) sequence: u64,
    pub(crate) beat: u64,
}

/// The statement's bytes and the node's signature over them, in two halves because arrays of 64 have no serde form.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Envelope {
    statement: Vec<u8>,
    signature: ([u8; 32], [u8; 32]),
}

/// Bytes that claim to be an announcement, decoded; nothing in it is proven.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    statement: Statement,
    envelope: Envelope,
}

/// An announcement whose node has signed it. The wallet's signature is still to be checked.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    pub(crate) ticket: PeerTicket,
    pub(crate) offer: Option<SignedOffer>,
}

/// An announcement that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnouncementError {
    #[error("checking an announcement of {got} bytes: the limit is {MAX_ANNOUNCEMENT_BYTES}")]
    Oversized { got: usize },
    #[error("decoding an announcement")]
    Decode(#[from] DecodeError),
    #[error("checking an announcement with {got} addresses: the limit is {MAX_ADDRESSES}")]
    Addresses { got: usize },
    #[error("checking an announcement's relay")]
    Relay,
    #[error("checking the signature of node {0}")]
    Signature(NodeId),
    #[error("checking the offer of node {node}")]
    Offer { node: NodeId, source: VerifyOfferError },
    #[error("checking what node {node} offers")]
    Unfit { node: NodeId, source: OfferError },
    #[error("checking the offer of node {announced}: it names node {offered} and sequence {sequence}")]
    Contradiction {
        announced: NodeId,
        offered: NodeId,
        sequence: u64,
    },
}

impl Claimed {
    /// Decodes `bytes` within bounds.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, AnnouncementError> {
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            return Err(AnnouncementError::Oversized { got: bytes.len() });
        }
        let envelope: Envelope = decode(bytes)?;
        let statement: Statement = decode(&envelope.statement)?;
        if statement.addresses.len() > MAX_ADDRESSES {
            return Err(AnnouncementError::Addresses {
                got: statement.addresses.len(),
            });
        }
        if statement.relay.as_deref().is_some_and(|relay| !is_relay(relay)) {
            return Err(AnnouncementError::Relay);
        }
        Ok(Self { statement, envelope })
    }

    /// The node that is claimed to speak.
    pub(crate) const fn node(&self) -> NodeId {
        self.statement.node
    }

    /// The claimed place in the order of that node's announcements.
    pub(crate) const fn order(&self) -> Order {
        self.statement.order
    }

    /// Checks that the named node signed this for this market.
    pub(crate) fn verify(self, topic: &[u8; 32]) -> Result<Announced, AnnouncementError> {
        let node = self.statement.node;
        let (left, right) = self.envelope.signature;
        let mut signature = [0; 64];
        let (first, second) = signature.split_at_mut(32);
        first.copy_from_slice(&left);
        second.copy_from_slice(&right);
        let key = endpoint_id(node).ok_or(AnnouncementError::Signature(node))?;
        key.verify(
            &signed_bytes(topic, &self.envelope.statement),
            &Signature::from_bytes(&signature),
        )
        .map_err(|_| AnnouncementError::Signature(node))?;
        let ticket = PeerTicket {
            node,
            addresses: self.statement.addresses,
            relay: self.statement.relay,
        };
        Ok(Announced {
            ticket,
            offer: self.statement.offer,
        })
    }
}

/// The offer inside, when its wallet signed it and it is the one that the announcement speaks of.
pub(crate) fn verify_offer(signed: &SignedOffer, node: NodeId, order: Order) -> Result<Offer, AnnouncementError> {
    let offer = signed
        .verify()
        .map_err(|source| AnnouncementError::Offer { node, source })?;
    if offer.node != node || offer.sequence != order.sequence {
        return Err(AnnouncementError::Contradiction {
            announced: node,
            offered: offer.node,
            sequence: offer.sequence,
        });
    }
    offer
        .check()
        .map_err(|source| AnnouncementError::Unfit { node, source })?;
    Ok(offer)
}

/// Makes this node's announcements.
#[derive(Debug)]
pub(crate) struct Announcer {
    secret: SecretKey,
    topic: [u8; 32],
}

impl Announcer {
    pub(crate) const fn new(secret: SecretKey, topic: [u8; 32]) -> Self {
        Self { secret, topic }
    }

    /// The bytes that announce `offer`, or its withdrawal, with the addresses of `ticket`.
    pub(crate) fn announce(&self, ticket: &PeerTicket, order: Order, offer: Option<SignedOffer>) -> Vec<u8> {
        let statement = encode(&Statement {
            node: NodeId(*self.secret.public().as_bytes()),
            order,
            addresses: ticket.addresses.iter().take(MAX_ADDRESSES).copied().collect(),
            relay: ticket.relay.clone(),
            offer,
        });
        let signature = self.secret.sign(&signed_bytes(&self.topic, &statement)).to_bytes();
        let (left, right) = signature.split_at(32);
        let half = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).unwrap_or_default();
        encode(&Envelope {
            statement,
            signature: (half(left), half(right)),
        })
    }
}

fn signed_bytes(topic: &[u8; 32], statement: &[u8]) -> Vec<u8> {
    [DOMAIN, topic, statement].concat()
}

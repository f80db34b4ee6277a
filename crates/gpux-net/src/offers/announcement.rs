//! What one node says of what it sells, in two pieces: a digest that is flooded, and the details that are asked for.
//!
//! The wallet signs what is sold, rarely. The node's own key signs every digest, with a beat that only grows and the hash
//! of the details, so that nobody can announce in another node's name, keep a dead offer alive by repeating it, or take
//! an announcement into another market. The details (the wallet's offer, and where the node is) need no signature of the
//! node: a digest names their hash. They travel only when they changed.

use crate::ticket::{MAX_ADDRESSES, PeerTicket, endpoint_id, is_relay};
use gpux_market::{Offer, OfferError};
use gpux_proto::{DecodeError, SignedOffer, VerifyOfferError, decode, encode};
use gpux_types::NodeId;
use iroh::{SecretKey, Signature};
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, sync::Arc};

/// The longest digest, in bytes: an honest one has at most 142.
pub(crate) const MAX_DIGEST_BYTES: usize = 150;
/// The longest details, in bytes: the largest offer (2,048), its signature, a relay and 16 addresses.
pub(crate) const MAX_DETAILS_BYTES: usize = 3_072;
/// The length of a signature, at the end of a digest.
const SIGNATURE_BYTES: usize = 64;
/// Keeps these signatures apart from everything else that an endpoint key may sign.
const DOMAIN: &[u8] = b"GPUX announcement v2\0";

/// The name of details: half of their BLAKE3. Nobody finds other bytes with the name of an honest node's; a node that
/// makes two details of one name for itself gains no more than by telling two neighbours different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct DetailsHash([u8; 16]);

impl DetailsHash {
    pub(crate) fn of(details: &[u8]) -> Self {
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(blake3::hash(details).as_bytes()) {
            *to = *from;
        }
        Self(half)
    }
}

/// What a digest says, exactly as signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Statement {
    node: NodeId,
    order: Order,
    /// `None` withdraws the offer of this sequence.
    details: Option<DetailsHash>,
}

/// Which of two announcements of one node is newer: first by the offer, then by the beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) sequence: u64,
    pub(crate) beat: u64,
}

/// An announcement that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnouncementError {
    #[error("checking an announcement of {got} bytes: the limit is {limit}")]
    Oversized { got: usize, limit: usize },
    #[error("decoding an announcement")]
    Decode(#[from] DecodeError),
    #[error("decoding an announcement of {0} bytes")]
    Cut(usize),
    #[error("checking an announcement with {got} addresses: the limit is {MAX_ADDRESSES}")]
    Addresses { got: usize },
    #[error("checking an announcement's relay")]
    Relay,
    #[error("checking the signature of node {0}")]
    Signature(NodeId),
    #[error("checking an offer that is told")]
    Offer(#[source] VerifyOfferError),
    #[error("checking what node {node} offers")]
    Unfit { node: NodeId, source: OfferError },
    #[error("checking the offer of node {announced}: it names node {offered} and sequence {sequence}")]
    Contradiction {
        announced: NodeId,
        offered: NodeId,
        sequence: u64,
    },
    #[error("checking what is told of node {0}: it is not what was announced")]
    OtherDetails(NodeId),
}

/// Bytes that claim to be a digest, decoded; nothing in it is proven.
#[derive(Debug)]
pub(crate) struct Claimed<'a> {
    statement: Statement,
    signed: &'a [u8],
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Claimed<'a> {
    /// Decodes `bytes` within bounds.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, AnnouncementError> {
        let (got, limit) = (bytes.len(), MAX_DIGEST_BYTES);
        if got > limit {
            return Err(AnnouncementError::Oversized { got, limit });
        }
        let (signed, signature) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(AnnouncementError::Cut(got))?;
        Ok(Self {
            statement: decode(signed)?,
            signed,
            signature: *signature,
        })
    }

    /// The node that is claimed to speak.
    pub(crate) const fn node(&self) -> NodeId {
        self.statement.node
    }

    /// The claimed place in the order of that node's announcements.
    pub(crate) const fn order(&self) -> Order {
        self.statement.order
    }

    /// The details that it names once `judge` has found that the named node signed this for this market; `None` when it
    /// withdraws.
    pub(crate) fn verify(self, judge: &dyn Judge, topic: &[u8; 32]) -> Result<Option<DetailsHash>, AnnouncementError> {
        let node = self.statement.node;
        if judge.signed_by(node, &signed_bytes(topic, self.signed), &self.signature) {
            Ok(self.statement.details)
        } else {
            Err(AnnouncementError::Signature(node))
        }
    }
}

/// Details as they travel.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ToldDetails {
    offer: SignedOffer,
    addresses: Vec<SocketAddr>,
    relay: Option<String>,
}

/// Details whose offer its wallet signed, and that keep every bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ticket: PeerTicket,
    pub(crate) signed: SignedOffer,
    pub(crate) offer: Offer,
}

impl Details {
    /// The bytes of details.
    pub(crate) fn tell(ticket: &PeerTicket, offer: SignedOffer) -> Vec<u8> {
        encode(&ToldDetails {
            offer,
            addresses: ticket.addresses.iter().take(MAX_ADDRESSES).copied().collect(),
            relay: ticket.relay.clone(),
        })
    }

    /// Decodes and checks within bounds.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, AnnouncementError> {
        let (got, limit) = (bytes.len(), MAX_DETAILS_BYTES);
        if got > limit {
            return Err(AnnouncementError::Oversized { got, limit });
        }
        let told: ToldDetails = decode(bytes)?;
        if told.addresses.len() > MAX_ADDRESSES {
            return Err(AnnouncementError::Addresses {
                got: told.addresses.len(),
            });
        }
        if told.relay.as_deref().is_some_and(|relay| !is_relay(relay)) {
            return Err(AnnouncementError::Relay);
        }
        let offer = told.offer.verify().map_err(AnnouncementError::Offer)?;
        let node = offer.node;
        offer
            .check()
            .map_err(|source| AnnouncementError::Unfit { node, source })?;
        Ok(Self {
            bytes: bytes.to_vec(),
            ticket: PeerTicket {
                node,
                addresses: told.addresses,
                relay: told.relay,
            },
            signed: told.offer,
            offer,
        })
    }
}

/// Checks signatures. A seam, because checking is nearly all that hearing costs: in a simulation a thousand nodes in one
/// process are told the same bytes, and checking each once is enough.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// Whether `node` signed `bytes`.
    fn signed_by(&self, node: NodeId, bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool;
    /// What [`Details::read`] says of `bytes`.
    fn details(&self, bytes: &[u8]) -> Result<Arc<Details>, AnnouncementError>;
}

/// Checks everything, each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signatures;

impl Judge for Signatures {
    fn signed_by(&self, node: NodeId, bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        endpoint_id(node).is_some_and(|key| key.verify(bytes, &Signature::from_bytes(signature)).is_ok())
    }

    fn details(&self, bytes: &[u8]) -> Result<Arc<Details>, AnnouncementError> {
        Details::read(bytes).map(Arc::new)
    }
}

/// Makes this node's digests.
#[derive(Debug)]
pub(crate) struct Announcer {
    secret: SecretKey,
    topic: [u8; 32],
}

impl Announcer {
    pub(crate) const fn new(secret: SecretKey, topic: [u8; 32]) -> Self {
        Self { secret, topic }
    }

    pub(crate) fn node(&self) -> NodeId {
        NodeId(*self.secret.public().as_bytes())
    }

    /// The digest that announces `details`, or withdraws.
    pub(crate) fn announce(&self, order: Order, details: Option<DetailsHash>) -> Vec<u8> {
        let node = self.node();
        let mut bytes = encode(&Statement { node, order, details });
        let signature = self.secret.sign(&signed_bytes(&self.topic, &bytes)).to_bytes();
        bytes.extend_from_slice(&signature);
        bytes
    }
}

fn signed_bytes(topic: &[u8; 32], statement: &[u8]) -> Vec<u8> {
    [DOMAIN, topic, statement].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digest_is_longer_than_its_bound() {
        let announcer = Announcer::new(SecretKey::from_bytes(&[1; 32]), [2; 32]);
        let order = |n| Order { sequence: n, beat: n };
        let longest = announcer.announce(order(u64::MAX), Some(DetailsHash::of(b"")));
        assert!(longest.len() <= MAX_DIGEST_BYTES, "{}", longest.len());
        let today = announcer.announce(order(1_800_000_000_000), Some(DetailsHash::of(b"")));
        assert_eq!(today.len(), 126);
    }
}

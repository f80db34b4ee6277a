//! This node's own offer, checked before it is announced.

use gpux_market::Offer;
use gpux_proto::{SignedOffer, VerifyOfferError};
use gpux_types::NodeId;
use std::time::Duration;

/// An offer of this node that cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishOfferError {
    /// Others would refuse it.
    #[error("publishing an offer")]
    Verify(#[from] VerifyOfferError),
    /// Others would refuse it.
    #[error("publishing an offer")]
    Unfit(#[from] gpux_market::OfferError),
    /// It is somebody else's.
    #[error("publishing an offer of node {got}: this node is {me}")]
    OtherNode {
        /// The node in the offer.
        got: NodeId,
        /// This node.
        me: NodeId,
    },
}

/// This node's offer, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnOffer {
    pub(crate) signed: SignedOffer,
    pub(crate) sequence: u64,
    pub(crate) ttl: Duration,
}

impl OwnOffer {
    /// Checks what everybody else will check.
    pub(crate) fn check(signed: SignedOffer, me: NodeId) -> Result<Self, PublishOfferError> {
        let offer: Offer = signed.verify()?;
        offer.check()?;
        if offer.node != me {
            return Err(PublishOfferError::OtherNode { got: offer.node, me });
        }
        Ok(Self {
            sequence: offer.sequence,
            ttl: offer.ttl.into(),
            signed,
        })
    }
}

//! What the daemon hears of offers.

use gpux_market::Offer;
use gpux_proto::SignedOffer;
use gpux_types::{Millis, NodeId};
use tokio::sync::broadcast;

/// How many events a slow reader may be behind before it misses some (and is told so). A reader that missed events
/// reads the whole book again, so nothing is lost but time.
pub(crate) const FEED_EVENTS: usize = 1_024;

/// An offer whose signatures were checked, and for how long it holds from now by this node's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardOffer {
    /// What is sold.
    pub offer: Offer,
    /// The same, as the wallet signed it.
    pub signed: SignedOffer,
    /// For how long it holds unless it is announced again.
    pub valid_for: Millis,
}

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferEvent {
    /// New or changed.
    Heard(Box<HeardOffer>),
    /// Announced again unchanged: the known offer of this node now holds for so long.
    Renewed(NodeId, Millis),
    /// Withdrawn by its node.
    Withdrawn(NodeId),
    /// Not announced again in time.
    Expired(NodeId),
    /// This reader was too slow and missed so many events: read [`Net::live_offers`](crate::Net::live_offers).
    Missed(u64),
}

/// A stream of [`OfferEvent`]s from the moment of its making on.
#[derive(Debug)]
pub struct OfferFeed {
    events: broadcast::Receiver<OfferEvent>,
}

impl OfferFeed {
    /// What is sent into `events`.
    #[must_use]
    pub const fn new(events: broadcast::Receiver<OfferEvent>) -> Self {
        Self { events }
    }

    /// The next event, or `None` when the endpoint is shut down. Cancel-safe.
    pub async fn next(&mut self) -> Option<OfferEvent> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(OfferEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

//! Offers as they travel: digests by gossip, details on demand, the engine that decides, and the task around it.
//!
//! ```text
//!  publish_offer ──watch──► task ──broadcast──► gossip ──► other nodes
//!                           │  ▲ ◄──events───── gossip
//!                           │  │ ◄──answers──── neighbours (their digests; the details that are wanted)
//!                           │  │ ◄──questions── neighbours (by the calls server)
//!                           ▼  │
//!                          engine (book, wants) ──► feed (bounded broadcast to the daemon), addresses (to `peers`)
//! ```

mod announcement;
mod book;
mod draw;
mod engine;
mod feed;
#[cfg(test)]
mod nodes;
mod own;
mod page;
#[cfg(test)]
mod sim;
mod syncs;
mod task;
mod wants;
mod watchdog;

pub(crate) use announcement::{Announcer, Signatures};
pub(crate) use book::BookConfig;
pub(crate) use engine::{Engine, EngineConfig};
pub(crate) use feed::FEED_EVENTS;
pub(crate) use own::OwnOffer;
pub(crate) use page::{Asked, DetailsAnswer, DetailsRequest, MAX_ASKED, PageRequest, answer_page};
pub(crate) use task::OffersTask;
pub(crate) use watchdog::{GossipConnections, Watchdog};

pub use feed::{HeardOffer, OfferEvent, OfferFeed};
pub use own::PublishOfferError;

/// How the gossip library spreads digests. It asks a second neighbour for what it has only heard of after 80 ms, which is
/// less than many links take: each such question brings the same bytes twice and unsettles the tree. Half a second costs
/// nothing but the time to repair a broken branch. Names of what is known travel together, up to 50 ms late.
pub(crate) fn spreading() -> iroh_gossip::proto::PlumtreeConfig {
    use std::time::Duration;
    iroh_gossip::proto::PlumtreeConfig {
        graft_timeout_1: Duration::from_millis(500),
        graft_timeout_2: Duration::from_millis(250),
        dispatch_timeout: Duration::from_millis(50),
        ..Default::default()
    }
}

//! Offers as they travel: announcements by gossip, the book of what was heard, and the task between them.
//!
//! ```text
//!  publish_offer ──watch──► task ──broadcast──► gossip ──► other nodes
//!                            │ ◄──events─────── gossip
//!                            │ ◄──mpsc───────── pulls (asks a new neighbour for what it knows)
//!                            ▼
//!                          book ──► feed (bounded broadcast to the daemon), addresses (to `peers`)
//! ```

mod announcement;
mod book;
mod feed;
mod own;
mod page;
mod task;
mod watchdog;

pub(crate) use announcement::Announcer;
pub(crate) use book::{BookConfig, OfferBook};
pub(crate) use feed::FEED_EVENTS;
pub(crate) use own::OwnOffer;
pub(crate) use page::{PageRequest, answer_page};
pub(crate) use task::OffersTask;
pub(crate) use watchdog::{GossipConnections, Watchdog};

pub use feed::{HeardOffer, OfferEvent, OfferFeed};
pub use own::PublishOfferError;

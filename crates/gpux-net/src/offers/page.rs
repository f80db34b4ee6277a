//! How a node that just joined learns all live offers within a round trip: it asks its new neighbours, page by page.

use crate::{calls::Caller, connections::Cause, offers::book::OfferBook};
use gpux_proto::{decode, encode};
use gpux_types::{Millis, NodeId};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The most bytes of announcements on one page: about 800 offers. Half of the largest message, so that the framing fits.
const MAX_PAGE_BYTES: usize = gpux_proto::MAX_MESSAGE_BYTES / 2;

/// The most pages that one pull reads: 16 MiB, above any book of the default size.
const MAX_PAGES: usize = 32;
/// Asks for the offers of nodes whose id is above `after`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct PageRequest {
    pub(crate) after: Option<NodeId>,
}

/// Announcements as they were heard, with the time since then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) items: Vec<(Millis, Vec<u8>)>,
    /// Where the next page begins; `None` on the last.
    pub(crate) next: Option<NodeId>,
}

/// The encoded answer to `request`.
pub(crate) fn answer_page(book: &OfferBook, now: Instant, request: PageRequest) -> Vec<u8> {
    let (items, next) = book.page(now, request.after, MAX_PAGE_BYTES);
    encode(&Page { items, next })
}

/// An announcement out of a neighbour's answer.
pub(crate) struct Pulled {
    pub(crate) bytes: Vec<u8>,
    pub(crate) age: Duration,
}

/// Reads the pages of one neighbour into `pulled`.
pub(crate) async fn pull(caller: &Caller, node: NodeId, pulled: &mpsc::Sender<Pulled>) -> Result<(), Cause> {
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let page: Page = decode(&caller.offer_page(node, PageRequest { after }).await?)?;
        for (age, bytes) in page.items {
            if pulled.send(Pulled { bytes, age: age.into() }).await.is_err() {
                return Ok(());
            }
        }
        // A neighbour that does not go forward would have us ask for ever.
        if page.next <= after {
            return Ok(());
        }
        after = page.next;
    }
    Ok(())
}

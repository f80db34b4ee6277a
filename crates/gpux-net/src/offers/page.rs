//! How a node that just joined learns all live offers within a round trip: it asks its new neighbours, page by page.

use crate::offers::book::OfferBook;
use gpux_proto::encode;
use gpux_types::{Millis, NodeId};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The most bytes of announcements on one page: about 800 offers. Half of the largest message, so that the framing fits.
const MAX_PAGE_BYTES: usize = gpux_proto::MAX_MESSAGE_BYTES / 2;

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

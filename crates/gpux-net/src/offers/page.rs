//! The two questions about offers that neighbours ask each other: which digests are live, page by page; and the details
//! that some digests name.

use crate::{
    calls::Caller,
    connections::Cause,
    offers::{announcement::DetailsHash, engine::Engine},
};
use gpux_proto::{decode, encode};
use gpux_types::{Millis, NodeId};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The most bytes of digests on one page: about 4,000. Half of the largest message, so that the framing fits.
const MAX_PAGE_BYTES: usize = gpux_proto::MAX_MESSAGE_BYTES / 2;
/// The most pages that are read at a time: above any book of the default size.
const MAX_PAGES: usize = 32;
/// The most details that are asked for at a time. As large as they may be, they stay well below the largest message.
pub(crate) const MAX_ASKED: usize = 32;

/// Asks for the digests of nodes whose id is above `after`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct PageRequest {
    pub(crate) after: Option<NodeId>,
}

/// Digests as they were heard, with the time since then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) items: Vec<(Millis, Vec<u8>)>,
    /// Where the next page begins; `None` on the last.
    pub(crate) next: Option<NodeId>,
}

/// Asks for details by node and name, at most [`MAX_ASKED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DetailsRequest {
    pub(crate) wanted: Vec<(NodeId, DetailsHash)>,
}

/// Those of the wanted details that are here, in any order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DetailsAnswer {
    pub(crate) details: Vec<Vec<u8>>,
}

/// A question for details on its way to the engine, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: DetailsRequest,
    pub(crate) answer: oneshot::Sender<Vec<Vec<u8>>>,
}

/// The encoded answer to `request`.
pub(crate) fn answer_page(engine: &Engine, now: Instant, request: PageRequest) -> Vec<u8> {
    let (items, next) = engine.page(now, request.after, MAX_PAGE_BYTES);
    encode(&Page { items, next })
}

/// A digest out of a neighbour's page.
#[derive(Debug)]
pub(crate) struct Paged {
    pub(crate) from: NodeId,
    pub(crate) digest: Vec<u8>,
    pub(crate) age: Duration,
}

/// Reads the pages of `from` into `paged`.
pub(crate) async fn read_pages(caller: &Caller, from: NodeId, paged: &mpsc::Sender<Paged>) -> Result<(), Cause> {
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let page: Page = decode(&caller.offer_page(from, PageRequest { after }).await?)?;
        for (age, digest) in page.items {
            let age = age.into();
            if paged.send(Paged { from, digest, age }).await.is_err() {
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

/// Asks `from` for details.
pub(crate) async fn read_details(
    caller: &Caller,
    from: NodeId,
    request: &DetailsRequest,
) -> Result<Vec<Vec<u8>>, Cause> {
    let answer: DetailsAnswer = decode(&caller.offer_details(from, request).await?)?;
    Ok(answer.details)
}

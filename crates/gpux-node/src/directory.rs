//! The node directory on the chain, one of the three ways to a first peer besides tickets and peers of the last run.
//!
//! Two tasks of the daemon. One reads the directory while this node has no neighbour, a bounded number of blocks at a time
//! from where it stopped last, and hints at nodes to try; what it read is kept in the database. The other announces this node,
//! where its owner wants that, and again only when its addresses have changed: each announcement is a transaction.
//!
//! Invariant: an announcement proves nothing. Its node is a peer once it has proven its key on a connection; the entry is
//! believed to be the announcer's once that node has offered something in the name of the announcer's wallet.

mod book;

use crate::{error_chain, node::Node};
use book::Book;
use gpux_chain::{Call, Intent, IntentKey};
use gpux_types::{Address, Millis, NodeId};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// How often a node looks whether it is alone, and whether its addresses have changed.
const LOOK: Duration = Duration::from_secs(5);
/// How long it waits for its tickets and the peers of the last run before it asks the chain.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How often the chain is asked while it stays alone: each time at most 80 questions.
const READ_AGAIN: Millis = Millis::from_secs(30);
/// How often entries are compared with what nodes say of themselves.
const BIND_AGAIN: Millis = Millis::from_secs(60);
/// The least time between two announcements: addresses that flap must not burn the wallet's coin.
const ANNOUNCE_AGAIN: Millis = Millis::from_secs(600);
/// The names of what is kept in the database.
const BOOK: &str = "directory";
const ANNOUNCED: &str = "announced";

/// Reads the directory whenever this node is alone, until it stops.
pub(crate) async fn read_while_alone(node: Arc<Node>) {
    let config = &node.config.chain;
    let (chain_id, directory) = (config.chain_id, config.node_directory);
    let kept = node.store.fact::<Book>(BOOK).unwrap_or_else(|error| {
        tracing::warn!(error = %error_chain(&error), "what was read of the directory is read again");
        None
    });
    let mut book = kept
        .filter(|book| book.is_of(chain_id, directory))
        .unwrap_or_else(|| Book::new(chain_id, directory));
    let (mut read_at, mut bound_at, mut wait) = (None, Millis::ZERO, FIRST_LOOK);
    loop {
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = LOOK;
        let now = node.clock.now();
        if !node.net.neighbours().is_empty() {
            if now.saturating_sub(bound_at) >= BIND_AGAIN {
                bound_at = now;
                bind(&node, &mut book, now);
            }
            continue;
        }
        if read_at.is_none_or(|at: Millis| now.saturating_sub(at) >= READ_AGAIN) {
            read_at = Some(now);
            tokio::select! {
                biased;
                () = node.cancel.cancelled() => return,
                // What an abandoned reading found is read again.
                () = read(&node, &mut book) => {}
            }
        }
        let tried = book.choose(node.net.node_id(), |below| rand::random_range(0..below.max(1)));
        if !tried.is_empty() {
            tracing::info!(nodes = tried.len(), "alone: trying nodes of the directory");
        }
        node.net.hint(tried);
    }
}

/// Reads on: new blocks, then older ones, since on a chain that goes on there are always new ones.
async fn read(node: &Node, book: &mut Book) {
    let found = async {
        let head = node.chain.head().await?.number;
        book.forget_above(head);
        for _ in 0..2 {
            let Some((from, to)) = book.next_reading(head, node.config.chain.node_directory_from) else {
                break;
            };
            let found = node.chain.announcements(from, to).await?;
            let heard = found.heard.len();
            tracing::debug!(from = found.from, to, heard, "the directory was read");
            book.take(&found, to);
            keep(node, book);
        }
        Ok::<_, gpux_chain::RpcError>(())
    };
    if let Err(error) = found.await {
        tracing::warn!(error = %error_chain(&error), "reading the directory");
    }
}

fn bind(node: &Node, book: &mut Book, now: Millis) {
    let wallets: HashMap<NodeId, Address> = node.market.with_book(now, |offers| {
        offers.iter().map(|offer| (offer.node, offer.wallet)).collect()
    });
    if book.bind(|node| wallets.get(node).copied()) {
        keep(node, book);
    }
}

fn keep(node: &Node, book: &Book) {
    if let Err(error) = node.store.put_fact(BOOK, book) {
        tracing::warn!(error = %error_chain(&error), "keeping what was read of the directory");
    }
}

/// The newest announcement of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Announced {
    /// Counts them: the key that sends each once.
    number: u32,
    node: NodeId,
    addr: Vec<u8>,
    /// Whether the transaction is signed and journaled; the sender sees it through from then on.
    sent: bool,
}

impl Announced {
    /// What to announce when `addr` is to be known of `node`, or nothing when it is. One that was not sent is finished first.
    fn next(last: Option<&Self>, node: NodeId, addr: Vec<u8>) -> Option<Self> {
        match last {
            Some(last) if !last.sent => Some(last.clone()),
            Some(last) if (last.node, &last.addr) == (node, &addr) => None,
            // An announcement of another key, of an earlier life of this folder, is this wallet's and so replaced.
            Some(last) => Some(Self {
                number: last.number.saturating_add(1),
                node,
                addr,
                sent: false,
            }),
            None if addr.is_empty() => None,
            None => Some(Self {
                number: 0,
                node,
                addr,
                sent: false,
            }),
        }
    }
}

/// Announces this node, or says that it has gone when it was announced and is not to be any more.
pub(crate) async fn keep_announced(node: Arc<Node>) {
    let (mut seen, mut tried_at) = (None, None);
    loop {
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let wanted = if node.config.network.announce {
            node.net.ticket().to_announce().to_bytes()
        } else {
            Vec::new()
        };
        // Addresses are found one after another: only those that stay are worth a transaction.
        if seen.replace(wanted.clone()).as_ref() != Some(&wanted) {
            continue;
        }
        let now = node.clock.now();
        if tried_at.is_some_and(|at: Millis| now.saturating_sub(at) < ANNOUNCE_AGAIN) {
            continue;
        }
        let last = node.store.fact::<Announced>(ANNOUNCED);
        let next = last.map(|last| Announced::next(last.as_ref(), node.net.node_id(), wanted));
        match next {
            Ok(None) => {}
            Ok(Some(next)) => {
                tried_at = Some(now);
                if let Err(error) = announce(&node, next).await {
                    tracing::warn!(error = %error_chain(&*error), "announcing this node in the directory");
                }
            }
            Err(error) => tracing::warn!(error = %error_chain(&error), "reading what was announced"),
        }
    }
}

/// Journals, sends, and notes that it is sent.
async fn announce(node: &Node, mut next: Announced) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    node.store.put_fact(ANNOUNCED, &next)?;
    let intent = Intent {
        key: IntentKey::new(format!("announce:{}", next.number))?,
        call: Call::Announce {
            endpoint: next.node,
            addr: next.addr.clone(),
        },
    };
    let sent = node.sender.send(intent).await?;
    next.sent = true;
    node.store.put_fact(ANNOUNCED, &next)?;
    tracing::info!(transaction = %sent.hash, here = !next.addr.is_empty(), "announced in the directory");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_announced_again_only_when_its_key_or_addresses_change() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        assert_eq!(Announced::next(None, a, Vec::new()), None, "nothing to take back");
        let mut first = Announced::next(None, a, vec![1]).unwrap();
        assert_eq!(
            Announced::next(Some(&first), a, vec![2]).as_ref(),
            Some(&first),
            "what was begun before a crash is finished under its own number"
        );
        first.sent = true;
        assert_eq!(Announced::next(Some(&first), a, vec![1]), None);
        let numbers = [(a, vec![2]), (b, vec![1]), (a, Vec::new())]
            .map(|(node, addr)| Announced::next(Some(&first), node, addr).map(|next| next.number));
        assert_eq!(numbers, [Some(1); 3]);
    }
}

//! The sender's I/O: handing over signed bytes, and asking what has become of them.

use crate::{
    call::IntentKey,
    client::{Chain, Head},
    confirm::Depth,
    journal::{Journal, JournalEntry},
    mined::RawReceipt,
    rpc::RpcError,
};
use alloy::primitives::Bytes;
use futures_util::future::try_join_all;
use gpux_types::{Address, B256};
use serde_json::json;
use std::{io, sync::Arc};

/// Signed bytes that did not get to the chain node's pool.
#[derive(Debug)]
pub(super) enum PublishError {
    /// They were not journaled, and so not sent.
    Journal(io::Error),
    /// The chain node did not take them, or perhaps never got them.
    Rpc(RpcError),
}

/// Writes to the journal from a thread that may wait for the disk. On a runtime of one thread there is none to spare, and
/// what runs there runs the same way each time.
pub(super) async fn record(journal: Arc<dyn Journal>, entry: JournalEntry) -> io::Result<()> {
    if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread {
        return journal.record(&entry);
    }
    tokio::task::spawn_blocking(move || journal.record(&entry))
        .await
        .map_err(io::Error::other)?
}

/// Journals what is new, then hands the bytes to the chain node.
pub(super) async fn publish(
    chain: &Chain,
    journal: Arc<dyn Journal>,
    raw: Bytes,
    entry: Option<Box<JournalEntry>>,
) -> Result<(), PublishError> {
    if let Some(entry) = entry {
        record(journal, *entry).await.map_err(PublishError::Journal)?;
    }
    let _: B256 = chain
        .rpc()
        .call("eth_sendRawTransaction", json!([raw]))
        .await
        .map_err(PublishError::Rpc)?;
    Ok(())
}

/// Which transactions to ask for.
#[derive(Debug)]
pub(super) struct PollJob {
    pub(super) wallet: Address,
    /// Every version of each intent, by its hash.
    pub(super) hashes: Vec<(IntentKey, Vec<B256>)>,
    /// Whether anything is in a block and not final.
    pub(super) depths: bool,
}

/// What has become of them.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) head: Head,
    pub(super) safe: Option<u64>,
    pub(super) finalized: Option<u64>,
    /// The wallet's transactions in blocks.
    pub(super) count: u64,
    pub(super) receipts: Vec<(IntentKey, Option<RawReceipt>)>,
}

impl PollJob {
    pub(super) async fn run(self, chain: &Chain) -> Result<Poll, RpcError> {
        let receipts = self.hashes.into_iter().map(|(key, hashes)| async move {
            // Newest first: it is the likeliest to be in a block.
            for hash in hashes.into_iter().rev() {
                if let Some(receipt) = chain.receipt(hash).await? {
                    return Ok((key, Some(receipt)));
                }
            }
            Ok((key, None))
        });
        let deep = async |depth| {
            if self.depths {
                number_of(chain.head_at(depth).await)
            } else {
                Ok(None)
            }
        };
        let (head, safe, finalized, count, receipts) = tokio::try_join!(
            chain.head(),
            deep(Depth::Safe),
            deep(Depth::Finalized),
            chain.mined_count(self.wallet),
            try_join_all(receipts),
        )?;
        Ok(Poll {
            head,
            safe,
            finalized,
            count,
            receipts,
        })
    }
}

/// A young chain has no safe or final block, and says so by an error or by `null`.
fn number_of(head: Result<Head, RpcError>) -> Result<Option<u64>, RpcError> {
    match head {
        Ok(head) => Ok(Some(head.number)),
        Err(RpcError::Missing { .. }) => Ok(None),
        Err(error) if !error.is_outage() => Ok(None),
        Err(error) => Err(error),
    }
}

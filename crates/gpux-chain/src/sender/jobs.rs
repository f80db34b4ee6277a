//! The sender's I/O: handing over signed bytes, and asking what has become of them.

use crate::{
    call::IntentKey,
    client::{Chain, Head},
    confirm::Depth,
    journal::{Journal, JournalEntry},
    mined::{Mined, RawReceipt},
    rpc::RpcError,
};
use alloy::primitives::{Bytes, U64};
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
    /// Every version of each intent, by its hash, oldest first.
    pub(super) hashes: Vec<(IntentKey, Vec<B256>)>,
    /// Whether anything is in a block and not final.
    pub(super) depths: bool,
    /// Whether a nonce may have gone to a transaction that is not among these.
    pub(super) firm_count: bool,
}

/// What has become of them.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) head: Head,
    pub(super) safe: Option<u64>,
    pub(super) finalized: Option<u64>,
    /// The wallet's transactions in blocks.
    pub(super) count: u64,
    /// The wallet's transactions in final blocks, or in safe ones where the chain tells of no final one; `None` where it
    /// tells of neither.
    pub(super) firm_count: Option<u64>,
    /// The receipts of each intent's versions: at most one that succeeded, or all that were reverted.
    pub(super) receipts: Vec<(IntentKey, Vec<RawReceipt>)>,
}

impl PollJob {
    pub(super) async fn run(self, chain: &Chain) -> Result<Poll, RpcError> {
        let receipts = self.hashes.into_iter().map(|(key, hashes)| async move {
            let found = receipts(chain, hashes).await?;
            Ok((key, found))
        });
        let deep = async |depth| {
            if self.depths {
                number_of(chain.head_at(depth).await)
            } else {
                Ok(None)
            }
        };
        let firm_count = async {
            if self.firm_count {
                firm_count(chain, self.wallet).await
            } else {
                Ok(None)
            }
        };
        let (head, safe, finalized, count, firm_count, mut receipts) = tokio::try_join!(
            chain.head(),
            deep(Depth::Safe),
            deep(Depth::Finalized),
            chain.mined_count(self.wallet),
            firm_count,
            try_join_all(receipts),
        )?;
        for (_, receipts) in &mut receipts {
            drop_forked(chain, receipts, finalized).await?;
        }
        Ok(Poll {
            head,
            safe,
            finalized,
            count,
            firm_count,
            receipts,
        })
    }
}

/// The first receipt of a success, or all of failures. Newest first: it is the likeliest to be in a block.
async fn receipts(chain: &Chain, hashes: Vec<B256>) -> Result<Vec<RawReceipt>, RpcError> {
    let mut found = Vec::new();
    for hash in hashes.into_iter().rev() {
        match chain.receipt(hash).await? {
            Some(receipt) if receipt.succeeded() => return Ok(vec![receipt]),
            Some(receipt) => found.push(receipt),
            None => {}
        }
    }
    Ok(found)
}

/// Drops receipts of blocks as old as final ones that are not of the final chain: a chain node that lags behind may still
/// tell of a fork, and a number alone would make that final.
async fn drop_forked(chain: &Chain, receipts: &mut Vec<RawReceipt>, finalized: Option<u64>) -> Result<(), RpcError> {
    let mut kept = Vec::with_capacity(receipts.len());
    for receipt in receipts.drain(..) {
        let number = receipt.block_number();
        let as_old = finalized.is_some_and(|finalized| number <= finalized);
        if !as_old
            || chain
                .block(number)
                .await?
                .is_some_and(|block| block.hash == receipt.block_hash)
        {
            kept.push(receipt);
        }
    }
    *receipts = kept;
    Ok(())
}

/// The wallet's transactions as deep in the chain as it tells.
async fn firm_count(chain: &Chain, wallet: Address) -> Result<Option<u64>, RpcError> {
    for depth in [Depth::Finalized, Depth::Safe] {
        let question = json!([wallet, depth.tag()]);
        let count = chain.rpc().call::<U64>("eth_getTransactionCount", question).await;
        if let Some(count) = told(count)? {
            return Ok(Some(count.to()));
        }
    }
    Ok(None)
}

impl Chain {
    /// How firmly the block of a receipt stands.
    pub(super) async fn depth_of(&self, mined: &Mined) -> Result<Depth, RpcError> {
        for depth in [Depth::Finalized, Depth::Safe] {
            if number_of(self.head_at(depth).await)?.is_some_and(|number| number >= mined.block) {
                // A chain node that lags may tell of a fork's receipt, whose number alone would make it deep.
                let block = self.block(mined.block).await?;
                let on_chain = block.is_some_and(|block| block.hash == mined.block_hash);
                return Ok(if on_chain { depth } else { Depth::Latest });
            }
        }
        Ok(Depth::Latest)
    }
}

fn number_of(head: Result<Head, RpcError>) -> Result<Option<u64>, RpcError> {
    Ok(told(head)?.map(|head| head.number))
}

/// A young chain has no safe or final block, and says so by an error or by `null`.
fn told<T>(answer: Result<T, RpcError>) -> Result<Option<T>, RpcError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(RpcError::Missing { .. }) => Ok(None),
        Err(error) if !error.is_outage() => Ok(None),
        Err(error) => Err(error),
    }
}

//! Reading the node directory: who announced where to reach a node.
//!
//! An announcement proves nothing; `gpux-net` trusts a peer only after it has proven its keys.

use crate::{abi::NodeDirectory, client::Chain, events::RawLog, rpc::RpcError};
use alloy::sol_types::SolEvent;
use gpux_types::{Address, NodeId};
use serde_json::json;
use std::collections::BTreeSet;

/// The longest address that is kept, in bytes: the contract refuses longer ones.
const MAX_ADDRESS_BYTES: usize = 1_024;
/// The most announcers that are kept: enough to find a first peer, whoever floods the directory.
const MAX_ANNOUNCEMENTS: usize = 1_000;
/// The most accounts that are looked at, those that have gone included.
const MAX_ANNOUNCERS: usize = 20_000;
/// How many blocks one question spans.
const PAGE_BLOCKS: u64 = 2_000;

/// Where somebody says that a node can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The account that announced it.
    pub announcer: Address,
    /// Which node.
    pub endpoint: NodeId,
    /// How to reach it, in the encoding of the wire.
    pub addr: Vec<u8>,
    /// In which block.
    pub block: u64,
}

impl Chain {
    /// The newest announcement of each announcer since `from_block`, newest first, at most 1,000 of them. An announcer
    /// whose newest one is empty has gone and is left out. Whoever floods the directory hides older announcements, but
    /// not newer ones.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn announced(&self, from_block: u64) -> Result<Vec<Announcement>, RpcError> {
        let directory = self.config().node_directory;
        let topics = json!([NodeDirectory::Announced::SIGNATURE_HASH]);
        let (mut announcers, mut announcements) = (BTreeSet::new(), Vec::new());
        let mut end = self.head().await?.number.saturating_add(1);
        let mut span = PAGE_BLOCKS;
        while end > from_block && announcements.len() < MAX_ANNOUNCEMENTS && announcers.len() < MAX_ANNOUNCERS {
            let start = end.saturating_sub(span).max(from_block);
            let logs = match self.logs_between(directory, &topics, (start, end - 1)).await {
                Err(RpcError::TooLong { .. }) if span > 1 => {
                    span /= 2;
                    continue;
                }
                logs => logs?,
            };
            let newest_first = logs.iter().rev().filter_map(Announcement::decode);
            let unheard = newest_first.filter(|announcement| announcers.insert(announcement.announcer));
            announcements.extend(unheard.filter(|announcement| !announcement.addr.is_empty()));
            end = start;
        }
        announcements.truncate(MAX_ANNOUNCEMENTS);
        Ok(announcements)
    }
}

impl Announcement {
    fn decode(log: &RawLog) -> Option<Self> {
        let event = NodeDirectory::Announced::decode_raw_log(&log.topics, &log.data).ok()?;
        (event.addr.len() <= MAX_ADDRESS_BYTES).then(|| Self {
            announcer: event.announcer,
            endpoint: NodeId(event.endpoint.0),
            addr: event.addr.to_vec(),
            block: log.block_number.to(),
        })
    }
}

//! Reading the node directory: who announced where to reach a node.
//!
//! The daemon's directory reader calls this, a bounded number of blocks at a time. An announcement proves nothing; `gpux-net` trusts a peer only after it has proven its keys.

use crate::{abi::NodeDirectory, client::Chain, events::RawLog, rpc::RpcError};
use alloy::sol_types::SolEvent;
use gpux_types::{Address, NodeId};
use serde_json::json;
use std::collections::BTreeSet;

/// The longest address that is kept, in bytes: the contract refuses longer ones.
const MAX_ADDRESS_BYTES: usize = 1_024;
/// The most announcers that one reading tells of: enough to find a first peer, whoever floods the directory.
const MAX_ANNOUNCEMENTS: usize = 1_000;
/// How many blocks one question spans.
const PAGE_BLOCKS: u64 = 2_000;
/// The most questions of one reading: 80,000 blocks, nearly two days of an OP chain, when each spans a whole page.
const MAX_QUESTIONS: u32 = 40;

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

/// What one reading of the directory found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcements {
    /// The newest announcement of each announcer in the blocks that were read, newest first. An empty address says that
    /// the announcer has gone.
    pub heard: Vec<Announcement>,
    /// The first of the blocks that were read: what lies before it is left for another reading.
    pub from: u64,
}

impl Chain {
    /// Reads the directory from block `to` down to block `from`, or as far as one reading goes: at most 40 questions and
    /// 1,000 announcers. Whoever floods the directory hides older announcements, but not newer ones.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn announcements(&self, from: u64, to: u64) -> Result<Announcements, RpcError> {
        let directory = self.config().node_directory;
        let topics = json!([NodeDirectory::Announced::SIGNATURE_HASH]);
        let (mut announcers, mut heard) = (BTreeSet::new(), Vec::new());
        let (mut end, mut span) = (to.saturating_add(1), PAGE_BLOCKS);
        for _ in 0..MAX_QUESTIONS {
            if end <= from || heard.len() >= MAX_ANNOUNCEMENTS {
                break;
            }
            let start = end.saturating_sub(span).max(from);
            let logs = match self.logs_between(directory, &topics, (start, end - 1)).await {
                Err(RpcError::TooLong { .. }) if span > 1 => {
                    span /= 2;
                    continue;
                }
                logs => logs?,
            };
            let newest_first = logs.iter().rev().filter_map(Announcement::decode);
            heard.extend(newest_first.filter(|announcement| announcers.insert(announcement.announcer)));
            end = start;
        }
        heard.truncate(MAX_ANNOUNCEMENTS);
        Ok(Announcements { heard, from: end })
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

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
        let mut reading = Reading::new(from, to);
        while let Some(blocks) = reading.next_question() {
            reading.take(self.logs_between(directory, &topics, blocks).await)?;
        }
        Ok(reading.found())
    }
}

/// A reading from the newest block down, in pages that halve when the chain node does not answer for so many at once.
struct Reading {
    from: u64,
    /// The block after the newest.
    top: u64,
    /// The blocks from here up were read.
    end: u64,
    span: u64,
    questions: u32,
    broken: bool,
    announcers: BTreeSet<Address>,
    heard: Vec<Announcement>,
}

impl Reading {
    const fn new(from: u64, to: u64) -> Self {
        let top = to.saturating_add(1);
        Self {
            from,
            top,
            end: top,
            span: PAGE_BLOCKS,
            questions: 0,
            broken: false,
            announcers: BTreeSet::new(),
            heard: Vec::new(),
        }
    }

    /// The first and the last block of the next question. `None`: this reading is over.
    fn next_question(&mut self) -> Option<(u64, u64)> {
        let over = self.broken || self.end <= self.from || self.heard.len() >= MAX_ANNOUNCEMENTS;
        if over || self.questions >= MAX_QUESTIONS {
            return None;
        }
        self.questions += 1;
        Some((self.start(), self.end.saturating_sub(1)))
    }

    fn start(&self) -> u64 {
        self.end.saturating_sub(self.span).max(self.from)
    }

    /// The answer to the last question.
    fn take(&mut self, logs: Result<Vec<RawLog>, RpcError>) -> Result<(), RpcError> {
        let logs = match logs {
            // Chain nodes have many ways to say that these are too many blocks.
            Err(RpcError::TooLong { .. } | RpcError::Refused { .. }) if self.span > 1 => {
                self.span /= 2;
                return Ok(());
            }
            // What was heard already is worth keeping; the next reading goes on from there.
            Err(_) if self.end < self.top => {
                self.broken = true;
                return Ok(());
            }
            logs => logs?,
        };
        let newest_first = logs.iter().rev().filter_map(Announcement::decode);
        let announcers = &mut self.announcers;
        self.heard
            .extend(newest_first.filter(|announcement| announcers.insert(announcement.announcer)));
        self.end = self.start();
        Ok(())
    }

    fn found(mut self) -> Announcements {
        self.heard.truncate(MAX_ANNOUNCEMENTS);
        Announcements {
            heard: self.heard,
            from: self.end,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Refusal;

    fn refused() -> RpcError {
        RpcError::Refused {
            method: "eth_getLogs",
            refusal: Refusal {
                code: -32_005,
                message: "too many blocks".into(),
                data: None,
            },
        }
    }

    #[test]
    fn a_chain_node_that_answers_for_few_blocks_at_a_time_is_asked_for_fewer() {
        let mut reading = Reading::new(0, 9_999);
        while let Some((from, to)) = reading.next_question() {
            let few = to - from < 500;
            reading.take(if few { Ok(Vec::new()) } else { Err(refused()) }).unwrap();
        }
        assert_eq!(reading.found().from, 0);
    }

    #[test]
    fn what_was_read_before_a_failure_is_kept() {
        let missing = || Err(RpcError::Missing { method: "eth_getLogs" });
        let mut reading = Reading::new(0, 9_999);
        for answer in [Ok(Vec::new()), Ok(Vec::new()), missing()] {
            reading.next_question().unwrap();
            reading.take(answer).unwrap();
        }
        assert_eq!(reading.next_question(), None);
        assert_eq!(reading.found().from, 10_000 - 2 * PAGE_BLOCKS);
        let mut reading = Reading::new(0, 9_999);
        reading.next_question().unwrap();
        reading.take(missing()).unwrap_err();
    }
}

//! The newest blocks that were seen, to recognise when the chain took some of them back.

use super::WatchCursor;
use crate::client::Head;
use std::collections::VecDeque;

/// How a block relates to those seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the newest one seen.
    Seen,
    /// It is an older one that was seen.
    Older,
    /// It and the blocks from this number on are new, and all seen ones stand.
    Extended { from: u64 },
    /// Seen blocks are gone, or nothing was seen before.
    Reorganised,
}

#[derive(Debug)]
pub(super) struct History {
    /// Oldest first, numbers rising; with gaps where several blocks came between two looks.
    blocks: VecDeque<WatchCursor>,
    limit: usize,
}

impl History {
    pub(super) fn new(limit: usize, cursor: Option<WatchCursor>) -> Self {
        Self {
            blocks: cursor.into_iter().collect(),
            limit: limit.max(1),
        }
    }

    /// How `head` relates to the blocks seen; `None` when only the chain can tell.
    pub(super) fn step(&self, head: &Head) -> Option<Step> {
        let Some(newest) = self.newest() else {
            return Some(Step::Reorganised);
        };
        if newest.hash == head.hash {
            return Some(Step::Seen);
        }
        if newest.hash == head.parent {
            return Some(Step::Extended { from: head.number });
        }
        self.blocks
            .iter()
            .any(|block| block.hash == head.hash)
            .then_some(Step::Older)
    }

    pub(super) fn newest(&self) -> Option<WatchCursor> {
        self.blocks.back().copied()
    }

    pub(super) fn forget_newest(&mut self) {
        self.blocks.pop_back();
    }

    /// Notes the newest block. Those at or above its number are no longer on the chain.
    pub(super) fn push(&mut self, head: Head) {
        while self.newest().is_some_and(|newest| newest.number >= head.number) {
            self.forget_newest();
        }
        self.blocks.push_back(WatchCursor {
            number: head.number,
            hash: head.hash,
        });
        while self.blocks.len() > self.limit {
            self.blocks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::{B256, UnixSeconds};

    fn block(number: u64, fork: u8, parent_fork: u8) -> Head {
        let hash = |number: u64, fork: u8| {
            let mut bytes = [fork; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            B256::from(bytes)
        };
        Head {
            number,
            hash: hash(number, fork),
            parent: hash(number.wrapping_sub(1), parent_fork),
            timestamp: UnixSeconds(number),
            base_fee: 0,
        }
    }

    fn history(limit: usize, numbers: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::new(limit, None);
        numbers.for_each(|number| history.push(block(number, 0, 0)));
        history
    }

    #[test]
    fn blocks_are_told_apart_by_hash_and_not_by_number() {
        let history = history(10, 1..=5);
        assert_eq!(history.step(&block(5, 0, 0)), Some(Step::Seen));
        assert_eq!(history.step(&block(3, 0, 0)), Some(Step::Older));
        assert_eq!(history.step(&block(6, 0, 0)), Some(Step::Extended { from: 6 }));
        assert_eq!(history.step(&block(8, 0, 0)), None, "a gap");
        assert_eq!(history.step(&block(5, 1, 0)), None, "a fork of the same height");
        assert_eq!(history.step(&block(6, 1, 1)), None, "a higher fork");
        assert_eq!(history.step(&block(3, 1, 0)), None, "a lower fork");
    }

    #[test]
    fn a_fork_replaces_the_blocks_above_it() {
        let mut history = history(10, 1..=5);
        history.push(block(4, 1, 0));
        assert_eq!(history.step(&block(5, 0, 0)), None);
        assert_eq!(history.step(&block(3, 0, 0)), Some(Step::Older));
        assert_eq!(history.step(&block(5, 1, 1)), Some(Step::Extended { from: 5 }));
    }

    #[test]
    fn only_the_newest_blocks_are_kept() {
        let history = history(3, 1..=5);
        assert_eq!(history.blocks.len(), 3);
        assert_eq!(history.step(&block(3, 0, 0)), Some(Step::Older));
        assert_eq!(history.step(&block(2, 0, 0)), None);
    }

    #[test]
    fn the_first_block_reads_everything() {
        assert_eq!(History::new(3, None).step(&block(1, 0, 0)), Some(Step::Reorganised));
    }
}

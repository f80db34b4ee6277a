//! Messages between the two daemons: delayed, lost, repeated, overtaken; and the world's only source of chance.

use crate::lifecycle::{End, Work};
use gpux_types::{Amount, Millis};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    ToRenter(Told),
    ToProvider(Said),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Ask {
        cumulative: Amount,
        metered: Millis,
        work: Work,
    },
    Closing {
        amount: Amount,
    },
    Status {
        metered: Millis,
        work: Work,
        done: bool,
        end: Option<End>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Receipt { cumulative: Amount },
    Poll,
    Stop { end: End },
}

/// splitmix64: short, and the same on every machine.
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

#[derive(Debug)]
pub(super) struct Network {
    under_way: Vec<(u64, Message)>,
    pub(super) parted_until_ms: u64,
    pub(super) latency_ms: u64,
    pub(super) loss_percent: u64,
    pub(super) repeat_percent: u64,
}

impl Network {
    pub(super) fn new(latency_ms: u64, loss_percent: u8, repeat_percent: u8) -> Self {
        let (loss_percent, repeat_percent) = (u64::from(loss_percent), u64::from(repeat_percent));
        Self {
            under_way: Vec::new(),
            parted_until_ms: 0,
            latency_ms,
            loss_percent,
            repeat_percent,
        }
    }

    pub(super) fn send(&mut self, at_ms: u64, message: Message, chance: &mut Chance) {
        let copies = 1 + u64::from(chance.below(100) < self.repeat_percent);
        for _ in 0..copies {
            if at_ms >= self.parted_until_ms && chance.below(100) >= self.loss_percent {
                self.under_way
                    .push((at_ms + chance.below(self.latency_ms + 1), message));
            }
        }
    }

    pub(super) fn arrived(&mut self, at_ms: u64) -> Vec<Message> {
        let parted = at_ms < self.parted_until_ms;
        let (due, later): (Vec<_>, Vec<_>) = self.under_way.drain(..).partition(|(due, _)| *due <= at_ms);
        self.under_way = later;
        if parted {
            Vec::new()
        } else {
            due.into_iter().map(|(_, message)| message).collect()
        }
    }
}

//! Letters between daemons: delayed, lost, repeated, overtaken, held back on one way or both; and the world's only
//! source of chance.

use crate::lifecycle::{End, Work};
use gpux_types::{Amount, Millis, PartIndex};

/// What travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) lease: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) message: Message,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    ToRenter(Told),
    ToProvider(Said),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Ask {
        cumulative: Amount,
        metered: Millis,
        work: Work,
    },
    Closing {
        amount: Amount,
        end: End,
    },
    Status {
        metered: Millis,
        work: Work,
        end: Option<End>,
        /// Every try that is over, as often as the renter asks.
        over: Vec<Try>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Receipt {
        cumulative: Amount,
    },
    /// How is the work, and these tries should be under way.
    Poll {
        wanted: Vec<(PartIndex, u32)>,
    },
    Stop {
        end: End,
    },
}

/// A try of a part that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) part: PartIndex,
    pub(super) attempt: u32,
    pub(super) worked: bool,
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

    /// The same as a narrower number.
    pub(super) fn small<T: TryFrom<u64>>(&mut self, least: u64, most: u64) -> T {
        T::try_from(self.between(least, most)).ok().unwrap()
    }

    pub(super) fn in_hundred(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }
}

/// A way on which nothing travels for a while.
#[derive(Debug, Clone, Copy)]
struct Cut {
    from: usize,
    to: usize,
    until_ms: u64,
}

#[derive(Debug)]
pub(super) struct Network {
    under_way: Vec<(u64, Letter)>,
    cuts: Vec<Cut>,
    latency_ms: u64,
    loss_percent: u64,
    repeat_percent: u64,
}

impl Network {
    pub(super) fn new(latency_ms: u64, loss_percent: u8, repeat_percent: u8) -> Self {
        let (loss_percent, repeat_percent) = (u64::from(loss_percent), u64::from(repeat_percent));
        Self {
            under_way: Vec::new(),
            cuts: Vec::new(),
            latency_ms,
            loss_percent,
            repeat_percent,
        }
    }

    /// Nothing travels this way until then; what is under way is lost when it arrives meanwhile.
    pub(super) fn cut(&mut self, from: usize, to: usize, until_ms: u64) {
        self.cuts.push(Cut { from, to, until_ms });
    }

    fn is_cut(&self, at_ms: u64, letter: &Letter) -> bool {
        let mut cuts = self.cuts.iter();
        cuts.any(|cut| cut.from == letter.from && cut.to == letter.to && at_ms < cut.until_ms)
    }

    pub(super) fn send(&mut self, at_ms: u64, letter: Letter, chance: &mut Chance) {
        let copies = 1 + u64::from(chance.in_hundred(self.repeat_percent));
        for _ in 0..copies {
            if !self.is_cut(at_ms, &letter) && !chance.in_hundred(self.loss_percent) {
                let due_ms = at_ms + chance.below(self.latency_ms + 1);
                self.under_way.push((due_ms, letter.clone()));
            }
        }
    }

    pub(super) fn arrived(&mut self, at_ms: u64) -> Vec<Letter> {
        self.cuts.retain(|cut| at_ms < cut.until_ms);
        let due = self.under_way.extract_if(.., |(due_ms, _)| *due_ms <= at_ms);
        let due: Vec<_> = due.map(|(_, letter)| letter).collect();
        due.into_iter().filter(|letter| !self.is_cut(at_ms, letter)).collect()
    }
}

//! The values that an array runs over, written as people write frames: `1-48`, `7`, `3,5-10,20-24`.

use crate::text::{cut, serde_as_text};
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32, str::FromStr};

/// The most parts of one job. Each part is at least one start of a container.
const MAX_PARTS: u32 = 100_000;
/// The most commas in a range: a bound on what a message about overlaps must compare.
const MAX_SPANS: usize = 1_000;

/// Whole numbers without repeats, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartRange {
    /// Inclusive, never empty.
    spans: Vec<(u32, u32)>,
}

/// Consecutive values: what one part of an array works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The first of them.
    pub first: u32,
    /// The last, which may be the first.
    pub last: u32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A text that is not a range of parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRangeError {
    /// Not numbers and ranges.
    #[error("reading a range from {0:?}: expected whole numbers, such as 1-48, 7 or 3,5-10,20-24")]
    NotARange(String),
    /// The end comes before the start.
    #[error("reading a range from {text:?}: {first}-{last} runs backwards")]
    Backwards {
        /// What was given.
        text: String,
        /// The start.
        first: u32,
        /// The end.
        last: u32,
    },
    /// A value that comes twice would be two parts with the same outputs.
    #[error("reading a range from {text:?}: {value} comes twice")]
    Repeated {
        /// What was given.
        text: String,
        /// The first value that comes twice.
        value: u32,
    },
    /// Too many values.
    #[error("reading a range from {text:?}: more than {limit} parts")]
    TooMany {
        /// What was given.
        text: String,
        /// The most parts.
        limit: u32,
    },
}

impl PartRange {
    /// How many values there are: at least one.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.spans.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The values cut into runs of at most `longest`, in the order in which they were written. A run never spans a gap, so that
    /// its first and last value say all of it.
    pub fn runs(&self, longest: NonZeroU32) -> impl Iterator<Item = Run> {
        self.stretches().into_iter().flat_map(move |(first, last)| {
            (0..pieces((first, last), longest)).map(move |position| cut_at((first, last), longest, position))
        })
    }

    /// How many runs there are.
    #[must_use]
    pub fn run_count(&self, longest: NonZeroU32) -> u32 {
        self.stretches().into_iter().map(|span| pieces(span, longest)).sum()
    }

    /// The run at that position, without a look at each of those before it.
    #[must_use]
    pub fn run(&self, longest: NonZeroU32, position: u32) -> Option<Run> {
        let mut left = position;
        for span in self.stretches() {
            match left.checked_sub(pieces(span, longest)) {
                Some(after) => left = after,
                None => return Some(cut_at(span, longest, left)),
            }
        }
        None
    }

    /// The least value and the greatest.
    pub(crate) fn ends(&self) -> Option<(u32, u32)> {
        let least = self.spans.iter().map(|(first, _)| *first).min();
        least.zip(self.spans.iter().map(|(_, last)| *last).max())
    }

    /// The spans with those made one that follow each other without a gap.
    fn stretches(&self) -> Vec<(u32, u32)> {
        let mut stretches: Vec<(u32, u32)> = Vec::new();
        for (first, last) in &self.spans {
            match stretches.last_mut() {
                Some(before) if before.1.checked_add(1) == Some(*first) => before.1 = *last,
                _ => stretches.push((*first, *last)),
            }
        }
        stretches
    }

    /// Every value, in the order in which they were written.
    pub fn values(&self) -> impl Iterator<Item = u32> {
        self.spans.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl FromStr for PartRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut spans = Vec::new();
        let mut count = 0u64;
        for item in text.split(',') {
            let (first, last) = span(text, item.trim())?;
            count += u64::from(last - first) + 1;
            if count > u64::from(MAX_PARTS) || spans.len() >= MAX_SPANS {
                return Err(ParseRangeError::TooMany {
                    text: cut(text),
                    limit: MAX_PARTS,
                });
            }
            spans.push((first, last));
        }
        let mut sorted = spans.clone();
        sorted.sort_unstable();
        let overlap = sorted
            .iter()
            .zip(sorted.iter().skip(1))
            .find(|((_, last), (first, _))| first <= last);
        if let Some((_, (value, _))) = overlap {
            return Err(ParseRangeError::Repeated {
                text: cut(text),
                value: *value,
            });
        }
        Ok(Self { spans })
    }
}

/// How many runs a span makes.
const fn pieces((first, last): (u32, u32), longest: NonZeroU32) -> u32 {
    (last - first) / longest.get() + 1
}

/// The run at that position of a span that has one there.
fn cut_at((first, last): (u32, u32), longest: NonZeroU32, position: u32) -> Run {
    let first = first.saturating_add(position.saturating_mul(longest.get()));
    let end = first.saturating_add(longest.get() - 1);
    Run {
        first,
        last: end.min(last),
    }
}

fn span(text: &str, item: &str) -> Result<(u32, u32), ParseRangeError> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        plain
            .then(|| digits.parse().ok())
            .flatten()
            .ok_or_else(|| ParseRangeError::NotARange(cut(text)))
    };
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (first, last) = (number(first.trim_end())?, number(last.trim_start())?);
    if first > last {
        return Err(ParseRangeError::Backwards {
            text: cut(text),
            first,
            last,
        });
    }
    Ok((first, last))
}

impl fmt::Display for PartRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.spans.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

serde_as_text!(PartRange, "whole numbers and ranges of them", "1-48");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_read_and_print() {
        let values = |text: &str| text.parse::<PartRange>().unwrap().values().collect::<Vec<_>>();
        assert_eq!(values("7"), [7]);
        assert_eq!(values("1-4"), [1, 2, 3, 4]);
        assert_eq!(values("20-22, 3,5-6"), [20, 21, 22, 3, 5, 6]);
        assert_eq!("3, 5 - 6".parse::<PartRange>().unwrap().to_string(), "3,5-6");
        assert_eq!("0-4294967295".parse::<PartRange>().ok(), None);
    }

    #[test]
    fn wrong_ranges_say_why() {
        for wrong in [
            "",
            ",",
            "1-",
            "-1",
            "1--2",
            "a",
            "1-2-3",
            "1.5",
            "+1",
            "1 2",
            "99999999999",
        ] {
            assert!(
                matches!(wrong.parse::<PartRange>(), Err(ParseRangeError::NotARange(_))),
                "{wrong}"
            );
        }
        let error = |text: &str| text.parse::<PartRange>().unwrap_err();
        assert!(matches!(
            error("5-1"),
            ParseRangeError::Backwards { first: 5, last: 1, .. }
        ));
        assert!(matches!(error("1-10,7,12"), ParseRangeError::Repeated { value: 7, .. }));
        assert!(matches!(error("1-100001"), ParseRangeError::TooMany { .. }));
    }

    #[test]
    fn a_run_never_spans_a_gap() {
        let runs = |text: &str, longest: u32| {
            let range: PartRange = text.parse().unwrap();
            let runs: Vec<String> = range
                .runs(longest.try_into().unwrap())
                .map(|run| run.to_string())
                .collect();
            runs.join(" ")
        };
        assert_eq!(runs("3,5-10,47-49", 4), "3 5-8 9-10 47-49");
        assert_eq!(runs("1-3,4-6", 6), "1-6", "nothing is between them");
        assert_eq!(runs("1-10", 1), "1 2 3 4 5 6 7 8 9 10");
        assert_eq!(runs("4294967290-4294967295,0", u32::MAX), "4294967290-4294967295 0");
    }

    proptest! {
        #[test]
        fn runs_have_every_value_once_and_each_is_found_by_its_position(
            text in "[0-9]{1,2}(-[0-9]{1,3})?(,[0-9]{1,3}(-[0-9]{1,3})?){0,3}", longest in 1u32..40,
        ) {
            if let Ok(range) = text.parse::<PartRange>() {
                let longest = NonZeroU32::new(longest).unwrap();
                let runs: Vec<Run> = range.runs(longest).collect();
                let values: Vec<u32> = runs.iter().flat_map(|run| run.first..=run.last).collect();
                prop_assert_eq!(values, range.values().collect::<Vec<_>>());
                prop_assert!(runs.iter().all(|run| run.last - run.first < longest.get()));
                prop_assert_eq!(range.run_count(longest) as usize, runs.len());
                for position in 0..=range.run_count(longest) {
                    prop_assert_eq!(range.run(longest, position), runs.get(position as usize).copied());
                }
            }
        }

        #[test]
        fn a_range_has_as_many_different_values_as_it_says(text in "[0-9]{1,2}(-[0-9]{1,3})?(,[0-9]{1,3}(-[0-9]{1,3})?){0,3}") {
            if let Ok(range) = text.parse::<PartRange>() {
                let mut values: Vec<_> = range.values().collect();
                prop_assert_eq!(values.len(), usize::try_from(range.count()).unwrap());
                prop_assert_eq!(range.to_string().parse::<PartRange>().unwrap(), range);
                values.sort_unstable();
                values.dedup();
                prop_assert_eq!(values.len(), usize::try_from(text.parse::<PartRange>().unwrap().count()).unwrap());
            }
        }
    }
}

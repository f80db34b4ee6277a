//! The values that an array runs over, written as people write frames: `1-48`, `7`, `3,5-10,20-24`.

use crate::text::{cut, serde_as_text};
use std::{fmt, str::FromStr};

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

    proptest! {
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

//! How much of an array is done again to see whether nodes tell the truth.

use crate::text::{cut, serde_as_text};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// All of something.
const WHOLE: u16 = 10_000;

/// What is checked, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// How much of each node's results is done again, such as 2%; at least one result of each node.
    pub sample: Sample,
    /// By whom.
    pub by: VerifyBy,
}

/// Who does again what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyBy {
    /// Another node of the job; where the two differ a third decides.
    SecondNode,
}

/// A part of a whole: more than nothing, and no more than all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sample(u16);

/// A text that is no sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "reading a sample from {0:?}: expected percent above 0 and up to 100 with at most two digits behind the point, such as 2% or 0.5%"
)]
pub struct ParseSampleError(String);

impl Sample {
    /// Of ten thousand.
    #[must_use]
    pub const fn of_ten_thousand(self) -> u16 {
        self.0
    }

    /// The most of so many results on so many nodes that are drawn when none is thrown away.
    #[must_use]
    pub fn most_of(self, results: u32, nodes: u32) -> u32 {
        let share = u64::from(results) * u64::from(self.0) / u64::from(WHOLE);
        let most = share.saturating_add(u64::from(nodes)).min(u64::from(results));
        u32::try_from(most).unwrap_or(results)
    }
}

impl FromStr for Sample {
    type Err = ParseSampleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSampleError(cut(text));
        let percent = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
        let plain = |digits: &str, most| {
            (1..=most).contains(&digits.len()) && digits.chars().all(|digit| digit.is_ascii_digit())
        };
        if !plain(whole, 3) || !plain(fraction, 2) {
            return Err(wrong());
        }
        let points: u32 = format!("{whole}{fraction:0<2}").parse().map_err(|_| wrong())?;
        let points = u16::try_from(points).ok().filter(|points| (1..=WHOLE).contains(points));
        points.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

serde_as_text!(Sample, "percent, such as 2%", "2%");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_read_and_print() {
        for (text, points, printed) in [
            ("2%", 200, "2%"),
            ("0.5%", 50, "0.5%"),
            ("0.01%", 1, "0.01%"),
            ("100%", 10_000, "100%"),
            ("12.50%", 1_250, "12.5%"),
            ("10%", 1_000, "10%"),
        ] {
            let sample: Sample = text.parse().unwrap();
            assert_eq!(
                (sample.of_ten_thousand(), sample.to_string().as_str()),
                (points, printed)
            );
        }
        for wrong in [
            "", "%", "2", "0%", "0.00%", "100.01%", "101%", "-1%", "1.234%", "1e1%", ".5%", "9999%",
        ] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_is_never_more_than_all() {
        let sample: Sample = "10%".parse().unwrap();
        assert_eq!(sample.most_of(48, 3), 7);
        assert_eq!(sample.most_of(2, 3), 2);
        assert_eq!("100%".parse::<Sample>().unwrap().most_of(u32::MAX, 1_000), u32::MAX);
    }
}

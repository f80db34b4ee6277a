//! Two kinds of time that never mix: durations on a monotonic clock, and block time.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A duration, or a point on a monotonic clock whose zero is the owner's own, in milliseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Longer than anything that ends.
    pub const MAX: Self = Self(u64::MAX);

    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// The sum, cut to [`Millis::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000
    }
}

impl From<Duration> for Millis {
    /// Cut to [`Millis::MAX`].
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

/// `90s`, `15m`, `12h`, `2d`: digits and one unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading a duration from {0:?}: expected digits and a unit, such as 90s, 15m, 12h or 2d")]
pub struct ParseDurationError(pub String);

impl FromStr for Millis {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError(text.chars().take(80).collect());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match text.get(digits.len()..).unwrap_or_default() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(error()),
        };
        if !digits.chars().all(|c| c.is_ascii_digit()) {
            return Err(error());
        }
        let count: u64 = digits.parse().map_err(|_| error())?;
        count.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Millis {
    /// The coarsest exact unit for settings and logs: `5s`, `90s`, `2h`, `1500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms == 0 || ms % 1_000 != 0 => write!(f, "{ms}ms"),
            ms if ms % 86_400_000 == 0 => write!(f, "{}d", ms / 86_400_000),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms => write!(f, "{}s", ms / 1_000),
        }
    }
}

/// Seconds since the Unix epoch, as blocks tell them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// This time plus `secs`, cut to the largest time.
    #[must_use]
    pub const fn plus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// How long after `earlier` this is, or zero.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis::from_secs(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for text in ["250ms", "90s", "15m", "12h", "2d"] {
            assert_eq!(text.parse::<Millis>().unwrap().to_string(), text);
        }
        for wrong in ["", "5", "h", "-1s", "1.5h", "5 m", "99999999999999999999s", "1w"] {
            assert!(wrong.parse::<Millis>().is_err(), "{wrong}");
        }
    }
}

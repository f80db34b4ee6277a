//! Money in the smallest unit of a token, as unsigned integers.
//!
//! Invariant: no float ever touches an amount, and every rounding states its direction.

use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds in an hour: the divisor between a price per hour and metered milliseconds.
const MILLIS_PER_HOUR: u128 = 3_600_000;

/// An amount of one token in its smallest unit. The escrow holds at most `Amount::MAX` in one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// Arithmetic on money that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// More than the escrow's 96 bits can hold.
    #[error("amount {0} is more than an escrow can hold (2^96 - 1)")]
    TooLarge(u128),
    /// A builder's share over the limit that the escrow accepts.
    #[error("a builder's share of {got} basis points is over the limit of {limit}")]
    ShareTooLarge {
        /// What was given.
        got: u16,
        /// The most that the escrow accepts.
        limit: u16,
    },
}

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The most that one lease can hold: 2^96 - 1, the width of the escrow's fields.
    pub const MAX: Self = Self((1 << 96) - 1);

    /// An amount of `units` smallest units.
    ///
    /// # Errors
    /// When `units` does not fit into the escrow's 96 bits.
    pub const fn new(units: u128) -> Result<Self, MoneyError> {
        if units > Self::MAX.0 {
            Err(MoneyError::TooLarge(units))
        } else {
            Ok(Self(units))
        }
    }

    /// The number of smallest units.
    #[must_use]
    pub const fn units(self) -> u128 {
        self.0
    }

    /// The sum, or `None` when it does not fit into the escrow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// The difference, or `None` when `other` is larger.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum, cut to the most that an escrow can hold.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or(Self::MAX)
    }

    /// The difference, or nothing when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `numerator / denominator` of this amount, rounded down; everything when the fraction is over 1.
    #[must_use]
    pub fn fraction(self, numerator: u64, denominator: u64) -> Self {
        if denominator == 0 || numerator >= denominator {
            return self;
        }
        // 96 + 64 bits do not fit into 128: split at the denominator first.
        let (n, d) = (u128::from(numerator), u128::from(denominator));
        Self((self.0 / d) * n + (self.0 % d) * n / d)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Amount {
    /// A decimal text for people's formats (JSON numbers lose digits), a plain integer on the wire.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.parse::<u128>().map_err(serde::de::Error::custom)?
        } else {
            u128::deserialize(deserializer)?
        };
        Self::new(units).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]{1,29}$", "description": "smallest units of the token" })
    }
}

/// What one hour of something costs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct PricePerHour(pub Amount);

impl PricePerHour {
    /// What `time` costs, rounded down: `floor(price x ms / 3,600,000)`; cut to what an escrow can hold.
    #[must_use]
    pub fn cost_of(self, time: Millis) -> Amount {
        let (hours, rest) = (
            u128::from(time.0) / MILLIS_PER_HOUR,
            u128::from(time.0) % MILLIS_PER_HOUR,
        );
        let price = self.0.units();
        // price < 2^96 and rest < 2^22, so the second product cannot overflow; the first is checked.
        let units = price
            .checked_mul(hours)
            .and_then(|whole| whole.checked_add(price * rest / MILLIS_PER_HOUR));
        units.and_then(|units| Amount::new(units).ok()).unwrap_or(Amount::MAX)
    }

    /// The longest time that `amount` pays for: the largest `t` with `cost_of(t) <= amount`.
    #[must_use]
    pub fn time_for(self, amount: Amount) -> Millis {
        let price = self.0.units();
        if price == 0 {
            return Millis::MAX;
        }
        // cost_of(t) <= a  <=>  price * t < (a + 1) * 3,600,000; (a + 1) < 2^97 and the factor < 2^22.
        let millis = ((amount.units() + 1) * MILLIS_PER_HOUR - 1) / price;
        Millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The gross price at which the provider still nets this price after the builder's `share`, rounded up.
    #[must_use]
    pub fn gross_of_net(self, share: BasisPoints) -> Self {
        let rest = u128::from(BasisPoints::WHOLE - share.0);
        let units = (self.0.units() * u128::from(BasisPoints::WHOLE)).div_ceil(rest);
        Self(Amount::new(units).unwrap_or(Amount::MAX))
    }
}

/// A share in hundredths of a percent, at most [`BasisPoints::LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// No share.
    pub const ZERO: Self = Self(0);
    /// The most that the escrow accepts as a builder's share: 10 %.
    pub const LIMIT: u16 = 1_000;
    /// 100 %.
    const WHOLE: u16 = 10_000;

    /// A builder's share.
    ///
    /// # Errors
    /// When it is over [`BasisPoints::LIMIT`].
    pub const fn new(points: u16) -> Result<Self, MoneyError> {
        if points > Self::LIMIT {
            Err(MoneyError::ShareTooLarge {
                got: points,
                limit: Self::LIMIT,
            })
        } else {
            Ok(Self(points))
        }
    }

    /// Hundredths of a percent.
    #[must_use]
    pub const fn points(self) -> u16 {
        self.0
    }

    /// This share of `amount`, rounded down, as the escrow rounds it.
    #[must_use]
    pub fn of(self, amount: Amount) -> Amount {
        amount.fraction(u64::from(self.0), u64::from(Self::WHOLE))
    }
}

impl<'de> Deserialize<'de> for BasisPoints {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How amounts of one token are written for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Token {
    /// The short name, as the token tells it, cut to 16 characters.
    pub symbol: String,
    /// How many digits stand behind the point of one whole unit.
    pub decimals: u8,
}

/// A text that is not an amount of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// Not digits with at most one point.
    #[error("reading an amount from {0:?}: expected digits such as 12.50")]
    NotANumber(String),
    /// More digits behind the point than the token has.
    #[error("reading an amount from {text:?}: {symbol} has {decimals} digits behind the point")]
    TooPrecise {
        /// What was given.
        text: String,
        /// The token's symbol.
        symbol: String,
        /// The token's digits.
        decimals: u8,
    },
    /// More than an escrow can hold.
    #[error("reading an amount from {text:?}")]
    TooLarge {
        /// What was given.
        text: String,
        /// By how much.
        source: MoneyError,
    },
}

impl Token {
    /// The exact amount with its symbol, without needless zeros: `1.5 DAI`.
    #[must_use]
    pub fn format(&self, amount: Amount) -> String {
        format!(
            "{} {}",
            self.format_bare(amount, usize::from(self.decimals)),
            self.symbol
        )
    }

    /// The amount with its symbol and at most `digits` behind the point, rounded down; for screens, not for sums.
    #[must_use]
    pub fn format_short(&self, amount: Amount, digits: usize) -> String {
        format!("{} {}", self.format_bare(amount, digits), self.symbol)
    }

    fn format_bare(&self, amount: Amount, digits: usize) -> String {
        let decimals = usize::from(self.decimals);
        let text = format!("{:0>width$}", amount.units(), width = decimals + 1);
        let (whole, fraction) = text.split_at(text.len() - decimals);
        let fraction: String = fraction.chars().take(digits).collect();
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            whole.to_owned()
        } else {
            format!("{whole}.{fraction}")
        }
    }

    /// Reads `12`, `0.5` or `1.25 DAI`.
    ///
    /// # Errors
    /// When the text is no number, is finer than the token, or more than an escrow can hold.
    pub fn parse(&self, text: &str) -> Result<Amount, ParseAmountError> {
        let trimmed = text.trim();
        let number = trimmed.strip_suffix(self.symbol.as_str()).unwrap_or(trimmed).trim_end();
        let not_a_number = || ParseAmountError::NotANumber(text.chars().take(80).collect());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(not_a_number());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > usize::from(self.decimals) {
            return Err(ParseAmountError::TooPrecise {
                text: text.chars().take(80).collect(),
                symbol: self.symbol.clone(),
                decimals: self.decimals,
            });
        }
        let padded = format!("{whole}{fraction:0<width$}", width = usize::from(self.decimals));
        let units = padded.parse::<u128>().map_err(|_| not_a_number())?;
        Amount::new(units).map_err(|source| ParseAmountError::TooLarge {
            text: text.chars().take(80).collect(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dai() -> Token {
        Token {
            symbol: "DAI".into(),
            decimals: 18,
        }
    }

    #[test]
    fn a_price_of_one_hour_is_the_cost_of_one_hour() {
        let price = PricePerHour(Amount::new(7_200_001).unwrap());
        assert_eq!(price.cost_of(Millis(3_600_000)), price.0);
        assert_eq!(price.cost_of(Millis(1)).units(), 2, "rounded down");
    }

    #[test]
    fn amounts_are_written_without_needless_zeros() {
        assert_eq!(dai().format(Amount::new(1_500_000_000_000_000_000).unwrap()), "1.5 DAI");
        assert_eq!(dai().format(Amount::ZERO), "0 DAI");
        assert_eq!(
            dai().format_short(Amount::new(1_234_567_890_000_000_000).unwrap(), 4),
            "1.2345 DAI"
        );
    }

    #[test]
    fn wrong_amounts_are_refused_with_the_reason() {
        let usdc = Token {
            symbol: "USDC".into(),
            decimals: 6,
        };
        assert!(matches!(
            usdc.parse("1.1234567"),
            Err(ParseAmountError::TooPrecise { .. })
        ));
        assert!(matches!(usdc.parse("1e3"), Err(ParseAmountError::NotANumber(_))));
        assert!(matches!(usdc.parse("-1"), Err(ParseAmountError::NotANumber(_))));
        assert!(matches!(
            usdc.parse("99999999999999999999999999"),
            Err(ParseAmountError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn an_amount_reads_back_what_it_printed(units in 0u128..(1 << 96)) {
            let amount = Amount::new(units).unwrap();
            prop_assert_eq!(dai().parse(&dai().format(amount)).unwrap(), amount);
        }

        #[test]
        fn the_time_for_an_amount_is_the_longest_that_it_pays(price in 1u128..(1 << 80), units in 0u128..(1 << 80)) {
            let (price, amount) = (PricePerHour(Amount::new(price).unwrap()), Amount::new(units).unwrap());
            let time = price.time_for(amount);
            prop_assert!(price.cost_of(time) <= amount);
            if time != Millis(u64::MAX) {
                prop_assert!(price.cost_of(Millis(time.0 + 1)) > amount);
            }
        }

        #[test]
        fn a_provider_nets_its_price_after_the_builders_share(net in 1u128..(1 << 80), points in 0u16..=1_000) {
            let (net, share) = (PricePerHour(Amount::new(net).unwrap()), BasisPoints::new(points).unwrap());
            let gross = net.gross_of_net(share);
            prop_assert!(gross.0.saturating_sub(share.of(gross.0)) >= net.0);
        }

        #[test]
        fn a_fraction_never_overflows_and_rounds_down(units in 0u128..(1 << 96), n: u64, d in 1u64..) {
            let amount = Amount::new(units).unwrap();
            let part = amount.fraction(n, d);
            prop_assert!(part <= amount);
        }
    }
}

//! Money as a person writes it, before the token and its digits are known.

use crate::text::{cut, serde_as_text};
use gpux_types::{Amount, ParseAmountError, PricePerHour, Token};
use std::{fmt, str::FromStr};

/// The most digits of an amount, on both sides of the point together: more than any token or escrow holds.
const MAX_DIGITS: usize = 48;
/// The longest symbol of a token, in characters.
const MAX_SYMBOL: usize = 16;
/// What stands behind the amount in a price.
const PER_HOUR: &str = "/hour";

/// An amount, with or without the token's symbol: `5`, `0.40`, `5 DAI`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Money {
    /// Digits and at most one point, without needless zeros.
    number: String,
    symbol: Option<String>,
}

/// An amount for each hour: `0.40/hour`, `0.40 DAI/hour`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Price(Money);

/// A text that is not money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMoneyError {
    /// Not an amount.
    #[error("reading an amount from {0:?}: expected digits and perhaps a token, such as 5, 0.40 or \"5 DAI\"")]
    Amount(String),
    /// Not an amount for each hour.
    #[error("reading a price from {0:?}: expected an amount for each hour, such as 0.40/hour or \"0.40 DAI/hour\"")]
    Price(String),
}

/// Money that the wallet's token cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyInTokenError {
    /// The file names another token than the one that pays.
    #[error("reading {money} as {symbol}: it names another token")]
    OtherToken {
        /// As the file has it.
        money: String,
        /// The token that pays.
        symbol: String,
    },
    /// Too fine or too large for the token.
    #[error("reading {money} as {symbol}")]
    Amount {
        /// As the file has it.
        money: String,
        /// The token that pays.
        symbol: String,
        /// Why not.
        source: ParseAmountError,
    },
}

impl Money {
    /// The amount in the smallest unit of `token`.
    ///
    /// # Errors
    /// When the file names another token, or the amount is too fine or too large for this one.
    pub fn in_token(&self, token: &Token) -> Result<Amount, MoneyInTokenError> {
        let (money, symbol) = (self.to_string(), token.symbol.clone());
        if self.symbol.as_ref().is_some_and(|own| *own != symbol) {
            return Err(MoneyInTokenError::OtherToken { money, symbol });
        }
        token
            .parse(&self.number)
            .map_err(|source| MoneyInTokenError::Amount { money, symbol, source })
    }
}

impl Price {
    /// The price in the smallest unit of `token`.
    ///
    /// # Errors
    /// As [`Money::in_token`].
    pub fn in_token(&self, token: &Token) -> Result<PricePerHour, MoneyInTokenError> {
        self.0.in_token(token).map(PricePerHour)
    }
}

impl FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMoneyError::Amount(cut(text));
        let trimmed = text.trim();
        let (number, symbol) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        let symbol = symbol.trim_start();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || number.len() > MAX_DIGITS {
            return Err(error());
        }
        let plain = symbol
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        let letter = symbol.starts_with(|c: char| c.is_ascii_alphabetic());
        if !symbol.is_empty() && (!plain || !letter || symbol.len() > MAX_SYMBOL) {
            return Err(error());
        }
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let fraction = fraction.trim_end_matches('0');
        let number = if fraction.is_empty() {
            whole.to_owned()
        } else {
            format!("{whole}.{fraction}")
        };
        Ok(Self {
            number,
            symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
        })
    }
}

impl FromStr for Price {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMoneyError::Price(cut(text));
        let amount = text.trim_end().strip_suffix(PER_HOUR).ok_or_else(error)?;
        amount.parse().map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.number)?;
        self.symbol.as_ref().map_or(Ok(()), |symbol| write!(f, " {symbol}"))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PER_HOUR}", self.0)
    }
}

serde_as_text!(
    Money,
    ["string", "number"],
    "an amount, with or without the token's symbol",
    "5 DAI"
);
serde_as_text!(
    Price,
    "an amount for each hour, with or without the token's symbol",
    "0.40 DAI/hour"
);

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
    fn money_reads_with_and_without_its_token() {
        for (text, printed) in [
            ("5", "5"),
            ("0.40", "0.4"),
            ("5 DAI", "5 DAI"),
            ("007.50  USDC.e", "7.5 USDC.e"),
        ] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), printed);
        }
        for wrong in [
            "",
            "DAI",
            "5DAI",
            "$5",
            "-1",
            "+1",
            "1e3",
            "1.",
            ".5",
            "1,5",
            "5 DAI/hour",
            "5 6",
            "1.2.3",
        ] {
            assert!(wrong.parse::<Money>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_price_is_for_an_hour_and_says_so() {
        assert_eq!("0.40 DAI/hour".parse::<Price>().unwrap().to_string(), "0.4 DAI/hour");
        for wrong in ["0.40", "0.40/h", "0.40 DAI", "0.40 DAI/day", "/hour", "x/hour"] {
            let error = wrong.parse::<Price>().unwrap_err().to_string();
            assert!(error.contains("such as 0.40/hour"), "{error}");
        }
    }

    #[test]
    fn the_token_of_the_file_must_be_the_token_that_pays() {
        let units = |text: &str| text.parse::<Money>().unwrap().in_token(&dai()).map(Amount::units);
        assert_eq!(units("1.5 DAI"), Ok(1_500_000_000_000_000_000));
        assert_eq!(units("1.5"), Ok(1_500_000_000_000_000_000));
        assert!(matches!(units("1.5 USDC"), Err(MoneyInTokenError::OtherToken { .. })));
        assert!(matches!(
            units("0.0000000000000000001"),
            Err(MoneyInTokenError::Amount { .. })
        ));
    }

    proptest! {
        #[test]
        fn money_reads_back_what_it_printed(text in "[0-9]{1,9}(\\.[0-9]{1,18})?( [A-Z]{1,5})?") {
            let money: Money = text.parse().unwrap();
            prop_assert_eq!(money.to_string().parse::<Money>().unwrap(), money);
        }

        #[test]
        fn hostile_text_is_refused_without_a_panic(text: String) {
            let _ = text.parse::<Money>();
            let _ = text.parse::<Price>();
        }
    }
}

//! Which values a param takes beyond its type: the least and the most of numbers, and lists of all that there are.
//!
//! Asked by `resolve` for what the file says and for what was typed. Numbers are compared as they were written, never as floats.

use crate::{
    error::Advice,
    limits,
    param::{ParamFile, ParamKind, ParamTable, Scalar},
    range::PartRange,
    text::cut,
};

/// Digits behind the point that a number can have.
const FRACTION: usize = 18;

/// A value that its param does not take, or bounds that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamBoundError {
    /// Less than the least.
    #[error("param {name}: {value} is under its min of {min}")]
    Under {
        /// The param.
        name: String,
        /// What was given.
        value: String,
        /// The least.
        min: String,
    },
    /// More than the most.
    #[error("param {name}: {value} is over its max of {max}")]
    Over {
        /// The param.
        name: String,
        /// What was given.
        value: String,
        /// The most.
        max: String,
    },
    /// None of those that there are.
    #[error("param {name}: {value:?} is none of its one_of{advice}")]
    NotListed {
        /// The param.
        name: String,
        /// What was given.
        value: String,
        /// What was probably meant, or what there is.
        advice: Advice,
    },
    /// A bound of something that has no order.
    #[error("param {0}: min and max bound numbers and ranges, and it is neither; its type says which")]
    NoOrder(String),
    /// A bound that is no number.
    #[error("param {name}: its {key}, {bound:?}, is not a number")]
    NotANumber {
        /// The param.
        name: String,
        /// `min` or `max`.
        key: &'static str,
        /// What is written.
        bound: String,
    },
    /// Bounds between which nothing lies.
    #[error("param {name}: its min of {min} is over its max of {max}")]
    Crossed {
        /// The param.
        name: String,
        /// The least.
        min: String,
        /// The most.
        max: String,
    },
    /// A list of nothing, or of too much.
    #[error("param {name}: one_of lists {got} values; 1 to {limit} make a choice")]
    Choices {
        /// The param.
        name: String,
        /// How many.
        got: usize,
        /// The most.
        limit: usize,
    },
}

/// What a param takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    table: Option<&'a ParamTable>,
    kind: ParamKind,
}

impl<'a> Bounds<'a> {
    pub(crate) fn of(param: &'a ParamFile, kind: ParamKind) -> Self {
        let table = match param {
            ParamFile::Short(_) => None,
            ParamFile::Long(table) => Some(&**table),
        };
        Self { table, kind }
    }

    fn min(&self) -> Option<&'a Scalar> {
        self.table?.min.as_ref().map(|min| &min.value)
    }

    fn max(&self) -> Option<&'a Scalar> {
        self.table?.max.as_ref().map(|max| &max.value)
    }

    /// Whether something fits them, and the default does.
    pub(crate) fn check_itself(&self, name: &str) -> Result<(), ParamBoundError> {
        let ordered = matches!(self.kind, ParamKind::Integer | ParamKind::Number | ParamKind::Range);
        let bounds = [("min", self.min()), ("max", self.max())];
        for (key, bound) in bounds.into_iter().filter_map(|(key, bound)| Some((key, bound?))) {
            if !ordered {
                return Err(ParamBoundError::NoOrder(name.to_owned()));
            }
            let not_a_number = || ParamBoundError::NotANumber {
                name: name.to_owned(),
                key,
                bound: cut(&bound.text),
            };
            number(&bound.text).ok_or_else(not_a_number)?;
        }
        if let (Some(min), Some(max)) = (self.min(), self.max())
            && number(&min.text) > number(&max.text)
        {
            return Err(ParamBoundError::Crossed {
                name: name.to_owned(),
                min: cut(&min.text),
                max: cut(&max.text),
            });
        }
        let limit = limits::MAX_ENTRIES;
        if let Some(list) = self.table.and_then(|table| table.one_of.as_ref())
            && !(1..=limit).contains(&list.len())
        {
            return Err(ParamBoundError::Choices {
                name: name.to_owned(),
                got: list.len(),
                limit,
            });
        }
        let default = self.table.and_then(|table| table.default.as_ref());
        default.map_or(Ok(()), |default| self.check(name, &default.value.text))
    }

    /// Whether the param takes `value`, which is of its kind; what is no number is refused elsewhere.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<(), ParamBoundError> {
        let (least, most) = self.ends(value);
        if let Some(min) = self.min().map(|min| &min.text)
            && let Some(least) = least.filter(|least| number(least) < number(min))
        {
            return Err(ParamBoundError::Under {
                name: name.to_owned(),
                value: cut(&least),
                min: cut(min),
            });
        }
        if let Some(max) = self.max().map(|max| &max.text)
            && let Some(most) = most.filter(|most| number(most) > number(max))
        {
            return Err(ParamBoundError::Over {
                name: name.to_owned(),
                value: cut(&most),
                max: cut(max),
            });
        }
        self.check_listed(name, value)
    }

    fn check_listed(&self, name: &str, value: &str) -> Result<(), ParamBoundError> {
        let Some(list) = self.table.and_then(|table| table.one_of.as_ref()) else {
            return Ok(());
        };
        let numeric = matches!(self.kind, ParamKind::Integer | ParamKind::Number);
        let same = |listed: &str| {
            let equal = numeric && number(listed).is_some() && number(listed) == number(value);
            equal || listed == value
        };
        let listed = || list.iter().map(|scalar| scalar.value.text.as_str());
        if listed().any(same) {
            return Ok(());
        }
        // One number is as close to another as any.
        let advice = if numeric {
            Advice::Known(listed().map(str::to_owned).collect())
        } else {
            Advice::for_word(value, listed())
        };
        Err(ParamBoundError::NotListed {
            name: name.to_owned(),
            value: cut(value),
            advice,
        })
    }

    /// The least and the greatest number of a value; nothing of one that has none.
    fn ends(&self, value: &str) -> (Option<String>, Option<String>) {
        if self.kind != ParamKind::Range {
            let value = number(value).map(|_| value.to_owned());
            return (value.clone(), value);
        }
        let ends = value.parse::<PartRange>().ok().and_then(|range| range.ends());
        (
            ends.map(|(least, _)| least.to_string()),
            ends.map(|(_, greatest)| greatest.to_string()),
        )
    }
}

/// A number as params write them, in the smallest step that one can have.
fn number(text: &str) -> Option<i128> {
    let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let plain = |digits: &str| (1..=FRACTION).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        return None;
    }
    let all: i128 = format!("{whole}{fraction:0<FRACTION$}").parse().ok()?;
    Some(sign * all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_they_were_written() {
        let less = |one: &str, other: &str| number(one).unwrap() < number(other).unwrap();
        assert!(less("-1", "0") && less("0.1", "0.2") && less("9", "10") && less("-0.5", "-0.4"));
        assert!(less("999999999999999998", "999999999999999998.000000000000000001"));
        assert_eq!(number("1.50"), number("1.5"));
        for wrong in ["", "-", ".", "1.", ".5", "1e3", "0x10", "+1", "1234567890123456789"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}

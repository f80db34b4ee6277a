//! Params as the file writes them, and what values they take.

use crate::{
    range::PartRange,
    text::{Text, cut, given},
};
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;
use std::fmt;

/// What values a param takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParamKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A number with or without a point.
    Number,
    /// true or false.
    Bool,
    /// Whole numbers and ranges of them.
    Range,
}

/// A value that does not fit its param.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("param {name}: {value:?} is not {expected}")]
pub struct ParamValueError {
    /// The param.
    pub name: String,
    /// What was given, cut to 80 characters.
    pub value: String,
    /// What it takes.
    pub expected: &'static str,
}

impl ParamKind {
    /// Whether `value` is of this kind. Ranges are read, and refused, by their own parser.
    pub(crate) fn check(self, name: &str, value: &str) -> Result<(), ParamValueError> {
        let digits = |text: &str| !text.is_empty() && text.len() <= 18 && text.chars().all(|c| c.is_ascii_digit());
        let unsigned = value.strip_prefix('-').unwrap_or(value);
        let (fits, expected) = match self {
            Self::Text => (true, "a text"),
            Self::Integer => (digits(unsigned), "a whole number"),
            Self::Number => {
                let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
                (digits(whole) && digits(fraction), "a number such as 2 or 0.5")
            }
            Self::Bool => (matches!(value, "true" | "false"), "true or false"),
            Self::Range => (
                value.parse::<PartRange>().is_ok(),
                "whole numbers, such as 1-48, 7 or 3,5-10,20-24",
            ),
        };
        if fits {
            return Ok(());
        }
        Err(ParamValueError {
            name: name.to_owned(),
            value: cut(value),
            expected,
        })
    }
}

/// A scalar with the kind that YAML 1.2 gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) kind: ParamKind,
    pub(crate) text: String,
}

/// A default alone, or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParamFile {
    Short(Scalar),
    Long(Box<ParamTable>),
}

/// The long form of a param.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParamTable {
    /// The value unless `--set` gives another; without one, `--set` must.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ScalarSchema")]
    pub(crate) default: Option<Spanned<Scalar>>,
    /// What values it takes; otherwise the kind of the default.
    #[serde(default, rename = "type", deserialize_with = "given")]
    #[schemars(with = "ParamKind")]
    pub(crate) kind: Option<ParamKind>,
    /// What it means, for people.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String")]
    pub(crate) help: Option<Text<String>>,
    /// The least that it takes: of a number, or of each value of a range.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ScalarSchema")]
    pub(crate) min: Option<Spanned<Scalar>>,
    /// The most that it takes.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ScalarSchema")]
    pub(crate) max: Option<Spanned<Scalar>>,
    /// All that it takes.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<ScalarSchema>")]
    pub(crate) one_of: Option<Vec<Spanned<Scalar>>>,
}

/// A text, a number, or true or false.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Scalar")]
#[expect(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
pub(crate) enum ScalarSchema {
    Text(String),
    Number(f64),
    Bool(bool),
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, or true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar {
            kind: ParamKind::Text,
            text: text.to_owned(),
        })
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar {
            kind: ParamKind::Bool,
            text: value.to_string(),
        })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar {
            kind: ParamKind::Integer,
            text: value.to_string(),
        })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar {
            kind: ParamKind::Integer,
            text: value.to_string(),
        })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar {
            kind: ParamKind::Number,
            text: value.to_string(),
        })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl<'de> Deserialize<'de> for ParamFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ParamFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a default value, or a table of default, type, help, min, max and one_of")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ParamFile, A::Error> {
                let table = ParamTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ParamFile::Long(Box::new(table)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ParamFile, E> {
                ScalarVisitor.visit_str(text).map(ParamFile::Short)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<ParamFile, E> {
                ScalarVisitor.visit_bool(value).map(ParamFile::Short)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ParamFile, E> {
                ScalarVisitor.visit_i64(value).map(ParamFile::Short)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ParamFile, E> {
                ScalarVisitor.visit_u64(value).map(ParamFile::Short)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<ParamFile, E> {
                ScalarVisitor.visit_f64(value).map(ParamFile::Short)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Gives a param's default the spelling of the file back: YAML's numbers lose it, and 1.50 may be a version.
pub(crate) fn respell(param: &mut Spanned<ParamFile>, source: &str) {
    let place = param.defined;
    match &mut param.value {
        ParamFile::Short(scalar) => respell_scalar(scalar, place, source),
        ParamFile::Long(table) => {
            let bounds = table.min.iter_mut().chain(&mut table.max);
            let listed = table.one_of.iter_mut().flatten();
            for scalar in table.default.iter_mut().chain(bounds).chain(listed) {
                respell_scalar(&mut scalar.value, scalar.defined, source);
            }
        }
    }
}

fn respell_scalar(scalar: &mut Scalar, place: serde_saphyr::Location, source: &str) {
    if !matches!(scalar.kind, ParamKind::Integer | ParamKind::Number) {
        return;
    }
    let span = place.span();
    let bounds = span.byte_offset().zip(span.byte_len());
    let spelled = bounds.and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        source.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    if let Some(spelled) = spelled {
        scalar.text = spelled.trim().to_owned();
        // YAML has more numbers than a param: 0x10 and 1e3 stay texts.
        let kinds = [ParamKind::Integer, ParamKind::Number];
        let fits = |kind: &ParamKind| kind.check("", &scalar.text).is_ok();
        scalar.kind = kinds.into_iter().find(fits).unwrap_or(ParamKind::Text);
    }
}

impl schemars::JsonSchema for ParamFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Param".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (scalar, table) = (
            generator.subschema_for::<ScalarSchema>(),
            generator.subschema_for::<ParamTable>(),
        );
        schemars::json_schema!({ "description": "a default value, or a table", "anyOf": [scalar, table] })
    }
}

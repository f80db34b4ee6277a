//! What a job asks of GPUs: `resources.gpu`, such as `H100:8`, `24GB..` or `{ model: h100, count: 8 }`.

use crate::text::cut;
use gpux_types::{ByteSize, Tag};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Cow, fmt, num::NonZeroU32, str::FromStr};

/// The most GPUs of one node: far above any machine.
const MAX_COUNT: u32 = 1_024;
/// The longest model: what fits into the feature that an offer names it by.
const MAX_MODEL: usize = 22;

/// GPUs of each node, at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuNeed {
    /// This model, or any.
    pub model: Option<Tag>,
    /// At least so many.
    pub count: NonZeroU32,
    /// At least so much memory on each.
    pub memory: ByteSize,
}

/// A text that asks for no GPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseGpuError {
    /// Not pieces of the wanted kinds, or the same kind twice.
    #[error(
        "reading GPUs from {0:?}: expected a model, a memory and a count with colons between, such as H100:8, 24GB.. or 24GB..:2"
    )]
    Shape(String),
    /// A memory with an upper bound.
    #[error(
        "reading GPUs from {0:?}: a memory is the least of each GPU, written 24GB..; an upper bound is not possible"
    )]
    UpperBound(String),
    /// None, or more than any machine has.
    #[error("reading GPUs from {0:?}: a count is from 1 to {MAX_COUNT}")]
    Count(String),
    /// Not the name of a model.
    #[error(
        "reading GPUs from {0:?}: a model is at most {MAX_MODEL} letters, digits and inner hyphens, such as h100-sxm"
    )]
    Model(String),
}

impl GpuNeed {
    const ANY: Self = Self {
        model: None,
        count: NonZeroU32::MIN,
        memory: ByteSize(0),
    };

    fn set_count(&mut self, digits: &str) -> Result<(), ParseGpuError> {
        let count = digits
            .parse()
            .ok()
            .filter(|count: &NonZeroU32| count.get() <= MAX_COUNT);
        self.count = count.ok_or_else(|| ParseGpuError::Count(cut(digits)))?;
        Ok(())
    }

    /// Offers spell models in small letters.
    fn set_model(&mut self, text: &str) -> Result<(), ParseGpuError> {
        let model = text.to_ascii_lowercase().parse().ok();
        let model = model.filter(|model: &Tag| model.as_str().len() <= MAX_MODEL);
        self.model = Some(model.ok_or_else(|| ParseGpuError::Model(cut(text)))?);
        Ok(())
    }

    fn set_memory(&mut self, text: &str) -> Result<(), ParseGpuError> {
        let (least, most) = text.split_once("..").unwrap_or((text, ""));
        if !most.is_empty() {
            return Err(ParseGpuError::UpperBound(cut(text)));
        }
        let memory = least.parse().ok().filter(|memory: &ByteSize| memory.0 > 0);
        self.memory = memory.ok_or_else(|| ParseGpuError::Shape(cut(text)))?;
        Ok(())
    }
}

/// What one piece of the text is about, by its spelling alone: `8`, `24GB..`, and anything else is a model.
#[derive(PartialEq)]
enum Piece {
    Count,
    Memory,
    Model,
}

impl Piece {
    fn of(text: &str) -> Self {
        let is_size = |text: &str| text.parse::<ByteSize>().is_ok();
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            Self::Count
        } else if text.contains("..") || is_size(text) {
            Self::Memory
        } else {
            Self::Model
        }
    }
}

impl FromStr for GpuNeed {
    type Err = ParseGpuError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut need, mut seen) = (Self::ANY, Vec::new());
        for piece in text.split(':') {
            let kind = Piece::of(piece);
            if seen.contains(&kind) {
                return Err(ParseGpuError::Shape(cut(text)));
            }
            match kind {
                Piece::Count => need.set_count(piece)?,
                Piece::Memory => need.set_memory(piece)?,
                Piece::Model => need.set_model(piece)?,
            }
            seen.push(kind);
        }
        Ok(need)
    }
}

impl fmt::Display for GpuNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GPU{}", self.count, if self.count.get() == 1 { "" } else { "s" })?;
        if let Some(model) = &self.model {
            write!(f, " of model {model}")?;
        }
        if self.memory.0 > 0 {
            write!(f, " with {} of memory each", self.memory)?;
        }
        Ok(())
    }
}

/// The need as the file writes it: a text, a count or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GpuText(pub(crate) GpuNeed);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Gpu")]
#[derive(Default)]
struct GpuTable {
    /// This model, such as h100; any when not given.
    #[schemars(with = "Option<String>")]
    model: Option<String>,
    /// At least so many on each node; 1 when not given.
    #[schemars(with = "Option<u32>", range(min = 1, max = 1024))]
    count: Option<String>,
    /// At least so much memory on each, such as 24GB; any when not given.
    memory: Option<String>,
}

impl GpuTable {
    fn need(&self) -> Result<GpuNeed, ParseGpuError> {
        let mut need = GpuNeed::ANY;
        self.model.as_deref().map_or(Ok(()), |model| need.set_model(model))?;
        self.count.as_deref().map_or(Ok(()), |count| need.set_count(count))?;
        self.memory
            .as_deref()
            .map_or(Ok(()), |memory| need.set_memory(memory))?;
        Ok(need)
    }
}

impl<'de> Deserialize<'de> for GpuText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = GpuNeed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("GPUs such as H100:8, or a table of model, count and memory")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GpuNeed, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<GpuNeed, E> {
                self.visit_str(&count.to_string())
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<GpuNeed, E> {
                self.visit_str(&count.to_string())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, table: A) -> Result<GpuNeed, A::Error> {
                let table = GpuTable::deserialize(de::value::MapAccessDeserializer::new(table))?;
                table.need().map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Visitor).map(Self)
    }
}

impl JsonSchema for GpuText {
    fn schema_name() -> Cow<'static, str> {
        "GpuNeed".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<GpuTable>();
        json_schema!({
            "description": "GPUs of each node, at least: a model, a memory and a count with colons between, or a table.",
            "anyOf": [
                { "type": "string", "examples": ["H100:8", "24GB..", "24GB..:2"] },
                { "type": "integer", "minimum": 1, "maximum": 1024 },
                table,
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(model: Option<&str>, count: u32, gigabytes: u64) -> GpuNeed {
        GpuNeed {
            model: model.map(|model| model.parse().unwrap()),
            count: NonZeroU32::new(count).unwrap(),
            memory: ByteSize(gigabytes * 1_000_000_000),
        }
    }

    #[test]
    fn a_text_says_model_memory_and_count_in_any_order() {
        for (text, expected) in [
            ("H100:8", need(Some("h100"), 8, 0)),
            ("h100-sxm", need(Some("h100-sxm"), 1, 0)),
            ("2", need(None, 2, 0)),
            ("24GB..", need(None, 1, 24)),
            ("24GB", need(None, 1, 24)),
            ("24GB..:2", need(None, 2, 24)),
            ("2:24GB..:RTX4090", need(Some("rtx4090"), 2, 24)),
        ] {
            assert_eq!(text.parse::<GpuNeed>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let long = "a".repeat(23);
        for wrong in [
            "",
            ":",
            "8:2",
            "0",
            "1025",
            "H100:0",
            "24GB..80GB",
            "..80GB",
            "24GB..:8GB..",
            "h 100",
            "h100:a100",
            "=8",
            "0GB..",
            &long,
        ] {
            assert!(wrong.parse::<GpuNeed>().is_err(), "{wrong}");
        }
    }
}

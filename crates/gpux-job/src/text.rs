//! Scalars that are kept as they were written and read by their own parser: `1.50` stays `1.50`, never a float.

use gpux_types::is_obeyed;
use serde::{Deserialize, Deserializer, de::Error};
use std::{borrow::Cow, fmt::Display, str::FromStr};

/// A value written as one scalar of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<T>()
    }
}

/// An optional value that must be something when its key is there: `max_price:` with nothing behind it is a mistake,
/// not a wish for no limit.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The first 80 characters of a text, for messages about it.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The same text without what could move the cursor, change colours or turn the reading direction on a screen.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if is_obeyed(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// Serde of a type that is one checked text, in every format; a text that its parser refuses is refused here too.
macro_rules! serde_as_text {
    ($name:ident, $description:literal, $example:literal) => {
        crate::text::serde_as_text!($name, "string", $description, $example);
    };
    ($name:ident, $type:tt, $description:literal, $example:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $type, "description": $description, "examples": [$example] })
            }
        }
    };
}
pub(crate) use serde_as_text;

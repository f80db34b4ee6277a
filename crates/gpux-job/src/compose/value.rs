//! Values as Compose writes them: texts in which `$` stands for a variable, command lines, and sizes in powers of two.

use crate::{
    names::EnvName,
    text::{Text, cut},
};
use gpux_types::ByteSize;
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{Location, Spanned};
use std::{collections::BTreeMap, fmt, str::FromStr};

#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("{0:?} names a variable: this machine's are not read; write its value, and $$ for a dollar sign")]
    Variable(String),
    #[error("{0:?} has a quote without its other half")]
    Quote(String),
    #[error("{0:?} is no size: write bytes, or 512m and 4g, in which a kilobyte is 1,024 bytes")]
    Size(String),
}

/// A text without variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal(pub(super) String);

impl FromStr for Literal {
    type Err = ValueError;

    /// Compose puts the value of a variable wherever a `$` stands, and a dollar sign where two do.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let literal = text.replace("$$", "\0");
        if literal.contains('$') {
            return Err(ValueError::Variable(cut(text)));
        }
        Ok(Self(literal.replace('\0', "$")))
    }
}

/// Words of a command: a list, or a line that is split as a shell does, and that no shell runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Words(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command line, or a list of a program and its arguments")
            }

            fn visit_str<E: de::Error>(self, line: &str) -> Result<Words, E> {
                let line = Literal::from_str(line).map_err(E::custom)?.0;
                let words = shlex::split(&line).ok_or_else(|| E::custom(ValueError::Quote(cut(&line))))?;
                Ok(Words(words))
            }

            /// `command: true` is a program, not a fact.
            fn visit_bool<E: de::Error>(self, word: bool) -> Result<Words, E> {
                Ok(Words(vec![word.to_string()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(Text(Literal(word))) = items.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Variables: a table, or a list of `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Variables(pub(super) BTreeMap<EnvName, Spanned<Text<String>>>);

impl Variables {
    fn add<E: de::Error>(&mut self, name: &str, value: String) -> Result<(), E> {
        let name: EnvName = name.parse().map_err(E::custom)?;
        let value = Spanned::new(Text(value), Location::UNKNOWN, Location::UNKNOWN);
        match self.0.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(E::custom("environment: a variable comes twice")),
        }
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Variables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("variables with their values, or a list of NAME=VALUE")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Variables, A::Error> {
                let mut variables = Variables::default();
                while let Some((Text(name), Text(Literal(value)))) =
                    entries.next_entry::<Text<String>, Text<Literal>>()?
                {
                    variables.add(&name, value)?;
                }
                Ok(variables)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Variables, A::Error> {
                let mut variables = Variables::default();
                while let Some(Text(Literal(item))) = items.next_element()? {
                    let missing = || {
                        de::Error::custom(format!(
                            "{:?} has no value: this machine's variables are not read",
                            cut(&item)
                        ))
                    };
                    let (name, value) = item.split_once('=').ok_or_else(missing)?;
                    variables.add(name, value.to_owned())?;
                }
                Ok(variables)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A size in Compose's units, which are powers of two whatever they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) ByteSize);

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" => 10,
            "m" | "mb" => 20,
            "g" | "gb" => 30,
            _ => return Err(ValueError::Size(cut(text))),
        };
        let digits = text.strip_suffix(unit).and_then(|digits| digits.parse::<u64>().ok());
        let bytes = digits.and_then(|count| count.checked_mul(1 << shift));
        bytes
            .map(|bytes| Self(ByteSize(bytes)))
            .ok_or_else(|| ValueError::Size(cut(text)))
    }
}

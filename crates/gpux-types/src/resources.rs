//! CPU, memory and disk: what a job asks for and what a node offers.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not a resource of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseResourceError {
    /// Not a size.
    #[error("reading a size from {0:?}: expected digits and a unit, such as 512MiB or 20GB")]
    Size(String),
    /// Not a number of cores.
    #[error("reading cores from {0:?}: expected a number with at most three digits behind the point, such as 2 or 0.5")]
    Cpu(String),
}

/// A number of bytes. Written with decimal (`GB`) or binary (`GiB`) units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Units from the largest to the smallest; the binary ones come first so that printing prefers them.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ParseResourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseResourceError::Size(text.chars().take(80).collect());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(digits.len()..).unwrap_or_default();
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            return Err(error());
        }
        let factor = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(error)?;
        let count: u64 = digits.parse().map_err(|_| error())?;
        count.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    /// One digit behind the point in the largest binary unit that is at least 1; for people, not exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor;
        match SIZE_UNITS.iter().take(4).find(fits) {
            None => write!(f, "{} B", self.0),
            Some((name, factor)) => {
                let tenths = u128::from(self.0) * 10 / u128::from(*factor);
                if tenths % 10 == 0 {
                    write!(f, "{} {name}", tenths / 10)
                } else {
                    write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
                }
            }
        }
    }
}

/// Processor time in thousandths of a core: 1,000 is one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cpu {
    /// Thousandths of a core.
    pub millicores: u32,
}

impl Cpu {
    /// `count` whole cores.
    #[must_use]
    pub const fn cores(count: u32) -> Self {
        Self {
            millicores: count.saturating_mul(1_000),
        }
    }
}

impl FromStr for Cpu {
    type Err = ParseResourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseResourceError::Cpu(text.chars().take(80).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
            return Err(error());
        }
        let millicores = format!("{whole}{fraction:0<3}").parse().map_err(|_| error())?;
        Ok(Self { millicores })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millicores / 1_000, self.millicores % 1_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

macro_rules! text_in_human_formats {
    ($name:ident, $inner:ty, $to:expr, $from:expr, $text:expr, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&$text(self))
                } else {
                    let inner: $inner = $to(self);
                    inner.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// Reads a text, or a bare number (bytes, or whole cores) where a format has numbers.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return <$inner>::deserialize(deserializer).map($from);
                }
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a value such as ", $example))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        number_of(number).map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        u64::try_from(number).map_err(E::custom).and_then(|n| number_of(n).map_err(E::custom))
                    }
                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }
                fn number_of(number: u64) -> Result<$name, ParseResourceError> {
                    <$name>::from_bare_number(number)
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": ["string", "number"], "examples": [$example] })
            }
        }
    };
}

impl ByteSize {
    fn from_bare_number(number: u64) -> Result<Self, ParseResourceError> {
        Err(ParseResourceError::Size(number.to_string()))
    }

    /// The shortest text that reads back as exactly this size: `2GiB`, `1500MB`, `7B`.
    #[must_use]
    pub fn exact(&self) -> String {
        let exact = SIZE_UNITS
            .iter()
            .filter(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let texts = exact.map(|(name, factor)| format!("{}{name}", self.0 / factor));
        texts.min_by_key(String::len).unwrap_or_else(|| format!("{}B", self.0))
    }
}

impl Cpu {
    fn from_bare_number(number: u64) -> Result<Self, ParseResourceError> {
        number.to_string().parse()
    }
}

text_in_human_formats!(
    ByteSize,
    u64,
    |size: &ByteSize| size.0,
    ByteSize,
    ByteSize::exact,
    "512MiB"
);
text_in_human_formats!(
    Cpu,
    u32,
    |cpu: &Cpu| cpu.millicores,
    |millicores| Cpu { millicores },
    ToString::to_string,
    "0.5"
);

/// What one lease holds of a node, or what a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processor time.
    pub cpu: Cpu,
    /// Main memory.
    pub memory: ByteSize,
    /// Disk for the containers' own writes; the image is not counted.
    pub disk: ByteSize,
}

impl Resources {
    /// Whether this holds at least what `wanted` asks, in every kind.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        self.cpu >= wanted.cpu && self.memory >= wanted.memory && self.disk >= wanted.disk
    }

    /// What is left after `taken`; zero where more was taken than there was.
    #[must_use]
    pub fn minus(&self, taken: &Self) -> Self {
        Self {
            cpu: Cpu {
                millicores: self.cpu.millicores.saturating_sub(taken.cpu.millicores),
            },
            memory: ByteSize(self.memory.0.saturating_sub(taken.memory.0)),
            disk: ByteSize(self.disk.0.saturating_sub(taken.disk.0)),
        }
    }

    /// Both together, cut to the largest number.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            cpu: Cpu {
                millicores: self.cpu.millicores.saturating_add(other.cpu.millicores),
            },
            memory: ByteSize(self.memory.0.saturating_add(other.memory.0)),
            disk: ByteSize(self.disk.0.saturating_add(other.disk.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        assert_eq!("2GiB".parse::<ByteSize>().unwrap(), ByteSize(2 << 30));
        assert_eq!("20GB".parse::<ByteSize>().unwrap(), ByteSize(20_000_000_000));
        assert_eq!(ByteSize(3 << 29).to_string(), "1.5 GiB");
        for wrong in ["", "5", "GB", "1.5GB", "-1MB", "5gb", "99999999999TB"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_in_json_are_exact() {
        for size in [0, 7, 1_000, 1 << 20, 1_500_000_000, u64::MAX] {
            let json = serde_json::to_string(&ByteSize(size)).unwrap();
            assert_eq!(
                serde_json::from_str::<ByteSize>(&json).unwrap(),
                ByteSize(size),
                "{json}"
            );
        }
    }

    #[test]
    fn cores_read_and_print() {
        for text in ["0.5", "2", "1.25", "0.001"] {
            assert_eq!(text.parse::<Cpu>().unwrap().to_string(), text);
        }
        assert_eq!(serde_json::from_str::<Cpu>("2").unwrap(), Cpu::cores(2));
        assert_eq!(serde_json::from_str::<Cpu>("0.5").unwrap().millicores, 500);
        assert!("1.2345".parse::<Cpu>().is_err());
    }

    #[test]
    fn a_size_is_written_as_a_person_would() {
        for text in ["2GB", "2GiB", "1500MB", "512MiB", "7B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().exact(), text);
        }
    }

    #[test]
    fn a_bare_number_is_no_size() {
        assert!(
            serde_json::from_str::<ByteSize>("512").is_err(),
            "bytes or MiB? the unit must be written"
        );
    }

    #[test]
    fn at_least_means_every_kind() {
        let node = Resources {
            cpu: Cpu::cores(2),
            memory: ByteSize(4 << 30),
            disk: ByteSize(10 << 30),
        };
        let wanted = Resources {
            cpu: Cpu::cores(2),
            memory: ByteSize(5 << 30),
            disk: ByteSize(1),
        };
        assert!(node.covers(&node));
        assert!(!node.covers(&wanted));
    }
}

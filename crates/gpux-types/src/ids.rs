//! Typed ids. Two ids of different kinds never mix, and each prints and parses in one way only.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading {kind} from {text:?}: expected {digits} hexadecimal digits")]
pub struct ParseIdError {
    /// The kind of id that was wanted.
    pub kind: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
    /// How many digits the kind has.
    pub digits: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people. Never use it as a key.
            #[must_use]
            pub fn short(&self) -> String {
                self.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let mut bytes = [0u8; $bytes];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseIdError {
                    kind: $kind,
                    text: text.chars().take(80).collect(),
                    digits: $bytes * 2,
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; $bytes]>::deserialize(deserializer).map(Self)
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": format!("^(0x)?[0-9a-fA-F]{{{}}}$", $bytes * 2) })
            }
        }
    };
}

hex_id!(
    /// One renter holding resources of one provider under one escrow: the hash of the terms.
    LeaseId, 32, "a lease id"
);
hex_id!(
    /// The hash of a quote, which is the salt of the terms.
    QuoteId, 32, "a quote id"
);
hex_id!(
    /// A machine that runs the daemon: the ed25519 public key of its endpoint.
    NodeId, 32, "a node id"
);
hex_id!(
    /// The BLAKE3 hash of a blob.
    BlobHash, 32, "a blob hash"
);
hex_id!(
    /// What the renter wants done; drawn at random when the job is accepted.
    JobId, 16, "a job id"
);

impl From<B256> for LeaseId {
    fn from(hash: B256) -> Self {
        Self(hash.0)
    }
}

impl From<LeaseId> for B256 {
    fn from(id: LeaseId) -> Self {
        Self(id.0)
    }
}

impl From<QuoteId> for B256 {
    fn from(id: QuoteId) -> Self {
        Self(id.0)
    }
}

/// The position of a part in its `array` job, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct PartIndex(pub u32);

impl fmt::Display for PartIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_printed() {
        let id = LeaseId([0xab; 32]);
        assert_eq!(id.to_string().parse::<LeaseId>(), Ok(id));
        assert_eq!(format!("0x{id}").parse::<LeaseId>(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<LeaseId>(&json).unwrap(), id);
    }

    #[test]
    fn a_text_of_another_length_is_refused_and_named() {
        let error = "abcd".parse::<JobId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading a job id from \"abcd\": expected 32 hexadecimal digits"
        );
    }
}

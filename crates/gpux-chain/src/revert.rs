//! Why a call would revert, or did: the contracts' custom errors as a typed reason with a safe sentence.

use crate::rpc::Refusal;
use alloy::{
    primitives::{Bytes, hex},
    sol_types::{Revert, SolError, SolInterface},
};
use std::fmt;

/// The longest text of a contract that is kept, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Why a contract refuses a call.
#[derive(Debug)]
pub enum RevertReason {
    /// One of the escrow's own errors, with the values that it compared.
    Escrow(Box<EscrowRevert>),
    /// One of the node directory's own errors.
    Directory(Box<DirectoryRevert>),
    /// One of a collector's own errors.
    Collector(Box<CollectorRevert>),
    /// An error of the token, by OpenZeppelin's names.
    Token(Box<TokenRevert>),
    /// A text, as `require` gives it.
    Message(String),
    /// Data of an unknown error, or none.
    Unknown(Bytes),
}

pub use crate::abi::{CollectorRevert, DirectoryRevert, EscrowRevert, TokenRevert};

impl RevertReason {
    /// The reason in a node's refusal; `None` when the refusal is not about a revert.
    pub(crate) fn of(refusal: &Refusal) -> Option<Self> {
        match &refusal.data {
            Some(data) => Some(Self::decode(data)),
            None if refusal.code == 3 || refusal.message.contains("revert") => Some(Self::Unknown(Bytes::new())),
            None => None,
        }
    }

    fn decode(data: &Bytes) -> Self {
        if let Ok(error) = EscrowRevert::abi_decode_validate(data) {
            return Self::Escrow(Box::new(error));
        }
        if let Ok(error) = TokenRevert::abi_decode_validate(data) {
            return Self::Token(Box::new(error));
        }
        if let Ok(error) = DirectoryRevert::abi_decode_validate(data) {
            return Self::Directory(Box::new(error));
        }
        if let Ok(error) = CollectorRevert::abi_decode_validate(data) {
            return Self::Collector(Box::new(error));
        }
        match Revert::abi_decode_validate(data) {
            Ok(revert) => Self::Message(gpux_types::shown(&revert.reason, MAX_REASON_CHARS)),
            Err(_) => Self::Unknown(data.clone()),
        }
    }
}

impl fmt::Display for RevertReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escrow(error) => error_name(f, &format!("{error:?}")),
            Self::Directory(error) => error_name(f, &format!("{error:?}")),
            Self::Collector(error) => error_name(f, &format!("{error:?}")),
            Self::Token(error) => error_name(f, &format!("{error:?}")),
            Self::Message(text) => write!(f, "the contract says {text:?}"),
            Self::Unknown(data) if data.is_empty() => f.write_str("the contract gives no reason"),
            Self::Unknown(data) => {
                write!(f, "unknown error 0x{}", hex::encode(data.get(..4).unwrap_or(data)))
            }
        }
    }
}

/// The error's name and values without the name of the generated enum around them.
fn error_name(f: &mut fmt::Formatter<'_>, debug: &str) -> fmt::Result {
    let inner = debug
        .split_once('(')
        .map_or(debug, |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    f.write_str(inner)
}

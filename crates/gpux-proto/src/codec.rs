//! One version byte, then postcard. Hostile bytes give an error: never a panic, never an allocation beyond the input.

use serde::{Serialize, de::DeserializeOwned};

/// The version of every message in this crate. A reader refuses another version; peers speak the version in the name of
/// the protocol that they negotiate (`gpux/calls/1`), so that a new version is a new name and old nodes keep talking.
pub const VERSION: u8 = 1;

/// The largest message of a call, in bytes. The largest honest one is a lease request with a full list of layers and
/// inputs (about 100 KiB); ten times that leaves room and still bounds what a peer can make us hold.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Bytes that are not a message of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("decoding a message: it is empty")]
    Empty,
    /// From another version of the protocol.
    #[error("decoding a message: expected version {VERSION}, got {got}")]
    Version {
        /// The version byte.
        got: u8,
    },
    /// Longer than any honest message.
    #[error("decoding a message of {got} bytes: the limit is {limit}")]
    TooLarge {
        /// Its length.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Cut, malformed, or out of a stated limit.
    #[error("decoding a message")]
    Malformed(#[source] postcard::Error),
    /// More bytes than the message has.
    #[error("decoding a message: {0} bytes are left over")]
    Trailing(usize),
}

/// The bytes of `message`.
///
/// # Panics
/// Never: the types of this crate always have an encoding.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_extend(message, vec![VERSION]).expect("the types of this crate have no unsized or fallible parts")
}

/// The message in `bytes`.
///
/// # Errors
/// When the bytes are of another version, too many, cut, malformed or followed by others.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_within(bytes, MAX_MESSAGE_BYTES)
}

/// The same for a document that may be of another length than a message.
pub(crate) fn decode_within<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        let got = bytes.len();
        return Err(DecodeError::TooLarge { got, limit });
    }
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != VERSION {
        return Err(DecodeError::Version { got: *version });
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(DecodeError::Malformed)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(DecodeError::Trailing(rest.len()))
    }
}

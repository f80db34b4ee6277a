//! How to reach a node, as the node directory on the chain carries it.
//!
//! Anybody may announce anything there: whoever reads an address believes nothing of it, and only tries it.

use crate::{DecodeError, decode, encode};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The most socket addresses of a node: every one costs a dialler packets.
pub const MAX_NODE_ADDRESSES: usize = 16;
/// The longest URL of a relay, in bytes.
pub const MAX_NODE_RELAY_BYTES: usize = 200;

/// Where a node may be reached. Encoded it always fits the 1,024 bytes that the directory takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Socket addresses to try, at most [`MAX_NODE_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// A relay that forwards to the node, as a URL of at most [`MAX_NODE_RELAY_BYTES`].
    pub relay: Option<String>,
}

/// Bytes that are not a node's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadAddressError {
    /// Not of this version, or malformed.
    #[error("reading a node's address")]
    Decode(#[from] DecodeError),
    /// More addresses than anybody should dial.
    #[error("reading a node's address with {got} socket addresses: the limit is {MAX_NODE_ADDRESSES}")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// A relay that is longer than any.
    #[error("reading a node's address with a relay of {got} bytes: the limit is {MAX_NODE_RELAY_BYTES}")]
    Relay {
        /// Its length.
        got: usize,
    },
}

impl NodeAddress {
    /// The bytes that the directory carries.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The address in `bytes`.
    ///
    /// # Errors
    /// When they are of another version, malformed, or hold more than a node's address may.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadAddressError> {
        let address: Self = decode(bytes)?;
        if address.addresses.len() > MAX_NODE_ADDRESSES {
            return Err(ReadAddressError::TooMany {
                got: address.addresses.len(),
            });
        }
        match address.relay.as_ref().map(String::len) {
            Some(got) if got > MAX_NODE_RELAY_BYTES => Err(ReadAddressError::Relay { got }),
            Some(_) | None => Ok(address),
        }
    }
}

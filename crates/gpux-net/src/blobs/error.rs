//! What can go wrong with blobs.

use crate::{calls::Retry, connections::Cause};
use gpux_types::{BlobHash, NodeId};
use std::{path::PathBuf, time::Duration};

/// The blob store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The path given is not absolute; the store works from another directory.
    #[error("using {0}: the path is not absolute")]
    NotAbsolute(PathBuf),
    /// A file could not be taken in.
    #[error("adding {path} to the blob store")]
    AddFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// Bytes could not be taken in.
    #[error("adding {len} bytes to the blob store")]
    AddBytes {
        /// How many.
        len: usize,
        /// Why.
        source: Cause,
    },
    /// The store could not say what it has of a blob.
    #[error("looking for blob {hash}")]
    Status {
        /// Which blob.
        hash: BlobHash,
        /// Why.
        source: Cause,
    },
    /// The blob is not here, or not whole.
    #[error("reading blob {0}: it is not here")]
    Missing(BlobHash),
    /// The blob is larger than the reader can take.
    #[error("reading blob {hash} of {size} bytes: the limit is {limit}")]
    TooLarge {
        /// Which blob.
        hash: BlobHash,
        /// Its size.
        size: u64,
        /// The reader's limit.
        limit: u64,
    },
    /// The blob's bytes could not be read.
    #[error("reading blob {hash}")]
    Read {
        /// Which blob.
        hash: BlobHash,
        /// Why.
        source: Cause,
    },
    /// The blob could not be written to a file.
    #[error("writing blob {hash} to {path}")]
    Export {
        /// Which blob.
        hash: BlobHash,
        /// Where to.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// It could not be noted who keeps a blob.
    #[error("noting who keeps blobs")]
    Keep(#[source] Cause),
}

/// No peer gave a blob.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The own store failed.
    #[error("fetching blob {hash}")]
    Store {
        /// Which blob.
        hash: BlobHash,
        /// Why.
        source: StoreError,
    },
    /// The blob is here, with another size than announced.
    #[error("fetching blob {hash}: {expected} bytes were announced, it has {got}")]
    OtherSize {
        /// Which blob.
        hash: BlobHash,
        /// The announced size.
        expected: u64,
        /// Its size.
        got: u64,
    },
    /// There was nobody to ask.
    #[error("fetching blob {0}: no peer to ask")]
    NoPeer(BlobHash),
    /// Every peer failed; this is how the last one did.
    #[error("fetching blob {hash} from {peer}")]
    Peer {
        /// Which blob.
        hash: BlobHash,
        /// The last peer that was asked.
        peer: NodeId,
        /// How it failed.
        source: PeerFetchError,
    },
}

/// How one peer failed to give a blob.
#[derive(Debug, thiserror::Error)]
pub enum PeerFetchError {
    /// No connection could be had.
    #[error("connecting")]
    Connect(#[source] Cause),
    /// It may not give it to us.
    #[error("it refused")]
    Refused,
    /// It has too much to do.
    #[error("it is busy")]
    Busy,
    /// It does not have the blob, or not all of it.
    #[error("it has not all of it")]
    Missing,
    /// It announced another size, so the blob is not the one that was agreed on.
    #[error("it announced {got} bytes instead of {expected}")]
    OtherSize {
        /// The agreed size.
        expected: u64,
        /// What it said.
        got: u64,
    },
    /// Its bytes do not have the blob's hash.
    #[error("it sent bytes that are not the blob's")]
    Corrupt(#[source] Cause),
    /// Nothing came for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The stream broke.
    #[error("the transfer was cut")]
    Cut(#[source] Cause),
    /// The bytes could not be written to the own store.
    #[error("writing to the blob store")]
    Write(#[source] Cause),
}

impl FetchError {
    /// Whether this node could not take the blob, whatever its peers gave.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        matches!(
            self,
            Self::Store { .. }
                | Self::Peer {
                    source: PeerFetchError::Write(_),
                    ..
                }
        )
    }

    /// Whether asking the same peers again may help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Store { .. } | Self::OtherSize { .. } | Self::NoPeer(_) => Retry::Never,
            Self::Peer { source, .. } => source.retry(),
        }
    }
}

impl PeerFetchError {
    /// Whether asking this peer again may help. What came before a cut is kept.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Cut(_) => Retry::Now,
            Self::Connect(_) | Self::Busy | Self::Stalled(_) => Retry::After(Duration::from_secs(1)),
            Self::Missing => Retry::After(Duration::from_secs(5)),
            Self::Refused | Self::OtherSize { .. } | Self::Corrupt(_) | Self::Write(_) => Retry::Never,
        }
    }
}

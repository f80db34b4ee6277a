//! What the unpacking child is asked and what it answers: one JSON value each way.
//!
//! The daemon reads the answer as a stranger's word: bounded, and only for what a spoiled layer may decide about itself.

use super::limits::UnpackLimits;
use crate::images::{Compression, Digest};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The child's one argument. The blob comes on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnpackTask {
    /// An existing, empty folder.
    pub(super) target: PathBuf,
    /// The first host id of the store's range.
    pub(super) store_first: u32,
    /// How the blob is compressed.
    pub(super) compression: Compression,
    /// The digest that the archive must have.
    pub(super) diff_id: Digest,
    /// Its bounds.
    pub(super) limits: UnpackLimits,
}

/// What the child made.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct UnpackReport {
    /// Entries made, implied folders included.
    pub(super) entries: u64,
    /// Bytes of files.
    pub(super) bytes: u64,
    /// Device nodes left out: containers get their own `/dev`.
    pub(super) skipped_devices: u64,
    /// Folders that hide what lower layers have in them. The mark needs a right that the child does not have.
    pub(super) opaque: Vec<Vec<u8>>,
}

/// The child's one line of output.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum UnpackAnswer {
    /// The layer is unpacked.
    Done(UnpackReport),
    /// The layer was refused.
    Refused(LayerFault),
}

/// Why a layer was refused. Paths are those inside the layer, cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LayerFault {
    /// The compressed stream or the archive is not well-formed.
    #[error("the archive is damaged: {reason}")]
    Damaged {
        /// What the decoder said.
        reason: String,
    },
    /// The archive is another one than the image's configuration names.
    #[error("the unpacked layer is {got}, the image's configuration names {expected}")]
    DiffId {
        /// What the configuration names.
        expected: Digest,
        /// What was unpacked.
        got: Digest,
    },
    /// It unpacks to more than allowed.
    #[error("the layer unpacks to more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// It has more entries than allowed.
    #[error("the layer has more than {limit} entries")]
    TooManyEntries {
        /// The bound.
        limit: u64,
    },
    /// One file is larger than allowed.
    #[error("the file {path:?} claims {size} bytes: the most is {limit}")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its claim.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// A path is too long or too deep.
    #[error("the path {path:?} is longer or deeper than allowed ({limit} bytes, {depth} names)")]
    PathTooLong {
        /// The path.
        path: String,
        /// Most bytes.
        limit: usize,
        /// Most names.
        depth: usize,
    },
    /// A path leads out of the layer, or is no path.
    #[error("the path {path:?} leads out of the layer or is no path")]
    Escapes {
        /// The path.
        path: String,
    },
    /// A whiteout names nothing that it could hide.
    #[error("the whiteout {path:?} names no file")]
    Whiteout {
        /// The path.
        path: String,
    },
    /// A hard link to something that is not in this layer, or that cannot be linked.
    #[error("the hard link {path:?} points to {target:?}, which is no file of this layer")]
    HardLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// An owner that no container can have.
    #[error("the owner {uid}:{gid} of {path:?} is outside 0 to 65535")]
    Owner {
        /// The entry.
        path: String,
        /// User id.
        uid: u64,
        /// Group id.
        gid: u64,
    },
    /// A kind of entry that is not unpacked (a sparse file, or one that the tar format does not know).
    #[error("the entry {path:?} is of the kind {kind:?}, which is not supported")]
    Kind {
        /// The entry.
        path: String,
        /// The type byte of its header, or `sparse`.
        kind: String,
    },
    /// The kernel refused a step for one entry.
    #[error("unpacking {path:?}: {reason}")]
    Entry {
        /// The entry.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The jail could not be set up: this machine's fault, not the layer's.
    #[error("setting up the jail of the unpacking process ({step}): {reason}")]
    Jail {
        /// The step.
        step: String,
        /// What the system said.
        reason: String,
    },
}

/// A path as it may stand in a message: lossy, at most 200 characters.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

//! How much one layer may unpack to.

use gpux_types::ByteSize;
use serde::{Deserialize, Serialize};

/// Bounds on one layer. Reaching one refuses the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackLimits {
    /// Bytes of all files together, each entry counted with 4 KiB more. Default 64 GiB: model weights are that large.
    pub total: ByteSize,
    /// Bytes of one file. Default 32 GiB.
    pub file: ByteSize,
    /// Entries, folders that are only implied by a path included. Default 2,000,000: the largest Python images have half of that.
    pub entries: u64,
    /// Bytes of a path. Default 4,096, the kernel's own limit.
    pub path_bytes: usize,
    /// Names in a path. Default 128: deeper trees cost a descriptor a level to walk or remove.
    pub depth: usize,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            total: ByteSize(64 << 30),
            file: ByteSize(32 << 30),
            entries: 2_000_000,
            path_bytes: 4_096,
            depth: 128,
        }
    }
}

//! Changes to a request that would make it match, and how a person reads them.

use crate::{place::Closeness, score::Reliability};
use gpux_types::{Amount, ByteSize, Cpu, Millis, PricePerHour, Tag, Token};
use std::{collections::BTreeSet, num::NonZeroU32};

/// One bound of a request, moved just as far as the market needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Fewer nodes.
    Nodes {
        /// As requested.
        from: NonZeroU32,
        /// As found.
        to: NonZeroU32,
    },
    /// Fewer nodes to stand by.
    Spares {
        /// As requested.
        from: u32,
        /// As found.
        to: u32,
    },
    /// Nodes that are further apart.
    Apart {
        /// As requested.
        from: Closeness,
        /// As found.
        to: Closeness,
    },
    /// Fewer GPUs on each node; none when 0.
    Gpus {
        /// As requested.
        from: u32,
        /// As found.
        to: u32,
    },
    /// Less memory on each GPU.
    GpuMemory {
        /// As requested.
        from: ByteSize,
        /// As found.
        to: ByteSize,
    },
    /// Accept any model of GPU.
    GpuModel {
        /// The model to give up.
        without: Tag,
    },
    /// Nodes that kept their word less often.
    Reliability {
        /// As requested.
        from: Reliability,
        /// As found.
        to: Reliability,
    },
    /// Fewer cores on each node.
    Cpu {
        /// As requested.
        from: Cpu,
        /// As found.
        to: Cpu,
    },
    /// Less memory on each node.
    Memory {
        /// As requested.
        from: ByteSize,
        /// As found.
        to: ByteSize,
    },
    /// Less disk on each node.
    Disk {
        /// As requested.
        from: ByteSize,
        /// As found.
        to: ByteSize,
    },
    /// A shorter or longer lease.
    Duration {
        /// As requested.
        from: Millis,
        /// As accepted.
        to: Millis,
    },
    /// A longer grace in the terms.
    Grace {
        /// As requested, in seconds.
        from: u32,
        /// As accepted, in seconds.
        to: u32,
    },
    /// A higher price per node and hour.
    MaxPrice {
        /// As requested.
        from: PricePerHour,
        /// As asked by the dearest of the nodes needed.
        to: PricePerHour,
    },
    /// More money for all deposits together.
    MaxTotal {
        /// As requested.
        from: Amount,
        /// What the deposits sum to.
        to: Amount,
    },
    /// Do without some features.
    Features {
        /// The features to give up.
        without: BTreeSet<Tag>,
    },
    /// Accept any region.
    Region {
        /// The region to give up.
        without: Tag,
    },
}

/// Changes that together make the request match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// The changes, one for each bound at most. Usually one alone.
    pub changes: Vec<Change>,
    /// How many nodes would match then.
    pub matching: usize,
}

impl Change {
    /// What giving up a wish counts, in thousandths: as much as halving a number.
    pub(crate) const GIVEN_UP: u64 = 500;

    /// The change as an instruction, in the job file's words: `cpu: 2`.
    #[must_use]
    pub fn text(&self, token: &Token) -> String {
        match self {
            Self::Nodes { to, .. } => format!("nodes: {to}"),
            Self::Spares { to, .. } => format!("spares: {to}"),
            Self::Apart { to, .. } => format!("nodes {to}"),
            Self::Gpus { to: 0, .. } => "no GPUs".to_owned(),
            Self::Gpus { to, .. } => format!("GPUs: {to}"),
            Self::GpuMemory { to, .. } => format!("GPU memory: {}", to.exact()),
            Self::GpuModel { without } => format!("any model of GPU instead of {without}"),
            Self::Reliability { to, .. } => format!("a reliability of {} in 1000", to.as_per_mille()),
            Self::Cpu { to, .. } => format!("cpu: {to}"),
            Self::Memory { to, .. } => format!("memory: {}", to.exact()),
            Self::Disk { to, .. } => format!("disk: {}", to.exact()),
            Self::Duration { to, .. } => format!("max_duration: {to}"),
            Self::Grace { to, .. } => format!("a grace of {to} s"),
            Self::MaxPrice { to, .. } => format!("max_price: {}/hour", token.format(to.0)),
            Self::MaxTotal { to, .. } => format!("max_total: {}", token.format(*to)),
            Self::Features { without } => {
                let names: Vec<_> = without.iter().map(Tag::as_str).collect();
                format!("no need of {}", names.join(", "))
            }
            Self::Region { without } => format!("any region instead of {without}"),
        }
    }

    /// How far the bound moves, in thousandths of where it was; giving up a wish counts as half of it. Orders changes,
    /// so that the nearest comes first.
    pub(crate) fn distance(&self) -> u64 {
        match self {
            Self::Nodes { from, to } => apart(u128::from(from.get()), u128::from(to.get())),
            Self::Cpu { from, to } => apart(u128::from(from.millicores), u128::from(to.millicores)),
            // Work that needs GPUs seldom does without: the last advice of all.
            Self::Gpus { to: 0, .. } => MAX_APART,
            Self::Spares { from, to } | Self::Gpus { from, to } => apart(u128::from(*from), u128::from(*to)),
            Self::Reliability { from, to } => apart(from.as_per_mille().into(), to.as_per_mille().into()),
            Self::GpuMemory { from, to } | Self::Memory { from, to } | Self::Disk { from, to } => {
                apart(u128::from(from.0), u128::from(to.0))
            }
            Self::Duration { from, to } => apart(u128::from(from.0), u128::from(to.0)),
            Self::Grace { from, to } => apart(u128::from(*from), u128::from(*to)),
            Self::MaxPrice { from, to } => apart(from.0.units(), to.0.units()),
            Self::MaxTotal { from, to } => apart(from.units(), to.units()),
            Self::Features { .. } | Self::Region { .. } | Self::GpuModel { .. } | Self::Apart { .. } => Self::GIVEN_UP,
        }
    }
}

/// The most that one change counts, in thousandths.
const MAX_APART: u64 = 100_000;

/// How far `to` is from `from`, in thousandths of `from`.
pub(crate) fn apart(from: u128, to: u128) -> u64 {
    // Amounts are below 2^96, so the factor fits.
    let distance = from.abs_diff(to) * 1_000 / from.max(1);
    u64::try_from(distance).unwrap_or(u64::MAX).min(MAX_APART)
}

impl Nearest {
    /// The advice in one line: `3 nodes would match with cpu: 2`.
    #[must_use]
    pub fn text(&self, token: &Token) -> String {
        let changes: Vec<_> = self.changes.iter().map(|change| change.text(token)).collect();
        let nodes = if self.matching == 1 { "node" } else { "nodes" };
        format!("{} {nodes} would match with {}", self.matching, changes.join(" and "))
    }

    pub(crate) fn distance(&self) -> u64 {
        self.changes.iter().map(Change::distance).sum()
    }
}

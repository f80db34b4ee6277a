//! What a renter wants of the market, once the job, the wallet and the chain are known.

use crate::{
    change::{Change, Nearest},
    tag::Tag,
};
use gpux_types::{Address, Amount, BasisPoints, Millis, NodeId, PricePerHour, Resources};
use std::{collections::BTreeSet, num::NonZeroU32};

/// A wish for some nodes, all or none. Every bound means "at least" or "at most".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How many different nodes.
    pub nodes: NonZeroU32,
    /// What each lease holds.
    pub resources: Resources,
    /// How long each deposit shall pay.
    pub duration: Millis,
    /// What of a deposit is held back: the provider stops this long before the deposit is used up.
    pub reserve: Millis,
    /// The chain of the renter's escrow.
    pub chain_id: u64,
    /// The renter's escrow contract.
    pub escrow: Address,
    /// The token that the renter pays in.
    pub token: Address,
    /// The grace that the terms will give, in seconds.
    pub grace_secs: u32,
    /// The share of the builder of the job's app, on top of net prices.
    pub builder_share: BasisPoints,
    /// The most that one node may cost per hour, the builder's share included.
    pub max_price: Option<PricePerHour>,
    /// The most that all deposits together may be.
    pub max_total: Option<Amount>,
    /// What every node must be able to do.
    pub features: BTreeSet<Tag>,
    /// Where every node must be.
    pub region: Option<Tag>,
    /// Nodes not to use, for instance because they failed this job before.
    pub exclude: BTreeSet<NodeId>,
}

impl Request {
    /// This request with the changes made that a plan named.
    #[must_use]
    pub fn with(&self, nearest: &Nearest) -> Self {
        let mut request = self.clone();
        for change in &nearest.changes {
            request.apply(change);
        }
        request
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Nodes { to, .. } => self.nodes = *to,
            Change::Cpu { to, .. } => self.resources.cpu = *to,
            Change::Memory { to, .. } => self.resources.memory = *to,
            Change::Disk { to, .. } => self.resources.disk = *to,
            Change::Duration { to, .. } => self.duration = *to,
            Change::Grace { to, .. } => self.grace_secs = *to,
            Change::MaxPrice { to, .. } => self.max_price = Some(*to),
            Change::MaxTotal { to, .. } => self.max_total = Some(*to),
            Change::Features { without } => self.features.retain(|feature| !without.contains(feature)),
            Change::Region { .. } => self.region = None,
        }
    }
}

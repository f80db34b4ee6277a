//! What a renter wants of the market, once the job, the wallet and the chain are known.

use crate::{
    change::{Change, Nearest},
    gpu::GpuWish,
    offer::Offer,
    place::Topology,
    score::Reliability,
};
use gpux_types::{Address, Amount, BasisPoints, Millis, NodeId, PricePerHour, Resources, Tag};
use std::{collections::BTreeSet, num::NonZeroU32};

/// A wish for some nodes, all or none. Every bound means "at least" or "at most".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How many different nodes.
    pub nodes: NonZeroU32,
    /// So many of them are enough where not all can be had; all when `None`.
    pub enough: Option<NonZeroU32>,
    /// How many nodes more are leased, by the same bounds, to stand by for one that is lost.
    pub spares: u32,
    /// How close together all of them shall be, the spares included.
    pub topology: Topology,
    /// What each lease holds.
    pub resources: Resources,
    /// What GPUs each lease holds.
    pub gpus: Option<GpuWish>,
    /// The least that a node may have kept its word, as this renter has seen it.
    pub min_reliability: Reliability,
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

    /// The net price per hour of the requested lease under `offer`: its resources, and its GPUs at their own rate.
    #[must_use]
    pub fn net_price(&self, offer: &Offer) -> PricePerHour {
        let plain = offer.price_of(&self.resources);
        // Reading an offer's GPUs takes longer than all the rest: only where they are asked for.
        let Some(wish) = &self.gpus else { return plain };
        let Some(gpus) = offer.gpus() else { return plain };
        PricePerHour(gpus.price_of(wish.count.get()).0.saturating_add(plain.0))
    }

    /// How many leases at most: nodes and spares.
    pub(crate) fn all_nodes(&self) -> usize {
        as_len(self.nodes.get()).saturating_add(as_len(self.spares))
    }

    /// How many leases are enough.
    pub(crate) fn enough_nodes(&self) -> usize {
        let enough = self.enough.map_or(self.nodes, |enough| enough.min(self.nodes));
        as_len(enough.get()).saturating_add(as_len(self.spares))
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Nodes { to, .. } => {
                self.nodes = *to;
                self.enough = None;
            }
            Change::Spares { to, .. } => self.spares = *to,
            Change::Apart { to, .. } => self.topology.closeness = *to,
            Change::Gpus { to, .. } => match (NonZeroU32::new(*to), &mut self.gpus) {
                (Some(count), Some(wish)) => wish.count = count,
                (_, gpus) => *gpus = None,
            },
            Change::GpuMemory { to, .. } => {
                if let Some(wish) = &mut self.gpus {
                    wish.memory = *to;
                }
            }
            Change::GpuModel { .. } => {
                if let Some(wish) = &mut self.gpus {
                    wish.model = None;
                }
            }
            Change::Reliability { to, .. } => self.min_reliability = *to,
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

fn as_len(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

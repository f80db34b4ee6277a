//! Whether one offer alone meets a request, and every reason when it does not.

use crate::{cost::gross_price, gpu::Gpus, offer::Offer, request::Request, score::Reliability};
use gpux_types::{Address, ByteSize, Cpu, Millis, PricePerHour, Tag, Token};
use std::collections::BTreeSet;

/// One bound of the request that an offer does not meet: what was wanted, and what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The provider accepts another escrow, perhaps on another chain.
    Escrow {
        /// The chain of the provider's escrow.
        chain_id: u64,
        /// The provider's escrow.
        escrow: Address,
    },
    /// The provider wants another token.
    Token {
        /// The provider's token.
        token: Address,
    },
    /// The renter excluded the node, such as one that went back on its offer.
    Excluded,
    /// Too few cores in one piece.
    Cpu {
        /// Requested for each node.
        wanted: Cpu,
        /// The most that one lease gets now.
        has: Cpu,
        /// What the node shares altogether.
        total: Cpu,
    },
    /// Too little memory.
    Memory {
        /// Requested for each node.
        wanted: ByteSize,
        /// The most that one lease gets now.
        has: ByteSize,
        /// What the node shares altogether.
        total: ByteSize,
    },
    /// Too little disk.
    Disk {
        /// Requested for each node.
        wanted: ByteSize,
        /// The most that one lease gets now.
        has: ByteSize,
        /// What the node shares altogether.
        total: ByteSize,
    },
    /// Too few GPUs in one piece, or none at all.
    Gpus {
        /// Requested for each node.
        wanted: u32,
        /// The most that one lease gets now.
        has: u32,
        /// What the node shares altogether.
        total: u32,
    },
    /// GPUs of another model.
    GpuModel {
        /// Requested.
        wanted: Tag,
        /// What the node has.
        has: Tag,
    },
    /// GPUs with too little memory.
    GpuMemory {
        /// Requested for each.
        wanted: ByteSize,
        /// What each has.
        has: ByteSize,
    },
    /// The node broke its word too often, as this renter has seen.
    Reliability {
        /// The least that is accepted.
        wanted: Reliability,
        /// The node's.
        has: Reliability,
    },
    /// Dearer than the renter's limit.
    Price {
        /// The renter's limit.
        max: PricePerHour,
        /// The price with the builder's share.
        price: PricePerHour,
    },
    /// The provider takes no lease as short.
    TooShort {
        /// Requested.
        wanted: Millis,
        /// The provider's shortest.
        min: Millis,
    },
    /// The provider takes no lease as long.
    TooLong {
        /// Requested.
        wanted: Millis,
        /// The provider's longest.
        max: Millis,
    },
    /// The provider wants a longer grace, in seconds.
    Grace {
        /// Requested.
        wanted: u32,
        /// The provider's shortest.
        min: u32,
    },
    /// The node lacks features.
    Features {
        /// Those that are missing.
        missing: BTreeSet<Tag>,
    },
    /// The node is elsewhere, or does not say where.
    Region {
        /// Requested.
        wanted: Tag,
        /// Where the node is.
        has: Option<Tag>,
    },
}

impl Reason {
    pub(crate) const PRICE: &str = "price";

    /// The bound that is not met, in one word: what reasons are counted by.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Escrow { .. } => "escrow",
            Self::Token { .. } => "token",
            Self::Excluded => "left-out",
            Self::Cpu { .. } => "cpu",
            Self::Memory { .. } => "memory",
            Self::Disk { .. } => "disk",
            Self::Gpus { .. } => "gpus",
            Self::GpuModel { .. } => "gpu-model",
            Self::GpuMemory { .. } => "gpu-memory",
            Self::Reliability { .. } => "reliability",
            Self::Price { .. } => Self::PRICE,
            Self::TooShort { .. } => "too-short",
            Self::TooLong { .. } => "too-long",
            Self::Grace { .. } => "grace",
            Self::Features { .. } => "features",
            Self::Region { .. } => "region",
        }
    }

    /// The reason as a clause about the node: `has 1 of 4 cores free, wanted 2`.
    #[must_use]
    pub fn text(&self, token: &Token) -> String {
        match self {
            Self::Escrow { chain_id, escrow } => format!("settles in escrow {escrow} on chain {chain_id}"),
            Self::Token { token } => format!("wants token {token}"),
            Self::Excluded => "is left out for now, as one that went back on its offer".to_owned(),
            Self::Cpu { wanted, has, total } => format!("leases {has} of {total} cores now, wanted {wanted}"),
            Self::Memory { wanted, has, total } => {
                format!("leases {has} of {total} of memory now, wanted {wanted}")
            }
            Self::Disk { wanted, has, total } => format!("leases {has} of {total} of disk now, wanted {wanted}"),
            Self::Gpus { wanted, total: 0, .. } => format!("offers no GPUs, wanted {wanted}"),
            Self::Gpus { wanted, has, total } => format!("leases {has} of {total} GPUs now, wanted {wanted}"),
            Self::GpuModel { wanted, has } => format!("has GPUs of model {has}, wanted {wanted}"),
            Self::GpuMemory { wanted, has } => format!("has {has} of memory on each GPU, wanted {wanted}"),
            Self::Reliability { wanted, has } => {
                let (has, wanted) = (has.as_per_mille(), wanted.as_per_mille());
                format!("kept its word {has} of 1000 times as you have seen it, wanted {wanted}")
            }
            Self::Price { max, price } => {
                format!(
                    "costs {}/hour, over {}/hour",
                    token.format(price.0),
                    token.format(max.0)
                )
            }
            Self::TooShort { wanted, min } => format!("leases for {min} at least, wanted {wanted}"),
            Self::TooLong { wanted, max } => format!("leases for {max} at most, wanted {wanted}"),
            Self::Grace { wanted, min } => format!("wants a grace of {min} s at least, not {wanted} s"),
            Self::Features { missing } => {
                let names: Vec<_> = missing.iter().map(Tag::as_str).collect();
                format!("lacks {}", names.join(", "))
            }
            Self::Region { wanted, has: Some(has) } => format!("is in {has}, wanted {wanted}"),
            Self::Region { wanted, has: None } => format!("does not say its region, wanted {wanted}"),
        }
    }
}

/// Whether `offer` meets every bound of `request` that does not need the renter's own memory.
pub(crate) fn meets(request: &Request, offer: &Offer) -> bool {
    // What most often fails, before anything is written down.
    offer.largest.covers(&request.resources) && unmet(request, offer, Reliability::PERFECT).is_empty()
}

/// Every bound of `request` that `offer` does not meet, in a fixed order; none when it matches.
pub(crate) fn unmet(request: &Request, offer: &Offer, has: Reliability) -> Vec<Reason> {
    let mut reasons = Vec::new();
    market(request, offer, &mut reasons);
    resources(request, offer, &mut reasons);
    gpus(request, offer, &mut reasons);
    if has < request.min_reliability {
        let wanted = request.min_reliability;
        reasons.push(Reason::Reliability { wanted, has });
    }
    let gross = gross_price(request, offer);
    if let Some(max) = request.max_price
        && gross > max
    {
        reasons.push(Reason::Price { max, price: gross });
    }
    times(request, offer, &mut reasons);
    if !request.features.is_subset(&offer.features) {
        let missing = request.features.difference(&offer.features).cloned().collect();
        reasons.push(Reason::Features { missing });
    }
    if let Some(wanted) = &request.region
        && offer.region.as_ref() != Some(wanted)
    {
        reasons.push(Reason::Region {
            wanted: wanted.clone(),
            has: offer.region.clone(),
        });
    }
    reasons
}

fn times(request: &Request, offer: &Offer, reasons: &mut Vec<Reason>) {
    let wanted = request.duration;
    if wanted < offer.lease_min {
        reasons.push(Reason::TooShort {
            wanted,
            min: offer.lease_min,
        });
    }
    if wanted > offer.lease_max {
        reasons.push(Reason::TooLong {
            wanted,
            max: offer.lease_max,
        });
    }
    if request.grace_secs < offer.grace_min_secs {
        reasons.push(Reason::Grace {
            wanted: request.grace_secs,
            min: offer.grace_min_secs,
        });
    }
}

/// What no change of the request but another wallet or a pardon can mend.
fn market(request: &Request, offer: &Offer, reasons: &mut Vec<Reason>) {
    if (request.chain_id, request.escrow) != (offer.chain_id, offer.escrow) {
        reasons.push(Reason::Escrow {
            chain_id: offer.chain_id,
            escrow: offer.escrow,
        });
    }
    if request.token != offer.token {
        reasons.push(Reason::Token { token: offer.token });
    }
    if request.exclude.contains(&offer.node) {
        reasons.push(Reason::Excluded);
    }
}

fn resources(request: &Request, offer: &Offer, reasons: &mut Vec<Reason>) {
    let (wanted, has, total) = (&request.resources, &offer.largest, &offer.total);
    if has.cpu < wanted.cpu {
        reasons.push(Reason::Cpu {
            wanted: wanted.cpu,
            has: has.cpu,
            total: total.cpu,
        });
    }
    if has.memory < wanted.memory {
        reasons.push(Reason::Memory {
            wanted: wanted.memory,
            has: has.memory,
            total: total.memory,
        });
    }
    if has.disk < wanted.disk {
        reasons.push(Reason::Disk {
            wanted: wanted.disk,
            has: has.disk,
            total: total.disk,
        });
    }
}

fn gpus(request: &Request, offer: &Offer, reasons: &mut Vec<Reason>) {
    let Some(wish) = &request.gpus else { return };
    let wanted = wish.count.get();
    let Some(Gpus {
        model,
        free,
        total,
        memory,
        ..
    }) = offer.gpus()
    else {
        let (has, total) = (0, 0);
        reasons.push(Reason::Gpus { wanted, has, total });
        return;
    };
    if free < wanted {
        reasons.push(Reason::Gpus {
            wanted,
            has: free,
            total,
        });
    }
    if let Some(wanted) = wish.model.as_ref().filter(|wanted| **wanted != model) {
        let wanted = wanted.clone();
        reasons.push(Reason::GpuModel { wanted, has: model });
    }
    if memory < wish.memory {
        reasons.push(Reason::GpuMemory {
            wanted: wish.memory,
            has: memory,
        });
    }
}

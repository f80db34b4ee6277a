//! What a provider sells. The wire crate versions and signs this type; nothing here checks a signature.

use crate::{gpu::Gpus, rates::Rates};
use gpux_types::{Address, Millis, NodeId, PricePerHour, Resources, Tag};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, net::SocketAddr};

/// The most features of one offer: it must fit into one gossip message.
const MAX_FEATURES: usize = 32;
/// The most socket addresses of one offer; a node with more lists the best.
const MAX_ADDRESSES: usize = 16;
/// The longest name of a processor, in bytes.
const MAX_CPU_MODEL: usize = 64;
/// The longest address of a relay, in bytes.
const MAX_RELAY: usize = 256;
/// The shortest life of an offer: shorter ones would be gone before they have travelled.
const MIN_TTL: Millis = Millis::from_secs(1);
/// The longest life of an offer: how long a node that vanished can still be listed.
const MAX_TTL: Millis = Millis::from_secs(3_600);
/// The longest lease: the escrow accepts no expiry beyond 90 days.
const MAX_LEASE: Millis = Millis::from_secs(90 * 86_400);

/// One node's offer: who sells, what, at which rates, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The node.
    pub node: NodeId,
    /// The key that signs the offer and stands behind the node.
    pub wallet: Address,
    /// The address that is paid.
    pub provider: Address,
    /// The hot key that settles and signs closing amounts.
    pub signer: Address,
    /// Grows with each offer that the node signs, also over restarts.
    pub sequence: u64,
    /// How long the offer lives from when it was received.
    pub ttl: Millis,
    /// The chain of the escrow.
    pub chain_id: u64,
    /// The escrow contract that the provider accepts.
    pub escrow: Address,
    /// The token that the rates are in.
    pub token: Address,
    /// Net rates.
    pub rates: Rates,
    /// What the node shares altogether, measured by itself.
    pub total: Resources,
    /// What is not leased now.
    pub free: Resources,
    /// The largest single lease that the node would take now.
    pub largest: Resources,
    /// The processor's name, for people.
    pub cpu_model: String,
    /// Measured speed of one core; 1,000 is the reference core.
    pub cpu_score: u32,
    /// What the node can do beyond plain containers.
    pub features: BTreeSet<Tag>,
    /// Where the node says it is.
    pub region: Option<Tag>,
    /// The shortest lease that the node takes.
    pub lease_min: Millis,
    /// The longest lease that the node takes.
    pub lease_max: Millis,
    /// The shortest grace that the node accepts in terms, in seconds.
    pub grace_min_secs: u32,
    /// Where the node's endpoint listens, best first.
    pub addresses: Vec<SocketAddr>,
    /// The relay through which the node can be reached.
    pub relay: Option<String>,
}

/// Why an offer is not fit for the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// An address that must be somebody's is zero.
    #[error("checking an offer: the {0} address is zero")]
    ZeroAddress(&'static str),
    /// Shares less than it says is free, or can lease more at once than is free.
    #[error("checking an offer: {small} resources exceed {large} resources")]
    Contradiction {
        /// Which resources are too many.
        small: &'static str,
        /// Which resources they must fit into.
        large: &'static str,
    },
    /// A duration outside what the market accepts.
    #[error("checking an offer: {what} of {got} is outside {min} to {max}")]
    Duration {
        /// Which duration.
        what: &'static str,
        /// What the offer says.
        got: Millis,
        /// The least accepted.
        min: Millis,
        /// The most accepted.
        max: Millis,
    },
    /// A list or text that is too long.
    #[error("checking an offer: {what} has a length of {got}, over the limit of {limit}")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The longest accepted.
        limit: usize,
    },
    /// A text with characters that do not belong on a screen.
    #[error("checking an offer: {0} holds characters that are not printable ASCII")]
    Unprintable(&'static str),
}

impl Offer {
    /// The net price per hour of a lease of `resources` on this node.
    #[must_use]
    pub fn price_of(&self, resources: &Resources) -> PricePerHour {
        self.rates.price_of(resources)
    }

    /// The GPUs that the node sells, as its features say.
    #[must_use]
    pub fn gpus(&self) -> Option<Gpus> {
        // Most offers have no features: nothing to look for then.
        if self.features.is_empty() {
            None
        } else {
            Gpus::of(&self.features)
        }
    }

    /// Whether the offer is bounded and says nothing impossible. It may still be untrue.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), OfferError> {
        let addresses = [
            ("wallet", self.wallet),
            ("provider", self.provider),
            ("signer", self.signer),
            ("escrow", self.escrow),
            ("token", self.token),
        ];
        if let Some((name, _)) = addresses.into_iter().find(|(_, address)| address.is_zero()) {
            return Err(OfferError::ZeroAddress(name));
        }
        fits("free", &self.free, "shared", &self.total)?;
        fits("largest lease's", &self.largest, "free", &self.free)?;
        within("a life", self.ttl, MIN_TTL, MAX_TTL)?;
        within("a longest lease", self.lease_max, Millis(1), MAX_LEASE)?;
        within("a shortest lease", self.lease_min, Millis::ZERO, self.lease_max)?;
        at_most("the list of features", self.features.len(), MAX_FEATURES)?;
        at_most("the list of addresses", self.addresses.len(), MAX_ADDRESSES)?;
        printable("the processor's name", &self.cpu_model, MAX_CPU_MODEL)?;
        printable("the relay", self.relay.as_deref().unwrap_or_default(), MAX_RELAY)
    }
}

fn fits(small: &'static str, inner: &Resources, large: &'static str, outer: &Resources) -> Result<(), OfferError> {
    if outer.covers(inner) {
        Ok(())
    } else {
        Err(OfferError::Contradiction { small, large })
    }
}

fn within(what: &'static str, got: Millis, min: Millis, max: Millis) -> Result<(), OfferError> {
    if (min..=max).contains(&got) {
        Ok(())
    } else {
        Err(OfferError::Duration { what, got, min, max })
    }
}

fn at_most(what: &'static str, got: usize, limit: usize) -> Result<(), OfferError> {
    if got <= limit {
        Ok(())
    } else {
        Err(OfferError::TooLong { what, got, limit })
    }
}

fn printable(what: &'static str, text: &str, limit: usize) -> Result<(), OfferError> {
    at_most(what, text.len(), limit)?;
    if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(OfferError::Unprintable(what))
    }
}

//! Where nodes say that they stand, and how close together a set of them is.
//!
//! All of it is the provider's word. A site is a name in its owner's own scope: the same name of another wallet is
//! another site, so that nobody can join somebody else's.

use crate::{gpu, offer::Offer};
use gpux_types::{Address, Tag};
use std::fmt;

/// How close together the nodes of a set are; closer is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Closeness {
    /// Anywhere.
    #[default]
    Any,
    /// In one region.
    Region,
    /// In one site of one owner.
    Site,
}

/// How close together the nodes of a job shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Topology {
    /// This close, or closer.
    pub closeness: Closeness,
    /// Rather no nodes than nodes that are further apart. Otherwise being further apart counts against a set, see
    /// [`crate::set_score`].
    pub required: bool,
}

/// A place in which nodes can be together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Region(Tag),
    Site {
        owner: Address,
        region: Option<Tag>,
        name: Tag,
    },
}

impl Place {
    /// How close together all that are in it are.
    pub(crate) const fn closeness(&self) -> Closeness {
        match self {
            Self::Region(_) => Closeness::Region,
            Self::Site { .. } => Closeness::Site,
        }
    }

    /// The offer's place of one closeness, where it names one.
    pub(crate) fn of(offer: &Offer, closeness: Closeness) -> Option<Self> {
        match closeness {
            Closeness::Any => None,
            Closeness::Region => offer.region.clone().map(Self::Region),
            Closeness::Site => Some(Self::Site {
                owner: offer.wallet,
                region: offer.region.clone(),
                name: gpu::site(&offer.features)?.parse().ok()?,
            }),
        }
    }
}

/// How close together `offers` are. One alone is as close as can be.
pub(crate) fn closeness<'a>(offers: impl Iterator<Item = &'a Offer> + Clone) -> Closeness {
    let together = |closeness| {
        let mut places = offers.clone().map(|offer| Place::of(offer, closeness));
        let first = places.next().flatten();
        first.is_some() && places.all(|place| place == first)
    };
    if offers.clone().nth(1).is_none() || together(Closeness::Site) {
        Closeness::Site
    } else if together(Closeness::Region) {
        Closeness::Region
    } else {
        Closeness::Any
    }
}

impl fmt::Display for Closeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "anywhere",
            Self::Region => "in one region",
            Self::Site => "in one site",
        })
    }
}

//! Names that a search compares, as numbers: the market, GPU model, region, site and features of the offers in the index.
//!
//! A label has a small number while an offer uses it, since places are counted by it. A feature's number is a hash of it:
//! peers may give each offer thirty features of its own, and a table of them would be larger than the offers. Should two
//! features ever share a number, the offer itself still decides.

use crate::{
    gpu,
    offer::Offer,
    place::{Closeness, Place},
    request::Request,
};
use gpux_types::{Address, Tag};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// The number of a label. 0 stands for none.
pub(super) type LabelId = u32;
/// The number of any name: of a label, or above those, of a feature.
pub(super) type NameId = u64;

/// What sets the numbers of features apart from those of labels.
const FEATURE: NameId = 1 << 63;
/// The most bytes that a label's texts take beside it.
const TEXTS: usize = 2 * Tag::MAX_LEN;

/// A name by which offers lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Market {
        chain_id: u64,
        escrow: Address,
        token: Address,
    },
    Model(Tag),
    Place(Place),
}

/// The labels in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    known: BTreeMap<Label, LabelId>,
    /// How many offers have the label of each number; none has the first.
    counts: Vec<u32>,
    free: Vec<LabelId>,
}

/// The numbers of everything that an offer is called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Market, model, region and site.
    pub(super) labels: [LabelId; 4],
    features: Vec<NameId>,
}

impl Names {
    pub(super) fn new(offer: &Offer, labels: [LabelId; 4]) -> Self {
        Self {
            labels,
            features: features(&offer.features).collect(),
        }
    }

    /// The numbers of the region and the site.
    pub(super) const fn places(&self) -> [LabelId; 2] {
        let [_, _, region, site] = self.labels;
        [region, site]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = NameId> {
        let labels = self.labels.into_iter().filter(|id| *id != 0).map(NameId::from);
        labels.chain(self.features.iter().copied())
    }
}

/// The numbers of features, but not of those about GPUs and sites: these hold numbers, of which there are many.
pub(super) fn features(features: &std::collections::BTreeSet<Tag>) -> impl Iterator<Item = NameId> {
    let names = features.iter().map(Tag::as_str);
    let names = names.filter(|name| !name.starts_with(gpu::GPU) && !name.starts_with(gpu::SITE));
    names.map(|name| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish() | FEATURE
    })
}

/// The labels of an offer: its market, model, region and site.
pub(super) fn labels_of(offer: &Offer, gpus: Option<&gpu::Gpus>) -> [Option<Label>; 4] {
    let market = Label::Market {
        chain_id: offer.chain_id,
        escrow: offer.escrow,
        token: offer.token,
    };
    let place = |closeness| Place::of(offer, closeness).map(Label::Place);
    [
        Some(market),
        gpus.map(|gpus| Label::Model(gpus.model.clone())),
        place(Closeness::Region),
        place(Closeness::Site),
    ]
}

/// Every label that an offer must have to meet a request.
pub(super) fn labels_wanted(request: &Request) -> Vec<Label> {
    let market = Label::Market {
        chain_id: request.chain_id,
        escrow: request.escrow,
        token: request.token,
    };
    let model = request.gpus.as_ref().and_then(|wish| wish.model.clone());
    let places = request.region.clone().map(Place::Region);
    std::iter::once(market)
        .chain(model.map(Label::Model))
        .chain(places.map(Label::Place))
        .collect()
}

impl Labels {
    /// The number of a label, given now if it had none.
    pub(super) fn take(&mut self, label: Label) -> LabelId {
        let (free, counts) = (&mut self.free, &mut self.counts);
        let id = *self.known.entry(label).or_insert_with(|| {
            free.pop().unwrap_or_else(|| {
                counts.resize(counts.len().max(1) + 1, 0);
                u32::try_from(counts.len() - 1).unwrap_or(u32::MAX)
            })
        });
        if let Some(count) = at_mut(counts, id) {
            *count = count.saturating_add(1);
        }
        id
    }

    /// One offer less has the label.
    pub(super) fn give_back(&mut self, label: &Label) {
        let Some(id) = self.id(label) else { return };
        let Some(count) = at_mut(&mut self.counts, id) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.known.remove(label);
            self.free.push(id);
        }
    }

    /// The number of a label that some offer has.
    pub(super) fn id(&self, label: &Label) -> Option<LabelId> {
        self.known.get(label).copied()
    }

    /// The numbers of labels that are in use; 0 for none.
    pub(super) fn ids(&self, labels: &[Option<Label>; 4]) -> [LabelId; 4] {
        labels
            .each_ref()
            .map(|label| label.as_ref().and_then(|label| self.id(label)).unwrap_or(0))
    }

    /// How many offers have the label of a number; none has 0.
    pub(super) fn count(&self, id: LabelId) -> usize {
        let count = usize::try_from(id).ok().and_then(|id| self.counts.get(id));
        count.and_then(|count| usize::try_from(*count).ok()).unwrap_or(0)
    }

    /// Every number in use is below this.
    pub(super) const fn numbers(&self) -> usize {
        self.counts.len()
    }

    /// Bytes that the labels take.
    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<(Label, LabelId)>() + TEXTS;
        let numbers = self.counts.capacity() + self.free.capacity();
        self.known.len() * each + numbers * size_of::<LabelId>()
    }
}

fn at_mut(counts: &mut [u32], id: LabelId) -> Option<&mut u32> {
    counts.get_mut(usize::try_from(id).ok()?)
}

//! The GPUs of an offer. They travel as features of well-known names, so that the bytes of an offer are those of
//! version 1 and a reader that knows nothing of GPUs passes them on (`docs/spec/wire.md`).
//!
//! Called when an offer is made and when one is indexed or matched. A list of features that does not say all of it,
//! or says something twice, sells no GPUs: nothing is guessed.

use gpux_types::{Amount, ByteSize, PricePerHour, Tag};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, num::NonZeroU32, str::FromStr};

/// What begins the name of every feature that speaks of GPUs.
pub(crate) const GPU: &str = "gpu-";
const MODEL: &str = "gpu-model-";
const FREE: &str = "gpu-free-";
const TOTAL: &str = "gpu-total-";
const MEMORY: &str = "gpu-mib-";
const RATE: &str = "gpu-rate-";
/// Bytes in a MiB, as a power of two.
const MIB_BITS: u32 = 20;

/// The GPUs that a node sells: all of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpus {
    /// The model, such as `h100-sxm`; at most 22 characters.
    pub model: Tag,
    /// How many one lease gets now: the largest free block on the node.
    pub free: u32,
    /// How many the node shares altogether.
    pub total: u32,
    /// The memory of each, in whole MiB.
    pub memory: ByteSize,
    /// The net price of one for an hour, beside the cores, memory and disk of its lease.
    pub rate: PricePerHour,
}

/// What a request wants of GPUs on each node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuWish {
    /// This model, or any.
    pub model: Option<Tag>,
    /// At least so many on one node.
    pub count: NonZeroU32,
    /// At least so much memory on each.
    pub memory: ByteSize,
}

impl Gpus {
    /// The GPUs that a list of features offers.
    #[must_use]
    pub fn of(features: &BTreeSet<Tag>) -> Option<Self> {
        let free: u32 = number(features, FREE)?;
        let total: u32 = number(features, TOTAL)?;
        let mib: u64 = number(features, MEMORY)?;
        let rate = Amount::new(number(features, RATE)?).ok()?;
        let bytes = mib.checked_mul(1 << MIB_BITS)?;
        (free <= total && total > 0 && bytes > 0).then_some(Self {
            model: one(features, MODEL)?.parse().ok()?,
            free,
            total,
            memory: ByteSize(bytes),
            rate: PricePerHour(rate),
        })
    }

    /// The net price of so many of them for an hour.
    #[must_use]
    pub fn price_of(&self, count: u32) -> PricePerHour {
        // A rate is below 2^96 and the count below 2^32.
        PricePerHour(Amount::new(self.rate.0.units() * u128::from(count)).unwrap_or(Amount::MAX))
    }

    /// Whether they meet a wish, those that are not free counted too.
    #[must_use]
    pub fn meet(&self, wish: &GpuWish) -> bool {
        let model = wish.model.as_ref().is_none_or(|model| *model == self.model);
        model && self.total >= wish.count.get() && self.memory >= wish.memory
    }

    /// The features that say this; `None` when a part of it is too long for a tag, or it is not what [`Gpus::of`] reads.
    #[must_use]
    pub fn features(&self) -> Option<BTreeSet<Tag>> {
        let texts = [
            format!("{MODEL}{}", self.model),
            format!("{FREE}{}", self.free),
            format!("{TOTAL}{}", self.total),
            format!("{MEMORY}{}", self.memory.0 >> MIB_BITS),
            format!("{RATE}{}", self.rate.0.units()),
        ];
        let features: BTreeSet<Tag> = texts.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        (Self::of(&features).as_ref() == Some(self)).then_some(features)
    }
}

/// What follows `prefix` in the one tag that begins with it; `None` when there is none, or more than one.
fn one<'a>(features: &'a BTreeSet<Tag>, prefix: &str) -> Option<&'a str> {
    let mut found = features.iter().filter_map(|tag| tag.as_str().strip_prefix(prefix));
    found.next().filter(|_| found.next().is_none())
}

/// A number as [`Gpus::features`] writes it: no sign, and no zero in front, so that each has one spelling.
fn number<T: FromStr>(features: &BTreeSet<Tag>, prefix: &str) -> Option<T> {
    let text = one(features, prefix)?;
    let plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    plain.then(|| text.parse().ok()).flatten()
}

/// Whether a feature speaks of GPUs: an owner says so in its own section, never by hand.
#[must_use]
pub fn is_of_gpus(feature: &Tag) -> bool {
    feature.as_str().starts_with(GPU)
}

/// The feature that names a node's site; `None` when the name is too long for one.
#[must_use]
pub fn site_tag(site: &Tag) -> Option<Tag> {
    format!("{SITE}{site}").parse().ok()
}

/// The name of the place in which an owner says that a node stands.
pub(crate) fn site(features: &BTreeSet<Tag>) -> Option<&str> {
    one(features, SITE)
}

/// What begins the feature that names a node's site.
pub(crate) const SITE: &str = "site-";

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus() -> Gpus {
        Gpus {
            model: "h100-sxm".parse().unwrap(),
            free: 2,
            total: 8,
            memory: ByteSize(81_559 << 20),
            rate: PricePerHour(Amount::new(2_400_000_000_000_000_000).unwrap()),
        }
    }

    #[test]
    fn gpus_read_back_as_they_were_written() {
        let mut features = gpus().features().unwrap();
        features.insert("sgx".parse().unwrap());
        assert_eq!(Gpus::of(&features), Some(gpus()));
    }

    #[test]
    fn half_of_it_or_two_of_it_is_no_gpu() {
        let features = gpus().features().unwrap();
        for left_out in &features {
            let mut half = features.clone();
            half.remove(left_out);
            assert_eq!(Gpus::of(&half), None, "without {left_out}");
        }
        for more in ["gpu-free-1", "gpu-model-a100", "gpu-rate-1"] {
            let mut twice = features.clone();
            twice.insert(more.parse().unwrap());
            assert_eq!(Gpus::of(&twice), None, "with {more}");
        }
    }

    #[test]
    fn what_no_reader_would_understand_is_not_written() {
        let wrong: [fn(&mut Gpus); 4] = [
            |gpus| gpus.model = "a-model-with-a-very-long-name".parse().unwrap(),
            |gpus| gpus.free = 9,
            |gpus| gpus.memory = ByteSize(1),
            |gpus| gpus.rate = PricePerHour(Amount::MAX),
        ];
        for change in wrong {
            let mut gpus = gpus();
            change(&mut gpus);
            assert_eq!(gpus.features(), None, "{gpus:?}");
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        for odd in ["gpu-free-02", "gpu-free--2", "gpu-free-99999999999"] {
            let mut features = gpus().features().unwrap();
            features.remove(&"gpu-free-2".parse().unwrap());
            if let Ok(tag) = odd.parse() {
                features.insert(tag);
            }
            assert_eq!(Gpus::of(&features), None, "{odd}");
        }
    }
}

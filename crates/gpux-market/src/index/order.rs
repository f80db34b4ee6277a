//! The order in which offers lie in leaves. It decides how quick a search is, never what it finds.

use super::labels::LabelId;
use crate::{gpu::Gpus, offer::Offer};
use gpux_types::{ByteSize, Cpu, NodeId, Resources};

/// Bits of a logarithm: 6 before the point, 8 behind it.
const BITS: u32 = 14;
/// A lease whose price stands for an offer's rates.
const USUAL: Resources = Resources {
    cpu: Cpu { millicores: 1_000 },
    memory: ByteSize(4 << 30),
    disk: ByteSize(10 << 30),
};

/// Where an offer belongs: market, model, region and site by number; a point on the curve; the node, so that no two are
/// the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    kind: [LabelId; 4],
    curve: u64,
    node: NodeId,
}

impl Key {
    /// `labels` are the numbers of [`super::labels::labels_of`].
    pub(super) fn of(offer: &Offer, gpus: Option<&Gpus>, labels: [LabelId; 4]) -> Self {
        let price = gpus.map_or_else(|| offer.price_of(&USUAL), |gpus| gpus.rate);
        let size = gpus.map_or(offer.largest.disk.0, |gpus| gpus.free.into());
        let axes = [
            u64::try_from(price.0.units()).unwrap_or(u64::MAX),
            offer.largest.cpu.millicores.into(),
            offer.largest.memory.0,
            size,
        ];
        Self {
            kind: labels,
            curve: curve(axes.map(logarithm)),
            node: offer.node,
        }
    }
}

/// The logarithm to base 2, linear between powers, with 8 bits behind the point.
fn logarithm(value: u64) -> u64 {
    let Some(whole) = value.checked_ilog2() else { return 0 };
    // The bits below the highest one, as a fraction.
    let fraction = u64::try_from((u128::from(value) << 64 >> whole) & u128::from(u64::MAX)).unwrap_or(0) >> 56;
    u64::from(whole) << 8 | fraction
}

/// The Z-order curve: the bits of all axes in turn, the highest first, so that near points are mostly near on it.
fn curve(axes: [u64; 4]) -> u64 {
    let mut curve = 0;
    for bit in (0..BITS).rev() {
        for axis in axes {
            curve = curve << 1 | (axis >> bit & 1);
        }
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithm_grows_with_its_value() {
        assert_eq!(
            (logarithm(0), logarithm(1), logarithm(2), logarithm(3)),
            (0, 0, 256, 384)
        );
        assert_eq!(logarithm(u64::MAX), (64 << 8) - 1);
        let values: Vec<u64> = (0..2_000).map(logarithm).collect();
        assert!(values.is_sorted());
    }

    #[test]
    fn the_highest_bits_of_all_axes_come_first() {
        assert!(curve([1 << 13, 0, 0, 0]) > curve([0, 1 << 13, 0, 0]));
        assert!(curve([0, 1 << 13, 0, 0]) > curve([(1 << 13) - 1; 4]));
    }
}

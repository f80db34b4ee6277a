//! What a provider asks: one rate for each kind of resource, so that every shape of lease has a price.

use gpux_types::{Amount, PricePerHour, Resources};
use serde::{Deserialize, Serialize};

/// Thousandths in a core.
const MILLICORES: u128 = 1_000;
/// Bytes in a GiB, as a power of two.
const GIB_BITS: u32 = 30;

/// Net prices per hour of one unit each. The builder's share comes on top, see [`PricePerHour::gross_of_net`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Of one core.
    pub cpu_core: PricePerHour,
    /// Of one GiB of memory.
    pub memory_gib: PricePerHour,
    /// Of one GiB of disk.
    pub disk_gib: PricePerHour,
}

impl Rates {
    /// The net price per hour of a lease of `resources`: the sum of its parts, each rounded up to the smallest unit of
    /// the token; cut to what an escrow can hold. More resources never cost less.
    #[must_use]
    pub fn price_of(&self, resources: &Resources) -> PricePerHour {
        // A rate is below 2^96 and millicores are below 2^32: the product fits.
        let cpu = (self.cpu_core.0.units() * u128::from(resources.cpu.millicores)).div_ceil(MILLICORES);
        let parts = [
            Amount::new(cpu).unwrap_or(Amount::MAX),
            gib_price(self.memory_gib, resources.memory.0),
            gib_price(self.disk_gib, resources.disk.0),
        ];
        PricePerHour(parts.into_iter().fold(Amount::ZERO, Amount::saturating_add))
    }
}

fn gib_price(rate: PricePerHour, bytes: u64) -> Amount {
    // A rate is below 2^96: whole GiB (below 2^34) are checked, the rest (below 2^30) fits.
    let (rate, whole, rest) = (rate.0.units(), bytes >> GIB_BITS, bytes & ((1 << GIB_BITS) - 1));
    let units = rate
        .checked_mul(u128::from(whole))
        .and_then(|price| price.checked_add((rate * u128::from(rest)).div_ceil(1 << GIB_BITS)));
    units.and_then(|units| Amount::new(units).ok()).unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::{ByteSize, Cpu};
    use proptest::prelude::*;

    fn rates(cpu: u128, memory: u128, disk: u128) -> Rates {
        let price = |units| PricePerHour(Amount::new(units).unwrap());
        Rates {
            cpu_core: price(cpu),
            memory_gib: price(memory),
            disk_gib: price(disk),
        }
    }

    fn shape(millicores: u32, memory: u64, disk: u64) -> Resources {
        Resources {
            cpu: Cpu { millicores },
            memory: ByteSize(memory),
            disk: ByteSize(disk),
        }
    }

    #[test]
    fn a_price_is_the_sum_of_its_parts() {
        let price = rates(1_000, 100, 10).price_of(&shape(1_500, 2 << 30, 3 << 30));
        assert_eq!(price.0.units(), 1_500 + 200 + 30);
    }

    #[test]
    fn the_smallest_part_still_costs_one_unit() {
        assert_eq!(rates(1, 1, 1).price_of(&shape(1, 1, 1)).0.units(), 3);
    }

    proptest! {
        #[test]
        fn more_never_costs_less_and_nothing_overflows(
            cpu in 0u128..(1 << 96), memory in 0u128..(1 << 96), disk in 0u128..(1 << 96),
            (c1, c2, m1) in any::<(u32, u32, u64)>(), (m2, d1, d2) in any::<(u64, u64, u64)>(),
        ) {
            let rates = rates(cpu, memory, disk);
            let less = shape(c1.min(c2), m1.min(m2), d1.min(d2));
            let more = shape(c1.max(c2), m1.max(m2), d1.max(d2));
            prop_assert!(rates.price_of(&less) <= rates.price_of(&more));
        }
    }
}

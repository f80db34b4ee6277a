//! What a lease costs its renter: deposits and the lines of a plan.

use crate::{offer::Offer, request::Request};
use gpux_types::{Amount, Millis, PricePerHour};

/// One line of a plan's costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseCost {
    /// What the provider asks per hour.
    pub net: PricePerHour,
    /// What the renter pays per hour: the net price with the builder's share on top.
    pub gross: PricePerHour,
    /// The deposit that is proposed. No lease can cost more than its deposit, so this is also its worst case.
    pub deposit: Amount,
    /// The most that the builder earns of this lease.
    pub builder_most: Amount,
}

impl LeaseCost {
    /// The cost of the requested lease under `offer`.
    #[must_use]
    pub fn of(request: &Request, offer: &Offer) -> Self {
        let net = request.net_price(offer);
        let gross = net.gross_of_net(request.builder_share);
        let deposit = deposit_for(gross, request.duration, request.reserve);
        let builder_most = request.builder_share.of(deposit);
        Self {
            net,
            gross,
            deposit,
            builder_most,
        }
    }
}

/// What the renter would pay per hour under `offer`.
pub(crate) fn gross_price(request: &Request, offer: &Offer) -> PricePerHour {
    request.net_price(offer).gross_of_net(request.builder_share)
}

/// The deposit that pays `duration` of work at a gross price, and the `reserve` before whose use the provider stops.
///
/// Rounded down, as receipts are, and so it still pays the whole time: what is owed at the end is this very number.
/// Cut to what an escrow can hold.
#[must_use]
pub fn deposit_for(gross: PricePerHour, duration: Millis, reserve: Millis) -> Amount {
    gross.cost_of(duration.saturating_add(reserve))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_proposed_deposit_is_the_price_of_the_time_and_the_reserve() {
        let gross = PricePerHour(Amount::new(3_600).unwrap());
        let deposit = deposit_for(gross, Millis::from_secs(600), Millis::from_secs(10));
        assert_eq!(deposit.units(), 610);
    }

    proptest! {
        #[test]
        fn a_deposit_pays_the_whole_time(price in 1u128..(1 << 60), secs in 1u64..7_776_000, reserve in 0u64..600) {
            let gross = PricePerHour(Amount::new(price).unwrap());
            let (duration, reserve) = (Millis::from_secs(secs), Millis::from_secs(reserve));
            let deposit = deposit_for(gross, duration, reserve);
            prop_assert!(gross.time_for(deposit) >= duration.saturating_add(reserve));
        }
    }
}

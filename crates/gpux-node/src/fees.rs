//! What a transaction would cost now, in the token of deposits: for deciding whether it is worth it, never for paying.

use crate::node::Node;
use gpux_types::Amount;

const WEI_PER_COIN: u128 = 1_000_000_000_000_000_000;

/// What a transaction takes of the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burden {
    /// Gas.
    pub(crate) gas: u128,
    /// Signed bytes.
    pub(crate) bytes: usize,
}

impl Burden {
    /// Both, one after the other.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            gas: self.gas.saturating_add(other.gas),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What it costs; `None` while no block was seen.
pub(crate) fn fee_of(node: &Node, burden: Burden) -> Option<Amount> {
    let head = node.watcher.newest()?;
    // Twice the base fee: it may rise before the transaction. L1 data is as incompressible as a transaction gets.
    let noise: Vec<u8> = (0..burden.bytes / 32)
        .flat_map(|index| *blake3::hash(&index.to_be_bytes()).as_bytes())
        .collect();
    let l1 = node.chain.l1_scalars().estimate(&noise).wei;
    // No more than is ever paid: one absurd block must not make everything look too dear for a lease's whole life.
    let base_fee = head.base_fee.min(node.max_fee_per_gas);
    let wei = base_fee.saturating_mul(2).saturating_mul(burden.gas).saturating_add(l1);
    Some(in_token(wei, node.coin_price))
}

/// What so many wei are worth, rounded up; more than an amount can be is the most that it can.
fn in_token(wei: u128, coin_price: Amount) -> Amount {
    let (coins, rest) = (wei / WEI_PER_COIN, wei % WEI_PER_COIN);
    let whole = coins.checked_mul(coin_price.units());
    // 60 bits of wei and 96 of price do not fit together: the rest is weighed in millionths of a coin.
    let micros = rest.div_ceil(WEI_PER_COIN / 1_000_000);
    let part = micros.saturating_mul(coin_price.units() / 1_000_000 + 1);
    let units = whole.and_then(|whole| whole.checked_add(part));
    units.and_then(|units| Amount::new(units).ok()).unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_weighed_in_the_token_and_never_below_what_they_are() {
        let price = Amount::new(4_000_000_000).unwrap();
        assert_eq!(in_token(WEI_PER_COIN, price), price);
        let tenth = in_token(WEI_PER_COIN / 10, price).units();
        assert!((400_000_000..=400_200_000).contains(&tenth), "{tenth}");
        assert!(in_token(1, price) > Amount::ZERO);
        assert_eq!(in_token(u128::MAX, Amount::MAX), Amount::MAX);
    }
}

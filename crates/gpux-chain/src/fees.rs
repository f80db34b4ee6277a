//! What a transaction's bytes cost on L1, by the formula of OP's Fjord upgrade.
//!
//! On a chain that charges it, the receipt tells the L1 fee and [`crate::Mined::l1_fee`] holds it. On the devnet nothing
//! is charged; there the estimate of this module is shown, with its scalars and the words "estimated, not charged".
//!
//! Formula: `size = max(100, 0.8365 x FastLZ length - 42.5856)` bytes;
//! `fee = size x (16 x base fee scalar x L1 base fee + blob base fee scalar x blob base fee) / 10^6` wei.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Millionths: sizes and scalars of the formula are fixed-point numbers with six digits.
const MILLION: u64 = 1_000_000;
/// The slope of the size in millionths of a byte per FastLZ byte: a constant of the Fjord upgrade.
const FASTLZ_COEFFICIENT: u64 = 836_500;
/// What is taken off the size, in millionths of a byte: a constant of the Fjord upgrade.
const SIZE_INTERCEPT: u64 = 42_585_600;
/// The smallest size, in millionths of a byte: a constant of the Fjord upgrade.
const MIN_SIZE: u64 = 100 * MILLION;

/// The prices that the L1 fee is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct L1Scalars {
    /// Millionths by which the L1 base fee counts (16-fold).
    pub base_fee_scalar: u32,
    /// Millionths by which the blob base fee counts.
    pub blob_base_fee_scalar: u32,
    /// Wei per L1 gas.
    pub l1_base_fee: u128,
    /// Wei per blob gas.
    pub blob_base_fee: u128,
    /// True when the chain did not tell these numbers and they are [`L1Scalars::ASSUMED`].
    pub assumed: bool,
}

impl L1Scalars {
    /// OP Mainnet's scalars of block 124,665,056, at 1 gwei for L1 gas and 1 gwei for blob gas.
    pub const ASSUMED: Self = Self {
        base_fee_scalar: 5_227,
        blob_base_fee_scalar: 1_014_213,
        l1_base_fee: 1_000_000_000,
        blob_base_fee: 1_000_000_000,
        assumed: true,
    };

    /// What putting these signed transaction bytes on L1 would cost.
    #[must_use]
    pub fn estimate(&self, signed: &[u8]) -> L1FeeEstimate {
        let fastlz_bytes = fastlz_len(signed);
        let size_micros = fastlz_bytes
            .saturating_mul(FASTLZ_COEFFICIENT)
            .saturating_sub(SIZE_INTERCEPT)
            .max(MIN_SIZE);
        let l1_part = u128::from(self.base_fee_scalar)
            .saturating_mul(16)
            .saturating_mul(self.l1_base_fee);
        let blob_part = u128::from(self.blob_base_fee_scalar).saturating_mul(self.blob_base_fee);
        let wei = u128::from(size_micros).saturating_mul(l1_part.saturating_add(blob_part))
            / (u128::from(MILLION) * u128::from(MILLION));
        L1FeeEstimate {
            wei,
            fastlz_bytes,
            size_micros,
            scalars: *self,
        }
    }
}

impl fmt::Display for L1Scalars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "base fee scalar {}, blob base fee scalar {}, L1 base fee {} wei, blob base fee {} wei{}",
            self.base_fee_scalar,
            self.blob_base_fee_scalar,
            self.l1_base_fee,
            self.blob_base_fee,
            if self.assumed { " (assumed)" } else { "" }
        )
    }
}

/// What Fjord's formula gives for one transaction. Nobody has charged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct L1FeeEstimate {
    /// The fee.
    pub wei: u128,
    /// The length of the signed transaction under FastLZ.
    pub fastlz_bytes: u64,
    /// The size that is paid for, in millionths of a byte.
    pub size_micros: u64,
    /// The prices that it was computed with.
    pub scalars: L1Scalars,
}

impl L1FeeEstimate {
    /// What stands beside the number wherever it is shown.
    pub const LABEL: &'static str = "estimated, not charged";
}

/// FastLZ remembers positions in this many slots, by the hash of three bytes.
const SLOTS: usize = 8_192;
/// The farthest back that a match may lie.
const MAX_DISTANCE: usize = 8_191;
/// The last bytes of the input never start a match.
const TAIL: usize = 13;
/// The longest match that one instruction can copy, less two.
const MAX_MATCH: u64 = 262;
/// The most literal bytes that stand behind one length byte.
const MAX_LITERALS: u64 = 32;

/// How long `data` is after FastLZ compression (level 1, as OP's fee formula uses it).
///
/// Only the length is computed: the compressed bytes are never needed.
#[must_use]
pub fn fastlz_len(data: &[u8]) -> u64 {
    let limit = data.len().saturating_sub(TAIL);
    let mut seen = vec![0_usize; SLOTS];
    let (mut at, mut anchor, mut size) = (2, 0, 0);
    while let Some((earlier, found)) = next_match(data, limit, &mut seen, at) {
        size += literals_len(found - anchor);
        let rest = |from: usize| data.get(from + 3..limit + 9).unwrap_or_default();
        let repeated = rest(earlier)
            .iter()
            .zip(rest(found))
            .take_while(|(left, right)| left == right)
            .count();
        // The length field also counts the byte after the repeated ones, where there is one.
        let len = (repeated + 1).min(rest(found).len());
        size += match_len(len);
        for position in [found + len, found + len + 1] {
            remember(data, &mut seen, position);
        }
        at = found + len + 2;
        anchor = at;
    }
    size + literals_len(data.len() - anchor)
}

/// The first position from `at` on whose three bytes were seen not too far back, and where they were seen.
fn next_match(data: &[u8], limit: usize, seen: &mut [usize], mut at: usize) -> Option<(usize, usize)> {
    while at < limit {
        let earlier = remember(data, seen, at);
        if at - earlier <= MAX_DISTANCE && three_bytes(data, at) == three_bytes(data, earlier) {
            return (at + 1 < limit).then_some((earlier, at));
        }
        at += 1;
    }
    None
}

/// Notes `position` under its three bytes and returns the position noted there before (at first, the start).
fn remember(data: &[u8], seen: &mut [usize], position: usize) -> usize {
    let hash = three_bytes(data, position).wrapping_mul(2_654_435_769) >> 19;
    let slot = usize::try_from(hash).ok().and_then(|hash| seen.get_mut(hash));
    // 32 - 19 = 13 bits, and there are 2^13 slots.
    slot.map_or(0, |slot| std::mem::replace(slot, position))
}

fn three_bytes(data: &[u8], position: usize) -> u32 {
    match data.get(position..position + 3) {
        Some(&[a, b, c]) => u32::from_le_bytes([a, b, c, 0]),
        _ => 0,
    }
}

fn literals_len(count: usize) -> u64 {
    let count = count as u64;
    count + count.div_ceil(MAX_LITERALS)
}

fn match_len(len: usize) -> u64 {
    let len = (len as u64).saturating_sub(1);
    3 * (len / MAX_MATCH) + if len % MAX_MATCH >= 6 { 3 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A contract call on Arbitrum that the OP Stack's own clients publish with its FastLZ length.
    const CONTRACT_CALL: &str = concat!(
        "02f901550a758302df1483be21b88304743f94f80e51afb613d764fa61751affd3313c190a86bb870151bd62fd12adb8",
        "e41ef24f3f000000000000000000000000000000000000000000000000000000000000006e0000000000000000000000",
        "00af88d065e77c8cc2239327c5edb3a432268e5831000000000000000000000000000000000000000000000000000000",
        "000003c1e500000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000000000000000000000000000a00000000000000000000000000000000000000000000000",
        "00000000000000000000000000000000148c89ed219d02f1a5be012c689b4f5b731827bebe0000000000000000000000",
        "00c001a033fd89cb37c31b2cba46b6466e040c61fc9b2a3675a7f5f493ebd5ad77c497f8a07cdf65680e238392693019",
        "b4092f610222e71b7cec06449cb922b93b6a12744e"
    );
    const EMPTY_TRANSACTION: &str = "dd80808094095e7baea6a6c7c4c2dfeb977efac326af552d878080808080";

    #[test]
    fn fastlz_lengths_are_the_published_ones() {
        assert_eq!(fastlz_len(&[]), 0);
        assert_eq!(fastlz_len(&[1; 1_000]), 21);
        assert_eq!(fastlz_len(&[0; 1_000]), 21);
        assert_eq!(fastlz_len(&hex::decode(EMPTY_TRANSACTION).unwrap()), 31);
        assert_eq!(fastlz_len(&hex::decode(CONTRACT_CALL).unwrap()), 202);
    }

    #[test]
    fn fees_are_those_of_the_published_formula() {
        let thousand = L1Scalars {
            base_fee_scalar: 1_000,
            blob_base_fee_scalar: 1_000,
            l1_base_fee: 1_000,
            blob_base_fee: 1_000,
            assumed: false,
        };
        // 100 bytes at least: 100 x (16 x 1000 x 1000 + 1000 x 1000) / 10^6.
        assert_eq!(thousand.estimate(&[0xfa, 0xca, 0xde]).wei, 1_700);
        let call = thousand.estimate(&hex::decode(CONTRACT_CALL).unwrap());
        assert_eq!((call.size_micros, call.wei), (126_387_400, 2_148));
    }

    #[test]
    fn hostile_prices_saturate() {
        let scalars = L1Scalars {
            base_fee_scalar: u32::MAX,
            blob_base_fee_scalar: u32::MAX,
            l1_base_fee: u128::MAX,
            blob_base_fee: u128::MAX,
            assumed: false,
        };
        assert!(scalars.estimate(&[]).wei > 0);
    }

    #[test]
    fn random_bytes_of_every_length_are_measured() {
        let mut state = 1_u32;
        let mut data = Vec::new();
        for length in 0..600_u64 {
            let size = fastlz_len(&data);
            assert!(size <= length + length.div_ceil(32) && (length == 0 || size > 0));
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            data.push(state.to_be_bytes()[0] & 3);
        }
    }
}

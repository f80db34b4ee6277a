//! What a transaction would cost now and at most, for people who are asked before it is sent. Nothing is signed here, and the
//! sender decides anew when it sends.

use super::{SendError, book::Fees, prepare};
use crate::{call::Intent, client::Chain, rpc::RpcError};
use alloy::primitives::keccak256;
use gpux_types::Address;

/// What one transaction takes out of a wallet for fees, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The gas that it takes in the newest block.
    pub gas: u64,
    /// The fee for execution at the newest block's price.
    pub l2_fee: u128,
    /// The fee for its data on L1; `None` on a chain that charges none.
    pub l1_fee: Option<u128>,
    /// The most that is offered for both: the price of gas may double, and the gas grow by a quarter.
    pub most: u128,
}

impl Estimate {
    /// What it costs at the newest block's prices.
    #[must_use]
    pub fn now(&self) -> u128 {
        self.l2_fee.saturating_add(self.l1_fee.unwrap_or(0))
    }
}

/// Bytes of a signed transaction besides its input.
const ENVELOPE_BYTES: usize = 120;

impl Chain {
    /// What the transaction for `intent` would cost if `from` sent it now.
    ///
    /// # Errors
    /// When it would revert, costs more than `max_fee_per_gas` for a unit of gas, or the chain node gives no good answer.
    pub async fn estimate(&self, from: Address, intent: &Intent, max_fee_per_gas: u128) -> Result<Estimate, SendError> {
        let key = &intent.key;
        let rpc = |source: RpcError| SendError::Rpc {
            key: key.clone(),
            source,
        };
        let config = self.config();
        let raw = intent.call.encode(config.escrow, config.node_directory, None);
        let raw = raw.map_err(|source| SendError::Encode {
            key: key.clone(),
            source,
        })?;
        let (head, tip, gas) = tokio::join!(self.head(), prepare::tip(self), prepare::gas_of(self, from, &raw, key),);
        let (head, tip, (gas, limit)) = (head.map_err(rpc)?, tip.map_err(rpc)?, gas?);
        let fees = Fees::offer(head.base_fee, tip, max_fee_per_gas).map_err(|need| SendError::FeeTooHigh {
            key: key.clone(),
            need,
            limit: max_fee_per_gas,
        })?;
        let scalars = self.l1_scalars();
        // A signature and fees are as good as noise: they are not compressed.
        let mut signed = raw.input.to_vec();
        let noise = (0..=ENVELOPE_BYTES / 32).flat_map(|at| keccak256(at.to_be_bytes()).0);
        signed.extend(noise.take(ENVELOPE_BYTES));
        let l1_fee = (!scalars.assumed).then(|| scalars.estimate(&signed).wei);
        Ok(Estimate {
            gas,
            l2_fee: u128::from(gas).saturating_mul(head.base_fee.saturating_add(fees.tip)),
            l1_fee,
            most: u128::from(limit)
                .saturating_mul(fees.max)
                .saturating_add(l1_fee.unwrap_or(0).saturating_mul(2)),
        })
    }
}

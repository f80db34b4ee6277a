//! A transaction that is in a block: what it did and what it cost.

use crate::{
    abi,
    client::Chain,
    events::{EscrowEvent, RawLog},
    fees::L1FeeEstimate,
    rpc::RpcError,
};
use alloy::primitives::{Bytes, U64, U256, keccak256};
use gpux_types::{Address, B256};
use serde::{Deserialize, Serialize};
use serde_json::json;

const GET_RECEIPT: &str = "eth_getTransactionReceipt";

/// A transaction in a block, with its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mined {
    /// The transaction.
    pub hash: B256,
    /// Who sent and paid it.
    pub from: Address,
    /// The block's number.
    pub block: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// False when it was reverted: nothing happened but the fee.
    pub succeeded: bool,
    /// Gas used.
    pub gas_used: u64,
    /// Wei per gas.
    pub effective_gas_price: u128,
    /// What was charged for execution, in wei: gas times price.
    pub l2_fee: u128,
    /// What was charged for L1 data, in wei; absent on a chain that charges none, such as the devnet.
    pub l1_fee: Option<u128>,
    /// What Fjord's formula gives for L1 data; absent when the signed bytes are unknown.
    pub l1_fee_estimate: Option<L1FeeEstimate>,
    /// What the escrow did in it, in order.
    pub events: Vec<EscrowEvent>,
}

/// A receipt as the JSON-RPC tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawReceipt {
    pub(crate) transaction_hash: B256,
    pub(crate) block_hash: B256,
    block_number: U64,
    status: U64,
    from: Address,
    gas_used: U64,
    effective_gas_price: U256,
    #[serde(default)]
    l1_fee: Option<U256>,
    logs: Vec<RawLog>,
}

impl RawReceipt {
    /// False when it was reverted.
    pub(crate) fn succeeded(&self) -> bool {
        self.status == U64::from(1)
    }

    pub(crate) fn block_number(&self) -> u64 {
        self.block_number.to()
    }
}

impl Chain {
    /// A transaction with its cost, whoever sent it; `None` while it is in no block of the present chain.
    ///
    /// # Errors
    /// When the chain node gives no good answer.
    pub async fn mined(&self, transaction: B256) -> Result<Option<Mined>, RpcError> {
        let (receipt, signed) = tokio::join!(self.receipt(transaction), self.signed_bytes(transaction));
        Ok(receipt?.map(|receipt| self.price(&receipt, signed.as_ref())))
    }

    /// The receipt of a transaction; `None` while it is in no block.
    pub(crate) async fn receipt(&self, transaction: B256) -> Result<Option<RawReceipt>, RpcError> {
        let receipt: Option<RawReceipt> = self.rpc().call_opt(GET_RECEIPT, json!([transaction])).await?;
        match receipt {
            Some(receipt) if receipt.transaction_hash != transaction => Err(RpcError::Implausible {
                method: GET_RECEIPT,
                what: "it is another transaction's",
            }),
            receipt => Ok(receipt),
        }
    }

    /// The signed bytes of a transaction, from a node that keeps them for others; `None` when it does not.
    async fn signed_bytes(&self, transaction: B256) -> Option<Bytes> {
        let bytes: Bytes = self
            .rpc()
            .call("eth_getRawTransactionByHash", json!([transaction]))
            .await
            .ok()?;
        (keccak256(&bytes) == transaction).then_some(bytes)
    }

    /// What the receipt says, with the fee that the signed bytes would cost on L1.
    pub(crate) fn price(&self, receipt: &RawReceipt, signed: Option<&Bytes>) -> Mined {
        let (gas_used, price) = (receipt.gas_used.to::<u64>(), abi::wei(receipt.effective_gas_price));
        let escrow = self.config().escrow;
        Mined {
            hash: receipt.transaction_hash,
            from: receipt.from,
            block: receipt.block_number(),
            block_hash: receipt.block_hash,
            succeeded: receipt.succeeded(),
            gas_used,
            effective_gas_price: price,
            l2_fee: u128::from(gas_used).saturating_mul(price),
            l1_fee: receipt.l1_fee.map(abi::wei),
            l1_fee_estimate: signed.map(|bytes| self.l1_scalars().estimate(bytes)),
            events: receipt
                .logs
                .iter()
                .filter_map(|log| EscrowEvent::decode(log, escrow))
                .collect(),
        }
    }
}

//! The escrow's events as our own types, and reading those of one lease.

use crate::{
    abi::{self, Escrow},
    client::Chain,
    rpc::RpcError,
};
use alloy::{
    primitives::{Bytes, U64},
    sol_types::{SolEvent, SolEventInterface},
};
use gpux_types::{Address, Amount, B256, LeaseId, UnixSeconds};
use serde::{Deserialize, Serialize};
use serde_json::json;

const GET_LOGS: &str = "eth_getLogs";
/// How many blocks one question about logs spans: what the common public chain nodes answer.
const LOG_PAGE_BLOCKS: u64 = 9_000;
/// The most such questions for one lease: over a year of blocks, where a lease may last 90 days.
const MAX_LOG_PAGES: u64 = 2_000;
/// The most logs that one answer may hold.
const MAX_LOGS: usize = 10_000;

/// Something that the escrow did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EscrowEvent {
    /// A lease was opened and its deposit received.
    Opened {
        /// Which lease.
        lease: LeaseId,
        /// Who paid.
        renter: Address,
        /// Who will be paid.
        provider: Address,
        /// In which token.
        token: Address,
        /// How much.
        deposit: Amount,
        /// Until when.
        expiry: UnixSeconds,
    },
    /// Money was added, the expiry was moved, or both.
    ToppedUp {
        /// Which lease.
        lease: LeaseId,
        /// Who paid.
        from: Address,
        /// What was added.
        amount: Amount,
        /// What has been paid in altogether.
        deposit: Amount,
        /// The expiry from now on.
        expiry: UnixSeconds,
    },
    /// The provider collected, the renter got the rest, and the lease is closed.
    Settled {
        /// Which lease.
        lease: LeaseId,
        /// What the provider got.
        paid: Amount,
        /// What the builder got.
        builder_paid: Amount,
        /// What the renter got back.
        refund: Amount,
    },
    /// The provider collected, and the lease stays open.
    Drawn {
        /// Which lease.
        lease: LeaseId,
        /// What the provider got.
        paid: Amount,
        /// What the builder got.
        builder_paid: Amount,
        /// All that was ever claimed.
        claimed: Amount,
    },
    /// The renter closed the lease with the provider's closing amount.
    Closed {
        /// Which lease.
        lease: LeaseId,
        /// What the provider got.
        paid: Amount,
        /// What the builder got.
        builder_paid: Amount,
        /// What the renter got back.
        refund: Amount,
    },
    /// A call for many leases left this one as it was.
    Skipped {
        /// Which lease.
        lease: LeaseId,
        /// The selector of the error with which the call for this lease alone would have failed.
        reason: [u8; 4],
    },
    /// The renter took back what was unclaimed, and the lease is closed.
    Reclaimed {
        /// Which lease.
        lease: LeaseId,
        /// What the renter got back.
        refund: Amount,
    },
    /// A payee could not be paid and was credited.
    Credited {
        /// The token.
        token: Address,
        /// Who was credited.
        payee: Address,
        /// How much, cut to what an escrow can hold.
        amount: Amount,
    },
    /// A payee was paid its credit.
    Withdrawn {
        /// The token.
        token: Address,
        /// Who was paid.
        payee: Address,
        /// How much, cut to what an escrow can hold.
        amount: Amount,
    },
}

/// An event of a lease with its place on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseLog {
    /// What happened.
    pub event: EscrowEvent,
    /// In which transaction.
    pub transaction: B256,
    /// In which block.
    pub block: u64,
    /// The hash of that block.
    pub block_hash: B256,
    /// The position among the block's logs.
    pub log_index: u64,
}

/// A log as the JSON-RPC tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawLog {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    pub(crate) block_number: U64,
    pub(crate) block_hash: B256,
    pub(crate) transaction_hash: B256,
    pub(crate) log_index: U64,
    #[serde(default)]
    pub(crate) removed: bool,
}

impl EscrowEvent {
    /// The lease that the event is about, if it is about one.
    #[must_use]
    pub fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Opened { lease, .. }
            | Self::ToppedUp { lease, .. }
            | Self::Settled { lease, .. }
            | Self::Drawn { lease, .. }
            | Self::Closed { lease, .. }
            | Self::Skipped { lease, .. }
            | Self::Reclaimed { lease, .. } => Some(*lease),
            Self::Credited { .. } | Self::Withdrawn { .. } => None,
        }
    }

    /// The event in a log of the escrow; `None` for another contract's log and for an event without meaning here.
    pub(crate) fn decode(log: &RawLog, escrow: Address) -> Option<Self> {
        if log.address != escrow {
            return None;
        }
        Some(
            match Escrow::EscrowEvents::decode_raw_log(&log.topics, &log.data).ok()? {
                Escrow::EscrowEvents::LeaseOpened(opened) => Self::Opened {
                    lease: opened.leaseId.into(),
                    renter: opened.renter,
                    provider: opened.provider,
                    token: opened.token,
                    deposit: abi::amount96(opened.deposit),
                    expiry: abi::time40(opened.expiry),
                },
                Escrow::EscrowEvents::LeaseToppedUp(topped_up) => Self::ToppedUp {
                    lease: topped_up.leaseId.into(),
                    from: topped_up.from,
                    amount: abi::amount96(topped_up.amount),
                    deposit: abi::amount96(topped_up.deposit),
                    expiry: abi::time40(topped_up.expiry),
                },
                Escrow::EscrowEvents::LeaseSettled(settled) => Self::Settled {
                    lease: settled.leaseId.into(),
                    paid: abi::amount96(settled.paid),
                    builder_paid: abi::amount96(settled.builderPaid),
                    refund: abi::amount96(settled.refund),
                },
                Escrow::EscrowEvents::LeaseDrawn(drawn) => Self::Drawn {
                    lease: drawn.leaseId.into(),
                    paid: abi::amount96(drawn.paid),
                    builder_paid: abi::amount96(drawn.builderPaid),
                    claimed: abi::amount96(drawn.claimed),
                },
                Escrow::EscrowEvents::LeaseClosed(closed) => Self::Closed {
                    lease: closed.leaseId.into(),
                    paid: abi::amount96(closed.paid),
                    builder_paid: abi::amount96(closed.builderPaid),
                    refund: abi::amount96(closed.refund),
                },
                Escrow::EscrowEvents::LegSkipped(skipped) => Self::Skipped {
                    lease: skipped.leaseId.into(),
                    reason: skipped.reason.into(),
                },
                Escrow::EscrowEvents::LeaseReclaimed(reclaimed) => Self::Reclaimed {
                    lease: reclaimed.leaseId.into(),
                    refund: abi::amount96(reclaimed.refund),
                },
                Escrow::EscrowEvents::Credited(credited) => Self::Credited {
                    token: credited.token,
                    payee: credited.payee,
                    amount: abi::amount(credited.amount),
                },
                Escrow::EscrowEvents::Withdrawn(withdrawn) => Self::Withdrawn {
                    token: withdrawn.token,
                    payee: withdrawn.payee,
                    amount: abi::amount(withdrawn.amount),
                },
                Escrow::EscrowEvents::EIP712DomainChanged(_) => return None,
            },
        )
    }
}

impl Chain {
    /// All that the escrow did with a lease, from block `from_block` to the newest one, in order.
    ///
    /// # Errors
    /// When the chain node gives no good answer, or more logs than a lease can have.
    pub async fn lease_logs(&self, lease: LeaseId, from_block: u64) -> Result<Vec<LeaseLog>, RpcError> {
        let escrow = self.config().escrow;
        let topics = json!([null, B256::from(lease)]);
        let logs = self.logs(escrow, topics, from_block).await?;
        Ok(logs
            .iter()
            .filter_map(|log| {
                let event = EscrowEvent::decode(log, escrow).filter(|event| event.lease() == Some(lease))?;
                Some(LeaseLog {
                    event,
                    transaction: log.transaction_hash,
                    block: log.block_number.to(),
                    block_hash: log.block_hash,
                    log_index: log.log_index.to(),
                })
            })
            .collect())
    }

    /// The logs of one contract from a block to the newest one, page by page.
    pub(crate) async fn logs(
        &self,
        address: Address,
        topics: serde_json::Value,
        from_block: u64,
    ) -> Result<Vec<RawLog>, RpcError> {
        let newest = self.head().await?.number;
        let mut logs = Vec::new();
        for page in pages(from_block, newest)? {
            logs.extend(self.logs_between(address, &topics, page).await?);
            if logs.len() > MAX_LOGS {
                return Err(RpcError::Implausible {
                    method: GET_LOGS,
                    what: "there are too many logs",
                });
            }
        }
        Ok(logs)
    }

    /// The logs of one contract in a short span of blocks, both ends included.
    pub(crate) async fn logs_between(
        &self,
        address: Address,
        topics: &serde_json::Value,
        (from, to): (u64, u64),
    ) -> Result<Vec<RawLog>, RpcError> {
        let filter = json!([{
            "address": address, "topics": topics, "fromBlock": U64::from(from), "toBlock": U64::from(to),
        }]);
        let logs: Vec<RawLog> = self.rpc().call(GET_LOGS, filter).await?;
        let strange = |log: &RawLog| log.address != address || !(from..=to).contains(&log.block_number.to::<u64>());
        if logs.iter().any(strange) {
            return Err(RpcError::Implausible {
                method: GET_LOGS,
                what: "a log is not among those asked for",
            });
        }
        Ok(logs.into_iter().filter(|log| !log.removed).collect())
    }
}

/// The first and last blocks of each question from one block to another. A node may claim any number for its newest block.
fn pages(from: u64, newest: u64) -> Result<impl Iterator<Item = (u64, u64)>, RpcError> {
    if newest.saturating_sub(from) / LOG_PAGE_BLOCKS >= MAX_LOG_PAGES {
        return Err(RpcError::Implausible {
            method: GET_LOGS,
            what: "the newest block is further away than any lease lasts",
        });
    }
    let firsts = (0..MAX_LOG_PAGES).map_while(move |page| from.checked_add(page.checked_mul(LOG_PAGE_BLOCKS)?));
    let spans = firsts.map(move |first| (first, first.saturating_add(LOG_PAGE_BLOCKS - 1).min(newest)));
    Ok(spans.take_while(|(first, last)| first <= last))
}

/// The topics of the escrow's events about leases, for a filter on many leases at once.
pub(crate) fn lease_event_topics() -> [B256; 6] {
    [
        Escrow::LeaseOpened::SIGNATURE_HASH,
        Escrow::LeaseToppedUp::SIGNATURE_HASH,
        Escrow::LeaseDrawn::SIGNATURE_HASH,
        Escrow::LeaseSettled::SIGNATURE_HASH,
        Escrow::LeaseClosed::SIGNATURE_HASH,
        Escrow::LeaseReclaimed::SIGNATURE_HASH,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_asked_for_once_and_a_node_that_claims_too_many_is_not_followed() {
        let all = |from, newest| pages(from, newest).map(Iterator::collect::<Vec<_>>);
        assert_eq!(all(5, 4).unwrap(), []);
        assert_eq!(all(5, 5).unwrap(), [(5, 5)]);
        assert_eq!(all(5, 9_004).unwrap(), [(5, 9_004)]);
        assert_eq!(all(5, 18_005).unwrap(), [(5, 9_004), (9_005, 18_004), (18_005, 18_005)]);
        let a_lease = all(1, 90 * 86_400 / 2).unwrap();
        assert_eq!(a_lease.len(), 432);
        for newest in [18_000_000, 1 << 60, u64::MAX] {
            assert!(all(0, newest).is_err(), "{newest}");
        }
        assert_eq!(all(u64::MAX, u64::MAX).unwrap(), [(u64::MAX, u64::MAX)]);
    }
}

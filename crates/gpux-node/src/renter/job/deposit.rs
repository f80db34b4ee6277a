//! One transaction that opens leases, followed until it is known to have worked or to be none.
//!
//! A deposit is signed only while it is wanted: by its job, and by the quote that it answers. A provider takes none for a quote
//! that is over, and the money would wait for expiry and grace. What was signed before is followed all the same, since
//! whoever has its bytes can send them.

use super::Live;
use crate::node::Node;
use gpux_chain::{ConfirmError, Depth, Intent, Retry, SendError, SlotStatus};
use gpux_lease::RenterState;
use gpux_types::{B256, LeaseId, UnixSeconds};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long to wait at least before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long at most, so that a deposit that is not wanted any more is soon seen to be none.
const AT_LAST: Duration = Duration::from_secs(5);

/// A transaction that opens leases.
pub(super) struct Deposit {
    intent: Intent,
    leases: Vec<LeaseId>,
    /// Cancelled for each lease that is to be opened no more.
    wanted: Vec<CancellationToken>,
    /// When the first of the quotes is over.
    until: UnixSeconds,
}

/// What is known of a deposit that is not wanted any more.
enum Fate {
    /// It was never signed, and none of its leases is on the chain.
    Never,
    /// It was signed: its bytes are handed over again, and followed.
    Signed,
    /// Its leases are on the chain.
    OnChain,
    /// The chain does not answer.
    Unknown,
}

impl Deposit {
    pub(super) fn new<'a>(intent: Intent, leases: impl Iterator<Item = &'a Live> + Clone) -> Self {
        let ends = |live: &Live| {
            let record = &live.record;
            record.quoted_at.plus_secs(record.quote.quote.holds_for.as_secs())
        };
        // A lease that was never wanted here, after a restart, is only looked after.
        let wanted = leases
            .clone()
            .filter(|live| live.record.machine.state() == RenterState::Opening);
        Self {
            intent,
            wanted: wanted.map(|live| live.wanted.clone()).collect(),
            until: leases.clone().map(ends).min().unwrap_or(UnixSeconds(0)),
            leases: leases.map(|live| live.record.lease).collect(),
        }
    }

    fn is_wanted(&self, now: UnixSeconds) -> bool {
        now < self.until && self.wanted.iter().any(|wanted| !wanted.is_cancelled())
    }

    /// The hash of its transaction; nothing when the daemon stops or the chain has it already.
    ///
    /// # Errors
    /// When no money moved, nor will.
    pub(super) async fn send(&self, node: &Node) -> Result<Option<B256>, String> {
        loop {
            if !self.is_wanted(node.clock.date()) {
                match self.fate(node).await {
                    Fate::Never => return Err("it was not sent before it was stopped or its quote was over".to_owned()),
                    Fate::OnChain => return Ok(None),
                    Fate::Signed => {}
                    Fate::Unknown => {
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                }
            }
            match node.sender.send(self.intent.clone()).await {
                Ok(sent) => {
                    tracing::info!(intent = %self.intent.key, transaction = %sent.hash, "deposit sent");
                    return Ok(Some(sent.hash));
                }
                Err(SendError::Stopped { .. }) => return Ok(None),
                Err(error) => {
                    let wait = match error.retry() {
                        Retry::Never => return Err(crate::error_chain(&error)),
                        Retry::Now => AGAIN,
                        Retry::After(wait) => wait.clamp(AGAIN, AT_LAST),
                    };
                    tracing::warn!(intent = %self.intent.key, error = %crate::error_chain(&error), "sending a deposit");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn fate(&self, node: &Node) -> Fate {
        match node.sender.has_signed(&self.intent.key).await {
            None => return Fate::Unknown,
            Some(true) => return Fate::Signed,
            Some(false) => {}
        }
        for lease in &self.leases {
            match node.chain.lease(*lease, Depth::Latest).await {
                Ok(slot) if slot.status == SlotStatus::None => {}
                Ok(_) => return Fate::OnChain,
                Err(error) => {
                    tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "asking what became of a deposit");
                    return Fate::Unknown;
                }
            }
        }
        Fate::Never
    }
}

/// Waits until the transaction is in a block.
///
/// # Errors
/// When it did nothing there, or never got there: no money moved.
pub(super) async fn mined(node: &Node, hash: B256) -> Result<(), String> {
    match node.sender.confirmed(hash, Depth::Latest).await {
        Err(error @ (ConfirmError::Reverted { .. } | ConfirmError::Refused { .. })) => Err(crate::error_chain(&error)),
        // Anything else the chain's watcher tells.
        Ok(_) | Err(ConfirmError::Unknown { .. } | ConfirmError::Rpc { .. } | ConfirmError::Stopped { .. }) => Ok(()),
    }
}

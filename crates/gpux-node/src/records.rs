//! Closing records: what each side signs of the end of a lease, kept for ever.
//!
//! ```text
//! LeaseTask, JobTask ──draft──> closing_records (SQLite) ──open ones──> keep: read the chain, sign, offer to the renter
//! peer call (a provider's statement) ──> answer: sign the same or an own one ──^
//! ```
//!
//! Called by both agents when a lease is over, by peers, and by the API. What the two must agree on is `gpux-lease`'s; the
//! order of events here changes nothing but when a record is whole. Invariant: it comes after the last payment and holds
//! nothing up.

mod booked;
mod view;

pub(crate) use booked::book;
pub(crate) use view::receipts;

use crate::{
    node::Node,
    store::{Role, StoreError},
};
use gpux_lease::{
    ClosingRecord, EscrowRef, Side, SignedStatement, Statement, Tariff, Terms, answer as agreed_or_own, list_moves,
    statement_digest,
};
use gpux_proto::{ErrorCode, PeerError, Request, Response};
use gpux_types::{JobId, LeaseId, Millis, NodeId};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The layout of a record in the database. Refuse to read a newer one.
const VERSION: u16 = 1;
/// How often open records are looked at.
const PACE: Duration = Duration::from_secs(2);
/// How soon a renter that did not answer is asked again; twice as long each time, up to the longest.
const FIRST_PAUSE: Millis = Millis::from_secs(2);
const LONGEST_PAUSE: Millis = Millis::from_secs(60);
/// How long a provider offers its statement. Deposits that must be final take twenty minutes until a renter calls a lease
/// over.
const OFFERED_FOR_SECS: u64 = 7_200;

/// One lease that is over, as its record is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u16,
    /// Whose record it is.
    pub(crate) side: Side,
    pub(crate) lease: LeaseId,
    pub(crate) escrow: EscrowRef,
    pub(crate) terms: Terms,
    pub(crate) tariff: Tariff,
    pub(crate) job: JobId,
    pub(crate) name: String,
    /// The other side's node.
    pub(crate) node: NodeId,
    /// No transaction of the lease is older.
    from_block: u64,
    /// Whether the escrow closed it: then its end must be found on the chain.
    closed: bool,
    /// What this side says, before the chain was asked what moved.
    draft: Statement,
    pub(crate) record: ClosingRecord,
}

/// What a side knows of a lease when it is over.
pub(crate) struct Over {
    pub(crate) side: Side,
    pub(crate) terms: Terms,
    pub(crate) tariff: Tariff,
    pub(crate) job: JobId,
    pub(crate) name: String,
    pub(crate) node: NodeId,
    pub(crate) from_block: u64,
    pub(crate) closed: bool,
    pub(crate) draft: Statement,
}

/// Wakes the task that keeps records. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    drafted: Arc<Notify>,
}

const fn role(side: Side) -> Role {
    match side {
        Side::Renter => Role::Renter,
        Side::Provider => Role::Provider,
    }
}

impl Records {
    /// Writes down that a lease is over. Again: changes nothing.
    pub(crate) fn draft(&self, node: &Node, over: Over) -> Result<(), StoreError> {
        let kept = Kept {
            version: VERSION,
            side: over.side,
            lease: over.draft.lease,
            escrow: node.chain.escrow(),
            terms: over.terms,
            tariff: over.tariff,
            job: over.job,
            name: over.name,
            node: over.node,
            from_block: over.from_block,
            closed: over.closed,
            draft: over.draft,
            record: ClosingRecord::default(),
        };
        node.store.add_record(role(kept.side), kept.lease, &kept)?;
        self.drafted.notify_one();
        Ok(())
    }
}

/// When a lease's renter is asked again, and how long to wait after that.
type Pauses = HashMap<LeaseId, (Millis, Millis)>;

/// Brings open records on, until the daemon stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut pauses = Pauses::new();
    loop {
        for side in [Side::Renter, Side::Provider] {
            let open = node.store.open_records::<Kept>(role(side)).unwrap_or_else(|error| {
                tracing::error!(error = %crate::error_chain(&error), "reading closing records");
                Vec::new()
            });
            for kept in open {
                tokio::select! {
                    biased;
                    () = node.cancel.cancelled() => return,
                    () = bring_on(&node, kept, &mut pauses) => {}
                }
            }
        }
        let pause = if pauses.is_empty() { LONGEST_PAUSE.into() } else { PACE };
        // Cancel-safe: a token stays cancelled, a notification that is not taken stays, the pause is computed anew.
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = node.records.drafted.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does what is due for one record.
async fn bring_on(node: &Node, mut kept: Kept, pauses: &mut Pauses) {
    let (lease, now) = (kept.lease, node.clock.now());
    let (due, pause) = *pauses.entry(lease).or_insert((now, FIRST_PAUSE));
    if now < due {
        return;
    }
    let longer = Millis(pause.0.saturating_mul(2)).min(LONGEST_PAUSE);
    pauses.insert(lease, (now.saturating_add(pause), longer));
    if kept.record.of(kept.side).is_none() && !state_own(node, &mut kept).await {
        return;
    }
    if kept.side == Side::Provider && kept.record.renter.is_none() {
        offer(node, &mut kept).await;
    }
    if kept.is_open(node.clock.date().0) {
        return;
    }
    pauses.remove(&lease);
    keep_row(node, &kept);
}

impl Kept {
    /// Whether something is still to be done for it on this side's account.
    fn is_open(&self, date: u64) -> bool {
        match self.record.of(self.side) {
            None => true,
            Some(own) => {
                let unanswered = self.side == Side::Provider && self.record.renter.is_none();
                unanswered && date.saturating_sub(own.statement.date.0) < OFFERED_FOR_SECS
            }
        }
    }
}

fn keep_row(node: &Node, kept: &Kept) -> bool {
    let open = kept.is_open(node.clock.date().0);
    let done = node.store.put_record(role(kept.side), kept.lease, kept, open);
    done.inspect_err(
        |error| tracing::error!(lease = %kept.lease.short(), error = %crate::error_chain(error), "keeping a closing record"),
    )
    .is_ok()
}

/// Reads what moved, and signs this side's own statement. False when that has to be tried again.
async fn state_own(node: &Node, kept: &mut Kept) -> bool {
    let logs = match node.chain.lease_logs(kept.lease, kept.from_block).await {
        Ok(logs) => logs,
        Err(error) => {
            tracing::debug!(lease = %kept.lease.short(), error = %crate::error_chain(&error), "reading what a lease moved");
            return false;
        }
    };
    let (amounts, moves, closed) = booked::all(&logs);
    if kept.closed && !closed {
        // The chain node is behind the one that told of the end.
        return false;
    }
    let (moves, moves_omitted) = list_moves(moves);
    let statement = Statement {
        amounts,
        moves,
        moves_omitted,
        ..kept.draft.clone()
    };
    let Some(signed) = sign(node, kept, statement) else {
        return false;
    };
    kept.record.take(kept.side, signed);
    keep_row(node, kept)
}

/// Signs for this side: with the receipt key of the job, or as the provider's signer.
fn sign(node: &Node, kept: &Kept, statement: Statement) -> Option<SignedStatement> {
    let digest = statement_digest(&kept.escrow, &statement);
    let signature = match kept.side {
        Side::Provider => node.provider.as_ref().map(|provider| provider.sign(digest)),
        Side::Renter => crate::renter::receipt_key(node, kept.job).map(|key| key.sign_digest(digest)),
    };
    if signature.is_none() {
        tracing::warn!(lease = %kept.lease.short(), "a closing record cannot be signed: its key is not here any more");
    }
    signature.map(|signature| SignedStatement { statement, signature })
}

/// Gives the renter the provider's statement and takes its answer.
async fn offer(node: &Node, kept: &mut Kept) {
    let Some(own) = kept.record.provider.clone() else {
        return;
    };
    let answer = node.net.call(kept.node, &Request::Record(Box::new(own))).await;
    let signed = match answer {
        Ok(Response::Record(signed)) => *signed,
        Ok(_) => return,
        Err(error) => {
            tracing::debug!(lease = %kept.lease.short(), error = %crate::error_chain(&error), "offering a closing record");
            return;
        }
    };
    match signed.verify(Side::Renter, &kept.terms, &kept.escrow) {
        Ok(()) => {
            kept.record.take(Side::Renter, signed);
            tracing::info!(lease = %kept.lease.short(), agreed = kept.record.is_agreed(), "closing record signed by both");
        }
        Err(error) => {
            tracing::warn!(lease = %kept.lease.short(), error = %crate::error_chain(&error), "a closing record was refused")
        }
    }
}

/// Answers a provider that states how a lease ended: with the same words signed, or with this renter's own.
pub(crate) fn answer(node: &Node, from: NodeId, offered: SignedStatement) -> Result<Response, PeerError> {
    let lease = offered.statement.lease;
    let internal = |error: StoreError| {
        tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "answering a closing record");
        PeerError::new(ErrorCode::Internal, "the record could not be kept")
    };
    let kept: Option<Kept> = node.store.record(Role::Renter, lease).map_err(internal)?;
    let known = match &kept {
        Some(kept) => Some(kept.node),
        None => crate::renter::provider_of(node, lease),
    };
    if known != Some(from) {
        return Err(PeerError::new(
            ErrorCode::NoSuchLease,
            "there is no such lease of yours here",
        ));
    }
    let not_yet = || PeerError::new(ErrorCode::TooMany, "the lease is not over here yet; ask again");
    let mut kept = kept.ok_or_else(not_yet)?;
    let mine = kept.record.renter.clone().ok_or_else(not_yet)?;
    if offered.verify(Side::Provider, &kept.terms, &kept.escrow).is_err() {
        return Err(PeerError::new(
            ErrorCode::BadRequest,
            "the statement is not signed by the terms' signer, or lists too much",
        ));
    }
    if !kept.record.is_agreed() {
        let words = agreed_or_own(mine.statement, &offered.statement, &kept.tariff);
        let signed =
            sign(node, &kept, words).ok_or_else(|| PeerError::new(ErrorCode::Internal, "it cannot be signed"))?;
        let news = kept.record.take(Side::Provider, offered);
        if kept.record.take(Side::Renter, signed) || news {
            let done = node.store.put_record(Role::Renter, lease, &kept, false);
            done.map_err(internal)?;
        }
    }
    let signed = kept.record.renter.ok_or_else(not_yet)?;
    Ok(Response::Record(Box::new(signed)))
}

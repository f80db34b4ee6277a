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
mod earnings;
mod rounds;
mod turns;
mod view;

pub(crate) use booked::book;
pub(crate) use earnings::earnings;
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
use gpux_types::{JobId, LeaseId, NodeId};
use rounds::{Key, Rounds};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Notify;
use turns::Turns;

/// The layout of a record in the database. Refuse to read a newer one.
const VERSION: u16 = 1;
/// How often open records are looked at.
const PACE: Duration = Duration::from_secs(2);
/// How long one turn of one record may take: a lease of ninety days is read from the chain in hundreds of questions.
const PATIENCE: Duration = Duration::from_secs(600);
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
        node.experience.take(&kept);
        self.drafted.notify_one();
        Ok(())
    }
}

/// What this renter's leases told of their nodes so far. Records that cannot be read tell nothing, and hinder nobody.
pub(crate) fn remember(node: &Node) {
    match node.store.records::<Kept>(Role::Renter) {
        Ok(records) => node.experience.rebuild(records.iter()),
        Err(error) => {
            tracing::error!(error = %crate::error_chain(&error), "reading how nodes kept their word")
        }
    }
}

/// Brings open records on, until the daemon stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let (mut rounds, mut under_way) = (Rounds::default(), Turns::default());
    loop {
        let mut open: HashMap<Key, Kept> = open(&node).into_iter().map(|kept| (kept.key(), kept)).collect();
        for key in rounds.start(open.keys().copied(), node.clock.now()) {
            if let Some(kept) = open.remove(&key) {
                under_way.start(key, patiently(node.clone(), kept));
            }
        }
        let pause = if rounds.is_empty() {
            rounds::LONGEST_PAUSE.into()
        } else {
            PACE
        };
        // Cancel-safe: a token stays cancelled, a notification or a result that is not taken stays, the pause is computed anew.
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            Some((key, over)) = under_way.next() => rounds.done(key, over, node.clock.now()),
            () = node.records.drafted.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn open(node: &Node) -> Vec<Kept> {
    let read = |side| {
        node.store
            .open_records::<Kept>(role(side))
            .unwrap_or_else(|error| vec![Err(error)])
    };
    let rows = [Side::Renter, Side::Provider].into_iter().flat_map(read);
    let readable = rows.filter_map(|row| {
        row.inspect_err(|error| tracing::error!(error = %crate::error_chain(error), "reading a closing record"))
            .ok()
    });
    readable.collect()
}

/// Brings one record on; true when nothing is left to do for it.
async fn patiently(node: Arc<Node>, kept: Kept) -> bool {
    let over = tokio::time::timeout(PATIENCE, bring_on(&node, kept)).await;
    over.unwrap_or(false)
}

async fn bring_on(node: &Node, mut kept: Kept) -> bool {
    if !kept.is_open(node.clock.date().0) {
        return change(node, &mut kept, |_| ());
    }
    if kept.record.of(kept.side).is_none() {
        let Some(own) = state_own(node, &kept).await else {
            return false;
        };
        let side = kept.side;
        if !change(node, &mut kept, |record| record.take(side, own)) {
            return false;
        }
    }
    if kept.side == Side::Provider
        && kept.record.renter.is_none()
        && let Some(answer) = offer(node, &kept).await
        && change(node, &mut kept, |record| record.take(Side::Renter, answer))
    {
        tracing::info!(lease = %kept.lease.short(), agreed = kept.record.is_agreed(), "closing record signed by both");
    }
    !kept.is_open(node.clock.date().0)
}

impl Kept {
    /// What this side says of the lease, before the chain was asked what moved.
    pub(crate) const fn draft(&self) -> &Statement {
        &self.draft
    }

    const fn key(&self) -> Key {
        (self.side, self.lease)
    }

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

/// Changes what is signed of a record as it is now on the disk: the other side's answer may have come meanwhile. False when it
/// could not be kept.
fn change<T>(node: &Node, kept: &mut Kept, signed: impl FnOnce(&mut ClosingRecord) -> T) -> bool {
    let date = node.clock.date().0;
    let changed = node.store.change_record(role(kept.side), kept.lease, |now: &mut Kept| {
        signed(&mut now.record);
        now.is_open(date)
    });
    match changed {
        Ok(Some(now)) => {
            *kept = now;
            true
        }
        Ok(None) => false,
        Err(error) => {
            tracing::error!(lease = %kept.lease.short(), error = %crate::error_chain(&error), "keeping a closing record");
            false
        }
    }
}

/// Reads what moved, and signs this side's own statement. Nothing when that has to be tried again.
async fn state_own(node: &Node, kept: &Kept) -> Option<SignedStatement> {
    let logs = match node.chain.lease_logs(kept.lease, kept.from_block).await {
        Ok(logs) => logs,
        Err(error) => {
            tracing::debug!(lease = %kept.lease.short(), error = %crate::error_chain(&error), "reading what a lease moved");
            return None;
        }
    };
    let (amounts, moves, closed) = booked::all(&logs);
    if kept.closed && !closed {
        // The chain node is behind the one that told of the end.
        return None;
    }
    let (moves, moves_omitted) = list_moves(moves);
    let statement = Statement {
        amounts,
        moves,
        moves_omitted,
        ..kept.draft.clone()
    };
    sign(node, kept, statement)
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

/// Gives the renter the provider's statement; its answer, when it is one.
async fn offer(node: &Node, kept: &Kept) -> Option<SignedStatement> {
    let own = kept.record.provider.clone()?;
    let answer = node.net.call(kept.node, &Request::Record(Box::new(own))).await;
    let signed = match answer {
        Ok(Response::Record(signed)) => *signed,
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!(lease = %kept.lease.short(), error = %crate::error_chain(&error), "offering a closing record");
            return None;
        }
    };
    let verified = signed.verify(Side::Renter, &kept.terms, &kept.escrow);
    verified
        .inspect_err(|error| tracing::warn!(lease = %kept.lease.short(), error = %crate::error_chain(error), "a closing record was refused"))
        .ok()?;
    Some(signed)
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
        let take = |record: &mut ClosingRecord| {
            let news = record.take(Side::Provider, offered);
            record.take(Side::Renter, signed) || news
        };
        if take.clone()(&mut kept.record) {
            let changed = node.store.change_record(Role::Renter, lease, |now: &mut Kept| {
                take(&mut now.record);
                false
            });
            kept = changed.map_err(internal)?.ok_or_else(not_yet)?;
        }
    }
    let signed = kept.record.renter.ok_or_else(not_yet)?;
    Ok(Response::Record(Box::new(signed)))
}

//! The watch-tower: keeps what other providers hand over, and collects it for them once they are gone (decision 11).
//!
//! ```text
//! peer call (`Watch`) ──> Watch (book: one entry a lease, on the disk first) <──due, drop── collecting (one task) ──> wallet
//! ```
//!
//! What is taken, when it is used and when it is forgotten is decided by `gpux_lease::{admit, check_slot, tower_step}`. Everything
//! that comes here is a stranger's: both signatures are checked before a word of it is believed, and the contract lets it pay
//! nobody but its provider and, a hundredth, this wallet.

mod book;
mod collecting;
mod reads;
#[cfg(test)]
mod tests;

pub(crate) use collecting::keep;

use crate::{
    config::WatchSection,
    fees::fee_of,
    node::Node,
    provider::COLLECT,
    store::{Store, StoreError, known_version},
};
use book::{Book, Entry, Next};
use gpux_chain::{Collector, Depth, RpcError, SlotStatus};
use gpux_lease::{Admission, FinalSlot, Handover, WatchLimits, WatchRefusal, WatchedSlot, admit, check_slot};
use gpux_proto::{ErrorCode, PeerError, Response};
use gpux_types::{Amount, LeaseId, Millis, NodeId, UnixSeconds};
use reads::Reads;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The layout of a row in the database. Refuse to read a newer one.
const VERSION: u16 = 1;

/// One lease that is watched, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(deserialize_with = "known_version::<_, VERSION>")]
    version: u16,
    lease: LeaseId,
    /// Who handed it over.
    from: NodeId,
    handover: Handover,
    /// What collecting cost when it was taken. Older daemons neither write nor read it.
    #[serde(default)]
    fee: Amount,
}

/// What this node watches. A cheap clone. The book is a mutex rather than a task: every use is short and synchronous.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    serve: bool,
    limits: WatchLimits,
    book: Arc<Mutex<Book>>,
    reads: Arc<Reads>,
}

impl Watch {
    /// What an earlier daemon watched is watched on, also when nothing new is taken.
    pub(crate) fn open(section: &WatchSection, store: &Store) -> Result<Self, StoreError> {
        let mut book = Book::default();
        let watched = store.watched::<Kept>()?;
        for (lease, error) in &watched.unreadable {
            let lease = lease.map_or_else(|| "an unknown one".to_owned(), |lease| lease.to_string());
            tracing::error!(lease, error = %crate::error_chain(error), "a watched lease cannot be read: it is left alone");
        }
        for kept in watched.readable {
            book.insert(kept.lease, Entry::new(kept.from, kept.handover, kept.fee, Millis::ZERO));
        }
        Ok(Self {
            serve: section.serve,
            limits: WatchLimits {
                leases: section.max_leases,
                of_one: section.max_leases_of_one,
            },
            book: Arc::new(Mutex::new(book)),
            reads: Arc::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node takes what others hand over, how many leases it watches, and of how many nodes.
    pub(crate) fn load(&self) -> (bool, usize, usize) {
        let book = self.lock();
        let (leases, nodes) = book.load();
        (self.serve, leases, nodes)
    }

    /// Answers a provider that hands a lease over.
    pub(crate) async fn take(&self, node: &Node, from: NodeId, handover: Handover) -> Result<Response, PeerError> {
        let refuse = |code, message: &str| Err(PeerError::new(code, message));
        if !self.serve {
            return refuse(ErrorCode::Unsupported, "this node watches no leases");
        }
        if handover.terms.token != node.chain.token().address {
            return refuse(ErrorCode::Unsupported, "this node trades in another token");
        }
        let escrow = node.chain.escrow();
        let collector = Collector {
            escrow: escrow.address,
            signer: handover.terms.provider_signer,
            payout: handover.payout,
        };
        let lease = handover
            .verify(&escrow, collector.address())
            .map_err(|error| PeerError::new(ErrorCode::BadRequest, crate::error_chain(&error)))?;
        let full = match self.admission(node, lease, from, &handover) {
            Ok(Admission::Known) => return Ok(Response::Accepted),
            Ok(Admission::Keep) => None,
            Err(WatchRefusal::Full(_)) => Some(None),
            Err(WatchRefusal::FullForOne(_)) => Some(Some(from)),
            Err(other) => return Err(refusal(other)),
        };
        let known = self.lock().watching(lease, from).of_one > 0;
        let Some(_turn) = self.reads.turn(from, known).await else {
            return refuse(ErrorCode::TooMany, "this node is looking at other leases; try again");
        };
        if let Some(of) = full {
            self.make_place(node, of).await;
            self.admission(node, lease, from, &handover).map_err(refusal)?;
        }
        self.weigh(node, lease, from, handover).await
    }

    /// Keeps what the chain bears out.
    async fn weigh(
        &self,
        node: &Node,
        lease: LeaseId,
        from: NodeId,
        handover: Handover,
    ) -> Result<Response, PeerError> {
        let slot = read(node, lease, &handover).await;
        let slot = slot.map_err(|_| PeerError::new(ErrorCode::Internal, "the chain could not be asked; try again"))?;
        let fee = fee_of(node, COLLECT);
        let fee = fee.ok_or_else(|| PeerError::new(ErrorCode::TooMany, "this node is starting; try again"))?;
        check_slot(&handover, &slot, fee).map_err(refusal)?;
        let next = Next {
            lease,
            handover: handover.clone(),
            fee,
        };
        let kept = self.keep(node, from, next)?;
        self.seen(lease, &handover, &slot);
        Ok(kept)
    }

    fn admission(
        &self,
        node: &Node,
        lease: LeaseId,
        from: NodeId,
        offered: &Handover,
    ) -> Result<Admission, WatchRefusal> {
        let watching = self.lock().watching(lease, from);
        admit(offered.amount, node.clock.now(), watching, self.limits)
    }

    /// Looks at one of all that are watched, or of those of one node, which may be over.
    async fn make_place(&self, node: &Node, of: Option<NodeId>) {
        let Some(next) = self.in_turn(of, node.clock.now()) else {
            return;
        };
        if let Err(error) = collecting::look(node, &next).await {
            tracing::debug!(lease = %next.lease.short(), error = %crate::error_chain(&error), "looking at a watched lease");
        }
    }

    /// Puts it on the disk and into the book, unless another call was faster.
    fn keep(&self, node: &Node, from: NodeId, taken: Next) -> Result<Response, PeerError> {
        let Next { lease, handover, fee } = taken;
        let now = node.clock.now();
        let mut book = self.lock();
        let admitted = admit(handover.amount, now, book.watching(lease, from), self.limits);
        if admitted.map_err(refusal)? == Admission::Known {
            return Ok(Response::Accepted);
        }
        let kept = Kept {
            version: VERSION,
            lease,
            from,
            handover,
            fee,
        };
        if let Err(error) = node.store.put_watched(lease, &kept) {
            tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "keeping a watched lease");
            return Err(PeerError::new(ErrorCode::Internal, "the handover could not be kept"));
        }
        let handover = kept.handover;
        tracing::info!(lease = %lease.short(), from = %from.short(), amount = %handover.amount, not_before = handover.not_before.0, "watching a lease");
        book.insert(lease, Entry::new(from, handover, fee, now));
        Ok(Response::Accepted)
    }

    /// What may be used at block time `time` and is brought on next.
    fn due(&self, time: UnixSeconds, now: Millis) -> Option<Next> {
        self.lock().due(time, now)
    }

    /// What was looked at longest ago, of one node or of all.
    fn in_turn(&self, of: Option<NodeId>, now: Millis) -> Option<Next> {
        self.lock().in_turn(of, now)
    }

    /// Its escrow was read.
    fn seen(&self, lease: LeaseId, handover: &Handover, slot: &WatchedSlot) {
        if slot.open {
            let end = slot.expiry.plus_secs(handover.terms.grace_secs.into());
            self.lock().ends(lease, end);
        }
    }

    /// It is over: unless a newer handover of it came meanwhile.
    fn forget(&self, store: &Store, over: &Next) {
        let (mut book, lease) = (self.lock(), over.lease);
        if book.get(lease).is_none_or(|entry| entry.handover != over.handover) {
            return;
        }
        match store.drop_watched(lease) {
            Ok(()) => {
                book.remove(lease);
                tracing::info!(lease = %lease.short(), "a watched lease is over");
            }
            Err(error) => {
                tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "forgetting a watched lease");
            }
        }
    }
}

fn refusal(refusal: WatchRefusal) -> PeerError {
    let code = match refusal {
        WatchRefusal::Full(_) | WatchRefusal::FullForOne(_) => ErrorCode::NoCapacity,
        WatchRefusal::TooSoon => ErrorCode::TooMany,
        WatchRefusal::NoCollector => ErrorCode::NotCovered,
        WatchRefusal::Lower(_) | WatchRefusal::NotOpen | WatchRefusal::TooLate | WatchRefusal::NotWorth(_) => {
            ErrorCode::BadRequest
        }
    };
    PeerError::new(code, refusal.to_string())
}

/// What the newest block holds of a lease, as the rules take it.
async fn read(node: &Node, lease: LeaseId, handover: &Handover) -> Result<WatchedSlot, RpcError> {
    let latest = node.chain.lease(lease, Depth::Latest).await?;
    Ok(WatchedSlot {
        deposit: latest.deposit,
        claimed: latest.claimed,
        expiry: latest.expiry,
        open: latest.status == SlotStatus::Open,
        in_final: None,
        collector: node.chain.has_code(handover.terms.provider).await?,
    })
}

/// What a final block holds of it.
async fn read_final(node: &Node, lease: LeaseId) -> Result<FinalSlot, RpcError> {
    let slot = node.chain.lease(lease, Depth::Finalized).await?;
    Ok(FinalSlot {
        closed: slot.status == SlotStatus::Closed,
        claimed: slot.claimed,
    })
}

//! What the leases of a job do in one transaction, where the job wants that: deposits, top-ups and closings.
//!
//! Effects of the leases' machines are collected here, and sent together once the event that caused them is handled
//! ([`JobTask::flush_together`]). Invariant: which leases share a transaction is journaled before it is sent, under a number
//! that names it for ever; asked for again, the same transaction is sent again.

use super::{
    JobInput, JobTask, PeerReply,
    deposit::{self, Deposit},
    leases::{self, Told, Unchanged},
    top_up::{self, Outcome, Undone},
};
use crate::{
    node::Node,
    renter::record::{Batches, LeaseRecord},
};
use gpux_api::TransactionKind;
use gpux_chain::{
    Call, CloseLeg, Depth, EscrowEvent, Intent, IntentKey, JobTerms, Mined, NodeTerms, OpenLeg, TopUpLeg,
};
use gpux_lease::{RenterEvent, RenterState, SignedClosing, TopUp, Work};
use gpux_proto::{ClosingOffer, ErrorCode, PeerError, Request, Response};
use gpux_types::{Address, Amount, B256, LeaseId, Millis, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How long a lease that could be closed waits for the others of its job. Less than the ten minutes after which its provider
/// settles by itself.
const CLOSE_PATIENCE: Millis = Millis::from_secs(120);

/// What was asked for and is not sent yet.
#[derive(Debug, Default)]
pub(super) struct Together {
    opening: BTreeSet<LeaseId>,
    topping_up: BTreeMap<LeaseId, TopUp>,
    /// Since when each could be closed.
    closable: BTreeMap<LeaseId, Millis>,
    /// The numbers of closings that are on their way.
    pub(super) closing: Vec<usize>,
}

impl Together {
    pub(super) fn open(&mut self, lease: LeaseId) {
        self.opening.insert(lease);
    }

    pub(super) fn top_up(&mut self, lease: LeaseId, top_up: TopUp) {
        self.topping_up.insert(lease, top_up);
    }

    pub(super) fn close(&mut self, lease: LeaseId, now: Millis) {
        self.closable.entry(lease).or_insert(now);
    }
}

impl JobTask {
    /// Sends what was asked for since the last time.
    pub(super) fn flush_together(&mut self) {
        if !self.together.opening.is_empty() {
            self.open_together();
        }
        if !self.together.topping_up.is_empty() {
            self.top_up_together();
        }
        if !self.together.closable.is_empty() {
            self.close_together();
        }
    }

    fn batches(&mut self) -> &mut Batches {
        self.record.batches.get_or_insert_default()
    }

    /// The leases in groups that one transaction can hold: what they must have in common differs when nodes ask for another
    /// grace. Within a group those of one payee follow each other, whose payments are then one.
    fn groups(&self, leases: impl IntoIterator<Item = LeaseId>) -> Vec<Vec<LeaseId>> {
        let mut groups: BTreeMap<JobTerms, Vec<(Address, LeaseId)>> = BTreeMap::new();
        for lease in leases {
            if let Some(live) = self.leases.get(&lease) {
                let terms = &live.record.terms;
                let group = groups.entry(JobTerms::of(terms)).or_default();
                group.push((terms.provider, lease));
            }
        }
        let sorted = groups.into_values().map(|mut group| {
            group.sort_unstable();
            group.into_iter().map(|(_, lease)| lease).collect()
        });
        sorted.collect()
    }

    /// The records of a group with what they have in common.
    fn group(&self, leases: &[LeaseId]) -> Option<(JobTerms, Vec<&LeaseRecord>)> {
        let records = leases.iter().filter_map(|lease| Some(&self.leases.get(lease)?.record));
        let records: Vec<&LeaseRecord> = records.collect();
        Some((JobTerms::of(&records.first()?.terms), records))
    }

    fn open_together(&mut self) {
        let asked = std::mem::take(&mut self.together.opening);
        if self.batches().opened.is_empty() {
            self.batches().opened = self.groups(asked.iter().copied());
            if !self.keep_job() {
                self.batches().opened.clear();
                self.open_many_failed(asked.into_iter().collect(), "it could not be written down first");
                return;
            }
        }
        for opened in self.batches().opened.clone() {
            if opened.iter().any(|lease| asked.contains(lease)) {
                self.open_group(&opened, &asked);
            }
        }
    }

    fn open_group(&mut self, opened: &[LeaseId], asked: &BTreeSet<LeaseId>) {
        // The first names the transaction for ever.
        let (Some(first), Some((job, records))) = (opened.first(), self.group(opened)) else {
            return;
        };
        let legs = records.iter().map(|record| OpenLeg {
            node: NodeTerms::of(&record.terms),
            deposit: record.deposit,
            expiry: record.expiry,
        });
        let intent = Intent {
            key: IntentKey::many(&IntentKey::open(*first)),
            call: Call::OpenMany {
                job,
                legs: legs.collect(),
                permit: true,
            },
        };
        let live = opened.iter().filter_map(|lease| self.leases.get(lease));
        let deposit = Deposit::new(intent, live);
        let told: Vec<LeaseId> = opened.iter().copied().filter(|lease| asked.contains(lease)).collect();
        let (node, opened) = (self.node.clone(), opened.to_vec());
        self.effects.spawn(async move {
            match deposit.send(&node).await {
                Ok(Some(transaction)) => JobInput::OpenManySent(transaction, opened, told),
                Ok(None) => JobInput::Done,
                Err(why) => JobInput::OpenManyFailed(opened, why),
            }
        });
    }

    /// Follows a transaction that opens leases, and tells the provider of each: one that is silent holds up no other.
    pub(super) fn open_many_sent(&mut self, transaction: B256, opened: Vec<LeaseId>, told: &[LeaseId]) {
        let nodes = self.nodes();
        for lease in told {
            let Some(live) = self.leases.get(lease) else { continue };
            let mut request = leases::lease_request(&self.node, &self.record.spec, &live.record, &nodes);
            request.transaction = transaction;
            let (node, lease, peer) = (self.node.clone(), *lease, live.record.node);
            self.effects.spawn(async move {
                match leases::tell_lease(&node, lease, peer, request).await {
                    Told::TooLate(offer) => return JobInput::GivenBack(peer, offer),
                    Told::Taken => will_close(&node, lease, peer).await,
                    Told::Unheard => {}
                }
                JobInput::Done
            });
        }
        let node = self.node.clone();
        self.effects.spawn(async move {
            match deposit::mined(&node, transaction).await {
                Ok(()) => JobInput::Done,
                Err(why) => JobInput::OpenManyFailed(opened, why),
            }
        });
    }

    pub(super) fn open_many_failed(&mut self, leases: Vec<LeaseId>, why: &str) {
        for lease in leases {
            self.open_failed(lease, why.to_owned());
        }
    }

    fn top_up_together(&mut self) {
        let asked = std::mem::take(&mut self.together.topping_up);
        let known = self.batches().topped_up.clone();
        let number_of = |lease: &LeaseId, top_up: &TopUp| {
            let same = |(other, before): &(LeaseId, TopUp)| other == lease && before.number == top_up.number;
            known.iter().position(|batch| batch.iter().any(same))
        };
        let mut numbers: BTreeSet<usize> = asked
            .iter()
            .filter_map(|(lease, top_up)| number_of(lease, top_up))
            .collect();
        let new = asked
            .iter()
            .filter(|(lease, top_up)| number_of(lease, top_up).is_none());
        let new: BTreeMap<LeaseId, TopUp> = new.map(|(lease, top_up)| (*lease, *top_up)).collect();
        for group in self.groups(new.keys().copied()) {
            let batch = group.into_iter().filter_map(|lease| Some((lease, *new.get(&lease)?)));
            let batch = batch.collect();
            let number = self.batches().topped_up.len();
            self.batches().topped_up.push(batch);
            if self.keep_job() {
                numbers.insert(number);
            } else {
                self.top_ups_unwritten(number);
            }
        }
        for number in numbers {
            self.send_top_ups(number);
        }
    }

    /// What could not be written down is not sent.
    fn top_ups_unwritten(&mut self, number: usize) {
        let batch = self.batches().topped_up.split_off(number);
        for (lease, top_up) in batch.into_iter().flatten() {
            let undone = Undone::unsigned("it could not be written down first");
            self.top_up_ended(lease, top_up.number, Err(undone));
        }
    }

    fn send_top_ups(&mut self, number: usize) {
        let batch = self.batches().topped_up.get(number).cloned().unwrap_or_default();
        let leases: Vec<LeaseId> = batch.iter().map(|(lease, _)| *lease).collect();
        let (Some(first), Some((job, records))) = (batch.first().copied(), self.group(&leases)) else {
            return;
        };
        let legs = records.iter().zip(&batch).map(|(record, (_, top_up))| TopUpLeg {
            node: NodeTerms::of(&record.terms),
            amount: top_up.amount,
            new_expiry: top_up.new_expiry,
        });
        let intent = Intent {
            key: IntentKey::many(&IntentKey::top_up(first.0, first.1.number)),
            call: Call::TopUpMany {
                job,
                legs: legs.collect(),
                permit: true,
            },
        };
        let node = self.node.clone();
        self.effects.spawn(async move {
            let mined = top_up::mined(&node, intent).await;
            let outcome = |lease: LeaseId, top_up: TopUp| topped_up(lease, top_up, mined.as_ref());
            let outcomes = batch
                .into_iter()
                .map(|(lease, top_up)| (lease, top_up.number, outcome(lease, top_up)));
            JobInput::TopUpsEnded(outcomes.collect())
        });
    }

    /// Takes a closing amount: acknowledged once it is on the disk.
    pub(super) fn closing_offered(&mut self, from: NodeId, offer: &ClosingOffer, reply: PeerReply) {
        // An asker that went away tells again.
        let _ = reply.send(self.take_closing(from, offer));
    }

    pub(super) fn take_closing(&mut self, from: NodeId, offer: &ClosingOffer) -> Result<Response, PeerError> {
        let escrow = self.node.chain.escrow();
        let lease = offer.lease;
        let none = || PeerError::new(ErrorCode::NoSuchLease, "there is no such lease of yours here");
        let live = self.leases.get_mut(&lease).filter(|live| live.record.node == from);
        let live = live.ok_or_else(none)?;
        let other = |before: &SignedClosing| before.amount != offer.amount;
        // Closing costs the renter a fee: only who said that it will has to, or whose whole deposit comes back with it.
        let back = offer.amount == Amount::ZERO && live.record.machine.signed() == Amount::ZERO;
        let unasked = self.record.batches.is_none() && !back;
        if unasked || live.record.closing.as_ref().is_some_and(other) {
            return Err(PeerError::new(
                ErrorCode::BadRequest,
                "no closing amount was asked for, or another one was given before",
            ));
        }
        let signed = SignedClosing {
            lease,
            amount: offer.amount,
            signature: offer.signature,
        };
        if signed.verify(&live.record.terms, &escrow).is_err() || offer.amount > live.record.machine.signed() {
            return Err(PeerError::new(
                ErrorCode::BadRequest,
                "the closing amount is not signed by the terms' signer, or above what was signed for",
            ));
        }
        live.note_reading(offer.metered, Work::Gone);
        let event = RenterEvent::ClosingOffered {
            amount: offer.amount,
            end: offer.end,
        };
        let refuse = |code, message| Err(PeerError::new(code, message));
        match self.change_lease(lease, event, |record| record.closing = Some(signed)) {
            Ok(_) => Ok(Response::Accepted),
            Err(Unchanged::NotKept) => refuse(ErrorCode::Internal, "the closing amount could not be kept; try again"),
            Err(Unchanged::Refused) => refuse(ErrorCode::BadRequest, "a lease that is not open has no closing amount"),
        }
    }

    /// Closes what can be closed, once nothing more is to be waited for.
    fn close_together(&mut self) {
        let now = self.node.clock.now();
        self.together.closable.retain(|lease, _| {
            let live = self.leases.get(lease);
            live.is_some_and(|live| !live.record.is_over() && !live.closed)
        });
        let known = self.batches().closed.clone();
        let (again, new): (Vec<LeaseId>, Vec<LeaseId>) = self
            .together
            .closable
            .keys()
            .partition(|lease| known.iter().any(|batch| batch.contains(lease)));
        let mut numbers: BTreeSet<usize> = again
            .iter()
            .filter_map(|lease| known.iter().position(|batch| batch.contains(lease)))
            .collect();
        let oldest = new.iter().filter_map(|lease| self.together.closable.get(lease)).min();
        let waited = oldest.is_some_and(|since| now.saturating_sub(*since) >= CLOSE_PATIENCE);
        if !new.is_empty() && (waited || !self.others_may_close(now)) {
            let groups = self.groups(new.iter().copied());
            self.batches().closed.extend(groups);
            if self.keep_job() {
                numbers.extend(known.len()..self.batches().closed.len());
            } else {
                // Asked for again in a while; until then each provider may settle by itself.
                self.batches().closed.truncate(known.len());
            }
        }
        // What is sent is asked for again by the machines until it is done.
        let waiting: Vec<LeaseId> = if numbers.contains(&known.len()) {
            Vec::new()
        } else {
            new
        };
        self.together.closable.retain(|lease, _| waiting.contains(lease));
        for number in numbers {
            if !self.together.closing.contains(&number) {
                self.send_closes(number);
            }
        }
    }

    /// Whether a lease of the job that is heard has not given its closing amount yet.
    fn others_may_close(&self, now: Millis) -> bool {
        self.leases.values().any(|live| {
            let machine = &live.record.machine;
            let heard = now.saturating_sub(machine.heard()) < machine.config().unreachable_after;
            let ends = matches!(
                machine.state(),
                RenterState::Opening | RenterState::Open | RenterState::Running | RenterState::Ending { .. }
            );
            heard && ends && live.record.closing.is_none() && !live.closed
        })
    }

    fn send_closes(&mut self, number: usize) {
        let batch = self.batches().closed.get(number).cloned().unwrap_or_default();
        let (Some(first), Some((job, records))) = (batch.first(), self.group(&batch)) else {
            return;
        };
        let legs = records.iter().filter_map(|record| {
            let closing = record.closing.as_ref()?;
            Some(CloseLeg {
                node: NodeTerms::of(&record.terms),
                amount: closing.amount,
                signature: closing.signature,
            })
        });
        let intent = Intent {
            key: IntentKey::many(&IntentKey::close(*first)),
            call: Call::CloseMany {
                job,
                legs: legs.collect(),
            },
        };
        self.together.closing.push(number);
        let node = self.node.clone();
        self.effects.spawn(async move {
            match mined(&node, intent).await {
                Ok(mined) => tracing::info!(transaction = %mined.hash, "leases closed"),
                // Each provider settles by itself when no close comes.
                Err(why) => tracing::warn!(%why, "closing leases"),
            }
            JobInput::ClosesEnded(number)
        });
    }
}

/// Tells a provider that its lease will be closed by the renter. One that cannot be told settles by itself.
pub(super) async fn will_close(node: &Arc<Node>, lease: LeaseId, peer: NodeId) {
    if let Err(error) = node.net.call(peer, &Request::WillClose(lease)).await {
        tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "telling a node that its lease will be closed");
    }
}

/// Sends, and waits for the newest block.
pub(super) async fn mined(node: &Node, intent: Intent) -> Result<Mined, String> {
    let sent = node.sender.send(intent).await;
    let sent = sent.map_err(|error| crate::error_chain(&error))?;
    let confirmed = node.sender.confirmed(sent.hash, Depth::Latest).await;
    confirmed.map_err(|error| crate::error_chain(&error))
}

/// What became of one lease's top-up in a transaction for many.
fn topped_up(lease: LeaseId, top_up: TopUp, mined: Result<&Mined, &Undone>) -> Outcome {
    let mined = mined.map_err(Clone::clone)?;
    let done = |event: &EscrowEvent| matches!(event, EscrowEvent::ToppedUp { .. }) && event.lease() == Some(lease);
    if !mined.events.iter().any(done) {
        return Err(Undone {
            why: "the lease was not open any more".to_owned(),
            signed: true,
        });
    }
    Ok(crate::renter::cost::transaction(
        lease,
        TransactionKind::TopUp,
        top_up.amount,
        mined,
    ))
}

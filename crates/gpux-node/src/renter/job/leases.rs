//! The leases of a job: events go into their machines, and what these ask for is done here.

use super::{
    JobInput, JobTask, Live, PeerReply,
    calls::{TRIES, call_until},
    deposit::{self, Deposit},
};
use crate::{
    node::Node,
    renter::{image, pieces::PieceEvent, quotes::Claim, record::LeaseRecord},
};
use gpux_chain::{Call, Intent, IntentKey, LeaseSeen, SlotStatus};
use gpux_lease::{End, EscrowView, RenterEffect, RenterEvent, RenterState, Work};
use gpux_proto::{
    ClosingOffer, ErrorCode, JobSpec, LeaseReport, LeaseRequest, MAX_OTHERS, MeterReport, PeerError, Request, Response,
    StopRequest,
};
use gpux_types::{Amount, LeaseId, Millis, NodeId};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why an event changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unchanged {
    /// The machine took it for a contradiction, or there is no such lease.
    Refused,
    /// The disk took nothing. It must be given again.
    NotKept,
}

impl JobTask {
    /// Gives a lease's machine an event, journals it, and performs what follows; once there is room, where the disk takes
    /// nothing now.
    pub(super) fn lease_event(&mut self, lease: LeaseId, event: RenterEvent) -> Vec<RenterEffect> {
        match self.change_lease(lease, event, |_| {}) {
            Ok(effects) => effects,
            Err(Unchanged::Refused) => Vec::new(),
            Err(Unchanged::NotKept) => {
                let waiting = (lease, event);
                if !comes_again(event) && !self.not_kept.contains(&waiting) {
                    self.not_kept.push(waiting);
                }
                Vec::new()
            }
        }
    }

    /// Gives again what the disk did not take, in the order in which it happened.
    pub(super) fn give_again(&mut self) {
        for (lease, event) in std::mem::take(&mut self.not_kept) {
            self.lease_event(lease, event);
        }
        let unseen = self.leases.iter().filter_map(|(lease, live)| {
            let view = live.slot.filter(|view| *view != live.record.machine.escrow())?;
            (!live.record.is_over()).then_some((*lease, view))
        });
        for (lease, view) in unseen.collect::<Vec<_>>() {
            self.lease_event(lease, RenterEvent::EscrowSeen(view));
        }
    }

    /// The same, with what else the event says about the lease, written down with the machine or not at all.
    pub(super) fn change_lease(
        &mut self,
        lease: LeaseId,
        event: RenterEvent,
        change: impl FnOnce(&mut LeaseRecord),
    ) -> Result<Vec<RenterEffect>, Unchanged> {
        let now = self.node.clock.now();
        let live = self.leases.get_mut(&lease).ok_or(Unchanged::Refused)?;
        let before = live.record.clone();
        let effects = match live.record.machine.handle(now, event) {
            Ok(effects) => effects,
            Err(error) => {
                tracing::debug!(lease = %lease.short(), %error, "an event was refused");
                return Err(Unchanged::Refused);
            }
        };
        change(&mut live.record);
        let (old, new) = (before.machine.state(), live.record.machine.state());
        if old != new {
            tracing::info!(lease = %lease.short(), from = ?old, to = ?new, "lease");
        }
        if live.record.must_be_written(&before) && !self.keep_lease(lease) {
            // What is not kept is not given away: no receipt, no deposit.
            if let Some(live) = self.leases.get_mut(&lease) {
                live.record = before;
            }
            return Err(Unchanged::NotKept);
        }
        if new != RenterState::Opening
            && let Some(live) = self.leases.get(&lease)
        {
            live.wanted.cancel();
        }
        for effect in &effects {
            self.perform_lease(lease, effect);
        }
        Ok(effects)
    }

    fn perform_lease(&mut self, lease: LeaseId, effect: &RenterEffect) {
        match effect {
            RenterEffect::Deposit => self.follow_deposit(lease),
            // The asker gets it: `receipt_asked` reads it from the returned effects.
            RenterEffect::SignReceipt { .. } => {}
            RenterEffect::SendTopUp(top_up) if self.record.batches.is_some() => self.together.top_up(lease, *top_up),
            RenterEffect::SendTopUp(top_up) => self.send_top_up(lease, *top_up),
            RenterEffect::OfferParts => {
                let slots = self.slots();
                self.piece_event(PieceEvent::LeaseReady { lease, slots });
            }
            RenterEffect::RequeueParts => self.requeue(lease),
            RenterEffect::AskStop { end } => self.ask_stop(lease, *end),
            // The amount is in the signed closing, which is kept beside the machine.
            RenterEffect::Close { .. } if self.record.batches.is_some() => {
                self.together.close(lease, self.node.clock.now());
            }
            RenterEffect::Close { .. } => self.close(lease),
            RenterEffect::Reclaim => self.reclaim(lease),
            RenterEffect::Forget => self.node.net.revoke(lease),
            RenterEffect::WakeAt(at) => {
                if let Some(live) = self.leases.get_mut(&lease) {
                    live.wake = Some(*at);
                }
            }
        }
    }

    /// How many parts a node runs side by side: one for each core that the lease holds.
    fn slots(&self) -> u32 {
        (self.record.job.resources.cpu.millicores / 1_000).max(1)
    }

    fn requeue(&mut self, lease: LeaseId) {
        let lost = self
            .leases
            .get(&lease)
            .is_some_and(|live| matches!(live.record.machine.state(), RenterState::Lost { .. }));
        let event = if lost {
            PieceEvent::LeaseLost { lease }
        } else if self.awaits_results(lease) {
            self.note_what_is_fetched(lease);
            // Told once its results are here, or cannot be had.
            return;
        } else {
            PieceEvent::LeaseClosed { lease }
        };
        self.piece_event(event);
    }

    /// The provider of each lease may fetch what the job needs, and nothing else.
    pub(super) async fn allow_blobs(&self) {
        let blobs = image::blobs(&self.node, &self.record.spec).await;
        for (lease, live) in &self.leases {
            self.node.net.allow(*lease, live.record.node, blobs.clone());
        }
    }

    /// Makes the deposit of a lease, or finds out what became of it where it is not wanted any more.
    pub(super) fn follow_deposit(&mut self, lease: LeaseId) {
        let Some(live) = self.leases.get_mut(&lease) else {
            return;
        };
        if live.record.machine.state() == RenterState::Opening {
            live.wanted = CancellationToken::new();
        }
        if self.record.batches.is_some() {
            self.together.open(lease);
        } else {
            self.deposit(lease);
        }
    }

    fn deposit(&mut self, lease: LeaseId) {
        let Some(live) = self.leases.get(&lease) else { return };
        let record = &live.record;
        let call = Call::Open {
            terms: record.terms.clone(),
            deposit: record.deposit,
            expiry: record.expiry,
            permit: true,
        };
        let intent = Intent {
            key: IntentKey::open(lease),
            call,
        };
        let deposit = Deposit::new(intent, std::iter::once(live));
        let request = lease_request(&self.node, &self.record.spec, record, &self.nodes());
        let (node, peer) = (self.node.clone(), record.node);
        self.effects
            .spawn(async move { open(&node, (lease, peer), deposit, request).await });
    }

    pub(super) fn open_failed(&mut self, lease: LeaseId, why: String) {
        tracing::warn!(lease = %lease.short(), %why, "the deposit could not be made");
        let Some(record) = self.leases.get(&lease).map(|live| &live.record) else {
            return;
        };
        let expiry = record.expiry;
        // No deposit will come: the node can sell again what it holds.
        drop(Claim::new(self.node.clone(), record.node, record.request.digest()));
        self.lease_event(lease, RenterEvent::OpenFailed { expiry });
        let end = gpux_api::EndView {
            reason: format!("a deposit could not be made: {why}"),
            actor: gpux_api::Actor::Renter,
            exit_code: None,
        };
        self.end_job(end);
    }

    fn ask_stop(&mut self, lease: LeaseId, end: End) {
        let Some(live) = self.leases.get(&lease) else { return };
        let (node, peer) = (self.node.clone(), live.record.node);
        let together = self.record.batches.is_some();
        self.effects.spawn(async move {
            if together {
                super::together::will_close(&node, lease, peer).await;
            }
            if let Err(error) = node.net.call(peer, &Request::Stop(StopRequest::new(lease, end))).await {
                tracing::debug!(lease = %lease.short(), error = %crate::error_chain(&error), "asking a node to stop");
            }
            JobInput::Done
        });
    }

    fn reclaim(&mut self, lease: LeaseId) {
        let Some(live) = self.leases.get(&lease) else { return };
        let intent = Intent {
            key: IntentKey::reclaim(lease),
            call: Call::Reclaim {
                terms: live.record.terms.clone(),
            },
        };
        self.send_end("reclaim", lease, intent);
    }

    /// Closes a lease by itself, with the closing amount that its provider gave.
    fn close(&mut self, lease: LeaseId) {
        let Some(live) = self.leases.get(&lease) else { return };
        let Some(closing) = &live.record.closing else { return };
        let intent = Intent {
            key: IntentKey::close(lease),
            call: Call::Close {
                terms: live.record.terms.clone(),
                amount: closing.amount,
                signature: closing.signature,
            },
        };
        self.send_end("close", lease, intent);
    }

    fn send_end(&mut self, what: &'static str, lease: LeaseId, intent: Intent) {
        let node = self.node.clone();
        self.effects.spawn(async move {
            match node.sender.send(intent).await {
                Ok(sent) => tracing::info!(lease = %lease.short(), what, transaction = %sent.hash, "sent"),
                Err(error) => {
                    tracing::warn!(lease = %lease.short(), what, error = %crate::error_chain(&error), "sending")
                }
            }
            JobInput::Done
        });
    }

    /// Answers a provider that asks for a receipt. The machine decides how much; the key signs what was journaled.
    pub(super) fn receipt_asked(&mut self, from: NodeId, report: &MeterReport, reply: PeerReply) {
        let lease = report.lease;
        let known = self.leases.get(&lease).is_some_and(|live| live.record.node == from);
        let answer = if known {
            if let Some(live) = self.leases.get_mut(&lease) {
                live.note_reading(report.metered, report.work);
                if live.record.machine.state() == RenterState::Opening {
                    // The provider sees the deposit first. A newer ask takes the older one's place, which is not waited for any more.
                    live.asked = Some((report.clone(), reply));
                    return;
                }
            }
            if report.metered > Millis::ZERO && !self.record.queue.may_have_begun() {
                let message = "no rank of this gang was told to go: nothing can have been metered";
                let _ = reply.send(Err(PeerError::new(ErrorCode::NotCovered, message)));
                return;
            }
            let event = RenterEvent::ReceiptAsked {
                cumulative: report.asked,
                metered: report.metered,
                work: report.work,
            };
            let effects = self.lease_event(lease, event);
            let signed = effects.iter().find_map(|effect| {
                if let RenterEffect::SignReceipt { cumulative } = effect {
                    Some(*cumulative)
                } else {
                    None
                }
            });
            match signed {
                Some(cumulative) => {
                    let digest = gpux_lease::receipt_digest(&self.node.chain.escrow(), lease, cumulative);
                    Ok(Response::Receipt {
                        cumulative,
                        signature: self.receipt_key.sign_digest(digest),
                    })
                }
                None => Err(PeerError::new(
                    ErrorCode::NotCovered,
                    "nothing is signed for this lease now",
                )),
            }
        } else {
            Err(PeerError::new(
                ErrorCode::NoSuchLease,
                "there is no such lease of yours here",
            ))
        };
        // An asker that went away asks again.
        let _ = reply.send(answer);
    }

    /// Answers the asks that came before the deposit was seen here.
    pub(super) fn answer_asks_that_waited(&mut self) {
        let due = self.leases.values_mut().filter_map(|live| {
            let waits = live.record.machine.state() == RenterState::Opening;
            let (report, reply) = live.asked.take_if(|_| !waits)?;
            Some((live.record.node, report, reply))
        });
        for (from, report, reply) in due.collect::<Vec<_>>() {
            self.receipt_asked(from, &report, reply);
        }
    }

    /// A node gives back what came too late.
    pub(super) fn given_back(&mut self, from: NodeId, offer: &ClosingOffer) {
        if let Some(live) = self.leases.get_mut(&offer.lease) {
            live.polling = false;
            live.count_poll(None);
        }
        if let Err(error) = self.take_closing(from, offer) {
            tracing::warn!(lease = %offer.lease.short(), %error, "a deposit given back was refused");
        }
    }

    /// The nodes that work for the job, or are to.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let live = self.leases.values().filter(|live| !live.record.is_over());
        live.map(|live| live.record.node).collect()
    }

    /// Asks every node that still matters how its lease is.
    pub(super) fn poll(&mut self) {
        let nodes = self.nodes();
        for (lease, live) in &mut self.leases {
            // What is told when the node does not know the lease: a deposit may have gone to it untold.
            let machine = &live.record.machine;
            let untold = machine.signed() == Amount::ZERO && matches!(machine.escrow(), EscrowView::Open { .. });
            let waits = match machine.state() {
                RenterState::Quoted { .. } | RenterState::Unfunded { .. } => true,
                // An endpoint may have lied about the time: long before the grace is over its node may give all of it back.
                RenterState::Reclaimable { .. } => !untold || live.record.closing.is_some(),
                RenterState::Opening
                | RenterState::Open
                | RenterState::Running
                | RenterState::Lost { .. }
                | RenterState::Ending { .. }
                | RenterState::Settled { .. }
                | RenterState::Reclaimed { .. }
                | RenterState::Failed { .. } => false,
            };
            if live.polling || waits || (live.record.is_over() && !live.wants_final_reading()) {
                continue;
            }
            live.polling = true;
            let again = untold.then(|| lease_request(&self.node, &self.record.spec, &live.record, &nodes));
            let (node, peer, lease) = (self.node.clone(), live.record.node, *lease);
            self.effects.spawn(async move {
                match node.net.call(peer, &Request::Status(lease)).await {
                    Ok(Response::Status(report)) if report.lease == lease => JobInput::Polled(lease, Some(report)),
                    Ok(_) => JobInput::Polled(lease, None),
                    Err(error) => match again.filter(|_| refused_as_unknown(&error)) {
                        Some(request) => match node.net.call(peer, &Request::Lease(Box::new(request))).await {
                            Ok(Response::TooLate(offer)) => JobInput::GivenBack(peer, Box::new(offer)),
                            Ok(_) | Err(_) => JobInput::Polled(lease, None),
                        },
                        None => JobInput::Polled(lease, None),
                    },
                }
            });
        }
    }

    pub(super) fn polled(&mut self, lease: LeaseId, report: Option<Box<LeaseReport>>) {
        let Some(live) = self.leases.get_mut(&lease) else {
            return;
        };
        live.polling = false;
        live.count_poll(report.as_ref().map(|report| report.work));
        let Some(report) = report else { return };
        live.note_reading(report.metered, report.work);
        let event = RenterEvent::Reported {
            metered: report.metered,
            work: report.work,
        };
        let ended = report.end.filter(|_| report.work == Work::Gone);
        live.report = Some(*report);
        self.lease_event(lease, event);
        if let Some(end) = ended {
            self.lease_event(lease, RenterEvent::ProviderEnded { end });
        }
    }

    /// Waits for the escrow of a lease to change.
    pub(super) fn watch_chain(&mut self, lease: LeaseId, mut seen: watch::Receiver<Option<LeaseSeen>>) {
        self.effects.spawn(async move {
            match seen.changed().await {
                Ok(()) => JobInput::ChainSeen(lease, seen),
                Err(_) => JobInput::Done,
            }
        });
    }

    /// Sends again what the chain still lacks.
    pub(super) fn reconcile(&mut self) {
        let unmet = self.leases.iter().filter_map(|(lease, live)| {
            let effect = live.record.machine.unmet(live.slot?).filter(|_| !live.closed)?;
            // A deposit is followed by who sends it until it is mined or refused: a second hand could give it up too early.
            (effect != RenterEffect::Deposit).then_some((*lease, effect))
        });
        for (lease, effect) in unmet.collect::<Vec<_>>() {
            tracing::info!(lease = %lease.short(), ?effect, "not on the chain yet; sending it again");
            self.perform_lease(lease, &effect);
        }
    }

    pub(super) fn chain_seen(&mut self, lease: LeaseId, mut seen: watch::Receiver<Option<LeaseSeen>>) {
        let newest = *seen.borrow_and_update();
        if let Some(newest) = newest {
            let view = crate::escrow_view(&newest, &self.node.assurance.confirm);
            if let Some(live) = self.leases.get_mut(&lease) {
                live.closed = newest.latest.status == SlotStatus::Closed;
                live.slot = Some(view);
            }
            self.lease_event(
                lease,
                RenterEvent::BlockSeen {
                    time: newest.head.timestamp,
                },
            );
            self.lease_event(lease, RenterEvent::EscrowSeen(view));
        }
        if self.leases.get(&lease).is_some_and(Live::wants_final_reading) {
            self.poll();
        }
        let over = self.leases.get(&lease).is_none_or(|live| live.record.is_over());
        if !over {
            self.watch_chain(lease, seen);
        }
    }
}

/// Whether an event is told again by itself: by its provider, by the next block, or by [`JobTask::give_again`].
const fn comes_again(event: RenterEvent) -> bool {
    use RenterEvent as On;
    match event {
        On::EscrowSeen(_)
        | On::BlockSeen { .. }
        | On::Reported { .. }
        | On::ReceiptAsked { .. }
        | On::ProviderEnded { .. }
        | On::ClosingOffered { .. }
        | On::Ticked => true,
        On::Accepted
        | On::OpenFailed { .. }
        | On::PartsDrained
        | On::GoesAway { .. }
        | On::StopRequested
        | On::Outvoted
        | On::TopUpRequested(_)
        | On::TopUpEnded { .. }
        | On::Restarted => false,
    }
}

/// Makes a deposit and tells its provider.
async fn open(
    node: &Arc<Node>,
    (lease, peer): (LeaseId, NodeId),
    made: Deposit,
    mut request: LeaseRequest,
) -> JobInput {
    let opened = async {
        let Some(hash) = made.send(node).await? else {
            return Ok(Told::Unheard);
        };
        request.transaction = hash;
        let (told, mined) = tokio::join!(tell_lease(node, lease, peer, request), deposit::mined(node, hash));
        mined.map(|()| told)
    };
    match opened.await {
        Ok(Told::TooLate(offer)) => JobInput::GivenBack(peer, offer),
        Ok(Told::Taken | Told::Unheard) => JobInput::Done,
        Err(why) => JobInput::OpenFailed(lease, why),
    }
}

/// What came of telling a provider of its lease.
pub(super) enum Told {
    /// It has it.
    Taken,
    /// Its quote does not hold any more; with this the deposit comes back.
    TooLate(Box<ClosingOffer>),
    /// It did not answer. It is told again when it is heard.
    Unheard,
}

/// What the provider of a lease is told, but for the transaction: of `nodes`, which prepare the job, it is told of all others.
pub(super) fn lease_request(node: &Node, job: &JobSpec, record: &LeaseRecord, nodes: &[NodeId]) -> LeaseRequest {
    let others = nodes.iter().filter(|other| **other != record.node);
    LeaseRequest {
        request: record.request.clone(),
        quote: record.quote.clone(),
        transaction: Default::default(),
        expiry: record.expiry,
        job: job.clone(),
        renter_ticket: node.net.ticket().to_string(),
        others: others.copied().take(MAX_OTHERS).collect(),
    }
}

fn refused_as_unknown(error: &gpux_net::CallError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| refusal.code == ErrorCode::NoSuchLease)
}

/// Tells a provider of its lease.
pub(super) async fn tell_lease(node: &Node, lease: LeaseId, peer: NodeId, request: LeaseRequest) -> Told {
    match call_until(node, peer, &Request::Lease(Box::new(request)), TRIES).await {
        Ok(Response::TooLate(offer)) => Told::TooLate(Box::new(offer)),
        Ok(_) => Told::Taken,
        Err(error) => {
            tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "telling a node of its lease");
            Told::Unheard
        }
    }
}

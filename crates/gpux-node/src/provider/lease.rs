//! One task for each lease: it owns the [`ProviderLease`] machine and the lease's parts, journals them before it acts, and
//! performs the machine's effects in work of its own that answers with another input.
//!
//! Longer than other files because every input of a lease meets its one owner here.
//!
//! ```text
//! peer calls ─┐
//! chain watch ├─> select names an input ─> machine and parts decide ─> journal ─> effects ─┐
//! shim, timer ┘          ^                                                                 │
//!                        └──────────── what an effect brought, as an input ────────────────┘
//! ```

use super::{
    Provider, chain,
    disk::Reserved,
    journal::{self, Journal},
    meter, outputs,
    parts::{self, Gate, Parts, Told},
    prepare, quote, receipt, record, towers,
};
use crate::{node::Node, store::known_version};
use futures_util::{FutureExt, future::BoxFuture};
use gpux_chain::{LeaseSeen, SlotStatus};
use gpux_lease::{
    End, EscrowView, JOURNAL_VERSION, ProviderConfig, ProviderEffect, ProviderEvent, ProviderLease, ProviderState,
    Tariff, Terms, VerifiedReceipt, Work,
};
use gpux_proto::{LeaseReport, LeaseRequest, MeterReport, PartReport, PartSpec, PeerError, Phase};
use gpux_runtime::{LeaseStatus, PartKey, PartState};
use gpux_types::{Amount, ByteSize, LeaseId, Millis, NodeId};
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

/// How long work stays frozen, unbilled, until the deposit is deep enough: L1 is final after about twenty minutes, and batches
/// may come late.
const ASSURANCE_LIMIT: Millis = Millis::from_secs(2_700);

/// What is kept of a lease over restarts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    /// The layout of this record and of the machine in it.
    #[serde(deserialize_with = "known_version::<_, JOURNAL_VERSION>")]
    version: u16,
    /// Which lease.
    pub(super) lease: LeaseId,
    /// Its terms.
    pub(super) terms: Terms,
    /// What the renter sent.
    pub(super) request: LeaseRequest,
    /// Where it stands.
    pub(super) machine: ProviderLease,
    /// Its parts.
    pub(super) parts: Parts,
    /// No transaction of the lease is older.
    #[serde(default)]
    pub(super) from_block: Option<u64>,
}

/// Something that happened to a lease.
#[derive(Debug)]
pub(super) enum LeaseInput {
    /// The renter gave a part, and hears whether it is taken.
    PartGiven(PartSpec, Gate, PartReply),
    /// The renter lets a rank go, and hears whether that is taken.
    PartGoes(PartKey, PartReply),
    /// The renter does not want a part's result any more.
    PartCancelled(PartKey),
    /// A part was asked to end, or could not be.
    PartStopped(PartKey, bool),
    /// The renter will close the lease itself.
    ClosingWanted,
    /// The renter does not have the closing amount yet.
    ClosingUntold,
    /// The renter asked how the lease is.
    RenterHeard,
    /// The renter wants the end, perhaps because its work is done.
    StopAsked { done: bool },
    /// Image and inputs are there, or cannot be had.
    Prepared(Result<(), prepare::PrepareError>),
    /// The shim told how the lease is. `None`: it could not be asked this time.
    Status(Option<Box<LeaseStatus>>),
    /// The shim is gone for good; all that was left was killed.
    ShimLost(Millis),
    /// All work is gone.
    Gone(Millis),
    /// An ask for a receipt came back.
    Asked(Option<VerifiedReceipt>),
    /// A part was tried.
    PartStarted(PartKey, PartState),
    /// A part could not be started because the work was not thawed yet.
    PartPutOff(PartKey),
    /// A part that is over handed back what it wrote.
    PartCollected(PartReport),
    /// The renter knows.
    PartTold(PartKey, Told),
    /// A watch-tower has what may be claimed up to this amount.
    HandedOver(NodeId, Amount),
    /// Something was done that leads to nothing by itself.
    Done,
}

/// The place for the answer to a part.
pub(super) type PartReply = oneshot::Sender<Result<(), PeerError>>;

/// What the loop was woken by.
enum Woken {
    Input(LeaseInput),
    Chain,
    Head,
    Timer,
    Minute,
    LetGo,
    Cancelled,
}

/// The task of one lease.
pub(super) struct LeaseTask {
    pub(super) node: Arc<Node>,
    pub(super) provider: Provider,
    pub(super) record: LeaseRecord,
    inputs: mpsc::Receiver<LeaseInput>,
    report: watch::Sender<LeaseReport>,
    pub(super) effects: JoinSet<LeaseInput>,
    fetched: Arc<AtomicU64>,
    wake: Option<Millis>,
    pub(super) journal: Journal,
    /// What makes the lease ready, or did.
    pub(super) preparing: Option<prepare::Underway>,
    asking: bool,
    /// Whether the shim is up, so that the meter can be read.
    in_runtime: bool,
    pub(super) released: bool,
    /// Whether it waits for a late deposit.
    pub(super) lingers: bool,
    /// Whether the provider still passes on what is said to the lease; it does not when it lets the lease go.
    is_reachable: bool,
    /// Whether the closing record is drafted: only then is the lease over on the disk, so that a crash before it is made good.
    pub(super) recorded: bool,
    /// What the watch-towers have.
    pub(super) paces: towers::Paces,
    /// The lease's part of the machine's disk; given back when its work is gone, or with this task.
    pub(super) disk: Option<Reserved>,
}

impl LeaseRecord {
    /// A lease that was just asked for, and what to do first.
    pub(super) fn new(node: &Node, request: LeaseRequest, terms: Terms, lease: LeaseId) -> (Self, Vec<ProviderEffect>) {
        let gross = request.quote.quote.gross_price(terms.builder_share);
        let mut config = ProviderConfig::new(Tariff::new(gross));
        config.hold = request.quote.quote.hold;
        config.preparation_limit = quote::MAX_PREPARATION;
        // Work must have ended, and the settlement be sent, well within the grace.
        config.expiry_margin_secs = 10;
        config.assurance_limit = ASSURANCE_LIMIT;
        config.draw_from = chain::draw_from(node);
        config.grace_secs = terms.grace_secs.into();
        let (machine, effects) = ProviderLease::request(config, node.clock.now());
        (
            Self {
                version: JOURNAL_VERSION,
                lease,
                terms,
                request,
                machine,
                parts: Parts::default(),
                from_block: record::from_block(node),
            },
            effects,
        )
    }

    /// How the lease is, before its task says more.
    pub(super) fn report(&self) -> LeaseReport {
        let total = self.request.job.preparation_bytes();
        LeaseReport {
            lease: self.lease,
            phase: phase(self.machine.state(), ByteSize(0), total),
            work: self.machine.work(),
            metered: self.machine.metered(),
            end: self.machine.told_end(),
            signed: self.machine.receipt().map_or(Amount::ZERO, VerifiedReceipt::cumulative),
        }
    }
}

fn phase(state: ProviderState, done: ByteSize, total: ByteSize) -> Phase {
    use gpux_lease::Preparation;
    match state {
        ProviderState::Waiting {
            preparation: Preparation::Done,
            ..
        } => Phase::AwaitingDeposit,
        ProviderState::Waiting { .. } | ProviderState::Preparing { .. } => Phase::Preparing { done, total },
        ProviderState::Ready { .. } => Phase::AwaitingReceipt,
        ProviderState::Running => Phase::Running,
        ProviderState::Frozen { .. } => Phase::Frozen,
        ProviderState::Stopping { .. } => Phase::Stopping,
        ProviderState::Closing { .. } | ProviderState::Offering { .. } | ProviderState::Settling { .. } => {
            Phase::Settling
        }
        ProviderState::Refusing { .. } | ProviderState::Ended { .. } => Phase::Ended,
    }
}

impl LeaseTask {
    pub(super) fn new(
        node: Arc<Node>,
        provider: Provider,
        record: LeaseRecord,
        inputs: mpsc::Receiver<LeaseInput>,
        report: watch::Sender<LeaseReport>,
    ) -> Self {
        let disk = Some(provider.disk.holder(record.lease));
        Self {
            node,
            provider,
            record,
            disk,
            inputs,
            report,
            effects: JoinSet::new(),
            fetched: Arc::new(AtomicU64::new(0)),
            wake: None,
            journal: Journal::default(),
            preparing: None,
            asking: false,
            in_runtime: false,
            released: false,
            lingers: false,
            is_reachable: true,
            recorded: false,
            paces: towers::Paces::new(),
        }
    }

    /// Runs the lease to its end. `adopted` is what the runtime still had of it after a restart.
    pub(super) async fn run(mut self, adopted: Option<Option<LeaseStatus>>) {
        if let Ok(ticket) = self.record.request.renter_ticket.parse() {
            self.node.net.remember(ticket);
        }
        let mut chain = self.node.watcher.watch(self.record.lease);
        let mut head = self.node.watcher.head();
        let mut minute = tokio::time::interval(crate::RECONCILE_EVERY);
        self.begin(adopted);
        while !self.is_over() || self.journal.is_behind() {
            match self.next(&mut chain, &mut head, &mut minute).await {
                Woken::Input(input) => self.take(input),
                Woken::Chain => self.chain_seen(*chain.borrow_and_update()),
                Woken::Head => {
                    let time = head.borrow_and_update().as_ref().map(|head| head.timestamp);
                    if let Some(time) = time {
                        self.event(ProviderEvent::BlockSeen { time });
                    }
                }
                Woken::Timer => self.read_meter(),
                Woken::Minute => {
                    self.reconcile(*chain.borrow());
                    self.hand_over();
                }
                Woken::LetGo => {
                    self.is_reachable = false;
                    // Its deposit may have come in this moment.
                    if self.is_refusing() {
                        break;
                    }
                }
                Woken::Cancelled => return,
            }
        }
        self.finish().await;
    }

    fn begin(&mut self, adopted: Option<Option<LeaseStatus>>) {
        let Some(status) = adopted else {
            let effects = vec![ProviderEffect::Prepare, ProviderEffect::WakeAt(self.node.clock.now())];
            self.perform(effects);
            return;
        };
        self.event(ProviderEvent::Restarted);
        // Grants are not kept by the peer adapter: what is finished may be fetched again.
        let renter = self.record.request.request.renter_node;
        let outputs = self.record.parts.outputs().collect();
        self.node.net.allow(self.record.lease, renter, outputs);
        self.record.parts.forget_running_steps();
        if let Some(status) = status {
            if let Some(disk) = &self.disk {
                disk.adopt(self.record.request.quote.quote.resources.disk);
            }
            self.in_runtime = true;
            self.take(LeaseInput::Status(Some(Box::new(status))));
            self.watch_runtime(0);
        }
        self.wake.get_or_insert(self.node.clock.now());
    }

    async fn next(
        &mut self,
        chain: &mut watch::Receiver<Option<LeaseSeen>>,
        head: &mut watch::Receiver<Option<gpux_chain::Head>>,
        minute: &mut tokio::time::Interval,
    ) -> Woken {
        let mut wake = self.wake.map(|at| at.saturating_sub(self.node.clock.now()));
        if self.journal.is_behind() {
            wake = Some(wake.unwrap_or(journal::WRITE_AGAIN).min(journal::WRITE_AGAIN));
        }
        // Every arm is cancel-safe: channels, watches, intervals and joined effects keep what was not taken.
        tokio::select! {
            biased;
            () = self.node.cancel.cancelled() => Woken::Cancelled,
            Some(done) = self.effects.join_next() => Woken::Input(done.unwrap_or(LeaseInput::Done)),
            input = self.inputs.recv(), if self.is_reachable => input.map_or(Woken::LetGo, Woken::Input),
            Ok(()) = chain.changed() => Woken::Chain,
            Ok(()) = head.changed() => Woken::Head,
            () = sleep(wake) => Woken::Timer,
            _ = minute.tick() => Woken::Minute,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.record.machine.state(), ProviderState::Ended { .. })
    }

    fn take(&mut self, input: LeaseInput) {
        match input {
            LeaseInput::PartGiven(spec, gate, reply) => self.part_given(spec, gate, reply),
            LeaseInput::PartGoes(key, reply) => self.part_goes(key, reply),
            LeaseInput::PartCancelled(key) => {
                tracing::info!(lease = %self.record.lease.short(), part = %key, "a part is not wanted any more");
                self.record.parts.cancel(key);
            }
            LeaseInput::PartStopped(key, asked) => self.record.parts.stopped(key, asked),
            LeaseInput::StopAsked { done: true } => self.event(ProviderEvent::PartsDrained),
            LeaseInput::StopAsked { done: false } => self.event(ProviderEvent::StopRequested {
                by: gpux_lease::Actor::Renter,
            }),
            LeaseInput::RenterHeard => self.event(ProviderEvent::RenterHeard),
            LeaseInput::ClosingWanted => self.event(ProviderEvent::ClosingWanted),
            LeaseInput::ClosingUntold => self.tell_closing(),
            LeaseInput::Prepared(result) => self.prepared(result),
            LeaseInput::Status(Some(status)) => self.status_seen(*status),
            LeaseInput::Status(None) | LeaseInput::Done => {}
            LeaseInput::ShimLost(metered) => {
                self.in_runtime = false;
                self.event(ProviderEvent::ShimLost { metered });
            }
            LeaseInput::Gone(metered) => {
                self.in_runtime = false;
                self.event(ProviderEvent::Metered {
                    metered,
                    work: Work::Gone,
                });
            }
            LeaseInput::Asked(receipt) => {
                self.asking = false;
                if let Some(receipt) = receipt {
                    self.event(ProviderEvent::ReceiptReceived(receipt));
                    self.hand_over();
                }
            }
            LeaseInput::PartStarted(key, state) => self.part_started(key, state),
            LeaseInput::PartPutOff(key) => self.record.parts.put_off(key),
            LeaseInput::PartCollected(report) => self.record.parts.collected(report),
            LeaseInput::PartTold(key, told) => self.record.parts.told(key, told),
            LeaseInput::HandedOver(tower, amount) => self.handed_over(tower, amount),
        }
        // Before both are written down: a restart finds them as they were together.
        self.note_given();
        self.keep();
        self.advance_parts();
        self.take_up();
        self.tell();
    }

    /// Tells the machine how far the parts are, where that changed.
    fn note_given(&mut self) {
        let given = self.record.parts.given();
        if given != self.record.machine.given() {
            self.event(ProviderEvent::PartsSeen(given));
        }
    }

    /// Gives the machine an event, and its share of the node's exposure when it wants another one since.
    fn event(&mut self, event: ProviderEvent) {
        self.handle(event);
        let machine = &self.record.machine;
        let share = self.provider.share_exposure(self.record.lease, machine.exposed());
        if share != machine.exposure() {
            self.handle(ProviderEvent::ExposureShared(share));
        }
        self.after_event();
        self.take_up();
    }

    /// Lets the machine decide, journals, and performs what may follow.
    fn handle(&mut self, event: ProviderEvent) {
        let now = self.node.clock.now();
        let before = self.record.machine.clone();
        match self.record.machine.handle(now, event) {
            Ok(effects) => {
                let (old, new) = (before.state(), self.record.machine.state());
                if old != new {
                    tracing::info!(lease = %self.record.lease.short(), from = ?old, to = ?new, "lease");
                }
                if self.record.machine.must_be_written(&before) {
                    self.journal.note_change();
                }
                self.keep();
                self.perform(effects);
            }
            Err(error) => tracing::warn!(lease = %self.record.lease.short(), %error, "an event was refused"),
        }
    }

    /// What the disk held back is asked for anew once it has the record, as after a restart.
    fn take_up(&mut self) {
        if self.journal.takes_up() {
            self.event(ProviderEvent::Restarted);
        }
    }

    fn after_event(&mut self) {
        if self.record.machine.escrow().deposit() > Amount::ZERO {
            self.provider.funded(self.record.terms.renter, self.record.lease);
        }
        self.release_when_gone();
        self.note_lingering();
        self.tell();
    }

    fn tell(&self) {
        let mut report = self.record.report();
        let done = ByteSize(self.fetched.load(Ordering::Relaxed));
        report.phase = phase(
            self.record.machine.state(),
            done,
            self.record.request.job.preparation_bytes(),
        );
        self.report.send_if_modified(|known| {
            let changed = *known != report;
            *known = report;
            changed
        });
    }

    /// The one place from which effects leave: none passes by the journal.
    fn perform(&mut self, effects: Vec<ProviderEffect>) {
        for effect in self.journal.let_through(effects) {
            match effect {
                ProviderEffect::Prepare => self.prepare(),
                ProviderEffect::AskReceipt { cumulative } => self.ask(cumulative),
                ProviderEffect::AllowWork => self.advance_parts(),
                ProviderEffect::Renew => {
                    self.on_runtime(|runtime, lease| async move { runtime.renew(lease).await }.boxed())
                }
                ProviderEffect::Freeze => {
                    self.on_runtime(|runtime, lease| async move { runtime.freeze(lease).await }.boxed())
                }
                ProviderEffect::Thaw => {
                    self.on_runtime(|runtime, lease| async move { runtime.thaw(lease).await }.boxed())
                }
                ProviderEffect::StopWork { end } => self.stop_work(end),
                ProviderEffect::SignClosing { .. } => self.tell_closing(),
                ProviderEffect::Draw {
                    number,
                    amount,
                    receipt,
                } => self.draw(number, amount, receipt),
                ProviderEffect::Settle { amount, receipt } => self.settle(amount, receipt),
                // The task ends, and with it what it holds.
                ProviderEffect::Forget => {}
                ProviderEffect::WakeAt(at) => self.wake = Some(at),
            }
        }
    }

    fn prepare(&mut self) {
        if self.preparing.as_ref().is_some_and(|underway| !underway.is_over()) {
            return;
        }
        let (node, request, lease) = (self.node.clone(), self.record.request.clone(), self.record.lease);
        let (fetched, disk) = (self.fetched.clone(), self.provider.disk.clone());
        fetched.store(0, Ordering::Relaxed);
        let (underway, prepared) = prepare::Underway::begin(move |stop| async move {
            let aids = prepare::Aids {
                fetched: &fetched,
                disk: &disk,
                stop: &stop,
            };
            LeaseInput::Prepared(prepare::prepare(&node, &request, lease, aids).await)
        });
        self.preparing = Some(underway);
        self.effects.spawn(prepared);
    }

    fn prepared(&mut self, result: Result<(), prepare::PrepareError>) {
        if self.record.machine.end().is_some() {
            // Whoever ended the lease waited for this, and removes what was made.
            return self.after_event();
        }
        match result {
            Ok(()) => {
                if let Some(disk) = &self.disk {
                    disk.prepared();
                }
                self.in_runtime = true;
                self.watch_runtime(0);
                self.event(ProviderEvent::Prepared);
            }
            Err(error) => {
                tracing::warn!(lease = %self.record.lease.short(), error = %crate::error_chain(&error), "preparing a lease");
                self.event(ProviderEvent::PreparationFailed { by: error.actor() });
            }
        }
    }

    fn chain_seen(&mut self, seen: Option<LeaseSeen>) {
        let Some(seen) = seen else { return };
        self.event(ProviderEvent::BlockSeen {
            time: seen.head.timestamp,
        });
        let view = crate::escrow_view(&seen, &self.node.assurance.deep);
        if view != self.record.machine.escrow() || matches!(view, EscrowView::Closed { .. }) {
            self.event(ProviderEvent::EscrowSeen(view));
        }
    }

    /// Sends again what the chain still lacks.
    fn reconcile(&mut self, seen: Option<LeaseSeen>) {
        let Some(seen) = seen.filter(|seen| seen.latest.status != SlotStatus::Closed) else {
            return;
        };
        let view = crate::escrow_view(&seen, &self.node.assurance.deep);
        if let Some(effect) = self.record.machine.unmet(view, seen.latest.claimed) {
            tracing::info!(lease = %self.record.lease.short(), ?effect, "not on the chain yet; sending it again");
            self.perform(vec![effect]);
        }
    }

    fn read_meter(&mut self) {
        self.wake = None;
        if !self.in_runtime {
            self.event(ProviderEvent::Ticked);
            return;
        }
        let (node, lease) = (self.node.clone(), self.record.lease);
        self.effects.spawn(async move { meter::read(&node, lease).await });
        // Should the shim not answer, the machine is asked again all the same.
        self.wake = Some(self.node.clock.now().saturating_add(meter::POLL));
    }

    fn watch_runtime(&mut self, seen: u64) {
        let (node, lease) = (self.node.clone(), self.record.lease);
        self.effects.spawn(async move { meter::wait(&node, lease, seen).await });
    }

    fn status_seen(&mut self, status: LeaseStatus) {
        let work = meter::work(status.work);
        if work == Work::Gone {
            self.in_runtime = false;
        }
        if let Some(disk) = &self.disk {
            disk.uses(status.disk_used);
        }
        self.event(ProviderEvent::Metered {
            metered: status.metered,
            work,
        });
        for part in &status.parts {
            let key = PartKey {
                part: part.part,
                attempt: part.attempt,
            };
            self.record.parts.seen(key, &part.state);
        }
        if status.version > 0 && self.in_runtime && self.record.parts.note_version(status.version) {
            self.watch_runtime(status.version);
        }
    }

    fn ask(&mut self, cumulative: Amount) {
        if self.asking {
            return;
        }
        self.asking = true;
        let report = MeterReport {
            lease: self.record.lease,
            asked: cumulative,
            metered: self.record.machine.metered(),
            work: self.record.machine.work(),
        };
        let (node, terms) = (self.node.clone(), self.record.terms.clone());
        let renter = self.record.request.request.renter_node;
        self.effects
            .spawn(async move { LeaseInput::Asked(receipt::ask(&node, renter, report, &terms).await) });
    }

    fn on_runtime<F>(&mut self, call: F)
    where
        F: FnOnce(
            Arc<dyn gpux_runtime::Runtime>,
            LeaseId,
        ) -> BoxFuture<'static, Result<(), gpux_runtime::RuntimeCallError>>,
    {
        let (Some(local), lease) = (&self.node.local, self.record.lease) else {
            return;
        };
        if !self.in_runtime {
            return;
        }
        let done = call(local.runtime.clone(), lease);
        self.effects.spawn(async move {
            if let Err(error) = done.await {
                tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "steering the work");
            }
            LeaseInput::Done
        });
    }

    fn stop_work(&mut self, end: End) {
        tracing::info!(lease = %self.record.lease.short(), %end, "stopping the work");
        let (node, lease) = (self.node.clone(), self.record.lease);
        let metered = self.record.machine.metered();
        let unprepared = self.preparing.as_ref().map(prepare::Underway::end);
        self.effects.spawn(async move {
            // A runtime that does not know the lease yet would be believed that its work is gone.
            if let Some(unprepared) = unprepared {
                unprepared.await;
            }
            meter::destroy(&node, lease, metered).await
        });
    }

    /// Starts parts that may start, collects what ended, tells the renter what it does not know.
    fn advance_parts(&mut self) {
        let allowed = self.record.machine.allows_work() && self.in_runtime && !self.journal.is_behind();
        let cpu = self.record.request.request.resources.cpu;
        let slots = if allowed { parts::slots(cpu) } else { 0 };
        for step in self.record.parts.steps(slots) {
            let (node, lease) = (self.node.clone(), self.record.lease);
            let request = self.record.request.clone();
            self.effects
                .spawn(async move { outputs::perform(&node, lease, &request, step).await });
        }
    }

    fn part_started(&mut self, key: PartKey, state: PartState) {
        self.record.parts.started(key, &state);
        // The first exec starts the meter: read it now rather than at the next poll.
        self.read_meter();
    }

    async fn finish(&mut self) {
        tracing::info!(lease = %self.record.lease.short(), state = ?self.record.machine.state(), "lease over");
        if let Some(underway) = &self.preparing {
            underway.end().await;
        }
        if self.is_unpaid() {
            return self.forget_unpaid().await;
        }
        self.recorded = self.draft_record().await;
        self.journal.note_change();
        self.keep();
        self.tell();
        self.provider.release(self.record.lease);
        // For a while the renter may still ask how the lease ended, and fetch what it made.
        let (node, lease, provider) = (self.node.clone(), self.record.lease, self.provider.clone());
        let request = self.record.request.clone();
        self.node.tasks.spawn(async move {
            outputs::clean_up(&node, lease, &request).await;
            provider.forget(lease);
        });
    }
}

async fn sleep(time: Option<Millis>) {
    match time {
        Some(time) => tokio::time::sleep(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Role, tests::of_version_1};

    #[test]
    fn the_lease_that_version_1_kept_is_understood() {
        let (_dir, store) = of_version_1();
        let jobs: Vec<serde_json::Value> = store.jobs().unwrap().readable;
        let leases: Vec<LeaseId> = serde_json::from_value(jobs[0]["leases"].clone()).unwrap();
        let known = leases
            .into_iter()
            .filter_map(|lease| store.lease::<LeaseRecord>(Role::Provider, lease).unwrap());
        let known: Vec<LeaseRecord> = known.collect();
        let [record] = known.as_slice() else {
            unreachable!("{known:?}");
        };
        assert_eq!(record.version, 1);
        assert_eq!(record.lease, record.terms.lease_id(&record.request.request.escrow));
    }
}

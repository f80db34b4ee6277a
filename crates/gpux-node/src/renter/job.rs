//! One task for each job: it owns the job's part queue and its leases' machines, journals them before it acts, and performs
//! what they ask for in work of its own that answers with another input.
//!
//! ```text
//! peer calls (receipts, parts) ─┐
//! commands (top-up, stop)      ─┼─> input ─> lease machine / part queue ─> journal ─> effects ─┐
//! chain watch, head, timers    ─┘     ^                                                        │
//!                                     └──────────── what an effect brought, as an input ───────┘
//! ```

mod away;
mod calls;
mod checks;
mod deposit;
mod ending;
mod fetch;
mod fund;
mod gang;
mod leases;
mod parts;
mod record;
mod together;
mod top_up;
mod waiting;

pub(crate) use fetch::KEPT_FREE;

use super::{
    pieces::{PieceEffect, PieceEvent, TryKey},
    record::{JobRecord, LeaseRecord, Try},
    trouble::Trouble,
    view,
};
use crate::{node::Node, store::Role};
use ending::LastStepFailure;
use gpux_api::{AwayRequest, AwayView, ErrorBody, JobView, OutputView, TransactionView};
use gpux_chain::{Head, HotKey, LeaseSeen};
use gpux_lease::{EscrowView, RenterEvent, RenterState, Work};
use gpux_proto::{ClosingOffer, LeaseReport, MeterReport, OutputSpec, PartReport, PeerError, Response};
use gpux_runtime::ResolvedImage;
use gpux_types::{Amount, B256, LeaseId, Millis, NodeId, PartIndex};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
pub(super) use top_up::LONGEST_AHEAD_SECS;

/// How often each node is asked how its lease is.
const POLL: Duration = Duration::from_secs(2);

/// A peer's question with the place for its answer.
pub(super) type PeerReply = oneshot::Sender<Result<Response, PeerError>>;
/// A command's question with the place for its answer.
pub(super) type TopUpReply = oneshot::Sender<Result<Vec<TransactionView>, ErrorBody>>;

/// Something that happened to a job.
#[derive(Debug)]
pub(super) enum JobInput {
    /// A provider asks for a receipt.
    ReceiptAsked(NodeId, MeterReport, PeerReply),
    /// A provider tells what became of a part.
    PartReported(NodeId, PartReport, PeerReply),
    /// A provider gives its closing amount.
    ClosingOffered(NodeId, ClosingOffer, PeerReply),
    /// The user adds money to each lease.
    TopUpAsked {
        amount: Amount,
        extend: bool,
        agreed: Option<Amount>,
        reply: TopUpReply,
    },
    /// The user goes away.
    AwayAsked {
        request: AwayRequest,
        reply: oneshot::Sender<Result<AwayView, ErrorBody>>,
    },
    /// The user wants the end.
    StopAsked { reason: String, reply: oneshot::Sender<()> },
    /// The deposit of a lease cannot be made.
    OpenFailed(LeaseId, String),
    /// A node told how its lease is, or did not.
    Polled(LeaseId, Option<Box<LeaseReport>>),
    /// The escrow of a lease changed.
    ChainSeen(LeaseId, watch::Receiver<Option<LeaseSeen>>),
    /// A node refused a part.
    PartRefused {
        lease: LeaseId,
        part: PartIndex,
        attempt: u32,
    },
    /// A part's outputs are here, or cannot be had.
    Fetched {
        lease: LeaseId,
        part: PartIndex,
        attempt: u32,
        files: Result<Vec<Fetched>, fetch::FetchError>,
    },
    /// A node gives a deposit back, which came too late for its quote.
    GivenBack(NodeId, Box<ClosingOffer>),
    /// The transaction that opens these leases is sent; of some of them their providers are to be told.
    OpenManySent(B256, Vec<LeaseId>, Vec<LeaseId>),
    /// The deposits that were to be made together cannot be.
    OpenManyFailed(Vec<LeaseId>, String),
    /// Top-ups that were sent, each by itself or together, are mined, or failed.
    TopUpsEnded(Vec<(LeaseId, u32, top_up::Outcome)>),
    /// The transaction of that number that closes leases is mined, or could not be sent.
    ClosesEnded(usize),
    /// The job's last step ended.
    LastStepEnded(Result<(), LastStepFailure>),
    /// Something was done that leads to nothing by itself.
    Done,
}

/// An output that is here under a name of its own until it is known to be the part's.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) temporary: PathBuf,
    pub(super) path: PathBuf,
    pub(super) view: OutputView,
}

enum Woken {
    Input(Box<JobInput>),
    Head,
    Poll,
    Timer,
    Minute,
    Cancelled,
}

/// A lease with what is known of it only while the daemon runs.
struct Live {
    record: LeaseRecord,
    report: Option<LeaseReport>,
    wake: Option<Millis>,
    polling: bool,
    /// How often it was asked in vain lately: for anything, or once it is settled for its last reading.
    polls_in_vain: u32,
    /// What is being added to its deposit by itself.
    adding: Option<Amount>,
    /// Nothing is added by itself before then: the last try failed.
    add_again: Millis,
    /// Whether the newest block has it closed, however deep that must lie to be relied on.
    closed: bool,
    /// Cancelled once its deposit is to be made no more.
    wanted: CancellationToken,
    /// Whether its closing record is drafted.
    recorded: bool,
    /// The slot as it was last read.
    slot: Option<EscrowView>,
    /// The provider's ask that is answered once the deposit is seen here too.
    asked: Option<(MeterReport, PeerReply)>,
}

/// How many polls a settled lease's node may leave without its last reading before that is done without.
const FINAL_POLLS: u32 = 5;

impl Live {
    /// Takes a reading of the provider's meter, for people and the bill; what is signed is the machine's affair.
    fn note_reading(&mut self, metered: Millis, work: Work) {
        self.record.metered = self.record.metered.max(metered);
        self.record.final_reading |= work == Work::Gone;
    }

    /// A node that answers a poll with anything but the last reading holds nobody up by it.
    fn count_poll(&mut self, told: Option<Work>) {
        let in_vain = match told {
            None => true,
            Some(Work::Gone) => false,
            Some(_) => self.is_settled(),
        };
        self.polls_in_vain = if in_vain {
            self.polls_in_vain.saturating_add(1)
        } else {
            0
        };
    }

    fn is_settled(&self) -> bool {
        self.closed || matches!(self.record.machine.state(), RenterState::Settled { .. })
    }

    /// Whether the lease was settled before its node told the last reading of its meter.
    fn wants_final_reading(&self) -> bool {
        self.is_settled() && !self.record.final_reading && self.polls_in_vain < FINAL_POLLS
    }
}

/// The task of one job.
pub(super) struct JobTask {
    node: Arc<Node>,
    record: JobRecord,
    leases: BTreeMap<LeaseId, Live>,
    receipt_key: HotKey,
    /// Needed for the last step; resolved again after a restart.
    image: Option<ResolvedImage>,
    inputs: mpsc::Receiver<JobInput>,
    view: watch::Sender<JobView>,
    tries: watch::Sender<BTreeMap<PartIndex, Try>>,
    effects: JoinSet<JobInput>,
    top_up: Option<top_up::Pending>,
    together: together::Together,
    /// What the part queue asked for while the disk took nothing; nothing where the disk has the queue as it is.
    put_off: Option<Vec<PieceEffect>>,
    /// What happened to leases while the disk took nothing, and nobody tells again.
    not_kept: Vec<(LeaseId, RenterEvent)>,
    /// The outputs that are being fetched, by the try that wrote them.
    fetching: BTreeMap<TryKey, Vec<OutputSpec>>,
    /// Why results could not be taken before their nodes let them go.
    lost_for_disk: Option<String>,
}

/// What a job's task starts from.
pub(super) struct Beginning {
    pub(super) record: JobRecord,
    pub(super) leases: Vec<LeaseRecord>,
    pub(super) receipt_key: HotKey,
    pub(super) image: Option<ResolvedImage>,
    pub(super) inputs: mpsc::Receiver<JobInput>,
    pub(super) view: watch::Sender<JobView>,
    pub(super) tries: watch::Sender<BTreeMap<PartIndex, Try>>,
}

impl JobTask {
    pub(super) fn new(node: Arc<Node>, beginning: Beginning) -> Self {
        let live = |record: LeaseRecord| {
            (
                record.lease,
                Live {
                    record,
                    report: None,
                    wake: None,
                    polling: false,
                    polls_in_vain: 0,
                    closed: false,
                    recorded: false,
                    slot: None,
                    asked: None,
                    adding: None,
                    add_again: Millis::ZERO,
                    wanted: CancellationToken::new(),
                },
            )
        };
        Self {
            node,
            record: beginning.record,
            leases: beginning.leases.into_iter().map(live).collect(),
            receipt_key: beginning.receipt_key,
            image: beginning.image,
            inputs: beginning.inputs,
            view: beginning.view,
            tries: beginning.tries,
            effects: JoinSet::new(),
            top_up: None,
            together: together::Together::default(),
            put_off: None,
            not_kept: Vec::new(),
            fetching: BTreeMap::new(),
            lost_for_disk: None,
        }
    }

    /// Runs the job until nothing of it holds money any more. `restarted`: it was read back from the database.
    pub(super) async fn run(mut self, restarted: bool) {
        let mut head = self.node.watcher.head();
        let mut poll = tokio::time::interval(POLL);
        let mut minute = tokio::time::interval(crate::RECONCILE_EVERY);
        self.begin(restarted).await;
        while !self.is_over() {
            match self.next(&mut head, &mut poll, &mut minute).await {
                Woken::Input(input) => self.take(*input),
                Woken::Head => {
                    let time = head.borrow_and_update().as_ref().map(|head| head.timestamp);
                    if let Some(time) = time {
                        self.every_lease(RenterEvent::BlockSeen { time });
                    }
                }
                Woken::Poll => {
                    self.poll();
                    self.give_again();
                    self.tick_pieces();
                    self.perform_what_was_put_off();
                    self.fetch_what_waits();
                    self.add_to_low_deposits();
                }
                Woken::Timer => self.tick(),
                Woken::Minute => self.reconcile(),
                Woken::Cancelled => return,
            }
            self.answer_asks_that_waited();
            self.flush_together();
            self.settle_state();
            self.record_ends();
            self.tell();
        }
        self.finish();
    }

    async fn begin(&mut self, restarted: bool) {
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        self.allow_blobs().await;
        for lease in &ids {
            let seen = self.node.watcher.watch(*lease);
            self.watch_chain(*lease, seen);
        }
        if restarted {
            let now = self.node.clock.now();
            let effects = self.record.queue.handle(now, PieceEvent::Restarted);
            self.every_lease(RenterEvent::Restarted);
            // A job that is on the disk was accepted: the daemon before this one died before it wrote so for each lease. A deposit
            // whose quote is over by now is not made.
            self.every_lease(RenterEvent::Accepted);
            for lease in ids {
                let machine = self.leases.get(&lease).map(|live| &live.record.machine);
                let ends = machine.is_some_and(|machine| matches!(machine.state(), RenterState::Ending { .. }));
                // It ended before its deposit was seen, which may still be on its way, or may never have left.
                if ends && machine.is_some_and(|machine| machine.escrow() == EscrowView::Absent) {
                    self.follow_deposit(lease);
                }
            }
            self.perform_pieces(effects.unwrap_or_default());
            if self.record.finishing == super::record::Finishing::Running {
                self.start_last_step();
            }
        } else {
            self.every_lease(RenterEvent::Accepted);
        }
        self.flush_together();
        self.tell();
    }

    async fn next(
        &mut self,
        head: &mut watch::Receiver<Option<Head>>,
        poll: &mut tokio::time::Interval,
        minute: &mut tokio::time::Interval,
    ) -> Woken {
        let now = self.node.clock.now();
        let wake = self
            .leases
            .values()
            .filter_map(|live| live.wake)
            .min()
            .map(|at| at.saturating_sub(now));
        // Every arm is cancel-safe: channels, watches, intervals and joined effects keep what was not taken.
        tokio::select! {
            biased;
            () = self.node.cancel.cancelled() => Woken::Cancelled,
            Some(done) = self.effects.join_next() => Woken::Input(Box::new(done.unwrap_or(JobInput::Done))),
            Some(input) = self.inputs.recv() => Woken::Input(Box::new(input)),
            Ok(()) = head.changed() => Woken::Head,
            _ = poll.tick() => Woken::Poll,
            _ = minute.tick() => Woken::Minute,
            () = sleep(wake) => Woken::Timer,
        }
    }

    fn take(&mut self, input: JobInput) {
        match input {
            JobInput::ReceiptAsked(from, report, reply) => self.receipt_asked(from, &report, reply),
            JobInput::PartReported(from, report, reply) => self.part_reported(from, report, reply),
            JobInput::ClosingOffered(from, offer, reply) => self.closing_offered(from, &offer, reply),
            JobInput::OpenManySent(transaction, opened, told) => self.open_many_sent(transaction, opened, &told),
            JobInput::OpenManyFailed(leases, why) => self.open_many_failed(leases, &why),
            JobInput::GivenBack(from, offer) => self.given_back(from, &offer),
            JobInput::TopUpsEnded(results) => {
                for (lease, number, result) in results {
                    self.top_up_ended(lease, number, result);
                }
            }
            JobInput::ClosesEnded(number) => self.together.closing.retain(|under_way| *under_way != number),
            JobInput::TopUpAsked {
                amount,
                extend,
                agreed,
                reply,
            } => self.top_up_asked((amount, agreed), extend, reply),
            JobInput::AwayAsked { request, reply } => self.away_asked(request, reply),
            JobInput::StopAsked { reason, reply } => self.stop_asked(reason, reply),
            JobInput::OpenFailed(lease, why) => self.open_failed(lease, why),
            JobInput::Polled(lease, report) => self.polled(lease, report),
            JobInput::ChainSeen(lease, seen) => self.chain_seen(lease, seen),
            JobInput::PartRefused { lease, part, attempt } => {
                self.part_failed((lease, part, attempt), Trouble::Refused);
            }
            JobInput::Fetched {
                lease,
                part,
                attempt,
                files,
            } => self.fetched((lease, part, attempt), files),
            JobInput::LastStepEnded(result) => self.last_step_ended(result),
            JobInput::Done => {}
        }
    }

    fn every_lease(&mut self, event: RenterEvent) {
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        for lease in ids {
            self.lease_event(lease, event);
        }
    }

    /// Wakes the machines whose time has come.
    fn tick(&mut self) {
        let now = self.node.clock.now();
        let due: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, live)| live.wake.is_some_and(|at| at <= now))
            .map(|(lease, _)| *lease)
            .collect();
        for lease in due {
            if let Some(live) = self.leases.get_mut(&lease) {
                live.wake = None;
            }
            self.lease_event(lease, RenterEvent::Ticked);
        }
    }

    /// Whether the job is on the disk as it is now: what is to be sent for it must be before it is sent.
    fn keep_job(&self) -> bool {
        let kept = self.node.store.put_job(self.record.id, &self.record.name, &self.record);
        kept.inspect_err(
            |error| tracing::error!(job = %self.record.name, error = %crate::error_chain(error), "keeping a job"),
        )
        .is_ok()
    }

    /// Whether the lease is on the disk as it is now: what was signed must be before it is given away.
    fn keep_lease(&self, lease: LeaseId) -> bool {
        let Some(live) = self.leases.get(&lease) else {
            return false;
        };
        let kept = self
            .node
            .store
            .put_lease(Role::Renter, lease, &live.record, live.record.is_over());
        kept.inspect_err(
            |error| tracing::error!(lease = %lease.short(), error = %crate::error_chain(error), "keeping a lease"),
        )
        .is_ok()
    }

    fn tell(&self) {
        let seen: Vec<view::Seen<'_>> = self
            .leases
            .values()
            .map(|live| view::Seen {
                record: &live.record,
                report: live.report.as_ref(),
            })
            .collect();
        let token = &self.node.chain.token().token;
        self.view
            .send_replace(view::job(&self.record, &seen, token, self.node.clock.date()));
    }
}

async fn sleep(time: Option<Millis>) {
    match time {
        Some(time) => tokio::time::sleep(time.into()).await,
        None => std::future::pending().await,
    }
}

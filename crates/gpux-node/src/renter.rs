//! The renter: plans jobs, starts them, and keeps one task for each until nothing of it holds money any more.
//!
//! ```text
//! HTTP API ──> plan / start / top_up / stop ──input──> JobTask (owns its pieces and RenterLeases)
//! peer call ──> Renter (which job a lease is of) ──input──┘
//! ```

mod cost;
mod details;
mod image;
mod job;
mod known;
mod list;
mod local;
mod logs;
mod outputs;
mod pieces;
mod plan;
mod quotes;
mod record;
mod set_aside;
mod trouble;
mod view;
mod why;

pub(crate) use cost::{cost, transaction_kind};
pub(crate) use details::details;
pub(crate) use image::MANIFEST_LIMIT;
pub(crate) use job::KEPT_FREE;
pub(crate) use known::Experience;
pub(crate) use local::is_local_run;
pub(crate) use logs::{LogSelection, logs};
pub(crate) use plan::plan;
pub(crate) use set_aside::set_aside;
pub(crate) use view::actor;

use crate::{
    fault::{fault, internal},
    node::Node,
    store::{Role, StoreError},
};
use gpux_api::{AwayRequest, AwayView, ErrorBody, ErrorCode, JobView, PlanView, RunRequest, TopUpReply, TopUpRequest};
use gpux_chain::HotKey;
use gpux_lease::{CheckPolicy, Gang, PartQueue, RenterConfig, RenterLease, Tariff};
use gpux_proto::{ClosingOffer, MeterReport, Needs, PartReport, PeerError, Response};
use gpux_types::{Address, Amount, BasisPoints, JobId, LeaseId, Millis, NodeId, PartIndex, Token, UnixSeconds};
use job::{Beginning, JobInput, JobTask};
use pieces::Pieces;
use plan::Planned;
use quotes::{Claim, Firm};
use record::{Batches, Finishing, Fund, JobRecord, LeaseRecord, RECORD_VERSION, Secret, Try};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot, watch};

/// How many inputs may wait for one job's task. When it is full the caller waits, and with it one call of a peer.
const JOB_INPUTS: usize = 256;
/// How much later than the job's limit a lease expires: nodes fetch and unpack first, which is not billed.
const PREPARATION: Millis = Millis::from_secs(300);

/// One job, as calls about it need it. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct JobHandle {
    inputs: mpsc::Sender<JobInput>,
    view: watch::Receiver<JobView>,
    tries: watch::Receiver<BTreeMap<PartIndex, Try>>,
    /// No transaction of the job is older.
    from_block: u64,
    /// The split of an array whose parts are more than one value each.
    chunked: Option<gpux_job::Array>,
}

impl JobHandle {
    /// The job as it is now.
    pub(crate) fn view(&self) -> JobView {
        self.view.borrow().clone()
    }

    /// The job whenever it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<JobView> {
        self.view.clone()
    }

    /// The values of a part, where it may have more than one.
    fn values_of(&self, part: PartIndex) -> Option<String> {
        let values = self.chunked.as_ref()?.values_of(part)?;
        Some(values.to_string())
    }

    /// Where the newest try of each part is or was, whenever that changes.
    fn tries(&self) -> watch::Receiver<BTreeMap<PartIndex, Try>> {
        self.tries.clone()
    }
}

#[derive(Debug, Default)]
struct Registry {
    jobs: BTreeMap<JobId, JobHandle>,
    leases: HashMap<LeaseId, JobId>,
    /// In the order of their acceptance.
    order: Vec<JobId>,
}

/// The jobs. A cheap clone. A mutex rather than a task: every use is a short, synchronous look-up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Renter {
    registry: Arc<Mutex<Registry>>,
}

impl Renter {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the jobs of an earlier daemon.
    pub(crate) fn start(&self, node: &Arc<Node>) -> Result<(), StoreError> {
        let jobs = node.store.jobs::<JobRecord>()?;
        for (name, error) in &jobs.unreadable {
            report_unread(name, error);
        }
        for record in jobs.readable {
            let known = record.leases.iter();
            let known = known.map(|lease| node.store.lease::<LeaseRecord>(Role::Renter, *lease));
            let leases: Vec<LeaseRecord> = match known.collect::<Result<Vec<_>, _>>() {
                Ok(leases) => leases.into_iter().flatten().collect(),
                Err(error @ StoreError::Json { .. }) => {
                    report_unread(&record.name, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match HotKey::from_bytes(&record.receipt_key.0) {
                Ok(key) => self.spawn(node, record, leases, (key, None)),
                Err(_) => tracing::error!(job = %record.name, "the job's receipt key cannot be read"),
            }
        }
        Ok(())
    }

    fn spawn(
        &self,
        node: &Arc<Node>,
        record: JobRecord,
        leases: Vec<LeaseRecord>,
        tools: (HotKey, Option<gpux_runtime::ResolvedImage>),
    ) {
        let (receipt_key, image) = tools;
        let restarted = image.is_none();
        let seen: Vec<view::Seen<'_>> = leases
            .iter()
            .map(|record| view::Seen { record, report: None })
            .collect();
        let first = view::job(&record, &seen, &node.chain.token().token, node.clock.date());
        let (inputs, receiver) = mpsc::channel(JOB_INPUTS);
        let (sender, view) = watch::channel(first);
        let (tries_sender, tries) = watch::channel(record.tries.clone());
        let mut registry = self.lock();
        registry.order.push(record.id);
        registry
            .leases
            .extend(record.leases.iter().map(|lease| (*lease, record.id)));
        registry.jobs.insert(
            record.id,
            JobHandle {
                inputs,
                view,
                tries,
                from_block: record.from_block,
                chunked: view::chunked(&record.job).cloned(),
            },
        );
        drop(registry);
        let task = JobTask::new(
            node.clone(),
            Beginning {
                record,
                leases,
                receipt_key,
                image,
                inputs: receiver,
                view: sender,
                tries: tries_sender,
            },
        );
        node.tasks.spawn(task.run(restarted));
    }

    /// The job of that name or id, or of a unique beginning of either.
    pub(crate) fn find(&self, wanted: &str) -> Result<JobHandle, ErrorBody> {
        let registry = self.lock();
        let named = |handle: &JobHandle| (handle.view.borrow().name.clone(), handle.view.borrow().id.to_string());
        let exact = registry.jobs.values().find(|handle| {
            let (name, id) = named(handle);
            name == wanted || id == wanted
        });
        if let Some(handle) = exact {
            return Ok(handle.clone());
        }
        let begins = |handle: &&JobHandle| {
            let (name, id) = named(handle);
            name.starts_with(wanted) || id.starts_with(wanted)
        };
        let found: Vec<&JobHandle> = registry.jobs.values().filter(begins).collect();
        match found.as_slice() {
            [one] if !wanted.is_empty() => Ok((*one).clone()),
            [] => Err(ErrorBody::new(
                ErrorCode::NotFound,
                format!("finding job {wanted:?}: this node has no such job"),
            )
            .with_hint("`gpux ps -a` lists all jobs")),
            many => {
                let names: Vec<String> = many.iter().take(5).map(|handle| named(handle).0).collect();
                Err(ErrorBody::new(
                    ErrorCode::NotFound,
                    format!("finding job {wanted:?}: {} jobs begin so", many.len()),
                )
                .with_hint(format!("write more of the name: {}", names.join(", "))))
            }
        }
    }

    fn inputs_of(&self, lease: LeaseId) -> Result<mpsc::Sender<JobInput>, PeerError> {
        let registry = self.lock();
        let handle = registry.leases.get(&lease).and_then(|job| registry.jobs.get(job));
        let none = || {
            PeerError::new(
                gpux_proto::ErrorCode::NoSuchLease,
                "there is no such lease of yours here",
            )
        };
        handle.map(|handle| handle.inputs.clone()).ok_or_else(none)
    }

    async fn ask(&self, lease: LeaseId, input: impl FnOnce(job::PeerReply) -> JobInput) -> Result<Response, PeerError> {
        let inputs = self.inputs_of(lease)?;
        let gone = || PeerError::new(gpux_proto::ErrorCode::NoSuchLease, "the lease is over");
        let (reply, answer) = oneshot::channel();
        inputs.send(input(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Answers a provider that asks for a receipt.
    pub(crate) async fn sign_receipt(&self, from: NodeId, report: MeterReport) -> Result<Response, PeerError> {
        self.ask(report.lease, |reply| JobInput::ReceiptAsked(from, report, reply))
            .await
    }

    /// Notes what became of a part.
    pub(crate) async fn part_report(&self, from: NodeId, report: PartReport) -> Result<Response, PeerError> {
        self.ask(report.key().0, |reply| JobInput::PartReported(from, report, reply))
            .await
    }

    /// Takes a closing amount from a provider.
    pub(crate) async fn closing_offered(&self, from: NodeId, offer: ClosingOffer) -> Result<Response, PeerError> {
        self.ask(offer.lease, |reply| JobInput::ClosingOffered(from, offer, reply))
            .await
    }

    fn free_name(&self, wanted: &str) -> String {
        let registry = self.lock();
        let taken = |name: &str| registry.jobs.values().any(|handle| handle.view.borrow().name == name);
        if !taken(wanted) {
            return wanted.to_owned();
        }
        let numbered = (2..)
            .map(|number: u32| format!("{wanted}-{number}"))
            .find(|name| !taken(name));
        numbered.unwrap_or_else(|| wanted.to_owned())
    }
}

/// Starts a job: plans it again, gets firm prices, and opens its leases when all of it is still what was agreed.
pub(crate) async fn start(node: &Arc<Node>, request: RunRequest) -> Result<JobView, ErrorBody> {
    let fund = fund(&node.chain.token().token, request.top_up_within.as_deref())?;
    let planned = plan(node, request.plan).await?;
    check_agreed(&planned.view, request.agreed_total)?;
    let id = JobId(node.entropy.bytes());
    let spec = image::publish(node, id, &planned.job, &planned.image).await?;
    let receipt_key = node.entropy.key();
    let wanted = wanted(&planned, &receipt_key);
    let stand_ins = node.market.with_book(node.clock.now(), |book| {
        planned.market.alternatives(&planned.wanted, book, &planned.known)
    });
    let proposed = (&planned.market, stand_ins.as_slice());
    let agreed = (&spec, request.agreed_total);
    let firm = quotes::collect(node, proposed, &planned.wanted, &wanted, agreed).await;
    let firm = image::or_unpublish(node, id, firm).await?;
    // What the watcher believes: a block that is hours ahead would bind what a vanished node leaves behind for as long.
    let head = node.watcher.newest().ok_or_else(no_block)?;
    let (leases, claims): (Vec<LeaseRecord>, Vec<Claim>) = firm
        .into_iter()
        .map(|firm| lease_record(node, (id, &planned), firm, head.timestamp))
        .unzip();
    let mut record = job_record(
        node,
        id,
        planned.job,
        spec,
        &receipt_key,
        planned.output,
        &leases,
        head.number,
    );
    record.batches = request.batch.then(Batches::default);
    record.fund = fund.or_else(|| Fund::at_zero(&record.job.budget, planned.wanted.max_total, &leases));
    record.max_total = planned.wanted.max_total;
    let job = begin(node, record, leases, receipt_key, planned.image)?;
    // From here on the job sends deposits for them.
    claims.into_iter().for_each(Claim::keep);
    Ok(job)
}

/// What may be added to deposits that run low, where a limit was given.
fn fund(token: &Token, limit: Option<&str>) -> Result<Option<Fund>, ErrorBody> {
    let limit = limit.map(|text| token.parse(text)).transpose();
    let limit = limit.map_err(|error| fault(ErrorCode::InvalidInput, "setting a limit on top-ups", &error))?;
    let spent = Amount::ZERO;
    Ok(limit.map(|limit| Fund { limit, spent }))
}

/// Refuses a plan that costs more by now than was agreed to.
fn check_agreed(plan: &PlanView, agreed_total: Amount) -> Result<(), ErrorBody> {
    if plan.worst_case <= agreed_total {
        return Ok(());
    }
    let message = format!(
        "starting job {}: it now costs at most {}, and you agreed to {}; nothing was spent",
        plan.name,
        plan.token.format(plan.worst_case),
        plan.token.format(agreed_total)
    );
    Err(ErrorBody::new(ErrorCode::OverBudget, message)
        .with_hint("plan it again")
        .retryable())
}

/// What every asked node is told that is wanted of it.
fn wanted(planned: &Planned, receipt_key: &HotKey) -> quotes::Wanted {
    let builder = planned.job.builder.as_ref();
    quotes::Wanted {
        receipt_key: receipt_key.address(),
        resources: planned.job.resources,
        builder: builder.map_or(Address::ZERO, |builder| builder.address),
        builder_share: builder.map_or(BasisPoints::ZERO, |builder| builder.share),
        needs: Needs {
            gpus: planned.wanted.gpus.clone(),
            features: planned.wanted.features.clone(),
            region: planned.wanted.region.clone(),
        },
    }
}

fn begin(
    node: &Arc<Node>,
    record: JobRecord,
    leases: Vec<LeaseRecord>,
    receipt_key: HotKey,
    image: gpux_runtime::ResolvedImage,
) -> Result<JobView, ErrorBody> {
    let output = record.output.clone();
    std::fs::create_dir_all(&output).map_err(|error| {
        fault(
            ErrorCode::InvalidInput,
            &format!("making the output folder {}", output.display()),
            &error,
        )
    })?;
    for lease in &leases {
        let kept = node.store.put_lease(Role::Renter, lease.lease, lease, false);
        kept.map_err(|error| internal("keeping a lease", &error))?;
    }
    node.store
        .put_job(record.id, &record.name, &record)
        .map_err(|error| internal("keeping a job", &error))?;
    let name = record.name.clone();
    node.renter.spawn(node, record, leases, (receipt_key, Some(image)));
    Ok(node.renter.find(&name)?.view())
}

fn no_block() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Unreachable,
        "starting a job: no block of the chain was seen yet",
    )
    .with_hint("look at `gpux doctor`: the chain node does not answer, or its clock is wrong")
    .retryable()
}

fn lease_record(node: &Node, (job, planned): (JobId, &Planned), firm: Firm, now: UnixSeconds) -> (LeaseRecord, Claim) {
    let price = firm.quote.quote.gross_price(firm.terms.builder_share);
    let lasts = planned.job.budget.max_duration.saturating_add(PREPARATION);
    let config = RenterConfig::new(Tariff::new(price), u64::from(firm.terms.grace_secs));
    let record = LeaseRecord {
        version: RECORD_VERSION,
        lease: firm.lease,
        job,
        node: firm.candidate.offer.node,
        deposit: firm.request.deposit,
        request: firm.request,
        quote: firm.quote,
        terms: firm.terms,
        price,
        quoted_at: firm.asked_at,
        expiry: now.plus_secs(lasts.as_secs().min(job::LONGEST_AHEAD_SECS)),
        topped_up: gpux_types::Amount::ZERO,
        doubtful: gpux_types::Amount::ZERO,
        machine: RenterLease::quoted(config, node.clock.now()),
        metered: Millis::ZERO,
        final_reading: false,
        parts_done: 0,
        closing: None,
    };
    (record, firm.claim)
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a fact of the record, named by its field"
)]
fn job_record(
    node: &Node,
    id: JobId,
    job: gpux_job::Job,
    spec: gpux_proto::JobSpec,
    receipt_key: &HotKey,
    output: std::path::PathBuf,
    leases: &[LeaseRecord],
    from_block: u64,
) -> JobRecord {
    JobRecord {
        version: RECORD_VERSION,
        id,
        name: node.renter.free_name(&job.name.to_string()),
        accepted_at: node.clock.date(),
        ended_at: None,
        queue: pieces(&job, leases),
        spec,
        receipt_key: Secret(*receipt_key.to_bytes()),
        output,
        from_block,
        leases: leases.iter().map(|lease| lease.lease).collect(),
        outputs: Vec::new(),
        tries: BTreeMap::new(),
        waiting: Vec::new(),
        finishing: Finishing::NotYet,
        end: None,
        first_exit: None,
        stopped: false,
        over: false,
        batches: None,
        max_total: None,
        fund: None,
        job,
    }
}

/// What the leases of a job are to do.
fn pieces(job: &gpux_job::Job, leases: &[LeaseRecord]) -> Pieces {
    if job.is_gang() {
        let policy = JobTask::gang_policy(&job.retry);
        return Pieces::Gang(Gang::new(policy, leases.iter().map(|lease| lease.lease)));
    }
    let count = job.part_count();
    let nodes = u32::try_from(leases.len()).unwrap_or(u32::MAX);
    let queue = PartQueue::new(JobTask::part_policy(&job.retry), count).over(nodes);
    Pieces::Parts(match &job.work {
        gpux_job::Work::Array(gpux_job::Array {
            verify: Some(verify), ..
        }) => queue.checked(CheckPolicy {
            sample: verify.sample.of_ten_thousand(),
            owners: leases.iter().map(|lease| (lease.lease, lease.terms.provider)).collect(),
        }),
        gpux_job::Work::Array(_) | gpux_job::Work::Task(_) => queue,
    })
}

/// The key that signs a job's receipts, and this side of its leases' closing records; nothing when it cannot be had.
pub(crate) fn receipt_key(node: &Node, job: JobId) -> Option<HotKey> {
    let record = node.store.job::<JobRecord>(job).ok()??;
    HotKey::from_bytes(&record.receipt_key.0).ok()
}

/// The node of a lease that this renter has or had.
pub(crate) fn provider_of(node: &Node, lease: LeaseId) -> Option<NodeId> {
    let record = node.store.lease::<LeaseRecord>(Role::Renter, lease).ok()??;
    Some(record.node)
}

/// Adds money to every lease of a job that is open.
pub(crate) async fn top_up(node: &Node, job: &JobHandle, request: &TopUpRequest) -> Result<TopUpReply, ErrorBody> {
    let token = &node.chain.token().token;
    let amount = token
        .parse(&request.amount)
        .map_err(|error| fault(ErrorCode::InvalidInput, "topping up", &error))?;
    let (reply, answer) = oneshot::channel();
    let name = job.view().name;
    let over = || {
        ErrorBody::new(
            ErrorCode::Conflict,
            format!("topping up job {name}: none of its leases is open any more; nothing was spent"),
        )
        .with_hint("start the job again with a larger budget.max_duration")
    };
    job.inputs
        .send(JobInput::TopUpAsked {
            amount,
            extend: request.extend,
            agreed: request.agreed_total,
            reply,
        })
        .await
        .map_err(|_| over())?;
    let leases = answer.await.map_err(|_| over())??;
    Ok(TopUpReply {
        schema: "gpux.topup/v1".into(),
        leases,
    })
}

/// Signs ahead for a renter that goes away, or tells what that would put at risk.
pub(crate) async fn away(job: &JobHandle, request: AwayRequest) -> Result<AwayView, ErrorBody> {
    let (reply, answer) = oneshot::channel();
    let name = job.view().name;
    let over = || ErrorBody::new(ErrorCode::Conflict, format!("leaving job {name} alone: it is over"));
    let sent = job.inputs.send(JobInput::AwayAsked { request, reply }).await;
    sent.map_err(|_| over())?;
    answer.await.map_err(|_| over())?
}

/// Ends a job. One that is over stays as it is.
pub(crate) async fn stop(job: &JobHandle, reason: String) -> Result<JobView, ErrorBody> {
    let reason = gpux_types::shown(&reason, 200);
    let (reply, answer) = oneshot::channel();
    // A task that is gone has nothing left to stop.
    if job.inputs.send(JobInput::StopAsked { reason, reply }).await.is_ok() {
        let _ = answer.await;
    }
    Ok(job.view())
}

/// Nothing of such a job is touched: its providers settle with the receipts that they have, which refunds.
fn report_unread(job: &str, error: &StoreError) {
    tracing::error!(job, error = %crate::error_chain(error), "a job cannot be read: it is left as it is, signs nothing and fetches nothing back; start the version of gpux that wrote it");
}

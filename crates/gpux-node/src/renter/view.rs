//! How a job and its leases look to people.

use super::{
    pieces::Pieces,
    record::{Finishing, JobRecord, LeaseRecord},
};
use gpux_api::{
    Actor, AtRiskView, ChecksView, EndView, JobState, JobView, LeaseState, LeaseView, PartsView, RankState, RankView,
};
use gpux_job::{Array, Job};
use gpux_lease::{
    ChecksSummary, End, EndReason, Gang, GangEnd, GangFailure, PartFault, RankSeen, RenterState, Runway, Work,
    provider_at_risk, renter_at_risk,
};
use gpux_proto::{LeaseReport, Phase};
use gpux_types::{ByteSize, Millis, PartIndex, Token, UnixSeconds};

/// A lease with what its node said last.
pub(super) struct Seen<'a> {
    pub(super) record: &'a LeaseRecord,
    pub(super) report: Option<&'a LeaseReport>,
}

/// The job as it is now.
pub(super) fn job(record: &JobRecord, leases: &[Seen<'_>], token: &Token, now: UnixSeconds) -> JobView {
    let until = record.ended_at.unwrap_or(now);
    JobView {
        schema: "gpux.job/v1".into(),
        id: record.id,
        name: record.name.clone(),
        state: state(record, leases),
        accepted_at: record.accepted_at,
        elapsed: until.since(record.accepted_at),
        token: token.clone(),
        parts: parts(record),
        leases: leases.iter().map(|seen| lease(record, seen)).collect(),
        ranks: ranks(record, leases),
        checks: record.queue.checks().map(checks),
        output: record.output.display().to_string(),
        outputs: record.outputs.clone(),
        waits: waits(record),
        end: record.end.clone(),
    }
}

/// What this machine must be given before it can take results that are ready.
fn waits(record: &JobRecord) -> Option<String> {
    let refused = || record.waiting.iter().filter(|waiting| waiting.why.is_some());
    let first = refused().next().filter(|_| record.end.is_none())?;
    let why = first.why.as_deref()?;
    let others = match refused().count() {
        1 => String::new(),
        more => format!(" and {} more", more - 1),
    };
    Some(format!(
        "the results of {}{others} wait at their nodes, which keep them for ten minutes after a lease's end: {why}",
        part_name(&record.job, first.part)
    ))
}

/// The split of an array whose parts may be more than one value each.
pub(super) fn chunked(job: &Job) -> Option<&Array> {
    match &job.work {
        gpux_job::Work::Array(array) => Some(array).filter(|array| array.chunk.get() > 1),
        gpux_job::Work::Task(_) => None,
    }
}

/// A part as people are told of it: `part 3`, of a chunked array `part 3 (13-16)`.
pub(super) fn part_name(job: &Job, part: PartIndex) -> String {
    let values = chunked(job).and_then(|array| array.values_of(part));
    values.map_or_else(|| format!("part {part}"), |values| format!("part {part} ({values})"))
}

fn state(record: &JobRecord, leases: &[Seen<'_>]) -> JobState {
    if record.over {
        return match (&record.end, record.stopped) {
            (None, _) => JobState::Succeeded,
            (Some(_), true) => JobState::Stopped,
            (Some(_), false) => JobState::Failed,
        };
    }
    if record.end.is_some() || record.finishing != Finishing::NotYet {
        return JobState::Settling;
    }
    let works = |seen: &Seen<'_>| seen.record.machine.reported() > Millis::ZERO || seen.record.parts_done > 0;
    let running = record.queue.summary().running > 0
        && leases
            .iter()
            .any(|seen| matches!(seen.report, Some(report) if report.work != Work::Idle));
    if running || leases.iter().any(works) {
        JobState::Running
    } else {
        JobState::Starting
    }
}

/// Each rank of a gang; nothing of another job.
fn ranks(record: &JobRecord, leases: &[Seen<'_>]) -> Vec<RankView> {
    let Pieces::Gang(gang) = &record.queue else {
        return Vec::new();
    };
    let node = |lease| {
        leases
            .iter()
            .find(|seen| seen.record.lease == lease)
            .map(|seen| seen.record.node)
    };
    let views = gang.ranks().filter_map(|seen| {
        Some(RankView {
            rank: seen.key.rank,
            node: node(seen.key.lease)?,
            lease: seen.key.lease,
            attempt: seen.key.attempt,
            state: rank_state(seen.state),
            why: why_it_ended(gang, seen, record),
        })
    });
    views.collect()
}

const fn rank_state(state: gpux_lease::RankState) -> RankState {
    match state {
        gpux_lease::RankState::Waiting => RankState::Waiting,
        gpux_lease::RankState::Standing => RankState::Standing,
        gpux_lease::RankState::Running => RankState::Running,
        gpux_lease::RankState::Done => RankState::Done,
        gpux_lease::RankState::Failed => RankState::Failed,
        gpux_lease::RankState::Stopped => RankState::Stopped,
    }
}

fn why_it_ended(gang: &Gang, seen: RankSeen, record: &JobRecord) -> Option<String> {
    use gpux_lease::RankState as S;
    match (seen.state, gang.end()?) {
        (S::Failed, GangEnd::Failed { failure, .. }) => Some(gang_failure(failure)),
        (S::Stopped, GangEnd::Failed { failure, .. }) => {
            Some(format!("stopped by GPUX because {}", gang_failure(failure)))
        }
        (S::Stopped, _) => {
            let end = record.end.as_ref().map_or("the job ended", |end| end.reason.as_str());
            Some(format!("stopped by GPUX: {end}"))
        }
        (S::Waiting | S::Standing | S::Running | S::Done | S::Failed, _) => None,
    }
}

/// What happened to the rank that failed first.
pub(super) fn gang_failure(failure: GangFailure) -> String {
    match failure {
        GangFailure::Rank {
            rank,
            fault: PartFault::Error,
            exit_code: Some(code),
        } => format!("rank {rank} exited with {code}"),
        GangFailure::Rank {
            rank,
            fault: PartFault::Error,
            exit_code: None,
        } => format!("rank {rank} failed"),
        GangFailure::Rank {
            rank,
            fault: PartFault::Provider,
            ..
        } => format!("rank {rank} was lost by its node"),
        GangFailure::LeaseEnded { rank } => format!("the lease of rank {rank} ended"),
        GangFailure::Late { rank } => format!("rank {rank} did not stand within {}", gpux_lease::GATHER_LIMIT),
    }
}

fn checks(summary: ChecksSummary) -> ChecksView {
    ChecksView {
        drawn: summary.drawn,
        agreed: summary.agreed,
        outvoted: summary.outvoted,
        doubtful: summary.doubtful,
        not_made: summary.not_made,
    }
}

fn parts(record: &JobRecord) -> PartsView {
    let summary = record.queue.summary();
    PartsView {
        total: summary.queued + summary.running + summary.done + summary.given_up,
        queued: summary.queued,
        running: summary.running,
        done: summary.done,
        failed: summary.given_up,
    }
}

fn lease(job: &JobRecord, seen: &Seen<'_>) -> LeaseView {
    let record = seen.record;
    let (prepared, to_prepare) = match seen.report.map(|report| &report.phase) {
        Some(Phase::Preparing { done, total }) => (*done, *total),
        _ => (ByteSize(0), job.spec.preparation_bytes()),
    };
    LeaseView {
        id: record.lease,
        node: record.node,
        provider: record.terms.provider.to_string(),
        state: lease_state(record, seen.report),
        price: record.price,
        deposit: record.deposit,
        topped_up: record.topped_up,
        signed: record.machine.signed(),
        expiry: record.expiry,
        metered: record.metered,
        parts_done: record.parts_done,
        parts_running: u32::try_from(job.queue.running_on(&record.lease).len()).unwrap_or(u32::MAX),
        prepared,
        to_prepare,
        low: lease_state(record, seen.report) == LeaseState::Running && runway(record).is_low(),
        at_risk: at_risk(record, seen.report),
        end: known_end(record, seen.report).map(end),
    }
}

/// What each side has at risk, while the lease may cost anything.
fn at_risk(record: &LeaseRecord, report: Option<&LeaseReport>) -> Option<AtRiskView> {
    use LeaseState as S;
    let machine = &record.machine;
    let (tariff, signed) = (machine.config().tariff, machine.signed());
    let goes_on = matches!(
        lease_state(record, report),
        S::Preparing | S::Running | S::Frozen | S::Unreachable
    );
    let renter = renter_at_risk(
        &tariff,
        (signed, machine.escrow().deposit()),
        machine.counted(),
        machine.ahead(),
    );
    let provider = provider_at_risk(&tariff, signed, record.metered);
    goes_on.then_some(AtRiskView {
        renter_now: renter.now,
        renter_most: renter.most,
        provider_now: provider.now,
        provider_most: provider.most,
    })
}

/// How long the lease's deposit lasts, by the renter's own count.
pub(super) fn runway(record: &LeaseRecord) -> Runway {
    let machine = &record.machine;
    Runway::of(&machine.config().tariff, machine.escrow().deposit(), machine.counted())
}

fn lease_state(record: &LeaseRecord, report: Option<&LeaseReport>) -> LeaseState {
    let frozen = matches!(report.map(|report| &report.phase), Some(Phase::Frozen));
    match record.machine.state() {
        RenterState::Quoted { .. } | RenterState::Opening => LeaseState::Opening,
        RenterState::Open => LeaseState::Preparing,
        RenterState::Running if frozen => LeaseState::Frozen,
        RenterState::Running => LeaseState::Running,
        RenterState::Lost { .. } => LeaseState::Unreachable,
        RenterState::Ending { .. } => LeaseState::Settling,
        RenterState::Reclaimable { .. } => LeaseState::Reclaimable,
        RenterState::Settled { .. } => LeaseState::Settled,
        RenterState::Reclaimed { .. } => LeaseState::Reclaimed,
        RenterState::Unfunded { .. } | RenterState::Failed { .. } => LeaseState::Failed,
    }
}

/// Why a lease ends. A closed slot tells nothing: the provider's own word is better then.
pub(super) fn known_end(record: &LeaseRecord, report: Option<&LeaseReport>) -> Option<End> {
    match record.machine.end() {
        Some(end) if end.reason == EndReason::ClosedOnChain => report.and_then(|report| report.end).or(Some(end)),
        end => end,
    }
}

/// The same, as the renter itself can state it.
pub(super) fn own_end(record: &LeaseRecord, report: Option<&LeaseReport>) -> Option<End> {
    match record.machine.own_end() {
        Some(end) if end.reason == EndReason::ClosedOnChain => {
            report.and_then(|report| report.end).map(End::as_heard).or(Some(end))
        }
        end => end,
    }
}

/// Why a lease ended, as the API says it.
pub(super) fn end(end: End) -> EndView {
    EndView {
        reason: end.reason.to_string(),
        actor: actor(end.by),
        exit_code: None,
    }
}

pub(crate) const fn actor(actor: gpux_lease::Actor) -> Actor {
    match actor {
        gpux_lease::Actor::Renter => Actor::Renter,
        gpux_lease::Actor::Provider => Actor::Provider,
        gpux_lease::Actor::Network => Actor::Network,
        gpux_lease::Actor::Chain => Actor::Chain,
    }
}

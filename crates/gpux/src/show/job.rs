//! Jobs, their ends and their logs.

use super::{clock, count, money, table::Table};
use gpux_api::{Actor, CostView, JobList, JobState, JobView, LeaseState, LogLine, RankState};

pub(crate) const fn state_word(state: JobState) -> &'static str {
    match state {
        JobState::Quoting => "quoting",
        JobState::Starting => "starting",
        JobState::Running => "running",
        JobState::Settling => "settling",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Stopped => "stopped",
    }
}

pub(super) const fn lease_word(state: LeaseState) -> &'static str {
    match state {
        LeaseState::Opening => "opening",
        LeaseState::Preparing => "preparing",
        LeaseState::Running => "running",
        LeaseState::Frozen => "frozen",
        LeaseState::Unreachable => "unreachable",
        LeaseState::Settling => "settling",
        LeaseState::Settled => "settled",
        LeaseState::Reclaimable => "reclaimable",
        LeaseState::Reclaimed => "reclaimed",
        LeaseState::Failed => "failed",
    }
}

/// How a job and each of its leases ended, or stand.
pub(crate) fn diagnosis(job: &JobView) -> String {
    let mut text = format!("{}\n", job_line(job));
    if let Some(waits) = &job.waits {
        text.push_str(&format!("  waits: {waits}\n"));
    }
    for lease in &job.leases {
        let end = lease
            .end
            .as_ref()
            .map(|end| format!(": {} (by {})", end.reason, actor_word(end.actor)));
        text.push_str(&format!(
            "  {} {}{}\n",
            lease.node.short(),
            lease_word(lease.state),
            end.unwrap_or_default()
        ));
    }
    text
}

pub(crate) fn jobs(list: &JobList) -> String {
    if list.jobs.is_empty() {
        return "no jobs; `gpux ps -a` also shows those that are over".to_owned();
    }
    let mut table = Table::new(&["JOB", "STATE", ">PARTS", ">NODES", ">TIME", ">SIGNED FOR", "ENDS"]);
    for job in &list.jobs {
        let signed = job
            .leases
            .iter()
            .fold(gpux_types::Amount::ZERO, |sum, lease| sum.saturating_add(lease.signed));
        let end = match (&job.end, &job.waits) {
            (Some(end), _) => end.reason.clone(),
            (None, _) if job.state.is_over() => "-".to_owned(),
            (None, Some(waits)) => waits.clone(),
            (None, None) => last_expiry(job),
        };
        table.row([
            job.name.clone(),
            state_word(job.state).to_owned(),
            format!("{}/{}", job.parts.done, job.parts.total),
            job.leases.len().to_string(),
            clock(job.elapsed),
            money(&job.token, signed),
            end,
        ]);
    }
    table.text("")
}

/// Every lease carries its own end: the list shows the last of them.
fn last_expiry(job: &JobView) -> String {
    let Some(last) = job.leases.iter().map(|lease| lease.expiry.0).max() else {
        return "-".to_owned();
    };
    let left = last.saturating_sub(job.accepted_at.0.saturating_add(job.elapsed.as_secs()));
    format!("by itself in {}", clock(gpux_types::Millis::from_secs(left)))
}

pub(crate) fn job_line(job: &JobView) -> String {
    let end = job
        .end
        .as_ref()
        .map(|end| format!(": {} (by {})", end.reason, actor_word(end.actor)));
    format!("{} {}{}", job.name, state_word(job.state), end.unwrap_or_default())
}

const fn actor_word(actor: Actor) -> &'static str {
    match actor {
        Actor::Renter => "the renter",
        Actor::Provider => "the provider",
        Actor::Network => "the network",
        Actor::Chain => "the chain",
    }
}

const fn rank_word(state: RankState) -> &'static str {
    match state {
        RankState::Waiting => "waiting",
        RankState::Standing => "standing",
        RankState::Running => "running",
        RankState::Done => "done",
        RankState::Failed => "failed",
        RankState::Stopped => "stopped",
    }
}

pub(crate) fn log_line(line: &LogLine) -> String {
    let values = line.values.as_ref().map(|values| format!(" ({values})"));
    let values = values.unwrap_or_default();
    format!("[{} part {}{values}] {}", line.node.short(), line.part, line.text)
}

pub(crate) fn end(job: &JobView, cost: &CostView) -> String {
    let mut text = format!("{} after {}\n", job_line(job), clock(job.elapsed));
    text.push_str(&format!(
        "  {} of {} parts, outputs in {}\n",
        job.parts.done, job.parts.total, job.output
    ));
    for rank in &job.ranks {
        let why = rank.why.as_deref().unwrap_or(rank_word(rank.state));
        text.push_str(&format!("  rank {} on {}: {why}\n", rank.rank, rank.node.short()));
    }
    text.push_str(&format!(
        "  paid {} to {}, {} back to you; {} (gpux cost {})\n",
        money(&cost.token, cost.earned.saturating_add(cost.builder)),
        count(cost.leases.len(), "provider"),
        money(&cost.token, cost.refund),
        count(usize::try_from(cost.transactions).unwrap_or(usize::MAX), "transaction"),
        job.name
    ));
    text
}

//! Jobs, their ends and their logs.

use super::{clock, money, table::Table};
use gpux_api::{CostView, JobList, JobState, JobView, LogLine};

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

pub(crate) fn jobs(list: &JobList) -> String {
    if list.jobs.is_empty() {
        return "no jobs; `gpux ps -a` also shows those that are over".to_owned();
    }
    let mut table = Table::new(&["JOB", "STATE", ">PARTS", ">NODES", ">FOR", ">SIGNED", "ENDS"]);
    for job in &list.jobs {
        let signed = job.leases.iter().fold(gpux_types::Amount::ZERO, |sum, lease| sum.saturating_add(lease.signed));
        let end = job.end.as_ref().map_or_else(|| last_expiry(job), |end| end.reason.clone());
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
    let Some(last) = job.leases.iter().map(|lease| lease.expiry.0).max() else { return "-".to_owned() };
    let left = last.saturating_sub(job.accepted_at.0.saturating_add(job.elapsed.as_secs()));
    format!("by itself in {}", clock(gpux_types::Millis::from_secs(left)))
}

pub(crate) fn job_line(job: &JobView) -> String {
    let end = job.end.as_ref().map_or_else(String::new, |end| format!(": {} (by the {:?})", end.reason, end.actor).to_lowercase());
    format!("{} {}{end}", job.name, state_word(job.state))
}

pub(crate) fn log_line(line: &LogLine) -> String {
    format!("[{} part {}] {}", line.node.short(), line.part, line.text)
}

pub(crate) fn end(job: &JobView, cost: &CostView) -> String {
    let mut text = format!("{} after {}\n", job_line(job), clock(job.elapsed));
    text.push_str(&format!("  {} of {} parts, outputs in {}\n", job.parts.done, job.parts.total, job.output));
    text.push_str(&format!(
        "  paid {} to {} providers, {} back to you; {} transactions (gpux cost {})\n",
        money(&cost.token, cost.earned.saturating_add(cost.builder)),
        cost.leases.len(),
        money(&cost.token, cost.refund),
        cost.transactions,
        job.name
    ));
    text
}

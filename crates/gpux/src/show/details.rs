//! All of a job: what `gpux get` shows.

use super::{
    AMOUNT_DIGITS, PRICE_DIGITS, clock, column, count,
    job::{job_line, lease_word},
    money,
    table::Table,
};
use gpux_api::{ChecksView, JobDetails, JobView, LeaseView};
use gpux_types::{Amount, Millis, UnixSeconds};

/// How many parts that were tried again are shown.
const SHOWN: usize = 10;

pub(crate) fn details(view: &JobDetails) -> String {
    let job = &view.job;
    let mut text = format!("{}\n", job_line(job));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<9} {value}\n"));
    line("id", job.id.to_string());
    line("time", clock(job.elapsed));
    line("parts", parts(job));
    if let Some(checks) = &job.checks {
        line("checks", checks_line(checks));
    }
    line(
        "results",
        format!("{}, {}", job.output, count(job.outputs.len(), "file")),
    );
    line("money", money_line(job));
    if let Some(end) = view.ends_by_itself {
        line("ends", format!("by itself in {}, with its last lease", until(job, end)));
    }
    if let Some(waits) = &job.waits {
        line("waits", waits.clone());
    }
    text.push_str(&leases(job));
    text.push_str(&retried(view));
    text
}

fn parts(job: &JobView) -> String {
    let parts = &job.parts;
    format!(
        "{} done, {} running, {} queued, {} failed, of {}",
        parts.done, parts.running, parts.queued, parts.failed, parts.total
    )
}

fn checks_line(checks: &ChecksView) -> String {
    format!(
        "{} of {} alike on another node, {} outvoted and done again, {} in doubt, {} not made",
        checks.agreed, checks.drawn, checks.outvoted, checks.doubtful, checks.not_made
    )
}

fn money_line(job: &JobView) -> String {
    let sum = |of: fn(&LeaseView) -> Amount| {
        let amounts = job.leases.iter().map(of);
        amounts.fold(Amount::ZERO, Amount::saturating_add)
    };
    let paid_in = sum(|lease| lease.deposit.saturating_add(lease.topped_up));
    format!(
        "{} deposited, {} signed for; `gpux cost {}` reads the chain",
        money(&job.token, paid_in),
        money(&job.token, sum(|lease| lease.signed)),
        job.name
    )
}

/// How long from when the document was made.
fn until(job: &JobView, end: UnixSeconds) -> String {
    let now = job.accepted_at.0.saturating_add(job.elapsed.as_secs());
    clock(Millis::from_secs(end.0.saturating_sub(now)))
}

fn leases(job: &JobView) -> String {
    if job.leases.is_empty() {
        return String::new();
    }
    let price = format!(">PRICE ({}/h)", job.token.symbol);
    let paid_in = format!(">PAID IN ({})", job.token.symbol);
    let signed = format!(">SIGNED ({})", job.token.symbol);
    let headings = [
        "LEASE", "NODE", "STATE", &price, &paid_in, &signed, ">METERED", ">PARTS", "END",
    ];
    let mut table = Table::new(&headings);
    for lease in &job.leases {
        let paid_in = lease.deposit.saturating_add(lease.topped_up);
        let end = match &lease.end {
            Some(end) => end.reason.clone(),
            None if job.state.is_over() => "-".to_owned(),
            None => format!("by itself in {}", until(job, lease.expiry)),
        };
        table.row([
            lease.id.short(),
            lease.node.short(),
            lease_word(lease.state).to_owned(),
            column(&job.token, lease.price.0, PRICE_DIGITS),
            column(&job.token, paid_in, AMOUNT_DIGITS),
            column(&job.token, lease.signed, AMOUNT_DIGITS),
            clock(lease.metered),
            format!("{}+{}", lease.parts_done, lease.parts_running),
            end,
        ]);
    }
    format!("\n{}", table.text("  "))
}

fn retried(view: &JobDetails) -> String {
    if view.retried.is_empty() {
        return String::new();
    }
    let mut text = "\n  tried again, or failed:\n".to_owned();
    for part in view.retried.iter().take(SHOWN) {
        let why = part.why.as_ref().map(|why| why.reason.as_str());
        let failed = match (part.failed, why) {
            (true, Some(why)) => format!(", which failed: {why}"),
            (true, None) => ", which failed".to_owned(),
            (false, Some(why)) => format!(", after one that failed: {why}"),
            (false, None) => String::new(),
        };
        let values = part.values.as_ref().map(|values| format!(" ({values})"));
        let values = values.unwrap_or_default();
        text.push_str(&format!(
            "    part {}{values}: try {} on {}{failed}\n",
            part.part,
            part.tries,
            part.node.short()
        ));
    }
    let shown = u32::try_from(SHOWN).unwrap_or(u32::MAX);
    if view.retried_in_all > shown {
        text.push_str(&format!("    and {} more\n", view.retried_in_all - shown));
    }
    text
}

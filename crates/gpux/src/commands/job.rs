//! What several verbs need of a job: how it ended, and the last words of what failed.

use crate::{args::Global, client::Client, failure::Failure, out, show};
use futures_util::StreamExt;
use gpux_api::{Actor, CostView, ErrorCode, JobView, LogLine, RunEventKind};

/// How many lines of a failed part are shown.
pub(super) const LAST_LINES: usize = 50;

/// Prints the end of a job: its outputs and its bill.
pub(super) async fn print_end(global: &Global, client: &Client, job: &JobView) -> Result<(), Failure> {
    let cost: CostView = client.get(&format!("/jobs/{}/cost", job.id)).await?;
    if global.json {
        let (job, cost) = (Box::new(job.clone()), Box::new(cost));
        return out::print_event(RunEventKind::Ended { job, cost });
    }
    out::tell(&show::end(job, &cost));
    out::write_data(&job.output)
}

/// Prints the last lines of what failed.
pub(super) async fn print_last_words(global: &Global, client: &Client, job: &JobView) -> Result<(), Failure> {
    // The end is told without them, too.
    let Ok(mut lines) = client
        .stream::<LogLine>(&format!("/jobs/{}/logs?failed=true&tail={LAST_LINES}", job.id))
        .await
    else {
        return Ok(());
    };
    while let Some(Ok(line)) = lines.next().await {
        if global.json {
            out::print_event(RunEventKind::Log { line })?;
        } else {
            out::tell(&show::log_line(&line));
        }
    }
    Ok(())
}

/// Prints what a process of a followed job wrote.
pub(super) fn print_words(global: &Global, line: LogLine) -> Result<(), Failure> {
    if global.json {
        out::print_event(RunEventKind::Log { line })
    } else {
        out::write_data(&show::log_line(&line))
    }
}

/// The code of a job that did not succeed.
pub(super) fn end_code(job: &JobView) -> ErrorCode {
    match job.end.as_ref().map(|end| end.actor) {
        Some(Actor::Provider) => ErrorCode::ProviderFault,
        Some(Actor::Network | Actor::Chain) => ErrorCode::Unreachable,
        Some(Actor::Renter) | None => ErrorCode::JobFailed,
    }
}

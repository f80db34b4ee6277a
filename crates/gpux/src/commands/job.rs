//! What several verbs need of a job: how it ended, and the last words of what failed.

use crate::{args::Global, client::Client, failure::Failure, out, show};
use futures_util::StreamExt;
use gpux_api::{Actor, CostView, ErrorCode, JobState, JobView, LogLine};

/// How many lines of a failed part are shown.
const LAST_LINES: usize = 50;

/// Prints the end of a job: its outputs, its bill, and the last lines of the part that failed.
pub(super) async fn print_end(global: &Global, client: &Client, job: &JobView) -> Result<(), Failure> {
    if job.state != JobState::Succeeded {
        print_last_lines(client, job).await;
    }
    let cost: CostView = client.get(&format!("/jobs/{}/cost", job.id)).await?;
    out::tell(&show::end(job, &cost));
    if global.json {
        out::print(global, job, |_| String::new())
    } else {
        out::write_data(&job.output)
    }
}

async fn print_last_lines(client: &Client, job: &JobView) {
    let Ok(mut lines) = client
        .stream::<LogLine>(&format!("/jobs/{}/logs?failed=true&tail={LAST_LINES}", job.id))
        .await
    else {
        return;
    };
    while let Some(Ok(line)) = lines.next().await {
        out::tell(&show::log_line(&line));
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

//! `gpux away`: says that this node goes away, or that it is back.

use crate::{
    args::{AwayArgs, Global},
    client::Client,
    failure::Failure,
    out, show,
};
use gpux_api::{AwayRequest, AwayView, JobView};
use gpux_types::{Amount, Millis};
use std::time::Duration;

/// How long nodes have to fetch what is signed ahead: they ask each interval of 5 s.
const PATIENCE: Duration = Duration::from_secs(20);
const PACE: Duration = Duration::from_millis(250);

pub(super) async fn run(global: &Global, args: &AwayArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let job: JobView = client.get(&format!("/jobs/{}", args.job.job)).await?;
    let path = format!("/jobs/{}/away", job.id);
    let mut request = AwayRequest {
        horizon: args.horizon,
        agreed: None,
    };
    if args.horizon == Millis::ZERO {
        request.agreed = Some(Amount::ZERO);
        let done: AwayView = client.post(&path, &request).await?;
        out::print(global, &done, |done| show::back(done, &job))?;
        return Ok(0);
    }
    let would: AwayView = client.post(&path, &request).await?;
    out::talk(global, &show::away(&would, &job.token));
    out::confirm_spending(global, args.yes, &show::away_question(&would, &job))?;
    request.agreed = Some(would.at_risk);
    let done: AwayView = client.post(&path, &request).await?;
    let missing = await_receipts(&client, &job, &done).await?;
    if missing > 0 {
        out::talk(
            global,
            &format!(
                "{missing} of {} nodes have not fetched their receipts yet: stay connected until `gpux ps` shows them at work",
                done.leases.len()
            ),
        );
    }
    out::print(global, &done, |done| show::away_done(done, &job.token))?;
    Ok(0)
}

/// Waits until the nodes hold what is signed ahead; gives how many do not.
async fn await_receipts(client: &Client, job: &JobView, done: &AwayView) -> Result<usize, Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now: JobView = client.get(&format!("/jobs/{}", job.id)).await?;
        let holds = |wanted: &gpux_api::AwayLease| {
            let mut leases = now.leases.iter();
            leases.any(|lease| lease.id == wanted.lease && lease.signed >= wanted.signed_ahead)
        };
        let missing = done.leases.iter().filter(|wanted| !holds(wanted)).count();
        if missing == 0 || tokio::time::Instant::now() >= deadline {
            return Ok(missing);
        }
        tokio::time::sleep(PACE).await;
    }
}

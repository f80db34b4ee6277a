//! `gpux run`: plan, one yes, follow.

use crate::{
    args::{Global, RunArgs},
    failure::{Failure, INTERRUPTED},
    out,
    show::{self, Progress},
};
use futures_util::StreamExt;
use gpux_api::{JobState, JobView, PlanView, RunRequest};

pub(super) async fn run(global: &Global, args: RunArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let why = args.job.why;
    let request = super::plan::request(args.job)?;
    let plan: PlanView = client.post("/plan", &request).await?;
    out::tell(&show::plan(&plan, why));
    out::confirm_spending(args.yes, "Sign and start?")?;
    let job: JobView = client
        .post(
            "/jobs",
            &RunRequest {
                plan: request,
                agreed_total: plan.worst_case,
            },
        )
        .await?;
    if args.detach {
        out::print(global, &job, |job| job.name.clone())?;
        out::tell(&how_to_come_back(&job.name));
        return Ok(0);
    }
    if !args.logs {
        return follow(global, &client, &job, Progress::new(&job.name)).await;
    }
    let request = super::logs::Request {
        job: job.id.to_string(),
        follow: true,
        part: None,
        tail: None,
    };
    // Bars and the job's own words would write over each other.
    let (status, printed) = tokio::join!(
        follow(global, &client, &job, Progress::plain(&job.name)),
        super::logs::print(global, &client, &request)
    );
    printed?;
    status
}

/// Shows a job until it is over or the user presses Ctrl-C, which leaves the job alone.
async fn follow(
    global: &Global,
    client: &crate::client::Client,
    job: &JobView,
    mut progress: Progress,
) -> Result<u8, Failure> {
    let mut views = client.stream::<JobView>(&format!("/jobs/{}/watch", job.id)).await?;
    let mut last = job.clone();
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {
                progress.finish();
                out::tell(&format!("detached; the job goes on\n{}", how_to_come_back(&job.name)));
                return Ok(INTERRUPTED);
            }
            view = views.next() => match view {
                Some(view) => { last = view?; progress.update(&last); }
                None => break,
            },
        }
    }
    progress.finish();
    super::job::print_end(global, client, &last).await?;
    Ok(exit_status(&last))
}

/// A finished job's own exit code passes through; a job without one ends with the status of its end.
pub(super) fn exit_status(job: &JobView) -> u8 {
    if job.state == JobState::Succeeded {
        return 0;
    }
    let own = job
        .end
        .as_ref()
        .and_then(|end| end.exit_code)
        .and_then(|code| u8::try_from(code).ok());
    own.filter(|code| *code != 0)
        .unwrap_or_else(|| super::job::end_code(job).exit_status())
}

fn how_to_come_back(name: &str) -> String {
    format!("  see it:   gpux ps, gpux logs -f {name}\n  wait:     gpux wait {name}\n  end it:   gpux stop {name}")
}

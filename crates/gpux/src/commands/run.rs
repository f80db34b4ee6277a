//! `gpux run`: plan, one yes, follow.

use crate::{
    args::{Global, RunArgs},
    client::Client,
    failure::{Failure, INTERRUPTED, NOT_THE_JOBS},
    out,
    show::{self, Progress},
};
use futures_util::StreamExt;
use gpux_api::{JobState, JobView, PlanView, RunEventKind, RunRequest};

pub(super) async fn run(global: &Global, args: RunArgs) -> Result<u8, Failure> {
    let passes_through = !args.detach;
    let ended = plan_and_start(global, args).await;
    ended.map_err(|failure| {
        if passes_through {
            failure.not_the_jobs()
        } else {
            failure
        }
    })
}

async fn plan_and_start(global: &Global, args: RunArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let why = args.job.why;
    let request = super::plan::request(args.job)?;
    let plan: PlanView = client.post("/plan", &request).await?;
    let agreed_total = plan.worst_case;
    let events = global.json && !args.detach;
    if events {
        let plan = Box::new(plan);
        out::print_event(RunEventKind::Plan { plan })?;
    } else {
        out::talk(global, &show::plan(&plan, why));
    }
    out::confirm_spending(global, args.yes, "Sign and start?")?;
    let agreed = RunRequest {
        plan: request,
        agreed_total,
        batch: args.batch,
        top_up_within: args.top_up_within,
    };
    let job: JobView = client.post("/jobs", &agreed).await?;
    if args.detach {
        out::print(global, &job, |job| job.name.clone())?;
        out::talk(global, &how_to_come_back(&job.name));
        return Ok(0);
    }
    if events {
        let job = Box::new(job.clone());
        out::print_event(RunEventKind::Accepted { job })?;
    }
    let progress = match (events, args.logs) {
        (true, _) => Progress::events(&job),
        // Bars and the job's own words would write over each other.
        (false, true) => Progress::plain(&job.name),
        (false, false) => Progress::new(&job.name),
    };
    let over = if args.logs {
        follow_with_logs(global, &client, &job, progress).await?
    } else {
        follow(global, &client, &job, progress).await?
    };
    let Some(last) = over else {
        return Ok(INTERRUPTED);
    };
    if last.state != JobState::Succeeded && !args.logs {
        super::job::print_last_words(global, &client, &last).await?;
    }
    super::job::print_end(global, &client, &last).await?;
    Ok(exit_status(&last))
}

/// As [`follow`], and prints what the job's processes write: all of it before the end is told.
async fn follow_with_logs(
    global: &Global,
    client: &Client,
    job: &JobView,
    progress: Progress,
) -> Result<Option<JobView>, Failure> {
    let request = super::logs::Request {
        job: job.id.to_string(),
        follow: true,
        part: None,
        node: None,
        tail: None,
    };
    let show = |line| super::job::print_words(global, line);
    let (over, printed) = tokio::join!(
        follow(global, client, job, progress),
        super::logs::print(client, &request, show)
    );
    printed?;
    over
}

/// Shows a job until it is over, and returns it; nothing when the user presses Ctrl-C, which leaves the job alone.
async fn follow(
    global: &Global,
    client: &Client,
    job: &JobView,
    mut progress: Progress,
) -> Result<Option<JobView>, Failure> {
    let mut views = client.stream::<JobView>(&format!("/jobs/{}/watch", job.id)).await?;
    let mut last = job.clone();
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {
                progress.finish();
                detached(global, job)?;
                return Ok(None);
            }
            view = views.next() => match view {
                Some(view) => { last = view?; progress.update(&last)?; }
                None => break,
            },
        }
    }
    progress.finish();
    Ok(Some(last))
}

fn detached(global: &Global, job: &JobView) -> Result<(), Failure> {
    if global.json {
        return out::print_event(RunEventKind::Detached {
            job: job.id,
            name: job.name.clone(),
        });
    }
    out::tell(&format!("detached; the job goes on\n{}", how_to_come_back(&job.name)));
    Ok(())
}

/// A finished job's own exit code passes through.
pub(super) fn exit_status(job: &JobView) -> u8 {
    if job.state == JobState::Succeeded {
        return 0;
    }
    let own = job
        .end
        .as_ref()
        .and_then(|end| end.exit_code)
        .and_then(|code| u8::try_from(code).ok());
    own.filter(|code| *code != 0).unwrap_or(NOT_THE_JOBS)
}

fn how_to_come_back(name: &str) -> String {
    format!("  see it:   gpux ps, gpux logs -f {name}\n  wait:     gpux wait {name}\n  end it:   gpux stop {name}")
}

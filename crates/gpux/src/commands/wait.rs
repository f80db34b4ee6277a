//! `gpux wait`.

use crate::{
    args::{Global, WaitArgs},
    failure::{Failure, INTERRUPTED},
    out, show,
};
use futures_util::StreamExt;
use gpux_api::{ErrorCode, JobState, JobView};

pub(super) async fn run(global: &Global, args: WaitArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let mut views = client
        .stream::<JobView>(&format!("/jobs/{}/watch", args.job.job))
        .await?;
    let limit = args
        .timeout
        .map_or(std::time::Duration::from_secs(u64::from(u32::MAX)), Into::into);
    let limit = tokio::time::sleep(limit);
    tokio::pin!(limit);
    let mut last: Option<JobView> = None;
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(INTERRUPTED),
            () = &mut limit => {
                let text = format!("waiting for job {}: it is not over yet, and goes on", args.job.job);
                return Err(Failure::new(ErrorCode::TimedOut, text).with_hint("wait longer, or `gpux stop` it"));
            }
            view = views.next() => match view {
                Some(view) => last = Some(view?),
                None => break,
            },
        }
    }
    let Some(job) = last else {
        return Err(Failure::new(
            ErrorCode::Unreachable,
            "waiting for the job: the daemon said nothing",
        ));
    };
    if job.state == JobState::Failed && !global.json {
        super::job::print_last_words(global, &client, &job).await?;
    }
    out::print(global, &job, show::job_line)?;
    Ok(if job.state == JobState::Succeeded {
        0
    } else {
        super::job::end_code(&job).exit_status()
    })
}

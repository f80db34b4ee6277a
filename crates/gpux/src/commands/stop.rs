//! `gpux stop`.

use crate::{
    args::{Global, StopArgs},
    failure::Failure,
    out, show,
};
use gpux_api::{JobView, StopJobRequest};

pub(super) async fn run(global: &Global, args: StopArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let request = StopJobRequest { reason: args.reason };
    let job: JobView = client.post(&format!("/jobs/{}/stop", args.job.job), &request).await?;
    out::print(global, &job, show::job_line)?;
    Ok(0)
}

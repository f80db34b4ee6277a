//! `gpux get`.

use crate::{
    args::{Global, JobName},
    failure::Failure,
    out, show,
};
use gpux_api::JobDetails;

pub(super) async fn run(global: &Global, args: &JobName) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let details: JobDetails = client.get(&format!("/jobs/{}/details", args.job)).await?;
    out::print(global, &details, show::details)?;
    Ok(0)
}

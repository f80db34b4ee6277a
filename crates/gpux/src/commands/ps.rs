//! `gpux ps`.

use crate::{
    args::{Global, PsArgs},
    failure::Failure,
    out, show,
};
use gpux_api::JobList;

pub(super) async fn run(global: &Global, args: &PsArgs) -> Result<u8, Failure> {
    let mut list: JobList = super::connect(global).await?.get("/jobs").await?;
    if !args.all {
        list.jobs.retain(|job| !job.state.is_over());
    }
    out::print(global, &list, show::jobs)?;
    Ok(0)
}

//! `gpux cost`.

use crate::{
    args::{Global, JobName},
    failure::Failure,
    show,
};
use gpux_api::CostView;

pub(super) async fn run(global: &Global, args: &JobName) -> Result<u8, Failure> {
    let cost: CostView = super::connect(global).await?.get(&format!("/jobs/{}/cost", args.job)).await?;
    super::print(global, &cost, show::bill)?;
    Ok(0)
}

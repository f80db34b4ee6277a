//! `gpux cost`.

use crate::{
    args::{Global, JobName},
    failure::Failure,
    out, show,
};
use gpux_api::CostView;

pub(super) async fn run(global: &Global, args: &JobName) -> Result<u8, Failure> {
    let cost: CostView = super::connect(global)
        .await?
        .get(&format!("/jobs/{}/cost", args.job))
        .await?;
    out::print(global, &cost, show::bill)?;
    Ok(0)
}

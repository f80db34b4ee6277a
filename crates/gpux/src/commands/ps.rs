//! `gpux ps`.

use crate::{
    args::{Global, PsArgs},
    failure::Failure,
    out, show,
};
use gpux_api::JobList;

pub(super) async fn run(global: &Global, args: &PsArgs) -> Result<u8, Failure> {
    let path = if args.all { "/jobs" } else { "/jobs?going_on=true" };
    let client = super::connect(global).await?;
    let list: JobList = client.list(path, args.list.limit).await?;
    out::print(global, &list, show::jobs)?;
    super::tell_of_more(global, &list);
    Ok(0)
}

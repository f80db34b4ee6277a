//! `gpux gpus`.

use crate::{args::Global, failure::Failure, out, show};
use gpux_api::GpusView;

pub(super) async fn run(global: &Global) -> Result<u8, Failure> {
    let view: GpusView = super::connect(global).await?.get("/gpus").await?;
    out::print(global, &view, show::gpus)?;
    Ok(0)
}

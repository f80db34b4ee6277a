//! `gpux offers`.

use crate::{args::Global, failure::Failure, out, show};
use gpux_api::OffersView;

pub(super) async fn run(global: &Global) -> Result<u8, Failure> {
    let offers: OffersView = super::connect(global).await?.get("/offers").await?;
    out::print(global, &offers, show::offers)?;
    Ok(0)
}

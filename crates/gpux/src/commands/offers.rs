//! `gpux offers`.

use crate::{
    args::{Global, OffersArgs},
    failure::Failure,
    out, show,
};
use gpux_api::OffersView;

pub(super) async fn run(global: &Global, args: &OffersArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let offers: OffersView = client.list("/offers", args.list.limit).await?;
    out::print(global, &offers, show::offers)?;
    super::tell_of_more(global, &offers);
    Ok(0)
}

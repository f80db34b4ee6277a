//! `gpux receipts`.

use crate::{
    args::{Global, ReceiptsArgs},
    failure::Failure,
    out, show,
};
use gpux_api::{ErrorCode, ReceiptsView};

pub(super) async fn run(global: &Global, args: &ReceiptsArgs) -> Result<u8, Failure> {
    if global.json && args.csv {
        return Err(Failure::new(
            ErrorCode::InvalidInput,
            "listing receipts: --json and --csv exclude each other",
        ));
    }
    let path = match &args.of {
        Some(of) => format!("/receipts/{of}"),
        None => "/receipts".to_owned(),
    };
    let client = super::connect(global).await?;
    let view: ReceiptsView = client.list(&path, args.list.limit).await?;
    if args.csv {
        out::write_exactly(&show::receipts_csv(&view))?;
    } else {
        out::print(global, &view, show::receipts)?;
        super::tell_of_more(global, &view);
    }
    Ok(0)
}

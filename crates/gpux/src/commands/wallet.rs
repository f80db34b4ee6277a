//! `gpux wallet`.

mod import;
mod password;
mod send;

use crate::{
    args::{Global, WalletVerb},
    failure::{Failure, failed},
    home, out, show,
};
use gpux_api::{AddressView, ErrorCode, WalletView};
use gpux_node::DaemonDir;
use std::io::IsTerminal;

pub(super) async fn run(global: &Global, verb: WalletVerb) -> Result<u8, Failure> {
    let files = DaemonDir::new(&home::daemon_dir(global.dir.as_deref())?);
    match verb {
        WalletVerb::New { password_file } => import::make(global, &files, password_file.as_deref()).await,
        WalletVerb::Import { file, password_file } => {
            import::take_over(global, &files, (file.as_deref(), password_file.as_deref())).await
        }
        WalletVerb::Address { qr } => address(global, &files, qr),
        WalletVerb::Balance => {
            let wallet: WalletView = super::connect(global).await?.get("/wallet").await?;
            out::print(global, &wallet, show::wallet)?;
            Ok(0)
        }
        WalletVerb::Send(args) => send::run(global, args).await,
    }
}

fn address(global: &Global, files: &DaemonDir, qr: bool) -> Result<u8, Failure> {
    let view = gpux_node::receive(files).map_err(|error| {
        failed(ErrorCode::NotFound, "reading the wallet", &error).with_hint("make one with `gpux wallet new`")
    })?;
    // Who reads a file or a pipe cannot hold a phone before it.
    let on_screen = qr && std::io::stdout().is_terminal();
    out::print(global, &view, |view| {
        if on_screen {
            show::receive(view, out::has_colours())
        } else {
            view.address.clone()
        }
    })?;
    Ok(0)
}

fn print_address(global: &Global, address: String) -> Result<(), Failure> {
    out::print(global, &AddressView::from(address), |document| document.address.clone())
}

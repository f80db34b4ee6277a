//! `gpux wallet`.

use crate::{
    args::{Global, WalletVerb},
    failure::{Failure, failed},
    home, out, show,
};
use gpux_api::{ErrorCode, WalletView};
use gpux_node::DaemonDir;
use serde::Serialize;
use std::path::Path;

/// What `wallet new` and `wallet address` print.
#[derive(Debug, Serialize)]
struct AddressDocument {
    schema: &'static str,
    address: String,
}

pub(super) async fn run(global: &Global, verb: WalletVerb) -> Result<u8, Failure> {
    let files = DaemonDir::new(&home::daemon_dir(global.dir.as_deref())?);
    match verb {
        WalletVerb::New { password_file } => {
            let password = read_password(password_file.as_deref())?;
            let address = gpux_node::new_wallet(&files, &password);
            print_address(
                global,
                address.map_err(|error| failed(ErrorCode::InvalidInput, "making a wallet", &error))?,
            )
        }
        WalletVerb::Address => {
            let address = gpux_node::wallet_address(&files);
            print_address(
                global,
                address.map_err(|error| {
                    failed(ErrorCode::NotFound, "reading the wallet", &error)
                        .with_hint("make one with `gpux wallet new`")
                })?,
            )
        }
        WalletVerb::Balance => {
            let wallet: WalletView = super::connect(global).await?.get("/wallet").await?;
            out::print(global, &wallet, show::wallet)
        }
    }?;
    Ok(0)
}

fn print_address(global: &Global, address: String) -> Result<(), Failure> {
    out::print(
        global,
        &AddressDocument {
            schema: "gpux.address/v1",
            address,
        },
        |document| document.address.clone(),
    )
}

fn read_password(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let Some(path) = file else {
        return Err(
            Failure::new(ErrorCode::InvalidInput, "making a wallet: no password was given")
                .with_hint("write a password into a file that only you can read and give --password-file FILE"),
        );
    };
    let bytes = std::fs::read(path);
    let mut bytes = bytes.map_err(|error| {
        failed(
            ErrorCode::InvalidInput,
            &format!("reading the password file {}", path.display()),
            &error,
        )
    })?;
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(bytes)
}

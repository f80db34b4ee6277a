//! `gpux wallet`.

use crate::{
    args::{Global, WalletVerb},
    failure::{Failure, INTERRUPTED, failed},
    home, out,
    secret::{self, Typed},
    show,
};
use gpux_api::{AddressView, ErrorCode, WalletView};
use gpux_node::DaemonDir;
use std::{io::IsTerminal, path::Path};
use zeroize::Zeroizing;

/// How often somebody may type two passwords that differ.
const TRIES: u32 = 3;

pub(super) async fn run(global: &Global, verb: WalletVerb) -> Result<u8, Failure> {
    let files = DaemonDir::new(&home::daemon_dir(global.dir.as_deref())?);
    match verb {
        WalletVerb::New { password_file } => return new(global, &files, password_file.as_deref()).await,
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

async fn new(global: &Global, files: &DaemonDir, password_file: Option<&Path>) -> Result<u8, Failure> {
    let password = match password_file {
        Some(path) => read_password(path)?,
        None => match type_password(global, files).await? {
            Some(password) => Zeroizing::new(password.as_bytes().to_vec()),
            None => return Ok(INTERRUPTED),
        },
    };
    let address = gpux_node::new_wallet(files, &password);
    let address = address.map_err(|error| failed(ErrorCode::InvalidInput, ATTEMPTED, &error))?;
    print_address(global, address)?;
    if password_file.is_none() {
        out::talk(
            global,
            &format!(
                "  the daemon asks nobody: write the password into {}, readable by you alone,\n  or into a file that wallet.password_file in its configuration names",
                files.password().display()
            ),
        );
    }
    Ok(0)
}

const ATTEMPTED: &str = "making a wallet";

fn print_address(global: &Global, address: String) -> Result<(), Failure> {
    out::print(global, &AddressView::from(address), |document| document.address.clone())
}

/// The password that is typed twice the same; `None` after Ctrl-C. Programs are not asked.
async fn type_password(global: &Global, files: &DaemonDir) -> Result<Option<Zeroizing<String>>, Failure> {
    let refuse = |why: &str| Failure::new(ErrorCode::InvalidInput, format!("{ATTEMPTED}: {why}"));
    if global.json || !std::io::stdin().is_terminal() {
        return Err(refuse("no password was given").with_hint(
            "write one into a file that only you can read and give --password-file FILE, or type it on a terminal without --json",
        ));
    }
    if let Ok(address) = gpux_node::wallet_address(files) {
        return Err(
            refuse(&format!("{} has one already, {address}", files.path().display()))
                .with_hint("give --dir DIR to make one elsewhere"),
        );
    }
    for _ in 0..TRIES {
        let Some(first) = ask("Password of the new wallet:").await? else {
            return Ok(None);
        };
        if first.is_empty() {
            out::tell("an empty password protects nothing");
            continue;
        }
        match ask("The same again:").await? {
            Some(second) if second == first => return Ok(Some(first)),
            Some(_) => out::tell("the two differ"),
            None => return Ok(None),
        }
    }
    Err(refuse(&format!(
        "no password was typed twice the same in {TRIES} tries"
    )))
}

async fn ask(question: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    match secret::ask(question).await {
        Ok(Typed::Line(line)) => Ok(Some(line)),
        Ok(Typed::Interrupted) => {
            out::tell("");
            Ok(None)
        }
        Ok(Typed::Nothing) => Err(Failure::new(
            ErrorCode::InvalidInput,
            format!("{ATTEMPTED}: the terminal ended before a password was typed"),
        )),
        Err(error) => Err(failed(
            ErrorCode::InvalidInput,
            "asking for a password on the terminal",
            &error,
        )),
    }
}

fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = std::fs::read(path).map(Zeroizing::new);
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

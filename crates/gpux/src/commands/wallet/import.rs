//! `gpux wallet new` and `gpux wallet import`: where the key of a wallet comes from.

use super::{password, print_address};
use crate::{
    args::Global,
    failure::{Failure, INTERRUPTED, failed},
    out,
};
use gpux_api::ErrorCode;
use gpux_node::{DaemonDir, KeyFileKind, KeySource};
use std::path::Path;
use zeroize::Zeroizing;

const MAKING: &str = "making a wallet";
const IMPORTING: &str = "importing a wallet";
const KEY_IN_A_FILE: &str = "write the key into a file that only you can read and name the file, or type the key on a terminal without --json; never as an argument, which others can see";

pub(super) async fn make(global: &Global, files: &DaemonDir, password_file: Option<&Path>) -> Result<u8, Failure> {
    let password = match password_file {
        Some(path) => Some(password::read(path)?),
        None => {
            password::must_be_asked(global, MAKING, "password", password::IN_A_FILE)?;
            must_be_free(files, MAKING)?;
            password::choose(MAKING).await?
        }
    };
    let Some(password) = password else {
        return Ok(INTERRUPTED);
    };
    let address = gpux_node::new_wallet(files, &password);
    let address = address.map_err(|error| failed(ErrorCode::InvalidInput, MAKING, &error))?;
    made(global, files, address, password_file)
}

/// Takes over the key of a file, or one that is typed.
pub(super) async fn take_over(
    global: &Global,
    files: &DaemonDir,
    (from, password_file): (Option<&Path>, Option<&Path>),
) -> Result<u8, Failure> {
    must_be_free(files, IMPORTING)?;
    let refused = |error| failed(ErrorCode::InvalidInput, IMPORTING, &error);
    let kind = from.map(gpux_node::key_file_kind).transpose().map_err(refused)?;
    let typed = match from {
        Some(_) => Zeroizing::default(),
        None => {
            password::must_be_asked(global, IMPORTING, "key", KEY_IN_A_FILE)?;
            match password::ask("Private key, 64 hexadecimal digits:", IMPORTING).await? {
                Some(typed) => typed,
                None => return Ok(INTERRUPTED),
            }
        }
    };
    let Some(password) = password_of(global, kind, password_file).await? else {
        return Ok(INTERRUPTED);
    };
    let source = from.map_or(KeySource::Typed(&typed), KeySource::File);
    let address = gpux_node::import_wallet(files, source, &password).map_err(refused)?;
    made(global, files, address, password_file)?;
    if let (Some(path), Some(KeyFileKind::Bare)) = (from, kind) {
        out::talk(
            global,
            &format!(
                "  {} still holds the key for everybody who can read it: remove it",
                path.display()
            ),
        );
    }
    Ok(0)
}

/// A keystore's own password, which the wallet keeps, or a new one.
async fn password_of(
    global: &Global,
    kind: Option<KeyFileKind>,
    file: Option<&Path>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    if let Some(path) = file {
        return password::read(path).map(Some);
    }
    password::must_be_asked(global, IMPORTING, "password", password::IN_A_FILE)?;
    if kind != Some(KeyFileKind::Keystore) {
        return password::choose(IMPORTING).await;
    }
    let typed = password::ask("Password of the keystore:", IMPORTING).await?;
    Ok(typed.map(|typed| Zeroizing::new(typed.as_bytes().to_vec())))
}

fn must_be_free(files: &DaemonDir, attempted: &str) -> Result<(), Failure> {
    let Ok(address) = gpux_node::wallet_address(files) else {
        return Ok(());
    };
    let message = format!("{attempted}: {} has one already, {address}", files.path().display());
    Err(Failure::new(ErrorCode::InvalidInput, message).with_hint("give --dir DIR to make one elsewhere"))
}

fn made(global: &Global, files: &DaemonDir, address: String, password_file: Option<&Path>) -> Result<u8, Failure> {
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

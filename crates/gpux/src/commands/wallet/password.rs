//! Where passwords of wallets come from: a file, or a terminal that shows nothing. Used by the verbs that make wallets.

use crate::{
    args::Global,
    failure::{Failure, failed},
    out,
    secret::{self, Typed},
};
use gpux_api::ErrorCode;
use std::{io::IsTerminal, path::Path};
use zeroize::Zeroizing;

/// How often somebody may type two passwords that differ.
const TRIES: u32 = 3;

/// The password in a file, without the end of its line.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
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

/// Refuses to ask programs.
pub(super) fn must_be_asked(global: &Global, attempted: &str, what: &str, hint: &str) -> Result<(), Failure> {
    if global.json || !std::io::stdin().is_terminal() {
        let message = format!("{attempted}: no {what} was given");
        return Err(Failure::new(ErrorCode::InvalidInput, message).with_hint(hint));
    }
    Ok(())
}

/// The hint to programs that give no password.
pub(super) const IN_A_FILE: &str = "write one into a file that only you can read and give --password-file FILE, or type it on a terminal without --json";

/// The password of a new wallet, typed twice the same; `None` after Ctrl-C.
pub(super) async fn choose(attempted: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    for _ in 0..TRIES {
        let Some(first) = ask("Password of the new wallet:", attempted).await? else {
            return Ok(None);
        };
        if first.is_empty() {
            out::tell("an empty password protects nothing");
            continue;
        }
        match ask("The same again:", attempted).await? {
            Some(second) if second == first => return Ok(Some(Zeroizing::new(first.as_bytes().to_vec()))),
            Some(_) => out::tell("the two differ"),
            None => return Ok(None),
        }
    }
    let message = format!("{attempted}: no password was typed twice the same in {TRIES} tries");
    Err(Failure::new(ErrorCode::InvalidInput, message))
}

/// A line that is not shown; `None` after Ctrl-C.
pub(super) async fn ask(question: &str, attempted: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    match secret::ask(question).await {
        Ok(Typed::Line(line)) => Ok(Some(line)),
        Ok(Typed::Interrupted) => {
            out::tell("");
            Ok(None)
        }
        Ok(Typed::Nothing) => Err(Failure::new(
            ErrorCode::InvalidInput,
            format!("{attempted}: the terminal ended before anything was typed"),
        )),
        Err(error) => Err(failed(
            ErrorCode::InvalidInput,
            "asking for a secret on the terminal",
            &error,
        )),
    }
}

//! The hidden verbs alone, so that this crate's integration tests can start them without the whole `gpux` binary.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    gpux_runtime::run_if_hidden(&args).unwrap_or(ExitCode::from(64))
}

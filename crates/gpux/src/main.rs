//! The one binary. Hidden verbs of the runtime come first, before any thread or runtime exists; then completion; then the
//! command line.

mod args;
mod client;
mod commands;
mod failure;
mod home;
mod out;
mod secret;
mod show;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let typed: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = gpux_node::run_if_hidden(&typed) {
        return code;
    }
    if commands::was_asked(&typed) {
        return ExitCode::SUCCESS;
    }
    let arguments = match args::Arguments::try_parse_from(&typed) {
        Ok(arguments) => arguments,
        Err(error) => return failure::report_usage(&error, &typed),
    };
    let json = arguments.global.json;
    match commands::run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(json),
    }
}

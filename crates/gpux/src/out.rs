//! Where words go: data to standard output, talk to standard error. Used by every verb; decides nothing.
//!
//! A reader that went away is no failure, on either stream.

use crate::{
    args::Global,
    failure::{Failure, failed},
};
use gpux_api::{ErrorCode, RunEvent, RunEventKind};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};

/// Whether data on the screen may have colours.
pub(crate) fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints data: `document` as JSON when that was asked for, else what `human` writes.
pub(crate) fn print<T: Serialize>(
    global: &Global,
    document: &T,
    human: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = if global.json {
        serde_json::to_string_pretty(document).map_err(|error| failed(ErrorCode::Internal, "writing JSON", &error))?
    } else {
        human(document)
    };
    write_data(&text)
}

/// Writes a line of data.
pub(crate) fn write_data(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failed(ErrorCode::Internal, "writing to standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Writes data as it is, to the last byte.
pub(crate) fn write_exactly(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failed(ErrorCode::Internal, "writing to standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Prints an event as one line of JSON.
pub(crate) fn print_event(what: RunEventKind) -> Result<(), Failure> {
    print_line(&RunEvent::from(what))
}

/// Prints a document as one line of JSON.
pub(crate) fn print_line<T: Serialize>(document: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(document);
    write_data(&text.map_err(|error| failed(ErrorCode::Internal, "writing JSON", &error))?)
}

/// Says a line to a person. Programs, which asked for JSON, are told nothing but data and errors.
pub(crate) fn talk(global: &Global, text: &str) {
    if !global.json {
        tell(text);
    }
}

/// Says a line to whoever watches. When nobody can hear it there is nobody to tell, either.
pub(crate) fn tell(text: &str) {
    writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n')).ok();
}

/// Says a question whose answer is awaited in the same line.
pub(crate) fn prompt(question: &str) {
    let mut talk = std::io::stderr().lock();
    write!(talk, "{question} ").and_then(|()| talk.flush()).ok();
}

/// Asks a question on the terminal. `None` when nobody is there to answer.
fn ask(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    prompt(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says yes, asks, or refuses to spend when nobody can be asked. Programs, which asked for JSON, are not.
pub(crate) fn confirm_spending(global: &Global, yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let answer = if global.json { None } else { ask(question) };
    match answer {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(
            ErrorCode::NotAuthorised,
            "spending: you said no; nothing was spent",
        )),
        None => Err(Failure::new(
            ErrorCode::InvalidInput,
            "spending: nobody is there to say yes; nothing was spent",
        )
        .with_hint("give -y to agree to the plan, with --max-total to cap it")),
    }
}

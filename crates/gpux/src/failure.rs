//! How a command ends badly: once, at the edge, with a stable exit status.

use crate::{args, out::tell};
use gpux_api::{ErrorBody, ErrorCode, ErrorDocument};
use std::{ffi::OsString, process::ExitCode};

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    body: ErrorBody,
    status: u8,
}

/// The exit status of a command that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit status of a followed `gpux run` for every end that is no process's own, as of `docker run`: any other status may
/// be one of the job's.
pub(crate) const NOT_THE_JOBS: u8 = 125;

impl Failure {
    /// A failure of `code` that says what was attempted, on what, and why it failed.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// The same with what to do next.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body = self.body.with_hint(hint);
        self
    }

    /// The same, of a command that passes its job's own exit codes through.
    pub(crate) const fn not_the_jobs(mut self) -> Self {
        self.status = NOT_THE_JOBS;
        self
    }

    /// Tells the user on standard error and gives the exit status.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        let status = self.status;
        if json {
            let document = ErrorDocument::from(self.body);
            let text = serde_json::to_string(&document).unwrap_or_else(|_| document.error.message.clone());
            tell(&text);
        } else {
            tell(&format!("error: {}", self.body.message));
            if let Some(hint) = &self.body.hint {
                tell(&format!("  what to do: {hint}"));
            }
            if !matches!(self.body.code, ErrorCode::JobFailed) {
                tell(&format!("  more: {}", self.body.docs));
            }
        }
        ExitCode::from(status)
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Self {
            status: body.code.exit_status(),
            body,
        }
    }
}

/// Ends a command that could not be understood, or that only asked for help or the version.
pub(crate) fn report_usage(error: &clap::Error, typed: &[OsString]) -> ExitCode {
    let passes_through = args::is_followed_run(typed);
    let json = typed
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    if !error.use_stderr() || !json {
        // Nobody is left to tell when this cannot be printed.
        error.print().ok();
        let status = u8::try_from(error.exit_code()).unwrap_or(1);
        return ExitCode::from(if status != 0 && passes_through {
            NOT_THE_JOBS
        } else {
            status
        });
    }
    let text = error.to_string();
    let said = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let failure = Failure::new(ErrorCode::InvalidInput, format!("reading the command line: {said}"))
        .with_hint("give --help after the verb for what it takes");
    if passes_through {
        failure.not_the_jobs()
    } else {
        failure
    }
    .report(true)
}

/// The causes of an error in one line, outermost first, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    gpux_node::error_chain(error)
}

/// Shorthand for an internal or input failure with its cause.
pub(crate) fn failed(code: ErrorCode, attempted: &str, cause: &dyn std::error::Error) -> Failure {
    Failure::new(code, format!("{attempted}: {}", chain(cause)))
}

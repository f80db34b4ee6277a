//! How a command ends badly: once, at the edge, with a stable exit status.

use gpux_api::{ErrorBody, ErrorCode, ErrorDocument};
use std::process::ExitCode;

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    body: ErrorBody,
    status: u8,
}

/// The exit status of a command that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

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

    /// What went wrong, for programs.
    pub(crate) const fn code(&self) -> ErrorCode {
        self.body.code
    }

    /// Tells the user on standard error and gives the exit status.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        let status = self.status;
        if json {
            let document = ErrorDocument { error: self.body };
            let text = serde_json::to_string(&document).unwrap_or_else(|_| document.error.message.clone());
            eprintln!("{text}");
        } else {
            eprintln!("error: {}", self.body.message);
            if let Some(hint) = &self.body.hint {
                eprintln!("  what to do: {hint}");
            }
            if !matches!(self.body.code, ErrorCode::JobFailed) {
                eprintln!("  more: {}", self.body.docs);
            }
        }
        ExitCode::from(status)
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Self { status: body.code.exit_status(), body }
    }
}

/// The causes of an error in one line, outermost first, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    gpux_node::error_chain(error)
}

/// Shorthand for an internal or input failure with its cause.
pub(crate) fn failed(code: ErrorCode, attempted: &str, cause: &dyn std::error::Error) -> Failure {
    Failure::new(code, format!("{attempted}: {}", chain(cause)))
}

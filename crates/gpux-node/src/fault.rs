//! What goes wrong in the daemon, in the form that its API tells.

use gpux_api::{ErrorBody, ErrorCode};
use std::error::Error;

/// The causes of an error in one line, the outermost first; a cause whose words the outer one already has is left out.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// A failure of `code` with what was attempted and why it failed.
pub(crate) fn fault(code: ErrorCode, attempted: &str, cause: &dyn Error) -> ErrorBody {
    ErrorBody::new(code, format!("{attempted}: {}", error_chain(cause)))
}

/// A failure of the daemon's own, with its cause in the log and in the answer: the API is local and its caller owns the daemon.
pub(crate) fn internal(attempted: &str, cause: &dyn Error) -> ErrorBody {
    tracing::error!(error = %error_chain(cause), "{attempted}");
    fault(ErrorCode::Internal, attempted, cause)
}

//! Errors as the API and `--json` show them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong, for programs. Each code has one exit status and one help page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The file or the request is wrong.
    InvalidInput,
    /// Nothing on the market matches; nothing was spent.
    NoMatch,
    /// The wallet cannot pay.
    InsufficientFunds,
    /// The price or the total is over the budget; nothing was spent.
    OverBudget,
    /// The app's own check refused the job; nothing was spent.
    PreflightFailed,
    /// The wallet refused, or the caller is not allowed.
    NotAuthorised,
    /// No such job, node or lease.
    NotFound,
    /// It took too long; the job may still run.
    TimedOut,
    /// The network, the RPC endpoint or the chain is out of reach, or is another one than expected.
    Unreachable,
    /// The job failed by itself.
    JobFailed,
    /// A provider failed.
    ProviderFault,
    /// The wish does not fit the state, such as a top-up of a closed lease.
    Conflict,
    /// A fault of GPUX's own.
    Internal,
}

impl ErrorCode {
    /// The exit status of a command that ends so. Stable: scripts rely on it.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Internal | Self::Conflict => 1,
            Self::InvalidInput | Self::PreflightFailed => 2,
            Self::NoMatch => 3,
            Self::InsufficientFunds | Self::OverBudget => 4,
            Self::NotAuthorised => 5,
            Self::NotFound => 6,
            Self::TimedOut => 7,
            Self::Unreachable => 8,
            Self::JobFailed => 9,
            Self::ProviderFault => 10,
        }
    }

    /// The name of the help page under `docs/errors/`.
    #[must_use]
    pub const fn page(self) -> &'static str {
        match self {
            Self::Internal => "GPUX-0001",
            Self::InvalidInput => "GPUX-0002",
            Self::NoMatch => "GPUX-0003",
            Self::InsufficientFunds => "GPUX-0004",
            Self::NotAuthorised => "GPUX-0005",
            Self::NotFound => "GPUX-0006",
            Self::TimedOut => "GPUX-0007",
            Self::Unreachable => "GPUX-0008",
            Self::JobFailed => "GPUX-0009",
            Self::ProviderFault => "GPUX-0010",
            Self::OverBudget => "GPUX-0011",
            Self::PreflightFailed => "GPUX-0012",
            Self::Conflict => "GPUX-0013",
        }
    }
}

/// What went wrong, on what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// What was attempted, on what, and why it failed.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same call may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The help page.
    pub docs: String,
}

impl ErrorBody {
    /// An error of `code` with its message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let docs = format!("docs/errors/{}.md", code.page());
        Self {
            code,
            message: clean(message.into()),
            hint: None,
            retryable: false,
            docs,
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(clean(hint.into()));
        self
    }

    /// The same, worth trying again.
    #[must_use]
    pub const fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// A sentence that a terminal shows and does not obey: some of its words come from peers, images and the chain.
fn clean(text: String) -> String {
    text.chars()
        .filter(|c| *c == '\n' || !gpux_types::is_obeyed(*c))
        .collect()
}

/// The whole answer of a failed call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("required" = ["schema", "error"]))]
pub struct ErrorDocument {
    /// `gpux.error/v1`. Always written; those of the first daemons lack it.
    #[serde(default)]
    #[schemars(extend("const" = "gpux.error/v1"))]
    pub schema: String,
    /// What went wrong.
    pub error: ErrorBody,
}

impl From<ErrorBody> for ErrorDocument {
    fn from(error: ErrorBody) -> Self {
        Self {
            schema: "gpux.error/v1".to_owned(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_steers_the_terminal_that_shows_it() {
        let body = ErrorBody::new(ErrorCode::NoMatch, "node\u{1b}[2J said\r no").with_hint("\u{7}wait\nor not");
        assert_eq!(body.message, "node[2J said no");
        assert_eq!(body.hint.as_deref(), Some("wait\nor not"));
    }
}

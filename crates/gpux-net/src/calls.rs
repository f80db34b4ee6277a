//! Calls between nodes: one stream per call on a kept connection, bounded, with a timeout, answered with a value or with
//! a code and a safe sentence.

mod client;
mod logs;
mod server;

pub(crate) use client::Caller;
pub(crate) use server::{AnswerLimits, Answerer};

pub use client::{CallError, Retry};
pub use logs::{LogSink, LogsClosed};
pub use server::CallHandler;

//! JSON-RPC to one chain node, over HTTP or, in a simulated world, within the process.
//!
//! Alloy's own provider reads answers of any size and waits for ever; a chain node is as hostile as any other peer,
//! so the transport is ours: every call has a deadline, every answer a limit, every error a reaction. The encodings
//! (ABI, transactions, hashes) are alloy's.
//!
//! Invariant: no error of this module shows the URL, which may hold an access key.

use alloy::primitives::Bytes;
use futures_util::future::BoxFuture;
use reqwest::{StatusCode, Url, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The longest answer that is read. The largest that we ask for is a page of logs; the next is a receipt.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The longest message of a chain node that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
/// How long a node that does not answer, or answers nonsense, is left alone.
const REST: Duration = Duration::from_secs(1);
/// The longest wait that a node may ask for.
const MAX_REST: Duration = Duration::from_secs(60);

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call may work at once.
    Now,
    /// The same call may work after this time.
    After(Duration),
    /// The same call fails again: something else must change first.
    Never,
}

/// A call to a chain node that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The node could not be reached, or the connection broke.
    #[error("calling {method} of the chain node")]
    Transport {
        /// The JSON-RPC method.
        method: &'static str,
        /// Why, without the URL.
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("calling {method} of the chain node: no answer within {} ms", limit.as_millis())]
    Timeout {
        /// The JSON-RPC method.
        method: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The node answered with an HTTP error.
    #[error("calling {method} of the chain node: HTTP status {status}")]
    Status {
        /// The JSON-RPC method.
        method: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the node wants to be left alone for.
        retry_after: Option<Duration>,
    },
    /// The answer is too long to be one.
    #[error("calling {method} of the chain node: the answer is longer than {limit} bytes")]
    TooLong {
        /// The JSON-RPC method.
        method: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The answer is not what the method answers.
    #[error("decoding the chain node's answer to {method}")]
    Decode {
        /// The JSON-RPC method.
        method: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The answer decodes but cannot be.
    #[error("checking the chain node's answer to {method}: {what}")]
    Implausible {
        /// The JSON-RPC method.
        method: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The node has nothing there, such as a block that it does not know.
    #[error("calling {method} of the chain node: it knows no such thing")]
    Missing {
        /// The JSON-RPC method.
        method: &'static str,
    },
    /// The node refused the call, or the call reverted.
    #[error("calling {method} of the chain node: refused with code {}: {}", refusal.code, refusal.message)]
    Refused {
        /// The JSON-RPC method.
        method: &'static str,
        /// What it said.
        refusal: Refusal,
    },
}

/// A JSON-RPC error object, with its texts bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The node's error code.
    pub code: i64,
    /// The node's words, bounded and without control characters.
    pub message: String,
    /// The revert data, when there is any.
    pub data: Option<Bytes>,
}

impl Refusal {
    fn is_rate_limit(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        matches!(self.code, 429 | -32005)
            || ["rate limit", "too many requests", "request limit", "header not found"]
                .iter()
                .any(|words| message.contains(words))
    }
}

impl RpcError {
    /// What to do about it.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } => Retry::After(REST),
            Self::TooLong { .. } | Self::Decode { .. } | Self::Implausible { .. } | Self::Missing { .. } => {
                Retry::After(REST)
            }
            Self::Status {
                retry_after: Some(wait),
                ..
            } => Retry::After((*wait).min(MAX_REST)),
            Self::Status {
                status: 408 | 429 | 500..=599,
                ..
            } => Retry::After(REST),
            Self::Status { .. } => Retry::Never,
            Self::Refused { refusal, .. } if refusal.is_rate_limit() => Retry::After(REST),
            Self::Refused { .. } => Retry::Never,
        }
    }

    /// True when the node did not take the call's content into account: it may or may not have got it.
    pub(crate) fn is_outage(&self) -> bool {
        !matches!(self, Self::Refused { refusal, .. } if !refusal.is_rate_limit())
    }

    /// What the node said, when it refused the call.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::Status { .. }
            | Self::TooLong { .. }
            | Self::Decode { .. }
            | Self::Implausible { .. }
            | Self::Missing { .. } => None,
        }
    }
}

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RpcClientError {
    /// Not a URL, or not one of HTTP.
    #[error("reading the chain node's URL: expected http:// or https:// and a host")]
    Url,
    /// The process has not chosen its TLS provider (see [`crate::Chain::connect`]).
    #[error("making the HTTP client: the process has no default TLS provider")]
    NoTlsProvider,
    /// The HTTP client cannot be built.
    #[error("making the HTTP client")]
    Build(#[source] reqwest::Error),
}

/// A chain node that is not reached over HTTP: one of a simulated world, in this process.
pub trait ChainNode: fmt::Debug + Send + Sync + 'static {
    /// Answers one JSON-RPC request, or never.
    fn answer(&self, request: Vec<u8>) -> BoxFuture<'static, NodeAnswer>;
}

/// What a [`ChainNode`] answers, as HTTP would carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// How the node is reached.
enum Way {
    Http { client: reqwest::Client, url: Url },
    Node(Arc<dyn ChainNode>),
}

/// One chain node.
pub(crate) struct Rpc {
    way: Way,
    timeout: Duration,
    next_id: AtomicU64,
}

#[derive(Serialize)]
struct Question<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Answer<R> {
    #[serde(default = "Option::default")]
    result: Option<R>,
    #[serde(default)]
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl Rpc {
    /// A client of the node at `url`, each of whose calls takes at most `timeout`.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, RpcClientError> {
        let url = Url::parse(url).map_err(|_| RpcClientError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(RpcClientError::Url);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(RpcClientError::NoTlsProvider);
        }
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none());
        if matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| RpcClientError::Build(error.without_url()))?;
        Ok(Self::over(Way::Http { client, url }, timeout))
    }

    /// A client of a node in this process.
    pub(crate) fn of_node(node: Arc<dyn ChainNode>, timeout: Duration) -> Self {
        Self::over(Way::Node(node), timeout)
    }

    const fn over(way: Way, timeout: Duration) -> Self {
        Self {
            way,
            timeout,
            next_id: AtomicU64::new(1),
        }
    }

    /// The node's host, which is safe to show.
    pub(crate) fn host(&self) -> &str {
        match &self.way {
            Way::Http { url, .. } => url.host_str().unwrap_or_default(),
            Way::Node(_) => "this process",
        }
    }

    /// The answer to a call that always has one.
    pub(crate) async fn call<R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: impl Serialize + Send,
    ) -> Result<R, RpcError> {
        self.call_opt(method, params).await?.ok_or(RpcError::Missing { method })
    }

    /// The answer to a call that may have none (`null`).
    pub(crate) async fn call_opt<R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: impl Serialize + Send,
    ) -> Result<Option<R>, RpcError> {
        let exchange = self.exchange(method, params);
        let timeout = RpcError::Timeout {
            method,
            limit: self.timeout,
        };
        let (status, retry_after, body) = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| timeout)??;
        let answer: Answer<R> = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => {
                return Err(RpcError::Status {
                    method,
                    status: status.as_u16(),
                    retry_after,
                });
            }
            Err(source) => return Err(RpcError::Decode { method, source }),
        };
        match answer.error {
            Some(error) => Err(RpcError::Refused {
                method,
                refusal: error.bounded(),
            }),
            None if !status.is_success() => Err(RpcError::Status {
                method,
                status: status.as_u16(),
                retry_after,
            }),
            None => Ok(answer.result),
        }
    }

    async fn exchange(
        &self,
        method: &'static str,
        params: impl Serialize + Send,
    ) -> Result<(StatusCode, Option<Duration>, Vec<u8>), RpcError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let question = Question {
            jsonrpc: "2.0",
            id,
            method,
            params,
        };
        match &self.way {
            Way::Http { client, url } => self.post(method, client.post(url.clone()).json(&question)).await,
            Way::Node(node) => {
                let request = serde_json::to_vec(&question).map_err(|source| RpcError::Decode { method, source })?;
                let answer = node.answer(request).await;
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
                if answer.body.len() > MAX_ANSWER_BYTES {
                    let limit = MAX_ANSWER_BYTES;
                    return Err(RpcError::TooLong { method, limit });
                }
                Ok((status, None, answer.body))
            }
        }
    }

    async fn post(
        &self,
        method: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<(StatusCode, Option<Duration>, Vec<u8>), RpcError> {
        let transport = |error: reqwest::Error| {
            if error.is_timeout() {
                RpcError::Timeout {
                    method,
                    limit: self.timeout,
                }
            } else {
                RpcError::Transport {
                    method,
                    source: error.without_url(),
                }
            }
        };
        let mut response = request.send().await.map_err(transport)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let retry_after = retry_after
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(RpcError::TooLong {
                    method,
                    limit: MAX_ANSWER_BYTES,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, retry_after, body))
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({})", self.host())
    }
}

impl ErrorObject {
    fn bounded(self) -> Refusal {
        Refusal {
            code: self.code,
            message: gpux_types::shown(&self.message, MAX_MESSAGE_CHARS),
            data: revert_data(&self.data),
        }
    }
}

/// Nodes put revert data into the error's `data` as it is, or into an object in there.
fn revert_data(data: &Value) -> Option<Bytes> {
    match data {
        Value::String(text) => text.parse().ok(),
        Value::Object(fields) => fields
            .get("data")
            .or_else(|| fields.get("result"))
            .and_then(revert_data),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests;

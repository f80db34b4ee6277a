//! The calling side.

use crate::{
    connections::{Cause, Connections, DialError, PeerPath, Use},
    offers::{DetailsRequest, PageRequest},
    wire::{FrameTag, StreamError, StreamKind, read_frame, read_message, write_request},
};
use futures_util::{StreamExt, stream::BoxStream};
use gpux_proto::{
    DecodeError, ErrorCode, LogsRequest, MAX_MESSAGE_BYTES, PeerError, Request, Response, decode, encode,
};
use gpux_types::NodeId;
use iroh::endpoint::RecvStream;
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// When a refused or failed call is worth repeating. The delays are first steps; callers back off from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// At once: nothing is wrong with the peer.
    Now,
    /// After so long.
    After(Duration),
    /// Not as it is.
    Never,
}

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be had.
    #[error("calling {peer}")]
    Dial {
        /// The called node.
        peer: NodeId,
        /// Why.
        source: Cause,
    },
    /// No whole answer in time. The peer may have done what was asked.
    #[error("calling {peer}: no answer within {} ms", after.as_millis())]
    TimedOut {
        /// The called node.
        peer: NodeId,
        /// How long was waited.
        after: Duration,
    },
    /// The connection or the stream broke. The peer may have done what was asked.
    #[error("calling {peer}: the stream broke")]
    Lost {
        /// The called node.
        peer: NodeId,
        /// Why.
        source: Cause,
    },
    /// Our own message is too large to send.
    #[error("calling {peer} with {got} bytes: the limit is {MAX_MESSAGE_BYTES}")]
    TooLarge {
        /// The node that was to be called.
        peer: NodeId,
        /// The length of the message.
        got: usize,
    },
    /// The answer is not one.
    #[error("reading the answer of {peer}")]
    Answer {
        /// The called node.
        peer: NodeId,
        /// Why.
        source: Cause,
    },
    /// The peer refused.
    #[error("{peer} refused")]
    Refused {
        /// The called node.
        peer: NodeId,
        /// Its code and sentence.
        source: PeerError,
    },
}

impl CallError {
    /// Whether and when to try again. A repeated call must be one that does no harm twice.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Lost { .. } => Retry::Now,
            Self::Dial { .. } | Self::TimedOut { .. } => Retry::After(Duration::from_secs(1)),
            Self::TooLarge { .. } | Self::Answer { .. } => Retry::Never,
            Self::Refused { source, .. } => match source.code {
                ErrorCode::TooMany => Retry::After(Duration::from_secs(1)),
                ErrorCode::Internal => Retry::After(Duration::from_secs(5)),
                ErrorCode::BadRequest
                | ErrorCode::NotAuthorised
                | ErrorCode::NoSuchLease
                | ErrorCode::NoCapacity
                | ErrorCode::NotCovered
                | ErrorCode::Unsupported
                | ErrorCode::QuoteGone => Retry::Never,
            },
        }
    }

    /// The peer's code and sentence, when it answered at all.
    #[must_use]
    pub const fn refusal(&self) -> Option<&PeerError> {
        if let Self::Refused { source, .. } = self {
            Some(source)
        } else {
            None
        }
    }

    fn dial(source: DialError) -> Self {
        let peer = match source {
            DialError::NotAKey(node) | DialError::Connect { node, .. } | DialError::TimedOut { node } => node,
        };
        Self::Dial {
            peer,
            source: source.into(),
        }
    }

    fn stream(peer: NodeId, source: StreamError) -> Self {
        match source {
            StreamError::Read(_) | StreamError::Write(_) | StreamError::Cut => Self::Lost {
                peer,
                source: source.into(),
            },
            StreamError::TooLarge { .. } | StreamError::Kind | StreamError::Tag { .. } => Self::Answer {
                peer,
                source: source.into(),
            },
        }
    }

    fn decode(peer: NodeId, source: DecodeError) -> Self {
        Self::Answer {
            peer,
            source: source.into(),
        }
    }
}

/// Calls peers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    connections: Arc<Connections>,
    timeout: Duration,
}

impl Caller {
    pub(crate) const fn new(connections: Arc<Connections>, timeout: Duration) -> Self {
        Self { connections, timeout }
    }

    /// How packets to `peer` travel now, where there is a connection.
    pub(crate) async fn path(&self, peer: NodeId) -> Option<PeerPath> {
        self.connections.path(peer).await
    }

    /// Calls `peer` and waits for its answer.
    pub(crate) async fn call(&self, peer: NodeId, request: &Request) -> Result<Response, CallError> {
        let answer = self.ask(peer, StreamKind::Call, request).await?;
        match decode(&answer).map_err(|source| CallError::decode(peer, source))? {
            Response::Error(source) => Err(CallError::Refused {
                peer,
                source: PeerError::new(source.code, source.message),
            }),
            answer @ (Response::Quote(_)
            | Response::Accepted
            | Response::Status(_)
            | Response::Receipt { .. }
            | Response::Record(_)
            | Response::TooLate(_)) => Ok(answer),
        }
    }

    /// Sees to it that `peer` is connected.
    pub(crate) async fn reach(&self, peer: NodeId) -> Result<(), CallError> {
        self.connections.reach(peer).await.map_err(CallError::dial)
    }

    /// The bytes of one page of the digests that `peer` knows.
    pub(crate) async fn offer_page(&self, peer: NodeId, request: PageRequest) -> Result<Vec<u8>, CallError> {
        self.ask(peer, StreamKind::OfferPage, &request).await
    }

    /// The bytes of the details that `peer` has of those that are asked for.
    pub(crate) async fn offer_details(&self, peer: NodeId, request: &DetailsRequest) -> Result<Vec<u8>, CallError> {
        self.ask(peer, StreamKind::OfferDetails, request).await
    }

    async fn ask(&self, peer: NodeId, kind: StreamKind, message: &impl Serialize) -> Result<Vec<u8>, CallError> {
        let message = checked_size(peer, encode(message))?;
        let mut used = None;
        let exchange = async {
            let (guard, mut send, mut recv) = self.connections.open(peer).await.map_err(CallError::dial)?;
            used = Some(guard);
            // The answer is read even when writing failed: a peer that stops reading says why.
            let written = write_request(&mut send, kind, &message).await;
            match (written, read_message(&mut recv).await) {
                (_, Ok(answer)) => Ok(answer),
                (Err(source), Err(_)) | (Ok(()), Err(source)) => Err(CallError::stream(peer, source)),
            }
        };
        let answer = timeout(self.timeout, exchange).await;
        answer.unwrap_or_else(|_| {
            // The connection may be a dead one that nobody has noticed yet.
            if let Some(used) = &used {
                self.connections.discard(peer, used);
            }
            Err(CallError::TimedOut {
                peer,
                after: self.timeout,
            })
        })
    }

    /// The log that `request` asks `peer` for, as it comes. The stream ends when the log is over; an error is its last
    /// item.
    pub(crate) async fn open_logs(
        &self,
        peer: NodeId,
        request: &LogsRequest,
    ) -> Result<BoxStream<'static, Result<Vec<u8>, CallError>>, CallError> {
        let message = checked_size(peer, encode(request))?;
        let open = async {
            let (guard, mut send, recv) = self.connections.open(peer).await.map_err(CallError::dial)?;
            write_request(&mut send, StreamKind::Logs, &message)
                .await
                .map_err(|source| CallError::stream(peer, source))?;
            Ok::<_, CallError>((guard, recv))
        };
        let opened = timeout(self.timeout, open).await;
        let (guard, recv) = opened.map_err(|_| CallError::TimedOut {
            peer,
            after: self.timeout,
        })??;
        let frames = futures_util::stream::unfold(Some((guard, recv)), move |state| next_frame(peer, state));
        Ok(frames.boxed())
    }
}

type LogState = Option<(Use, RecvStream)>;

async fn next_frame(peer: NodeId, state: LogState) -> Option<(Result<Vec<u8>, CallError>, LogState)> {
    let (guard, mut recv) = state?;
    match read_frame(&mut recv).await {
        Ok((FrameTag::Data, bytes)) => Some((Ok(bytes), Some((guard, recv)))),
        Ok((FrameTag::End, _)) => None,
        Ok((FrameTag::Refused, bytes)) => Some((Err(refused(peer, &bytes)), None)),
        Err(source) => Some((Err(CallError::stream(peer, source)), None)),
    }
}

fn refused(peer: NodeId, bytes: &[u8]) -> CallError {
    match decode::<PeerError>(bytes) {
        Ok(source) => CallError::Refused {
            peer,
            source: PeerError::new(source.code, source.message),
        },
        Err(source) => CallError::decode(peer, source),
    }
}

fn checked_size(peer: NodeId, message: Vec<u8>) -> Result<Vec<u8>, CallError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(CallError::TooLarge {
            peer,
            got: message.len(),
        });
    }
    Ok(message)
}

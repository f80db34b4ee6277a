//! The answering side: takes a stream, reads one bounded request, asks the daemon, answers.
//!
//! Invariant: whatever comes, the peer gets an answer with a code and a safe sentence or a closed stream, and nothing
//! of ours is held longer than the timeouts here say.

use crate::{
    calls::logs::LogSink,
    offers::{Asked, DetailsAnswer, DetailsRequest, Engine, MAX_ASKED, PageRequest, answer_page},
    stats::{Counters, bump},
    wire::{FrameTag, LARGE_REQUESTS, StreamError, StreamKind, read_request, write_message},
};
use futures_util::future::BoxFuture;
use gpux_proto::{ErrorCode, LogsRequest, MAX_MESSAGE_BYTES, PeerError, Request, Response, decode, encode};
use gpux_types::NodeId;
use iroh::endpoint::{RecvStream, SendStream};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

/// How long a peer may take to send its request, and to take its answer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers calls: the daemon's side of this crate.
///
/// `from` is proven by the connection's handshake; everything else in a request is a claim.
pub trait CallHandler: Send + Sync + 'static {
    /// Answers one call. Refuse with [`Response::Error`]. Dropped when it takes longer than
    /// [`Limits::answer_timeout`](crate::Limits::answer_timeout).
    fn call(&self, from: NodeId, request: Request) -> BoxFuture<'_, Response>;

    /// Writes the asked log into `sink` and returns when it is over. Dropped when the reader goes away.
    fn logs<'a>(
        &'a self,
        from: NodeId,
        request: LogsRequest,
        sink: &'a mut LogSink,
    ) -> BoxFuture<'a, Result<(), PeerError>>;
}

/// How much answering may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerLimits {
    pub(crate) concurrent: usize,
    pub(crate) timeout: Duration,
}

/// Answers streams of the calls protocol. One for all connections.
pub(crate) struct Answerer {
    handler: Arc<dyn CallHandler>,
    engine: Arc<Mutex<Engine>>,
    asked: mpsc::Sender<Asked>,
    counters: Arc<Counters>,
    timeout: Duration,
    calls: Arc<Semaphore>,
    /// Logs are followed for hours, so they have places of their own.
    logs: Arc<Semaphore>,
    large: Semaphore,
}

impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answerer").finish_non_exhaustive()
    }
}

impl Answerer {
    pub(crate) fn new(
        handler: Arc<dyn CallHandler>,
        (engine, asked): (Arc<Mutex<Engine>>, mpsc::Sender<Asked>),
        counters: Arc<Counters>,
        limits: AnswerLimits,
    ) -> Self {
        let places = || Arc::new(Semaphore::new(limits.concurrent.min(Semaphore::MAX_PERMITS)));
        Self {
            handler,
            engine,
            asked,
            counters,
            timeout: limits.timeout,
            calls: places(),
            logs: places(),
            large: Semaphore::new(LARGE_REQUESTS),
        }
    }

    /// Answers one stream. `limited`: the connection is over its rate.
    pub(crate) async fn answer(&self, from: NodeId, mut send: SendStream, mut recv: RecvStream, limited: bool) {
        let request = match timeout(TRANSFER_TIMEOUT, read_request(&mut recv, &self.large)).await {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => return self.refuse_stream(from, send, &error).await,
            Err(_) => {
                tracing::debug!(%from, "a request did not come in time");
                return;
            }
        };
        // Free for the next caller once the request is here: nothing more is read from this stream.
        drop(recv);
        let (kind, bytes) = request;
        let places = if kind == StreamKind::Logs {
            &self.logs
        } else {
            &self.calls
        };
        let Some(place) = self.place(places, limited) else {
            let busy = PeerError::new(ErrorCode::TooMany, "too many calls; try again in a moment");
            return self.refuse(kind, send, busy).await;
        };
        match kind {
            StreamKind::Call => self.answer_call(from, send, &bytes).await,
            StreamKind::Logs => self.answer_logs(from, send, &bytes).await,
            StreamKind::OfferPage => self.answer_offers(&mut send, &bytes).await,
            StreamKind::OfferDetails => self.answer_details(&mut send, &bytes).await,
        }
        drop(place);
    }

    fn place(&self, places: &Arc<Semaphore>, limited: bool) -> Option<OwnedSemaphorePermit> {
        if limited {
            None
        } else {
            places.clone().try_acquire_owned().ok()
        }
    }

    async fn answer_call(&self, from: NodeId, mut send: SendStream, bytes: &[u8]) {
        let request = match decode::<Request>(bytes) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%from, %error, "a call could not be decoded");
                return self.refuse(StreamKind::Call, send, bad_request()).await;
            }
        };
        let response = match timeout(self.timeout, self.handler.call(from, request)).await {
            Ok(response) => response,
            Err(_) => {
                tracing::warn!(%from, "answering a call took too long");
                Response::Error(internal())
            }
        };
        let mut bytes = encode(&response);
        if bytes.len() > MAX_MESSAGE_BYTES {
            tracing::error!(%from, len = bytes.len(), "an answer is too large to send");
            bytes = encode(&Response::Error(internal()));
        }
        bump(&self.counters.calls_answered);
        write_in_time(&mut send, &bytes).await;
    }

    async fn answer_logs(&self, from: NodeId, send: SendStream, bytes: &[u8]) {
        let Ok(request) = decode::<LogsRequest>(bytes) else {
            return self.refuse(StreamKind::Logs, send, bad_request()).await;
        };
        let mut sink = LogSink::new(send);
        let gone = sink.gone();
        let result = tokio::select! {
            result = self.handler.logs(from, request, &mut sink) => result,
            () = gone => return,
        };
        bump(&self.counters.calls_answered);
        match result {
            Ok(()) => sink.end(FrameTag::End, &[]).await,
            Err(error) => sink.end(FrameTag::Refused, &encode(&error)).await,
        }
    }

    async fn answer_offers(&self, send: &mut SendStream, bytes: &[u8]) {
        // An undecodable request for offers comes from no honest node; it gets an empty stream.
        let Ok(request) = decode::<PageRequest>(bytes) else {
            return bump(&self.counters.calls_refused);
        };
        let page = {
            let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
            answer_page(&engine, Instant::now(), request)
        };
        write_in_time(send, &page).await;
    }

    async fn answer_details(&self, send: &mut SendStream, bytes: &[u8]) {
        let request = decode::<DetailsRequest>(bytes).ok();
        let Some(request) = request.filter(|request| request.wanted.len() <= MAX_ASKED) else {
            return bump(&self.counters.calls_refused);
        };
        let (answer, details) = oneshot::channel();
        // Too many ask: this one hears that nothing is here, and asks another.
        let details = match self.asked.try_send(Asked { request, answer }) {
            Ok(()) => details.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        write_in_time(send, &encode(&DetailsAnswer { details })).await;
    }

    async fn refuse_stream(&self, from: NodeId, send: SendStream, error: &StreamError) {
        tracing::debug!(%from, %error, "a stream was refused");
        let answer = match error {
            StreamError::TooLarge { limit } => PeerError::new(
                ErrorCode::BadRequest,
                format!("the message has more than {limit} bytes"),
            ),
            StreamError::Kind => bad_request(),
            StreamError::Tag { .. } | StreamError::Cut | StreamError::Read(_) | StreamError::Write(_) => return,
        };
        self.refuse(StreamKind::Call, send, answer).await;
    }

    async fn refuse(&self, kind: StreamKind, mut send: SendStream, error: PeerError) {
        bump(&self.counters.calls_refused);
        match kind {
            StreamKind::Call => write_in_time(&mut send, &encode(&Response::Error(error))).await,
            StreamKind::Logs => LogSink::new(send).end(FrameTag::Refused, &encode(&error)).await,
            StreamKind::OfferPage | StreamKind::OfferDetails => {}
        }
    }
}

async fn write_in_time(send: &mut SendStream, bytes: &[u8]) {
    if let Ok(Err(error)) = timeout(TRANSFER_TIMEOUT, write_message(send, bytes)).await {
        tracing::debug!(%error, "an answer could not be sent");
    }
}

fn bad_request() -> PeerError {
    PeerError::new(
        ErrorCode::BadRequest,
        "the message is not one that this node understands",
    )
}

fn internal() -> PeerError {
    PeerError::new(ErrorCode::Internal, "this node could not answer")
}

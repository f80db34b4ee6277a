//! What peers ask of this node: each call goes to the provider, the renter or the watch-tower that it is for.

use crate::{node::Node, provider::Gate};
use futures_util::future::{BoxFuture, FutureExt};
use gpux_net::{CallHandler, LogSink};
use gpux_proto::{ErrorCode, LogsRequest, PeerError, Request, Response};
use gpux_types::NodeId;
use std::sync::{Arc, OnceLock, Weak};

/// Answers peers. Until the daemon is complete it asks them to come again.
#[derive(Debug, Default)]
pub struct Peers {
    node: OnceLock<Weak<Node>>,
}

impl Peers {
    /// From now on calls are answered by `node`.
    pub(crate) fn connect(&self, node: &Arc<Node>) {
        // A second call would change nothing; there is none.
        let _ = self.node.set(Arc::downgrade(node));
    }

    fn node(&self) -> Result<Arc<Node>, PeerError> {
        let node = self.node.get().and_then(Weak::upgrade);
        node.ok_or_else(|| PeerError::new(ErrorCode::TooMany, "this node is starting or stopping; try again"))
    }

    async fn answer(&self, from: NodeId, request: Request) -> Result<Response, PeerError> {
        let node = self.node()?;
        match request {
            Request::Meter(report) => return node.renter.sign_receipt(from, report).await,
            Request::PartReport(report) => return node.renter.part_report(from, report).await,
            Request::Closing(offer) => return node.renter.closing_offered(from, offer).await,
            Request::Record(signed) => return crate::records::answer(&node, from, *signed),
            Request::Watch(handover) => return node.watch.take(&node, from, *handover).await,
            Request::Quote(_)
            | Request::Release(_)
            | Request::Lease(_)
            | Request::Part(..)
            | Request::Stand(..)
            | Request::Go(_)
            | Request::CancelPart(_)
            | Request::WillClose(_)
            | Request::Stop(_)
            | Request::Status(_) => {}
        }
        let provider = node.provider.as_ref();
        let provider = provider.ok_or_else(|| PeerError::new(ErrorCode::Unsupported, "this node sells nothing"))?;
        match request {
            Request::Quote(request) => provider.quote(&node, from, &request).await,
            Request::Release(asked) => provider.take_back(from, asked, node.clock.now()),
            Request::Lease(request) => provider.lease(&node, from, *request),
            Request::Part(lease, part) => provider.part(from, lease, (part, Gate::Open)).await,
            Request::Stand(lease, part) => provider.part(from, lease, (part, Gate::Closed)).await,
            Request::Go(go) => provider.go(from, go).await,
            Request::WillClose(lease) => provider.will_close(from, lease).await,
            Request::CancelPart(cancel) => provider.cancel_part(from, cancel).await,
            Request::Stop(stop) => provider.stop(from, stop).await,
            Request::Status(lease) => provider.status(from, lease),
            Request::Meter(_)
            | Request::PartReport(_)
            | Request::Closing(_)
            | Request::Record(_)
            | Request::Watch(_) => Err(PeerError::new(ErrorCode::BadRequest, "not understood")),
        }
    }
}

impl CallHandler for Peers {
    fn call(&self, from: NodeId, request: Request) -> BoxFuture<'_, Response> {
        async move { self.answer(from, request).await.unwrap_or_else(Response::Error) }.boxed()
    }

    fn logs<'a>(
        &'a self,
        from: NodeId,
        request: LogsRequest,
        sink: &'a mut LogSink,
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        async move {
            let node = self.node()?;
            match &node.provider {
                Some(provider) => provider.logs(&node, from, request, sink).await,
                None => Err(PeerError::new(ErrorCode::Unsupported, "this node sells nothing")),
            }
        }
        .boxed()
    }
}

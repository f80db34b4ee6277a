//! What a renter's daemon asks of a lease that it has here: each call goes to the lease's own task, or is answered from what that
//! task tells. A stranger does not learn which leases are here.

use super::{Entry, Gate, LeaseInput, Provider, meter, parts};
use crate::node::Node;
use gpux_net::LogSink;
use gpux_proto::{CancelPart, ErrorCode, GoPart, LogsRequest, PartSpec, PeerError, Response, StopRequest};
use gpux_types::{LeaseId, NodeId};
use tokio::sync::oneshot;

impl Provider {
    fn entry(&self, from: NodeId, lease: LeaseId) -> Result<Entry, PeerError> {
        let entry = self.lock().leases.get(&lease).cloned();
        match entry {
            Some(entry) if entry.renter_node == from => Ok(entry),
            // A stranger does not learn which leases are here.
            _ => Err(PeerError::new(
                ErrorCode::NoSuchLease,
                "there is no such lease of yours here",
            )),
        }
    }

    /// Gives a part to a lease, or a rank that is to wait at its gate.
    pub(crate) async fn part(
        &self,
        from: NodeId,
        lease: LeaseId,
        (part, gate): (PartSpec, Gate),
    ) -> Result<Response, PeerError> {
        if !parts::is_bounded(&part) {
            return Err(PeerError::new(
                ErrorCode::BadRequest,
                "the part's own environment is too large",
            ));
        }
        let (reply, answer) = oneshot::channel();
        self.tell(from, lease, LeaseInput::PartGiven(part, gate, reply)).await?;
        let gone = |_| PeerError::new(ErrorCode::NoSuchLease, "the lease is over");
        answer.await.map_err(gone)?.map(|()| Response::Accepted)
    }

    /// Opens the gate of a rank.
    pub(crate) async fn go(&self, from: NodeId, go: GoPart) -> Result<Response, PeerError> {
        let key = gpux_runtime::PartKey {
            part: go.part,
            attempt: go.attempt,
        };
        let (reply, answer) = oneshot::channel();
        self.tell(from, go.lease, LeaseInput::PartGoes(key, reply)).await?;
        let gone = |_| PeerError::new(ErrorCode::NoSuchLease, "the lease is over");
        answer.await.map_err(gone)?.map(|()| Response::Accepted)
    }

    /// Ends one try of a part, whose result is not wanted any more.
    pub(crate) async fn cancel_part(&self, from: NodeId, cancel: CancelPart) -> Result<Response, PeerError> {
        let key = gpux_runtime::PartKey {
            part: cancel.part,
            attempt: cancel.attempt,
        };
        self.tell(from, cancel.lease, LeaseInput::PartCancelled(key)).await
    }

    /// The renter will close a lease itself.
    pub(crate) async fn will_close(&self, from: NodeId, lease: LeaseId) -> Result<Response, PeerError> {
        self.tell(from, lease, LeaseInput::ClosingWanted).await
    }

    /// Ends a lease for its renter.
    pub(crate) async fn stop(&self, from: NodeId, stop: StopRequest) -> Result<Response, PeerError> {
        let done = stop.is_done();
        self.tell(from, stop.lease, LeaseInput::StopAsked { done }).await
    }

    async fn tell(&self, from: NodeId, lease: LeaseId, input: LeaseInput) -> Result<Response, PeerError> {
        let entry = self.entry(from, lease)?;
        let gone = |_| PeerError::new(ErrorCode::NoSuchLease, "the lease is over");
        entry
            .inputs
            .send(input)
            .await
            .map(|()| Response::Accepted)
            .map_err(gone)
    }

    /// How a lease is.
    pub(crate) fn status(&self, from: NodeId, lease: LeaseId) -> Result<Response, PeerError> {
        let entry = self.entry(from, lease)?;
        // It asks again soon: one of its questions may be lost on a task that has more to do.
        let _ = entry.inputs.try_send(LeaseInput::RenterHeard);
        let report = entry.report.borrow().clone();
        Ok(Response::Status(Box::new(report)))
    }

    /// Sends the log of one part, and goes on until the part is over when that was asked for.
    pub(crate) async fn logs(
        &self,
        node: &Node,
        from: NodeId,
        request: LogsRequest,
        sink: &mut LogSink,
    ) -> Result<(), PeerError> {
        self.entry(from, request.lease)?;
        let gone = || PeerError::new(ErrorCode::NoSuchLease, "there is no log of that part");
        let local = node.local.as_ref().ok_or_else(gone)?;
        let key = gpux_runtime::PartKey {
            part: request.part,
            attempt: request.attempt,
        };
        let mut offset = request.offset;
        let mut pace = meter::LOG_PACE_MIN;
        loop {
            let chunk = local
                .runtime
                .logs(request.lease, key, offset)
                .await
                .map_err(|_| gone())?;
            if !chunk.bytes.is_empty() && sink.send(&chunk.bytes).await.is_err() {
                return Ok(());
            }
            let more = chunk.next > offset;
            offset = chunk.next;
            if chunk.ended || (!more && !request.follow) {
                return Ok(());
            }
            if more {
                pace = meter::LOG_PACE_MIN;
            } else {
                tokio::time::sleep(pace).await;
                pace = (pace * 2).min(meter::LOG_PACE_MAX);
            }
        }
    }
}

//! Calls to the nodes of a job that are worth more than one try. Called by whoever gives a node something that it must have.
//!
//! Which refusals are worth another try is the wire's to say: [`CallError::retry`].

use crate::node::Node;
use gpux_net::{CallError, Retry};
use gpux_proto::{Request, Response};
use gpux_types::NodeId;
use std::time::Duration;

/// How often a call is made before it counts as the node's fault.
pub(super) const TRIES: u32 = 30;
/// The least pause between two tries: a stream that breaks at once would use all of them up.
const AGAIN: Duration = Duration::from_secs(1);

/// Calls a node until it answers, refuses for good, or was called so often. The call must be one that does no harm twice.
pub(super) async fn call_until(
    node: &Node,
    peer: NodeId,
    request: &Request,
    tries: u32,
) -> Result<Response, CallError> {
    let mut made = 0;
    loop {
        let error = match node.net.call(peer, request).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        made += 1;
        let Some(pause) = pause(&error).filter(|_| made < tries) else {
            return Err(error);
        };
        tracing::debug!(node = %peer.short(), error = %crate::error_chain(&error), "calling a node again");
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before another try; nothing where none is worth it.
fn pause(error: &CallError) -> Option<Duration> {
    match error.retry() {
        Retry::Never => None,
        Retry::Now => Some(AGAIN),
        Retry::After(pause) => Some(pause.max(AGAIN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_proto::{ErrorCode, PeerError};

    #[test]
    fn a_node_whose_disk_is_full_for_a_second_is_called_again_and_one_that_refuses_for_good_is_not() {
        let peer = NodeId([7; 32]);
        let after_refusal = |code| {
            let source = PeerError::new(code, "no");
            pause(&CallError::Refused { peer, source })
        };
        for passing in [ErrorCode::TooMany, ErrorCode::Internal] {
            assert!(after_refusal(passing) >= Some(AGAIN), "{passing:?}");
        }
        for definite in [ErrorCode::QuoteGone, ErrorCode::NoSuchLease, ErrorCode::BadRequest] {
            assert_eq!(after_refusal(definite), None, "{definite:?}");
        }
        assert!(pause(&CallError::TimedOut { peer, after: AGAIN }) >= Some(AGAIN));
    }
}

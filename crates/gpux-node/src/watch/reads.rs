//! Whose turn it is to have the chain read for what it hands over: one for each node, so many at once, in the order of coming.
//!
//! Nothing bounds how many strangers there are, nor needs a lease be there that somebody hands over. So strangers wait for each other
//! alone: nodes for which this tower watches already, at the price of a place, have turns of their own.

use gpux_types::NodeId;
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// How many are served at once, of strangers and of the others each.
const AT_ONCE: usize = 4;
/// How many of each are here at once, served or waiting. Together half of what a node answers at once: other calls find a place.
const HERE: usize = 64;
/// How long one waits for its turn: half as long as a caller waits for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Queue {
    here: Semaphore,
    served: Semaphore,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            here: Semaphore::new(HERE),
            served: Semaphore::new(AT_ONCE),
        }
    }
}

/// Both queues.
#[derive(Debug, Default)]
pub(super) struct Reads {
    strangers: Queue,
    known: Queue,
    /// Who has a turn or waits for one.
    nodes: Mutex<BTreeSet<NodeId>>,
}

/// Leave to read for one node; over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _served: SemaphorePermit<'a>,
    _here: SemaphorePermit<'a>,
    _of_node: OfNode<'a>,
}

#[derive(Debug)]
struct OfNode<'a>(&'a Reads, NodeId);

impl Drop for OfNode<'_> {
    fn drop(&mut self) {
        self.0.nodes().remove(&self.1);
    }
}

impl Reads {
    fn nodes(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a node; nothing when it has one already, or none comes in time.
    pub(super) async fn turn(&self, from: NodeId, known: bool) -> Option<Turn<'_>> {
        let first = self.nodes().insert(from);
        let of_node = first.then(|| OfNode(self, from))?;
        let queue = if known { &self.known } else { &self.strangers };
        let here = queue.here.try_acquire().ok()?;
        let served = timeout(PATIENCE, queue.served.acquire()).await.ok()?.ok()?;
        Some(Turn {
            _served: served,
            _here: here,
            _of_node: of_node,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::join_all};
    use tokio::time::sleep;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_has_one_turn_at_a_time_and_a_crowd_of_strangers_takes_none_from_those_it_watches_for() {
        let reads = Reads::default();
        let mut crowd = Vec::new();
        for stranger in 0..4 {
            crowd.push(reads.turn(node(stranger), false).await.unwrap());
        }
        assert!(reads.turn(node(0), false).await.is_none(), "one at a time");
        assert!(reads.turn(node(0), true).await.is_none(), "whichever the queue");
        let waited = reads.turn(node(4), false);
        assert!(waited.await.is_none(), "none came in time");
        for known in 10..14 {
            crowd.push(reads.turn(node(known), true).now_or_never().unwrap().unwrap());
        }
        drop(crowd);
        let again = [0, 4].map(|stranger| reads.turn(node(stranger), false));
        assert!(
            join_all(again).await.iter().all(Option::is_some),
            "what is over is over"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_the_order_of_coming_and_no_more_than_there_is_room_for_wait() {
        let reads = Reads::default();
        let served = Mutex::new(Vec::new());
        let read = async |stranger: u8| {
            let turn = reads.turn(node(stranger), false).await;
            if turn.is_some() {
                sleep(Duration::from_millis(200)).await;
                served.lock().unwrap().push(stranger);
            }
            turn.is_some()
        };
        let all = join_all((0..100).map(read)).await;
        assert_eq!(all, (0..100).map(|stranger| stranger < 64).collect::<Vec<bool>>());
        assert_eq!(*served.lock().unwrap(), (0..64).collect::<Vec<u8>>());
    }
}

//! The turns that are under way: each ends with a word about its record, also one that panics.
//!
//! Called by the task that keeps records.

use super::rounds::Key;
use std::{collections::HashMap, future::Future};
use tokio::task::{Id, JoinSet};

/// Work on records, each in a task of its own. Dropped, it ends them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tasks: JoinSet<bool>,
    keys: HashMap<Id, Key>,
}

impl Turns {
    /// Starts one; it gives whether its record is over.
    pub(super) fn start(&mut self, key: Key, turn: impl Future<Output = bool> + Send + 'static) {
        let id = self.tasks.spawn(turn).id();
        self.keys.insert(id, key);
    }

    /// The next that ends: whose it was, and whether the record is over. Nothing while none is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(Key, bool)> {
        let (id, over) = match self.tasks.join_next_with_id().await? {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(error = %crate::error_chain(&error), "bringing a closing record on");
                (error.id(), false)
            }
        };
        self.keys.remove(&id).map(|key| (key, over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_lease::Side;
    use gpux_types::LeaseId;

    #[tokio::test]
    async fn a_turn_that_panics_ends_like_one_that_brought_nothing() {
        let key = |byte| (Side::Provider, LeaseId([byte; 32]));
        let mut turns = Turns::default();
        assert_eq!(turns.next().await, None);
        turns.start(key(1), async { unreachable!("on purpose") });
        assert_eq!(turns.next().await, Some((key(1), false)));
        turns.start(key(2), async { true });
        assert_eq!(turns.next().await, Some((key(2), true)));
    }
}

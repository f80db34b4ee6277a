//! One intent on its way: its signed versions, where they are, and who waits for them.

use super::{Effect, Progress, Reply, Status, version::Version};
use crate::{call::IntentKey, sender::Sent};
use tokio::{sync::watch, time::Instant};

/// One intent on its way.
pub(super) struct Track {
    /// Every signed transaction for it, oldest first; never empty. All but the newest nonce are superseded.
    pub(super) versions: Vec<Version>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) replies: Vec<Reply>,
    /// When the newest version was last handed to the chain node.
    pub(super) sent_at: Instant,
    /// False when it may not have arrived there.
    pub(super) delivered: bool,
    /// How often any version was handed over.
    pub(super) handed_over: u32,
    /// Since when its nonce seems to have gone to another transaction.
    pub(super) lost_since: Option<Instant>,
}

impl Track {
    pub(super) fn new(now: Instant) -> Self {
        let (progress, _) = watch::channel(Progress {
            status: Status::Pending,
        });
        Self {
            versions: Vec::new(),
            progress,
            replies: Vec::new(),
            sent_at: now,
            delivered: true,
            handed_over: 1,
            lost_since: None,
        }
    }

    pub(super) fn newest(&self) -> &Version {
        self.versions
            .last()
            .expect("a track is made with its first version and keeps it")
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.progress.borrow().status, Status::Pending)
    }

    /// True when the same intent may be signed anew: this attempt has failed.
    pub(super) fn is_over(&self) -> bool {
        match &self.progress.borrow().status {
            Status::Pending => false,
            Status::Mined { mined, .. } => !mined.succeeded,
            Status::Refused => true,
        }
    }

    /// True when its effects are not in what was read at `block`.
    pub(super) fn is_unseen(&self, block: u64) -> bool {
        match &self.progress.borrow().status {
            Status::Pending => true,
            Status::Mined { mined, .. } => mined.succeeded && mined.block > block,
            Status::Refused => false,
        }
    }

    /// Answers a repeated send of the same intent.
    pub(super) fn answer_again(&mut self, key: &IntentKey, now: Instant, reply: Reply) -> Vec<Effect> {
        if self.is_pending() && self.replies.is_empty() {
            self.replies.push(reply);
            return self.hand_over_again(key, now).into_iter().collect();
        }
        if self.is_pending() {
            // It is just being handed over for somebody else.
            self.replies.push(reply);
        } else {
            let _ = reply.send(Ok(Sent {
                hash: self.newest().entry.hash,
            }));
        }
        Vec::new()
    }

    /// The same bytes once more, if they are in no block.
    pub(super) fn hand_over_again(&mut self, key: &IntentKey, now: Instant) -> Option<Effect> {
        if !self.is_pending() {
            return None;
        }
        self.sent_at = now;
        self.handed_over = self.handed_over.saturating_add(1);
        Some(self.newest().publish(key, false))
    }
}

//! One intent on its way: its signed versions, where they are, and who waits for them.

use super::{Effect, Progress, Reply, Status, version::Version};
use crate::{
    call::IntentKey,
    confirm::Depth,
    journal::{EntryState, JournalEntry},
    mined::Mined,
    sender::Sent,
};
use tokio::{sync::watch, time::Instant};

/// One intent on its way.
pub(super) struct Track {
    /// Every signed transaction for it, oldest first; never empty. All but the newest nonce are used up for ever, or too
    /// far ahead, and then the call is of those that take effect once by themselves.
    pub(super) versions: Vec<Version>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) replies: Vec<Reply>,
    /// True while the newest version is being journaled or handed over: neither may happen twice at once, and nothing
    /// may overtake the journal.
    pub(super) handing_over: bool,
    /// False when the newest version may not have arrived at the chain node.
    pub(super) delivered: bool,
    /// True when a chain node may have kept some version.
    pub(super) maybe_out: bool,
    pub(super) waits: Option<Waits>,
    /// Since when its nonce is used up for ever by a transaction that is not among the versions, or too far ahead of what
    /// the chain counts, as it seems.
    pub(super) lost_since: Option<Instant>,
    /// Since when a block is said to be final in which it was reverted.
    pub(super) reverted_since: Option<Instant>,
    /// The newest version was refused, and an older one, or it at an earlier time, was not.
    pub(super) turned_away: bool,
    /// How often it was estimated again for that, and when last.
    pub(super) estimated: (u32, Option<Instant>),
    /// True while it is found out whether its call still works.
    pub(super) simulating: bool,
}

/// How long the newest version has waited for its block.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    /// Since when; starts anew whenever it is handed over.
    pub(super) since: Instant,
    /// The newest block when that was first looked at.
    pub(super) from_block: u64,
    /// Whether the same bytes were handed over once more.
    pub(super) handed_over_again: bool,
}

impl Track {
    pub(super) fn new() -> Self {
        let (progress, _) = watch::channel(Progress {
            status: Status::Pending,
        });
        Self {
            versions: Vec::new(),
            progress,
            replies: Vec::new(),
            handing_over: false,
            delivered: true,
            maybe_out: false,
            waits: None,
            lost_since: None,
            reverted_since: None,
            turned_away: false,
            estimated: (0, None),
            simulating: false,
        }
    }

    pub(super) fn newest(&self) -> &Version {
        self.versions
            .last()
            .expect("a track is made with its first version and keeps it")
    }

    /// The only nonce under which it can still take effect.
    pub(super) fn nonce(&self) -> u64 {
        self.newest().nonce()
    }

    /// The tip of the first version under the present nonce.
    pub(super) fn first_tip(&self) -> u128 {
        let nonce = self.nonce();
        let first = self.versions.iter().find(|version| version.nonce() == nonce);
        first.map_or(0, |version| version.fees().tip)
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.progress.borrow().status, Status::Pending)
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self.progress.borrow().status, Status::Refused)
    }

    pub(super) fn is_mined(&self) -> bool {
        matches!(self.progress.borrow().status, Status::Mined { .. })
    }

    /// True when this attempt has failed, as it seems; whether the intent may be signed anew is for
    /// [`super::Book::claim`] to say.
    pub(super) fn is_over(&self) -> bool {
        match &self.progress.borrow().status {
            Status::Pending => false,
            Status::Mined { mined, .. } => !mined.succeeded,
            Status::Refused => true,
        }
    }

    /// False while nothing of it can have left this machine: whoever tells of a block with it lies.
    pub(super) const fn may_have_left(&self) -> bool {
        self.maybe_out || !self.handing_over
    }

    /// True when its effects are not in what was read at `block`.
    pub(super) fn is_unseen(&self, block: u64) -> bool {
        match &self.progress.borrow().status {
            Status::Pending => true,
            Status::Mined { mined, .. } => mined.succeeded && mined.block > block,
            Status::Refused => false,
        }
    }

    pub(super) fn set_status(&self, status: Status) {
        self.progress.send_replace(Progress { status });
    }

    /// True when this is news for the journal.
    pub(super) fn set_mined(&mut self, mined: Mined, depth: Depth) -> bool {
        let (before_hash, before_depth) = match &self.progress.borrow().status {
            Status::Mined { mined, depth } => (Some(mined.block_hash), Some(*depth)),
            Status::Pending | Status::Refused => (None, None),
        };
        let news = before_hash != Some(mined.block_hash);
        if news || before_depth != Some(depth) {
            self.set_status(Status::Mined {
                mined: Box::new(mined),
                depth,
            });
        }
        news
    }

    /// What the journal keeps when the same has become of every version.
    pub(super) fn all_are(&self, state: EntryState) -> Vec<JournalEntry> {
        let entries = self.versions.iter().map(|version| version.entry.clone());
        entries.map(|entry| entry.with(state)).collect()
    }

    /// Takes a version that was just signed, to journal it and hand it over.
    pub(super) fn add(&mut self, key: &IntentKey, version: Version) -> Effect {
        let effect = version.publish(key, true);
        self.versions.push(version);
        self.set_status(Status::Pending);
        self.handing_over = true;
        self.delivered = true;
        self.waits = None;
        self.lost_since = None;
        self.turned_away = false;
        effect
    }

    /// Answers a repeated send of the same intent.
    pub(super) fn answer_again(&mut self, key: &IntentKey, reply: Reply) -> Vec<Effect> {
        if self.is_pending() {
            self.replies.push(reply);
            return self.hand_over_again(key).into_iter().collect();
        }
        let _ = reply.send(Ok(Sent {
            hash: self.newest().entry.hash,
        }));
        Vec::new()
    }

    /// The same bytes once more, if they are in no block and are not just being handed over.
    pub(super) fn hand_over_again(&mut self, key: &IntentKey) -> Option<Effect> {
        if !self.is_pending() || self.handing_over {
            return None;
        }
        self.handing_over = true;
        Some(self.newest().publish(key, false))
    }
}

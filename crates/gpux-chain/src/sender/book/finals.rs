//! What final blocks are said to hold of this wallet, and what is done when the chain counts less. `follow` calls it.
//!
//! One false receipt must not end an intent for ever: its nonce would stay unused, and all after it would wait. So the
//! transactions of the newest final nonces are kept. When the chain counts fewer than they are, twice and a while apart,
//! they are as before they were final: the same bytes under the same nonce, of which the chain takes one.

use super::{Book, Effect, Poll, Status, Track, version::Version};
use crate::{
    call::IntentKey,
    journal::{EntryState, JournalEntry},
    sender::prepare::MOST_WAITING,
};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// So many nonces are kept: a wallet stops at the first that is not used up, and has fewer than this on their way.
const KEPT: u64 = MOST_WAITING;

/// The transactions of the newest final nonces.
#[derive(Default)]
pub(super) struct Finals {
    /// Those that are said to be final, and the other versions of the same intents, as they are in the journal.
    by_nonce: BTreeMap<u64, Vec<JournalEntry>>,
    /// Since when the chain counts fewer.
    doubted_since: Option<Instant>,
    /// Whether the count has not been heard since the program began, or since somebody asked again for what is done.
    unheard: bool,
}

impl Finals {
    pub(super) fn keep(&mut self, entry: JournalEntry) {
        let kept = self.by_nonce.entry(entry.nonce).or_default();
        kept.retain(|known| known.hash != entry.hash);
        kept.push(entry);
        while self.by_nonce.len() as u64 > KEPT {
            self.by_nonce.pop_first();
        }
    }

    /// The nonce after the last that was used up for ever.
    pub(super) fn used_up(&self) -> u64 {
        let newest = self.by_nonce.iter().rev();
        let mut newest = newest.filter(|(_, entries)| entries.iter().any(is_final));
        newest.next().map_or(0, |(nonce, _)| nonce.saturating_add(1))
    }

    /// The next poll hears the count, also if nothing is on its way.
    pub(super) fn look_again(&mut self) {
        self.unheard = !self.by_nonce.is_empty();
    }

    /// Whether a poll is wanted when nothing is on its way.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.unheard || self.doubted_since.is_some()
    }
}

fn is_final(entry: &JournalEntry) -> bool {
    matches!(entry.state, EntryState::Final { .. })
}

impl Book {
    /// Takes back what was said to be final, when the chain counts fewer transactions than that.
    pub(super) fn doubt_finals(&mut self, now: Instant, poll: &Poll) -> Vec<Effect> {
        self.finals.unheard = false;
        if poll.count >= self.finals.used_up() {
            self.finals.doubted_since = None;
            return Vec::new();
        }
        let since = *self.finals.doubted_since.get_or_insert(now);
        if now.duration_since(since) < self.config.bump_after {
            return Vec::new();
        }
        self.finals.doubted_since = None;
        self.resynchronise();
        let mut intents: BTreeMap<IntentKey, Vec<JournalEntry>> = BTreeMap::new();
        for entry in self.finals.by_nonce.split_off(&poll.count).into_values().flatten() {
            intents.entry(entry.key.clone()).or_default().push(entry);
        }
        intents.retain(|_, entries| entries.iter().any(is_final));
        intents
            .into_iter()
            .flat_map(|(key, entries)| self.take_back(key, entries))
            .collect()
    }

    fn take_back(&mut self, key: IntentKey, entries: Vec<JournalEntry>) -> Vec<Effect> {
        let is_done = |entry: &JournalEntry| self.done.get(&key).is_some_and(|done| done.hash == entry.hash);
        if entries.iter().any(is_done) {
            self.done.remove(&key);
        }
        if self.tracks.contains_key(&key) || self.done.contains_key(&key) {
            tracing::error!(%key, "a final block took back what was reverted in it, after the intent was signed anew");
            let void = entries.into_iter().filter(is_final);
            return void
                .map(|entry| Effect::Record(entry.with(EntryState::Superseded)))
                .collect();
        }
        let back: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.with(EntryState::Signed))
            .filter_map(Version::decode)
            .collect();
        let Some(newest) = back.last() else {
            return Vec::new();
        };
        tracing::error!(%key, nonce = newest.nonce(), "the chain counts less than what it called final; sending the same bytes again");
        let records = back.iter().map(|version| Effect::Record(version.entry.clone()));
        let mut effects: Vec<_> = records.collect();
        let mut track = Track::new();
        track.maybe_out = true;
        track.versions = back;
        track.set_status(Status::Pending);
        effects.extend(track.hand_over_again(&key));
        self.tracks.insert(key, track);
        effects
    }
}

//! When open records are brought on: so many at once, the new ones first, those whose other side is silent ever more seldom. Pure.
//!
//! Called by the task that keeps records. It knows no record, only which are open.

use gpux_lease::Side;
use gpux_types::{LeaseId, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// How many records are brought on at once.
const AT_ONCE: usize = 16;
/// How soon a renter that did not answer is asked again; twice as long each time, up to the longest.
const FIRST_PAUSE: Millis = Millis::from_secs(2);
pub(super) const LONGEST_PAUSE: Millis = Millis::from_secs(60);

/// Whose record of which lease.
pub(super) type Key = (Side, LeaseId);

#[derive(Debug)]
struct Turn {
    due: Millis,
    /// How long to wait after the next try.
    pause: Millis,
    under_way: bool,
}

/// The open records that were seen.
#[derive(Debug, Default)]
pub(super) struct Rounds(BTreeMap<Key, Turn>);

impl Rounds {
    /// Which of the open records are brought on now; they are under way until they are done. Those that were tried least often
    /// come first: none that is new waits for the silent. What is not open is forgotten, unless it is under way: were it started,
    /// nobody could bring it on, and its turn would never be over.
    pub(super) fn start(&mut self, open: impl Iterator<Item = Key>, now: Millis) -> Vec<Key> {
        let open: BTreeSet<Key> = open.collect();
        self.0.retain(|key, turn| turn.under_way || open.contains(key));
        for key in open {
            let new = Turn {
                due: now,
                pause: FIRST_PAUSE,
                under_way: false,
            };
            self.0.entry(key).or_insert(new);
        }
        let under_way = self.0.values().filter(|turn| turn.under_way).count();
        let due = |(_, turn): &(&Key, &mut Turn)| !turn.under_way && turn.due <= now;
        let mut due: Vec<_> = self.0.iter_mut().filter(due).collect();
        due.sort_by_key(|(_, turn)| (turn.pause, turn.due));
        let started = due.into_iter().take(AT_ONCE.saturating_sub(under_way));
        let started = started.map(|(key, turn)| {
            turn.under_way = true;
            *key
        });
        started.collect()
    }

    /// A record was brought on: it is over, or waits for its next turn.
    pub(super) fn done(&mut self, key: Key, over: bool, now: Millis) {
        if over {
            self.0.remove(&key);
        } else if let Some(turn) = self.0.get_mut(&key) {
            turn.under_way = false;
            turn.due = now.saturating_add(turn.pause);
            turn.pause = Millis(turn.pause.0.saturating_mul(2)).min(LONGEST_PAUSE);
        }
    }

    /// Whether no record is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: std::ops::Range<u8>) -> impl Iterator<Item = Key> {
        bytes.map(|byte| (Side::Provider, LeaseId([byte; 32])))
    }

    #[test]
    fn many_silent_renters_hold_up_no_new_record() {
        let mut rounds = Rounds::default();
        let first = rounds.start(keys(0..100), Millis(0));
        assert_eq!(first, keys(0..16).collect::<Vec<_>>(), "so many at once");
        assert_eq!(rounds.start(keys(0..100), Millis(1)), [], "none twice at the same time");
        first.into_iter().for_each(|key| rounds.done(key, false, Millis(2)));
        assert_eq!(rounds.start(keys(0..101), Millis(2)), keys(16..32).collect::<Vec<_>>());
        for key in keys(16..32) {
            rounds.done(key, false, Millis(3));
        }
        let new = (Side::Renter, LeaseId([200; 32]));
        for key in keys(32..101) {
            rounds.done(key, true, Millis(3));
        }
        let open = || keys(0..32).chain([new]);
        let next = rounds.start(open(), Millis(5_000));
        assert_eq!(
            (next.len(), next.first()),
            (AT_ONCE, Some(&new)),
            "the new one is first"
        );
    }

    #[test]
    fn what_cannot_be_read_for_a_while_takes_no_turn_that_is_never_over() {
        let mut rounds = Rounds::default();
        let first = rounds.start(keys(0..40), Millis(0));
        let unread = || std::iter::empty();
        assert_eq!(rounds.start(unread(), Millis(1)), []);
        for key in first {
            rounds.done(key, false, Millis(2));
        }
        assert_eq!(rounds.start(unread(), Millis::from_secs(100)), []);
        assert!(rounds.is_empty(), "nothing is known to be open");
        let again = rounds.start(keys(0..40), Millis::from_secs(200));
        assert_eq!(again.len(), AT_ONCE, "all turns are free");
    }

    #[test]
    fn who_is_silent_is_asked_ever_more_seldom_and_what_is_over_is_forgotten() {
        let mut rounds = Rounds::default();
        let mut asked = Vec::new();
        for second in 0..200 {
            let now = Millis::from_secs(second);
            for key in rounds.start(keys(0..1), now) {
                asked.push(second);
                rounds.done(key, false, now);
            }
        }
        assert_eq!(asked, [0, 2, 6, 14, 30, 62, 122, 182]);
        for key in rounds.start(keys(0..1), Millis::from_secs(1_000)) {
            rounds.done(key, true, Millis::from_secs(1_000));
        }
        assert!(rounds.is_empty());
    }
}

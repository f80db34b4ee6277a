//! What a watcher does not believe when it is told once: what could never be undone. Pure; the watcher asks with each look.

use super::LeaseSeen;
use crate::{
    client::{Slot, SlotStatus},
    rpc::RpcError,
};
use gpux_types::{LeaseId, UnixSeconds};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Blocks that are no more than this ahead of time are believed at once: clocks differ, and a sequencer may stamp ahead.
const LEAP: u64 = 3_600;
/// How long the newest block must show a lease as closed before an older one is believed to. Safe blocks are minutes behind, so
/// an honest node is believed at once.
const CLOSED_FOR: Duration = Duration::from_secs(30);

/// Compares the time of blocks with the time that went by here.
#[derive(Debug)]
pub(super) struct TimeGuard {
    /// What time it was at some moment: the wall's, the first block's, or that of a leap that was believed. Blocks that are a little
    /// ahead do not move it: one after the other they would go anywhere.
    known: Option<(UnixSeconds, Instant)>,
    told_for: Duration,
    /// Since when blocks are told that leap ahead, without one between them that does not.
    leaping: Option<Instant>,
}

impl TimeGuard {
    pub(super) fn new(date: Option<UnixSeconds>, told_for: Duration) -> Self {
        Self {
            known: date.map(|date| (date, Instant::now())),
            told_for,
            leaping: None,
        }
    }

    /// # Errors
    /// When the block's time is far ahead, and that was not told for long enough.
    pub(super) fn check(&mut self, time: UnixSeconds, now: Instant) -> Result<(), RpcError> {
        let expected = self
            .known
            .map(|(known, at)| known.plus_secs(now.duration_since(at).as_secs()));
        if expected.is_some_and(|expected| time > expected.plus_secs(LEAP)) {
            let since = *self.leaping.get_or_insert(now);
            if now.duration_since(since) < self.told_for {
                return Err(RpcError::Implausible {
                    method: "eth_getBlockByNumber",
                    what: "the newest block is more than an hour ahead of time",
                });
            }
            tracing::warn!(
                time = time.0,
                "the chain is ahead of time: it is believed, as it was told for long"
            );
            self.known = Some((time, now));
        }
        self.known.get_or_insert((time, now));
        self.leaping = None;
        Ok(())
    }
}

/// Since when the newest block shows leases as closed whose older blocks did not.
#[derive(Debug, Default)]
pub(super) struct Closings(BTreeMap<LeaseId, Instant>);

impl Closings {
    /// Puts what was known of deeper blocks in the place of a closing that was not told for long enough.
    pub(super) fn hold_back(&mut self, seen: &mut LeaseSeen, known: Option<&LeaseSeen>, now: Instant) {
        if seen.latest.status != SlotStatus::Closed {
            self.0.remove(&seen.lease);
        }
        let is_news = |deep: &Slot, known: Option<Slot>| {
            deep.status == SlotStatus::Closed && known.is_none_or(|known| known.status != SlotStatus::Closed)
        };
        let (safe, finalized) = (known.map(|known| known.safe), known.map(|known| known.finalized));
        let (of_safe, of_finalized) = (is_news(&seen.safe, safe), is_news(&seen.finalized, finalized));
        if seen.latest.status == SlotStatus::Closed {
            let since = *self.0.entry(seen.lease).or_insert(now);
            if now.duration_since(since) >= CLOSED_FOR {
                return;
            }
        }
        if of_safe {
            seen.safe = safe.unwrap_or_default();
        }
        if of_finalized {
            seen.finalized = finalized.unwrap_or_default();
        }
    }

    /// Forgets leases that are watched no more.
    pub(super) fn forget_all_but<T>(&mut self, watched: &BTreeMap<LeaseId, T>) {
        self.0.retain(|lease, _| watched.contains_key(lease));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Head;
    use gpux_types::{Amount, B256};

    const DAY: u64 = 86_400;

    fn later(from: Instant, secs: u64) -> Instant {
        from + Duration::from_secs(secs)
    }

    #[test]
    fn a_leap_of_time_is_believed_only_when_it_is_told_for_long() {
        let start = Instant::now();
        let mut guard = TimeGuard::new(Some(UnixSeconds(1_000_000)), Duration::from_secs(600));
        guard.check(UnixSeconds(1_000_000 + LEAP), start).unwrap();
        let far = UnixSeconds(1_000_000 + 30 * DAY);
        for secs in [2, 300, 601] {
            guard.check(far, later(start, secs)).unwrap_err();
        }
        // A block in time between them, and it must be told anew.
        guard.check(UnixSeconds(1_000_601), later(start, 601)).unwrap();
        guard.check(far, later(start, 700)).unwrap_err();
        guard.check(far, later(start, 1_299)).unwrap_err();
        guard.check(far, later(start, 1_300)).unwrap();
        guard.check(far.plus_secs(2), later(start, 1_302)).unwrap();
    }

    #[test]
    fn many_small_leaps_are_no_better_than_one() {
        let start = Instant::now();
        let mut guard = TimeGuard::new(Some(UnixSeconds(1_000_000)), Duration::from_secs(600));
        guard.check(UnixSeconds(1_000_000 + LEAP - 10), start).unwrap();
        guard
            .check(UnixSeconds(1_000_000 + 2 * LEAP - 20), later(start, 2))
            .unwrap_err();
    }

    #[test]
    fn a_chain_that_stood_still_may_catch_up_with_the_clock() {
        let start = Instant::now();
        let mut guard = TimeGuard::new(None, Duration::from_secs(600));
        guard.check(UnixSeconds(500), start).unwrap();
        guard.check(UnixSeconds(500), later(start, DAY)).unwrap();
        guard.check(UnixSeconds(500 + DAY), later(start, DAY)).unwrap();
        guard.check(UnixSeconds(500 + 2 * DAY), later(start, DAY)).unwrap_err();
    }

    fn slot(status: SlotStatus) -> Slot {
        Slot {
            deposit: Amount::new(50).unwrap(),
            claimed: Amount::ZERO,
            expiry: UnixSeconds(100),
            status,
        }
    }

    fn seen(slots: [SlotStatus; 3]) -> LeaseSeen {
        let [latest, safe, finalized] = slots.map(slot);
        LeaseSeen {
            lease: LeaseId([1; 32]),
            head: Head {
                number: 1,
                hash: B256::ZERO,
                parent: B256::ZERO,
                timestamp: UnixSeconds(1),
                base_fee: 1,
            },
            latest,
            safe,
            finalized,
        }
    }

    #[test]
    fn an_end_at_every_depth_is_believed_only_when_the_newest_block_shows_it_for_a_while() {
        use SlotStatus::{Closed, Open};
        let start = Instant::now();
        let (before, lie) = (seen([Open; 3]), seen([Closed; 3]));
        let mut closings = Closings::default();
        let mut told = |seen: LeaseSeen, known: Option<&LeaseSeen>, secs| {
            let mut heard = seen;
            closings.hold_back(&mut heard, known, later(start, secs));
            heard
        };
        let first = told(lie, Some(&before), 0);
        assert_eq!(
            (first.latest, first.safe, first.finalized),
            (lie.latest, before.safe, before.finalized)
        );
        assert_eq!(told(before, Some(&first), 29), before, "it was a lie");
        let again = told(lie, Some(&before), 40);
        assert_eq!(again.finalized, before.finalized, "told anew");
        assert_eq!(told(lie, Some(&again), 69).finalized, before.finalized);
        assert_eq!(told(lie, Some(&again), 70), lie);
        // Nothing was known of it.
        let unknown = LeaseSeen {
            lease: LeaseId([2; 32]),
            ..lie
        };
        assert_eq!(told(unknown, None, 80).finalized, Slot::default());
        assert_eq!(told(unknown, None, 110), unknown);
    }

    #[test]
    fn an_end_that_sinks_deeper_block_by_block_waits_for_nothing() {
        use SlotStatus::{Closed, Open};
        let start = Instant::now();
        let mut closings = Closings::default();
        let (fresh, safe) = (seen([Closed, Open, Open]), seen([Closed, Closed, Open]));
        let mut heard = fresh;
        closings.hold_back(&mut heard, None, start);
        assert_eq!(heard, fresh);
        let mut heard = safe;
        closings.hold_back(&mut heard, Some(&fresh), later(start, 60));
        assert_eq!(heard, safe);
    }
}

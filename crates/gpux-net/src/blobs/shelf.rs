//! Which blobs of senders stay here for their next leases, and which go for others: the rules alone, no store and no clock.
//!
//! Invariant: what is kept and what was let go but still lies on the disk are together never above the bound.

use super::store::BlobRef;
use gpux_types::{BlobHash, NodeId, UnixSeconds};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The most blobs that are kept, however small.
const MAX_BLOBS: usize = 65_536;

/// Who sent it, and what.
pub(crate) type Owned = (NodeId, BlobHash);

/// A blob that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How many bytes it has.
    pub(crate) size: u64,
    /// When a lease last worked with it.
    pub(crate) used: UnixSeconds,
}

/// What to keep and what to let go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Kept from now on, or kept with another time of use: what was known of it before.
    pub(crate) kept: Vec<(Owned, Kept, Option<Kept>)>,
    /// Let go.
    pub(crate) gone: Vec<(Owned, Kept)>,
}

/// The blobs that are kept, and those that were let go and are not deleted yet.
#[derive(Debug)]
pub(crate) struct Shelf {
    bytes: u64,
    age: Duration,
    kept: BTreeMap<Owned, Kept>,
    /// The same by time of use, the oldest first.
    order: BTreeSet<(UnixSeconds, Owned)>,
    live: u64,
    /// Bytes that were let go, and when they are deleted at the latest.
    going: Vec<(u64, Instant)>,
}

impl Shelf {
    /// An empty one of `bytes`, whose blobs go when no lease worked with them for `age`.
    pub(crate) const fn new(bytes: u64, age: Duration) -> Self {
        Self {
            bytes,
            age,
            kept: BTreeMap::new(),
            order: BTreeSet::new(),
            live: 0,
            going: Vec::new(),
        }
    }

    /// Whether it is kept.
    pub(crate) fn has(&self, owned: &Owned) -> bool {
        self.kept.contains_key(owned)
    }

    /// The bytes that are kept, and those on their way out.
    pub(crate) fn bytes(&self, now: Instant) -> (u64, u64) {
        let going = self.going.iter().filter(|(_, until)| *until > now);
        (self.live, going.fold(0, |sum, (size, _)| sum.saturating_add(*size)))
    }

    /// Puts down what an earlier daemon kept.
    pub(crate) fn adopt(&mut self, owned: Owned, kept: Kept) {
        self.put(owned, kept);
    }

    /// Keeps what of `blobs` of `sender` there is room for, as used at `date`. What is let go for it is deleted by `deleted`, and
    /// counts until then; so what finds no room now may find it later.
    pub(crate) fn place(
        &mut self,
        sender: NodeId,
        blobs: &[BlobRef],
        date: UnixSeconds,
        (now, deleted): (Instant, Instant),
    ) -> Moves {
        self.going.retain(|(_, until)| *until > now);
        let mut moves = Moves::default();
        let own: BTreeSet<Owned> = blobs.iter().map(|blob| (sender, blob.hash)).collect();
        for blob in blobs {
            let (owned, fresh) = kept_as(sender, blob, date);
            if let Some(before) = self.kept.get(&owned).copied() {
                self.put(owned, fresh);
                moves.kept.push((owned, fresh, (before != fresh).then_some(before)));
            }
        }
        let age = self.age.into();
        self.let_go(&mut moves, deleted, &own, |oldest, _| date.since(oldest) > age);
        for blob in blobs {
            let (owned, fresh) = kept_as(sender, blob, date);
            let Some(bound) = self.bytes.checked_sub(blob.size) else {
                continue;
            };
            if self.kept.contains_key(&owned) {
                continue;
            }
            self.let_go(&mut moves, deleted, &own, |_, shelf| {
                shelf.live > bound || shelf.kept.len() >= MAX_BLOBS
            });
            let (live, going) = self.bytes(now);
            if live.saturating_add(going) > bound || self.kept.len() >= MAX_BLOBS {
                continue;
            }
            self.put(owned, fresh);
            moves.kept.push((owned, fresh, None));
        }
        moves
    }

    /// Lets the least recently used go that are not `own`, while `wanted` says so of the time of its use.
    fn let_go(
        &mut self,
        moves: &mut Moves,
        deleted: Instant,
        own: &BTreeSet<Owned>,
        wanted: impl Fn(UnixSeconds, &Self) -> bool,
    ) {
        while let Some((used, owned)) = self.order.iter().find(|(_, owned)| !own.contains(owned)).copied() {
            if !wanted(used, self) {
                return;
            }
            if let Some(kept) = self.take(&owned) {
                self.going.push((kept.size, deleted));
                moves.gone.push((owned, kept));
            }
        }
    }

    fn put(&mut self, owned: Owned, kept: Kept) {
        self.take(&owned);
        self.order.insert((kept.used, owned));
        self.live = self.live.saturating_add(kept.size);
        self.kept.insert(owned, kept);
    }

    fn take(&mut self, owned: &Owned) -> Option<Kept> {
        let kept = self.kept.remove(owned)?;
        self.order.remove(&(kept.used, *owned));
        self.live = self.live.saturating_sub(kept.size);
        Some(kept)
    }
}

const fn kept_as(sender: NodeId, blob: &BlobRef, used: UnixSeconds) -> (Owned, Kept) {
    let kept = Kept { size: blob.size, used };
    ((sender, blob.hash), kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: NodeId = NodeId([1; 32]);
    const BOB: NodeId = NodeId([2; 32]);
    const DELETED: Duration = Duration::from_secs(600);

    fn blob(byte: u8, size: u64) -> BlobRef {
        let hash = BlobHash([byte; 32]);
        BlobRef { hash, size }
    }

    /// A shelf, and the time that it is told.
    struct Test(Shelf, Instant);

    impl Test {
        fn of(bytes: u64) -> Self {
            Self(Shelf::new(bytes, Duration::from_secs(1_000)), Instant::now())
        }

        fn place(&mut self, sender: NodeId, blobs: &[BlobRef], date: u64) -> Moves {
            let moves = self
                .0
                .place(sender, blobs, UnixSeconds(date), (self.1, self.1 + DELETED));
            let (live, going) = self.0.bytes(self.1);
            assert!(live + going <= self.0.bytes, "{live} and {going} of {}", self.0.bytes);
            let sum: u64 = self.0.kept.values().map(|kept| kept.size).sum();
            assert_eq!((live, self.0.order.len()), (sum, self.0.kept.len()));
            moves
        }

        fn has(&self, sender: NodeId, byte: u8) -> bool {
            self.0.has(&(sender, BlobHash([byte; 32])))
        }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_counts_until_it_is_deleted() {
        let mut shelf = Test::of(100);
        shelf.place(ALICE, &[blob(1, 40)], 1);
        shelf.place(BOB, &[blob(2, 40)], 2);
        shelf.place(ALICE, &[blob(1, 40)], 3);
        let moves = shelf.place(ALICE, &[blob(3, 60)], 4);
        assert_eq!(moves.gone.len(), 1, "one of 40 is enough: {moves:?}");
        assert!(!shelf.has(BOB, 2), "used longest ago");
        assert!(
            shelf.has(ALICE, 1) && !shelf.has(ALICE, 3),
            "its 40 bytes still lie on the disk"
        );
        shelf.1 += DELETED;
        shelf.place(ALICE, &[blob(3, 60)], 5);
        assert!(shelf.has(ALICE, 1) && shelf.has(ALICE, 3), "they are deleted by now");
        assert_eq!(shelf.0.bytes(shelf.1), (100, 0));
    }

    #[test]
    fn nothing_goes_for_another_blob_of_the_same_lease_nor_for_one_that_never_fits() {
        let mut shelf = Test::of(100);
        shelf.place(ALICE, &[blob(1, 60), blob(2, 60), blob(3, 30)], 1);
        assert!(shelf.has(ALICE, 1) && !shelf.has(ALICE, 2) && shelf.has(ALICE, 3));
        let moves = shelf.place(BOB, &[blob(4, 101)], 2);
        assert_eq!(moves, Moves::default());
        // A machine's date was set back.
        let moves = shelf.place(BOB, &[blob(5, 60)], 0);
        assert_eq!(moves.gone.len(), 1, "{moves:?}");
    }

    #[test]
    fn what_is_old_goes_by_itself_and_what_was_used_again_stays() {
        let mut shelf = Test::of(100);
        shelf.place(ALICE, &[blob(1, 10), blob(2, 10)], 0);
        let moves = shelf.place(ALICE, &[blob(2, 10)], 900);
        let known = Kept {
            size: 10,
            used: UnixSeconds(0),
        };
        assert_eq!(moves.kept[0].2, Some(known), "what it was kept as");
        assert_eq!(shelf.place(BOB, &[], 1_000), Moves::default());
        let moves = shelf.place(BOB, &[], 1_001);
        assert_eq!(moves.gone, [((ALICE, BlobHash([1; 32])), known)]);
        assert!(shelf.has(ALICE, 2));
    }

    #[test]
    fn a_blob_that_two_sent_is_kept_for_each() {
        let mut shelf = Test::of(100);
        shelf.place(ALICE, &[blob(1, 40)], 1);
        assert!(!shelf.has(BOB, 1));
        shelf.place(BOB, &[blob(1, 40)], 2);
        assert!(shelf.has(ALICE, 1) && shelf.has(BOB, 1));
    }
}

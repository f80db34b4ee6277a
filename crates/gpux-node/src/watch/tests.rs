//! What a tower's book keeps, over restarts.

use super::*;
use gpux_chain::HotKey;
use gpux_lease::Terms;
use gpux_types::{Address, Amount, B256, BasisPoints};

fn kept(lease: u8, from: u8, version: u16) -> Kept {
    let signature = HotKey::generate().sign_digest(B256::ZERO);
    let handover = Handover {
        terms: Terms {
            renter: Address::ZERO,
            receipt_key: Address::ZERO,
            provider: Address::ZERO,
            provider_signer: Address::ZERO,
            token: Address::ZERO,
            builder: Address::ZERO,
            builder_share: BasisPoints::default(),
            grace_secs: 0,
            salt: B256::repeat_byte(lease),
        },
        payout: Address::ZERO,
        amount: Amount::new(5).unwrap(),
        cumulative: Amount::new(5).unwrap(),
        receipt: signature,
        not_before: UnixSeconds(u64::from(lease)),
        reward: Amount::ZERO,
        signature,
    };
    Kept {
        version,
        lease: LeaseId([lease; 32]),
        from: NodeId([from; 32]),
        handover,
        fee: Amount::ZERO,
    }
}

fn open(store: &Store) -> Watch {
    Watch::open(&WatchSection::default(), store).unwrap()
}

fn watch(book: &mut Book, kept: Kept) {
    book.insert(kept.lease, Entry::new(kept.from, kept.handover, kept.fee, Millis::ZERO));
}

/// The leases that are brought on at block time `time`, in order.
fn due(book: &mut Book, time: u64, now: u64) -> Vec<u8> {
    let next = std::iter::from_fn(|| book.due(UnixSeconds(time), Millis(now)));
    next.map(|next| next.lease.0[0]).collect()
}

#[test]
fn what_was_handed_over_is_watched_after_a_restart_until_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.sqlite")).unwrap();
    for (lease, from) in [(1, 7), (2, 7), (3, 8)] {
        let kept = kept(lease, from, VERSION);
        store.put_watched(kept.lease, &kept).unwrap();
    }
    let watch = open(&store);
    assert_eq!(watch.load(), (false, 3, 2));
    let mut book = watch.lock();
    assert_eq!(due(&mut book, 0, 10), Vec::<u8>::new(), "nothing before its time");
    assert_eq!(due(&mut book, 2, 10), [1, 2]);
    assert_eq!(due(&mut book, 9, 10), [3], "what was looked at just now waits");
    store.drop_watched(LeaseId([2; 32])).unwrap();
    book.remove(LeaseId([2; 32]));
    assert_eq!(due(&mut book, 9, 600_010), [1, 3]);
    assert_eq!(book.watching(LeaseId([1; 32]), NodeId([7; 32])).of_one, 1);
    assert_eq!(open(&store).load(), (false, 2, 2));
}

#[test]
fn what_a_newer_version_keeps_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.sqlite")).unwrap();
    let newer = kept(1, 7, VERSION + 1);
    store.put_watched(newer.lease, &newer).unwrap();
    let of_another_form = LeaseId([2; 32]);
    store.put_watched(of_another_form, &["nothing that is known"]).unwrap();
    let known = kept(3, 7, VERSION);
    store.put_watched(known.lease, &known).unwrap();
    let (_, leases, _) = open(&store).load();
    assert_eq!(leases, 1, "they hide no other");
    let unreadable = store.watched::<Kept>().unwrap().unreadable;
    let still_there: Vec<Option<LeaseId>> = unreadable.into_iter().map(|(lease, _)| lease).collect();
    assert_eq!(still_there, [Some(newer.lease), Some(of_another_form)]);
}

#[test]
fn a_higher_amount_takes_the_place_of_a_lower_one_and_is_counted_once() {
    let mut book = Book::default();
    for amount in [5, 6] {
        let mut kept = kept(1, 7, VERSION);
        kept.handover.amount = Amount::new(amount).unwrap();
        watch(&mut book, kept);
    }
    let watching = book.watching(LeaseId([1; 32]), NodeId([7; 32]));
    assert_eq!((watching.leases, watching.of_one), (1, 1));
    assert_eq!(watching.held, Some((Amount::new(6).unwrap(), Millis::ZERO)));
}

#[test]
fn whose_grace_ends_first_is_brought_on_first_and_none_twice_before_the_others_once() {
    let mut book = Book::default();
    for lease in 1..=4 {
        watch(&mut book, kept(lease, 7, VERSION));
    }
    // The chain told of two of them, of one that it ends first, of the other that it was extended.
    book.ends(LeaseId([3; 32]), UnixSeconds(0));
    book.ends(LeaseId([1; 32]), UnixSeconds(1_000));
    let first = book.due(UnixSeconds(9), Millis(0)).unwrap().lease;
    assert_eq!(first, LeaseId([3; 32]));
    assert_eq!(due(&mut book, 9, 599_999), [2, 4, 1]);
    watch(&mut book, kept(5, 7, VERSION));
    let again = kept(3, 7, VERSION);
    watch(&mut book, again);
    assert_eq!(due(&mut book, 9, 600_000), [5, 3], "the new one first");
}

#[test]
fn each_is_looked_at_in_turn_long_before_its_time() {
    let mut book = Book::default();
    for (lease, from) in [(1, 7), (2, 8), (3, 7)] {
        watch(&mut book, kept(lease, from, VERSION));
    }
    let in_turn = |book: &mut Book, of: Option<u8>, now| {
        let next = std::iter::from_fn(|| book.in_turn(of.map(|from| NodeId([from; 32])), Millis(now)));
        next.map(|next| next.lease.0[0]).collect::<Vec<u8>>()
    };
    assert_eq!(
        in_turn(&mut book, None, 599_999),
        Vec::<u8>::new(),
        "they were looked at when they were taken"
    );
    assert_eq!(in_turn(&mut book, Some(8), 600_000), [2], "one node's own");
    assert_eq!(in_turn(&mut book, None, 600_001), [1, 3]);
    assert_eq!(in_turn(&mut book, None, 1_200_001), [2, 1, 3], "the longest ago first");
}

#[test]
fn what_was_found_to_be_over_is_forgotten_unless_a_newer_handover_came_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.sqlite")).unwrap();
    let older = kept(1, 7, VERSION);
    store.put_watched(older.lease, &older).unwrap();
    let tower = open(&store);
    let looked_at = tower.in_turn(None, Millis(600_000)).unwrap();
    let mut newer = kept(1, 7, VERSION);
    newer.handover.amount = Amount::new(6).unwrap();
    let look_again = Next {
        handover: newer.handover.clone(),
        ..looked_at.clone()
    };
    watch(&mut tower.lock(), newer);
    tower.forget(&store, &looked_at);
    assert_eq!((tower.load(), open(&store).load()), ((false, 1, 1), (false, 1, 1)));
    tower.forget(&store, &look_again);
    assert_eq!((tower.load(), open(&store).load()), ((false, 0, 0), (false, 0, 0)));
}

#[test]
fn a_handover_that_was_kept_without_its_fee_is_read() {
    let mut row = serde_json::to_value(kept(1, 7, VERSION)).unwrap();
    row.as_object_mut().unwrap().remove("fee").unwrap();
    let kept: Kept = serde_json::from_value(row).unwrap();
    assert_eq!(kept.fee, Amount::ZERO);
}

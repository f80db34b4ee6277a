//! What the book believes and refuses, with time and signatures in the test's hands.

use super::*;
use crate::offers::{
    announcement::Announcer,
    nodes::{Node, TOPIC, TTL},
};

type Said = (Vec<u8>, Vec<u8>);

/// What became of an announcement whose details were asked for when they were wanted.
#[derive(Debug)]
enum Fate {
    Heard,
    Renewed(Millis),
    Withdrawn,
}

fn book() -> OfferBook {
    OfferBook::new(Node::new(99).book(3))
}

fn hear_late(book: &mut OfferBook, now: Instant, said: &Said, age: Duration) -> Result<Fate, Refusal> {
    Ok(match book.hear(now, &said.0, age)? {
        Heard::Renewed(_, left) => Fate::Renewed(left),
        Heard::Withdrawn(_) => Fate::Withdrawn,
        Heard::Wanted(want) => match book.take(now, want, &said.1)? {
            Change::Heard(_) => Fate::Heard,
            Change::Moved(_, left) => Fate::Renewed(left),
        },
    })
}

fn hear(book: &mut OfferBook, now: Instant, said: &Said) -> Result<Fate, Refusal> {
    hear_late(book, now, said, Duration::ZERO)
}

#[test]
fn an_offer_holds_for_its_life_from_its_receipt() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    assert!(matches!(hear(&mut book, now, &node.says(1, 1)), Ok(Fate::Heard)));
    assert_eq!(book.newest(node.id()).unwrap().ticket, node.ticket());
    let live = book.live(now + Duration::from_secs(29));
    assert_eq!((live.len(), live[0].valid_for), (1, Millis::from_secs(1)));
    assert!(book.live(now + TTL).is_empty());
    assert_eq!(book.expire(now + TTL), [node.id()]);
}

#[test]
fn a_new_beat_prolongs_an_offer_and_an_old_one_does_not() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    let first = node.says(1, 1);
    hear(&mut book, now, &first).unwrap();
    let later = now + Duration::from_secs(20);
    assert!(matches!(hear(&mut book, later, &first), Err(Refusal::Replayed { .. })));
    assert_eq!(book.live(later)[0].valid_for, Millis::from_secs(10));
    assert!(matches!(hear(&mut book, later, &node.says(1, 2)), Ok(Fate::Renewed(left)) if left == TTL.into()));
    assert!(
        matches!(hear(&mut book, later, &node.says(2, 1)), Ok(Fate::Heard)),
        "a new offer, whatever its beat"
    );
    assert!(
        matches!(hear(&mut book, later, &node.says(1, 9)), Err(Refusal::Replayed { .. })),
        "an older offer"
    );
}

#[test]
fn an_offer_that_is_over_does_not_come_back_by_repeating_it() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    let bytes = node.says(1, 1);
    hear(&mut book, now, &bytes).unwrap();
    book.expire(now + TTL);
    assert!(matches!(
        hear(&mut book, now + TTL, &bytes),
        Err(Refusal::Replayed { .. })
    ));
    assert!(matches!(
        hear(&mut book, now + TTL, &node.announce(2, None, 1)),
        Ok(Fate::Withdrawn)
    ));
    assert!(matches!(
        hear(&mut book, now + TTL, &bytes),
        Err(Refusal::Replayed { .. })
    ));
}

#[test]
fn an_offer_told_late_holds_for_what_is_left_of_it() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    assert!(matches!(
        hear_late(&mut book, now, &node.says(1, 1), TTL),
        Err(Refusal::Expired(_))
    ));
    hear_late(&mut book, now, &node.says(1, 2), Duration::from_secs(25)).unwrap();
    assert_eq!(book.live(now)[0].valid_for, Millis::from_secs(5));
    let (page, _) = book.page(now + Duration::from_secs(1), None, usize::MAX);
    assert_eq!(page[0].0, Millis::from_secs(26), "and is told on with its whole age");
}

/// The same digest with one bit of its signature turned.
fn bent(said: &Said) -> Said {
    let (mut digest, details) = said.clone();
    *digest.last_mut().unwrap() ^= 1;
    (digest, details)
}

#[test]
fn a_forged_announcement_is_refused() {
    let (mut book, node, other, now) = (book(), Node::new(1), Node::new(2), Instant::now());
    let mut refused = |said: &Said| match hear(&mut book, now, said) {
        Err(Refusal::Announcement(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        refused(&bent(&node.says(1, 1))),
        AnnouncementError::Signature(_)
    ));
    let stolen = other.announce(1, Some(node.sign(&node.offer(1))), 1);
    assert!(matches!(refused(&stolen), AnnouncementError::Contradiction { .. }));
    let wrong_wallet = node.announce(1, Some(other.sign(&node.offer(1))), 1);
    assert!(matches!(refused(&wrong_wallet), AnnouncementError::Offer(_)));
    let other_sequence = node.announce(5, Some(node.sign(&node.offer(1))), 2);
    assert!(matches!(
        refused(&other_sequence),
        AnnouncementError::Contradiction { .. }
    ));
    let other_details = (node.says(7, 7).0, node.says(8, 8).1);
    assert!(matches!(refused(&other_details), AnnouncementError::OtherDetails(_)));
    let announcer = Announcer::new(node.secret.clone(), [8; 32]);
    let details = node.says(9, 9).1;
    let order = Order { sequence: 9, beat: 9 };
    let other_market = (announcer.announce(order, Some(DetailsHash::of(&details))), details);
    assert!(matches!(refused(&other_market), AnnouncementError::Signature(_)));
    assert!(book.live(now).is_empty());
}

#[test]
fn a_forgery_takes_nothing_from_the_rate_of_the_forged_node() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    for beat in 0..100 {
        assert!(hear(&mut book, now, &bent(&node.says(1, beat))).is_err());
    }
    assert!(hear(&mut book, now, &node.says(1, 1)).is_ok());
}

#[test]
fn an_unfit_or_oversized_announcement_is_refused() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    let mut refused = |digest: Vec<u8>, details: Vec<u8>| match hear(&mut book, now, &(digest, details)) {
        Err(Refusal::Announcement(error)) => error,
        other => panic!("{other:?}"),
    };
    let none = Vec::new;
    assert!(matches!(
        refused(vec![1; 151], none()),
        AnnouncementError::Oversized { got: 151, .. }
    ));
    assert!(matches!(refused(none(), none()), AnnouncementError::Cut(0)));
    assert!(matches!(refused(vec![1; 80], none()), AnnouncementError::Decode(_)));
    let mut forever = node.offer(1);
    forever.ttl = Millis::from_secs(1 << 40);
    let (digest, details) = node.announce(1, Some(node.sign(&forever)), 1);
    assert!(matches!(refused(digest, details), AnnouncementError::Unfit { .. }));
    let long = vec![1; 4_000];
    let announcer = Announcer::new(node.secret.clone(), TOPIC);
    let digest = announcer.announce(Order { sequence: 2, beat: 2 }, Some(DetailsHash::of(&long)));
    assert!(matches!(
        refused(digest, long),
        AnnouncementError::Oversized { got: 4_000, .. }
    ));
}

#[test]
fn hostile_bytes_never_panic() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    let (digest, details) = node.says(1, 1);
    let Ok(Heard::Wanted(want)) = book.hear(now, &digest, Duration::ZERO) else {
        panic!("it is new");
    };
    let mut state = 1u64;
    for round in 0..20_000 {
        let good = if round % 4 == 0 { &digest } else { &details };
        let mut bytes = if round % 2 == 0 {
            good.clone()
        } else {
            vec![0; round % 300]
        };
        for _ in 0..=(round % 7) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (at, value) = ((state >> 33) as usize, state.to_le_bytes()[1]);
            if let Some(byte) = at.checked_rem(bytes.len()).and_then(|at| bytes.get_mut(at)) {
                *byte = value;
            }
        }
        bytes.truncate((state >> 40) as usize % 700);
        if bytes != *good {
            let mut fresh = self::book();
            let heard = fresh.hear(now, &bytes, Duration::ZERO);
            assert!(
                heard.is_err(),
                "only the whole, unchanged digest is believed: {heard:?}"
            );
            let taken = fresh.take(now, want.clone(), &bytes);
            assert!(taken.is_err(), "only what was announced is taken: {taken:?}");
            let named = Want {
                hash: DetailsHash::of(&bytes),
                ..want.clone()
            };
            // Where the node is stands beside the offer, under the node's own signature of the name alone.
            if let Ok(Change::Heard(heard)) = fresh.take(now, named, &bytes) {
                assert_eq!(heard.offer, node.offer(1), "and only what the wallet signed");
            }
        }
    }
}

#[test]
fn a_node_that_announces_too_often_is_not_heard() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    let heard = (0..100)
        .filter(|beat| hear(&mut book, now, &node.says(1, *beat)).is_ok())
        .count();
    assert_eq!(heard, 15, "a quarter of a minute's");
    assert!(hear(&mut book, now + Duration::from_secs(1), &node.says(1, 200)).is_ok());
}

#[test]
fn in_a_full_book_a_stranger_gives_way_to_a_new_node_and_one_that_was_met_does_not() {
    let (mut book, now) = (book(), Instant::now());
    for seed in 1..=3 {
        hear(&mut book, now, &Node::new(seed).says(1, 1)).unwrap();
    }
    let friend = Node::new(1);
    book.meet(friend.id());
    for seed in 10..60 {
        let node = Node::new(seed);
        assert!(matches!(hear(&mut book, now, &node.says(1, 1)), Ok(Fate::Heard)));
        assert!(book.lists(node.id()) && book.lists(friend.id()), "round {seed}");
        assert_eq!(book.listed.len(), 3);
    }
    for (at, node) in book.listed.iter().enumerate() {
        assert_eq!(book.entries[node].at, at);
    }
    // No more than half is kept so: the rest stays open to everybody.
    for node in book.listed.clone() {
        book.meet(node);
    }
    assert_eq!(book.met, 1);
    hear(&mut book, now, &friend.announce(9, None, 1)).unwrap();
    assert_eq!((book.met, book.listed.len()), (0, 2));
}

#[test]
fn nodes_are_remembered_boundedly() {
    let (mut book, now) = (book(), Instant::now());
    for seed in 1..=3 {
        hear(&mut book, now, &Node::new(seed).announce(9, None, 1)).unwrap();
    }
    for seed in 10..60 {
        hear(&mut book, now, &Node::new(seed).announce(1, None, 1)).unwrap();
    }
    assert!(
        book.marks.len() <= 6 && book.marked.len() == book.marks.len(),
        "{} marks",
        book.marks.len()
    );
}

#[test]
fn pages_tell_every_offer_once() {
    let (mut book, now) = (book(), Instant::now());
    for seed in 1..=3 {
        hear(&mut book, now, &Node::new(seed).says(1, 1)).unwrap();
    }
    let one = Node::new(1).says(1, 1).0.len();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (items, next) = book.page(now, after, one);
        all.extend(items.into_iter().map(|(_, bytes)| bytes));
        if next.is_none() {
            break;
        }
        assert!(next > after);
        after = next;
    }
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

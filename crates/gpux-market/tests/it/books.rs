//! What enters the book, and how long it stays.

use crate::market::offer;
use gpux_market::{InsertError, Inserted, Offer, OfferBook, OfferError};
use gpux_types::{Address, Millis, NodeId};
use proptest::prelude::*;

const NOW: Millis = Millis::from_secs(1_000);

fn later(secs: u64) -> Millis {
    NOW.saturating_add(Millis::from_secs(secs))
}

fn sequenced(id: u8, sequence: u64) -> Offer {
    Offer { sequence, ..offer(id) }
}

#[test]
fn a_newer_offer_replaces_and_an_older_or_equal_one_does_not() {
    let mut book = OfferBook::new(10);
    assert_eq!(book.insert(sequenced(1, 5), NOW), Ok(Inserted::New));
    assert_eq!(book.insert(sequenced(1, 6), NOW), Ok(Inserted::Replaced));
    for old in [5, 6] {
        let stale = InsertError::Stale {
            node: NodeId([1; 32]),
            have: 6,
            got: old,
        };
        assert_eq!(book.insert(sequenced(1, old), NOW), Err(stale));
    }
    assert_eq!((book.len(), book.get(&NodeId([1; 32])).unwrap().sequence), (1, 6));
}

#[test]
fn an_offer_lives_for_its_time_and_its_replay_does_not_bring_it_back() {
    let mut book = OfferBook::new(10);
    book.insert(sequenced(1, 5), NOW).unwrap();
    assert!(
        book.insert(sequenced(1, 5), later(59)).is_err(),
        "a replay does not lengthen the life"
    );
    assert_eq!(book.expire(later(59)), []);
    assert_eq!(book.expire(later(60)), [NodeId([1; 32])]);
    assert!(book.is_empty());
    assert!(matches!(
        book.insert(sequenced(1, 5), later(61)),
        Err(InsertError::Stale { .. })
    ));
    assert_eq!(book.insert(sequenced(1, 6), later(61)), Ok(Inserted::New));
    assert_eq!(book.remove(&NodeId([1; 32])).unwrap().sequence, 6);
    assert!(matches!(
        book.insert(sequenced(1, 6), later(61)),
        Err(InsertError::Stale { .. })
    ));
}

#[test]
fn a_full_book_keeps_what_it_has_until_that_expires() {
    let mut book = OfferBook::new(2);
    book.insert(sequenced(1, 1), NOW).unwrap();
    book.insert(sequenced(2, 1), later(30)).unwrap();
    assert_eq!(
        book.insert(sequenced(3, 1), later(59)),
        Err(InsertError::Full {
            node: NodeId([3; 32]),
            limit: 2
        })
    );
    assert_eq!(
        book.insert(sequenced(2, 2), later(59)),
        Ok(Inserted::Replaced),
        "known nodes still renew"
    );
    assert_eq!(book.insert(sequenced(3, 1), later(60)), Ok(Inserted::New));
    assert_eq!(book.len(), 2);
}

#[test]
fn the_memory_of_dead_offers_is_bounded() {
    let mut book = OfferBook::new(2);
    for id in 1..=3 {
        book.insert(sequenced(id, 1), NOW).unwrap();
        book.remove(&NodeId([id; 32]));
    }
    assert_eq!(
        book.insert(sequenced(1, 1), NOW),
        Ok(Inserted::New),
        "the oldest is forgotten"
    );
    assert!(matches!(
        book.insert(sequenced(3, 1), NOW),
        Err(InsertError::Stale { .. })
    ));
}

#[test]
fn an_impossible_offer_does_not_enter() {
    let refused = |change: &dyn Fn(&mut Offer)| {
        let mut offer = offer(1);
        change(&mut offer);
        match OfferBook::new(1).insert(offer, NOW) {
            Err(InsertError::Invalid { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    let too_much = refused(&|offer| offer.free.memory.0 = offer.total.memory.0 + 1);
    assert!(matches!(too_much, OfferError::Contradiction { small: "free", .. }));
    let too_large = refused(&|offer| offer.largest.disk.0 = offer.free.disk.0 + 1);
    assert!(matches!(too_large, OfferError::Contradiction { large: "free", .. }));
    assert_eq!(
        refused(&|offer| offer.provider = Address::ZERO),
        OfferError::ZeroAddress("provider")
    );
    assert!(matches!(
        refused(&|offer| offer.ttl = Millis::MAX),
        OfferError::Duration { .. }
    ));
    assert!(matches!(
        refused(&|offer| offer.lease_min = Millis::MAX),
        OfferError::Duration { .. }
    ));
    assert!(matches!(
        refused(&|offer| offer.cpu_model = "x".repeat(65)),
        OfferError::TooLong { .. }
    ));
    assert!(matches!(
        refused(&|offer| offer.cpu_model = "\u{1b}[31m".into()),
        OfferError::Unprintable(_)
    ));
    assert!(matches!(
        refused(&|offer| offer.addresses = vec![offer.addresses[0]; 17]),
        OfferError::TooLong { .. }
    ));
    assert!(matches!(
        refused(&|offer| offer.relay = Some("a\nb".into())),
        OfferError::Unprintable(_)
    ));
}

proptest! {
    /// Against the plainest model: the highest sequence seen of a node decides, and a life ends at its time.
    #[test]
    fn a_book_is_what_its_newest_offers_make_it(
        events in prop::collection::vec((1u8..5, 1u64..6, 0u64..40), 0..40)
    ) {
        let mut book = OfferBook::new(10);
        let mut newest = std::collections::BTreeMap::new();
        let mut now = NOW;
        for (id, sequence, pause) in events {
            now = now.saturating_add(Millis::from_secs(pause));
            book.expire(now);
            let enters = newest.get(&id).is_none_or(|(have, _)| *have < sequence);
            prop_assert_eq!(book.insert(sequenced(id, sequence), now).is_ok(), enters);
            if enters {
                newest.insert(id, (sequence, now.saturating_add(offer(id).ttl)));
            }
            let alive = newest.iter().filter(|(_, (_, end))| *end > now);
            let alive: Vec<_> = alive.map(|(id, (sequence, _))| (NodeId([*id; 32]), *sequence)).collect();
            let listed: Vec<_> = book.iter().map(|offer| (offer.node, offer.sequence)).collect();
            prop_assert_eq!(listed, alive);
        }
    }
}

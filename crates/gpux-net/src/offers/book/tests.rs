//! What the book believes and refuses, with time and signatures in the test's hands.

use super::*;
use crate::offers::announcement::Announcer;
use alloy_primitives::{Address, Signature};
use gpux_types::{ByteSize, Cpu, Resources};
use iroh::SecretKey;
use k256::ecdsa::SigningKey;

const TOPIC: [u8; 32] = [7; 32];
const TTL: Duration = Duration::from_secs(30);

struct Node {
    secret: SecretKey,
    wallet: SigningKey,
}

impl Node {
    fn new(seed: u8) -> Self {
        Self {
            secret: SecretKey::from_bytes(&[seed; 32]),
            wallet: SigningKey::from_slice(&[seed; 32]).unwrap(),
        }
    }

    fn id(&self) -> NodeId {
        NodeId(*self.secret.public().as_bytes())
    }

    fn ticket(&self) -> PeerTicket {
        PeerTicket {
            node: self.id(),
            addresses: vec![([127, 0, 0, 1], 9).into()],
            relay: None,
        }
    }

    fn offer(&self, sequence: u64) -> Offer {
        let some = Resources {
            cpu: Cpu::cores(1),
            memory: ByteSize(1 << 30),
            disk: ByteSize(1 << 30),
        };
        Offer {
            node: self.id(),
            wallet: Address::from_private_key(&self.wallet),
            provider: Address::repeat_byte(1),
            signer: Address::repeat_byte(2),
            sequence,
            ttl: TTL.into(),
            chain_id: 31_337,
            escrow: Address::repeat_byte(3),
            token: Address::repeat_byte(4),
            rates: gpux_market::Rates::default(),
            total: some,
            free: some,
            largest: some,
            cpu_model: "test".into(),
            cpu_score: 1_000,
            features: std::collections::BTreeSet::new(),
            region: None,
            lease_min: Millis::ZERO,
            lease_max: Millis::from_secs(3_600),
            grace_min_secs: 30,
            addresses: Vec::new(),
            relay: None,
        }
    }

    fn sign(&self, offer: &Offer) -> SignedOffer {
        let digest = SignedOffer::digest(offer);
        let signature: Signature = self.wallet.sign_prehash_recoverable(digest.as_slice()).unwrap().into();
        SignedOffer::new(offer, signature)
    }

    fn announce(&self, beat: u64, offer: Option<SignedOffer>, sequence: u64) -> Vec<u8> {
        let announcer = Announcer::new(self.secret.clone(), TOPIC);
        announcer.announce(&self.ticket(), Order { sequence, beat }, offer)
    }

    fn says(&self, sequence: u64, beat: u64) -> Vec<u8> {
        self.announce(beat, Some(self.sign(&self.offer(sequence))), sequence)
    }
}

fn book() -> OfferBook {
    OfferBook::new(BookConfig {
        me: Node::new(99).id(),
        topic: TOPIC,
        offers: 3,
        offers_per_minute: 60,
    })
}

fn hear(book: &mut OfferBook, now: Instant, bytes: &[u8]) -> Result<Change, Refusal> {
    book.hear(now, bytes, Duration::ZERO)
}

#[test]
fn an_offer_holds_for_its_life_from_its_receipt() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    assert!(matches!(hear(&mut book, now, &node.says(1, 1)), Ok(Change::Heard(_, ticket)) if ticket == node.ticket()));
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
    assert!(matches!(hear(&mut book, later, &node.says(1, 2)), Ok(Change::Renewed(left, _)) if left == TTL.into()));
    assert!(
        matches!(hear(&mut book, later, &node.says(2, 1)), Ok(Change::Heard(..))),
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
        Ok(Change::Withdrawn(_))
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
        book.hear(now, &node.says(1, 1), TTL),
        Err(Refusal::Expired(_))
    ));
    book.hear(now, &node.says(1, 2), Duration::from_secs(25)).unwrap();
    assert_eq!(book.live(now)[0].valid_for, Millis::from_secs(5));
    let (page, _) = book.page(now + Duration::from_secs(1), None, usize::MAX);
    assert_eq!(page[0].0, Millis::from_secs(26), "and is told on with its whole age");
}

#[test]
fn a_forged_announcement_is_refused() {
    let (mut book, node, other, now) = (book(), Node::new(1), Node::new(2), Instant::now());
    let mut bent = node.says(1, 1);
    let last = bent.len() - 1;
    bent[last] ^= 1;
    assert!(matches!(
        hear(&mut book, now, &bent),
        Err(Refusal::Announcement(AnnouncementError::Signature(_)))
    ));
    let stolen = other.announce(1, Some(node.sign(&node.offer(1))), 1);
    assert!(matches!(
        hear(&mut book, now, &stolen),
        Err(Refusal::Announcement(AnnouncementError::Contradiction { .. }))
    ));
    let wrong_wallet = node.announce(1, Some(other.sign(&node.offer(1))), 1);
    assert!(matches!(
        hear(&mut book, now, &wrong_wallet),
        Err(Refusal::Announcement(AnnouncementError::Offer { .. }))
    ));
    let other_sequence = node.announce(5, Some(node.sign(&node.offer(1))), 2);
    assert!(matches!(
        hear(&mut book, now, &other_sequence),
        Err(Refusal::Announcement(AnnouncementError::Contradiction { .. }))
    ));
    let announcer = Announcer::new(node.secret.clone(), [8; 32]);
    let signed = Some(node.sign(&node.offer(9)));
    let other_market = announcer.announce(&node.ticket(), Order { sequence: 9, beat: 9 }, signed);
    assert!(matches!(
        hear(&mut book, now, &other_market),
        Err(Refusal::Announcement(AnnouncementError::Signature(_)))
    ));
    assert!(book.live(now).is_empty());
}

#[test]
fn a_forgery_takes_nothing_from_the_rate_of_the_forged_node() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    for beat in 0..100 {
        let mut bent = node.says(1, beat);
        let last = bent.len() - 1;
        bent[last] ^= 1;
        assert!(hear(&mut book, now, &bent).is_err());
    }
    assert!(hear(&mut book, now, &node.says(1, 1)).is_ok());
}

#[test]
fn an_unfit_or_oversized_announcement_is_refused() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    assert!(matches!(
        hear(&mut book, now, &[1; 4_000]),
        Err(Refusal::Announcement(AnnouncementError::Oversized { got: 4_000 }))
    ));
    assert!(matches!(
        hear(&mut book, now, &[]),
        Err(Refusal::Announcement(AnnouncementError::Decode(_)))
    ));
    let mut forever = node.offer(1);
    forever.ttl = Millis::from_secs(1 << 40);
    assert!(matches!(
        hear(&mut book, now, &node.announce(1, Some(node.sign(&forever)), 1)),
        Err(Refusal::Announcement(AnnouncementError::Unfit { .. }))
    ));
}

#[test]
fn hostile_bytes_never_panic() {
    let (mut book, node, now) = (book(), Node::new(1), Instant::now());
    let good = node.says(1, 1);
    let mut state = 1u64;
    for round in 0..20_000 {
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
        if bytes != good {
            let heard = hear(&mut book, now, &bytes);
            assert!(
                heard.is_err(),
                "only the whole, unchanged announcement is believed: {heard:?}"
            );
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
fn a_full_book_hears_its_nodes_but_no_new_ones_and_remembers_boundedly() {
    let (mut book, now) = (book(), Instant::now());
    for seed in 1..=3 {
        hear(&mut book, now, &Node::new(seed).says(1, 1)).unwrap();
    }
    assert!(matches!(
        hear(&mut book, now, &Node::new(4).says(1, 1)),
        Err(Refusal::Full(_))
    ));
    assert!(hear(&mut book, now, &Node::new(1).says(1, 2)).is_ok());
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
    book.speak(now, vec![1, 2, 3]);
    let one = Node::new(1).says(1, 1).len() + 3;
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
    assert_eq!(all.len(), 4);
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

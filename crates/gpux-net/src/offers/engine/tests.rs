//! What the engine announces, asks for, holds and forgets.

use super::*;
use crate::offers::{
    nodes::Node,
    syncs::{AGAIN, MISSED_AGAIN},
};
use std::collections::BTreeSet;

const TTL: Duration = Duration::from_secs(30);

/// An engine on a clock of its own.
struct Bench {
    node: Node,
    engine: Engine,
    start: Instant,
    now: Now,
}

impl Bench {
    fn new(seed: u32) -> Self {
        Self::holding(seed, 1_000)
    }

    fn holding(seed: u32, offers: usize) -> Self {
        let (node, start) = (Node::new(seed), Instant::now());
        let engine = Engine::new(node.engine(offers), node.ticket(), start);
        let now = Now {
            at: start,
            clock: 1_000,
        };
        Self {
            node,
            engine,
            start,
            now,
        }
    }

    fn wait(&mut self, time: Duration) -> Vec<Effect> {
        self.now.at += time;
        self.engine.tick(self.now)
    }

    fn hear(&mut self, from: &Node, digest: &[u8]) -> Vec<Effect> {
        self.engine.hear(self.now, from.id(), digest)
    }
}

fn pulls(effects: &[Effect]) -> Vec<(u64, NodeId, usize)> {
    let pulls = effects.iter().filter_map(|effect| {
        if let Effect::Pull { id, from, request } = effect {
            Some((*id, *from, request.wanted.len()))
        } else {
            None
        }
    });
    pulls.collect()
}

fn synced(effects: &[Effect]) -> usize {
    let syncs = effects.iter().filter(|effect| matches!(effect, Effect::Sync(_)));
    syncs.count()
}

fn flooded(effects: &[Effect]) -> Vec<&[u8]> {
    let floods = effects.iter().filter_map(|effect| {
        if let Effect::Flood(digest) = effect {
            Some(digest.as_slice())
        } else {
            None
        }
    });
    floods.collect()
}

fn answered(effects: &[Effect]) -> Vec<(u64, usize)> {
    let answers = effects.iter().filter_map(|effect| {
        if let Effect::Answer { asker, details } = effect {
            Some((*asker, details.len()))
        } else {
            None
        }
    });
    answers.collect()
}

#[test]
fn an_offer_is_renewed_after_nine_tenths_to_all_of_a_third_of_its_life() {
    let mut draw = Draw::new([1; 32]);
    let waits: Vec<_> = (0..50).map(|_| renew_after(TTL, &mut draw)).collect();
    assert!(waits.iter().all(|wait| *wait <= TTL / 3 && *wait >= TTL * 9 / 30));
    assert!(waits.iter().collect::<BTreeSet<_>>().len() > 10, "drawn, not fixed");
}

#[test]
fn a_renewal_is_one_digest_and_nobody_asks_for_its_details_again() {
    let (mut seller, mut buyer) = (Bench::new(1), Bench::new(2));
    let first = seller.engine.sell(seller.now, Some(seller.node.own(1, TTL)));
    let effects = buyer.hear(&seller.node, flooded(&first)[0]);
    let [(id, from, 1)] = pulls(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(from, seller.node.id());
    let details = seller.node.announce(1, Some(seller.node.own(1, TTL).signed), 1).1;
    let effects = buyer.engine.told(buyer.now, id, Some(vec![details]));
    assert!(matches!(&effects[0], Effect::Learn(ticket) if *ticket == seller.node.ticket()));
    assert!(matches!(&effects[1], Effect::Tell(OfferEvent::Heard(_))));
    let second = seller.wait(TTL / 3);
    assert!(flooded(&second)[0].len() <= 150);
    let effects = buyer.hear(&seller.node, flooded(&second)[0]);
    assert!(
        matches!(effects[..], [Effect::Tell(OfferEvent::Renewed(..))]),
        "{effects:?}"
    );
}

#[test]
fn a_node_that_moved_announces_itself_anew_and_its_offer_stays() {
    let (mut seller, mut buyer) = (Bench::new(1), Bench::new(2));
    seller.engine.sell(seller.now, Some(seller.node.own(1, TTL)));
    let mut elsewhere = seller.node.ticket();
    elsewhere.addresses = vec![([127, 0, 0, 1], 10).into()];
    let told = |seller: &Bench, ticket: &PeerTicket| Details::tell(ticket, seller.node.own(1, TTL).signed);
    let (before, after) = (told(&seller, &seller.node.ticket()), told(&seller, &elsewhere));
    for (ticket, details, renewed) in [(seller.node.ticket(), before, false), (elsewhere, after, true)] {
        let moved = seller.engine.move_to(seller.now, ticket.clone());
        let effects = match flooded(&moved).first() {
            Some(digest) => buyer.hear(&seller.node, digest),
            None => {
                let again = seller.engine.sell(seller.now, Some(seller.node.own(1, TTL)));
                buyer.hear(&seller.node, flooded(&again)[0])
            }
        };
        let (id, ..) = pulls(&effects)[0];
        let effects = buyer.engine.told(buyer.now, id, Some(vec![details]));
        assert!(matches!(&effects[0], Effect::Learn(learned) if *learned == ticket));
        assert_eq!(matches!(effects[1], Effect::Tell(OfferEvent::Renewed(..))), renewed);
    }
}

#[test]
fn a_question_for_what_is_on_its_way_is_held_until_it_comes() {
    let (mut middle, seller) = (Bench::new(1), Node::new(2));
    let (digest, details) = seller.says(1, 1);
    let request = DetailsRequest {
        wanted: vec![(seller.id(), DetailsHash::of(&details))],
    };
    let unknown = middle.engine.asked(middle.now, 7, request.clone());
    assert_eq!(answered(&unknown), [(7, 0)], "what nobody told us of will not come");
    let effects = middle.hear(&seller, &digest);
    let (id, ..) = pulls(&effects)[0];
    assert!(middle.engine.asked(middle.now, 8, request.clone()).is_empty());
    let effects = middle.engine.told(middle.now, id, Some(vec![details]));
    assert_eq!(answered(&effects), [(8, 1)]);
    assert_eq!(answered(&middle.engine.asked(middle.now, 9, request)), [(9, 1)]);
}

#[test]
fn a_question_for_what_its_teller_does_not_have_is_answered_at_once() {
    let (mut middle, seller) = (Bench::new(1), Node::new(2));
    let (digest, details) = seller.says(1, 1);
    let request = DetailsRequest {
        wanted: vec![(seller.id(), DetailsHash::of(&details))],
    };
    let (id, ..) = pulls(&middle.hear(&seller, &digest))[0];
    assert!(middle.engine.asked(middle.now, 8, request.clone()).is_empty());
    assert_eq!(
        answered(&middle.engine.told(middle.now, id, Some(Vec::new()))),
        [(8, 0)]
    );
    assert_eq!(answered(&middle.engine.asked(middle.now, 9, request)), [(9, 0)]);
}

#[test]
fn a_question_is_not_held_for_ever_and_only_so_many_are() {
    let (mut middle, seller) = (Bench::new(1), Node::new(2));
    let (digest, details) = seller.says(1, 1);
    let request = DetailsRequest {
        wanted: vec![(seller.id(), DetailsHash::of(&details))],
    };
    middle.hear(&seller, &digest);
    let asked: Vec<_> = (0..1_000)
        .flat_map(|asker| middle.engine.asked(middle.now, asker, request.clone()))
        .collect();
    assert_eq!(asked.len(), 1_000 - MAX_HELD);
    assert_eq!(answered(&middle.wait(HOLD)).len(), MAX_HELD);
    assert_eq!(middle.engine.held()[3], 0);
}

#[test]
fn details_that_a_neighbour_does_not_have_are_asked_of_others_then_of_the_node_and_then_given_up() {
    let (mut buyer, seller) = (Bench::new(1), Node::new(2));
    let neighbours = [Node::new(3), Node::new(4)];
    for node in &neighbours {
        buyer.engine.neighbour_up(buyer.now, node.id());
    }
    let mut effects = buyer.hear(&neighbours[0], &seller.says(1, 1).0);
    let mut asked = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..40 {
        for (id, from, _) in pulls(&effects) {
            asked.push(from);
            assert!(buyer.engine.told(buyer.now, id, Some(Vec::new())).is_empty());
        }
        effects = buyer.wait(Duration::from_millis(500));
        refused.extend(effects.iter().filter_map(|effect| {
            if let Effect::Refused(Refusal::Untold(node)) = effect {
                Some(*node)
            } else {
                None
            }
        }));
    }
    let [first, second] = [neighbours[0].id(), neighbours[1].id()];
    assert_eq!(asked, [first, second, first, seller.id()]);
    assert_eq!(refused, [seller.id()]);
    assert_eq!(buyer.engine.held()[2], 0);
}

#[test]
fn a_neighbour_that_answers_with_other_bytes_gains_nothing() {
    let (mut buyer, seller, liar) = (Bench::new(1), Node::new(2), Node::new(3));
    let mut effects = buyer.hear(&liar, &seller.says(1, 1).0);
    let mut questions = 0;
    while let Some((id, ..)) = pulls(&effects).first().copied() {
        questions += 1;
        buyer.engine.told(buyer.now, id, Some(vec![vec![7; 100]; 50]));
        effects = buyer.wait(Duration::from_millis(500));
    }
    assert_eq!(questions, 4);
    assert!(buyer.engine.live(buyer.now.at).is_empty());
}

#[test]
fn many_new_offers_are_asked_for_in_few_questions() {
    let (mut buyer, neighbour) = (Bench::new(1), Node::new(2));
    let mut questions = 0;
    let mut open = Vec::new();
    for seed in 100..400 {
        let effects = buyer
            .engine
            .hear_paged(buyer.now, neighbour.id(), &Node::new(seed).says(1, 1).0, TTL / 2);
        open.extend(pulls(&effects));
    }
    while let Some((id, _, _)) = open.pop() {
        questions += 1;
        let nodes: Vec<_> = (100..400).map(|seed| Node::new(seed).says(1, 1).1).collect();
        let wanted = buyer.engine.wants_of(id);
        let details = nodes
            .into_iter()
            .filter(|details| wanted.contains(&DetailsHash::of(details)));
        let details: Vec<_> = details.collect();
        open.extend(pulls(&buyer.engine.told(buyer.now, id, Some(details))));
    }
    assert_eq!(buyer.engine.live(buyer.now.at).len(), 300);
    assert!(questions <= 8 + 300_usize.div_ceil(32), "{questions}");
}

#[test]
fn a_goodbye_is_said_once_and_only_by_who_sells() {
    let mut seller = Bench::new(1);
    assert!(seller.engine.leave(seller.now).is_empty());
    seller.engine.sell(seller.now, Some(seller.node.own(1, TTL)));
    assert_eq!(flooded(&seller.engine.leave(seller.now)).len(), 1);
    assert!(seller.engine.leave(seller.now).is_empty());
}

#[test]
fn neighbours_that_come_and_go_are_not_all_asked_for_everything() {
    let mut node = Bench::new(1);
    let mut syncs = 0;
    let mut up = |node: &mut Bench, seed: u32| {
        syncs += synced(&node.engine.neighbour_up(node.now, Node::new(seed).id()));
        syncs
    };
    up(&mut node, 2);
    for seed in 3..50 {
        node.wait(Duration::from_secs(10));
        up(&mut node, seed);
        node.engine.neighbour_down(Node::new(seed - 1).id());
    }
    assert_eq!(up(&mut node, 50), 2, "two after it was alone");
    node.wait(AGAIN);
    assert_eq!(up(&mut node, 51), 3, "and one after a long time");
}

/// A node with five neighbours that is flooded by one of them in every second of `seconds`: when it asks neighbours.
fn asks_under_flood(node: &mut Bench, flooder: &Node, seconds: u64) -> Vec<u64> {
    let mut asks = Vec::new();
    for second in 0..seconds {
        // Above any burst.
        for _ in 0..2_500 {
            node.hear(flooder, b"nonsense");
        }
        let asked = synced(&node.wait(Duration::from_secs(1)));
        assert!(asked <= 3, "{asked} neighbours at a time");
        asks.extend((asked > 0).then_some(second));
    }
    asks
}

#[test]
fn keys_without_details_do_not_hold_up_questions_for_nodes_that_are_known() {
    let (mut buyer, neighbour, seller) = (Bench::new(1), Node::new(2), Node::new(3));
    let (digest, details) = seller.says(1, 1);
    let (id, ..) = pulls(&buyer.hear(&neighbour, &digest))[0];
    buyer.engine.told(buyer.now, id, Some(vec![details]));
    let asked = (100..200).map(|seed| pulls(&buyer.hear(&neighbour, &Node::new(seed).says(1, 1).0)).len());
    assert!(
        asked.sum::<usize>() < 100,
        "no more are asked for than may be at a time"
    );
    assert_eq!(pulls(&buyer.hear(&neighbour, &Node::new(300).says(1, 1).0)), []);
    assert_eq!(pulls(&buyer.hear(&neighbour, &seller.says(2, 2).0)).len(), 1);
}

#[test]
fn a_flood_makes_a_node_ask_its_neighbours_ever_more_rarely() {
    let (mut node, flooder) = (Bench::new(1), Node::new(2));
    for seed in 2..7 {
        node.engine.neighbour_up(node.now, Node::new(seed).id());
    }
    node.wait(MISSED_AGAIN);
    let asks = asks_under_flood(&mut node, &flooder, 4_000);
    let pauses: Vec<_> = asks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]);

    // The loss of the last second is looked for once more, then a pause goes by in peace.
    assert_eq!(synced(&node.wait(AGAIN)), 3);
    assert_eq!(synced(&node.wait(AGAIN)), 0);
    assert_eq!(asks_under_flood(&mut node, &flooder, 10), [0, 2, 6]);
}

#[test]
fn a_flood_of_new_keys_is_bounded_and_an_honest_node_is_heard_in_the_middle_of_it() {
    let mut buyer = Bench::holding(1, 50);
    let hostile = Node::new(2);
    let friend = Node::new(3);
    let tell = |buyer: &mut Bench, from: &Node, (digest, details): (Vec<u8>, Vec<u8>)| {
        let effects = buyer.hear(from, &digest);
        for (id, ..) in pulls(&effects) {
            buyer.engine.told(buyer.now, id, Some(vec![details.clone()]));
        }
    };
    tell(&mut buyer, &friend, friend.says(1, 1));
    buyer.engine.met(friend.id());
    let mut late = 0;
    for seed in 1_000..3_000 {
        buyer.now.at = buyer.start + Duration::from_millis(u64::from(seed - 1_000) * 3);
        tell(&mut buyer, &hostile, Node::new(seed).says(1, 1));
        if seed % 100 == 0 {
            let honest = Node::new(seed + 100_000);
            buyer.wait(Duration::ZERO);
            tell(&mut buyer, &friend, honest.says(1, 1));
            let live = buyer.engine.live(buyer.now.at);
            late += usize::from(live.iter().any(|heard| heard.offer.node == honest.id()));
        }
    }
    let [offers, marks, wants, held] = buyer.engine.held();
    assert!(
        offers <= 50 && marks <= 100 && wants <= 50 && held == 0,
        "{offers} {marks} {wants}"
    );
    let live = buyer.engine.live(buyer.now.at);
    assert!(
        live.iter().any(|heard| heard.offer.node == friend.id()),
        "who was met stays"
    );
    // The flood takes the rate of new nodes nearly whole, so a new node needs luck, not a gap in the flood.
    assert!(late >= 1, "{late} of 20 honest new nodes were heard at once");
}

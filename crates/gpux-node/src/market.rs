//! The offers that this node has heard, kept in one book, and how they look to people.

mod gpus;

pub(crate) use gpus::gpus;

use crate::{clock::Clock, page::Page};
use gpux_api::{ErrorBody, OfferView, OffersView};
use gpux_market::{Offer, OfferBook};
use gpux_net::{OfferEvent, PeerNet};
use gpux_types::{Amount, Millis, NodeId, PricePerHour, Token};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// The most offers that are kept: far above today's markets, and a bound on what peers can make this node hold.
const MAX_OFFERS: usize = 100_000;

/// How many offers are read in one go.
const PAGE: usize = 1_024;

/// How long a node that gave no firm price is left out of plans: the quotes that others hold of it are over then.
const REFUSED: Millis = Millis::from_secs(30);
/// How long a node is left out whose firm price was not what it offers, for the second time within as long. Once may be another's
/// doing: an old offer of the node that somebody repeated.
const UNTRUE: Millis = Millis::from_secs(600);

#[derive(Debug)]
struct Heard {
    book: OfferBook,
    at: HashMap<NodeId, Millis>,
    /// Nodes that went back on their offers, and until when they are left out.
    left_out: HashMap<NodeId, LeftOut>,
}

#[derive(Debug, Default)]
struct LeftOut {
    until: Millis,
    /// When its firm price last was not what it offers.
    untrue_at: Option<Millis>,
}

/// The offers. A cheap clone. A mutex rather than a task: every use is a short, synchronous read or insert.
#[derive(Debug, Clone)]
pub(crate) struct Market {
    heard: Arc<Mutex<Heard>>,
    token: Token,
}

impl Market {
    /// An empty book whose prices are in `token`.
    pub(crate) fn new(token: Token) -> Self {
        let heard = Heard {
            book: OfferBook::new(MAX_OFFERS),
            at: HashMap::new(),
            left_out: HashMap::new(),
        };
        Self {
            heard: Arc::new(Mutex::new(heard)),
            token,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `look` finds in the book, without offers that are over.
    pub(crate) fn with_book<T>(&self, now: Millis, look: impl FnOnce(&OfferBook) -> T) -> T {
        let mut heard = self.lock();
        heard.expire(now);
        look(&heard.book)
    }

    /// The book as it is now, for questions that take long: read a page at a time, so that gossip waits for none of them.
    pub(crate) fn copy(&self, now: Millis) -> impl FnOnce() -> OfferBook + Send + use<> {
        let mut offers = Vec::with_capacity(self.count(now));
        loop {
            let after = offers.last().map(|offer: &Arc<Offer>| offer.node);
            let page = self.lock().book.page(after, PAGE);
            if page.is_empty() {
                return || OfferBook::of(offers);
            }
            offers.extend(page);
        }
    }

    /// Leaves a node out of plans for a while that gave no firm price, longer where it was not true to its offer: it would be
    /// chosen again and again, and nothing would run.
    pub(crate) fn leave_out(&self, node: NodeId, untrue: bool, now: Millis) {
        let mut heard = self.lock();
        let recent = |at: Millis| now < at.saturating_add(UNTRUE);
        heard
            .left_out
            .retain(|_, left| now < left.until || left.untrue_at.is_some_and(recent));
        let left = heard.left_out.entry(node).or_default();
        let again = untrue && left.untrue_at.is_some();
        left.until = now.saturating_add(if again { UNTRUE } else { REFUSED }).max(left.until);
        left.untrue_at = if untrue { Some(now) } else { left.untrue_at };
    }

    /// The nodes that are left out now.
    pub(crate) fn left_out(&self, now: Millis) -> BTreeSet<NodeId> {
        let heard = self.lock();
        let left = heard.left_out.iter().filter(|(_, left)| now < left.until);
        left.map(|(node, _)| *node).collect()
    }

    /// How many offers are known.
    pub(crate) fn count(&self, now: Millis) -> usize {
        self.with_book(now, OfferBook::len)
    }

    /// A page of the offers for people, the cheapest first.
    ///
    /// # Errors
    /// When no page of offers names the place that it is to begin after.
    pub(crate) fn view(&self, now: Millis, page: &Page) -> Result<OffersView, ErrorBody> {
        let after = page.place(place_of)?;
        let mut heard = self.lock();
        heard.expire(now);
        let keys = heard.book.iter().map(|offer| (offer.price_of(&offer.free), offer.node));
        let mut keys: Vec<Place> = keys.filter(|key| after.is_none_or(|after| *key > after)).collect();
        let more = page.cut_to_first(&mut keys);
        let found = keys.iter().filter_map(|(_, node)| heard.book.get(node));
        let offers = found.map(|offer| view(offer, heard.age(offer, now))).collect();
        drop(heard);
        let last = keys.last().filter(|_| more);
        Ok(OffersView {
            schema: "gpux.offers/v1".into(),
            token: self.token.clone(),
            offers,
            next: last.map(|(price, node)| format!("{}-{node}", price.0)),
        })
    }

    /// Keeps the book true to what the network says, until `cancel`.
    pub(crate) async fn follow(self, net: Arc<dyn PeerNet>, clock: Clock, cancel: CancellationToken) {
        let mut feed = net.offers();
        self.take_all(&*net, clock.now());
        loop {
            let event = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                // Cancel-safe: an event that was not taken stays in the feed.
                event = feed.next() => event,
            };
            let now = clock.now();
            match event {
                Some(OfferEvent::Heard(offer)) => self.lock().insert(offer.offer, now),
                Some(OfferEvent::Renewed(node, valid_for)) => self.lock().renew(node, now, valid_for),
                Some(OfferEvent::Withdrawn(node) | OfferEvent::Expired(node)) => self.lock().remove(node),
                Some(OfferEvent::Missed(_)) => self.take_all(&*net, now),
                None => return,
            }
        }
    }

    fn take_all(&self, net: &dyn PeerNet, now: Millis) {
        let mut heard = self.lock();
        for offer in net.live_offers() {
            heard.insert(offer.offer, now);
        }
    }
}

impl Heard {
    fn insert(&mut self, offer: Offer, now: Millis) {
        let node = offer.node;
        match self.book.insert(offer, now) {
            Ok(_) => {
                self.at.insert(node, now);
            }
            Err(error) => {
                tracing::debug!(%node, error = %crate::error_chain(&error), "an offer was not taken into the book")
            }
        }
    }

    fn renew(&mut self, node: NodeId, now: Millis, valid_for: Millis) {
        if self.book.renew(&node, now, valid_for) {
            self.at.insert(node, now);
        }
    }

    fn remove(&mut self, node: NodeId) {
        self.book.remove(&node);
        self.at.remove(&node);
    }

    fn expire(&mut self, now: Millis) {
        for node in self.book.expire(now) {
            self.at.remove(&node);
        }
    }

    fn age(&self, offer: &Offer, now: Millis) -> Millis {
        self.at
            .get(&offer.node)
            .map_or(Millis::ZERO, |at| now.saturating_sub(*at))
    }
}

/// Where an offer stands in the list.
type Place = (PricePerHour, NodeId);

fn place_of(text: &str) -> Option<Place> {
    let (price, node) = text.split_once('-')?;
    let price = Amount::new(price.parse().ok()?).ok()?;
    Some((PricePerHour(price), node.parse().ok()?))
}

fn view(offer: &Offer, age: Millis) -> OfferView {
    OfferView {
        node: offer.node,
        provider: offer.provider.to_string(),
        region: offer.region.as_ref().map(ToString::to_string),
        total: offer.total,
        free: offer.free,
        largest: Some(offer.largest),
        price: offer.price_of(&offer.free),
        cpu_score: offer.cpu_score,
        age,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(byte: u8, rate: u128) -> Offer {
        let some = gpux_types::Resources {
            cpu: gpux_types::Cpu::cores(1),
            memory: gpux_types::ByteSize(1 << 30),
            disk: gpux_types::ByteSize(1 << 30),
        };
        let rate = PricePerHour(Amount::new(rate).unwrap());
        Offer {
            node: NodeId([byte; 32]),
            wallet: gpux_types::Address::repeat_byte(1),
            provider: gpux_types::Address::repeat_byte(1),
            signer: gpux_types::Address::repeat_byte(1),
            sequence: 1,
            ttl: Millis::from_secs(60),
            chain_id: 10,
            escrow: gpux_types::Address::repeat_byte(1),
            token: gpux_types::Address::repeat_byte(1),
            rates: gpux_market::Rates {
                cpu_core: rate,
                memory_gib: PricePerHour(Amount::ZERO),
                disk_gib: PricePerHour(Amount::ZERO),
            },
            total: some,
            free: some,
            largest: some,
            cpu_model: "x".into(),
            cpu_score: 1_000,
            features: BTreeSet::new(),
            region: None,
            lease_min: Millis::from_secs(1),
            lease_max: Millis::from_secs(3_600),
            grace_min_secs: 86_400,
            addresses: vec![],
            relay: None,
        }
    }

    #[test]
    fn pages_of_offers_leave_none_out_while_others_come_and_go() {
        let token = Token {
            symbol: "T".into(),
            decimals: 6,
        };
        let market = Market::new(token);
        let insert = |byte, rate| market.lock().insert(offer(byte, rate), Millis::ZERO);
        // Two at each price.
        for byte in 0..10_u8 {
            insert(byte, u128::from(byte / 2) * 10 + 5);
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = gpux_api::PageQuery { limit: Some(3), after };
            let view = market.view(Millis::ZERO, &Page::of(query).unwrap()).unwrap();
            assert!(view.offers.len() <= 3);
            seen.extend(view.offers.iter().map(|offer| offer.node.0[0]));
            // One that is cheaper than where the reader is, one that is dearer, and the one at the reader's place goes.
            if seen.len() == 3 {
                insert(100, 1);
                insert(101, 1_000);
                market.lock().remove(NodeId([seen[2]; 32]));
            }
            after = view.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 101]);
        let nowhere = Page::of(gpux_api::PageQuery {
            limit: None,
            after: Some("x".into()),
        })
        .unwrap();
        assert!(market.view(Millis::ZERO, &nowhere).is_err());
    }

    #[test]
    fn a_node_that_went_back_on_its_offer_is_left_out_for_a_while() {
        let token = Token {
            symbol: "T".into(),
            decimals: 6,
        };
        let market = Market::new(token);
        let [busy, untrue] = [1, 2].map(|byte| NodeId([byte; 32]));
        market.leave_out(busy, false, Millis::ZERO);
        market.leave_out(untrue, true, Millis::ZERO);
        let at = |secs| market.left_out(Millis::from_secs(secs));
        assert_eq!(at(29), BTreeSet::from([busy, untrue]));
        assert_eq!(at(30), BTreeSet::new(), "once may be another's doing");
        market.leave_out(busy, false, Millis::from_secs(40));
        market.leave_out(untrue, true, Millis::from_secs(40));
        assert_eq!(at(70), BTreeSet::from([untrue]));
        market.leave_out(untrue, false, Millis::from_secs(100));
        assert_eq!(at(639), BTreeSet::from([untrue]), "a refusal shortens nothing");
        assert_eq!(at(640), BTreeSet::new());
        market.leave_out(untrue, true, Millis::from_secs(641));
        assert_eq!(at(671), BTreeSet::new(), "it was long ago");
    }
}

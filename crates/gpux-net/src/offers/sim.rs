//! A market of many nodes in one process: the engine of each, over the gossip library's own protocol, on simulated links.
//!
//! What is real: every decision of the engine, HyParView and Plumtree, every message and its size, every signature (each
//! is checked once, not once a node). What is simulated: time, links (5 to 100 ms one way, a round trip more for the first
//! message, in order, nothing lost while both live), and crashes, which neighbours notice after 30 s. Bytes are those of
//! messages with their length; QUIC, UDP and IP come on top.

mod flood;
mod report;

use super::{
    announcement::{AnnouncementError, Details, DetailsHash, Judge, Signatures},
    engine::{Effect, Engine, Now},
    feed::OfferEvent,
    nodes::Node,
    page::{DetailsAnswer, DetailsRequest, Page, PageRequest, answer_page},
};
use crate::offers::draw::Draw;
use gpux_proto::{decode, encode};
use gpux_types::{Millis, NodeId};
use iroh_gossip::proto::{Command, Config, Event as Gossiped, InEvent, OutEvent, PeerData, Scope, State, TopicId};
use rand::{SeedableRng, rngs::StdRng};
use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The life of the offers of a real provider.
const LIFE: Duration = Duration::from_secs(1_200);
/// How often a node that waits for something looks at its timers, and one that does not.
const BUSY_TICK: Duration = Duration::from_millis(500);
const IDLE_TICK: Duration = Duration::from_secs(5);
/// When the neighbours of a node that crashed know it.
const NOTICED: Duration = Duration::from_secs(30);

/// Checks each signature once for all nodes.
#[derive(Debug, Default)]
struct Memo {
    signed: Mutex<HashMap<[u8; 32], bool>>,
    details: Mutex<HashMap<DetailsHash, Result<Arc<Details>, AnnouncementError>>>,
}

impl Judge for Memo {
    fn signed_by(&self, node: NodeId, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let key = *blake3::hash(&[node.as_bytes().as_slice(), bytes, signature].concat()).as_bytes();
        let mut known = self.signed.lock().unwrap();
        *known
            .entry(key)
            .or_insert_with(|| Signatures.signed_by(node, bytes, signature))
    }

    fn details(&self, bytes: &[u8]) -> Result<Arc<Details>, AnnouncementError> {
        let mut known = self.details.lock().unwrap();
        let details = known.entry(DetailsHash::of(bytes));
        details.or_insert_with(|| Signatures.details(bytes)).clone()
    }
}

/// One node: its two protocols, and what it cost.
struct Peer {
    node: Node,
    id: NodeId,
    state: State<NodeId, StdRng>,
    engine: Engine,
    sequence: u64,
    links: HashSet<usize>,
    hostile: bool,
    sent: u64,
    received: u64,
}

enum Step {
    Gossip(InEvent<NodeId>),
    Tick,
    Page(usize, PageRequest),
    Paged(usize, Vec<u8>),
    Ask(usize, u64, DetailsRequest),
    Told(u64, Vec<u8>),
    /// The next message of a node that floods.
    Lie,
}

/// A step of a node at a time; earlier ones first, in the order of their making.
struct Timed(Duration, u64, usize, Box<Step>);

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

/// An offer that is watched on its way.
struct Watched {
    node: NodeId,
    sequence: u64,
    since: Duration,
    /// Nodes from this one on came later.
    there: usize,
    /// When which of the others heard of it.
    seen: Vec<(usize, Duration)>,
}

struct World {
    start: Instant,
    time: Duration,
    count: u64,
    queue: BinaryHeap<Timed>,
    peers: Vec<Option<Peer>>,
    index: HashMap<NodeId, usize>,
    /// How long a message takes over a link, and when the last one arrives, by direction.
    arrived: HashMap<(usize, usize), (Duration, Duration)>,
    /// Questions that an engine holds: who asked, under which number of its own.
    asking: HashMap<(usize, u64), (usize, u64)>,
    next_asker: u64,
    watched: Vec<Watched>,
    flood: flood::Flood,
    /// How many offers the book of each node holds.
    book: usize,
    judge: Arc<Memo>,
    topic: TopicId,
    draw: Draw,
}

impl World {
    fn new(book: usize) -> Self {
        Self {
            start: Instant::now(),
            time: Duration::ZERO,
            count: 0,
            queue: BinaryHeap::new(),
            peers: Vec::new(),
            index: HashMap::new(),
            arrived: HashMap::new(),
            asking: HashMap::new(),
            next_asker: 0,
            watched: Vec::new(),
            flood: flood::Flood::default(),
            book,
            judge: Arc::default(),
            topic: TopicId::from_bytes(super::nodes::TOPIC),
            draw: Draw::new([5; 32]),
        }
    }

    fn now(&self) -> Now {
        Now {
            at: self.start + self.time,
            clock: 1_000_000 + u64::try_from(self.time.as_millis()).unwrap(),
        }
    }

    fn at(&mut self, time: Duration, to: usize, step: Step) {
        self.count += 1;
        self.queue.push(Timed(time, self.count, to, Box::new(step)));
    }

    /// A node that joins by somebody who is there.
    fn join(&mut self) -> usize {
        let at = self.peers.len();
        let node = Node::new(u32::try_from(at).unwrap());
        let id = node.id();
        let mut config = node.engine(self.book);
        config.book.judge = self.judge.clone();
        config.book.offers_per_minute = 30;
        let engine = Engine::new(config, node.ticket(), self.now().at);
        let seed = StdRng::seed_from_u64(u64::try_from(at).unwrap());
        // As long as the addresses that the real node tells with it.
        let data = PeerData::new(vec![0; 40]);
        let broadcast = super::spreading();
        let state = State::new(
            id,
            data,
            Config {
                broadcast,
                ..Config::default()
            },
            seed,
        );
        let bootstrap = self.living(|_| true);
        let bootstrap: Vec<_> = (0..2.min(bootstrap.len()))
            .map(|_| bootstrap[self.draw.below(bootstrap.len())])
            .map(|peer| self.peers[peer].as_ref().unwrap().id)
            .collect();
        self.peers.push(Some(Peer {
            node,
            id,
            state,
            engine,
            sequence: 0,
            links: HashSet::new(),
            hostile: false,
            sent: 0,
            received: 0,
        }));
        self.index.insert(id, at);
        let topic = self.topic;
        self.gossip(at, InEvent::Command(topic, Command::Join(bootstrap)));
        self.at(self.time, at, Step::Tick);
        at
    }

    fn living(&self, which: impl Fn(&Peer) -> bool) -> Vec<usize> {
        let living = self.peers.iter().enumerate();
        living
            .filter(|(_, peer)| peer.as_ref().is_some_and(&which))
            .map(|(at, _)| at)
            .collect()
    }

    fn sell(&mut self, at: usize, watch: bool) {
        let (now, time) = (self.now(), self.time);
        let Some(peer) = &mut self.peers[at] else { return };
        peer.sequence += 1;
        let effects = peer.engine.sell(now, Some(peer.node.own(peer.sequence, LIFE)));
        if watch {
            self.watched.push(Watched {
                node: peer.id,
                sequence: peer.sequence,
                since: time,
                there: self.peers.len(),
                seen: Vec::new(),
            });
        }
        self.perform(at, effects);
    }

    /// Half of those that go say goodbye; the others crash.
    fn go(&mut self, at: usize, politely: bool) {
        if politely {
            let now = self.now();
            let effects = self.peers[at].as_mut().unwrap().engine.leave(now);
            self.perform(at, effects);
            let topic = self.topic;
            self.gossip(at, InEvent::Command(topic, Command::Quit));
        }
        let peer = self.peers[at].take().unwrap();
        for other in peer.links {
            self.at(
                self.time + NOTICED,
                other,
                Step::Gossip(InEvent::PeerDisconnected(peer.id)),
            );
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.time + time;
        while self.queue.peek().is_some_and(|next| next.0 <= until) {
            let Timed(time, _, to, step) = self.queue.pop().unwrap();
            self.time = time;
            if self.peers[to].is_some() {
                self.step(to, *step);
            }
        }
        self.time = until;
    }

    fn step(&mut self, to: usize, step: Step) {
        let now = self.now();
        let peer = self.peers[to].as_mut().unwrap();
        match step {
            Step::Gossip(event) => self.gossip(to, event),
            Step::Tick => {
                let effects = peer.engine.tick(now);
                let busy = peer.engine.held()[2..] != [0, 0];
                self.at(self.time + if busy { BUSY_TICK } else { IDLE_TICK }, to, Step::Tick);
                self.perform(to, effects);
            }
            Step::Page(from, request) => {
                let page = self.page_of(to, request);
                self.send(to, from, page.len(), Step::Paged(to, page));
            }
            Step::Paged(from, page) => self.paged(to, from, &page),
            Step::Ask(from, id, request) => {
                if let Some(details) = self.made_up(to, &request) {
                    let answer = encode(&DetailsAnswer { details });
                    self.send(to, from, answer.len(), Step::Told(id, answer));
                    return;
                }
                self.next_asker += 1;
                self.asking.insert((to, self.next_asker), (from, id));
                let effects = self.peers[to]
                    .as_mut()
                    .unwrap()
                    .engine
                    .asked(now, self.next_asker, request);
                self.perform(to, effects);
            }
            Step::Lie => self.lie(to),
            Step::Told(id, answer) => {
                let answer: DetailsAnswer = decode(&answer).unwrap();
                let effects = peer.engine.told(now, id, Some(answer.details));
                self.perform(to, effects);
            }
        }
    }

    fn paged(&mut self, to: usize, from: usize, page: &[u8]) {
        let now = self.now();
        let Some(other) = self.peers[from].as_ref().map(|peer| peer.id) else {
            return;
        };
        let page: Page = decode(page).unwrap();
        for (age, digest) in page.items {
            let peer = self.peers[to].as_mut().unwrap();
            let effects = peer.engine.hear_paged(now, other, &digest, age.into());
            self.perform(to, effects);
        }
        if page.next.is_some() {
            let request = PageRequest { after: page.next };
            self.send(to, from, encode(&request).len() + 1, Step::Page(to, request));
        }
    }

    /// Gives the gossip protocol of `at` an event, and does what it says.
    fn gossip(&mut self, at: usize, event: InEvent<NodeId>) {
        let now = self.now();
        let instant = (self.start + self.time).into();
        let peer = self.peers[at].as_mut().unwrap();
        let out: Vec<_> = peer.state.handle(event, instant, None).collect();
        for event in out {
            match event {
                OutEvent::SendMessage(to, message) => {
                    // A stream names its topic once, and each message its length.
                    let size = message.size().unwrap() - 32 + 4;
                    let (to, from) = (self.index[&to], self.peers[at].as_ref().unwrap().id);
                    self.link(at, to);
                    self.send(at, to, size, Step::Gossip(InEvent::RecvMessage(from, message)));
                }
                OutEvent::ScheduleTimer(after, timer) => {
                    self.at(self.time + after, at, Step::Gossip(InEvent::TimerExpired(timer)));
                }
                OutEvent::DisconnectPeer(to) => {
                    let to = self.index[&to];
                    let from = self.peers[at].as_ref().unwrap().id;
                    self.unlink(at, to);
                    self.send(at, to, 0, Step::Gossip(InEvent::PeerDisconnected(from)));
                }
                OutEvent::EmitEvent(_, event) => {
                    let peer = self.peers[at].as_mut().unwrap();
                    let effects = match event {
                        Gossiped::NeighborUp(node) => peer.engine.neighbour_up(now, node),
                        Gossiped::NeighborDown(node) => {
                            peer.engine.neighbour_down(node);
                            Vec::new()
                        }
                        Gossiped::Received(message) => peer.engine.hear(now, message.delivered_from, &message.content),
                    };
                    self.perform(at, effects);
                }
                OutEvent::PeerData(..) => {}
            }
        }
    }

    fn link(&mut self, one: usize, other: usize) {
        for (at, to) in [(one, other), (other, one)] {
            if let Some(peer) = &mut self.peers[at] {
                peer.links.insert(to);
            }
        }
    }

    fn unlink(&mut self, one: usize, other: usize) {
        for (at, to) in [(one, other), (other, one)] {
            if let Some(peer) = &mut self.peers[at] {
                peer.links.remove(&to);
            }
        }
    }

    /// A message arrives after its link's delay and not before the one sent before it; to a node that is gone, never.
    fn send(&mut self, from: usize, to: usize, size: usize, step: Step) {
        let arrives = match self.arrived.get_mut(&(from, to)) {
            Some((delay, last)) => {
                *last = (*last).max(self.time + *delay);
                *last
            }
            None => {
                let (low, high) = (from.min(to), from.max(to));
                let hash = blake3::hash(&[low.to_le_bytes(), high.to_le_bytes()].concat());
                let delay = Duration::from_millis(5 + u64::from(hash.as_bytes()[0]) * 95 / 255);
                let first = self.time + delay * 3;
                self.arrived.insert((from, to), (delay, first));
                first
            }
        };
        let size = u64::try_from(size).unwrap();
        if let Some(peer) = &mut self.peers[from] {
            peer.sent += size;
        }
        if let Some(peer) = &mut self.peers[to] {
            peer.received += size;
        }
        self.at(arrives, to, step);
    }

    fn perform(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Flood(digest) => self.broadcast(at, digest),
                Effect::Sync(from) => {
                    let (from, request) = (self.index[&from], PageRequest { after: None });
                    self.send(at, from, encode(&request).len() + 1, Step::Page(at, request));
                }
                Effect::Pull { id, from, request } => {
                    let size = encode(&request).len() + 1;
                    if let Some(from) = self.index.get(&from).copied() {
                        self.send(at, from, size, Step::Ask(at, id, request));
                    }
                }
                Effect::Answer { asker, details } => {
                    if let Some((to, id)) = self.asking.remove(&(at, asker)) {
                        let answer = encode(&DetailsAnswer { details });
                        self.send(at, to, answer.len(), Step::Told(id, answer));
                    }
                }
                Effect::Tell(OfferEvent::Heard(heard)) => {
                    let (offer, time) = (&heard.offer, self.time);
                    let watched = self.watched.iter_mut();
                    for watched in watched.filter(|w| w.node == offer.node && w.sequence == offer.sequence) {
                        watched.seen.push((at, time - watched.since));
                    }
                }
                Effect::Tell(_) | Effect::Learn(_) | Effect::Refused(_) => {}
            }
        }
    }

    fn broadcast(&mut self, at: usize, bytes: Vec<u8>) {
        let topic = self.topic;
        self.gossip(
            at,
            InEvent::Command(topic, Command::Broadcast(bytes.into(), Scope::Swarm)),
        );
    }
}

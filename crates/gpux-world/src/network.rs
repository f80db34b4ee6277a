//! The network of a world: calls, offers and files between daemons, which it loses, delays, repeats, reorders and parts.
//!
//! One [`SimNetwork`] for the world; each life of a daemon has a [`SimNet`]. Words are encoded and decoded as on
//! the wire. What a node has stored outlives its daemon, as a disk does; what it allowed others and what it heard does not.

mod overheard;

use crate::{
    bug::Bug,
    chance::Chance,
    coverage::Reached,
    life::Life,
    manners::Doors,
    net::SimNet,
    trace::{Trace, trace},
};
use gpux_net::{BlobRef, CallError, CallHandler, HeardOffer, Keeper, OfferEvent};
use gpux_proto::{ErrorCode, PeerError, Request, Response, SignedOffer, decode, encode};
use gpux_types::{Amount, BlobHash, LeaseId, NodeId, PricePerHour};
pub(crate) use overheard::{Agreed, Overheard};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::broadcast;

/// How long a caller waits, as the real endpoint does.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a dead node's address is dialled.
pub(crate) const DIAL: Duration = Duration::from_secs(3);
/// How often an offer is announced again.
pub(crate) const ANNOUNCE: Duration = Duration::from_secs(20);

/// What one direction between two nodes does to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// Nothing comes through.
    pub(crate) cut: bool,
    /// In a thousand messages, so many are lost.
    pub(crate) lost: u64,
    /// In a thousand, so many come twice.
    pub(crate) twice: u64,
    /// How much later one comes at most, in milliseconds: what reorders.
    pub(crate) late: u64,
    /// How long each one takes at least, in milliseconds.
    pub(crate) far: u64,
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimNetwork {
    inner: Arc<Mutex<Inner>>,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
}

pub(crate) struct Inner {
    links: BTreeMap<(NodeId, NodeId), Link>,
    everywhere: Link,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    agreed: BTreeMap<LeaseId, Agreed>,
    overheard: Vec<Overheard>,
    /// What strangers without a daemon send to whom.
    lent: BTreeMap<(NodeId, NodeId), BTreeMap<BlobHash, Vec<u8>>>,
    pub(crate) doors: Doors,
    /// Nodes whose quotes are dearer than their offers.
    pub(crate) liars: BTreeSet<NodeId>,
    /// Nodes that nobody reaches, though their offers are still heard.
    pub(crate) gone: BTreeSet<NodeId>,
    /// In a thousand quotes, so many are forgotten by a crash of the provider just after.
    pub(crate) forgotten_quotes: u64,
    /// Of a thousand leases, so many are told of only when their quote is over.
    pub(crate) told_late: u64,
}

/// What is at one node.
pub(crate) struct Host {
    life: Option<Arc<Life>>,
    pub(crate) handler: Option<Arc<dyn CallHandler>>,
    pub(crate) blobs: BTreeMap<BlobHash, (Vec<u8>, BTreeSet<String>)>,
    /// Who sent all of which blob once.
    pub(crate) shown: BTreeSet<(NodeId, BlobHash)>,
    pub(crate) grants: BTreeMap<LeaseId, (NodeId, BTreeSet<BlobHash>)>,
    pub(crate) own: Option<SignedOffer>,
    pub(crate) heard: BTreeMap<NodeId, (HeardOffer, Duration)>,
    pub(crate) feed: broadcast::Sender<OfferEvent>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            life: None,
            handler: None,
            blobs: BTreeMap::new(),
            shown: BTreeSet::new(),
            grants: BTreeMap::new(),
            own: None,
            heard: BTreeMap::new(),
            feed: broadcast::channel(256).0,
        }
    }
}

impl SimNetwork {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        let inner = Inner {
            links: BTreeMap::new(),
            everywhere: Link::default(),
            hosts: BTreeMap::new(),
            agreed: BTreeMap::new(),
            overheard: Vec::new(),
            lent: BTreeMap::new(),
            doors: Doors::default(),
            liars: BTreeSet::new(),
            gone: BTreeSet::new(),
            forgotten_quotes: 0,
            told_late: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            chance,
            trace,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every link does that nothing else was said of.
    pub(crate) fn everywhere(&self, link: Link) {
        self.lock().everywhere = link;
    }

    /// Cuts one direction, or heals it.
    pub(crate) fn cut(&self, from: NodeId, to: NodeId, cut: bool) {
        let mut inner = self.lock();
        let everywhere = inner.everywhere;
        inner.links.entry((from, to)).or_insert(everywhere).cut = cut;
    }

    /// Puts a node far away from all others.
    pub(crate) fn slow_down(&self, node: NodeId, far: u64) {
        let mut inner = self.lock();
        let others: Vec<NodeId> = inner.hosts.keys().copied().filter(|other| *other != node).collect();
        let link = Link {
            far,
            ..inner.everywhere
        };
        for other in others {
            inner.links.insert((node, other), link);
            inner.links.insert((other, node), link);
        }
    }

    /// Everything comes through again.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.links.clear();
        inner.everywhere = Link::default();
    }

    /// Puts a daemon's new life on the network.
    pub(crate) fn attach(&self, me: NodeId, handler: Arc<dyn CallHandler>, life: Arc<Life>) -> SimNet {
        let mut inner = self.lock();
        let host = inner.hosts.entry(me).or_default();
        *host = Host {
            handler: Some(handler),
            life: Some(life.clone()),
            blobs: std::mem::take(&mut host.blobs),
            ..Host::default()
        };
        drop(inner);
        SimNet {
            network: self.clone(),
            me,
            life,
            wild: None,
        }
    }

    /// The daemon of a node is gone.
    pub(crate) fn detach(&self, node: NodeId) {
        if let Some(host) = self.lock().hosts.get_mut(&node) {
            (host.handler, host.own, host.life) = (None, None, None);
            host.grants.clear();
        }
    }

    /// Announces every offer again, and forgets those that were not heard in time.
    pub(crate) fn gossip(&self) {
        let own: Vec<(NodeId, SignedOffer)> = {
            let inner = self.lock();
            let own = inner
                .hosts
                .iter()
                .filter_map(|(node, host)| Some((*node, host.own.clone()?)));
            own.collect()
        };
        for (node, offer) in own {
            self.announce(node, &offer);
        }
        let now = self.trace.now();
        for host in self.lock().hosts.values_mut() {
            let over: Vec<NodeId> = host
                .heard
                .iter()
                .filter(|(_, (_, until))| *until <= now)
                .map(|(node, _)| *node)
                .collect();
            for node in over {
                host.heard.remove(&node);
                // Nobody may be listening.
                let _ = host.feed.send(OfferEvent::Expired(node));
            }
        }
    }

    pub(crate) fn announce(&self, from: NodeId, signed: &SignedOffer) {
        let others: Vec<NodeId> = self.lock().hosts.keys().copied().filter(|node| *node != from).collect();
        for to in others {
            if let Some((delay, _)) = self.fate(from, to) {
                let (network, signed) = (self.clone(), signed.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    network.hear(from, to, &signed);
                });
            }
        }
    }

    fn hear(&self, from: NodeId, to: NodeId, signed: &SignedOffer) {
        let Ok(offer) = signed.verify() else { return };
        let now = self.trace.now();
        let mut inner = self.lock();
        let Some(host) = inner.hosts.get_mut(&to).filter(|host| host.handler.is_some()) else {
            return;
        };
        let until = now.saturating_add(offer.ttl.into());
        let valid_for = offer.ttl;
        let event = match host.heard.get(&from) {
            Some((known, _)) if known.offer.sequence > offer.sequence => return,
            Some((known, _)) if known.offer.sequence == offer.sequence => OfferEvent::Renewed(from, valid_for),
            _ => OfferEvent::Heard(Box::new(HeardOffer {
                offer: offer.clone(),
                signed: signed.clone(),
                valid_for,
            })),
        };
        let heard = HeardOffer {
            offer,
            signed: signed.clone(),
            valid_for,
        };
        host.heard.insert(from, (heard, until));
        // Nobody may be listening.
        let _ = host.feed.send(event);
    }

    /// When a message comes and whether twice, or that it never does.
    pub(crate) fn fate(&self, from: NodeId, to: NodeId) -> Option<(Duration, bool)> {
        let link = {
            let inner = self.lock();
            inner.links.get(&(from, to)).copied().unwrap_or(inner.everywhere)
        };
        let late = if link.late > 0 && self.chance.in_thousand(200) {
            link.late
        } else {
            0
        };
        let delay = self.chance.millis(3, 40) + self.chance.millis(0, late + 1);
        let delay = delay.max(Duration::from_millis(link.far));
        let lost = link.cut || self.chance.in_thousand(link.lost);
        let twice = self.chance.in_thousand(link.twice);
        (!lost).then_some((delay, twice))
    }

    pub(crate) fn handler(&self, node: NodeId) -> Option<Arc<dyn CallHandler>> {
        let inner = self.lock();
        let host = inner.hosts.get(&node)?;
        let lives = host.life.as_ref().is_some_and(|life| !life.is_over());
        host.handler.clone().filter(|_| lives)
    }

    pub(crate) fn blob(&self, node: NodeId, hash: BlobHash) -> Option<Vec<u8>> {
        let inner = self.lock();
        let host = inner.hosts.get(&node)?;
        host.blobs.get(&hash).map(|(bytes, _)| bytes.clone())
    }

    /// Lets a stranger without a daemon send a node what that node has already: it asks for work in the words of others.
    pub(crate) fn lend(&self, stranger: NodeId, node: NodeId, blobs: impl Iterator<Item = BlobHash>) {
        let mut inner = self.lock();
        let Some(host) = inner.hosts.get(&node) else { return };
        let here = blobs.filter_map(|hash| host.blobs.get(&hash).map(|(bytes, _)| (hash, bytes.clone())));
        let here: Vec<_> = here.collect();
        inner.lent.entry((stranger, node)).or_default().extend(here);
    }

    /// What a stranger sends.
    pub(crate) fn lent(&self, from: NodeId, to: NodeId, hash: BlobHash) -> Option<Vec<u8>> {
        self.lock().lent.get(&(from, to))?.get(&hash).cloned()
    }

    /// Whether a node keeps any blob for the lease.
    pub(crate) fn keeps(&self, node: NodeId, lease: LeaseId) -> bool {
        let (inner, keeper) = (self.lock(), Keeper::Lease(lease).to_string());
        let host = inner.hosts.get(&node);
        host.is_some_and(|host| host.blobs.values().any(|(_, keepers)| keepers.contains(&keeper)))
    }

    pub(crate) fn store(&self, node: NodeId, bytes: Vec<u8>, keeper: Keeper) -> BlobRef {
        let hash = BlobHash(*blake3::hash(&bytes).as_bytes());
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        let host = inner.hosts.entry(node).or_default();
        host.blobs
            .entry(hash)
            .or_insert((bytes, BTreeSet::new()))
            .1
            .insert(keeper.to_string());
        BlobRef { hash, size }
    }

    /// Delivers a request to `to` and gives the answer, from wherever in the world.
    pub(crate) async fn carry(&self, from: NodeId, to: NodeId, request: &Request) -> Result<Response, CallError> {
        let begun = tokio::time::Instant::now();
        let timed_out = CallError::TimedOut {
            peer: to,
            after: CALL_TIMEOUT,
        };
        let words = encode(request);
        self.overhear((from, to), request, None);
        let fate = self.fate(from, to).filter(|_| !self.is_untold(request));
        let Some((delay, twice)) = fate else {
            tokio::time::sleep(CALL_TIMEOUT).await;
            return Err(timed_out);
        };
        tokio::time::sleep(delay).await;
        if self.handler(to).is_none() || self.lock().gone.contains(&to) {
            tokio::time::sleep(DIAL).await;
            return Err(dial(to));
        }
        if twice {
            let (network, words) = (self.clone(), words.clone());
            tokio::spawn(async move {
                tokio::time::sleep(network.chance.millis(10, 3_000)).await;
                network.deliver(from, to, &words).await;
            });
        }
        // What was delivered goes on also when the caller does not wait for it.
        let (network, answered) = (self.clone(), tokio::sync::oneshot::channel());
        let (sender, receiver) = answered;
        tokio::spawn(async move {
            let answer = network.deliver(from, to, &words).await;
            let back = network.fate(to, from);
            if let (Some(answer), Some((delay, _))) = (answer, back) {
                tokio::time::sleep(delay).await;
                // The caller may have gone.
                let _ = sender.send(answer);
            }
        });
        let left = CALL_TIMEOUT.saturating_sub(begun.elapsed());
        let answer = match tokio::time::timeout(left, receiver).await {
            Ok(Ok(words)) => words,
            // A life that ended while it answered, or an answer that was lost.
            Ok(Err(_)) => {
                tokio::time::sleep(CALL_TIMEOUT.saturating_sub(begun.elapsed())).await;
                return Err(timed_out);
            }
            Err(_) => return Err(timed_out),
        };
        match decode::<Response>(&answer) {
            Ok(Response::Error(source)) => Err(CallError::Refused { peer: to, source }),
            Ok(response) => Ok(response),
            Err(source) => Err(CallError::Answer {
                peer: to,
                source: source.into(),
            }),
        }
    }

    /// Whether a lease is told of so early that nobody is to hear it yet.
    fn is_untold(&self, request: &Request) -> bool {
        let Request::Lease(asked) = request else { return false };
        let lease = asked.quote.verify(&asked.request).map(|(_, lease)| lease);
        let inner = self.lock();
        let agreed = lease.ok().and_then(|lease| inner.agreed.get(&lease));
        agreed.is_some_and(|agreed| self.trace.now() < agreed.untold_until)
    }

    /// Perhaps a provider crashes as soon as it has answered a request for a quote.
    fn forget_quote(&self, provider: NodeId, answer: &Response) {
        let inner = self.lock();
        let often = inner.forgotten_quotes;
        if often > 0
            && matches!(answer, Response::Quote(_))
            && self.chance.in_thousand(often)
            && let Some(life) = inner.hosts.get(&provider).and_then(|host| host.life.clone())
        {
            self.trace.reach(Reached::QuoteForgotten);
            life.end();
        }
    }

    async fn deliver(&self, from: NodeId, to: NodeId, words: &[u8]) -> Option<Vec<u8>> {
        let handler = self.handler(to)?;
        let mut request = decode::<Request>(words).ok()?;
        let name = name(&request);
        self.through_the_door(to, &mut request);
        let answer = if self.loses(&request) {
            Response::Accepted
        } else {
            handler.call(from, request.clone()).await
        };
        let answer = self.out_of_the_door(to, &request, answer);
        self.overhear((from, to), &request, Some(&answer));
        self.forget_quote(to, &answer);
        let said = if let Response::Error(error) = &answer {
            format!("no: {error}")
        } else {
            "yes".to_owned()
        };
        trace!(self.trace, "net: {} -> {} {name}: {said}", from.short(), to.short());
        let mut answer = answer;
        if let Response::Quote(quote) = &mut answer
            && self.lock().liars.contains(&to)
        {
            quote.quote.price = PricePerHour(Amount::MAX);
        }
        let deaf = self.lock().doors.bug == Some(Bug::DeafToGiving) && matches!(answer, Response::TooLate(_));
        let answer = if deaf {
            Response::Error(PeerError::new(ErrorCode::QuoteGone, "too late"))
        } else {
            answer
        };
        Some(encode(&answer))
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Quote(_) => "quote",
        Request::Lease(_) => "lease",
        Request::Part(..) => "part",
        Request::Stand(..) => "stand",
        Request::Go(_) => "go",
        Request::CancelPart(_) => "cancel",
        Request::WillClose(_) => "will close",
        Request::Stop(_) => "stop",
        Request::Status(_) => "status",
        Request::Meter(_) => "meter",
        Request::PartReport(_) => "report",
        Request::Closing(_) => "closing",
        Request::Record(_) => "record",
        Request::Watch(_) => "watch",
        Request::Release(_) => "release",
    }
}

pub(crate) fn dial(peer: NodeId) -> CallError {
    CallError::Dial {
        peer,
        source: "nobody is there".into(),
    }
}

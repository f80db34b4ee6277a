//! What the world hears on its network: what was agreed and signed, by its words and nobody's fields, for those who judge
//! afterwards, and the newest requests, for those who send them again.

use super::{Inner, SimNetwork};
use crate::{coverage::Reached, life::Life};
use gpux_lease::{QUOTE_HOLDS, Terms};
use gpux_proto::{JobSpec, QuoteRequest, Request, Response, SignedQuote};
use gpux_types::{Amount, LeaseId, NodeId, PricePerHour, Resources};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What the world heard of a lease on the network, by its words and nobody's fields.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) renter: NodeId,
    pub(crate) provider: NodeId,
    pub(crate) terms: Terms,
    pub(crate) price: PricePerHour,
    pub(crate) resources: Resources,
    /// The most that was signed, whoever heard it.
    pub(crate) signed: Amount,
    /// Whether the provider took the lease: before that it knows of no deposit.
    pub(crate) taken: bool,
    /// When the first receipt was signed.
    pub(crate) since: Option<Duration>,
    /// The closing amount that the renter took first.
    pub(crate) closing: Option<Amount>,
    /// Whether the renter signed how it ended.
    pub(crate) recorded: bool,
    /// When the provider gave the deposit back as too late.
    pub(crate) given_back: Option<Duration>,
    /// The life of its daemon that did: another one knows nothing of it.
    pub(crate) given_by: Option<Arc<Life>>,
    /// The life of the renter's daemon that heard so, and had a disk to write it down.
    pub(crate) heard_back: Option<Arc<Life>>,
    /// Until when nobody tells the provider that it has the lease.
    pub(crate) untold_until: Duration,
    /// When its provider heard that the renter does not want it any more.
    pub(crate) stopped: Option<Duration>,
    /// The job that it is for, by its hash.
    pub(crate) job: [u8; 32],
    /// How many ranks that job has, where it is a gang.
    pub(crate) gang: Option<usize>,
}

impl Agreed {
    /// What a quote says, once it is given.
    fn of(
        (renter, provider): (NodeId, NodeId),
        quote: &SignedQuote,
        request: &QuoteRequest,
        untold_until: Duration,
    ) -> Option<(LeaseId, Self)> {
        let (terms, lease) = quote.verify(request).ok()?;
        let agreed = Self {
            renter,
            provider,
            price: quote.quote.gross_price(terms.builder_share),
            terms,
            resources: quote.quote.resources,
            signed: Amount::ZERO,
            taken: false,
            since: None,
            closing: None,
            recorded: false,
            given_back: None,
            given_by: None,
            heard_back: None,
            untold_until,
            stopped: None,
            job: request.job_hash,
            gang: None,
        };
        Some((lease, agreed))
    }
}

/// A request that somebody heard.
#[derive(Debug, Clone)]
pub(crate) struct Overheard {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) request: Request,
}

/// How many requests are remembered for those who send them again.
const OVERHEARD: usize = 64;

impl Inner {
    /// Keeps the newest requests, but not what is asked all the time.
    pub(super) fn keep(&mut self, (from, to): (NodeId, NodeId), request: &Request) {
        if matches!(request, Request::Status(_)) {
            return;
        }
        if self.overheard.len() == OVERHEARD {
            self.overheard.remove(0);
        }
        let request = request.clone();
        self.overheard.push(Overheard { from, to, request });
    }
}

impl SimNetwork {
    /// Every lease that was ever asked for.
    pub(crate) fn agreed(&self) -> BTreeMap<LeaseId, Agreed> {
        self.lock().agreed.clone()
    }

    /// The newest requests.
    pub(crate) fn overheard(&self) -> Vec<Overheard> {
        self.lock().overheard.clone()
    }

    /// Notes what was agreed and signed, as it is said.
    pub(super) fn overhear(&self, (from, to): (NodeId, NodeId), request: &Request, answer: Option<&Response>) {
        let mut inner = self.lock();
        if answer.is_none() {
            inner.keep((from, to), request);
        }
        match (request, answer) {
            // A deposit may be in a block before its provider hears of it.
            (Request::Quote(asked), Some(Response::Quote(quote))) => {
                let late = inner.told_late > 0 && self.chance.in_thousand(inner.told_late);
                let over = if late { QUOTE_HOLDS.into() } else { Duration::ZERO };
                let agreed = Agreed::of((from, to), quote, &asked.request, self.trace.now() + over);
                if let Some((lease, agreed)) = agreed {
                    inner.agreed.entry(lease).or_insert(agreed);
                }
            }
            (Request::Lease(_), Some(Response::TooLate(offer))) => {
                self.trace.reach(Reached::GivenBack);
                let life = inner.hosts.get(&to).and_then(|host| host.life.clone());
                if let Some(agreed) = inner.agreed.get_mut(&offer.lease) {
                    agreed.given_by = life;
                    agreed.given_back.get_or_insert(self.trace.now());
                }
            }
            (Request::Stop(stop), Some(Response::Accepted)) => {
                if let Some(agreed) = inner.agreed.get_mut(&stop.lease) {
                    agreed.stopped.get_or_insert(self.trace.now());
                }
            }
            (Request::Closing(offer), Some(Response::Accepted)) => {
                if let Some(agreed) = inner.agreed.get_mut(&offer.lease) {
                    agreed.closing.get_or_insert(offer.amount);
                }
            }
            (Request::Record(signed), Some(Response::Record(_))) => {
                if let Some(agreed) = inner.agreed.get_mut(&signed.statement.lease) {
                    agreed.recorded = true;
                }
            }
            (Request::Lease(asked), Some(answer)) if !matches!(answer, Response::Error(_)) => {
                if let Ok((_, lease)) = asked.quote.verify(&asked.request)
                    && let Some(agreed) = inner.agreed.get_mut(&lease)
                {
                    agreed.taken = true;
                    agreed.gang = ranks(&asked.job);
                }
            }
            (Request::Meter(report), Some(Response::Receipt { cumulative, .. })) => {
                if *cumulative < report.asked {
                    self.trace.reach(Reached::LowerReceipt);
                }
                if let Some(agreed) = inner.agreed.get_mut(&report.lease) {
                    agreed.signed = agreed.signed.max(*cumulative);
                    agreed.since.get_or_insert(self.trace.now());
                }
            }
            (Request::Stand(_, spec), Some(Response::Accepted)) if spec.attempt > 0 => {
                self.trace.reach(Reached::GangTriedAgain);
            }
            (Request::Go(_), Some(Response::Accepted)) => self.trace.reach(Reached::GangWent),
            _ => {}
        }
    }

    /// A renter's daemon heard that its deposit is given back.
    pub(crate) fn heard_back(&self, lease: LeaseId, life: &Arc<Life>) {
        if let Some(agreed) = self.lock().agreed.get_mut(&lease).filter(|_| life.can_write()) {
            agreed.heard_back = Some(life.clone());
        }
    }
}

/// How many ranks a job has, where it is a gang.
fn ranks(job: &JobSpec) -> Option<usize> {
    let value = |name: &str| {
        let mut all = job.command.environment.iter();
        all.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let nodes = value("GPUX_NUM_NODES")?.parse().ok()?;
    (value("GPUX_ARRAY_COUNT").is_none() && nodes > 1).then_some(nodes)
}

//! What the node's owner says about selling, and what the owner is shown: orders that outlive the daemon, what renters asked,
//! and why there may be no jobs. Called by the API; quotes and the offer obey the orders.

use super::{LeaseRecord, Provider, Selling};
use crate::{
    fault::{fault, internal},
    node::Node,
    store::{Role, Store, StoreError},
};
use gpux_api::{
    AskedView, ErrorBody, ErrorCode, IdleReason, NodeView, PricesRequest, PricesView, ProvidedLease, ProvidedState,
    RatesView, StandingView, Taking,
};
use gpux_lease::EscrowView;
use gpux_market::{OfferBook, PriceStats, Rates, percentiles};
use gpux_proto::{ErrorCode as PeerErrorCode, PeerError, Phase};
use gpux_types::{ByteSize, Cpu, LeaseId, Millis, NodeId, PricePerHour, Resources, Token};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name under which the orders are kept.
const ORDERS: &str = "owner's orders";
/// What prices are compared by: a lease of what a job file asks for that names no resources.
const SMALL: Resources = Resources {
    cpu: Cpu { millicores: 1_000 },
    memory: ByteSize(1 << 30),
    disk: ByteSize(1 << 30),
};

/// What the owner decided, kept over restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orders {
    /// Whether new leases are taken.
    #[serde(default)]
    taking: Taking,
    /// Prices that go before those of the configuration.
    #[serde(default)]
    rates: Option<Rates>,
}

impl Orders {
    pub(super) fn check_taking(&self) -> Result<(), PeerError> {
        match self.taking {
            Taking::Open => Ok(()),
            Taking::Paused => Err(PeerError::new(
                PeerErrorCode::NoCapacity,
                "this node takes no new leases at present",
            )),
        }
    }
}

/// What renters asked since the daemon started.
#[derive(Debug, Default)]
pub(super) struct Asked {
    quotes: u64,
    leases: u64,
    refused: BTreeMap<&'static str, u64>,
    /// The newest refusal, in its own words.
    last_refusal: Option<String>,
}

impl Asked {
    /// Counts what became of a request for a quote.
    pub(super) fn count_quote<T>(&mut self, answer: &Result<T, PeerError>) {
        match answer {
            Ok(_) => self.quotes = self.quotes.saturating_add(1),
            Err(error) => {
                let count = self.refused.entry(word(error.code)).or_default();
                *count = count.saturating_add(1);
                self.last_refusal = Some(error.message.clone());
            }
        }
    }

    /// Counts a lease that was taken on.
    pub(super) const fn count_lease(&mut self) {
        self.leases = self.leases.saturating_add(1);
    }

    fn view(&self) -> AskedView {
        let refused = self.refused.iter().map(|(code, count)| ((*code).to_owned(), *count));
        AskedView {
            quotes: self.quotes,
            leases: self.leases,
            refused: refused.collect(),
        }
    }

    fn refusals(&self) -> u64 {
        self.refused.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// A refusal's word in documents.
const fn word(code: PeerErrorCode) -> &'static str {
    match code {
        PeerErrorCode::BadRequest => "bad_request",
        PeerErrorCode::NotAuthorised => "not_authorised",
        PeerErrorCode::NoSuchLease => "no_such_lease",
        PeerErrorCode::NoCapacity => "no_capacity",
        PeerErrorCode::NotCovered => "not_covered",
        PeerErrorCode::Unsupported => "unsupported",
        PeerErrorCode::QuoteGone => "quote_gone",
        PeerErrorCode::TooMany => "too_many",
        PeerErrorCode::Internal => "internal",
    }
}

impl Provider {
    /// Takes up what the owner decided while an earlier daemon ran.
    pub(crate) fn obey(&self, store: &Store) -> Result<(), StoreError> {
        self.lock().orders = store.fact(ORDERS)?.unwrap_or_default();
        Ok(())
    }

    /// What is sold now: with the owner's prices where there are some.
    pub(super) fn selling_now(&self) -> Selling {
        let mut selling = (*self.selling).clone();
        if let Some(rates) = self.lock().orders.rates {
            selling.rates = rates;
        }
        selling
    }

    /// Whether new leases are taken.
    pub(crate) fn taking(&self) -> Taking {
        self.lock().orders.taking
    }

    /// Refuses to promise anything while the owner wants no new leases. A quote that was given is kept.
    pub(super) fn check_taking(&self) -> Result<(), PeerError> {
        self.lock().orders.check_taking()
    }

    /// Changes what the owner decided, on the disk first, and publishes the offer anew.
    fn change_orders(
        &self,
        store: &Store,
        change: impl FnOnce(&mut Orders) -> Result<(), ErrorBody>,
    ) -> Result<(), ErrorBody> {
        let mut desk = self.lock();
        let mut orders = desk.orders;
        change(&mut orders)?;
        let kept = store.put_fact(ORDERS, &orders);
        kept.map_err(|error| internal("keeping what the node's owner decided", &error))?;
        desk.orders = orders;
        drop(desk);
        self.changed.notify_one();
        Ok(())
    }
}

/// The provider of this node, or why there is none.
pub(crate) fn provider(node: &Node) -> Result<&Provider, ErrorBody> {
    node.provider.as_ref().ok_or_else(|| {
        let message = "asking this node what it sells: it sells nothing";
        ErrorBody::new(ErrorCode::Conflict, message).with_hint(
            "a node sells when its config.toml has a [provide] section; of several nodes on this machine, --dir names one",
        )
    })
}

/// Takes new leases, or takes none.
pub(crate) fn set_taking(node: &Node, taking: Taking) -> Result<NodeView, ErrorBody> {
    let provider = provider(node)?;
    provider.change_orders(&node.store, |orders| {
        orders.taking = taking;
        Ok(())
    })?;
    tracing::info!(?taking, "the owner decided about new leases");
    view(node)
}

/// Asks other prices from now on.
pub(crate) fn set_prices(node: &Node, request: &PricesRequest) -> Result<NodeView, ErrorBody> {
    let provider = provider(node)?;
    let token = &node.chain.token().token;
    let configured = provider.selling.rates;
    provider.change_orders(&node.store, |orders| {
        let before = orders.rates.filter(|_| !request.reset).unwrap_or(configured);
        let rates = changed(token, before, request)?;
        orders.rates = (rates != configured).then_some(rates);
        Ok(())
    })?;
    tracing::info!("the owner decided about prices");
    view(node)
}

/// The rates with what was asked for in place of what they were.
fn changed(token: &Token, before: Rates, request: &PricesRequest) -> Result<Rates, ErrorBody> {
    let parse = |name: &str, text: &Option<String>, before| match text {
        None => Ok(before),
        Some(text) => token.parse(text).map(PricePerHour).map_err(|error| {
            fault(ErrorCode::InvalidInput, &format!("reading the price of {name}"), &error)
                .with_hint(format!("write it in {}, such as 0.05", token.symbol))
        }),
    };
    Ok(Rates {
        cpu_core: parse("a core", &request.cpu, before.cpu_core)?,
        memory_gib: parse("memory", &request.memory, before.memory_gib)?,
        disk_gib: parse("disk", &request.disk, before.disk_gib)?,
    })
}

/// The node for its owner. It looks at every offer and every lease: not for the runtime's own threads.
pub(crate) fn view(node: &Node) -> Result<NodeView, ErrorBody> {
    let provider = provider(node)?;
    let (total, free, _) = provider.load();
    let asked = provider.selling_now().rates;
    let own = node.net.node_id();
    let standing = standing(&node.market.copy(node.clock.now())(), own, &asked, node);
    // Before the leases: a quote that becomes one meanwhile is seen twice, and never not at all.
    let quotes = provider.quotes_held(node.clock.now());
    let leases = leases(node, provider)?;
    let neighbours = node.net.neighbours().len();
    let desk = provider.lock();
    let why_idle = if leases.is_empty() {
        why_idle(&Idle {
            taking: desk.orders.taking,
            no_runtime: node.why_no_runtime.as_deref(),
            neighbours,
            standing: &standing,
            token: &node.chain.token().token,
            asked: &desk.asked,
            up: node.clock.now(),
        })
    } else {
        Vec::new()
    };
    Ok(NodeView {
        schema: "gpux.node/v1".into(),
        node: own,
        up: node.clock.now(),
        taking: desk.orders.taking,
        token: node.chain.token().token.clone(),
        prices: PricesView {
            asked: rates_view(&asked),
            configured: rates_view(&provider.selling.rates),
            standing,
        },
        total,
        free,
        leases,
        quotes: u32::try_from(quotes).unwrap_or(u32::MAX),
        neighbours: u32::try_from(neighbours).unwrap_or(u32::MAX),
        asked: desk.asked.view(),
        why_idle,
    })
}

const fn rates_view(rates: &Rates) -> RatesView {
    RatesView {
        cpu_core: rates.cpu_core,
        memory_gib: rates.memory_gib,
        disk_gib: rates.disk_gib,
    }
}

/// How a node's rates stand beside those of the other nodes.
fn standing(book: &OfferBook, own: NodeId, rates: &Rates, node: &Node) -> StandingView {
    let token = node.chain.token().address;
    let others = book
        .iter()
        .filter(|offer| offer.node != own && offer.token == token && offer.total.covers(&SMALL));
    let prices: Vec<PricePerHour> = others.map(|offer| offer.price_of(&SMALL)).collect();
    let price = rates.price_of(&SMALL);
    let cheaper = prices.iter().filter(|other| **other < price).count();
    let stats = percentiles(prices);
    let at = |of: fn(&PriceStats) -> PricePerHour| stats.as_ref().map(of);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    StandingView {
        of: SMALL,
        own: price,
        others: count(stats.map_or(0, |stats| stats.count)),
        cheaper: count(cheaper),
        p10: at(|stats| stats.p10),
        p50: at(|stats| stats.p50),
        p90: at(|stats| stats.p90),
    }
}

/// The leases that are not over, as the disk has them, with what their tasks last said.
fn leases(node: &Node, provider: &Provider) -> Result<Vec<ProvidedLease>, ErrorBody> {
    let kept = node.store.open_leases::<LeaseRecord>(Role::Provider);
    let kept = kept.map_err(|error| internal("reading this node's leases", &error))?;
    let live: BTreeMap<LeaseId, _> = {
        let desk = provider.lock();
        let entries = desk.leases.iter();
        entries
            .map(|(id, entry)| (*id, entry.report.borrow().clone()))
            .collect()
    };
    let leases = kept.readable.iter().filter_map(|record| {
        let report = live.get(&record.lease)?;
        let expiry = match record.machine.escrow() {
            EscrowView::Open { expiry, .. } => Some(expiry),
            EscrowView::Absent | EscrowView::Closed { .. } => None,
        };
        Some(ProvidedLease {
            id: record.lease,
            state: state(&report.phase),
            renter: record.terms.renter.to_string(),
            node: record.request.request.renter_node,
            resources: record.request.quote.quote.resources,
            price: record.request.quote.quote.price,
            metered: report.metered,
            signed: report.signed,
            expiry,
        })
    });
    Ok(leases.filter(|lease| lease.state != ProvidedState::Ended).collect())
}

const fn state(phase: &Phase) -> ProvidedState {
    match phase {
        Phase::Preparing { .. } => ProvidedState::Preparing,
        Phase::AwaitingDeposit => ProvidedState::AwaitingDeposit,
        Phase::AwaitingReceipt => ProvidedState::AwaitingReceipt,
        Phase::Running => ProvidedState::Running,
        Phase::Frozen => ProvidedState::Frozen,
        Phase::Stopping => ProvidedState::Stopping,
        Phase::Settling => ProvidedState::Settling,
        Phase::Ended => ProvidedState::Ended,
    }
}

/// What may keep jobs away.
struct Idle<'a> {
    taking: Taking,
    no_runtime: Option<&'a str>,
    neighbours: usize,
    standing: &'a StandingView,
    token: &'a Token,
    asked: &'a Asked,
    up: Millis,
}

/// Why a node without a lease may have none, the weightiest first: what keeps every job away, then what keeps some away.
fn why_idle(idle: &Idle<'_>) -> Vec<IdleReason> {
    let mut reasons = Vec::new();
    let mut say = |found: String, hint: Option<&str>| {
        let hint = hint.map(str::to_owned);
        reasons.push(IdleReason { found, hint });
    };
    if idle.taking == Taking::Paused {
        say("new leases are paused".into(), Some("`gpux node resume`"));
    }
    if let Some(why) = idle.no_runtime {
        let hint = "`gpux doctor` says how to mend it";
        say(format!("this machine cannot run containers: {why}"), Some(hint));
    }
    if idle.neighbours == 0 {
        let hint = "give network.bootstrap in config.toml the ticket of a peer, and see that UDP gets through";
        say("no other node is connected: nobody hears the offer".into(), Some(hint));
    }
    let standing = idle.standing;
    if standing.cheaper.saturating_mul(2) > standing.others {
        let (own, middle) = (standing.own, standing.p50.unwrap_or(standing.own));
        let price = |price: PricePerHour| idle.token.format_short(price.0, 6);
        let found = format!(
            "{} of {} other nodes ask less: {} an hour for a small lease here, {} in the middle",
            standing.cheaper,
            standing.others,
            price(own),
            price(middle)
        );
        say(found, Some("`gpux node price` shows and changes what is asked"));
    }
    let (given, refused) = (idle.asked.quotes, idle.asked.refusals());
    if let (1.., Some(last)) = (refused, &idle.asked.last_refusal) {
        let all = refused.saturating_add(given);
        say(
            format!("{refused} of {all} requests for a quote were refused; the last one: {last}"),
            None,
        );
    }
    if given > 0 && idle.asked.leases == 0 {
        let hint = "renters ask several nodes and take the best: a lower price or more of it helps";
        say(
            format!("{given} quotes were given, and none became a lease"),
            Some(hint),
        );
    }
    if given == 0 && refused == 0 {
        let hint = "an offer takes some seconds to be known; after that few renters ask, or others offer more";
        say(
            format!("no renter has asked since the daemon started, {} ago", coarse(idle.up)),
            Some(hint),
        );
    }
    reasons
}

/// A span as people say it: whole seconds, minutes or hours.
fn coarse(span: Millis) -> Millis {
    let secs = span.as_secs();
    let unit = match secs {
        0..120 => 1,
        120..7_200 => 60,
        _ => 3_600,
    };
    Millis::from_secs(secs / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::Amount;

    fn dai() -> Token {
        Token {
            symbol: "DAI".into(),
            decimals: 18,
        }
    }

    fn rate(units: u128) -> PricePerHour {
        PricePerHour(Amount::new(units).unwrap())
    }

    fn rates(cpu: u128, memory: u128, disk: u128) -> Rates {
        Rates {
            cpu_core: rate(cpu),
            memory_gib: rate(memory),
            disk_gib: rate(disk),
        }
    }

    /// A node among ten others, `cheaper` of which ask less.
    fn found(cheaper: u32, asked: &Asked, change: impl FnOnce(&mut Idle<'_>)) -> Vec<String> {
        let token = dai();
        let standing = StandingView {
            of: SMALL,
            own: rate(60_000_000_000_000_000),
            others: 10,
            cheaper,
            p10: None,
            p50: Some(rate(50_000_000_000_000_000)),
            p90: None,
        };
        let mut idle = Idle {
            taking: Taking::Open,
            no_runtime: None,
            neighbours: 3,
            standing: &standing,
            token: &token,
            asked,
            up: Millis(185_000),
        };
        change(&mut idle);
        why_idle(&idle).into_iter().map(|reason| reason.found).collect()
    }

    #[test]
    fn a_node_without_jobs_says_why_the_weightiest_first() {
        let unasked = "no renter has asked since the daemon started, 3m ago";
        let half = found(5, &Asked::default(), |_| {});
        assert_eq!(half, [unasked], "half of the others ask more");
        let dear = "6 of 10 other nodes ask less: 0.06 DAI an hour for a small lease here, 0.05 DAI in the middle";
        assert_eq!(found(6, &Asked::default(), |_| {}), [dear, unasked]);
        let mut asked = Asked::default();
        asked.count_quote(&Ok(()));
        let refusal = PeerError::new(PeerErrorCode::NoCapacity, "no room");
        asked.count_quote::<()>(&Err(refusal));
        let all = found(6, &asked, |idle| {
            idle.taking = Taking::Paused;
            idle.no_runtime = Some("not root");
            idle.neighbours = 0;
        });
        let begins = [
            "new leases are paused",
            "this machine cannot run containers: not root",
            "no other node is connected",
            "6 of 10",
            "1 of 2 requests for a quote were refused; the last one: no room",
            "1 quotes were given, and none became a lease",
        ];
        assert!(all.len() == begins.len(), "{all:?}");
        assert!(
            all.iter().zip(begins).all(|(said, begin)| said.starts_with(begin)),
            "{all:?}"
        );
        assert_eq!(asked.view().refused, BTreeMap::from([("no_capacity".to_owned(), 1)]));
    }

    #[test]
    fn a_price_that_is_not_named_stays_and_one_that_is_no_amount_changes_nothing() {
        let request = |cpu: &str| PricesRequest {
            cpu: Some(cpu.to_owned()),
            ..PricesRequest::default()
        };
        let after = changed(&dai(), rates(1, 2, 3), &request("0.000000000000000005")).unwrap();
        assert_eq!(after, rates(5, 2, 3));
        for wrong in ["-1", "1e3", "five", "0.0000000000000000001"] {
            let error = changed(&dai(), rates(1, 2, 3), &request(wrong)).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidInput, "{wrong}");
        }
    }
}

//! The provider: answers requests for quotes, takes leases on, and keeps one task for each.
//!
//! ```text
//! peer call ──> Provider (desk: capacity, one entry per lease) ──input──> LeaseTask (owns ProviderLease and its parts)
//! ```

mod calls;
mod capacity;
mod chain;
mod disk;
mod inputs;
mod journal;
mod lease;
mod meter;
mod offer;
mod outputs;
pub(crate) mod owner;
mod parts;
mod prepare;
mod quote;
mod receipt;
mod record;
mod room;
mod sweep;
mod towers;
mod unpaid;

pub(crate) use sweep::{CollectorError, make};
pub(crate) use towers::{COLLECT, Towers};

use crate::{
    node::Node,
    store::{Role, Store, StoreError},
};
use capacity::{Capacity, Share};
use disk::Disk;
use gpux_chain::{Depth, HotKey, Signature, SlotStatus};
use gpux_lease::{Actor, End, EndReason, EscrowRef, Exposed, Exposure, closing_digest, recover_signer};
use gpux_market::Rates;
use gpux_proto::{
    ClosingOffer, ErrorCode, LeaseReport, LeaseRequest, MAX_OTHERS, PeerError, QuoteRequest, Response,
    SignedQuoteRequest,
};
use gpux_types::{Address, Amount, B256, LeaseId, Millis, NodeId, Resources};
use lease::{LeaseInput, LeaseRecord, LeaseTask};
pub(crate) use parts::Gate;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, mpsc, watch};

/// How many inputs may wait for one lease's task. When it is full the caller waits, and with it one call of the peer.
const LEASE_INPUTS: usize = 64;

/// Leases of an earlier daemon that cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// What the runtime still has of them cannot be told.
    #[error(transparent)]
    Runtime(#[from] gpux_runtime::AdoptError),
    /// The database does not say which leases there are. Nothing is stopped: work that is paid for may be under way.
    #[error(
        "reading which leases this node has; no work was stopped: put the database back from a copy, or start the version of gpux that wrote it"
    )]
    Records(#[from] StoreError),
}

/// What the provider sells and by whose hand.
#[derive(Debug, Clone)]
pub(crate) struct Selling {
    /// Whom the escrow pays: the payout address, or the collector that pays it.
    pub(crate) payee: Address,
    /// Net rates.
    pub(crate) rates: Rates,
    /// Everything that is offered.
    pub(crate) total: Resources,
    /// The longest lease.
    pub(crate) longest: Millis,
    /// Where the node says that it is.
    pub(crate) region: Option<gpux_market::Tag>,
    /// What the node can do, as its owner says.
    pub(crate) features: BTreeSet<gpux_market::Tag>,
    /// The GPUs that are sold, all of them free.
    pub(crate) gpus: Option<gpux_market::Gpus>,
    /// The measured speed of one core.
    pub(crate) cpu_score: u32,
    /// The processor's name.
    pub(crate) cpu_model: String,
}

/// One lease, as calls about it need it.
#[derive(Debug, Clone)]
struct Entry {
    renter_node: NodeId,
    inputs: mpsc::Sender<LeaseInput>,
    report: watch::Receiver<LeaseReport>,
}

#[derive(Debug)]
struct Desk {
    capacity: Capacity,
    leases: BTreeMap<LeaseId, Entry>,
    /// Renters whose preparation is not paid by a deposit yet: one each.
    unpaid: BTreeMap<Address, LeaseId>,
    /// Those that were given up without a deposit, and wait for one all the same.
    lingering: unpaid::Lingering,
    /// What all leases work off on deposits that are not deep enough.
    exposure: Exposure,
    /// The newest answer to each wallet, while it holds.
    answers: quote::Answers,
    /// What the owner decided.
    orders: owner::Orders,
    /// What renters asked.
    asked: owner::Asked,
}

/// The provider. A cheap clone. The desk is a mutex rather than a task: every use is short and synchronous.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    selling: Arc<Selling>,
    signer: HotKey,
    desk: Arc<Mutex<Desk>>,
    disk: Disk,
    /// Who collects for this provider should it die.
    pub(crate) towers: Option<Towers>,
    /// Wakes the task that publishes the offer.
    changed: Arc<Notify>,
}

impl Provider {
    /// A provider with nothing leased.
    pub(crate) fn new(selling: Selling, signer: HotKey, exposure: Amount, towers: Option<Towers>) -> Self {
        let desk = Desk {
            capacity: Capacity::new(selling.share()),
            leases: BTreeMap::new(),
            unpaid: BTreeMap::new(),
            lingering: unpaid::Lingering::default(),
            exposure: Exposure::new(exposure),
            answers: quote::Answers::default(),
            orders: owner::Orders::default(),
            asked: owner::Asked::default(),
        };
        Self {
            selling: Arc::new(selling),
            signer,
            desk: Arc::new(Mutex::new(desk)),
            disk: Disk::default(),
            towers,
            changed: Arc::new(Notify::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the leases of an earlier daemon, then keeps the offer published. The leases are read before anything is
    /// done about what the runtime still has.
    pub(crate) async fn start(&self, node: &Arc<Node>) -> Result<(), TakeOverError> {
        let leases = node.store.open_leases::<LeaseRecord>(Role::Provider)?;
        let collectors = sweep::collectors(node, self)?;
        if !collectors.is_empty() {
            node.tasks
                .spawn(sweep::keep(node.clone(), self.towers.clone(), collectors));
        }
        if let Some(towers) = &self.towers {
            towers.remember(node);
        }
        let mut adopted: BTreeMap<_, _> = match &node.local {
            Some(local) => local
                .runtime
                .adopt()
                .await?
                .into_iter()
                .map(|status| (status.lease, status))
                .collect(),
            None => BTreeMap::new(),
        };
        let unread: Vec<Option<LeaseId>> = leases.unreadable.iter().map(|(lease, _)| *lease).collect();
        for (lease, error) in &leases.unreadable {
            let lease = lease.map_or_else(|| "unknown".to_owned(), |lease| lease.to_string());
            tracing::error!(%lease, error = %crate::error_chain(error), "a lease cannot be read: it is left as it is, and is not settled; start the version of gpux that wrote it before its expiry and grace are over");
        }
        // What was worked before counts before any lease asks for more.
        for record in &leases.readable {
            self.share_exposure(record.lease, record.machine.exposed().so_far());
        }
        for record in leases.readable {
            let status = adopted.remove(&record.lease);
            self.lock()
                .capacity
                .adopt(record.lease, Share::of(&record.request.request));
            self.spawn(node, record, Some(status));
        }
        self.destroy_unknown(node, without_record(adopted.into_keys(), &unread))
            .await;
        node.tasks.spawn(offer::keep_published(node.clone(), self.clone()));
        node.tasks.spawn(inputs::let_go_of_old(node.clone()));
        Ok(())
    }

    /// A lease in the runtime that no record names belongs to nobody: neither paid nor wanted.
    async fn destroy_unknown(&self, node: &Node, leases: Vec<LeaseId>) {
        let Some(local) = &node.local else { return };
        for lease in leases.into_iter().filter(|lease| !crate::renter::is_local_run(lease)) {
            tracing::warn!(%lease, "work without a record was found and is stopped");
            if let Err(error) = local.runtime.forget_lease(lease).await {
                tracing::error!(%lease, error = %crate::error_chain(&error), "stopping work without a record");
            }
        }
    }

    fn spawn(&self, node: &Arc<Node>, record: LeaseRecord, adopted: Option<Option<gpux_runtime::LeaseStatus>>) {
        let (sender, inputs) = mpsc::channel(LEASE_INPUTS);
        let (report_sender, report) = watch::channel(record.report());
        let entry = Entry {
            renter_node: record.request.request.renter_node,
            inputs: sender,
            report,
        };
        self.lock().leases.insert(record.lease, entry);
        let task = LeaseTask::new(node.clone(), self.clone(), record, inputs, report_sender);
        node.tasks.spawn(task.run(adopted));
    }

    /// Answers a request for a quote.
    pub(crate) async fn quote(
        &self,
        node: &Node,
        from: NodeId,
        signed: &SignedQuoteRequest,
    ) -> Result<Response, PeerError> {
        let answer = self.promise(node, from, signed).await;
        self.lock().asked.count_quote(&answer);
        answer
    }

    async fn promise(&self, node: &Node, from: NodeId, signed: &SignedQuoteRequest) -> Result<Response, PeerError> {
        let request = &signed.request;
        if request.provider_node != node.net.node_id() || request.renter_node != from {
            return Err(PeerError::new(
                ErrorCode::NotAuthorised,
                "the request names other nodes than the two that speak",
            ));
        }
        let signer = recover_signer(request.digest(), &signed.signature);
        if signer != Ok(request.renter) {
            return Err(PeerError::new(
                ErrorCode::NotAuthorised,
                "the request is not signed by the wallet that it names",
            ));
        }
        let (asked, now) = (request.digest(), node.clock.now());
        if let Some(known) = self.lock().answers.again(request.renter, asked, now) {
            return Ok(Response::Quote(Box::new(known)));
        }
        self.check_taking()?;
        let selling = self.selling_now();
        quote::check(&selling, &node.chain.escrow(), node.chain.token().address, request)?;
        room::check(node, &self.disk, request).await?;
        let balance = node.chain.token_balance(request.renter).await;
        let balance =
            balance.map_err(|_| PeerError::new(ErrorCode::Internal, "the chain could not be asked; try again"))?;
        if balance < request.deposit {
            return Err(PeerError::new(
                ErrorCode::NotCovered,
                "the wallet's balance does not cover the deposit",
            ));
        }
        self.check_older_quote(node, request).await?;
        let now = node.clock.now();
        let quote = quote::make(&selling, self.signer_address(), node, request);
        let terms = quote.terms(request);
        let lease = terms.lease_id(&request.escrow);
        let until = now.saturating_add(quote.holds_for);
        let held = capacity::Quoted {
            lease,
            share: Share::of(request),
            until,
        };
        let signature = self.signer.sign_digest(gpux_proto::SignedQuote::digest(lease));
        let answer = gpux_proto::SignedQuote { quote, signature };
        let given = quote::Given {
            asked,
            from,
            lease,
            quote: answer.clone(),
            until,
        };
        self.hold(request.renter, held, given, now)?;
        Ok(Response::Quote(Box::new(answer)))
    }

    /// Holds what a quote promises. What was decided while the chain was asked counts: nothing is held for a request that was taken
    /// back, nor by a node that was paused, which may be found drained at any moment.
    fn hold(&self, renter: Address, held: capacity::Quoted, given: quote::Given, now: Millis) -> Result<(), PeerError> {
        let mut desk = self.lock();
        if desk.answers.is_released(given.from, given.asked, now) {
            return Err(PeerError::new(ErrorCode::QuoteGone, "the request was taken back"));
        }
        desk.orders.check_taking()?;
        let held = desk.capacity.hold(renter, held, now);
        held.map_err(|error| PeerError::new(ErrorCode::NoCapacity, error.to_string()))?;
        desk.answers.keep(renter, given, now);
        Ok(())
    }

    /// How many quotes hold something, those among them that are just becoming leases: until a lease can be seen, its quote can.
    pub(crate) fn quotes_held(&self, now: Millis) -> usize {
        let desk = self.lock();
        let becoming = desk.unpaid.values().filter(|lease| !desk.leases.contains_key(lease));
        desk.capacity.quotes(now).saturating_add(becoming.count())
    }

    /// Gives back at once what a quote holds, for the node that asked for it. A lease that came of it stays.
    pub(crate) fn take_back(&self, from: NodeId, asked: B256, now: Millis) -> Result<Response, PeerError> {
        let mut desk = self.lock();
        if let Some((wallet, lease)) = desk.answers.release(from, asked, now)? {
            desk.capacity.let_go(wallet, lease, now);
        }
        Ok(Response::Accepted)
    }

    /// Signs as the provider signer of the terms.
    pub(crate) fn sign(&self, digest: B256) -> Signature {
        self.signer.sign_digest(digest)
    }

    fn signer_address(&self) -> Address {
        self.signer.address()
    }

    /// Takes a lease on. Idempotent: a lease that is here is accepted again.
    pub(crate) fn lease(&self, node: &Arc<Node>, from: NodeId, request: LeaseRequest) -> Result<Response, PeerError> {
        let refuse = |code, message: &str| Err(PeerError::new(code, message));
        if request.request.renter_node != from || request.request.escrow != node.chain.escrow() {
            return refuse(
                ErrorCode::NotAuthorised,
                "the lease is another renter's or under another escrow",
            );
        }
        let (terms, lease) = match request.quote.verify(&request.request) {
            Ok(verified) if verified.0.provider_signer == self.signer_address() => verified,
            _ => return refuse(ErrorCode::NotAuthorised, "the quote is not this node's"),
        };
        let within_limits = request.job.within_limits() && request.others.len() <= MAX_OTHERS;
        if request.job.hash() != request.request.job_hash || !within_limits {
            return refuse(
                ErrorCode::BadRequest,
                "the job is not the one that was quoted, or over the limits",
            );
        }
        if request.job.preparation_bytes() > request.quote.quote.max_preparation_bytes {
            return refuse(ErrorCode::BadRequest, "image and inputs are larger than was quoted");
        }
        let now = node.clock.now();
        let mut desk = self.lock();
        if desk.leases.contains_key(&lease) {
            return Ok(Response::Accepted);
        }
        if desk.unpaid.contains_key(&terms.renter) {
            return refuse(
                ErrorCode::TooMany,
                "another lease of this wallet is still being prepared without a deposit",
            );
        }
        if !desk.capacity.take(terms.renter, lease, now) {
            drop(desk);
            return self.too_late(&node.store, &node.chain.escrow(), lease, now);
        }
        desk.unpaid.insert(terms.renter, lease);
        desk.asked.count_lease();
        drop(desk);
        let renter = terms.renter;
        let (record, effects) = LeaseRecord::new(node, request, terms, lease);
        tracing::info!(%lease, ?effects, "a lease was asked for");
        if let Err(error) = node.store.put_lease(Role::Provider, lease, &record, false) {
            tracing::error!(%lease, error = %crate::error_chain(&error), "keeping a lease");
            self.give_up(renter, lease, now);
            return refuse(ErrorCode::Internal, "the lease could not be kept");
        }
        self.spawn(node, record, None);
        self.changed.notify_one();
        Ok(Response::Accepted)
    }

    /// Gives a deposit back whose quote lapsed: nothing can hold it again, so this lease is never taken on. Of a lease that was taken
    /// on nothing is signed here, and so of none whose quote this very daemon did not give: another one with the same signer, or an
    /// earlier one whose database is lost or was put back from an older copy, may have worked for it and be owed for that.
    fn too_late(&self, store: &Store, escrow: &EscrowRef, lease: LeaseId, now: Millis) -> Result<Response, PeerError> {
        let known = store.lease::<serde::de::IgnoredAny>(Role::Provider, lease);
        if !matches!(known, Ok(None)) || !self.lock().capacity.has_lapsed(lease, now) {
            let message = "the quote does not hold any more";
            return Err(PeerError::new(ErrorCode::QuoteGone, message));
        }
        let digest = closing_digest(escrow, lease, Amount::ZERO);
        tracing::info!(lease = %lease.short(), "a deposit came too late for its quote and is given back");
        Ok(Response::TooLate(ClosingOffer {
            lease,
            amount: Amount::ZERO,
            signature: self.signer.sign_digest(digest),
            metered: Millis::ZERO,
            end: End::new(EndReason::QuoteExpired, Actor::Renter),
        }))
    }

    /// A wallet's newest quote takes the place of the one before it, unless a deposit for that one is there.
    async fn check_older_quote(&self, node: &Node, request: &QuoteRequest) -> Result<(), PeerError> {
        let older = self.lock().capacity.quoted_to(request.renter, node.clock.now());
        let Some(older) = older else { return Ok(()) };
        // What the chain does not tell is taken for no deposit: should there be one, it is given back.
        let slot = node.chain.lease(older, Depth::Latest).await;
        if slot.is_ok_and(|slot| slot.status == SlotStatus::Open) {
            let message = "the deposit for this wallet's last quote is there: tell of that lease first";
            return Err(PeerError::new(ErrorCode::TooMany, message));
        }
        Ok(())
    }

    /// What a lease holds of the node's exposure from now on.
    fn share_exposure(&self, lease: LeaseId, exposed: Exposed) -> Amount {
        self.lock().exposure.share(lease, exposed)
    }

    /// The deposit of a lease is there: its preparation is not unpaid any more.
    fn funded(&self, renter: Address, lease: LeaseId) {
        let mut desk = self.lock();
        if desk.unpaid.get(&renter) == Some(&lease) {
            desk.unpaid.remove(&renter);
        }
    }

    /// The work of a lease is gone: what it held may be sold again.
    fn release(&self, lease: LeaseId) {
        let mut desk = self.lock();
        desk.capacity.release(lease);
        desk.unpaid.retain(|_, unpaid| *unpaid != lease);
        drop(desk);
        self.changed.notify_one();
    }

    /// A lease waits for a late deposit from now on, or not any more. One that waits too long for others is let go: its task hears
    /// that when nobody can speak to it any more.
    fn lingers(&self, lease: LeaseId, lingers: bool) {
        let mut desk = self.lock();
        if !lingers {
            desk.lingering.leave(lease);
        } else if let Some(oldest) = desk.lingering.enter(lease) {
            desk.leases.remove(&oldest);
        }
    }

    /// A lease that never came to work never will: should its deposit come all the same, it is given back.
    fn give_up(&self, renter: Address, lease: LeaseId, now: Millis) {
        let mut desk = self.lock();
        desk.capacity.give_up(renter, lease, now);
        desk.unpaid.retain(|_, unpaid| *unpaid != lease);
        drop(desk);
        self.changed.notify_one();
    }

    /// The lease is over for ever.
    fn forget(&self, lease: LeaseId) {
        self.lock().leases.remove(&lease);
    }

    /// What is offered in all, what of it is free, and how many leases are here.
    pub(crate) fn load(&self) -> (Resources, Resources, usize) {
        let desk = self.lock();
        (
            desk.capacity.total().resources,
            desk.capacity.free().resources,
            desk.leases.len(),
        )
    }
}

/// The leases of those in the runtime that belong to nobody. One whose record is there and cannot be read does not; where it is
/// not even known whose record that is, none is sure to.
fn without_record(in_runtime: impl Iterator<Item = LeaseId>, unread: &[Option<LeaseId>]) -> Vec<LeaseId> {
    if unread.contains(&None) {
        return Vec::new();
    }
    in_runtime.filter(|lease| !unread.contains(&Some(*lease))).collect()
}

/// The market that a node trades in: one topic for each escrow on each chain.
pub(crate) fn topic(escrow: &EscrowRef) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("gpux/2 offers of one escrow");
    hasher.update(&escrow.chain_id.to_be_bytes());
    hasher.update(escrow.address.as_slice());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::{ByteSize, Cpu, PricePerHour};

    const WALLET: Address = Address::repeat_byte(1);
    const LEASE: LeaseId = LeaseId([7; 32]);
    const ESCROW: EscrowRef = EscrowRef {
        chain_id: 10,
        address: Address::repeat_byte(2),
    };

    /// A daemon's provider, and its database.
    fn provider() -> (tempfile::TempDir, Store, Provider) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("gpux.db")).unwrap();
        let selling = Selling {
            payee: Address::ZERO,
            rates: Rates {
                cpu_core: PricePerHour(Amount::ZERO),
                memory_gib: PricePerHour(Amount::ZERO),
                disk_gib: PricePerHour(Amount::ZERO),
            },
            total: Resources {
                cpu: Cpu::cores(4),
                memory: ByteSize(4 << 30),
                disk: ByteSize(4 << 30),
            },
            longest: Millis(0),
            region: None,
            features: BTreeSet::new(),
            gpus: None,
            cpu_score: 0,
            cpu_model: String::new(),
        };
        let signer = HotKey::from_bytes(&[7; 32]).unwrap();
        (folder, store, Provider::new(selling, signer, Amount::ZERO, None))
    }

    /// A quote until 30.
    fn give_quote(provider: &Provider) {
        let quoted = capacity::Quoted {
            lease: LEASE,
            share: provider.selling.share(),
            until: Millis(30),
        };
        provider.lock().capacity.hold(WALLET, quoted, Millis(0)).unwrap();
    }

    #[test]
    fn only_the_daemon_that_gave_a_quote_and_let_it_lapse_gives_its_deposit_back() {
        let (_folder, store, gave) = provider();
        give_quote(&gave);
        let told = gave.too_late(&store, &ESCROW, LEASE, Millis(30)).unwrap();
        let Response::TooLate(offer) = told else {
            unreachable!("{told:?}")
        };
        let signer = recover_signer(closing_digest(&ESCROW, LEASE, Amount::ZERO), &offer.signature);
        assert_eq!((offer.amount, signer), (Amount::ZERO, Ok(gave.signer_address())));
        // The same signer over an empty database, as after a loss of the old one: it cannot know what was worked for.
        let (_folder, store, after_loss) = provider();
        let refused = after_loss.too_late(&store, &ESCROW, LEASE, Millis(30)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuoteGone);
    }

    #[test]
    fn nothing_is_signed_away_of_a_lease_that_was_taken_on_or_may_be_on_the_disk() {
        let (_folder, store, provider) = provider();
        give_quote(&provider);
        assert!(provider.lock().capacity.take(WALLET, LEASE, Millis(1)));
        provider.release(LEASE);
        let refused = provider.too_late(&store, &ESCROW, LEASE, Millis(30)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuoteGone);
        // As when it could not be kept. Should it be on the disk all the same, a restart takes it up.
        provider.give_up(WALLET, LEASE, Millis(30));
        assert!(provider.too_late(&store, &ESCROW, LEASE, Millis(31)).is_ok());
        store.put_lease(Role::Provider, LEASE, &"unreadable", false).unwrap();
        let refused = provider.too_late(&store, &ESCROW, LEASE, Millis(31)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuoteGone);
    }

    #[test]
    fn a_quote_is_seen_until_its_lease_is() {
        let (_folder, _store, provider) = provider();
        assert_eq!(provider.quotes_held(Millis(0)), 0);
        give_quote(&provider);
        assert_eq!(provider.quotes_held(Millis(29)), 1);
        assert_eq!(provider.quotes_held(Millis(30)), 0, "it lapsed");
        // As while the lease is being written down.
        let mut desk = provider.lock();
        assert!(desk.capacity.take(WALLET, LEASE, Millis(1)));
        desk.unpaid.insert(WALLET, LEASE);
        drop(desk);
        assert_eq!(provider.quotes_held(Millis(1)), 1, "no lease can be seen yet");
        provider.give_up(WALLET, LEASE, Millis(2));
        assert_eq!(provider.quotes_held(Millis(2)), 0);
    }

    #[test]
    fn a_node_that_is_paused_while_the_chain_is_asked_holds_nothing() {
        let (_folder, store, provider) = provider();
        let hold = |provider: &Provider| {
            let quoted = capacity::Quoted {
                lease: LEASE,
                share: Share::default(),
                until: Millis(30),
            };
            provider.hold(WALLET, quoted, quote::tests::given(7, 30), Millis(0))
        };
        store
            .put_fact("owner's orders", &serde_json::json!({ "taking": "paused" }))
            .unwrap();
        provider.obey(&store).unwrap();
        assert_eq!(hold(&provider).unwrap_err().code, ErrorCode::NoCapacity);
        assert_eq!(provider.quotes_held(Millis(0)), 0);
        assert!(hold(&self::provider().2).is_ok());
    }

    #[test]
    fn work_whose_record_is_there_but_unreadable_is_never_stopped() {
        let lease = |byte| LeaseId([byte; 32]);
        let in_runtime = || [lease(1), lease(2)].into_iter();
        assert_eq!(without_record(in_runtime(), &[]), [lease(1), lease(2)]);
        assert_eq!(without_record(in_runtime(), &[Some(lease(1))]), [lease(2)]);
        assert!(without_record(in_runtime(), &[Some(lease(1)), None]).is_empty());
    }
}

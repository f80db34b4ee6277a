//! A renter without a daemon and with several wallets: it asks for quotes that it never uses, has leases taken that it never pays
//! for, stops what was just taken, pays too late or never signs, opens what is open or closed, and fetches back what it left behind.
//!
//! It keeps the wire's words and the escrow's rules, as any program may. Its wallets own what the world gave them: the judge
//! counts their money like everybody's.

use crate::{
    calls::{TERMS, address, signed_words, submit, terms_words},
    chain::{call_data, word},
    chance::Chance,
    coverage::Reached,
    host::keys,
    network::{Overheard, SimNetwork},
    rpc::SharedChain,
    trace::Trace,
};
use alloy::primitives::{Address, B256, Bytes, U256};
use gpux_chain::{Signature, WalletKey};
use gpux_lease::Terms;
use gpux_proto::{
    JobSpec, LeaseRequest, QuoteRequest, Request, Response, SignedQuote, SignedQuoteRequest, StopRequest,
};
use gpux_types::{Amount, LeaseId, NodeId, UnixSeconds};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How many wallets it has.
const WALLETS: usize = 3;
/// How long the money of its leases is bound at most.
const EXPIRY_SECS: u64 = 90;
const GRACE_SECS: u64 = 60;

/// What it does with a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Nothing.
    Waste,
    /// It has the lease taken, without a deposit.
    Unpaid,
    /// It pays and tells, and never signs.
    Unsigned,
    /// It pays, and tells when the quote is over.
    Late,
    /// It has the lease taken and stops it at once.
    Stopped,
}

/// A quote that it got.
#[derive(Debug, Clone)]
struct Quoted {
    wallet: usize,
    to: NodeId,
    request: QuoteRequest,
    quote: SignedQuote,
    job: JobSpec,
    terms: Terms,
    lease: LeaseId,
    at: Duration,
    told: bool,
    paid: bool,
    closing: Option<Signature>,
}

#[derive(Debug, Default)]
struct Desk {
    quotes: Vec<(Use, Quoted)>,
}

/// See the module's documentation.
pub(crate) struct Mallory {
    me: NodeId,
    wallets: Vec<WalletKey>,
    chance: Chance,
    chain: SharedChain,
    trace: Trace,
    desk: Arc<Mutex<Desk>>,
}

/// Its wallets.
pub(crate) fn wallets(seed: u64) -> Vec<WalletKey> {
    (0..WALLETS)
        .map(|number| keys(seed, &format!("mallory-{number}")).0)
        .collect()
}

impl Mallory {
    pub(crate) fn new(seed: u64, chain: SharedChain, trace: Trace) -> Self {
        let chance = Chance::new(seed, "mallory");
        Self {
            me: NodeId(chance.bytes()),
            wallets: wallets(seed),
            chance,
            chain,
            trace,
            desk: Arc::default(),
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks somebody for a quote and does something with it.
    pub(crate) fn ask(&self, network: &SimNetwork) {
        self.ask_for(network, None);
    }

    /// Has a lease taken, whose preparation begins, and stops it.
    pub(crate) fn ask_and_stop(&self, network: &SimNetwork) {
        self.ask_for(network, Some(Use::Stopped));
    }

    /// Asks somebody for a quote, in the words of a request that it overheard.
    fn ask_for(&self, network: &SimNetwork, purpose: Option<Use>) {
        let heard = network.overheard().into_iter().rev();
        let known = heard.filter_map(|Overheard { to, request, .. }| {
            let Request::Lease(asked) = request else { return None };
            Some((to, asked))
        });
        let Some((to, asked)) = known.take(8).last() else {
            return;
        };
        let number = usize::try_from(self.chance.between(0, 3)).unwrap_or(0);
        let Some(wallet) = self.wallets.get(number) else { return };
        let mut request = asked.request.clone();
        (request.renter, request.receipt_key) = (wallet.address(), wallet.address());
        (request.renter_node, request.provider_node) = (self.me, to);
        request.deposit = request.deposit.min(Amount::new(20_000_000).unwrap_or_default());
        let signature = wallet.sign_digest(request.digest());
        let signed = SignedQuoteRequest {
            request: request.clone(),
            signature,
        };
        let (network, desk, me) = (network.clone(), self.desk.clone(), self.me);
        let purpose = purpose.unwrap_or_else(|| match self.chance.between(0, 6) {
            0 => Use::Unpaid,
            1 => Use::Unsigned,
            2 => Use::Late,
            _ => Use::Waste,
        });
        network.trace.reach(Reached::QuotesSpammed);
        tokio::spawn(async move {
            let answer = network.carry(me, to, &Request::Quote(Box::new(signed))).await;
            let Ok(Response::Quote(quote)) = answer else { return };
            let Ok((terms, lease)) = quote.verify(&request) else {
                return;
            };
            let quoted = Quoted {
                wallet: number,
                to,
                request,
                quote: *quote,
                job: asked.job.clone(),
                terms,
                lease,
                at: network.trace.now(),
                told: false,
                paid: false,
                closing: None,
            };
            if purpose == Use::Stopped {
                return take_and_stop(&network, me, &quoted).await;
            }
            let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            desk.quotes.push((purpose, quoted));
        });
    }

    /// Goes on with what it has; called after each block.
    pub(crate) fn go_on(&self, network: &SimNetwork) {
        let now = network.trace.now();
        let mut quotes = std::mem::take(&mut self.desk().quotes);
        for (purpose, quoted) in &mut quotes {
            let age = now.saturating_sub(quoted.at);
            if *purpose == Use::Waste {
                continue;
            }
            if !quoted.paid && *purpose != Use::Unpaid {
                self.pay(quoted, network);
            }
            let due = *purpose != Use::Late || age > Duration::from_secs(40);
            if due && !quoted.told {
                if *purpose == Use::Unpaid {
                    network.trace.reach(Reached::LeaseUnpaid);
                }
                quoted.told = true;
                self.tell(quoted, network);
            }
            if quoted.paid && quoted.told {
                self.fetch_back(quoted, age);
            }
        }
        // What is over, or was never to be used.
        quotes.retain(|(purpose, quoted)| {
            let age = now.saturating_sub(quoted.at).as_secs();
            *purpose != Use::Waste && age < EXPIRY_SECS * 20
        });
        self.desk().quotes.extend(quotes);
    }

    /// Opens the lease, and once more with the next transaction.
    fn pay(&self, quoted: &mut Quoted, network: &SimNetwork) {
        quoted.paid = true;
        let escrow = quoted.request.escrow.address;
        let approve = call_data("approve(address,uint256)", &[address(escrow), B256::repeat_byte(0xff)]);
        self.submit(quoted.wallet, quoted.request.token, approve);
        let expiry = UnixSeconds(crate::chain::BEGINNING + network.trace.now().as_secs() + EXPIRY_SECS);
        let mut words = terms_words(&quoted.terms);
        words.extend([B256::from(U256::from(quoted.request.deposit.units())), word(expiry.0)]);
        let open = call_data(&format!("open({TERMS},uint96,uint40)"), &words);
        self.submit(quoted.wallet, escrow, open.clone());
        network.trace.reach(Reached::OpenedTwice);
        self.submit(quoted.wallet, escrow, open);
    }

    fn tell(&self, quoted: &Quoted, network: &SimNetwork) {
        let request = telling(quoted);
        let (network, desk, me) = (network.clone(), self.desk.clone(), self.me);
        let (to, lease) = (quoted.to, quoted.lease);
        tokio::spawn(async move {
            let answer = network.carry(me, to, &request).await;
            let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((_, quoted)) = desk.quotes.iter_mut().find(|(_, quoted)| quoted.lease == lease) else {
                return;
            };
            match answer {
                Ok(Response::TooLate(offer)) => quoted.closing = Some(offer.signature),
                Ok(_) => {}
                // Told again with the next block.
                Err(_) => quoted.told = false,
            }
        });
    }

    /// Closes what was given back, and reclaims the rest in its time.
    fn fetch_back(&self, quoted: &mut Quoted, age: Duration) {
        let escrow = quoted.request.escrow.address;
        let words = terms_words(&quoted.terms);
        if let Some(signature) = quoted.closing.take() {
            let words = [words.as_slice(), &[B256::ZERO], &signed_words(&signature)].concat();
            let close = call_data(&format!("close({TERMS},uint96,bytes32,bytes32)"), &words);
            self.submit(quoted.wallet, escrow, close);
        }
        let over = Duration::from_secs(EXPIRY_SECS + GRACE_SECS + 60);
        if age > over && age.as_secs() % 30 < 2 {
            self.submit(quoted.wallet, escrow, call_data(&format!("reclaim({TERMS})"), &words));
        }
    }

    fn submit(&self, wallet: usize, to: Address, input: Bytes) {
        if let Some(wallet) = self.wallets.get(wallet) {
            submit(&self.chain, wallet, (to, input), self.trace.now());
        }
    }
}

/// Says that a lease is wanted.
fn telling(quoted: &Quoted) -> Request {
    Request::Lease(Box::new(LeaseRequest {
        request: quoted.request.clone(),
        quote: quoted.quote.clone(),
        transaction: B256::ZERO,
        expiry: UnixSeconds(crate::chain::BEGINNING + quoted.at.as_secs() + EXPIRY_SECS),
        job: quoted.job.clone(),
        renter_ticket: String::new(),
        others: Vec::new(),
    }))
}

async fn take_and_stop(network: &SimNetwork, me: NodeId, quoted: &Quoted) {
    network.lend(me, quoted.to, quoted.job.blobs().map(|blob| blob.hash));
    let taken = network.carry(me, quoted.to, &telling(quoted)).await;
    if !matches!(taken, Ok(Response::Accepted)) {
        return;
    }
    let stop = Request::Stop(StopRequest {
        lease: quoted.lease,
        reason: "it was for nothing".to_owned(),
    });
    if network.carry(me, quoted.to, &stop).await.is_ok() {
        network.trace.reach(Reached::LeaseUnpaid);
    }
}

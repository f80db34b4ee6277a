//! A provider that does not keep to its last word: what goes out of the door of such a node's daemon, which itself is as ever.
//!
//! It signs closing amounts above what was signed for, several different ones of one lease, and some while the work still runs;
//! it says old ones again; and it settles behind its daemon's back, with old receipts or for more than the newest one says.
//! Its keys are its own, so every signature is a true one. Its meter is true as well: what it can win by this alone is
//! to be nothing.

use crate::{
    calls::{TERMS, signed_words, submit, terms_words},
    chain::call_data,
    chance::Chance,
    coverage::Reached,
    network::SimNetwork,
    rpc::SharedChain,
};
use alloy::primitives::{B256, U256};
use gpux_chain::{HotKey, Signature, WalletKey};
use gpux_lease::{Actor, End, EndReason, EscrowRef, closing_digest};
use gpux_net::CallError;
use gpux_proto::{ClosingOffer, MeterReport, Request, Response};
use gpux_types::{Amount, LeaseId, NodeId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// What it holds of a lease: its first receipt and its newest.
#[derive(Debug, Clone, Copy)]
struct Receipts {
    first: (Amount, Signature),
    newest: (Amount, Signature),
}

/// See the module's documentation. It outlives its daemon's lives.
pub(crate) struct Wild {
    signer: HotKey,
    wallet: Arc<WalletKey>,
    escrow: EscrowRef,
    chain: SharedChain,
    chance: Chance,
    receipts: Mutex<BTreeMap<LeaseId, Receipts>>,
}

/// From whom to whom.
type Way = (NodeId, NodeId);

impl Wild {
    pub(crate) fn new(
        keys: (HotKey, Arc<WalletKey>),
        escrow: EscrowRef,
        chain: SharedChain,
        chance: Chance,
    ) -> Arc<Self> {
        let (signer, wallet) = keys;
        Arc::new(Self {
            signer,
            wallet,
            escrow,
            chain,
            chance,
            receipts: Mutex::default(),
        })
    }

    /// Carries what its daemon says, and what it makes of that.
    pub(crate) async fn call(
        self: &Arc<Self>,
        network: &SimNetwork,
        way: Way,
        request: &Request,
    ) -> Result<Response, CallError> {
        if let Request::Closing(offer) = request {
            return self.close(network, way, offer).await;
        }
        let answer = network.carry(way.0, way.1, request).await;
        if let (Request::Meter(report), Ok(Response::Receipt { cumulative, signature })) = (request, &answer) {
            self.keep(report.lease, (*cumulative, *signature));
            self.meddle(network, way, report);
        }
        answer
    }

    fn keep(&self, lease: LeaseId, receipt: (Amount, Signature)) {
        let mut all = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Receipts {
            first: receipt,
            newest: receipt,
        };
        let held = all.entry(lease).or_insert(fresh);
        if receipt.0 > held.newest.0 {
            held.newest = receipt;
        }
    }

    fn held(&self, lease: LeaseId) -> Option<Receipts> {
        let all = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&lease).copied()
    }

    /// Any amount from one unit to five whole ones.
    fn some(&self) -> Amount {
        Amount::new(u128::from(self.chance.between(1, 5_000_000))).unwrap_or_default()
    }

    fn offer(&self, amount: Amount, like: &ClosingOffer) -> Request {
        let digest = closing_digest(&self.escrow, like.lease, amount);
        Request::Closing(ClosingOffer {
            amount,
            signature: self.signer.sign_digest(digest),
            ..*like
        })
    }

    /// Its daemon's closing amount, with others before it and after it.
    async fn close(
        self: &Arc<Self>,
        network: &SimNetwork,
        way: Way,
        offer: &ClosingOffer,
    ) -> Result<Response, CallError> {
        let signed = self.held(offer.lease).map_or(Amount::ZERO, |held| held.newest.0);
        let before = match self.chance.between(0, 4) {
            0 => {
                network.trace.reach(Reached::ClosingAbove);
                Some(signed.saturating_add(self.some()))
            }
            // All that was signed for, though less was metered: what a settlement could take as well.
            1 => Some(signed),
            _ => None,
        };
        if let Some(amount) = before {
            // What the true one is answered tells what became of it.
            let _ = network.carry(way.0, way.1, &self.offer(amount, offer)).await;
        }
        let answer = network.carry(way.0, way.1, &Request::Closing(*offer)).await;
        if answer.is_ok() {
            self.change_its_mind(network, way, (offer, signed));
        }
        answer
    }

    /// Other amounts after one was taken, and an old receipt for the escrow.
    fn change_its_mind(self: &Arc<Self>, network: &SimNetwork, way: Way, (offer, signed): (&ClosingOffer, Amount)) {
        network.trace.reach(Reached::ClosingChanged);
        let less = Amount::new(offer.amount.units() / 2).unwrap_or_default();
        let more = signed.max(offer.amount.saturating_add(self.some()));
        let (wild, network, like) = (self.clone(), network.clone(), *offer);
        tokio::spawn(async move {
            for amount in [signed, less, Amount::ZERO, more, like.amount] {
                tokio::time::sleep(wild.chance.millis(1, 700)).await;
                // Nobody waits for what is said again.
                let _ = network.carry(way.0, way.1, &wild.offer(amount, &like)).await;
            }
            wild.settle(&network, like.lease);
        });
    }

    /// Perhaps a closing amount while the work goes on, or a settlement.
    fn meddle(self: &Arc<Self>, network: &SimNetwork, way: Way, report: &MeterReport) {
        if self.chance.in_thousand(30) {
            self.settle(network, report.lease);
        }
        let Some(held) = self.held(report.lease).filter(|_| self.chance.in_thousand(50)) else {
            return;
        };
        let old = self.chance.in_thousand(500);
        let amount = if old { held.first.0 } else { held.newest.0 };
        let like = ClosingOffer {
            lease: report.lease,
            amount,
            signature: held.first.1,
            metered: report.metered,
            end: End::new(EndReason::Completed, Actor::Provider),
        };
        network.trace.reach(Reached::ClosingEarly);
        let (wild, network) = (self.clone(), network.clone());
        tokio::spawn(async move {
            // Its daemon knows of no answer.
            let _ = network.carry(way.0, way.1, &wild.offer(amount, &like)).await;
        });
    }

    /// Settles with the first receipt, with the newest, or for more than that says.
    fn settle(&self, network: &SimNetwork, lease: LeaseId) {
        let terms = network.agreed().get(&lease).map(|agreed| agreed.terms.clone());
        let (Some(held), Some(terms)) = (self.held(lease), terms) else {
            return;
        };
        let (claim, receipt) = match self.chance.between(0, 3) {
            0 => (held.newest.0.saturating_add(self.some()), held.newest),
            1 => (held.first.0, held.first),
            _ => (held.newest.0, held.newest),
        };
        network.trace.reach(Reached::SettledBehind);
        let amount = |amount: Amount| B256::from(U256::from(amount.units()));
        let mut words = terms_words(&terms);
        words.extend([amount(claim), amount(receipt.0)]);
        words.extend(signed_words(&receipt.1));
        let call = call_data(&format!("settle({TERMS},uint96,uint96,bytes32,bytes32)"), &words);
        submit(
            &self.chain,
            &self.wallet,
            (self.escrow.address, call),
            network.trace.now(),
        );
    }
}

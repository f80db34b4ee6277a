//! What a provider promises, and what it refuses to promise.

use super::{Selling, capacity::Share};
use crate::node::Node;
use gpux_lease::{EscrowRef, HOLD, QUOTE_HOLDS};
use gpux_proto::{ErrorCode, Needs, PeerError, Quote, QuoteRequest, SignedQuote};
use gpux_types::{Address, B256, ByteSize, Cpu, LeaseId, Millis, NodeId, PricePerHour};
use std::collections::{BTreeMap, VecDeque};

/// The longest that preparation may take, unpaid.
pub(super) const MAX_PREPARATION: Millis = Millis::from_secs(900);
/// The most bytes that preparation may fetch, unpaid: room for images with model weights.
const MAX_PREPARATION_BYTES: ByteSize = ByteSize(64 << 30);
/// The smallest lease: less than a tenth of a core and 64 MiB starts nothing useful.
const LEAST_CPU: Cpu = Cpu { millicores: 100 };
const LEAST_MEMORY: ByteSize = ByteSize(64 << 20);
const LEAST_DISK: ByteSize = ByteSize(64 << 20);
/// The shortest time that a deposit must pay for: two intervals and the reserve.
const LEAST_TIME: Millis = Millis::from_secs(30);

/// How many requests are remembered that are not wanted any more; the oldest go first. One that is forgotten holds for its time.
const MAX_RELEASED: usize = 1_024;

/// The newest quote of each wallet, while it holds. A request that comes twice gets the same quote twice: another one would take
/// the place of the first, on which the renter's deposit may be on its way by then. And the requests that were taken back: a call
/// may come twice, and the second one after that.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: BTreeMap<Address, Given>,
    /// By whom, which, and until when that is remembered. The oldest first.
    released: VecDeque<(NodeId, B256, Millis)>,
}

/// What was answered to a wallet.
#[derive(Debug)]
pub(super) struct Given {
    /// The digest of the request.
    pub(super) asked: B256,
    /// The node that asked.
    pub(super) from: NodeId,
    /// The lease that the quote leads to.
    pub(super) lease: LeaseId,
    pub(super) quote: SignedQuote,
    pub(super) until: Millis,
}

impl Answers {
    /// What this very request was answered, while that holds.
    pub(super) fn again(&self, wallet: Address, asked: B256, now: Millis) -> Option<SignedQuote> {
        let given = self.given.get(&wallet)?;
        (given.asked == asked && given.until > now).then(|| given.quote.clone())
    }

    /// Keeps an answer while it holds.
    pub(super) fn keep(&mut self, wallet: Address, given: Given, now: Millis) {
        self.given.retain(|_, given| given.until > now);
        self.given.insert(wallet, given);
    }

    /// Takes a request back: the wallet and the lease whose quote it was answered with, if it was.
    ///
    /// # Errors
    /// When another node asked for that quote.
    pub(super) fn release(
        &mut self,
        from: NodeId,
        asked: B256,
        now: Millis,
    ) -> Result<Option<(Address, LeaseId)>, PeerError> {
        let given = self.given.iter().find(|(_, given)| given.asked == asked);
        let given = given.map(|(wallet, given)| (*wallet, given.from, given.lease));
        if given.is_some_and(|(_, asker, _)| asker != from) {
            let message = "another node asked for that quote";
            return Err(PeerError::new(ErrorCode::NotAuthorised, message));
        }
        if !self.is_released(from, asked, now) {
            self.released.retain(|(.., until)| *until > now);
            if self.released.len() >= MAX_RELEASED {
                self.released.pop_front();
            }
            self.released.push_back((from, asked, now.saturating_add(QUOTE_HOLDS)));
        }
        Ok(given.map(|(wallet, _, lease)| {
            self.given.remove(&wallet);
            (wallet, lease)
        }))
    }

    /// Whether the node took that request back.
    pub(super) fn is_released(&self, from: NodeId, asked: B256, now: Millis) -> bool {
        let mut released = self.released.iter();
        released.any(|(by, which, until)| (*by, *which) == (from, asked) && *until > now)
    }
}

impl Selling {
    /// All that is sold.
    pub(super) fn share(&self) -> Share {
        Share {
            resources: self.total,
            gpus: self.gpus.as_ref().map_or(0, |gpus| gpus.total),
        }
    }

    /// The net price per hour of what a request wants.
    pub(super) fn price_of(&self, request: &QuoteRequest) -> PricePerHour {
        let plain = self.rates.price_of(&request.resources);
        let Some(gpus) = &self.gpus else { return plain };
        PricePerHour(gpus.price_of(request.needs.gpu_count()).0.saturating_add(plain.0))
    }
}

/// Refuses what cannot hold here, before anything is asked of the chain.
pub(super) fn check(
    selling: &Selling,
    escrow: &EscrowRef,
    token: Address,
    request: &QuoteRequest,
) -> Result<(), PeerError> {
    let refuse = |code, message: &str| Err(PeerError::new(code, message));
    if request.escrow != *escrow || request.token != token {
        return refuse(ErrorCode::Unsupported, "this node trades under another escrow or token");
    }
    let wanted = &request.resources;
    if wanted.cpu < LEAST_CPU || wanted.memory < LEAST_MEMORY || wanted.disk < LEAST_DISK {
        return refuse(
            ErrorCode::BadRequest,
            "a lease holds at least a tenth of a core, 64 MiB of memory and 64 MiB of disk",
        );
    }
    if request.preparation_bytes > MAX_PREPARATION_BYTES {
        return refuse(ErrorCode::Unsupported, "image and inputs are over 64 GiB");
    }
    if let Some(missing) = missing(selling, &request.needs) {
        return refuse(ErrorCode::Unsupported, missing);
    }
    let price = selling.price_of(request).gross_of_net(request.builder_share);
    let needed = price.cost_of(LEAST_TIME);
    if request.deposit < needed {
        return refuse(
            ErrorCode::BadRequest,
            &format!("the deposit pays for less than {LEAST_TIME}"),
        );
    }
    Ok(())
}

/// What the node does not have of what a lease needs beside cores, memory and disk, all of it free.
fn missing(selling: &Selling, needs: &Needs) -> Option<&'static str> {
    let met = |wish| selling.gpus.as_ref().is_some_and(|gpus| gpus.meet(wish));
    if needs.gpus.as_ref().is_some_and(|wish| !met(wish)) {
        return Some("this node has no such GPUs, or too few");
    }
    if needs.features.len() > Needs::MAX_FEATURES || !needs.features.is_subset(&selling.features) {
        return Some("this node lacks a feature that the lease needs");
    }
    let elsewhere = needs.region.is_some() && needs.region != selling.region;
    elsewhere.then_some("this node is in another region")
}

/// The promise for a request that was checked.
pub(super) fn make(selling: &Selling, signer: Address, node: &Node, request: &QuoteRequest) -> Quote {
    Quote {
        nonce: node.entropy.bytes(),
        provider: selling.payee,
        provider_signer: signer,
        resources: request.resources,
        price: selling.price_of(request),
        job_hash: request.job_hash,
        max_preparation_bytes: request.preparation_bytes,
        max_preparation: MAX_PREPARATION,
        hold: HOLD,
        grace_secs: node.config.chain.grace_secs,
        holds_for: QUOTE_HOLDS,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use gpux_chain::HotKey;
    use gpux_types::{Amount, Resources};

    fn quote(nonce: u8) -> SignedQuote {
        let key = HotKey::from_bytes(&[7; 32]).unwrap();
        let quote = Quote {
            nonce: [nonce; 16],
            provider: Address::ZERO,
            provider_signer: key.address(),
            resources: Resources::default(),
            price: PricePerHour(Amount::ZERO),
            job_hash: [0; 32],
            max_preparation_bytes: ByteSize(0),
            max_preparation: MAX_PREPARATION,
            hold: HOLD,
            grace_secs: 0,
            holds_for: QUOTE_HOLDS,
        };
        let signature = key.sign_digest(SignedQuote::digest(LeaseId([nonce; 32])));
        SignedQuote { quote, signature }
    }

    const ALICE: NodeId = NodeId([1; 32]);
    const MALLORY: NodeId = NodeId([9; 32]);

    /// An answer to ALICE's request of all such bytes.
    pub(in crate::provider) fn given(byte: u8, until: u64) -> Given {
        Given {
            asked: B256::repeat_byte(byte),
            from: ALICE,
            lease: LeaseId([byte; 32]),
            quote: quote(byte),
            until: Millis(until),
        }
    }

    #[test]
    fn a_request_that_comes_twice_gets_the_same_quote_while_it_holds() {
        let (wallet, asked) = (Address::repeat_byte(1), B256::repeat_byte(2));
        let mut answers = Answers::default();
        answers.keep(wallet, given(2, 30), Millis(0));
        assert_eq!(answers.again(wallet, asked, Millis(29)), Some(quote(2)));
        let other = [
            (wallet, asked, Millis(30), "it does not hold any more"),
            (wallet, B256::repeat_byte(3), Millis(1), "another request"),
            (Address::repeat_byte(2), asked, Millis(1), "another wallet"),
        ];
        for (wallet, asked, now, why) in other {
            assert_eq!(answers.again(wallet, asked, now), None, "{why}");
        }
        answers.keep(Address::repeat_byte(2), given(3, 60), Millis(40));
        assert_eq!(answers.given.len(), 1, "what is over is not kept");
    }

    #[test]
    fn a_request_is_taken_back_only_by_the_node_that_made_it_and_stays_so_if_it_comes_again() {
        let (wallet, asked) = (Address::repeat_byte(1), B256::repeat_byte(2));
        let mut answers = Answers::default();
        answers.keep(wallet, given(2, 30), Millis(0));
        let refused = answers.release(MALLORY, asked, Millis(1)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotAuthorised);
        assert!(
            answers.again(wallet, asked, Millis(1)).is_some(),
            "it holds all the same"
        );
        let released = answers.release(ALICE, asked, Millis(1)).unwrap();
        assert_eq!(released, Some((wallet, LeaseId([2; 32]))));
        assert_eq!(answers.again(wallet, asked, Millis(1)), None);
        assert_eq!(
            answers.release(ALICE, asked, Millis(1)),
            Ok(None),
            "again: changes nothing"
        );
        assert!(answers.is_released(ALICE, asked, Millis(2)) && !answers.is_released(MALLORY, asked, Millis(2)));
        assert!(!answers.is_released(ALICE, asked, Millis(1).saturating_add(QUOTE_HOLDS)));
    }

    #[test]
    fn a_flood_of_requests_taken_back_stays_bounded() {
        let mut answers = Answers::default();
        for number in 0..3 * MAX_RELEASED {
            let asked = B256::from(*blake3::hash(&number.to_be_bytes()).as_bytes());
            assert_eq!(answers.release(MALLORY, asked, Millis(0)), Ok(None));
        }
        assert_eq!(answers.released.len(), MAX_RELEASED);
    }
}

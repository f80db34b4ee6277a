//! What a provider promises, and what it refuses to promise.

use super::Selling;
use crate::node::Node;
use gpux_lease::{EscrowRef, HOLD, QUOTE_HOLDS};
use gpux_proto::{ErrorCode, Needs, PeerError, Quote, QuoteRequest, SignedQuote};
use gpux_types::{Address, B256, ByteSize, Cpu, Millis};
use std::collections::BTreeMap;

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

/// The newest quote of each wallet, while it holds. A request that comes twice gets the same quote twice: another one would take
/// the place of the first, on which the renter's deposit may be on its way by then.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: BTreeMap<Address, Given>,
}

#[derive(Debug)]
struct Given {
    /// The digest of the request.
    asked: B256,
    quote: SignedQuote,
    until: Millis,
}

impl Answers {
    /// What this very request was answered, while that holds.
    pub(super) fn again(&self, wallet: Address, asked: B256, now: Millis) -> Option<SignedQuote> {
        let given = self.given.get(&wallet)?;
        (given.asked == asked && given.until > now).then(|| given.quote.clone())
    }

    /// Keeps an answer until the first of the two times; the second is now.
    pub(super) fn keep(&mut self, wallet: Address, asked: B256, quote: SignedQuote, (until, now): (Millis, Millis)) {
        self.given.retain(|_, given| given.until > now);
        self.given.insert(wallet, Given { asked, quote, until });
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
mod tests {
    use super::*;
    use gpux_chain::HotKey;
    use gpux_types::{Amount, LeaseId, PricePerHour, Resources};

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

    #[test]
    fn a_request_that_comes_twice_gets_the_same_quote_while_it_holds() {
        let (wallet, asked) = (Address::repeat_byte(1), B256::repeat_byte(2));
        let mut answers = Answers::default();
        answers.keep(wallet, asked, quote(1), (Millis(30), Millis(0)));
        assert_eq!(answers.again(wallet, asked, Millis(29)), Some(quote(1)));
        assert_eq!(
            answers.again(wallet, asked, Millis(30)),
            None,
            "it does not hold any more"
        );
        assert_eq!(
            answers.again(wallet, B256::repeat_byte(3), Millis(1)),
            None,
            "another request"
        );
        assert_eq!(
            answers.again(Address::repeat_byte(2), asked, Millis(1)),
            None,
            "another wallet"
        );
        answers.keep(Address::repeat_byte(2), asked, quote(2), (Millis(60), Millis(40)));
        assert_eq!(answers.given.len(), 1, "what is over is not kept");
    }
}

//! What a provider promises, and what it refuses to promise.

use super::Selling;
use crate::node::Node;
use gpux_lease::{EscrowRef, HOLD};
use gpux_proto::{ErrorCode, PeerError, Quote, QuoteRequest};
use gpux_types::{Address, ByteSize, Cpu, Millis};

/// How long a quote holds resources, from its receipt.
pub(crate) const HOLDS_FOR: Millis = Millis::from_secs(30);
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
    let price = selling.rates.price_of(wanted).gross_of_net(request.builder_share);
    let needed = price.cost_of(LEAST_TIME);
    if request.deposit < needed {
        return refuse(
            ErrorCode::BadRequest,
            &format!("the deposit pays for less than {LEAST_TIME}"),
        );
    }
    Ok(())
}

/// The promise for a request that was checked.
pub(super) fn make(selling: &Selling, signer: Address, node: &Node, request: &QuoteRequest) -> Quote {
    Quote {
        nonce: node.entropy.bytes(),
        provider: selling.payout,
        provider_signer: signer,
        resources: request.resources,
        price: selling.rates.price_of(&request.resources),
        job_hash: request.job_hash,
        max_preparation_bytes: request.preparation_bytes,
        max_preparation: MAX_PREPARATION,
        hold: HOLD,
        grace_secs: node.config.chain.grace_secs,
        holds_for: HOLDS_FOR,
    }
}

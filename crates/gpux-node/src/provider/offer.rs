//! Keeps this node's offer published and true.

use super::{Provider, Selling};
use crate::node::Node;
use gpux_api::Taking;
use gpux_market::{Gpus, Offer, Tag};
use gpux_proto::SignedOffer;
use gpux_types::Millis;
use std::{collections::BTreeSet, sync::Arc};

/// How long an offer lives after it was heard. The peer adapter announces it again three times in that time.
const OFFER_TTL: Millis = Millis::from_secs(1_200);
/// The name under which the offer's sequence number is kept over restarts.
const SEQUENCE: &str = "offer sequence";

/// Publishes the offer whenever what is free has changed, until the node stops.
pub(super) async fn keep_published(node: Arc<Node>, provider: Provider) {
    loop {
        if let Err(error) = publish(&node, &provider) {
            tracing::warn!(error = %crate::error_chain(&*error), "publishing the offer");
        }
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => break,
            // Cancel-safe: a permit that was not taken stays.
            () = provider.changed.notified() => {}
        }
    }
    node.net.withdraw_offer();
}

fn publish(node: &Node, provider: &Provider) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if provider.taking() == Taking::Paused {
        node.net.withdraw_offer();
        return Ok(());
    }
    let last: u64 = node.store.fact(SEQUENCE)?.unwrap_or(0);
    // It grows over restarts, and also when the database was lost.
    let sequence = last.saturating_add(1).max(node.clock.date().0.saturating_mul(1_000));
    node.store.put_fact(SEQUENCE, &sequence)?;
    let offer = offer(node, provider, sequence);
    let signature = node.wallet.sign_digest(SignedOffer::digest(&offer));
    node.net.publish_offer(SignedOffer::new(&offer, signature))?;
    Ok(())
}

/// All that the node says it can do, with the GPUs that are free now.
fn features(selling: &Selling, free: u32) -> BTreeSet<Tag> {
    let gpus = selling.gpus.clone().map(|gpus| Gpus { free, ..gpus });
    let gpus = gpus.and_then(|gpus| gpus.features()).unwrap_or_default();
    selling.features.union(&gpus).cloned().collect()
}

fn offer(node: &Node, provider: &Provider, sequence: u64) -> Offer {
    let (total, free, _) = provider.load();
    let free_gpus = provider.lock().capacity.free().gpus;
    let selling = &provider.selling_now();
    let escrow = node.chain.escrow();
    Offer {
        node: node.net.node_id(),
        wallet: node.wallet.address(),
        provider: selling.payee,
        signer: provider.signer.address(),
        sequence,
        ttl: OFFER_TTL,
        chain_id: escrow.chain_id,
        escrow: escrow.address,
        token: node.chain.token().address,
        rates: selling.rates,
        total,
        free,
        largest: free,
        cpu_model: selling.cpu_model.clone(),
        cpu_score: selling.cpu_score,
        features: features(selling, free_gpus),
        region: selling.region.clone(),
        lease_min: Millis::from_secs(30),
        lease_max: selling.longest,
        grace_min_secs: node.config.chain.grace_secs,
        addresses: Vec::new(),
        relay: None,
    }
}

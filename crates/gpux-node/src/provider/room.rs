//! Room on this machine's disk: what is free, and what is had by removing layers that nobody uses.
//!
//! Called for each quote, for each preparation, and when a lease's work is gone. A quote only counts what could be removed: whoever
//! asks for many and takes none makes no image cold. Which layers go is the layer store's to say.

use super::disk::{Disk, NoDisk, Wanted};
use crate::node::Node;
use gpux_proto::{ErrorCode, ImageSpec, PeerError, QuoteRequest};
use gpux_runtime::Digest;
use gpux_types::ByteSize;
use std::collections::BTreeSet;

/// Whether the machine's disk has room, or could have, for what the lease rents and fetches, beside what others were promised.
pub(super) async fn check(node: &Node, disk: &Disk, request: &QuoteRequest) -> Result<(), PeerError> {
    let wanted = Wanted {
        disk: request.resources.disk,
        preparation: request.preparation_bytes,
    };
    let free = crate::dir::free(node.dir.path()).map_err(|error| {
        tracing::error!(%error, "asking how much of the disk is free");
        PeerError::new(ErrorCode::Internal, "this node's disk could not be looked at")
    })?;
    let Err(short) = disk.check(wanted, free) else {
        return Ok(());
    };
    let free = ByteSize(free.0.saturating_add(removable(node).await.0));
    disk.check(wanted, free)
        .map_err(|_| PeerError::new(ErrorCode::NoCapacity, short.to_string()))
}

async fn removable(node: &Node) -> ByteSize {
    let Some(local) = &node.local else {
        return ByteSize(0);
    };
    let looked = local.layers.removable().await;
    looked.unwrap_or_else(|error| {
        tracing::warn!(error = %crate::error_chain(&error), "looking for layers that nobody uses");
        ByteSize(0)
    })
}

/// Removes layers that nobody uses for what is short, if that would do.
pub(super) async fn make(node: &Node, short: NoDisk) {
    let Some(local) = &node.local else { return };
    let missing = ByteSize(short.wanted.0.saturating_sub(short.free.0));
    if let Err(error) = local.layers.make_room(missing).await {
        tracing::warn!(error = %crate::error_chain(&error), "removing layers that nobody uses");
    }
}

/// What becomes of a lease's layers once its work is gone: what was worked with stays warm, the rest goes unless others use it.
pub(super) async fn let_go(node: &Node, image: &ImageSpec, worked: bool) {
    let Some(local) = &node.local else { return };
    let layers: BTreeSet<Digest> = image.layers.iter().map(|layer| Digest(layer.digest)).collect();
    let done = if worked {
        local.layers.note_earned(layers).await
    } else {
        local.layers.remove_unpaid(layers).await.map(drop)
    };
    if let Err(error) = done {
        tracing::warn!(error = %crate::error_chain(&error), worked, "letting go of a lease's layers");
    }
}

//! The inputs of a lease: taken from its renter, written where its containers see them, and kept as blobs for the renter's next lease.
//!
//! A renter reads here what it sent, and nothing of what others sent, whatever hashes it names: that is the network's rule
//! (`PeerNet::take`), and everything of a lease is asked for by it. The other nodes of its job have it from here by the same rule.

use super::prepare::{Fetch, PrepareError};
use crate::{node::Node, renter::MANIFEST_LIMIT};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gpux_net::{BlobRef, ExportMode};
use gpux_proto::{BlobSpec, Folder, FolderSpec, InputSpec, LeaseRequest};
use gpux_runtime::InputMount;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Packs that are fetched at a time: each costs a round trip.
const AT_A_TIME: usize = 4;
/// How often what was not used for long is let go.
const LET_GO_EVERY: Duration = Duration::from_secs(3_600);

/// Brings the inputs here and writes them below `scratch`.
pub(super) async fn fetch(
    fetch: &Fetch<'_>,
    inputs: &[InputSpec],
    scratch: &Path,
) -> Result<Vec<InputMount>, PrepareError> {
    let mut mounts = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        fetch.blob(input.blob).await?;
        let source = scratch.join(format!("input-{index}"));
        let net = &fetch.node.net;
        match input.folder {
            None => net.export(input.blob.hash, &source, ExportMode::Copy).await?,
            Some(told) => folder(fetch, input.blob, told, &source).await?,
        }
        mounts.push(InputMount {
            source,
            target: PathBuf::from(&input.to),
        });
    }
    Ok(mounts)
}

/// A folder by the manifest that was fetched: nothing of it is believed before it was checked.
async fn folder(fetch: &Fetch<'_>, manifest: BlobSpec, told: FolderSpec, to: &Path) -> Result<(), PrepareError> {
    let bytes = fetch.node.net.read_bytes(manifest.hash, MANIFEST_LIMIT).await?;
    let folder = Folder::read(&bytes, told)?;
    fetch.share(folder.packs.iter().map(|pack| pack.blob));
    let packs: Vec<BlobSpec> = folder.packs.iter().map(|pack| pack.blob).collect();
    let packs = stream::iter(packs).map(|pack| fetch.blob(pack));
    packs.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
    tokio::select! {
        biased;
        () = fetch.stop.cancelled() => Err(PrepareError::Stopped),
        written = gpux_net::write_folder(fetch.node.net.as_ref(), folder, to) => Ok(written?),
    }
}

/// Keeps what a paid lease was sent for the renter's next one, as far as there is room. Done again, it changes nothing.
pub(super) async fn keep(node: &Node, request: &LeaseRequest) {
    let job = &request.job;
    let mut blobs = vec![job.image.config];
    for input in &job.inputs {
        blobs.push(input.blob);
        let Some(told) = input.folder else { continue };
        let read = node.net.read_bytes(input.blob.hash, MANIFEST_LIMIT).await;
        // A manifest that is not here or none was no input either.
        let folder = read.ok().and_then(|bytes| Folder::read(&bytes, told).ok());
        blobs.extend(folder.into_iter().flat_map(|folder| folder.packs).map(|pack| pack.blob));
    }
    let blobs: Vec<BlobRef> = blobs
        .into_iter()
        .map(|blob| BlobRef {
            hash: blob.hash,
            size: blob.size.0,
        })
        .collect();
    let (sender, date) = (request.request.renter_node, node.clock.date());
    if let Err(error) = node.net.keep_sent(sender, &blobs, date).await {
        tracing::warn!(error = %crate::error_chain(&error), "keeping a lease's inputs for the next one");
    }
}

/// Lets go of what no lease worked with for long, also where no lease ends.
pub(super) async fn let_go_of_old(node: Arc<Node>) {
    loop {
        if let Err(error) = node.net.keep_sent(node.net.node_id(), &[], node.clock.date()).await {
            tracing::warn!(error = %crate::error_chain(&error), "letting go of old inputs");
        }
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = tokio::time::sleep(LET_GO_EVERY) => {}
        }
    }
}

//! Gets image and inputs of a lease ready: fetches what is missing from the renter, unpacks, starts the shim.
//!
//! Nothing here is billed; everything is bounded by what the quote promised.

use super::{
    disk::{Disk, NoDisk, Wanted},
    inputs, room,
};
use crate::node::Node;
use gpux_lease::{Actor, INTERVAL};
use gpux_net::{BlobRef, ExportMode, FetchError, Givers, Keeper, Retry, WriteFolderError};
use gpux_proto::{BadFolder, BlobSpec, ImageSpec, LayerSpec, LeaseRequest};
use gpux_runtime::{
    Compression, CreateLeaseError, Digest, ImageConfig, LayerDescriptor, LayerHold, LeaseSpec, MAX_CONFIG_BYTES,
    ParsedConfig, ReadConfigError, UnpackError, UnpackLimits,
};
use gpux_types::{BlobHash, ByteSize, LeaseId, Millis, NodeId, shown};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often a blob is asked for before preparation fails.
const FETCH_TRIES: u32 = 20;
/// How long to wait in between.
const FETCH_AGAIN: Duration = Duration::from_secs(1);
/// What each entry of a folder takes besides its bytes: the rest of its last block, or the folder's own.
const ENTRY_BYTES: u64 = 4 << 10;
/// The most of a part's output that is kept.
const LOG_LIMIT: ByteSize = ByteSize(8 << 20);

/// Image or inputs that cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// This node runs no containers.
    #[error("preparing a lease: this node has no container runtime")]
    NoRuntime,
    /// A blob did not come.
    #[error("fetching a blob of {size} from the renter")]
    Fetch {
        /// Its size.
        size: ByteSize,
        /// Why.
        source: FetchError,
    },
    /// The machine's disk has no room for it.
    #[error(transparent)]
    Disk(#[from] NoDisk),
    /// A blob cannot be read or written here.
    #[error("reading a fetched blob")]
    Blob(#[from] gpux_net::StoreError),
    /// The image's configuration is not one.
    #[error("reading the image's configuration")]
    Config(#[from] ReadConfigError),
    /// The configuration and the list of layers are of two images.
    #[error("checking the image: its configuration names other layers than were sent")]
    OtherLayers,
    /// A layer is packed in a way that this version does not know.
    #[error("checking the image: layers of type {0} are not supported")]
    MediaType(String),
    /// A layer cannot be unpacked.
    #[error("unpacking a layer of the image")]
    Unpack(#[from] UnpackError),
    /// An input's manifest is none.
    #[error("reading the manifest of an input")]
    Manifest(#[from] BadFolder),
    /// An input's files cannot be written.
    #[error("writing an input")]
    Input(#[from] WriteFolderError),
    /// A file of this daemon cannot be written.
    #[error("writing {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lease ended first.
    #[error("preparing a lease: it ended first")]
    Stopped,
    /// The shim cannot be started.
    #[error("starting the lease's shim")]
    Create(#[from] CreateLeaseError),
}

impl PrepareError {
    /// Through whom it failed.
    pub(crate) const fn actor(&self) -> Actor {
        match self {
            Self::Fetch { .. } => Actor::Network,
            Self::Config(_) | Self::OtherLayers | Self::Manifest(_) | Self::MediaType(_) | Self::Stopped => {
                Actor::Renter
            }
            Self::Disk(_)
            | Self::NoRuntime
            | Self::Blob(_)
            | Self::Unpack(_)
            | Self::Input(_)
            | Self::Folder { .. }
            | Self::Create(_) => Actor::Provider,
        }
    }
}

/// A preparation, as long as it may still make something.
#[derive(Debug)]
pub(super) struct Underway {
    stop: CancellationToken,
    over: CancellationToken,
}

impl Underway {
    /// A preparation and the future that makes it: over when that is done, was dropped, or panicked.
    pub(super) fn begin<F: Future>(
        work: impl FnOnce(CancellationToken) -> F,
    ) -> (Self, impl Future<Output = F::Output>) {
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let done = over.clone().drop_guard();
        let work = work(stop.clone());
        let made = async move {
            let made = work.await;
            drop(done);
            made
        };
        (Self { stop, over }, made)
    }

    /// Whether nothing more comes of it.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Tells it to stop.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Tells it to stop, and waits until nothing more comes of it.
    pub(super) fn end(&self) -> impl Future<Output = ()> + use<> {
        self.stop();
        self.over.clone().cancelled_owned()
    }
}

/// What a preparation needs beside what was asked for.
pub(super) struct Aids<'a> {
    /// Counts the bytes that are here.
    pub(super) fetched: &'a Arc<AtomicU64>,
    /// Promises space.
    pub(super) disk: &'a Disk,
    /// Says that the lease ended. What cannot be given up halfway is done to its end first.
    pub(super) stop: &'a CancellationToken,
}

/// Makes everything ready for the lease's first part.
pub(super) async fn prepare(
    node: &Node,
    request: &LeaseRequest,
    lease: LeaseId,
    aids: Aids<'_>,
) -> Result<(), PrepareError> {
    let Aids { fetched, disk, stop } = aids;
    let local = node.local.as_ref().ok_or(PrepareError::NoRuntime)?;
    let scratch = node.dir.scratch(&lease.to_string());
    std::fs::create_dir_all(&scratch).map_err(|source| PrepareError::Folder {
        path: scratch.clone(),
        source,
    })?;
    // What is found for the lease stays until the runtime's own record of the lease says that it is used.
    let mut hold = local.layers.hold();
    let brought = reserve(node, &mut hold, request, lease, disk).await?;
    let fetch = Fetch {
        node,
        renter: request.request.renter_node,
        others: &request.others,
        lease,
        fetched,
        brought: &brought,
        disk,
        stop,
    };
    fetch.share(request.job.blobs());
    let (image, layers) = unpack_image(&mut hold, &fetch, &request.job.image, &scratch).await?;
    let inputs = inputs::fetch(&fetch, &request.job.inputs, &scratch).await?;
    if stop.is_cancelled() {
        return Err(PrepareError::Stopped);
    }
    let spec = LeaseSpec {
        lease,
        resources: request.request.resources,
        layers,
        image,
        inputs,
        log_limit: LOG_LIMIT,
        renew_within: Millis(INTERVAL.0 * 2),
        hold: request.quote.quote.hold,
    };
    local.runtime.create_lease(spec).await?;
    drop(hold);
    Ok(())
}

/// Promises the lease its part of this machine's disk, before a byte is fetched; gives what counts the bytes that come.
async fn reserve(
    node: &Node,
    hold: &mut LayerHold,
    request: &LeaseRequest,
    lease: LeaseId,
    disk: &Disk,
) -> Result<Arc<AtomicU64>, PrepareError> {
    let mut missing = 0u64;
    for layer in &request.job.image.layers {
        let layer_is_here = hold.get(&descriptor(layer)?).is_some();
        if !layer_is_here {
            missing = missing.saturating_add(space_of_layer(layer));
        }
    }
    for input in &request.job.inputs {
        // As a blob, and as the file that containers see: also when it is here, which is the affair of whoever sent it.
        missing = missing.saturating_add(input.size().0.saturating_mul(2));
        let entries = input.folder.map_or(0, |folder| u64::from(folder.entries));
        missing = missing.saturating_add(entries.saturating_mul(ENTRY_BYTES));
    }
    let wanted = Wanted {
        disk: request.request.resources.disk,
        preparation: ByteSize(missing),
    };
    let brought = Arc::new(AtomicU64::new(0));
    let reserve = |free| disk.reserve(lease, wanted, brought.clone(), free);
    if let Err(short) = reserve(free(node)?) {
        room::make(node, short).await;
        reserve(free(node)?)?;
    }
    Ok(brought)
}

/// What is free on this machine's disk.
fn free(node: &Node) -> Result<ByteSize, PrepareError> {
    let path = node.dir.path();
    crate::dir::free(path).map_err(|source| PrepareError::Folder {
        path: path.to_owned(),
        source,
    })
}

/// What a layer takes while it is unpacked: as a blob, as the file that is read, and as files. How well it was packed is not
/// known before; unpacking itself stops before the disk is full.
fn space_of_layer(layer: &LayerSpec) -> u64 {
    let unpacked = match Compression::of_media_type(&layer.media_type) {
        Some(Compression::None) | None => 1,
        Some(Compression::Gzip | Compression::Zstd) => 3,
    };
    layer.blob.size.0.saturating_mul(2 + unpacked)
}

/// Where the blobs of one lease come from and who counts them.
pub(super) struct Fetch<'a> {
    pub(super) node: &'a Node,
    renter: NodeId,
    /// The other nodes that the renter sends the same to.
    others: &'a [NodeId],
    lease: LeaseId,
    fetched: &'a Arc<AtomicU64>,
    /// Without what was here before.
    brought: &'a AtomicU64,
    disk: &'a Disk,
    pub(super) stop: &'a CancellationToken,
}

impl Fetch<'_> {
    /// Lets the others have blobs from here as far as the renter sent them.
    pub(super) fn share(&self, blobs: impl Iterator<Item = BlobSpec>) {
        let blobs: Vec<BlobHash> = blobs.map(|blob| blob.hash).collect();
        self.node.net.share(self.lease, self.others, &blobs, self.renter);
    }

    /// Brings a blob here that the renter sends to this node, or sent it once, counting its bytes as they come.
    pub(super) async fn blob(&self, blob: BlobSpec) -> Result<(), PrepareError> {
        let wanted = BlobRef {
            hash: blob.hash,
            size: blob.size.0,
        };
        let (progress, mut seen) = watch::channel(0);
        let told = AtomicU64::new(0);
        // Others are fetched meanwhile: what is more of this one is added.
        let tell = |bytes: u64| {
            let before = told.fetch_max(bytes, Ordering::Relaxed);
            self.fetched.fetch_add(bytes.saturating_sub(before), Ordering::Relaxed);
        };
        let count = async {
            while seen.changed().await.is_ok() {
                tell(*seen.borrow_and_update());
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(PrepareError::Stopped),
            result = self.bring(wanted, &progress) => result.map_err(|source| PrepareError::Fetch { size: blob.size, source })?,
            () = count => {}
        }
        tell(blob.size.0);
        self.brought.fetch_add(blob.size.0, Ordering::Relaxed);
        Ok(())
    }

    /// Fetches, and tries again what may go better: what came is kept, so each try goes further. The lease's own limit on
    /// preparation ends it.
    async fn bring(&self, wanted: BlobRef, progress: &watch::Sender<u64>) -> Result<(), FetchError> {
        let (net, keeper) = (&self.node.net, Keeper::Lease(self.lease));
        let from = Givers {
            sender: self.renter,
            peers: self.others,
        };
        let take = || net.take(from, wanted, keeper, Some(progress));
        for _ in 1..FETCH_TRIES {
            match take().await {
                Err(error) if !matches!(error.retry(), Retry::Never) => {
                    tracing::debug!(lease = %self.lease.short(), error = %crate::error_chain(&error), "fetching a blob");
                    tokio::time::sleep(FETCH_AGAIN).await;
                }
                done => return done,
            }
        }
        take().await
    }

    fn skip(&self, blob: BlobSpec) {
        self.fetched.fetch_add(blob.size.0, Ordering::Relaxed);
    }
}

/// The image's configuration and its layers' folders, the topmost first.
async fn unpack_image(
    hold: &mut LayerHold,
    fetch: &Fetch<'_>,
    image: &ImageSpec,
    scratch: &Path,
) -> Result<(ImageConfig, Vec<PathBuf>), PrepareError> {
    fetch.blob(image.config).await?;
    let bytes = fetch.node.net.read_bytes(image.config.hash, MAX_CONFIG_BYTES).await?;
    let parsed = ParsedConfig::read(&bytes)?;
    if parsed.diff_ids.len() != image.layers.len()
        || parsed
            .diff_ids
            .iter()
            .zip(&image.layers)
            .any(|(diff_id, layer)| diff_id.0 != layer.diff_id)
    {
        return Err(PrepareError::OtherLayers);
    }
    let mut folders = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        folders.push(unpack_layer(hold, fetch, layer, scratch).await?);
    }
    folders.reverse();
    Ok((parsed.config, folders))
}

async fn unpack_layer(
    hold: &mut LayerHold,
    fetch: &Fetch<'_>,
    layer: &LayerSpec,
    scratch: &Path,
) -> Result<PathBuf, PrepareError> {
    let descriptor = descriptor(layer)?;
    if let Some(folder) = hold.get(&descriptor) {
        fetch.skip(layer.blob);
        return Ok(folder);
    }
    fetch.blob(layer.blob).await?;
    let file = scratch.join(format!("layer-{}", descriptor.digest.hex()));
    fetch.node.net.export(layer.blob.hash, &file, ExportMode::Copy).await?;
    let mut limits = UnpackLimits::default();
    // However small it was packed: what is promised to other leases by now is not for it.
    limits.total = limits.total.min(fetch.disk.room_of(fetch.lease, free(fetch.node)?));
    let unpacked = tokio::select! {
        biased;
        () = fetch.stop.cancelled() => return Err(PrepareError::Stopped),
        unpacked = hold.ensure_unpacked(&file, &descriptor, &limits) => unpacked,
    };
    if let Err(error) = std::fs::remove_file(&file) {
        tracing::debug!(%error, "removing a layer's copy");
    }
    Ok(unpacked?)
}

/// A layer as the runtime knows it.
pub(crate) fn descriptor(layer: &LayerSpec) -> Result<LayerDescriptor, PrepareError> {
    let compression = Compression::of_media_type(&layer.media_type)
        .ok_or_else(|| PrepareError::MediaType(shown(&layer.media_type, 80)))?;
    Ok(LayerDescriptor {
        digest: Digest(layer.digest),
        diff_id: Digest(layer.diff_id),
        compression,
        size: layer.blob.size.0,
        blake3: layer.blob.hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn whoever_ends_a_preparation_waits_until_nothing_more_comes_of_it() {
        let finish = Arc::new(tokio::sync::Notify::new());
        let held = finish.clone();
        let (underway, made) = Underway::begin(|stop| async move {
            stop.cancelled().await;
            // As a shim that is being started: not given up halfway.
            held.notified().await;
        });
        let mut made = Box::pin(made);
        assert!((&mut made).now_or_never().is_none() && !underway.is_over());
        let mut ended = Box::pin(underway.end());
        assert!((&mut made).now_or_never().is_none());
        assert!((&mut ended).now_or_never().is_none(), "a shim may still come of it");
        finish.notify_one();
        assert!(made.now_or_never().is_some());
        assert!(ended.now_or_never().is_some() && underway.is_over());
        let (dropped, made) = Underway::begin(|_| std::future::pending::<()>());
        drop(made);
        assert!(dropped.is_over(), "nothing comes of it either");
    }
}

//! Takes files and folders of this machine into the blob store as they are at one time.

use super::{
    error::StoreError,
    scan::{ScanError, ScannedFolder, Stamp, read_file},
    store::{AddMode, BlobRef, Keeper},
};
use crate::seam::PeerNet;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gpux_proto::{BlobSpec, Folder, FolderFile, FolderSpec, Pack, packs_of};
use gpux_types::ByteSize;
use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

/// Packs that are made at a time: while one is read, others are hashed and written.
const AT_A_TIME: usize = 4;

/// A file or a folder that could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum AddInputError {
    /// It cannot be read, or not be sent.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The store failed.
    #[error("storing what was read")]
    Store(#[from] StoreError),
}

/// Takes in a file that must stay as it is meanwhile.
///
/// # Errors
/// When it cannot be read or stored, or changed while it was read.
pub async fn add_steady_file(net: &dyn PeerNet, path: &Path, keeper: Keeper) -> Result<BlobRef, AddInputError> {
    let seen = fs::metadata(path).map_err(ScanError::read(path))?;
    add_seen_file(net, path, Stamp::of(&seen), keeper).await
}

async fn add_seen_file(net: &dyn PeerNet, path: &Path, seen: Stamp, keeper: Keeper) -> Result<BlobRef, AddInputError> {
    let blob = net.add_file(path, AddMode::Copy, keeper).await?;
    let now = fs::metadata(path).map_err(ScanError::read(path))?;
    if blob.size != seen.size() || Stamp::of(&now) != seen {
        return Err(ScanError::Changed(path.to_owned()).into());
    }
    Ok(blob)
}

/// Takes in all of a folder; gives its manifest, and what is told of it.
///
/// # Errors
/// When something in it cannot be read, sent or stored, or changed while it was read.
pub async fn add_folder(
    net: &dyn PeerNet,
    path: &Path,
    keeper: Keeper,
) -> Result<(BlobRef, FolderSpec), AddInputError> {
    let root = path.to_owned();
    let scanned = blocking(move || ScannedFolder::scan(&root)).await?;
    let ScannedFolder {
        root,
        folders,
        files,
        links,
        stamps,
    } = scanned;
    let (root, stamps): (Arc<Path>, _) = (root.into(), Arc::new(stamps));
    let packs = stream::iter(packs_of(files)).map(|files| {
        let (root, stamps) = (root.clone(), stamps.clone());
        async move { add_pack(net, root, files, stamps, keeper).await }
    });
    let folder = Folder {
        folders,
        packs: packs.buffered(AT_A_TIME).try_collect().await?,
        links,
    };
    let (manifest, spec) = folder.write().map_err(ScanError::from)?;
    Ok((net.add_bytes(manifest, keeper).await?, spec))
}

async fn add_pack(
    net: &dyn PeerNet,
    root: Arc<Path>,
    files: Vec<FolderFile>,
    stamps: Arc<BTreeMap<String, Stamp>>,
    keeper: Keeper,
) -> Result<Pack, AddInputError> {
    let stamp = |path: &str| stamps.get(path).copied();
    let blob = match files.as_slice() {
        [file] => {
            let path = root.join(&file.path);
            let seen = stamp(&file.path).ok_or_else(|| ScanError::Changed(path.clone()))?;
            add_seen_file(net, &path, seen, keeper).await?
        }
        several => {
            let paths: Vec<_> = several
                .iter()
                .map(|file| (root.join(&file.path), stamp(&file.path)))
                .collect();
            let bytes = blocking(move || {
                let mut bytes = Vec::new();
                for (path, seen) in paths {
                    let seen = seen.ok_or_else(|| ScanError::Changed(path.clone()))?;
                    read_file(&path, seen, &mut bytes)?;
                }
                Ok(bytes)
            });
            net.add_bytes(bytes.await?, keeper).await?
        }
    };
    Ok(Pack {
        blob: BlobSpec {
            hash: blob.hash,
            size: ByteSize(blob.size),
        },
        files,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ScanError> + Send + 'static,
) -> Result<T, ScanError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ScanError::Read {
        path: "the folder".into(),
        source: io::Error::other(error),
    })?
}

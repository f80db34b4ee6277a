//! Writes a folder whose packs are here: the folders, then the files, the links last.
//!
//! The manifest was read by [`Folder::read`], so every path lies below the folder and comes once. Everything is made new, in a
//! folder where nobody else writes, and nothing goes through a link since there is none before the last file is closed.

use super::{error::StoreError, store::ExportMode};
use crate::seam::PeerNet;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gpux_proto::{Folder, FolderFile, FolderLink, MAX_PACK_BYTES, Pack};
use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

/// Packs that are written at a time: a file system waits for its journal at each file.
const AT_A_TIME: usize = 4;

/// A folder that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteFolderError {
    /// Its bytes cannot be had from the store.
    #[error("reading a folder's files from the store")]
    Store(#[from] StoreError),
    /// Something of it cannot be written.
    #[error("writing {path}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes `folder` to `to`, in the place of what is there. Everybody may read it: who sees the folder is a matter of what lies
/// above it.
///
/// # Errors
/// When a pack is not here, or something cannot be written.
pub async fn write_folder(net: &dyn PeerNet, folder: Folder, to: &Path) -> Result<(), WriteFolderError> {
    let Folder { folders, packs, links } = folder;
    let root = to.to_owned();
    blocking(to, move || make_folders(&root, &folders)).await?;
    let packs = stream::iter(packs).map(|pack| write_pack(net, pack, to));
    packs.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
    let root = to.to_owned();
    blocking(to, move || make_links(&root, &links)).await
}

async fn write_pack(net: &dyn PeerNet, pack: Pack, to: &Path) -> Result<(), WriteFolderError> {
    if let [file] = pack.files.as_slice()
        && file.size.0 > 0
    {
        let (path, mode) = (to.join(&file.path), mode(file));
        net.export(pack.blob.hash, &path, ExportMode::Copy).await?;
        return fs::set_permissions(&path, mode).map_err(|source| WriteFolderError::Write { path, source });
    }
    let bytes = net.read_bytes(pack.blob.hash, MAX_PACK_BYTES).await?;
    let root = to.to_owned();
    blocking(to, move || write_files(&root, &pack.files, &bytes)).await
}

fn make_folders(root: &Path, folders: &[String]) -> Result<(), WriteFolderError> {
    match fs::remove_dir_all(root) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(write(root)(source)),
        _ => {}
    }
    let make = |path: &Path| {
        fs::DirBuilder::new().mode(0o755).create(path)?;
        // Whatever the umask.
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    make(root).map_err(write(root))?;
    for folder in folders {
        let path = root.join(folder);
        make(&path).map_err(write(&path))?;
    }
    Ok(())
}

fn write_files(root: &Path, files: &[FolderFile], mut bytes: &[u8]) -> Result<(), WriteFolderError> {
    for file in files {
        let path = root.join(&file.path);
        let size = usize::try_from(file.size.0).unwrap_or(usize::MAX);
        // Its size is part of what was fetched and of what the manifest says.
        let cut = bytes
            .split_at_checked(size)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        let written = cut.and_then(|(own, rest)| {
            bytes = rest;
            let mode = mode(file).mode();
            let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            new.write_all(own)?;
            // Whatever the umask.
            if new.metadata()?.permissions().mode() & 0o777 == mode {
                return Ok(());
            }
            new.set_permissions(Permissions::from_mode(mode))
        });
        written.map_err(write(&path))?;
    }
    Ok(())
}

fn make_links(root: &Path, links: &[FolderLink]) -> Result<(), WriteFolderError> {
    for link in links {
        let path = root.join(&link.path);
        symlink(&link.target, &path).map_err(write(&path))?;
    }
    Ok(())
}

fn mode(file: &FolderFile) -> Permissions {
    Permissions::from_mode(if file.executable { 0o755 } else { 0o644 })
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> WriteFolderError + use<> {
    let path = path.to_owned();
    move |source| WriteFolderError::Write { path, source }
}

async fn blocking(
    at: &Path,
    work: impl FnOnce() -> Result<(), WriteFolderError> + Send + 'static,
) -> Result<(), WriteFolderError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| write(at)(io::Error::other(error)))?
}

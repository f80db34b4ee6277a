//! Brings the outputs of one part onto this machine's disk and, where that fails, says whose fault it is.
//!
//! Names come from strangers: one that can be written nowhere is its node's fault. A disk that is full, or broken, or may not be
//! written is nobody's but this machine's own, and costs no node a strike and nobody another run.

use super::{Fetched, calls::TRIES};
use crate::{dir::free, node::Node, renter::outputs};
use gpux_api::OutputView;
use gpux_net::{BlobRef, ExportMode, Keeper};
use gpux_proto::OutputSpec;
use gpux_types::{ByteSize, JobId, NodeId};
use std::{
    error::Error,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long to wait before an output is fetched again.
const AGAIN: Duration = Duration::from_secs(1);
/// What outputs leave free, for receipts and the daemon's database.
pub(crate) const KEPT_FREE: ByteSize = ByteSize(16 << 20);

/// A part's outputs that are not here.
#[derive(Debug, thiserror::Error)]
pub(in crate::renter) enum FetchError {
    #[error("naming an output {0:?}: it would leave the output folder")]
    Name(String),
    #[error("writing below {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("making room on the disk of {path}: {needed} is needed, {free} is free")]
    NoRoom {
        path: PathBuf,
        needed: ByteSize,
        free: ByteSize,
    },
    #[error("fetching {path}")]
    Fetch {
        path: String,
        source: Box<gpux_net::FetchError>,
    },
    #[error("writing an output")]
    Export(#[source] gpux_net::StoreError),
    #[error("writing {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl FetchError {
    /// Whether the node did all that it could: the outputs can be had once this machine takes them.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Folder { .. } | Self::NoRoom { .. } => true,
            Self::Fetch { source, .. } => source.is_own(),
            Self::Export(source) => !is_of_the_name(source),
            Self::Write { source, .. } => !is_of_the_name(source),
        }
    }
}

/// Whether something failed because of how a file is named: a file where a folder must be, a name too long. Whatever room there
/// is, such a file is never written.
fn is_of_the_name(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind as K;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let named = matches!(
                error.kind(),
                K::NotADirectory
                    | K::IsADirectory
                    | K::AlreadyExists
                    | K::DirectoryNotEmpty
                    | K::InvalidFilename
                    | K::InvalidInput
                    | K::FileTooLarge
                    // The output folder itself was seen to be writable.
                    | K::PermissionDenied
            );
            // An error in an I/O error is not its source.
            if named || error.get_ref().is_some_and(|inner| is_of_the_name(inner)) {
                return true;
            }
        }
        next = error.source();
    }
    false
}

/// What to bring, and where to.
pub(super) struct Fetch<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) job: JobId,
    pub(super) from: NodeId,
    pub(super) output: &'a Path,
    /// Tells this try's files from another's of the same name.
    pub(super) mark: &'a str,
}

impl Fetch<'_> {
    /// All of the outputs, under names of their own; nothing of them where one fails.
    pub(super) async fn all(
        &self,
        specs: &[OutputSpec],
        view: impl Fn(&OutputSpec) -> OutputView,
    ) -> Result<Vec<Fetched>, FetchError> {
        self.make_sure_of_room(specs).await?;
        let mut files = Vec::with_capacity(specs.len());
        for spec in specs {
            if let Err(error) = self.one(spec, view(spec), &mut files).await {
                discard(self.output, &files);
                return Err(error);
            }
        }
        Ok(files)
    }

    async fn one(&self, spec: &OutputSpec, view: OutputView, files: &mut Vec<Fetched>) -> Result<(), FetchError> {
        let name = outputs::safe_name(&spec.path).ok_or_else(|| FetchError::Name(spec.path.clone()))?;
        let path = self.output.join(name);
        let write = |source| FetchError::Write {
            path: path.clone(),
            source,
        };
        let temporary = outputs::reserve(&path, self.mark).map_err(write)?;
        files.push(Fetched {
            temporary: temporary.clone(),
            path: path.clone(),
            view,
        });
        self.bring(spec).await?;
        let exported = self.node.net.export(spec.blob.hash, &temporary, ExportMode::Copy).await;
        exported.map_err(FetchError::Export)?;
        outputs::sync(&temporary).await.map_err(write)
    }

    async fn bring(&self, spec: &OutputSpec) -> Result<(), FetchError> {
        let blob = BlobRef {
            hash: spec.blob.hash,
            size: spec.blob.size.0,
        };
        let mut tries = 1;
        loop {
            let (from, keeper) = ([self.from], Keeper::Job(self.job));
            match self.node.net.fetch(&from, blob, keeper, None).await {
                Ok(()) => return Ok(()),
                Err(source) if source.is_own() || tries >= TRIES => {
                    return Err(FetchError::Fetch {
                        path: spec.path.clone(),
                        source: source.into(),
                    });
                }
                Err(error) => {
                    tracing::debug!(path = %spec.path, error = %crate::error_chain(&error), "fetching an output")
                }
            }
            tries += 1;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Looks for room before a byte is asked for: a disk that is filled to its last byte takes no receipts either.
    async fn make_sure_of_room(&self, specs: &[OutputSpec]) -> Result<(), FetchError> {
        let mut stored = 0_u64;
        let written = specs
            .iter()
            .fold(0_u64, |sum, spec| sum.saturating_add(spec.blob.size.0));
        for spec in specs {
            // What an earlier try brought is in the store.
            if !matches!(self.node.net.find(spec.blob.hash).await, Ok(Some(_))) {
                stored = stored.saturating_add(spec.blob.size.0);
            }
        }
        let folder = |source| FetchError::Folder {
            path: self.output.to_owned(),
            source,
        };
        fs::create_dir_all(self.output).map_err(folder)?;
        let access = rustix::fs::access(self.output, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        access.map_err(|errno| folder(errno.into()))?;
        let store = self.node.dir.path();
        let disk = |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(folder);
        if disk(store)? == disk(self.output)? {
            return room(self.output, stored.saturating_add(written));
        }
        room(store, stored)?;
        room(self.output, written)
    }
}

/// Whether so many bytes fit on the disk of `path`.
fn room(path: &Path, bytes: u64) -> Result<(), FetchError> {
    let needed = ByteSize(bytes.saturating_add(KEPT_FREE.0));
    let found = free(path).map_err(|source| FetchError::Folder {
        path: path.to_owned(),
        source,
    })?;
    if found < needed {
        return Err(FetchError::NoRoom {
            path: path.to_owned(),
            needed,
            free: found,
        });
    }
    Ok(())
}

/// Gives fetched files their names; these are on the disk when it returns. Nothing under a name of its own is left where it fails.
pub(super) fn put_in_place(output: &Path, files: &[Fetched]) -> Result<(), FetchError> {
    let placed = files.iter().try_for_each(|file| {
        fs::rename(&file.temporary, &file.path).map_err(|source| FetchError::Write {
            path: file.path.clone(),
            source,
        })
    });
    if placed.is_err() {
        discard(output, files);
    }
    placed?;
    let names = files.iter().map(|file| file.path.as_path());
    outputs::sync_names(output, names).map_err(|source| FetchError::Folder {
        path: output.to_owned(),
        source,
    })
}

/// Removes files that got no name, and the folders that were made for them: one may stand where another part's file belongs.
pub(super) fn discard(output: &Path, files: &[Fetched]) {
    for file in files {
        // Missing files are what is wanted; folders that are in use stay.
        let _ = fs::remove_file(&file.temporary);
        let folders = file.path.ancestors().skip(1);
        for folder in folders.take_while(|folder| *folder != output && folder.starts_with(output)) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_net::{PeerFetchError, StoreError};
    use gpux_types::{BlobHash, LeaseId, PartIndex};

    const HASH: BlobHash = BlobHash([1; 32]);

    fn exported(source: impl Into<Box<dyn Error + Send + Sync>>) -> FetchError {
        FetchError::Export(StoreError::Export {
            hash: HASH,
            path: "/out/x".into(),
            source: source.into(),
        })
    }

    fn fetched(source: PeerFetchError) -> FetchError {
        FetchError::Fetch {
            path: "x".into(),
            source: Box::new(gpux_net::FetchError::Peer {
                hash: HASH,
                peer: NodeId([2; 32]),
                source,
            }),
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_is_this_machines_fault_and_a_name_that_fits_nowhere_the_nodes() {
        let errors = |raw: i32| {
            let error = || io::Error::from_raw_os_error(raw);
            let write = FetchError::Write {
                path: "/out/x".into(),
                source: error(),
            };
            // As the store gives it, and as an error inside another one.
            [write, exported(error()), exported(io::Error::other(error()))]
        };
        let no_space = [28, 122, 30, 5, 24, 2]; // ENOSPC, EDQUOT, EROFS, EIO, EMFILE, ENOENT
        let names = [20, 21, 17, 36, 39, 22, 27, 13]; // ENOTDIR, EISDIR, EEXIST, ENAMETOOLONG, ENOTEMPTY, EINVAL, EFBIG, EACCES
        for (raws, own) in [(no_space.as_slice(), true), (&names, false)] {
            for raw in raws {
                for error in errors(*raw) {
                    assert_eq!(error.is_own(), own, "{}", crate::error_chain(&error));
                }
            }
        }
        assert!(exported("the store is closed").is_own());
        assert!(fetched(PeerFetchError::Write("no room".into())).is_own());
        assert!(!fetched(PeerFetchError::Missing).is_own());
        assert!(!fetched(PeerFetchError::Corrupt("other bytes".into())).is_own());
        assert!(!FetchError::Name("../x".into()).is_own());
    }

    /// A file below `output`, as it is before it gets its name.
    fn brought(output: &Path, name: &str) -> Result<Fetched, io::Error> {
        let path = output.join(name);
        let temporary = outputs::reserve(&path, "mark")?;
        fs::write(&temporary, name)?;
        let view = OutputView {
            path: name.into(),
            part: PartIndex(0),
            node: NodeId([2; 32]),
            lease: LeaseId([3; 32]),
            hash: HASH,
            size: ByteSize(1),
        };
        Ok(Fetched { temporary, path, view })
    }

    #[test]
    fn a_file_where_a_folder_must_be_is_the_nodes_fault_and_leaves_nothing_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        put_in_place(dir.path(), &[brought(dir.path(), "x").unwrap()]).unwrap();
        let source = brought(dir.path(), "x/y").unwrap_err();
        let path = dir.path().join("x/y");
        assert!(!FetchError::Write { path, source }.is_own());

        let files = ["a/b", "a"].map(|name| brought(dir.path(), name).unwrap());
        let error = put_in_place(dir.path(), &files[1..]).unwrap_err();
        assert!(!error.is_own(), "{error:?}");
        discard(dir.path(), &files);
        assert!(
            !dir.path().join("a").exists(),
            "no folder stands where a file may belong"
        );
        put_in_place(dir.path(), &[brought(dir.path(), "a").unwrap()]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "a");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "x and a");
    }

    #[test]
    fn more_than_is_free_is_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(room(dir.path(), 0).is_ok());
        let error = room(dir.path(), u64::MAX).unwrap_err();
        assert!(
            matches!(error, FetchError::NoRoom { .. }) && error.is_own(),
            "{error:?}"
        );
    }
}

//! The unpacking child: reads a compressed layer from its standard input and fills the folder it is jailed in.
//!
//! Prints one [`UnpackAnswer`] and ends. It checks everything that can only be known by unpacking: the digest of the archive, its
//! bounds, its paths and kinds of entries.

use super::jail;
use super::report::{LayerFault, UnpackAnswer, UnpackReport, UnpackTask, shown};
use super::tree::{Attributes, LayerPath, Tree};
use crate::images::{Compression, Digest};
use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};

/// The hidden verb of the unpacking child.
pub(crate) const UNPACK_VERB: &str = "__unpack";

/// Bytes that are read from the pipe at once.
const INPUT_BUFFER: usize = 64 << 10;

/// log2 of the largest zstd window: 128 MiB, the most that `zstd` itself accepts without being told to.
const MAX_WINDOW_LOG: u32 = 27;

/// The archive may be this much longer than what it may unpack to: headers and padding are not counted with the files.
const ARCHIVE_SLACK: u64 = 64 << 20;

/// Owners that a container can have.
const MAX_ID: u64 = 65_535;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS's own bookkeeping, which old images carry.
const AUFS: &[u8] = b".wh..wh.";

/// The hidden verb: `args` is the task as JSON.
pub(crate) fn unpack_in_jail(args: &[OsString]) -> ExitCode {
    let Some(task) = args
        .first()
        .and_then(|text| serde_json::from_str::<UnpackTask>(text.to_str()?).ok())
    else {
        return ExitCode::from(64);
    };
    let answer = match jail::enter(&task).and_then(|()| unpack(&task)) {
        Ok(report) => UnpackAnswer::Done(report),
        Err(fault) => UnpackAnswer::Refused(fault),
    };
    let printed = serde_json::to_vec(&answer)
        .map_err(io::Error::from)
        .and_then(|json| io::stdout().write_all(&json));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs in the jail: `/` is the layer's folder.
fn unpack(task: &UnpackTask) -> Result<UnpackReport, LayerFault> {
    let jail_fault = |step: &str, reason: String| LayerFault::Jail {
        step: step.to_owned(),
        reason,
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        openat(CWD, "/", flags, Mode::empty()).map_err(|errno| jail_fault("opening the root", errno.to_string()))?;
    let input = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| jail_fault("input", error.to_string()))?;
    let input = BufReader::with_capacity(INPUT_BUFFER, File::from(input));
    let state = Rc::new(StreamState {
        left: Cell::new(task.limits.total.0.saturating_add(ARCHIVE_SLACK)),
        exhausted: Cell::new(false),
    });
    let stream = ArchiveStream {
        inner: decompress(task.compression, input)?,
        hash: Sha256::new(),
        state: Rc::clone(&state),
    };
    let mut unpacking = Unpacking {
        task,
        tree: Tree::new(root, task.limits),
        skipped_devices: 0,
    };
    let digest = unpacking.run(stream).map_err(|fault| {
        // The decoders see the bound as an end of their input.
        if matches!(fault, LayerFault::Damaged { .. }) && state.exhausted.get() {
            return LayerFault::TooLarge {
                limit: task.limits.total.0,
            };
        }
        fault
    })?;
    if digest != task.diff_id {
        return Err(LayerFault::DiffId {
            expected: task.diff_id,
            got: digest,
        });
    }
    let finished = unpacking.tree.finish()?;
    Ok(UnpackReport {
        entries: finished.entries,
        bytes: finished.bytes,
        skipped_devices: unpacking.skipped_devices,
        opaque: finished.opaque,
    })
}

fn decompress(compression: Compression, input: BufReader<File>) -> Result<Box<dyn Read>, LayerFault> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(damaged)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(damaged)?;
            Box::new(decoder)
        }
    })
}

fn damaged(error: io::Error) -> LayerFault {
    LayerFault::Damaged {
        reason: error.to_string().chars().take(200).collect(),
    }
}

struct StreamState {
    left: Cell<u64>,
    exhausted: Cell<bool>,
}

/// The uncompressed archive: hashed, and cut off at its bound.
struct ArchiveStream {
    inner: Box<dyn Read>,
    hash: Sha256,
    state: Rc<StreamState>,
}

impl Read for ArchiveStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        let len = u64::try_from(got).unwrap_or(u64::MAX);
        match self.state.left.get().checked_sub(len) {
            Some(left) => self.state.left.set(left),
            None => {
                self.state.exhausted.set(true);
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        self.hash.update(buffer.get(..got).unwrap_or_default());
        Ok(got)
    }
}

struct Unpacking<'t> {
    task: &'t UnpackTask,
    tree: Tree,
    skipped_devices: u64,
}

impl Unpacking<'_> {
    /// Unpacks everything and answers with the digest of the whole archive, the bytes behind its end mark included.
    fn run(&mut self, stream: ArchiveStream) -> Result<Digest, LayerFault> {
        let mut archive = Archive::new(stream);
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            self.entry(&mut entry)?;
        }
        let mut stream = archive.into_inner();
        io::copy(&mut stream, &mut io::sink()).map_err(damaged)?;
        Ok(Digest(stream.hash.finalize().into()))
    }

    fn entry(&mut self, entry: &mut Entry<'_, ArchiveStream>) -> Result<(), LayerFault> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let path = LayerPath::read(&raw, &self.task.limits)?;
        let refuse_kind = |kind: &str| LayerFault::Kind {
            path: shown(&raw),
            kind: kind.to_owned(),
        };
        if is_sparse(entry)? {
            return Err(refuse_kind("sparse"));
        }
        let attributes = attributes(entry, &raw)?;
        if self.whiteout(&path)? {
            return Ok(());
        }
        let link = || {
            entry
                .link_name_bytes()
                .map(std::borrow::Cow::into_owned)
                .unwrap_or_default()
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "every kind that is not named is refused, also future ones"
        )]
        match kind {
            EntryType::Directory => self.tree.folder(&path, attributes),
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                self.tree.file(&path, attributes, size, entry)
            }
            EntryType::Symlink => self.tree.symlink(&path, attributes, &link()),
            EntryType::Link => {
                let target = LayerPath::read(&link(), &self.task.limits)?;
                self.tree.hard_link(&path, &target)
            }
            EntryType::Fifo => self.tree.fifo(&path, attributes),
            EntryType::Char | EntryType::Block => {
                self.skipped_devices += 1;
                Ok(())
            }
            other => Err(refuse_kind(&char::from(other.as_byte()).to_string())),
        }
    }

    /// Whether the entry is a whiteout; it is applied then.
    fn whiteout(&mut self, path: &LayerPath) -> Result<bool, LayerFault> {
        let Some((folder, name)) = path.split() else {
            return Ok(false);
        };
        if name == OPAQUE {
            self.tree.opaque(&folder)?;
        } else if name.starts_with(AUFS) {
            return Ok(true);
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(LayerFault::Whiteout {
                    path: shown(path.as_bytes()),
                });
            }
            self.tree.whiteout(&folder, hidden)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// Sparse files claim more than the archive holds; the writers of images never make them.
fn is_sparse(entry: &mut Entry<'_, ArchiveStream>) -> Result<bool, LayerFault> {
    if entry.header().entry_type() == EntryType::GNUSparse {
        return Ok(true);
    }
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension.map_err(damaged)?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn attributes(entry: &Entry<'_, ArchiveStream>, path: &[u8]) -> Result<Attributes, LayerFault> {
    let header = entry.header();
    let (uid, gid) = (header.uid().map_err(damaged)?, header.gid().map_err(damaged)?);
    let id = |id: u64| u32::try_from(id).ok().filter(|_| id <= MAX_ID);
    let (Some(uid), Some(gid)) = (id(uid), id(gid)) else {
        return Err(LayerFault::Owner {
            path: shown(path),
            uid,
            gid,
        });
    };
    Ok(Attributes {
        uid,
        gid,
        mode: header.mode().map_err(damaged)?,
        mtime: i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(0),
    })
}

//! The daemon's side of unpacking: starts the jailed child, hands it the blob while hashing it, and reads its answer.
//!
//! Blocking; runs on a thread of its own. The child may be in the hands of a crafted layer, so no step waits for it without end and
//! its answer is read within a bound.

use super::report::{LayerFault, UnpackAnswer, UnpackReport, UnpackTask};
use super::unpack::UNPACK_VERB;
use crate::images::{Digest, LayerDescriptor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes moved at once: the size of a pipe, and how far a decompression bomb gets between two looks at the free space.
const CHUNK: usize = 64 << 10;

/// How long one wait for the child lasts before cancellation is looked at again.
const WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Waits in a row without progress after which the child is given up: one minute. The child works on at most a pipe full of input
/// in that time, which even a slow disk takes.
const MAX_WAITS: u32 = 600;

/// Most bytes of the child's answer: room for 4,000 opaque folders with the longest paths.
const MAX_ANSWER: u64 = 64 << 20;

/// Why the child did not unpack a layer.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The child did not start.
    #[error("starting the unpacking process {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The blob could not be read.
    #[error("reading the blob {path}")]
    Blob {
        /// The blob.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pipe to the child failed.
    #[error("handing a blob to the unpacking process")]
    Pipe {
        /// What the system said.
        source: io::Error,
    },
    /// The blob is not the one that the image names.
    #[error("the blob {path} is {got} with {got_size} bytes, the image names {expected} with {expected_size}")]
    Digest {
        /// The blob.
        path: PathBuf,
        /// What the image names.
        expected: Digest,
        /// Its size there.
        expected_size: u64,
        /// What was read.
        got: Digest,
        /// How much was read.
        got_size: u64,
    },
    /// The layer is refused.
    #[error("the layer was refused")]
    Refused(#[from] LayerFault),
    /// The child ended without an answer: killed by the system call filter (signal 31), out of memory, or crashed.
    #[error("the unpacking process ended with {status} and no answer")]
    Died {
        /// How it ended.
        status: ExitStatus,
    },
    /// The child answered something that is no answer.
    #[error("the unpacking process gave an answer that cannot be read")]
    Answer,
    /// The child made no progress for a minute.
    #[error("the unpacking process made no progress for a minute")]
    Stalled,
    /// Nobody wants the layer any more.
    #[error("unpacking was cancelled")]
    Cancelled,
    /// The disk ran full.
    #[error("unpacking stopped: less than {keep_free} bytes would stay free on the disk")]
    NoSpace {
        /// What has to stay free.
        keep_free: u64,
    },
}

/// What the daemon needs to feed one layer.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    pub(super) program: &'a Path,
    pub(super) blob: &'a Path,
    pub(super) layer: &'a LayerDescriptor,
    pub(super) cancel: &'a AtomicBool,
    /// Bytes that must stay free on the disk of the layers.
    pub(super) keep_free: u64,
}

impl Feed<'_> {
    /// Unpacks into `task.target`.
    pub(super) fn run(&self, task: &UnpackTask) -> Result<UnpackReport, FeedError> {
        let file = File::open(self.blob).map_err(|source| self.blob_error(source))?;
        let argument = serde_json::to_string(task).map_err(|_| FeedError::Answer)?;
        let child = Command::new(self.program)
            .args([UNPACK_VERB, &argument])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| FeedError::Start {
                program: self.program.to_owned(),
                source,
            })?;
        let mut child = KillOnDrop(child);
        let mut blob = HashedBlob {
            file,
            hash: Sha256::new(),
            size: 0,
        };
        self.pump(&mut blob, &mut child, task)?;
        let answer = self.answer(&mut child);
        // A blob that is not what the image names is damaged in the child's eyes too: the first cause is the one to report.
        self.check_digest(&mut blob)?;
        match answer? {
            UnpackAnswer::Done(report) => Ok(report),
            UnpackAnswer::Refused(fault) => Err(fault.into()),
        }
    }

    /// Hands the blob over until it ends or the child stops reading.
    fn pump(&self, blob: &mut HashedBlob, child: &mut KillOnDrop, task: &UnpackTask) -> Result<(), FeedError> {
        let pipe = |errno: Errno| FeedError::Pipe { source: errno.into() };
        let Some(input) = child.0.stdin.take() else {
            return Err(pipe(Errno::BADF));
        };
        set_nonblocking(input.as_fd()).map_err(pipe)?;
        let mut buffer = vec![0u8; CHUNK];
        loop {
            let got = blob.read(&mut buffer).map_err(|source| self.blob_error(source))?;
            if got == 0 || blob.size > self.layer.size {
                return Ok(());
            }
            self.check_space(task)?;
            let mut rest = buffer.get(..got).unwrap_or_default();
            while !rest.is_empty() {
                match rustix::io::write(&input, rest) {
                    Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                    Err(Errno::AGAIN) => self.wait_for(input.as_fd(), PollFlags::OUT)?,
                    Err(Errno::PIPE) => return Ok(()),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(pipe(errno)),
                }
            }
        }
    }

    fn answer(&self, child: &mut KillOnDrop) -> Result<UnpackAnswer, FeedError> {
        let pipe = |errno: Errno| FeedError::Pipe { source: errno.into() };
        let Some(mut output) = child.0.stdout.take() else {
            return Err(pipe(Errno::BADF));
        };
        set_nonblocking(output.as_fd()).map_err(pipe)?;
        let mut json = Vec::new();
        loop {
            let mut limited = (&mut output).take(MAX_ANSWER);
            match limited.read_to_end(&mut json) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(output.as_fd(), PollFlags::IN)?
                }
                Err(source) => return Err(FeedError::Pipe { source }),
            }
            if u64::try_from(json.len()).unwrap_or(u64::MAX) > MAX_ANSWER {
                return Err(FeedError::Answer);
            }
        }
        if json.is_empty() {
            let status = child.0.wait().map_err(|source| FeedError::Pipe { source })?;
            return Err(FeedError::Died { status });
        }
        serde_json::from_slice(&json).map_err(|_| FeedError::Answer)
    }

    /// Waits until the child moved; ends in an error when it does not, or when nobody wants the layer any more.
    fn wait_for(&self, pipe: BorrowedFd<'_>, events: PollFlags) -> Result<(), FeedError> {
        for _ in 0..MAX_WAITS {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(FeedError::Cancelled);
            }
            match poll(&mut [PollFd::from_borrowed_fd(pipe, events)], Some(&WAIT)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(FeedError::Pipe { source: errno.into() }),
            }
        }
        Err(FeedError::Stalled)
    }

    fn check_space(&self, task: &UnpackTask) -> Result<(), FeedError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(FeedError::Cancelled);
        }
        let stat = rustix::fs::statvfs(&task.target).map_err(|errno| FeedError::Pipe { source: errno.into() })?;
        if stat.f_bavail.saturating_mul(stat.f_frsize) < self.keep_free {
            return Err(FeedError::NoSpace {
                keep_free: self.keep_free,
            });
        }
        Ok(())
    }

    /// Reads what the child did not take, within the size that the image names, and compares.
    fn check_digest(&self, blob: &mut HashedBlob) -> Result<(), FeedError> {
        let mut buffer = vec![0u8; CHUNK];
        while blob.size <= self.layer.size {
            if blob.read(&mut buffer).map_err(|source| self.blob_error(source))? == 0 {
                break;
            }
        }
        let got = Digest(blob.hash.finalize_reset().into());
        if got == self.layer.digest && blob.size == self.layer.size {
            return Ok(());
        }
        Err(FeedError::Digest {
            path: self.blob.to_owned(),
            expected: self.layer.digest,
            expected_size: self.layer.size,
            got,
            got_size: blob.size,
        })
    }

    fn blob_error(&self, source: io::Error) -> FeedError {
        FeedError::Blob {
            path: self.blob.to_owned(),
            source,
        }
    }
}

/// The blob's file and the digest of what was read of it.
struct HashedBlob {
    file: File,
    hash: Sha256,
    size: u64,
}

impl HashedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buffer)?;
        self.hash.update(buffer.get(..got).unwrap_or_default());
        self.size = self.size.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        Ok(got)
    }
}

/// A child that does not outlive the feeding of it.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have ended long ago; then there is nothing to kill and only its exit to collect.
        drop(self.0.kill());
        if let Err(error) = self.0.wait() {
            tracing::warn!(%error, "the unpacking process was not collected");
        }
    }
}

fn set_nonblocking(pipe: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)
}

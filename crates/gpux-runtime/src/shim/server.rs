//! The shim's socket: connections, their frames, and answers that have to wait.
//!
//! Nothing here waits by itself: the loop polls every descriptor and calls in when one is ready. A connection carries
//! one request and one answer.
//!
//! Only processes of the shim's own user may speak: the socket's mode says so, and every connection's peer is asked.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::wire::{self, Answer, Call, Request};
use crate::runtime::PartKey;

/// Connections at a time. A daemon needs one for each thing it waits for; more are refused until one is free.
const MAX_CLIENTS: usize = 64;

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// The listening end.
pub(crate) struct Server {
    listener: UnixListener,
    pub(crate) clients: Vec<Client>,
}

/// What a connection is about.
pub(crate) enum Client {
    /// Its request is not complete.
    Asking { stream: UnixStream, inbox: Vec<u8> },
    /// Its answer depends on something that has not happened.
    Waiting { stream: UnixStream, on: WaitingOn },
    /// Its answer is being written.
    Answering(Answering),
    /// It is over.
    Closed,
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WaitingOn {
    /// The part is not starting any more.
    Start(PartKey),
    /// The version is above the one seen, or it is late.
    Change { seen: u64, until: Instant },
    /// The lease is gone.
    End,
}

/// An answer on its way.
pub(crate) struct Answering {
    stream: UnixStream,
    frame: Vec<u8>,
    written: usize,
    /// Travels with the first byte.
    file: Option<File>,
}

impl Server {
    /// Listens on a socket that only this user may use.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            clients: Vec::new(),
        })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Whether another connection may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.clients.len() < MAX_CLIENTS
    }

    /// Takes the connections that wait.
    pub(crate) fn accept(&mut self) {
        while self.has_room() {
            // A connection that was given up, or no more of them.
            let Ok((stream, _)) = self.listener.accept() else {
                return;
            };
            let peer = rustix::net::sockopt::socket_peercred(&stream);
            let own = rustix::process::geteuid();
            if peer.is_ok_and(|peer| peer.uid == own) && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client::Asking {
                    stream,
                    inbox: Vec::new(),
                });
            }
        }
    }

    /// Forgets connections that are over.
    pub(crate) fn sweep(&mut self) {
        self.clients.retain(|client| !matches!(client, Client::Closed));
    }
}

impl Client {
    /// What the loop is to watch: the descriptor, and whether for writing.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match self {
            // A waiting connection becomes readable when its other end is closed.
            Self::Asking { stream, .. } | Self::Waiting { stream, .. } => Some((stream.as_fd(), false)),
            Self::Answering(answering) => Some((answering.stream.as_fd(), true)),
            Self::Closed => None,
        }
    }

    /// Reads on; the request once it is complete.
    pub(crate) fn read(&mut self) -> Option<Request> {
        let (stream, inbox) = match self {
            Self::Asking { stream, inbox } => (stream, inbox),
            Self::Waiting { .. } => {
                // The daemon says nothing while it waits: this is its end.
                *self = Self::Closed;
                return None;
            }
            Self::Answering(_) | Self::Closed => return None,
        };
        match fill(stream, inbox).and_then(|()| wire::parse::<Call>(inbox, wire::MAX_REQUEST)) {
            Ok(Some(call)) if call.version <= wire::VERSION => Some(call.request),
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => {
                *self = Self::Closed;
                None
            }
        }
    }

    /// Answers later.
    pub(crate) fn wait(&mut self, on: WaitingOn) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Asking { stream, .. } | Self::Waiting { stream, .. } => Self::Waiting { stream, on },
            other @ (Self::Answering(_) | Self::Closed) => other,
        };
    }

    /// Answers now, as far as the socket takes it.
    pub(crate) fn answer(&mut self, answer: &Answer, file: Option<File>) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Asking { stream, .. } | Self::Waiting { stream, .. } => match wire::frame(answer) {
                Ok(frame) => Self::Answering(Answering {
                    stream,
                    frame,
                    written: 0,
                    file,
                }),
                Err(_) => Self::Closed,
            },
            other @ (Self::Answering(_) | Self::Closed) => other,
        };
        self.write();
    }

    /// Writes on.
    pub(crate) fn write(&mut self) {
        if let Self::Answering(answering) = self
            && !matches!(answering.write(), Ok(false))
        {
            *self = Self::Closed;
        }
    }

    /// Writes what is left, waiting for the other end for at most a second a piece; for the shim's last words.
    pub(crate) fn flush(&mut self) {
        if let Self::Answering(answering) = self {
            let patient = answering.stream.set_nonblocking(false).and_then(|()| {
                answering
                    .stream
                    .set_write_timeout(Some(std::time::Duration::from_secs(1)))
            });
            while patient.is_ok() && matches!(answering.write(), Ok(false)) {}
            *self = Self::Closed;
        }
    }
}

/// Adds what can be read; an end before the request is complete is an error.
fn fill(stream: &UnixStream, inbox: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        match rustix::io::read(stream, &mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => inbox.extend(buffer.iter().take(read)),
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if inbox.len() > wire::MAX_REQUEST + wire::HEADER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

impl Answering {
    /// Writes on; `true` when all is written.
    fn write(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.frame.get(self.written..).filter(|rest| !rest.is_empty()) {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let fds = self.file.as_ref().map(|file| [file.as_fd()]);
            if let Some(fds) = &fds
                && !ancillary.push(SendAncillaryMessage::ScmRights(fds))
            {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            match sendmsg(
                &self.stream,
                &[io::IoSlice::new(rest)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            ) {
                Ok(written) => {
                    self.written += written;
                    self.file = None;
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }
}

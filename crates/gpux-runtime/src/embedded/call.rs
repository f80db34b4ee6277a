//! One question to one shim over its socket.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use gpux_types::LeaseId;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use crate::runtime::{RuntimeCallError, ShimFault};
use crate::shim::wire::{self, Answer, Call, Refusal, Request};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// An answer, with the file that may come beside it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) answer: Answer,
    pub(super) file: Option<File>,
}

impl Fetched {
    /// Refusals that mean the same for every call as errors; the others are left to the caller.
    pub(super) fn or_refused(self, lease: LeaseId) -> Result<Self, RuntimeCallError> {
        let Answer::Refused(refusal) = self.answer else {
            return Ok(self);
        };
        match refusal {
            Refusal::UnknownPart(part) => Err(RuntimeCallError::UnknownPart { lease, part }),
            Refusal::Over => Err(RuntimeCallError::Over { lease }),
            Refusal::Fault(source) => Err(RuntimeCallError::Fault { lease, source }),
            Refusal::Conflict(_) | Refusal::BadSpec(_) => Ok(Self {
                answer: Answer::Refused(refusal),
                ..self
            }),
        }
    }
}

/// An answer that does not fit the question: the shim is of another version.
pub(super) fn unexpected(lease: LeaseId, answer: &Answer) -> RuntimeCallError {
    let text = format!("{answer:?}");
    RuntimeCallError::Fault {
        lease,
        source: ShimFault {
            attempted: "understanding the shim's answer".into(),
            cause: text.chars().take(200).collect(),
            errno: 0,
        },
    }
}

/// Asks and waits for the answer. Dropping the future closes the connection, which tells the shim to forget it.
pub(super) async fn call(socket: &Path, request: &Request) -> io::Result<Fetched> {
    #[derive(serde::Serialize)]
    struct CallRef<'a> {
        version: u32,
        request: &'a Request,
    }
    const _: fn(Call) = |call| {
        // The borrowed form must name the same fields.
        let Call { version: _, request: _ } = call;
    };
    let mut stream = UnixStream::connect(socket).await?;
    let version = wire::VERSION;
    stream.write_all(&wire::frame(&CallRef { version, request })?).await?;
    let mut inbox = Vec::new();
    let mut file = None;
    loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || receive(&stream, &mut inbox, &mut file)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Some(answer) = wire::parse(&inbox, wire::MAX_ANSWER)? {
            return Ok(Fetched { answer, file });
        }
    }
}

/// Reads once: bytes into the inbox, a descriptor beside them into `file`.
fn receive(stream: &UnixStream, inbox: &mut Vec<u8>, file: &mut Option<File>) -> io::Result<usize> {
    let mut bytes = vec![0; READ];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [io::IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            *file = fds.last().map(|fd: OwnedFd| File::from(fd));
        }
    }
    inbox.extend(bytes.iter().take(received.bytes));
    Ok(received.bytes)
}

//! The bytes on a stream of the calls protocol.
//!
//! ```text
//! caller:   kind (1 byte), message, end of stream
//! answerer: message, end of stream                                  (calls and offers)
//!           { tag (1 byte), length (u32, little endian), bytes }*   (logs)
//! ```
//!
//! Messages are `gpux_proto::encode`d. Every read is bounded before it allocates and grows only as bytes arrive.

use crate::connections::Cause;
use gpux_proto::MAX_MESSAGE_BYTES;
use iroh::endpoint::{ReadToEndError, RecvStream, SendStream, VarInt};
use tokio::sync::Semaphore;

/// The protocol's name and version; another version is another name, so old nodes keep talking.
pub(crate) const CALLS_ALPN: &[u8] = b"gpux/calls/1";

/// The most bytes of one frame of a log. Small enough that a slow reader holds little of ours, large enough for speed.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024;

/// A request up to this many bytes is read at once; only part and job descriptions are longer.
const SMALL_BYTES: usize = 16 * 1024;

/// How many longer requests are read at a time, of all peers: at most 64 MiB.
pub(crate) const LARGE_REQUESTS: usize = 64;

/// What a peer is told when we stop reading its stream.
const STOP_TOO_LARGE: VarInt = VarInt::from_u32(1);

/// What a stream is for: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    Call,
    Logs,
    OfferPage,
    OfferDetails,
}

impl StreamKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Logs => 2,
            Self::OfferPage => 3,
            Self::OfferDetails => 4,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Call),
            2 => Some(Self::Logs),
            3 => Some(Self::OfferPage),
            4 => Some(Self::OfferDetails),
            _ => None,
        }
    }
}

/// What a frame of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameTag {
    /// Bytes of the log.
    Data,
    /// The log is over.
    End,
    /// The log was refused or broke; the bytes are a `PeerError`.
    Refused,
}

impl FrameTag {
    const fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::End => 1,
            Self::Refused => 2,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Data),
            1 => Some(Self::End),
            2 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// Bytes could not be had from a stream, or given to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("reading a message: it has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("reading a stream: it has no known kind")]
    Kind,
    #[error("reading a frame: {tag} is no known tag")]
    Tag { tag: u8 },
    #[error("reading a frame: it is cut")]
    Cut,
    #[error("reading a stream")]
    Read(#[source] Cause),
    #[error("writing a stream")]
    Write(#[source] Cause),
}

/// Sends a whole request and ends the stream's own direction.
pub(crate) async fn write_request(send: &mut SendStream, kind: StreamKind, message: &[u8]) -> Result<(), StreamError> {
    let mut bytes = Vec::with_capacity(message.len() + 1);
    bytes.push(kind.byte());
    bytes.extend_from_slice(message);
    write_message(send, &bytes).await
}

/// Reads a whole request. One that outgrows [`SMALL_BYTES`] waits for one of the `large` places, so that thousands of
/// streams that each send a little cannot hold a large buffer each.
pub(crate) async fn read_request(
    recv: &mut RecvStream,
    large: &Semaphore,
) -> Result<(StreamKind, Vec<u8>), StreamError> {
    let mut bytes = Vec::new();
    let mut place = None;
    while let Some(chunk) = recv
        .read_chunk(SMALL_BYTES)
        .await
        .map_err(|source| StreamError::Read(source.into()))?
    {
        if bytes.len() + chunk.len() > MAX_MESSAGE_BYTES + 1 {
            recv.stop(STOP_TOO_LARGE).ok();
            return Err(StreamError::TooLarge {
                limit: MAX_MESSAGE_BYTES,
            });
        }
        if bytes.len() + chunk.len() > SMALL_BYTES && place.is_none() {
            place = Some(
                large
                    .acquire()
                    .await
                    .map_err(|source| StreamError::Read(source.into()))?,
            );
        }
        bytes.extend_from_slice(&chunk);
    }
    let kind = bytes
        .first()
        .copied()
        .and_then(StreamKind::of)
        .ok_or(StreamError::Kind)?;
    bytes.remove(0);
    Ok((kind, bytes))
}

/// Sends the last bytes of a stream's own direction.
pub(crate) async fn write_message(send: &mut SendStream, bytes: &[u8]) -> Result<(), StreamError> {
    send.write_all(bytes)
        .await
        .map_err(|source| StreamError::Write(source.into()))?;
    send.finish().map_err(|source| StreamError::Write(source.into()))
}

/// Reads a whole answer.
pub(crate) async fn read_message(recv: &mut RecvStream) -> Result<Vec<u8>, StreamError> {
    match recv.read_to_end(MAX_MESSAGE_BYTES).await {
        Ok(bytes) => Ok(bytes),
        Err(ReadToEndError::TooLong) => {
            recv.stop(STOP_TOO_LARGE).ok();
            Err(StreamError::TooLarge {
                limit: MAX_MESSAGE_BYTES,
            })
        }
        Err(ReadToEndError::Read(source)) => Err(StreamError::Read(source.into())),
    }
}

/// Sends one frame of at most [`MAX_FRAME_BYTES`].
pub(crate) async fn write_frame(send: &mut SendStream, tag: FrameTag, bytes: &[u8]) -> Result<(), StreamError> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut head = [0; 5];
    let (first, rest) = head.split_at_mut(1);
    first.fill(tag.byte());
    rest.copy_from_slice(&length.to_le_bytes());
    for part in [head.as_slice(), bytes] {
        send.write_all(part)
            .await
            .map_err(|source| StreamError::Write(source.into()))?;
    }
    Ok(())
}

/// Reads one frame.
pub(crate) async fn read_frame(recv: &mut RecvStream) -> Result<(FrameTag, Vec<u8>), StreamError> {
    let head = read_exactly(recv, 5).await?;
    let (tag, length) = head.split_first().ok_or(StreamError::Cut)?;
    let tag = FrameTag::of(*tag).ok_or(StreamError::Tag { tag: *tag })?;
    let length = <[u8; 4]>::try_from(length).map_err(|_| StreamError::Cut)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        recv.stop(STOP_TOO_LARGE).ok();
        return Err(StreamError::TooLarge { limit: MAX_FRAME_BYTES });
    }
    Ok((tag, read_exactly(recv, length).await?))
}

/// Reads `length` bytes, allocating as they come.
async fn read_exactly(recv: &mut RecvStream, length: usize) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let chunk = recv.read_chunk(length - bytes.len()).await;
        match chunk.map_err(|source| StreamError::Read(source.into()))? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Err(StreamError::Cut),
        }
    }
    Ok(bytes)
}

//! The streams of the blob protocol: counted, and moved many pieces at a time.
//!
//! The library writes and reads a hash pair or 16 KiB at a time. Each would take the connection's lock and wake its task; so what
//! is sent is gathered, and what came is taken in bulk.

use crate::stats::{Counters, add};
use iroh::endpoint::{RecvStream, SendStream, VarInt};
use iroh_blobs::util;
use std::{collections::VecDeque, io, mem, sync::Arc};
use tokio_util::bytes::Bytes;

/// What is gathered before it is sent.
const GATHERED: usize = 128 << 10;
/// How many pieces are taken at a time. One is what a packet brought.
const TAKEN: usize = 32;
/// How many bytes announce the size.
const HEAD: usize = 8;

/// A peer announced another size.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("reading a blob: {expected} bytes were agreed on, {got} announced")]
pub(super) struct SizeLie {
    pub(super) expected: u64,
    pub(super) got: u64,
}

/// Sends a response.
pub(super) struct Sending {
    send: SendStream,
    gathered: Vec<Bytes>,
    bytes: usize,
    counters: Arc<Counters>,
}

impl Sending {
    pub(super) const fn new(send: SendStream, counters: Arc<Counters>) -> Self {
        Self {
            send,
            gathered: Vec::new(),
            bytes: 0,
            counters,
        }
    }

    async fn gather(&mut self, bytes: Bytes) -> io::Result<()> {
        self.bytes += bytes.len();
        self.gathered.push(bytes);
        if self.bytes < GATHERED {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut gathered = mem::take(&mut self.gathered);
        self.send.write_all_chunks(&mut gathered).await?;
        add(&self.counters.blob_bytes_sent, mem::take(&mut self.bytes));
        gathered.clear();
        self.gathered = gathered;
        Ok(())
    }
}

impl util::SendStream for Sending {
    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.gather(bytes).await
    }

    async fn send(&mut self, buf: &[u8]) -> io::Result<()> {
        self.gather(Bytes::copy_from_slice(buf)).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.flush().await
    }

    fn reset(&mut self, code: VarInt) -> io::Result<()> {
        util::SendStream::reset(&mut self.send, code)
    }

    async fn stopped(&mut self) -> io::Result<Option<VarInt>> {
        util::SendStream::stopped(&mut self.send).await
    }

    fn id(&self) -> u64 {
        util::SendStream::id(&self.send)
    }
}

/// Reads a response, and stops at its first eight bytes when they announce another size than agreed.
pub(super) struct Receiving {
    recv: RecvStream,
    taken: VecDeque<Bytes>,
    bytes: usize,
    head: Vec<u8>,
    expected: u64,
    counters: Arc<Counters>,
}

impl Receiving {
    pub(super) const fn new(recv: RecvStream, expected: u64, counters: Arc<Counters>) -> Self {
        Self {
            recv,
            taken: VecDeque::new(),
            bytes: 0,
            head: Vec::new(),
            expected,
            counters,
        }
    }

    /// Takes more of what came; false at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        let mut pieces: [Bytes; TAKEN] = std::array::from_fn(|_| Bytes::new());
        let Some(count) = self.recv.read_many_chunks(&mut pieces).await? else {
            return Ok(false);
        };
        for piece in pieces.into_iter().take(count).filter(|piece| !piece.is_empty()) {
            add(&self.counters.blob_bytes_received, piece.len());
            self.check(&piece)?;
            self.bytes += piece.len();
            self.taken.push_back(piece);
        }
        Ok(true)
    }

    fn check(&mut self, piece: &[u8]) -> io::Result<()> {
        let missing = HEAD.saturating_sub(self.head.len());
        if missing == 0 {
            return Ok(());
        }
        self.head.extend(piece.iter().take(missing));
        let Ok(head) = <[u8; HEAD]>::try_from(self.head.as_slice()) else {
            return Ok(());
        };
        let (expected, got) = (self.expected, u64::from_le_bytes(head));
        if expected == got {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, SizeLie { expected, got }))
    }

    /// Up to `len` bytes; fewer only at the end.
    async fn take(&mut self, len: usize) -> io::Result<Bytes> {
        while self.bytes < len && self.fill().await? {}
        let len = len.min(self.bytes);
        self.bytes -= len;
        match self.taken.front_mut() {
            Some(first) if first.len() > len => return Ok(first.split_to(len)),
            _ => {}
        }
        let mut all = Vec::with_capacity(len);
        while all.len() < len {
            let Some(mut piece) = self.taken.pop_front() else { break };
            let own = piece.split_to(piece.len().min(len - all.len()));
            all.extend_from_slice(&own);
            if !piece.is_empty() {
                self.taken.push_front(piece);
            }
        }
        Ok(all.into())
    }
}

impl util::RecvStream for Receiving {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        self.take(len).await
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
        let bytes = self.take(len).await?;
        if bytes.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        let bytes = self.recv_bytes_exact(target.len()).await?;
        target.copy_from_slice(&bytes);
        Ok(())
    }

    fn stop(&mut self, code: VarInt) -> io::Result<()> {
        Ok(self.recv.stop(code)?)
    }

    fn id(&self) -> u64 {
        self.recv.id().index()
    }
}

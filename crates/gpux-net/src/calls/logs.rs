//! The answering side of a log: where the daemon writes what the reader gets.

use crate::wire::{FrameTag, MAX_FRAME_BYTES, StreamError, write_frame};
use iroh::endpoint::SendStream;
use std::time::Duration;
use tokio::time::timeout;

/// How long a reader of a log may take nothing before it is given up. Its stream's window is all that it holds of us.
const STALL: Duration = Duration::from_secs(60);

/// The reader of a log went away, or stopped taking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sending a log: its reader is gone")]
pub struct LogsClosed;

/// Where the bytes of one log go.
#[derive(Debug)]
pub struct LogSink {
    send: SendStream,
}

impl LogSink {
    pub(crate) const fn new(send: SendStream) -> Self {
        Self { send }
    }

    /// Sends bytes of the log; waits while the reader is slow.
    ///
    /// # Errors
    /// When the reader went away, or took nothing for a minute.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), LogsClosed> {
        for chunk in bytes.chunks(MAX_FRAME_BYTES) {
            self.frame(FrameTag::Data, chunk).await.map_err(|_| LogsClosed)?;
        }
        Ok(())
    }

    /// Sends the last frame and ends the stream.
    pub(crate) async fn end(mut self, tag: FrameTag, bytes: &[u8]) {
        if self.frame(tag, bytes).await.is_ok() {
            self.send.finish().ok();
        }
    }

    async fn frame(&mut self, tag: FrameTag, bytes: &[u8]) -> Result<(), StreamError> {
        timeout(STALL, write_frame(&mut self.send, tag, bytes))
            .await
            .unwrap_or_else(|elapsed| Err(StreamError::Write(elapsed.into())))
    }

    /// Waits until the reader has gone away. A log that is followed may have nothing to say for hours.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let stopped = self.send.stopped();
        async move {
            stopped.await.ok();
        }
    }
}

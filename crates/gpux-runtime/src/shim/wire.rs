//! What the daemon and a shim say to each other: one request and one answer per connection.
//!
//! Both ends are this program, but not always of one version: the daemon may be updated under a running lease. So a
//! request names its version, and the meanings here only grow.
//!
//! A frame is its length (4 bytes, little endian) and that many bytes of JSON. The answer to [`Request::OpenOutput`]
//! carries the open file beside its first byte.

use std::io;

use gpux_types::Millis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::runtime::{FinalUsage, LeaseStatus, OutputFile, PartKey, PartSpec, PartState, ShimFault};

/// The version that this program speaks.
pub(crate) const VERSION: u32 = 1;

/// Longest request: a part's arguments and environment, which the kernel limits to 2 MiB at exec.
pub(crate) const MAX_REQUEST: usize = 4 << 20;

/// Longest answer: 10,000 outputs with paths of the longest kind.
pub(crate) const MAX_ANSWER: usize = 64 << 20;

/// Bytes in front of a frame.
pub(crate) const HEADER: usize = 4;

/// A request with the version of its sender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) version: u32,
    pub(crate) request: Request,
}

/// What a daemon may ask.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Start(PartSpec),
    Renew,
    Freeze,
    Thaw,
    Status,
    /// Answered with the status once the version is above this one, at the latest after [`WAIT`].
    Wait {
        seen: u64,
    },
    Stop {
        part: PartKey,
        grace: Millis,
    },
    Outputs {
        part: PartKey,
        glob: String,
    },
    OpenOutput {
        part: PartKey,
        path: String,
    },
    Destroy,
    /// As `Start`, but for the exec.
    Stand(PartSpec),
    /// Lets the program of a part that stands go.
    Go {
        part: PartKey,
    },
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Part(PartState),
    Status(LeaseStatus),
    Outputs(Vec<OutputFile>),
    /// The file travels beside the answer.
    File,
    Final(FinalUsage),
    Refused(Refusal),
}

/// Why a shim did not do what it was asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// No such part was started.
    UnknownPart(PartKey),
    /// The part exists with another specification.
    Conflict(PartKey),
    /// The lease is being taken down.
    Over,
    /// A field that cannot be used, and why.
    BadSpec(String),
    /// Something failed.
    Fault(ShimFault),
}

/// How long [`Request::Wait`] waits at most.
pub(crate) const WAIT: std::time::Duration = std::time::Duration::from_secs(30);

/// One message as a frame.
pub(crate) fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let len = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The message of a frame that is complete; `None` while it is not.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], max: usize) -> io::Result<Option<T>> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let len = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
    if len > max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {len} bytes: the most is {max}"),
        ));
    }
    match body.get(..len) {
        Some(body) => Ok(Some(serde_json::from_slice(body)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_only_when_it_is_whole() {
        let frame = frame(&Call {
            version: VERSION,
            request: Request::Wait { seen: 7 },
        })
        .unwrap();
        for cut in 0..frame.len() {
            assert!(parse::<Call>(&frame[..cut], MAX_REQUEST).unwrap().is_none());
        }
        let call: Call = parse(&frame, MAX_REQUEST).unwrap().unwrap();
        assert!(matches!(call.request, Request::Wait { seen: 7 }));
    }

    #[test]
    fn a_frame_that_claims_too_much_or_holds_rubbish_is_an_error() {
        assert!(parse::<Call>(&u32::MAX.to_le_bytes(), MAX_REQUEST).is_err());
        assert!(parse::<Call>(b"\x02\x00\x00\x00[]", MAX_REQUEST).is_err());
    }
}

//! One part inside the shim: from its launch to its exit.
//!
//! Pure bookkeeping over descriptors; the lease (`lease.rs`) decides, this file knows what a part consists of.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use super::launch::{Launch, ReportReader};
use crate::log_files::LogWriter;
use crate::runtime::{EndedBy, PartSpec, PartState, ProcessIdentity};

/// Most output taken from one part in one [`WINDOW`]. A program that writes more waits: reading it costs the host's
/// time, not the lease's.
const WINDOW_BYTES: usize = 8 << 20;

/// See [`WINDOW_BYTES`].
const WINDOW: Duration = Duration::from_millis(250);

/// A part that was ever asked for.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) spec: PartSpec,
    pub(crate) state: PartState,
    pub(crate) live: Option<Live>,
}

/// What a part that is not over holds.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) output: Output,
    pub(crate) stage: LiveStage,
    /// Somebody wants it to end.
    pub(crate) ending: Option<Ending>,
}

/// How far a live part is.
#[derive(Debug)]
pub(crate) enum LiveStage {
    /// The report has not ended yet.
    Launching {
        launcher: Pid,
        report: OwnedFd,
        reader: ReportReader,
        /// The container's first process, once the launcher has told of it.
        init: Option<Init>,
        /// It has said that it executes the program.
        executing: bool,
        /// Why it will not, if it said so.
        failure: Option<(i32, String)>,
        /// What lets it go, while it is to stand or stands.
        go: Option<OwnedFd>,
    },
    /// The program runs; `since` is the reading of the meter at its exec.
    Running { init: Init, since: Duration },
}

/// A part's first process: a child of the shim that cannot be mistaken for another.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) identity: ProcessIdentity,
    pidfd: OwnedFd,
}

/// Why and how a part is being ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) by: EndedBy,
    /// The reading of the meter at which it is killed.
    pub(crate) kill_at: Duration,
    pub(crate) killed: bool,
}

/// A part's output pipe and where it goes.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: OwnedFd,
    log: LogWriter,
    window: Instant,
    taken: usize,
    /// Every writer has closed it: there is nothing to wait for, although the program may go on.
    ended: bool,
    /// The log could not be written.
    broken: bool,
}

impl Live {
    pub(crate) fn new(launch: Launch, log: LogWriter, now: Instant) -> Self {
        Self {
            output: Output {
                pipe: launch.output,
                log,
                window: now,
                taken: 0,
                ended: false,
                broken: false,
            },
            stage: LiveStage::Launching {
                launcher: launch.launcher,
                report: launch.report,
                reader: ReportReader::default(),
                init: None,
                executing: false,
                failure: None,
                go: launch.go,
            },
            ending: None,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
}

impl Init {
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let identity = crate::records::process_identity(pid)?;
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
        Ok(Self {
            // A process that has ended already is not reaped yet, so its number is still its own.
            identity: identity.unwrap_or(ProcessIdentity { pid, start_ticks: 0 }),
            pidfd,
        })
    }

    /// Readable once the process has ended.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether it has this number.
    pub(crate) fn is(&self, pid: Pid) -> bool {
        u32::try_from(pid.as_raw_pid()) == Ok(self.identity.pid)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A process that is gone already needs no signal.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Takes its exit; `None` while it runs.
    pub(crate) fn reap(&self) -> io::Result<Option<Exit>> {
        match waitid(
            WaitId::PidFd(self.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(Some(status)) => {
                let signal = status.terminating_signal();
                let code = status.exit_status().or(signal.map(|number| 128 + number)).unwrap_or(0);
                Ok(Some(Exit { code, signal }))
            }
            Ok(None) | Err(Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Output {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// When more may be taken: now, or at the start of the next window; `None` when there will be no more.
    pub(crate) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        if self.ended {
            return None;
        }
        if now.saturating_duration_since(self.window) >= WINDOW {
            self.window = now;
            self.taken = 0;
        }
        if self.taken < WINDOW_BYTES {
            Some(now)
        } else {
            Some(self.window + WINDOW)
        }
    }

    /// Takes what is there, within the window.
    pub(crate) fn pump(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while self.taken < WINDOW_BYTES && self.pump_once(buffer)? {}
        Ok(())
    }

    /// Takes the rest: no writer is left, so it ends after what fits a pipe.
    pub(crate) fn finish(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while self.pump_once(buffer)? {}
        Ok(())
    }

    /// Reads once; `false` when there is nothing now.
    fn pump_once(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match rustix::io::read(&self.pipe, &mut *buffer) {
            Ok(0) => {
                self.ended = true;
                Ok(false)
            }
            Ok(read) => {
                self.taken += read;
                // A log that cannot be kept must not stop the program: what is read from then on is dropped, and only
                // the first failure is told.
                if !self.broken {
                    let kept = self.log.append(buffer.get(..read).unwrap_or_default());
                    self.broken = kept.is_err();
                    kept?;
                }
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}

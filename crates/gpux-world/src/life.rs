//! One life of one daemon: from its start to its crash, and what can end it.
//!
//! A crash is a moment after which nothing of this life has an effect any more: its next write unwinds the task that makes it,
//! its calls are never answered, and what others send it goes nowhere. Its tasks are then told to end. What it wrote before is
//! what its next life finds. SQLite is opened with `synchronous = FULL`: a write that has returned is on the disk, so that a
//! power cut is the same moment.

use crate::{coverage::Reached, trace::Trace};
use gpux_node::{WriteFault, WriteTap};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// Where in its writes a life is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Just before the write is made.
    Before(u64),
    /// Just after it.
    After(u64),
}

/// What unwinds a task of a daemon that has crashed.
#[derive(Debug)]
struct Crashed;

/// One life. Shared by every adapter that the daemon was given.
#[derive(Debug)]
pub(crate) struct Life {
    over: AtomicBool,
    pub(crate) ended: Notify,
    writes: AtomicU64,
    crash: Mutex<Option<Crash>>,
    disk: Arc<Disk>,
}

/// A node's disk, which outlives its daemon's lives.
#[derive(Debug)]
pub(crate) struct Disk {
    full: AtomicBool,
    trace: Trace,
}

impl Disk {
    pub(crate) fn new(trace: Trace) -> Arc<Self> {
        Arc::new(Self {
            full: AtomicBool::new(false),
            trace,
        })
    }

    /// From now on it takes nothing, or takes something again.
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Whether it refuses a write now, which counts as one of that kind.
    fn refuses(&self, what: Reached) -> bool {
        let full = self.full.load(Ordering::Relaxed);
        if full {
            self.trace.reach(what);
        }
        full
    }
}

impl Life {
    /// A life that begins on `disk`.
    pub(crate) fn new(disk: Arc<Disk>) -> Arc<Self> {
        Arc::new(Self {
            over: AtomicBool::new(false),
            ended: Notify::new(),
            writes: AtomicU64::new(0),
            crash: Mutex::new(None),
            disk,
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends it now.
    pub(crate) fn end(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.ended.notify_one();
        }
    }

    /// Plans its end, counted in writes from now.
    pub(crate) fn crash_in(&self, writes: u64, before: bool) {
        let at = self.writes.load(Ordering::Relaxed).saturating_add(writes);
        let crash = if before { Crash::Before(at) } else { Crash::After(at) };
        *self.crash.lock().unwrap_or_else(PoisonError::into_inner) = Some(crash);
    }

    /// Does not come back once the life is over.
    pub(crate) async fn lives(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Writes a file, unless the disk is full.
    pub(crate) fn writes_file(&self) -> std::io::Result<()> {
        if self.disk.refuses(Reached::FileRefused) {
            Err(std::io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    /// Whether what it writes now is there for its next life.
    pub(crate) fn can_write(&self) -> bool {
        !self.is_over() && !self.disk.full.load(Ordering::Relaxed)
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    fn crashes(&self, now: Crash) -> bool {
        *self.crash.lock().unwrap_or_else(PoisonError::into_inner) == Some(now)
    }

    fn unwind(&self) {
        self.end();
        // Not a panic: nothing is printed, and only the task that writes ends here.
        std::panic::resume_unwind(Box::new(Crashed));
    }
}

impl WriteTap for Life {
    fn before(&self) -> Result<(), WriteFault> {
        if self.is_over() {
            self.unwind();
        }
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        if self.crashes(Crash::Before(number)) {
            self.unwind();
        }
        if self.disk.refuses(Reached::DatabaseFull) {
            Err(WriteFault)
        } else {
            Ok(())
        }
    }

    fn after(&self) {
        if self.crashes(Crash::After(self.writes())) {
            self.unwind();
        }
    }
}

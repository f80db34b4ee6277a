//! The shim's one other thread: it writes what must survive a power cut.
//!
//! ```text
//! shim loop --(at most 64 notes)--> scribe --> files, each synced
//! ```
//!
//! A sync can take seconds while a lease's program floods the same device; the shim must freeze, answer and count in the
//! meantime, so it never syncs by itself. The thread touches nothing but its channel and its files, which is what makes
//! it safe for the shim to fork beside it.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use gpux_types::Millis;

use crate::meter_file::MeterFile;
use crate::records::{self, FinalRecord};
use crate::runtime::PartState;

/// Notes that may wait. A full channel drops a meter reading (the next one, a second later, says more) and makes the
/// shim wait for an exit, of which a lease has few.
const WAITING: usize = 64;

/// One thing to write.
enum Note {
    Metered(Millis),
    Exit { path: PathBuf, state: PartState },
    Final { path: PathBuf, record: Box<FinalRecord> },
}

/// The sending end, owned by the shim's loop.
#[derive(Debug)]
pub(crate) struct Scribe {
    notes: SyncSender<Note>,
    thread: JoinHandle<io::Result<()>>,
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Metered(_) => "Metered",
            Self::Exit { .. } => "Exit",
            Self::Final { .. } => "Final",
        })
    }
}

impl Scribe {
    /// Starts the thread.
    pub(crate) fn start(meter: MeterFile) -> io::Result<Self> {
        let (notes, inbox) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("scribe".into())
            .spawn(move || write_all(&inbox, meter))?;
        Ok(Self { notes, thread })
    }

    /// Records a reading of the meter, soon.
    pub(crate) fn metered(&self, metered: Millis) {
        match self.notes.try_send(Note::Metered(metered)) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => super::say("the scribe is gone: the meter is not written any more"),
        }
    }

    /// Records how a part ended, soon.
    pub(crate) fn exit(&self, path: PathBuf, state: PartState) {
        if self.notes.send(Note::Exit { path, state }).is_err() {
            super::say("the scribe is gone: a part's exit is not written");
        }
    }

    /// Records the end of the lease, and returns when everything is on disk.
    pub(crate) fn finish(self, path: PathBuf, record: FinalRecord) -> io::Result<()> {
        let record = Box::new(record);
        let sent = self.notes.send(Note::Final { path, record });
        drop(self.notes);
        let written = self
            .thread
            .join()
            .map_err(|_| io::Error::other("the scribe panicked"))?;
        written.and(sent.map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }
}

/// Writes notes until the sender is gone. Nothing is printed or panicked here: a lock held by this thread when the
/// shim forks would stay locked in the child for ever.
fn write_all(inbox: &Receiver<Note>, mut meter: MeterFile) -> io::Result<()> {
    let mut first_failure = Ok(());
    loop {
        let written = match inbox.recv() {
            Ok(Note::Metered(metered)) => meter.write(metered),
            Ok(Note::Exit { path, state }) => {
                records::write_durable(&path, &state).map_err(|error| error.into_path_and_io().1)
            }
            Ok(Note::Final { path, record }) => {
                records::write_durable(&path, &*record).map_err(|error| error.into_path_and_io().1)
            }
            Err(RecvError) => return first_failure,
        };
        if first_failure.is_ok() {
            first_failure = written;
        }
    }
}

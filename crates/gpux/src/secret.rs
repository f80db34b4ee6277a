//! Passwords and keys that are typed on a terminal and shown nowhere. Used by `gpux wallet new` and `gpux wallet import`; it judges
//! nothing and keeps none.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{io, str};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use zeroize::Zeroizing;

/// The longest line that a terminal gives.
const LONGEST: usize = 4_096;

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line, without its end.
    Line(Zeroizing<String>),
    /// The end of the input.
    Nothing,
    /// Ctrl-C.
    Interrupted,
}

/// The terminal on standard input, which shows nothing of what is typed until this goes.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that went away has nothing left to show.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Asks for a line that is not shown. The terminal is as it was before when this returns, also after Ctrl-C.
pub(crate) async fn ask(question: &str) -> io::Result<Typed> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    // Hidden before the question is there to be answered.
    let _hidden = Hidden::begin()?;
    crate::out::prompt(question);
    let (sender, line) = oneshot::channel();
    // A thread of its own: after Ctrl-C it waits for a line that nobody wants, and ends with the process.
    std::thread::spawn(move || sender.send(read_line()));
    tokio::select! {
        biased;
        _ = interrupted.recv() => Ok(Typed::Interrupted),
        line = line => line.unwrap_or(Ok(Typed::Nothing)),
    }
}

/// A terminal gives one line at a time. Read past the buffer of standard input, which nobody wipes.
fn read_line() -> io::Result<Typed> {
    let mut buffer = Zeroizing::new(vec![0; LONGEST]);
    let read = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut buffer[..]))?;
    if read == 0 {
        return Ok(Typed::Nothing);
    }
    let text = buffer.get(..read).map(str::from_utf8).transpose();
    let text = text
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        .unwrap_or_default();
    Ok(Typed::Line(Zeroizing::new(
        text.trim_end_matches(['\n', '\r']).to_owned(),
    )))
}

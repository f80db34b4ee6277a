//! The shim: one process per lease, which outlives the daemon and holds everything the lease runs on.
//!
//! It is this binary under the hidden verb `__shim`, started by the daemon in a session of its own and outside every
//! container's cgroup. It mounts the lease's disk, starts the parts, keeps their output and exits, counts unfrozen time
//! and freezes or kills the lease when no daemon renews it.
//!
//! ```text
//! daemon ──socket──> shim loop (one thread) ──notes──> scribe (one thread, only writes and syncs)
//!                      │  polls: socket, connections, reports, outputs, first processes
//!                      └──fork──> launcher ──> container      (one at a time or side by side)
//! ```
//!
//! One thread decides and nothing in it waits, so that a freeze is never late because of a program's output. What it
//! prints goes to `shim.log` in the lease's folder.

mod dead_man;
mod launch;
mod lease;
mod meter;
mod outputs;
mod part;
mod program;
mod scribe;
mod seccomp;
mod server;
mod setup;
pub(crate) mod spec;
mod strays;
mod user;
pub(crate) mod wire;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, set_child_subreaper, setsid, waitpid};

use self::launch::Launched;
use self::lease::{Lease, LeaseParts, fault};
use self::part::{Live, LiveStage};
use self::scribe::Scribe;
use self::server::{Client, Server, WaitingOn};
use self::wire::{Answer, Refusal, Request};
use crate::cgroups::Cgroup;
use crate::meter_file::MeterFile;
use crate::records::{self, LeaseFiles, ShimRecord};
use crate::runtime::{LeaseEnd, PartKey, PartState, ShimFault};

/// The hidden verb; its one argument is the lease's folder.
pub(crate) const SHIM_VERB: &str = "__shim";

/// Prints a line to the lease's `shim.log`.
fn say(text: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

/// The shim's whole life. Its standard output is a pipe on which it says once, as JSON, whether the lease is ready.
pub(crate) fn run_shim(args: &[OsString]) -> ExitCode {
    let [dir] = args else {
        say("the shim takes one argument: the lease's folder");
        return ExitCode::from(64);
    };
    match prepare(LeaseFiles::new(PathBuf::from(dir))) {
        Ok((lease, server)) => match tell_daemon(&Ok(())) {
            Ok(()) => run_loop(lease, server),
            Err(error) => {
                // Its daemon died while it waited: nobody knows of the lease, and nothing was started in it.
                say(&format!("telling the daemon that the lease is ready: {error}"));
                lease.abandon();
                ExitCode::FAILURE
            }
        },
        Err(fault) => {
            if let Err(error) = tell_daemon(&Err(fault.clone())) {
                say(&format!("telling the daemon of a failure: {error}; it was: {fault}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes the one line and lets go of the pipe.
fn tell_daemon(answer: &Result<(), ShimFault>) -> io::Result<()> {
    let line = serde_json::to_vec(answer)?;
    io::stdout().write_all(&line)?;
    io::stdout().flush()?;
    let null = fs::File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Makes everything that the parts will need.
fn prepare(files: LeaseFiles) -> Result<(Lease, Server), ShimFault> {
    fn on<E: std::error::Error + 'static>(attempted: &str) -> impl Fn(E) -> ShimFault {
        move |error| ShimFault::of(attempted, &error)
    }
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    setsid().map_err(on("leaving the daemon's session"))?;
    set_child_subreaper(Some(rustix::process::getpid())).map_err(on("becoming a subreaper"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let record = files
        .lease()
        .map_err(on("reading the lease's record"))?
        .ok_or_else(|| on("reading the lease's record")(missing()))?;
    setup::leave_host_mounts().map_err(on("leaving the host's mounts"))?;
    let stage = setup::Stage::prepare(&record, &files).map_err(on("preparing the lease's stage"))?;
    let cgroup = Cgroup::at(&record.cgroup).map_err(on("finding the lease's cgroup"))?;
    cgroup
        .create(&record.spec.resources)
        .map_err(on("making the lease's cgroup"))?;
    let filter = seccomp::Filter::build().map_err(on("making the system call filter"))?;
    let meter = MeterFile::create(&files.meter()).map_err(on("making the meter's file"))?;
    let scribe = Scribe::start(meter).map_err(on("starting the scribe"))?;
    let server = Server::listen(&records::socket(&record.run)).map_err(on("listening for the daemon"))?;
    let shim = records::process_identity(std::process::id())
        .map_err(on("reading the shim's start time"))?
        .ok_or_else(|| on("reading the shim's start time")(missing()))?;
    let boot_id = records::boot_id().map_err(on("reading the machine's boot id"))?;
    files
        .write_shim(&ShimRecord { boot_id, process: shim })
        .map_err(on("recording the shim"))?;
    let parts = LeaseParts {
        record,
        files,
        cgroup,
        stage,
        filter,
        scribe,
        shim,
    };
    Ok((Lease::new(parts, Instant::now()), server))
}

/// What became ready.
enum Ready {
    Listener,
    Client { index: usize, write: bool },
    Report(PartKey),
    Output(PartKey),
    Init(PartKey),
}

/// Waits, acts, answers; until the lease is gone.
fn run_loop(mut lease: Lease, mut server: Server) -> ExitCode {
    loop {
        let now = Instant::now();
        let mut until = lease.tick(now);
        reap_strays(&mut lease);
        answer_waiting(&mut lease, &mut server, now);
        server.sweep();
        if lease.is_gone() {
            return finish(lease, server);
        }
        until = until.min(earliest_wait(&server).unwrap_or(until));
        let ready = match wait(&mut lease, &server, now, until) {
            Ok(ready) => ready,
            Err(error) => {
                say(&format!("polling: {error}"));
                continue;
            }
        };
        for event in ready {
            match event {
                Ready::Listener => server.accept(),
                Ready::Report(part) => lease.report_is_ready(part),
                Ready::Output(part) => lease.output_is_ready(part),
                Ready::Init(part) => lease.init_is_ready(part),
                Ready::Client { index, write } => {
                    if let Some(client) = server.clients.get_mut(index) {
                        serve(&mut lease, client, write);
                    }
                }
            }
        }
    }
}

/// Polls everything that can become ready. Reports come before first processes, so that an exec is known before the
/// exit that follows it.
fn wait(lease: &mut Lease, server: &Server, now: Instant, until: Instant) -> io::Result<Vec<Ready>> {
    let mut until = until;
    let mut names = Vec::new();
    let mut fds = Vec::new();
    if server.has_room() {
        names.push(Ready::Listener);
        fds.push(PollFd::from_borrowed_fd(server.as_fd(), PollFlags::IN));
    }
    for (index, client) in server.clients.iter().enumerate() {
        if let Some((fd, write)) = client.interest() {
            names.push(Ready::Client { index, write });
            let flags = if write { PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
    }
    let mut inits = Vec::new();
    for (part, live) in lease.live() {
        match live.output.ready_at(now) {
            Some(at) if at <= now => {
                names.push(Ready::Output(part));
                fds.push(PollFd::from_borrowed_fd(live.output.as_fd(), PollFlags::IN));
            }
            Some(at) => until = until.min(at),
            None => {}
        }
        match &live.stage {
            LiveStage::Launching { report, init, go, .. } => {
                names.push(Ready::Report(part));
                fds.push(PollFd::new(report, PollFlags::IN));
                // A container that stands may die before its program goes.
                if let (Some(init), Some(_)) = (init, go) {
                    inits.push((part, init.as_fd()));
                }
            }
            LiveStage::Running { init, .. } => inits.push((part, init.as_fd())),
        }
    }
    for (part, fd) in inits {
        names.push(Ready::Init(part));
        fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    }
    let left = until.saturating_duration_since(now);
    match poll(&mut fds, Some(&timespec(left))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(names
        .into_iter()
        .zip(&fds)
        .filter_map(|(name, fd)| (!fd.revents().is_empty()).then_some(name))
        .collect())
}

/// Rounded up to a millisecond, so that the loop does not turn idly just before a deadline.
fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}

fn earliest_wait(server: &Server) -> Option<Instant> {
    server
        .clients
        .iter()
        .filter_map(|client| match client {
            Client::Waiting {
                on: WaitingOn::Change { until, .. },
                ..
            } => Some(*until),
            Client::Waiting { .. } | Client::Asking { .. } | Client::Answering(_) | Client::Closed => None,
        })
        .min()
}

fn serve(lease: &mut Lease, client: &mut Client, write: bool) {
    if write {
        client.write();
        return;
    }
    let Some(request) = client.read() else { return };
    let now = Instant::now();
    let done = |result: Result<(), Refusal>| match result {
        Ok(()) => Answer::Done,
        Err(refusal) => Answer::Refused(refusal),
    };
    let answer = match request {
        Request::Start(part) => return await_start(client, part.key(), lease.start(part, Launched::Going, now)),
        Request::Stand(part) => return await_start(client, part.key(), lease.start(part, Launched::Standing, now)),
        Request::Go { part } => return await_start(client, part, lease.go(part, now)),
        Request::Wait { seen } => {
            let until = now + wire::WAIT;
            return client.wait(WaitingOn::Change { seen, until });
        }
        Request::Destroy => {
            lease.end(LeaseEnd::Destroyed, now);
            return client.wait(WaitingOn::End);
        }
        Request::OpenOutput { part, path } => match lease.open_output(part, &path) {
            Ok(file) => return client.answer(&Answer::File, Some(file)),
            Err(refusal) => Answer::Refused(refusal),
        },
        Request::Renew => {
            lease.renew(now);
            Answer::Done
        }
        Request::Freeze => done(lease.freeze(now)),
        Request::Thaw => done(lease.thaw(now)),
        Request::Stop { part, grace } => done(lease.stop(part, grace)),
        Request::Status => Answer::Status(lease.status(now)),
        Request::Outputs { part, glob } => match lease.outputs(part, &glob) {
            Ok(found) => Answer::Outputs(found),
            Err(refusal) => Answer::Refused(refusal),
        },
    };
    client.answer(&answer, None);
}

/// Answers once the part starts no more.
fn await_start(client: &mut Client, part: PartKey, begun: Result<(), Refusal>) {
    match begun {
        Ok(()) => client.wait(WaitingOn::Start(part)),
        Err(refusal) => client.answer(&Answer::Refused(refusal), None),
    }
}

/// Answers what can be answered now.
fn answer_waiting(lease: &mut Lease, server: &mut Server, now: Instant) {
    for client in &mut server.clients {
        let Client::Waiting { on, .. } = client else { continue };
        let answer = match *on {
            WaitingOn::Start(part) => match lease.part_state(part) {
                Some(PartState::Starting) => None,
                Some(state) => Some(Answer::Part(state.clone())),
                None => Some(Answer::Refused(Refusal::UnknownPart(part))),
            },
            WaitingOn::Change { seen, until } => {
                (lease.version() > seen || now >= until).then(|| Answer::Status(lease.status(now)))
            }
            WaitingOn::End => None,
        };
        if let Some(answer) = answer {
            client.answer(&answer, None);
        }
    }
}

/// Takes the exits of processes that nobody waits for: launchers, and what a failed launch has left behind. Not while a
/// launch has not told of its first process, which may have ended already.
fn reap_strays(lease: &mut Lease) {
    let is_unknown = |live: &Live| matches!(&live.stage, LiveStage::Launching { init: None, .. });
    if lease.live().any(|(_, live)| is_unknown(live)) {
        return;
    }
    while let Some(pid) = strays::ended_child() {
        let is_awaited = lease.live().any(|(_, live)| match &live.stage {
            LiveStage::Launching { launcher, init, .. } => {
                *launcher == pid || init.as_ref().is_some_and(|init| init.is(pid))
            }
            LiveStage::Running { init, .. } => init.is(pid),
        });
        // The kernel shows the same one again and again, so strays behind it wait until it is taken.
        if is_awaited || waitpid(Some(pid), WaitOptions::NOHANG).is_err() {
            return;
        }
    }
}

/// The last acts: the final usage on disk, everything taken down, and answers to whoever waits.
fn finish(lease: Lease, mut server: Server) -> ExitCode {
    // Everything of it goes before the answer: whoever is told that the lease is gone must not find it.
    let finished = lease.finish(Instant::now());
    let answer = match &finished {
        Ok(usage) => Answer::Final(usage.clone()),
        Err(error) => Answer::Refused(fault("recording the lease's final usage", error)),
    };
    for client in &mut server.clients {
        let Client::Waiting { on, .. } = client else { continue };
        match on {
            WaitingOn::End => client.answer(&answer, None),
            WaitingOn::Start(_) | WaitingOn::Change { .. } => client.answer(&Answer::Refused(Refusal::Over), None),
        }
    }
    server.clients.iter_mut().for_each(Client::flush);
    match finished {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("recording the lease's final usage: {error}"));
            ExitCode::FAILURE
        }
    }
}

//! The anvil process: started in a group of its own, known by pid and start time, ended gently first.

use super::{DevnetConfig, DevnetError};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long anvil may take until it listens; loading a long chain takes seconds.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long anvil may take to write its state and end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a process that starts or ends is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How much of anvil's output an error repeats, in characters.
const LAST_WORDS: usize = 400;

/// One process and no other that gets its pid later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The process id, which is also its group's.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was.
    pub start_time: u64,
}

impl ProcessRef {
    /// Whether this very process runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_ok_and(|(state, start_time)| start_time == self.start_time && state != 'Z')
    }

    /// Ends it and its process group at once, without letting it write its state.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_alive()) {
            // It may end between the look and the signal; then there is nothing to do.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// The state letter and the start time of a process.
fn stat(pid: u32) -> io::Result<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in brackets and may hold anything; the state is the first field behind it.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace());
    let parsed = fields.and_then(|mut fields| {
        let state = fields.next()?.chars().next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        Some((state, start_time))
    });
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "reading the start time of a process"))
}

/// The process, and the child handle when it is our own.
#[derive(Debug)]
pub(super) struct Anvil {
    process: ProcessRef,
    child: Option<Child>,
}

impl Anvil {
    /// Starts anvil without blocks and returns it with its URL.
    pub(super) async fn spawn(config: &DevnetConfig) -> Result<(Self, String), DevnetError> {
        let log = config.dir.join("anvil.log");
        let io_error = |source| DevnetError::Io {
            path: log.clone(),
            source,
        };
        let output = File::create(&log).map_err(io_error)?;
        let errors = output.try_clone().map_err(io_error)?;
        let child = Command::new(&config.anvil)
            .args([
                "--optimism",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--accounts",
                "1",
                "--no-mining",
            ])
            .args([
                "--slots-in-an-epoch",
                "1",
                "--chain-id",
                &config.chain_id.to_string(),
                "--state",
            ])
            .arg(config.dir.join("chain.json"))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|source| DevnetError::Spawn {
                program: config.anvil.clone(),
                source,
            })?;
        let pid = child.id();
        let (_, start_time) = stat(pid).map_err(|source| DevnetError::Spawn {
            program: config.anvil.clone(),
            source,
        })?;
        let mut anvil = Self {
            process: ProcessRef { pid, start_time },
            child: Some(child),
        };
        match anvil.wait_for_url(&log).await {
            Some(url) => Ok((anvil, url)),
            None => {
                anvil.kill();
                Err(DevnetError::Silent {
                    limit: START_LIMIT,
                    output: last_words(&log),
                })
            }
        }
    }

    /// A process that somebody else started.
    pub(super) fn adopt(process: ProcessRef) -> Self {
        Self { process, child: None }
    }

    pub(super) fn process(&self) -> ProcessRef {
        self.process
    }

    async fn wait_for_url(&mut self, log: &Path) -> Option<String> {
        for _ in 0..START_LIMIT.as_millis() / LOOK_INTERVAL.as_millis() {
            let text = fs::read_to_string(log).unwrap_or_default();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Listening on 127.0.0.1:"));
            if let Some(port) = line.and_then(|port| port.trim().parse::<u16>().ok()) {
                return Some(format!("http://127.0.0.1:{port}"));
            }
            if !self.is_alive() {
                return None;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        None
    }

    pub(super) fn is_alive(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            // Takes an ended child out of the process table.
            let _ = child.try_wait();
        }
        self.process.is_alive()
    }

    /// Lets it write its state and end; if it does not, ends it.
    pub(super) async fn stop(&mut self) -> Result<(), DevnetError> {
        for signal in [Signal::TERM, Signal::KILL] {
            self.process.signal(signal);
            for _ in 0..STOP_LIMIT.as_millis() / LOOK_INTERVAL.as_millis() {
                if !self.is_alive() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        Err(DevnetError::StillThere {
            pid: self.process.pid,
            limit: STOP_LIMIT,
        })
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.process.kill();
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let skip = text.chars().count().saturating_sub(LAST_WORDS);
    text.chars()
        .skip(skip)
        .map(|c| if gpux_types::is_obeyed(c) { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time_and_not_by_its_pid_alone() {
        let pid = std::process::id();
        let (_, start_time) = stat(pid).unwrap();
        assert!(ProcessRef { pid, start_time }.is_alive());
        assert!(
            !ProcessRef {
                pid,
                start_time: start_time + 1
            }
            .is_alive()
        );
    }

    #[test]
    fn an_ended_child_is_not_alive_even_before_it_is_reaped() {
        let mut child = Command::new("true").process_group(0).spawn().unwrap();
        let (_, start_time) = stat(child.id()).unwrap();
        let process = ProcessRef {
            pid: child.id(),
            start_time,
        };
        let mut anvil = Anvil { process, child: None };
        while anvil.is_alive() {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
    }
}

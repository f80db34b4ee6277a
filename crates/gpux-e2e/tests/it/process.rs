//! Processes as the kernel knows them: who runs, since when, below whom, frozen or not.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One process for ever: a number is given again, a number with its start is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    start_ticks: u64,
}

struct Stat {
    state: char,
    parent: u32,
    start_ticks: u64,
}

impl Process {
    /// The process of that number, if one runs.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'))?;
        Some(Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    /// Whether it still runs.
    pub(crate) fn runs(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// How long ago it started, in seconds.
    pub(crate) fn age_secs(self) -> f64 {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        // The kernel tells these in hundredths of a second on every architecture (USER_HZ).
        let ticks: u32 = self.start_ticks.try_into().unwrap();
        uptime - f64::from(ticks) / 100.0
    }

    /// Sends it a signal, if it still runs.
    pub(crate) fn signal(self, name: &str) {
        if self.runs() {
            // One that ended meanwhile is what was wanted.
            let _ = Command::new("kill")
                .arg(format!("-{name}"))
                .arg(self.pid.to_string())
                .output();
        }
    }

    /// Whether a signal stopped it: it is there and does nothing.
    pub(crate) fn is_stopped(self) -> bool {
        self.runs() && stat(self.pid).is_some_and(|stat| stat.state == 'T')
    }

    /// Whether the kernel holds it where it is.
    pub(crate) fn is_frozen(self) -> bool {
        let Ok(groups) = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)) else {
            return false;
        };
        groups.lines().any(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next(), fields.next()) {
                (Some("freezer"), Some(path)) => {
                    says(&below("/sys/fs/cgroup/freezer", path, "freezer.state"), "FROZEN")
                }
                (Some(""), Some(path)) => says(&below("/sys/fs/cgroup", path, "cgroup.events"), "frozen 1"),
                _ => false,
            }
        })
    }
}

fn below(mount: &str, path: &str, file: &str) -> PathBuf {
    Path::new(mount).join(path.trim_start_matches('/')).join(file)
}

fn says(file: &Path, line: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.lines().any(|found| found == line))
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything: fields are counted from its end.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn words(pid: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The shims of the daemon in `dir`.
pub(crate) fn shims(dir: &Path) -> Vec<Process> {
    let is_one = |pid: &u32| {
        let words = words(*pid);
        words.iter().any(|word| word == "__shim") && words.iter().any(|word| Path::new(word).starts_with(dir))
    };
    all().into_iter().filter(is_one).filter_map(Process::of).collect()
}

/// The processes of users' jobs in the containers of the daemon in `dir`: those below its shims whose program is the
/// image's.
pub(crate) fn jobs(dir: &Path) -> Vec<Process> {
    let mut known: Vec<u32> = shims(dir).iter().map(|shim| shim.pid).collect();
    let mut found = Vec::new();
    let everything: Vec<(u32, u32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut at = 0;
    while let Some(parent) = known.get(at).copied() {
        at += 1;
        for (pid, _) in everything.iter().filter(|(_, of)| *of == parent) {
            known.push(*pid);
            if words(*pid).first().is_some_and(|word| word == super::job::SHELL) {
                found.extend(Process::of(*pid));
            }
        }
    }
    found.sort();
    found
}

/// Kills the daemon, its shims and its containers, as a power cut would: nobody gets to say goodbye.
pub(crate) fn kill_everything(daemon: Process, dir: &Path) {
    let victims: Vec<Process> = [daemon].into_iter().chain(shims(dir)).chain(jobs(dir)).collect();
    assert!(
        victims.len() >= 3,
        "there is a daemon, a shim and a container to kill: {victims:?}"
    );
    for victim in &victims {
        victim.signal("KILL");
    }
    super::wait::wait_for(
        "the killed processes to be gone",
        std::time::Duration::from_secs(5),
        || victims.iter().all(|victim| !victim.runs()).then_some(()),
    );
}

/// Where the runtimes of the daemons in `dirs` keep things outside of them: cgroups, sockets and mount points.
pub(crate) fn runtime_folders(dirs: &[&Path]) -> BTreeSet<PathBuf> {
    let leases = dirs.iter().flat_map(|dir| fs::read_dir(dir.join("runtime/leases")));
    let records = leases.flatten().flatten().map(|lease| lease.path().join("lease.json"));
    let mut found = BTreeSet::new();
    for record in records.filter_map(|file| serde_json::from_slice::<Value>(&fs::read(file).ok()?).ok()) {
        let folder = |key: &str| {
            Path::new(record["record"][key].as_str().unwrap())
                .parent()
                .unwrap()
                .to_owned()
        };
        found.insert(folder("run"));
        let cgroup = folder("cgroup");
        let name = cgroup.strip_prefix("/").unwrap();
        let hierarchies = fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        found.extend(hierarchies.map(|mount| mount.join(name)));
        found.insert(Path::new("/sys/fs/cgroup").join(name));
    }
    found
}

/// What still uses `dir`: processes that name it, disks and mounts made of its files.
pub(crate) fn leftovers(dir: &Path) -> Vec<String> {
    let path = dir.to_str().unwrap();
    let processes = all()
        .into_iter()
        .map(words)
        .filter(|words| words.iter().any(|word| word.starts_with(path)));
    let mut found: Vec<String> = processes.map(|words| words.join(" ")).collect();
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let disks = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    found.extend(disks.filter(|file| file.starts_with(path)));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|mount| mount.contains(path)).map(str::to_owned));
    found
}

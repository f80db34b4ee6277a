//! The cgroup of a lease and of each of its parts, in both layouts of Linux.
//!
//! Owns making, limiting, freezing, killing and removing; the shim calls it for its own lease, and the daemon for a
//! lease whose shim is gone. It never moves a process: `libcontainer` does, into the absolute path given here.
//!
//! The layout is chosen by the rule that `libcontainer` uses (a cgroup2 file system at `/sys/fs/cgroup` means v2,
//! anything else v1, also in the hybrid layout), so that both always speak of the same hierarchies.
//!
//! Invariant: the frozen state is read from the kernel at every question; nothing here remembers it.

mod v1;
mod v2;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use gpux_types::{ByteSize, Resources};
use rustix::process::{Pid, Signal, kill_process};

/// Where distributions mount the hierarchies; `libcontainer` knows no other place.
const ROOT: &str = "/sys/fs/cgroup";

/// Processes and threads that one lease may have at a time. High enough for a renderer or a Java service on a large
/// machine, low enough that a fork bomb cannot use up the host's process numbers (4,194,304 on 64 bits).
pub(crate) const PIDS_MAX: u32 = 4096;

/// Why a cgroup could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// A file or folder of a hierarchy.
    #[error("{verb} {path}")]
    File {
        verb: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The machine lacks a controller without which a lease's limits would not hold.
    #[error("finding the {controller} controller below {ROOT}")]
    NoController { controller: &'static str },
    /// A file of the kernel says something that this program does not know.
    #[error("understanding {path}: {text:?}")]
    Unexpected { path: PathBuf, text: String },
    /// Processes are left although all were killed; they may be stuck in the kernel.
    #[error("killing all processes of {path}: {left} are left")]
    StillAlive { path: PathBuf, left: usize },
}

/// How a machine arranges its controllers.
#[derive(Debug, Clone)]
enum Layout {
    /// Controller name to the mount point of its hierarchy.
    V1(BTreeMap<String, PathBuf>),
    /// The one hierarchy.
    V2(PathBuf),
}

/// One cgroup: the same path in every hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    layout: Layout,
    path: PathBuf,
}

impl Cgroup {
    /// The cgroup at an absolute path such as `/gpux-alice/0123abcd`; nothing is made yet.
    pub(crate) fn at(path: &Path) -> Result<Self, CgroupError> {
        let root = Path::new(ROOT);
        let layout = if v2::is_mounted_at(root) {
            Layout::V2(root.to_owned())
        } else {
            Layout::V1(v1::hierarchies()?)
        };
        Ok(Self {
            layout,
            path: path.to_owned(),
        })
    }

    /// The cgroup called `name` right below this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            layout: self.layout.clone(),
            path: self.path.join(name),
        }
    }

    /// The absolute path, as the container library wants it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it in every hierarchy and sets its limits; fine when it exists.
    pub(crate) fn create(&self, limits: &Resources) -> Result<(), CgroupError> {
        match &self.layout {
            Layout::V1(mounts) => v1::create(mounts, &self.path, limits),
            Layout::V2(mount) => v2::create(mount, &self.path, limits),
        }
    }

    /// Asks the kernel to stop every process below it. Answers at once; see [`Self::is_frozen`].
    pub(crate) fn freeze(&self) -> Result<(), CgroupError> {
        match &self.layout {
            Layout::V1(mounts) => v1::set_frozen(mounts, &self.path, true),
            Layout::V2(mount) => v2::set_frozen(mount, &self.path, true),
        }
    }

    /// Lets every process below it go on.
    pub(crate) fn thaw(&self) -> Result<(), CgroupError> {
        match &self.layout {
            Layout::V1(mounts) => v1::set_frozen(mounts, &self.path, false),
            Layout::V2(mount) => v2::set_frozen(mount, &self.path, false),
        }
    }

    /// Whether its processes are stopped or being stopped, as the kernel says now.
    pub(crate) fn is_frozen(&self) -> Result<bool, CgroupError> {
        match &self.layout {
            Layout::V1(mounts) => v1::is_frozen(mounts, &self.path),
            Layout::V2(mount) => v2::is_frozen(mount, &self.path),
        }
    }

    /// How many of its own processes the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> Result<u64, CgroupError> {
        let (file, key) = match &self.layout {
            Layout::V1(mounts) => (
                v1::file(mounts, "memory", &self.path, "memory.oom_control")?,
                "oom_kill",
            ),
            Layout::V2(mount) => (join(mount, &self.path).join("memory.events"), "oom_kill"),
        };
        keyed_number(&file, key)
    }

    /// Most memory that it used at one time.
    pub(crate) fn memory_peak(&self) -> Result<ByteSize, CgroupError> {
        let file = match &self.layout {
            Layout::V1(mounts) => v1::file(mounts, "memory", &self.path, "memory.max_usage_in_bytes")?,
            Layout::V2(mount) => join(mount, &self.path).join("memory.peak"),
        };
        let text = read(&file)?;
        text.trim()
            .parse()
            .map(ByteSize)
            .map_err(|_| CgroupError::Unexpected { path: file, text })
    }

    /// Every process in it and below it.
    pub(crate) fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        let top = match &self.layout {
            Layout::V1(mounts) => join(v1::mount(mounts, "freezer")?, &self.path),
            Layout::V2(mount) => join(mount, &self.path),
        };
        let mut found = Vec::new();
        collect_processes(&top, &mut found)?;
        Ok(found)
    }

    /// Sends SIGKILL to every process in it and below it, also when frozen. The caller waits for their end.
    pub(crate) fn kill(&self) -> Result<(), CgroupError> {
        if let Layout::V2(mount) = &self.layout
            && v2::kill(mount, &self.path)?
        {
            return Ok(());
        }
        // Frozen processes cannot fork away from the list that is read here; a killed frozen process of v1 dies
        // when it is thawed.
        self.freeze()?;
        for pid in self.processes()? {
            // A process that is gone already is what was wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.thaw()
    }

    /// Kills until no process is left, trying for about `tries` hundredths of a second.
    pub(crate) fn kill_all(&self, tries: u32) -> Result<(), CgroupError> {
        let mut left = self.processes()?.len();
        for _ in 0..tries {
            if left == 0 {
                return Ok(());
            }
            self.kill()?;
            std::thread::sleep(std::time::Duration::from_millis(10));
            left = self.processes()?.len();
        }
        if left == 0 {
            return Ok(());
        }
        Err(CgroupError::StillAlive {
            path: self.path.clone(),
            left,
        })
    }

    /// Removes it and all below it from every hierarchy; fine when it does not exist. Fails while processes are
    /// left in it.
    pub(crate) fn remove(&self) -> Result<(), CgroupError> {
        match &self.layout {
            Layout::V1(mounts) => mounts
                .values()
                .try_for_each(|mount| remove_tree(&join(mount, &self.path))),
            Layout::V2(mount) => remove_tree(&join(mount, &self.path)),
        }
    }

    /// Whether any hierarchy still knows it.
    pub(crate) fn exists(&self) -> bool {
        match &self.layout {
            Layout::V1(mounts) => mounts.values().any(|mount| join(mount, &self.path).exists()),
            Layout::V2(mount) => join(mount, &self.path).exists(),
        }
    }
}

/// The folder of `path` below the mount point of a hierarchy.
fn join(mount: &Path, path: &Path) -> PathBuf {
    mount.join(path.strip_prefix("/").unwrap_or(path))
}

fn read(path: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(|source| CgroupError::File {
        verb: "reading",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    std::fs::write(path, text).map_err(|source| CgroupError::File {
        verb: "writing",
        path: path.to_owned(),
        source,
    })
}

/// Makes one folder; fine when it exists.
fn make_dir(path: &Path) -> Result<(), CgroupError> {
    match std::fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(CgroupError::File {
            verb: "making",
            path: path.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The number behind `key` in a file of `key number` lines; 0 when the key is not there.
fn keyed_number(path: &Path, key: &str) -> Result<u64, CgroupError> {
    let text = read(path)?;
    let Some(number) = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find_map(|(name, number)| (name == key).then_some(number))
    else {
        return Ok(0);
    };
    number.trim().parse().map_err(|_| CgroupError::Unexpected {
        path: path.to_owned(),
        text: text.clone(),
    })
}

/// The folders right below `dir`; none when `dir` does not exist.
fn children(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |source| CgroupError::File {
        verb: "listing",
        path: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Adds the processes of `dir` and of everything below it; a folder that vanishes meanwhile has none.
fn collect_processes(dir: &Path, found: &mut Vec<Pid>) -> Result<(), CgroupError> {
    for child in children(dir)? {
        collect_processes(&child, found)?;
    }
    let file = dir.join("cgroup.procs");
    let text = match read(&file) {
        Ok(text) => text,
        Err(CgroupError::File { source, .. }) if is_gone(&source) => return Ok(()),
        Err(error) => return Err(error),
    };
    // A line of 0 is a process of another pid namespace, which cannot be below a lease.
    found.extend(
        text.lines()
            .filter_map(|line| line.parse().ok())
            .filter_map(Pid::from_raw),
    );
    Ok(())
}

/// The cgroup or its file does not exist (ENODEV is what reading one that is being removed says).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    for child in children(dir)? {
        remove_tree(&child)?;
    }
    match std::fs::remove_dir(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CgroupError::File {
            verb: "removing",
            path: dir.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

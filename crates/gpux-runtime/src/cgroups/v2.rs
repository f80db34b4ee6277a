//! Cgroups in one hierarchy (v2).
//!
//! Called by the parent module only.

use std::path::Path;

use gpux_types::Resources;

use super::v1::{period_us, quota_us};
use super::{CgroupError, PIDS_MAX, is_gone, join, keyed_number, make_dir, read, write};

/// What `statfs` says about a cgroup2 file system.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Controllers that a lease's limits need.
const REQUIRED: [&str; 3] = ["cpu", "memory", "pids"];

pub(super) fn is_mounted_at(root: &Path) -> bool {
    rustix::fs::statfs(root).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2_MAGIC))
}

pub(super) fn create(mount: &Path, path: &Path, limits: &Resources) -> Result<(), CgroupError> {
    make(mount, path)?;
    let dir = join(mount, path);
    write(&dir.join("memory.max"), &limits.memory.0.to_string())?;
    let swap = dir.join("memory.swap.max");
    if swap.exists() {
        write(&swap, "0")?;
    }
    write(&dir.join("pids.max"), &PIDS_MAX.to_string())?;
    write(
        &dir.join("cpu.max"),
        &format!("{} {}", quota_us(limits.cpu.millicores), period_us()),
    )
}

/// Makes every folder of the path, each with the needed controllers enabled for those below it.
fn make(mount: &Path, path: &Path) -> Result<(), CgroupError> {
    let mut dir = mount.to_owned();
    enable_controllers(&dir)?;
    for component in path.strip_prefix("/").unwrap_or(path).components() {
        dir.push(component);
        make_dir(&dir)?;
        enable_controllers(&dir)?;
    }
    Ok(())
}

fn enable_controllers(dir: &Path) -> Result<(), CgroupError> {
    let there = read(&dir.join("cgroup.controllers"))?;
    for controller in REQUIRED {
        if !there.split_whitespace().any(|name| name == controller) {
            return Err(CgroupError::NoController { controller });
        }
    }
    write(&dir.join("cgroup.subtree_control"), "+cpu +memory +pids")
}

pub(super) fn set_frozen(mount: &Path, path: &Path, frozen: bool) -> Result<(), CgroupError> {
    write(&join(mount, path).join("cgroup.freeze"), if frozen { "1" } else { "0" })
}

/// The wish and the fact: `cgroup.freeze` is this cgroup's own setting, `cgroup.events` also tells of its parents'.
pub(super) fn is_frozen(mount: &Path, path: &Path) -> Result<bool, CgroupError> {
    let dir = join(mount, path);
    if read(&dir.join("cgroup.freeze"))?.trim() == "1" {
        return Ok(true);
    }
    Ok(keyed_number(&dir.join("cgroup.events"), "frozen")? == 1)
}

/// Kills by one write where the kernel offers it (Linux 5.14); `false` where it does not.
pub(super) fn kill(mount: &Path, path: &Path) -> Result<bool, CgroupError> {
    match write(&join(mount, path).join("cgroup.kill"), "1") {
        Ok(()) => Ok(true),
        Err(CgroupError::File { source, .. }) if is_gone(&source) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// A folder of a real v2 hierarchy; its controllers do not matter to freezing and killing.
    struct Folder {
        mount: &'static Path,
        path: std::path::PathBuf,
    }

    impl Folder {
        fn new(name: &str) -> Self {
            let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
                .into_iter()
                .map(Path::new)
                .find(|path| is_mounted_at(path))
                .expect("every layout of a current distribution mounts the v2 hierarchy somewhere");
            let path = Path::new("/").join(format!("{name}-{}", std::process::id()));
            make_dir(&join(mount, &path)).expect("tests of the runtime run as root");
            Self { mount, path }
        }

        fn dir(&self) -> std::path::PathBuf {
            join(self.mount, &self.path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = write(&self.dir().join("cgroup.kill"), "1");
            let _ = std::fs::remove_dir(self.dir());
        }
    }

    fn until(what: &str, mut fact: impl FnMut() -> bool) {
        let start = Instant::now();
        while !fact() {
            assert!(start.elapsed() < Duration::from_secs(5), "never: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_frozen_process_of_v2_stops_and_dies_when_killed() {
        let folder = Folder::new("gpux-v2-test");
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        write(&folder.dir().join("cgroup.procs"), &child.id().to_string()).unwrap();
        assert!(!is_frozen(folder.mount, &folder.path).unwrap());

        set_frozen(folder.mount, &folder.path, true).unwrap();
        assert!(is_frozen(folder.mount, &folder.path).unwrap());
        until("the kernel says that it is frozen", || {
            keyed_number(&folder.dir().join("cgroup.events"), "frozen").unwrap() == 1
        });

        set_frozen(folder.mount, &folder.path, false).unwrap();
        until("the kernel says that it is thawed", || {
            !is_frozen(folder.mount, &folder.path).unwrap()
        });

        set_frozen(folder.mount, &folder.path, true).unwrap();
        assert!(kill(folder.mount, &folder.path).unwrap());
        assert!(!child.wait().unwrap().success());
    }
}

//! Cgroups in separate hierarchies (v1 and hybrid): one folder per controller.
//!
//! Called by the parent module only. The freezer here is the old one: a frozen process does not even die before it
//! is thawed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gpux_types::Resources;

use super::{CgroupError, PIDS_MAX, join, make_dir, read, write};

/// Without these a lease would not be limited or could not be frozen.
const REQUIRED: [&str; 4] = ["cpu", "memory", "pids", "freezer"];

/// Microseconds over which the share of CPU time is kept. The kernel's default: shorter costs switches, longer makes
/// a lease stutter.
const CPU_PERIOD_US: u64 = 100_000;

/// Smallest share that the kernel takes, in microseconds per period.
const CPU_QUOTA_MIN_US: u64 = 1_000;

/// Mount points by controller name, from the kernel's table of mounts.
pub(super) fn hierarchies() -> Result<BTreeMap<String, PathBuf>, CgroupError> {
    let found = parse_mountinfo(&read(Path::new("/proc/self/mountinfo"))?);
    for controller in REQUIRED {
        if !found.contains_key(controller) {
            return Err(CgroupError::NoController { controller });
        }
    }
    Ok(found)
}

/// Controller names are options of the superblock: `... - cgroup cgroup rw,cpu,cpuacct`.
fn parse_mountinfo(text: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else {
            continue;
        };
        let mut filesystem = filesystem.split(' ');
        if filesystem.next() != Some("cgroup") {
            continue;
        }
        let (Some(point), Some(options)) = (mount.split(' ').nth(4), filesystem.nth(1)) else {
            continue;
        };
        for option in options.split(',').filter(|option| !matches!(*option, "rw" | "ro")) {
            let name = option.strip_prefix("name=").unwrap_or(option);
            found.entry(name.to_owned()).or_insert_with(|| PathBuf::from(point));
        }
    }
    found
}

pub(super) fn mount<'a>(
    mounts: &'a BTreeMap<String, PathBuf>,
    controller: &'static str,
) -> Result<&'a Path, CgroupError> {
    mounts
        .get(controller)
        .map(PathBuf::as_path)
        .ok_or(CgroupError::NoController { controller })
}

/// A control file of one controller.
pub(super) fn file(
    mounts: &BTreeMap<String, PathBuf>,
    controller: &'static str,
    path: &Path,
    name: &str,
) -> Result<PathBuf, CgroupError> {
    Ok(join(mount(mounts, controller)?, path).join(name))
}

pub(super) fn create(mounts: &BTreeMap<String, PathBuf>, path: &Path, limits: &Resources) -> Result<(), CgroupError> {
    for (controller, mount) in mounts {
        let mut dir = mount.clone();
        for component in path.strip_prefix("/").unwrap_or(path).components() {
            let parent = dir.clone();
            dir.push(component);
            make_dir(&dir)?;
            if controller == "cpuset" {
                inherit_cpuset(&parent, &dir)?;
            }
        }
    }
    set_limits(mounts, path, limits)
}

/// A fresh cpuset allows nothing; no process may enter it before it names CPUs and memory nodes.
fn inherit_cpuset(parent: &Path, dir: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if read(&dir.join(name))?.trim().is_empty() {
            write(&dir.join(name), read(&parent.join(name))?.trim())?;
        }
    }
    Ok(())
}

fn set_limits(mounts: &BTreeMap<String, PathBuf>, path: &Path, limits: &Resources) -> Result<(), CgroupError> {
    let memory = limits.memory.0.to_string();
    write(&file(mounts, "memory", path, "memory.limit_in_bytes")?, &memory)?;
    // Memory and swap together: without swap accounting the file is not there, and without swap it changes nothing.
    let with_swap = file(mounts, "memory", path, "memory.memsw.limit_in_bytes")?;
    if with_swap.exists() {
        write(&with_swap, &memory)?;
    }
    write(&file(mounts, "pids", path, "pids.max")?, &PIDS_MAX.to_string())?;
    let quota = quota_us(limits.cpu.millicores);
    write(
        &file(mounts, "cpu", path, "cpu.cfs_period_us")?,
        &CPU_PERIOD_US.to_string(),
    )?;
    write(&file(mounts, "cpu", path, "cpu.cfs_quota_us")?, &quota.to_string())
}

/// Microseconds of CPU time per period for a number of thousandths of a core.
pub(super) fn quota_us(millicores: u32) -> u64 {
    (u64::from(millicores) * CPU_PERIOD_US / 1_000).max(CPU_QUOTA_MIN_US)
}

/// The period that [`quota_us`] counts in.
pub(super) const fn period_us() -> u64 {
    CPU_PERIOD_US
}

pub(super) fn set_frozen(mounts: &BTreeMap<String, PathBuf>, path: &Path, frozen: bool) -> Result<(), CgroupError> {
    let state = if frozen { "FROZEN" } else { "THAWED" };
    write(&file(mounts, "freezer", path, "freezer.state")?, state)
}

pub(super) fn is_frozen(mounts: &BTreeMap<String, PathBuf>, path: &Path) -> Result<bool, CgroupError> {
    let path = file(mounts, "freezer", path, "freezer.state")?;
    let text = read(&path)?;
    match text.trim() {
        "THAWED" => Ok(false),
        // FREEZING: some process is in the kernel still and stops before it returns to its program.
        "FROZEN" | "FREEZING" => Ok(true),
        _ => Err(CgroupError::Unexpected { path, text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_by_superblock_options_and_not_by_folder_names() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct\n\
            37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            broken line\n";
        let found = parse_mountinfo(text);
        assert_eq!(found["cpu"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found["freezer"], Path::new("/sys/fs/cgroup/freezer"));
        assert_eq!(found["systemd"], Path::new("/sys/fs/cgroup/systemd"));
        assert!(!found.values().any(|path| path.ends_with("unified")));
    }

    #[test]
    fn a_share_of_cpu_is_never_below_what_the_kernel_takes() {
        assert_eq!(quota_us(500), 50_000);
        assert_eq!(quota_us(2_000), 200_000);
        assert_eq!(quota_us(1), CPU_QUOTA_MIN_US);
    }
}

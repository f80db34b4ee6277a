//! What this machine has and how fast it is: the numbers that a provider's offer is made from.
//!
//! Everything is what this process may really use: a container or a pinned service sees its own share, not the whole machine.
//! Nothing here decides what is offered or for how much.

use gpux_types::{ByteSize, Cpu};
use rustix::fs::statvfs;
use rustix::thread::sched_getaffinity;
use serde::{Deserialize, Serialize};
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one core is measured: three tries, the best counts, so that a busy moment does not.
const ONE_CORE_TRY: Duration = Duration::from_millis(100);
const ONE_CORE_TRIES: u32 = 3;
/// How long all cores are measured together.
const ALL_CORES: Duration = Duration::from_millis(400);
/// Bytes hashed at once: they stay in the second-level cache, so that cores are measured and not memory.
const BLOCK: usize = 64 << 10;
/// MiB of BLAKE3 in a second that make a score of 1,000: about what a server core with 256-bit vectors does.
const REFERENCE_MIB_S: u128 = 4_000;
/// Most threads of the measurement.
const MAX_THREADS: u32 = 1_024;

/// What this machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Cores that this process may use, by affinity and the quotas of its control groups.
    pub cpu: Cpu,
    /// Memory that this process may use, by the machine and the limits of its control groups.
    pub memory: ByteSize,
    /// What of the memory is not in use now.
    pub memory_free: ByteSize,
    /// The size of the disk that was asked about.
    pub disk: ByteSize,
    /// What of the disk is free now.
    pub disk_free: ByteSize,
    /// The processor's own name, empty where the system does not tell.
    pub cpu_model: String,
    /// How fast one core is: 1,000 is the reference core, which hashes 4,000 MiB of BLAKE3 in a second, over data in the cache.
    ///
    /// BLAKE3 uses the widest vectors of each processor and runs the same machine code in every build of this program, so that
    /// scores of different nodes compare. It says nothing about memory, disks or GPUs.
    pub cpu_score: u32,
    /// The same for all usable cores at once: less than their number times one, where they share execution units or heat.
    pub cpu_score_all: u32,
}

/// Why the machine could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The number of cores is unknown.
    #[error("counting the processor cores that this process may use")]
    Cores {
        /// What the system said.
        source: io::Error,
    },
    /// The memory is unknown.
    #[error("reading the machine's memory from {path}")]
    Memory {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is unknown.
    #[error("measuring the disk of {path}")]
    Disk {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Machine {
    /// Measures this machine, with the disk that `disk` is on. Blocks for 0.7 seconds and takes all cores for most of them.
    ///
    /// # Errors
    /// When the system does not tell what it has.
    pub fn measure(disk: &Path) -> Result<Self, MeasureError> {
        let cpu = Cpu {
            millicores: usable_millicores()?,
        };
        let (memory, memory_free) = memory()?;
        let (disk, disk_free) = disk_bytes(disk)?;
        let threads = cpu.millicores.div_ceil(1_000).clamp(1, MAX_THREADS);
        let tries = (0..ONE_CORE_TRIES).map(|_| hash_for(ONE_CORE_TRY));
        let cpu_score = tries.max().unwrap_or(0);
        let cpu_score_all = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_for(ALL_CORES))).collect();
            let scores = running.into_iter().filter_map(|thread| thread.join().ok());
            scores.fold(0, u32::saturating_add)
        });
        Ok(Self {
            cpu,
            memory: ByteSize(memory),
            memory_free: ByteSize(memory_free),
            disk: ByteSize(disk),
            disk_free: ByteSize(disk_free),
            cpu_model: cpu_model(),
            cpu_score,
            cpu_score_all,
        })
    }
}

/// Cores by affinity, cut by the quota of every control group above this process.
fn usable_millicores() -> Result<u32, MeasureError> {
    let cores = sched_getaffinity(None).map_err(|errno| MeasureError::Cores { source: errno.into() })?;
    let by_affinity = cores.count().saturating_mul(1_000);
    let quotas = cgroup_files("cpu", &["cpu.max", "cpu.cfs_quota_us"]);
    let limit = quotas.iter().filter_map(|path| quota_millicores(path)).min();
    Ok(limit.map_or(by_affinity, |limit| limit.min(by_affinity)))
}

fn quota_millicores(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    if path.ends_with("cpu.max") {
        return parse_cpu_max(&text);
    }
    let period = fs::read_to_string(path.with_file_name("cpu.cfs_period_us")).ok()?;
    millicores_of(text.trim().parse().ok()?, period.trim().parse().ok()?)
}

/// `QUOTA PERIOD` in microseconds, or `max PERIOD`.
fn parse_cpu_max(text: &str) -> Option<u32> {
    let (quota, period) = text.trim().split_once(' ')?;
    millicores_of(quota.parse().ok()?, period.parse().ok()?)
}

/// `None` for no quota, which control groups of version 1 write as -1.
fn millicores_of(quota_us: i64, period_us: i64) -> Option<u32> {
    if quota_us <= 0 || period_us <= 0 {
        return None;
    }
    u32::try_from(quota_us.saturating_mul(1_000) / period_us).ok()
}

/// Total and available memory in bytes, cut by the limit of every control group above this process.
fn memory() -> Result<(u64, u64), MeasureError> {
    let path = PathBuf::from("/proc/meminfo");
    let missing = || MeasureError::Memory {
        path: path.clone(),
        source: io::ErrorKind::InvalidData.into(),
    };
    let text = fs::read_to_string(&path).map_err(|source| MeasureError::Memory {
        path: path.clone(),
        source,
    })?;
    let total = meminfo(&text, "MemTotal:").ok_or_else(missing)?;
    let available = meminfo(&text, "MemAvailable:").ok_or_else(missing)?;
    let limits = cgroup_files("memory", &["memory.max", "memory.limit_in_bytes"]);
    let bytes = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let (mut usable, mut free) = (total, available);
    for limit_path in limits {
        let Some(limit) = bytes(&limit_path) else {
            continue;
        };
        let used = bytes(&limit_path.with_file_name("memory.current"))
            .or_else(|| bytes(&limit_path.with_file_name("memory.usage_in_bytes")));
        usable = usable.min(limit);
        free = free.min(limit.saturating_sub(used.unwrap_or(0)));
    }
    Ok((usable, free))
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The files of the given names in this process's control groups, from its own up to the root, for version 2 and for `controller` of
/// version 1.
fn cgroup_files(controller: &str, names: &[&str]) -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string("/proc/self/cgroup") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for (mount, group) in own_groups(&text, controller) {
        let folder = mount.join(group.trim_start_matches('/'));
        let groups = folder.ancestors().take_while(|folder| folder.starts_with(&mount));
        files.extend(groups.flat_map(|group| names.iter().map(move |name| group.join(name))));
    }
    files.retain(|file| file.exists());
    files
}

/// Where the groups of a `/proc/self/cgroup` text are mounted by custom, and their paths.
fn own_groups<'t>(text: &'t str, controller: &str) -> Vec<(PathBuf, &'t str)> {
    let root = Path::new("/sys/fs/cgroup");
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.is_empty() {
            groups.extend([(root.to_owned(), path), (root.join("unified"), path)]);
        } else if controllers.split(',').any(|name| name == controller) {
            groups.extend([(root.join(controllers), path), (root.join(controller), path)]);
        }
    }
    groups
}

/// Size of the disk of `path`, and what of it is free for everybody.
fn disk_bytes(path: &Path) -> Result<(u64, u64), MeasureError> {
    let stat = statvfs(path).map_err(|errno| MeasureError::Disk {
        path: path.to_owned(),
        source: errno.into(),
    })?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let (_, name) = model.unwrap_or_default();
    name.trim().chars().take(100).collect()
}

/// The score of what this thread hashes in `time`.
fn hash_for(time: Duration) -> u32 {
    let block = vec![0x5a_u8; BLOCK];
    let start = Instant::now();
    let mut blocks: u128 = 0;
    loop {
        black_box(blake3::hash(black_box(&block)));
        blocks += 1;
        let spent = start.elapsed();
        if spent >= time {
            let bytes = blocks * u128::try_from(BLOCK).unwrap_or(0);
            let mib_s = bytes * 1_000_000 / spent.as_micros().max(1) / (1 << 20);
            return u32::try_from(mib_s * 1_000 / REFERENCE_MIB_S).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{CpuSet, sched_setaffinity};

    #[test]
    fn a_pinned_process_offers_only_the_cores_it_may_use() {
        let all = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).unwrap();
        let measured = Machine::measure(Path::new("/")).unwrap();
        sched_setaffinity(None, &all).unwrap();
        assert!(measured.cpu <= Cpu::cores(1), "{measured:?}");
        assert!(
            measured.memory_free <= measured.memory && measured.disk_free <= measured.disk,
            "{measured:?}"
        );
        assert!(measured.cpu_score > 0 && measured.cpu_score_all > 0, "{measured:?}");
    }

    #[test]
    fn quotas_of_both_versions_are_read() {
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1_500));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(millicores_of(-1, 100_000), None);
        assert_eq!(millicores_of(50_000, 100_000), Some(500));
        assert_eq!(millicores_of(50_000, 0), None);
    }

    #[test]
    fn groups_are_found_in_hybrid_and_unified_layouts() {
        let found = own_groups("4:memory:/a\n2:cpu,cpuacct:/b:c\n0::/d\nrubbish\n", "cpu");
        let expected = [
            ("/sys/fs/cgroup/cpu,cpuacct", "/b:c"),
            ("/sys/fs/cgroup/cpu", "/b:c"),
            ("/sys/fs/cgroup", "/d"),
            ("/sys/fs/cgroup/unified", "/d"),
        ];
        assert_eq!(found, expected.map(|(mount, path)| (PathBuf::from(mount), path)));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       24684084 kB\nMemAvailable:   100 kB\n";
        assert_eq!(meminfo(text, "MemTotal:"), Some(24_684_084 * 1_024));
        assert_eq!(meminfo(text, "MemFree:"), None);
        assert_eq!(meminfo("MemTotal: many kB", "MemTotal:"), None);
    }
}

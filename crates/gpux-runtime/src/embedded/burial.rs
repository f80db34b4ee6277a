//! Taking down a lease whose shim is gone: kill, clear, and write what is known for ever.
//!
//! Called by the daemon, on a thread that may wait. The dead shim's mounts are gone already or go with the last process
//! killed here; the disk's file has no name, so its space comes back with its mount.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use gpux_types::{ByteSize, LeaseId, Millis};

use crate::cgroups::Cgroup;
use crate::meter_file;
use crate::records::{self, FinalRecord, LeaseFiles, RecordError};
use crate::runtime::{FinalUsage, LeaseEnd, LeaseStatus, PartKey, PartState, PartStatus, Work};

/// Hundredths of a second to wait for killed processes. A process that is stuck in the kernel for longer holds its
/// resources, and the lease is reported as not gone.
const KILL_TRIES: u32 = 500;

/// How often, and how far apart, a shim that did not answer is looked for before it counts as alive.
const DYING_TRIES: usize = 20;
const DYING_PACE: Duration = Duration::from_millis(10);

/// Times to try to remove a cgroup whose last process has just died.
const REMOVE_TRIES: u32 = 100;

/// Whether the process that was recorded as the lease's shim is still the one with that number, under the same boot.
pub(super) fn shim_is_alive(files: &LeaseFiles) -> io::Result<bool> {
    let Some(record) = files.shim().map_err(io_error)? else {
        return Ok(false);
    };
    if records::boot_id()? != record.boot_id {
        return Ok(false);
    }
    let now = records::process_identity(record.process.pid)?;
    Ok(now == Some(record.process))
}

/// Whether the lease's shim lives though a call to it failed so. One that dies closes its sockets a moment before it is gone.
pub(super) async fn outlives(files: &LeaseFiles, failure: &io::Error) -> io::Result<bool> {
    use io::ErrorKind as Kind;
    let may_die = matches!(
        failure.kind(),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::BrokenPipe
    );
    for _ in 0..DYING_TRIES {
        if !may_die || !shim_is_alive(files)? {
            break;
        }
        tokio::time::sleep(DYING_PACE).await;
    }
    shim_is_alive(files)
}

fn io_error(error: RecordError) -> io::Error {
    error.into_path_and_io().1
}

/// The leases that have a folder.
pub(super) fn list(leases_dir: &Path) -> io::Result<Vec<LeaseId>> {
    let mut leases = Vec::new();
    for entry in fs::read_dir(leases_dir)? {
        let name = entry?.file_name();
        leases.extend(name.to_str().and_then(|name| name.parse::<LeaseId>().ok()));
    }
    leases.sort_unstable();
    Ok(leases)
}

/// Kills every process of the lease and removes its cgroup and its folder for sockets and mounts.
pub(super) fn kill_and_clear(files: &LeaseFiles, run: &Path) -> io::Result<()> {
    if let Some(record) = files.lease().map_err(io_error)? {
        let cgroup = Cgroup::at(&record.cgroup).map_err(io::Error::other)?;
        if cgroup.exists() {
            cgroup.kill_all(KILL_TRIES).map_err(io::Error::other)?;
            remove(&cgroup)?;
        }
    }
    remove_if_there(fs::remove_file(files.disk()))?;
    remove_if_there(fs::remove_dir_all(run))
}

/// The kernel frees a cgroup a moment after its last process has died.
fn remove(cgroup: &Cgroup) -> io::Result<()> {
    let mut removed = cgroup.remove();
    for _ in 0..REMOVE_TRIES {
        if removed.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        removed = cgroup.remove();
    }
    removed.map_err(io::Error::other)
}

fn remove_if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Kills and clears, and records the final usage: what the shim had synced, and parts without an exit as lost.
pub(super) fn bury(files: &LeaseFiles, run: &Path, lease: LeaseId) -> io::Result<FinalRecord> {
    kill_and_clear(files, run)?;
    let metered = meter_file::read(&files.meter())?.unwrap_or(Millis::ZERO);
    let parts = files
        .parts()
        .map_err(io_error)?
        .into_iter()
        .map(|key| part_status(files, key))
        .collect::<io::Result<Vec<_>>>()?;
    let record = FinalRecord {
        usage: FinalUsage {
            lease,
            metered,
            parts: parts.clone(),
            end: LeaseEnd::ShimLost,
        },
        status: LeaseStatus {
            lease,
            version: u64::MAX,
            metered,
            work: Work::Gone,
            parts,
            disk_used: ByteSize(0),
            memory_peak: ByteSize(0),
            shim: None,
        },
    };
    files.write_final(&record).map_err(io_error)?;
    Ok(record)
}

fn part_status(files: &LeaseFiles, key: PartKey) -> io::Result<PartStatus> {
    let state = files.exit(key).map_err(io_error)?.unwrap_or(PartState::Lost);
    Ok(PartStatus {
        part: key.part,
        attempt: key.attempt,
        state,
    })
}

//! What a lease leaves on disk, shared by the shim that writes it and the daemon that reads it.
//!
//! Owns the names of files and folders and how they are written; knows nothing of processes, cgroups or mounts.
//!
//! ```text
//! STATE/leases/LEASE/            survives everything until the lease is forgotten
//!   lease.json                   what was asked for; written by the daemon before the shim starts
//!   shim.json                    who the shim is; written by the shim once the lease is ready
//!   meter                        metered milliseconds, synced every second (see `meter_file`)
//!   shim.log                     what the shim had to say
//!   parts/PART.ATTEMPT/
//!     part.json                  what was asked for; written before the program starts
//!     exit.json                  how it ended
//!     log.OFFSET                 its output (see `log_files`)
//!   final.json                   the final usage; its presence means that the lease is over
//! RUN/LEASE/                     gone with the shim
//!   control                      the shim's socket
//!   mounts/                      where the shim mounts, seen by the shim alone
//! ```
//!
//! Every JSON file carries `version`; a reader refuses one that it does not know.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gpux_types::{LeaseId, PartIndex};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::mounts::UidRange;
use crate::runtime::{FinalUsage, LeaseSpec, LeaseStatus, PartKey, PartSpec, PartState, ProcessIdentity};

/// The version of every record that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The file system refused.
    #[error("{verb} {path}")]
    Io {
        verb: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// It is not the JSON that was expected.
    #[error("understanding {path}")]
    Json { path: PathBuf, source: serde_json::Error },
    /// Another program wrote it.
    #[error("understanding {path}: it has version {found}, this program knows {VERSION}")]
    Version { path: PathBuf, found: u32 },
}

impl RecordError {
    /// The path and the cause, for an error of the calling operation.
    pub(crate) fn into_path_and_io(self) -> (PathBuf, io::Error) {
        match self {
            Self::Io { path, source, .. } => (path, source),
            Self::Json { path, source } => (path, source.into()),
            Self::Version { ref path, .. } => (path.clone(), io::Error::new(io::ErrorKind::InvalidData, self)),
        }
    }
}

/// A record on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned<T> {
    version: u32,
    record: T,
}

/// All that a shim needs to know about its lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseRecord {
    pub(crate) spec: LeaseSpec,
    /// The lease's folder for sockets and mounts.
    pub(crate) run: PathBuf,
    /// The lease's absolute cgroup path.
    pub(crate) cgroup: PathBuf,
    /// Who owns unpacked layers on disk.
    pub(crate) store_ids: UidRange,
    /// Who the lease's users are on the host.
    pub(crate) lease_ids: UidRange,
    /// The binary that answers to the hidden verbs.
    pub(crate) program: PathBuf,
}

/// Who the shim is; it counts only under the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShimRecord {
    pub(crate) boot_id: String,
    pub(crate) process: ProcessIdentity,
}

/// The end of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinalRecord {
    pub(crate) usage: FinalUsage,
    /// The last answer to a question for its status.
    pub(crate) status: LeaseStatus,
}

/// The files of one lease.
#[derive(Debug, Clone)]
pub(crate) struct LeaseFiles {
    dir: PathBuf,
}

/// The name of a lease's folders and cgroup: 16 of its 32 bytes, so that the path of the socket fits the 108 bytes that
/// the kernel allows. Lease ids are hashes, so half of one is as unique.
pub(crate) fn short_name(lease: LeaseId) -> String {
    lease
        .as_bytes()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The socket of a lease whose folder for such things is `run`.
pub(crate) fn socket(run: &Path) -> PathBuf {
    run.join("control")
}

/// The folder below which a shim mounts.
pub(crate) fn mounts(run: &Path) -> PathBuf {
    run.join("mounts")
}

impl LeaseFiles {
    /// The files in a lease's folder.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn meter(&self) -> PathBuf {
        self.dir.join("meter")
    }

    pub(crate) fn shim_log(&self) -> PathBuf {
        self.dir.join("shim.log")
    }

    /// The image of the lease's disk; its name is gone once the disk is mounted.
    pub(crate) fn disk(&self) -> PathBuf {
        self.dir.join("disk.img")
    }

    pub(crate) fn part_dir(&self, part: PartKey) -> PathBuf {
        self.dir.join("parts").join(part.to_string())
    }

    pub(crate) fn exit_path(&self, part: PartKey) -> PathBuf {
        self.part_dir(part).join("exit.json")
    }

    pub(crate) fn final_path(&self) -> PathBuf {
        self.dir.join("final.json")
    }

    pub(crate) fn write_lease(&self, record: &LeaseRecord) -> Result<(), RecordError> {
        write_durable(&self.dir.join("lease.json"), record)
    }

    /// Whether the lease was ever asked for and not forgotten.
    pub(crate) fn is_known(&self) -> bool {
        self.dir.join("lease.json").exists()
    }

    /// Takes back what [`Self::write_shim`] said.
    pub(crate) fn remove_shim(&self) {
        let _ = fs::remove_file(self.dir.join("shim.json"));
    }

    pub(crate) fn lease(&self) -> Result<Option<LeaseRecord>, RecordError> {
        read(&self.dir.join("lease.json"))
    }

    pub(crate) fn write_shim(&self, record: &ShimRecord) -> Result<(), RecordError> {
        write_durable(&self.dir.join("shim.json"), record)
    }

    pub(crate) fn shim(&self) -> Result<Option<ShimRecord>, RecordError> {
        read(&self.dir.join("shim.json"))
    }

    pub(crate) fn write_final(&self, record: &FinalRecord) -> Result<(), RecordError> {
        write_durable(&self.final_path(), record)
    }

    pub(crate) fn final_record(&self) -> Result<Option<FinalRecord>, RecordError> {
        read(&self.final_path())
    }

    /// Makes the part's folder and records what was asked for. Not synced: after a power cut nothing of the lease runs,
    /// and the daemon knows by itself what it had asked for.
    pub(crate) fn write_part(&self, spec: &PartSpec) -> Result<(), RecordError> {
        let dir = self.part_dir(spec.key());
        fs::create_dir_all(&dir).map_err(|source| RecordError::Io {
            verb: "making",
            path: dir.clone(),
            source,
        })?;
        write(&dir.join("part.json"), spec, Sync::No)
    }

    pub(crate) fn exit(&self, part: PartKey) -> Result<Option<PartState>, RecordError> {
        read(&self.exit_path(part))
    }

    /// Every part that was ever asked for, in order.
    pub(crate) fn parts(&self) -> Result<Vec<PartKey>, RecordError> {
        let dir = self.dir.join("parts");
        let failed = |source| RecordError::Io {
            verb: "listing",
            path: dir.clone(),
            source,
        };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut parts = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            parts.extend(name.to_str().and_then(parse_part_key));
        }
        parts.sort_unstable();
        Ok(parts)
    }
}

/// The folders of layers that the leases below `leases` were made with, but for those that are over: their containers are gone.
/// A lease whose record cannot be read may use any.
pub(crate) fn layers_in_use(leases: &Path) -> Result<BTreeSet<PathBuf>, RecordError> {
    let failed = |source| RecordError::Io {
        verb: "listing",
        path: leases.to_owned(),
        source,
    };
    let mut layers = BTreeSet::new();
    for entry in fs::read_dir(leases).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let files = LeaseFiles::new(path.clone());
        // The runtime's own files lie beside the leases' folders.
        if path.is_dir()
            && !files.final_path().exists()
            && let Some(record) = files.lease()?
        {
            layers.extend(record.spec.layers);
        }
    }
    Ok(layers)
}

fn parse_part_key(name: &str) -> Option<PartKey> {
    let (part, attempt) = name.split_once('.')?;
    Some(PartKey {
        part: PartIndex(part.parse().ok()?),
        attempt: attempt.parse().ok()?,
    })
}

/// Whether a write must survive a power cut.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    Yes,
    No,
}

/// Replaces a record as a whole, so that it survives a power cut once this returns.
pub(crate) fn write_durable<T: Serialize>(path: &Path, record: &T) -> Result<(), RecordError> {
    write(path, record, Sync::Yes)
}

fn write<T: Serialize>(path: &Path, record: &T, sync: Sync) -> Result<(), RecordError> {
    let failed = |source| RecordError::Io {
        verb: "writing",
        path: path.to_owned(),
        source,
    };
    let versioned = Versioned {
        version: VERSION,
        record,
    };
    let bytes = serde_json::to_vec(&versioned).map_err(|source| RecordError::Json {
        path: path.to_owned(),
        source,
    })?;
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    if sync == Sync::Yes {
        file.sync_all().map_err(failed)?;
    }
    fs::rename(&draft, path).map_err(failed)?;
    match path.parent() {
        Some(parent) if sync == Sync::Yes => File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed),
        Some(_) | None => Ok(()),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(RecordError::Io {
                verb: "reading",
                path: path.to_owned(),
                source,
            });
        }
    };
    let json = |source| RecordError::Json {
        path: path.to_owned(),
        source,
    };
    let Versioned { version, record } = serde_json::from_slice::<Versioned<serde_json::Value>>(&bytes).map_err(json)?;
    if version != VERSION {
        return Err(RecordError::Version {
            path: path.to_owned(),
            found: version,
        });
    }
    serde_json::from_value(record).map(Some).map_err(json)
}

/// What tells this boot of the machine from every other.
pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// Who has this process number now; `None` when nobody has.
pub(crate) fn process_identity(pid: u32) -> io::Result<Option<ProcessIdentity>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // What reading says when the process ends meanwhile.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    let mut fields = fields.into_iter().flat_map(|fields| fields.split(' '));
    // The fields behind the name start with the state, field 3; a zombie runs no more.
    let state = fields.next();
    let start_ticks = fields.nth(18).and_then(|ticks| ticks.parse().ok());
    match (state, start_ticks) {
        (Some("Z" | "X"), _) => Ok(None),
        (Some(_), Some(start_ticks)) => Ok(Some(ProcessIdentity { pid, start_ticks })),
        (_, _) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("field 22 of /proc/{pid}/stat is no number"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shim.json");
        fs::write(&path, r#"{"version":2,"record":{}}"#).unwrap();
        let error = LeaseFiles::new(dir.path().to_owned()).shim().unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 2, .. }), "{error}");
    }

    #[test]
    fn a_record_that_was_never_written_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let files = LeaseFiles::new(dir.path().to_owned());
        assert!(files.final_record().unwrap().is_none());
        assert!(files.parts().unwrap().is_empty());
    }

    #[test]
    fn a_process_is_told_from_a_later_one_with_the_same_number() {
        let own = process_identity(std::process::id()).unwrap().unwrap();
        assert!(own.start_ticks > 0);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(process_identity(pid).unwrap(), None);
    }

    #[test]
    fn names_of_part_folders_are_read_back() {
        let key = PartKey {
            part: PartIndex(7),
            attempt: 2,
        };
        assert_eq!(parse_part_key(&key.to_string()), Some(key));
        assert_eq!(parse_part_key("lost+found"), None);
    }
}

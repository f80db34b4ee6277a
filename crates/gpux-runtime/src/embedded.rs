//! The embedded runtime: the default, with nothing to install; needs root.
//!
//! The daemon's half. It starts one shim per lease and talks to it (`call.rs`), takes down what a dead shim has left
//! (`burial.rs`), and reads logs and final usages from the lease's folder by itself. It holds no state about leases:
//! what is on disk, what the kernel says and what the shims answer is all there is, so a restarted daemon knows as much
//! as the one before.

mod burial;
mod call;
mod uid_block;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gpux_types::{LeaseId, MAX_INPUTS, Millis};
use tokio::io::AsyncReadExt as _;

use self::call::Fetched;
pub use self::uid_block::ClaimUidsError;
use crate::cgroups::Cgroup;
use crate::layers::{LayerStore, OpenStoreError};
use crate::log_files;
use crate::mounts::{UidRange, UidRangeError, UidRanges};
use crate::records::{self, FinalRecord, LeaseFiles, LeaseRecord, RecordError, ShimRecord};
use crate::runtime::{
    AdoptError, CreateLeaseError, FinalUsage, LeaseSpec, LeaseStatus, LogChunk, OutputFile, PartKey, PartSpec,
    PartState, Runtime, RuntimeCallError, ShimFault, StartPartError,
};
use crate::shim::wire::{Answer, Refusal, Request};
use crate::shim::{SHIM_VERB, spec};

/// Where the claims of user ids of all daemons of a machine are; survives reboots, as the layers on disk do.
const CLAIMS: &str = "/var/lib/gpux/ids";

/// Where the embedded runtime keeps things and what it starts.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Folder for the leases' records, logs and disks; survives reboots. Made when missing.
    pub dir: PathBuf,
    /// Folder for sockets and mount points. Every folder above it must be open to all for passing through (mode o+x),
    /// because containers' users walk there. Made when missing.
    pub run_dir: PathBuf,
    /// Absolute cgroup below which the leases' are made; no other daemon may use it.
    pub cgroup: PathBuf,
    /// The binary that answers to the hidden verbs.
    pub program: PathBuf,
    /// Folder of the machine's claims of user ids, the same for all daemons. Made when missing.
    pub claims: PathBuf,
}

impl RuntimeConfig {
    /// The usual places for a daemon whose runtime keeps its things in `dir`: `/run/gpux/NAME` and the cgroup
    /// `/gpux-NAME`, where NAME is a hash of `dir`; the program is the calling process's own.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let hash = blake3::hash(dir.as_os_str().as_encoded_bytes()).to_hex();
        let name = hash.get(..12).unwrap_or_default();
        Self {
            run_dir: Path::new("/run/gpux").join(name),
            cgroup: PathBuf::from(format!("/gpux-{name}")),
            // Not its path: that may hold another version by the time a lease is made.
            program: "/proc/self/exe".into(),
            claims: CLAIMS.into(),
            dir,
        }
    }

    fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }
}

/// Why the embedded runtime cannot work here.
#[derive(Debug, thiserror::Error)]
pub enum OpenRuntimeError {
    /// It mounts, makes cgroups and maps users, which only root may.
    #[error("running containers as user {uid}: only root can; a renter needs no runtime")]
    NotRoot {
        /// Who runs the daemon.
        uid: u32,
    },
    /// One of its folders could not be made.
    #[error("making {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There are no user ids for it.
    #[error("claiming user ids for containers")]
    Uids(#[from] ClaimUidsError),
    /// The machine's cgroups cannot hold a lease's limits.
    #[error("looking for the machine's cgroups")]
    Cgroups(#[source] io::Error),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct EmbeddedRuntime {
    config: RuntimeConfig,
    uid_ranges: UidRanges,
    /// Held while a lease is made or buried, so that one is not done twice at once. A mutex and not a task: it guards
    /// nothing but the order of file operations.
    locks: Mutex<HashMap<LeaseId, Arc<tokio::sync::Mutex<()>>>>,
}

impl EmbeddedRuntime {
    /// Makes the folders. Call [`Runtime::adopt`] before anything else.
    ///
    /// # Errors
    /// When not run as root, or when a folder, user ids or cgroups are not to be had.
    pub fn open(config: RuntimeConfig) -> Result<Self, OpenRuntimeError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Err(OpenRuntimeError::NotRoot { uid: uid.as_raw() });
        }
        for (path, mode) in [
            (&config.dir, 0o700),
            (&config.leases(), 0o700),
            (&config.run_dir, 0o711),
        ] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .map_err(|source| OpenRuntimeError::Folder {
                    path: path.clone(),
                    source,
                })?;
        }
        let uid_ranges = uid_block::ensure(&config.claims, &config.dir)?;
        Cgroup::at(&config.cgroup).map_err(|error| OpenRuntimeError::Cgroups(io::Error::other(error)))?;
        Ok(Self {
            config,
            uid_ranges,
            locks: Mutex::new(HashMap::new()),
        })
    }

    /// Who owns unpacked layers on disk.
    #[must_use]
    pub fn store_range(&self) -> UidRange {
        self.uid_ranges.store()
    }

    /// Opens the store of the layers that this runtime's leases use, in `root`.
    ///
    /// # Errors
    /// When another process has it open, or the file system refuses.
    pub fn open_layers(&self, root: &Path) -> Result<LayerStore, OpenStoreError> {
        let (ids, leases) = (self.uid_ranges.store(), self.config.leases());
        LayerStore::open_for(root, &self.config.program, ids, Some(leases))
    }

    /// Removes what the runtime keeps outside its folder, for a daemon that is given up: its cgroup and the folder of its
    /// sockets and mount points. Call it when every lease is forgotten. The user ids are free once `dir` is removed.
    ///
    /// # Errors
    /// When work of a lease is still in the cgroup, or the system refuses.
    pub fn remove(self) -> io::Result<()> {
        let cgroup = Cgroup::at(&self.config.cgroup).map_err(io::Error::other)?;
        cgroup.remove().map_err(io::Error::other)?;
        match fs::remove_dir(&self.config.run_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn files(&self, lease: LeaseId) -> LeaseFiles {
        LeaseFiles::new(self.config.leases().join(lease_dir_name(lease)))
    }

    fn run(&self, lease: LeaseId) -> PathBuf {
        self.config.run_dir.join(records::short_name(lease))
    }

    async fn lock(&self, lease: LeaseId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are forgotten here, so that the map does not grow.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(lease).or_default())
        };
        lock.lock_owned().await
    }

    /// Asks the lease's shim; buries the lease when its shim turns out to be dead.
    async fn ask(&self, lease: LeaseId, request: &Request) -> Result<Fetched, RuntimeCallError> {
        let files = self.files(lease);
        if !files.is_known() {
            return Err(RuntimeCallError::UnknownLease { lease });
        }
        let source = match call::call(&records::socket(&self.run(lease)), request).await {
            Ok(fetched) => return fetched.or_refused(lease),
            Err(source) => source,
        };
        if self.final_record(lease)?.is_some() {
            return Err(RuntimeCallError::Over { lease });
        }
        let lives = burial::outlives(&files, &source).await;
        if lives.map_err(|source| RuntimeCallError::Shim { lease, source })? {
            return Err(RuntimeCallError::Shim { lease, source });
        }
        self.bury(lease).await?;
        Err(RuntimeCallError::Over { lease })
    }

    async fn ask_done(&self, lease: LeaseId, request: &Request) -> Result<(), RuntimeCallError> {
        let answer = self.ask(lease, request).await?.answer;
        if let Answer::Done = answer {
            return Ok(());
        }
        Err(call::unexpected(lease, &answer))
    }

    /// Kills what a dead shim has left and writes the final usage.
    async fn bury(&self, lease: LeaseId) -> Result<FinalRecord, RuntimeCallError> {
        let _guard = self.lock(lease).await;
        if let Some(record) = self.final_record(lease)? {
            return Ok(record);
        }
        let (files, run) = (self.files(lease), self.run(lease));
        blocking(move || burial::bury(&files, &run, lease))
            .await
            .map_err(|source| RuntimeCallError::Shim { lease, source })
    }

    fn final_record(&self, lease: LeaseId) -> Result<Option<FinalRecord>, RuntimeCallError> {
        self.files(lease).final_record().map_err(|error| folder(lease, error))
    }

    /// Makes the folders and the record of a new lease.
    fn write_lease(&self, spec: LeaseSpec) -> Result<(), CreateLeaseError> {
        let lease = spec.lease;
        let files = self.files(lease);
        let on = |path: &Path| {
            let path = path.to_owned();
            move |source| CreateLeaseError::Folder { lease, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(files.dir())
            .map_err(on(files.dir()))?;
        let lease_ids = self
            .uid_ranges
            .ensure_lease_range(&self.config.leases(), files.dir())
            .map_err(|error| match error {
                UidRangeError::Io { path, source } => CreateLeaseError::Folder { lease, path, source },
                other @ (UidRangeError::Base { .. }
                | UidRangeError::Exhausted { .. }
                | UidRangeError::Record { .. }) => on(files.dir())(io::Error::other(other)),
            })?;
        let run = self.run(lease);
        for path in [&run, &records::mounts(&run)] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(path)
                .map_err(on(path))?;
        }
        let record = LeaseRecord {
            cgroup: self.config.cgroup.join(records::short_name(lease)),
            run,
            store_ids: self.uid_ranges.store(),
            lease_ids,
            program: self.config.program.clone(),
            spec,
        };
        files.write_lease(&record).map_err(|error| {
            let (path, source) = error.into_path_and_io();
            CreateLeaseError::Folder { lease, path, source }
        })
    }

    /// Starts the shim and waits until it says that the lease is ready.
    async fn start_shim(&self, lease: LeaseId) -> Result<(), CreateLeaseError> {
        let files = self.files(lease);
        let spawn = |source| CreateLeaseError::Spawn { lease, source };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(files.shim_log())
            .map_err(spawn)?;
        let mut child = tokio::process::Command::new(&self.config.program)
            .arg0("gpux")
            .arg(SHIM_VERB)
            .arg(files.dir())
            // The shim's environment is the last that a container could inherit by mistake.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(false)
            .spawn()
            .map_err(spawn)?;
        let mut line = Vec::new();
        if let Some(out) = &mut child.stdout {
            out.read_to_end(&mut line).await.map_err(spawn)?;
        }
        match serde_json::from_slice::<Result<(), ShimFault>>(&line) {
            // The runtime reaps it whenever it ends.
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => {
                let _ = child.wait().await;
                Err(CreateLeaseError::Prepare { lease, source })
            }
            Err(source) => {
                let _ = child.kill().await;
                Err(spawn(source.into()))
            }
        }
    }

    /// A lease whose daemon died while it was made has a record but no shim that ever was ready.
    fn was_never_ready(&self, lease: LeaseId) -> Result<bool, CreateLeaseError> {
        let shim: Option<ShimRecord> = self.files(lease).shim().map_err(|error| {
            let (path, source) = error.into_path_and_io();
            CreateLeaseError::Folder { lease, path, source }
        })?;
        Ok(shim.is_none())
    }

    /// Asks for a part to be started, as far as the request says.
    async fn ask_start(&self, lease: LeaseId, key: PartKey, request: &Request) -> Result<PartState, StartPartError> {
        let wrap = |source| StartPartError::Call {
            lease,
            part: key,
            source: Box::new(source),
        };
        let fetched = self.ask(lease, request).await;
        match fetched.map(|fetched| fetched.answer) {
            Ok(Answer::Part(state)) => Ok(state),
            Ok(Answer::Refused(Refusal::Conflict(part))) => Err(StartPartError::Conflict { lease, part }),
            Ok(Answer::Refused(Refusal::BadSpec(what))) => Err(StartPartError::BadSpec { lease, part: key, what }),
            Ok(other) => Err(wrap(call::unexpected(lease, &other))),
            Err(error) => Err(wrap(error)),
        }
    }

    /// Removes every trace of a lease that was not made.
    async fn clear(&self, lease: LeaseId) {
        let (files, run) = (self.files(lease), self.run(lease));
        let cleared = blocking(move || {
            burial::kill_and_clear(&files, &run)?;
            fs::remove_dir_all(files.dir())
        })
        .await;
        if let Err(error) = cleared {
            tracing::warn!(%lease, %error, "something of a lease that could not be made is left");
        }
    }

    fn part_is_over(&self, lease: LeaseId, part: PartKey) -> Result<bool, RuntimeCallError> {
        let files = self.files(lease);
        let exit = files.exit(part).map_err(|error| folder(lease, error))?;
        Ok(exit.is_some() || files.final_path().exists())
    }
}

/// The folder of a lease: its whole id in hexadecimal digits.
fn lease_dir_name(lease: LeaseId) -> String {
    lease.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn folder(lease: LeaseId, error: RecordError) -> RuntimeCallError {
    let (path, source) = error.into_path_and_io();
    RuntimeCallError::Folder { lease, path, source }
}

/// Runs file and process work that may wait where it holds up no task.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// What of a specification cannot be given; `None` when all can.
fn bad_spec(spec: &LeaseSpec) -> Option<String> {
    if spec.layers.is_empty() {
        return Some("an image without layers".into());
    }
    if spec.inputs.len() > MAX_INPUTS {
        return Some(format!("{} inputs (the most is {MAX_INPUTS})", spec.inputs.len()));
    }
    if spec.resources.memory.0 == 0 || spec.resources.cpu.millicores == 0 {
        return Some("no memory or no CPU".into());
    }
    let image = &spec.image.working_dir;
    if !image.is_empty() && spec::bad_folder(Path::new(image)) {
        return Some(format!("the image's working folder {image:?}"));
    }
    spec.inputs.iter().find_map(|input| {
        let why = spec::bad_target(&input.target)?;
        Some(format!("the input target {}: {why}", input.target.display()))
    })
}

#[async_trait]
impl Runtime for EmbeddedRuntime {
    async fn create_lease(&self, spec: LeaseSpec) -> Result<(), CreateLeaseError> {
        let lease = spec.lease;
        if let Some(what) = bad_spec(&spec) {
            return Err(CreateLeaseError::BadSpec { lease, what });
        }
        let _guard = self.lock(lease).await;
        let files = self.files(lease);
        let record = files.lease().map_err(|error| {
            let (path, source) = error.into_path_and_io();
            CreateLeaseError::Folder { lease, path, source }
        })?;
        if record.is_some_and(|record| record.spec != spec) {
            return Err(CreateLeaseError::Conflict { lease });
        }
        if files.final_path().exists() {
            return Err(CreateLeaseError::Over { lease });
        }
        if !self.was_never_ready(lease)? {
            let alive = burial::shim_is_alive(&files).map_err(|source| CreateLeaseError::Spawn { lease, source })?;
            return if alive {
                Ok(())
            } else {
                Err(CreateLeaseError::Over { lease })
            };
        }
        if files.dir().exists() {
            self.clear(lease).await;
        }
        let made = match self.write_lease(spec) {
            Ok(()) => self.start_shim(lease).await,
            Err(error) => Err(error),
        };
        if made.is_err() {
            self.clear(lease).await;
        }
        made
    }

    async fn start_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        let key = part.key();
        self.ask_start(lease, key, &Request::Start(part)).await
    }

    async fn stand_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        let key = part.key();
        self.ask_start(lease, key, &Request::Stand(part)).await
    }

    async fn go_part(&self, lease: LeaseId, part: PartKey) -> Result<PartState, StartPartError> {
        self.ask_start(lease, part, &Request::Go { part }).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.ask_done(lease, &Request::Renew).await
    }

    async fn freeze(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.ask_done(lease, &Request::Freeze).await
    }

    async fn thaw(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.ask_done(lease, &Request::Thaw).await
    }

    async fn status(&self, lease: LeaseId) -> Result<LeaseStatus, RuntimeCallError> {
        self.status_by(lease, &Request::Status).await
    }

    async fn wait_change(&self, lease: LeaseId, seen: u64) -> Result<LeaseStatus, RuntimeCallError> {
        self.status_by(lease, &Request::Wait { seen }).await
    }

    async fn stop_part(&self, lease: LeaseId, part: PartKey, grace: Millis) -> Result<(), RuntimeCallError> {
        match self.ask_done(lease, &Request::Stop { part, grace }).await {
            Err(RuntimeCallError::Over { .. }) => Ok(()),
            other => other,
        }
    }

    async fn outputs(&self, lease: LeaseId, part: PartKey, glob: &str) -> Result<Vec<OutputFile>, RuntimeCallError> {
        let glob = glob.to_owned();
        let answer = self.ask(lease, &Request::Outputs { part, glob }).await?.answer;
        if let Answer::Outputs(found) = answer {
            return Ok(found);
        }
        Err(call::unexpected(lease, &answer))
    }

    async fn open_output(&self, lease: LeaseId, part: PartKey, path: &str) -> Result<File, RuntimeCallError> {
        let path = path.to_owned();
        let fetched = self.ask(lease, &Request::OpenOutput { part, path }).await?;
        match (fetched.answer, fetched.file) {
            (Answer::File, Some(file)) => Ok(file),
            (other, _) => Err(call::unexpected(lease, &other)),
        }
    }

    async fn logs(&self, lease: LeaseId, part: PartKey, offset: u64) -> Result<LogChunk, RuntimeCallError> {
        let files = self.files(lease);
        let dir = files.part_dir(part);
        if !files.dir().exists() {
            return Err(RuntimeCallError::UnknownLease { lease });
        }
        if !dir.exists() {
            return Err(RuntimeCallError::UnknownPart { lease, part });
        }
        // Asked before the log is read: what was written before the end is then read for certain.
        let over = self.part_is_over(lease, part)?;
        let path = dir.clone();
        blocking(move || log_files::read(&dir, offset, over))
            .await
            .map_err(|source| RuntimeCallError::Folder { lease, path, source })
    }

    async fn destroy_lease(&self, lease: LeaseId) -> Result<FinalUsage, RuntimeCallError> {
        if let Some(record) = self.final_record(lease)? {
            return Ok(record.usage);
        }
        let usage = match self.ask(lease, &Request::Destroy).await {
            Ok(Fetched {
                answer: Answer::Final(usage),
                ..
            }) => usage,
            Ok(fetched) => return Err(call::unexpected(lease, &fetched.answer)),
            // It ended by itself, or it had to be buried.
            Err(RuntimeCallError::Over { .. }) => match self.final_record(lease)? {
                Some(record) => record.usage,
                None => return Err(RuntimeCallError::UnknownLease { lease }),
            },
            Err(error) => return Err(error),
        };
        let (files, run) = (self.files(lease), self.run(lease));
        blocking(move || burial::kill_and_clear(&files, &run))
            .await
            .map_err(|source| RuntimeCallError::Shim { lease, source })?;
        Ok(usage)
    }

    async fn forget_lease(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        match self.destroy_lease(lease).await {
            Ok(_) => {}
            Err(RuntimeCallError::UnknownLease { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let path = self.files(lease).dir().to_owned();
        let dir = path.clone();
        blocking(move || fs::remove_dir_all(dir))
            .await
            .map_err(|source| RuntimeCallError::Folder { lease, path, source })
    }

    async fn adopt(&self) -> Result<Vec<LeaseStatus>, AdoptError> {
        let path = self.config.leases();
        let leases = burial::list(&path).map_err(|source| AdoptError::Folder { path, source })?;
        let mut adopted = Vec::new();
        for lease in leases {
            match self.status(lease).await {
                Ok(status) => adopted.push(status),
                // Its daemon died while it was made.
                Err(RuntimeCallError::UnknownLease { .. }) => self.clear(lease).await,
                Err(error) => {
                    return Err(AdoptError::Kill {
                        lease,
                        source: io::Error::other(error),
                    });
                }
            }
        }
        Ok(adopted)
    }
}

impl EmbeddedRuntime {
    async fn status_by(&self, lease: LeaseId, request: &Request) -> Result<LeaseStatus, RuntimeCallError> {
        if let Some(record) = self.final_record(lease)? {
            return Ok(record.status);
        }
        match self.ask(lease, request).await {
            Ok(Fetched {
                answer: Answer::Status(status),
                ..
            }) => Ok(status),
            Ok(fetched) => Err(call::unexpected(lease, &fetched.answer)),
            Err(RuntimeCallError::Over { lease }) => match self.final_record(lease)? {
                Some(record) => Ok(record.status),
                None => Err(RuntimeCallError::UnknownLease { lease }),
            },
            Err(error) => Err(error),
        }
    }
}

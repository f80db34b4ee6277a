//! A provider that cheats: the ordinary daemon, told lies by its own runtime. Started by tests in an honest provider's place.
//!
//! ```text
//! gpux-e2e-cheat meter DIR    its meter runs at twice the time, and work that should be frozen goes on
//! gpux-e2e-cheat names DIR    it hands back every file of a part, also those that the job does not collect
//! gpux-e2e-cheat results DIR  what its parts made it hands back with another byte
//! gpux-e2e-cheat blobs DIR    what it keeps for the renter is not what it announced
//! ```
//!
//! Everything else is honest: containers, shims, chain and peers are the real ones. It must know nothing of the renter.
#![forbid(unsafe_code)]

use async_trait::async_trait;
use gpux_runtime::{
    AdoptError, CreateLeaseError, FinalUsage, LeaseSpec, LeaseStatus, LogChunk, OutputFile, PartKey, PartSpec,
    PartState, Runtime, RuntimeCallError, StartPartError,
};
use gpux_types::{LeaseId, Millis};
use std::{
    collections::HashSet,
    ffi::OsString,
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

/// How many milliseconds the lying meter tells for one of work.
const FACTOR: u64 = 2;

/// Which lie is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Meter,
    Names,
    Blobs,
    Results,
}

/// An honest runtime, and a lie about what it says.
struct Liar {
    honest: Arc<dyn Runtime>,
    lie: Lie,
    /// Where the daemon keeps the blobs that it serves.
    blobs: PathBuf,
    /// Those that it had before, or that are corrupt already.
    known: Mutex<HashSet<PathBuf>>,
}

impl Liar {
    fn metered(&self, metered: Millis) -> Millis {
        match self.lie {
            Lie::Meter => Millis(metered.0.saturating_mul(FACTOR)),
            Lie::Names | Lie::Blobs | Lie::Results => metered,
        }
    }

    /// The blobs that came since the last look.
    fn new_blobs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.blobs).into_iter().flatten().flatten();
        let blobs = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "data"));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.filter(|path| known.insert(path.clone())).collect()
    }

    /// The same bytes but the first, in a file that has no name any more.
    fn forge(&self, honest: &File) -> Option<File> {
        let mut bytes = Vec::new();
        let mut reader = honest;
        reader.read_to_end(&mut bytes).ok()?;
        if let Some(first) = bytes.first_mut() {
            *first ^= 1;
        }
        let path = self.blobs.with_file_name("forged");
        let options = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let forged = options.ok()?;
        std::fs::remove_file(&path).ok()?;
        forged.write_all_at(&bytes, 0).ok()?;
        Some(forged)
    }

    fn status(&self, status: LeaseStatus) -> LeaseStatus {
        LeaseStatus {
            metered: self.metered(status.metered),
            ..status
        }
    }
}

#[async_trait]
impl Runtime for Liar {
    async fn create_lease(&self, spec: LeaseSpec) -> Result<(), CreateLeaseError> {
        self.honest.create_lease(spec).await
    }

    async fn start_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        self.honest.start_part(lease, part).await
    }

    async fn stand_part(&self, lease: LeaseId, part: PartSpec) -> Result<PartState, StartPartError> {
        self.honest.stand_part(lease, part).await
    }

    async fn go_part(&self, lease: LeaseId, part: PartKey) -> Result<PartState, StartPartError> {
        self.honest.go_part(lease, part).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.honest.renew(lease).await
    }

    async fn freeze(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        match self.lie {
            // Time that is not worked cannot be billed twice.
            Lie::Meter => Ok(()),
            Lie::Names | Lie::Blobs | Lie::Results => self.honest.freeze(lease).await,
        }
    }

    async fn thaw(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.honest.thaw(lease).await
    }

    async fn status(&self, lease: LeaseId) -> Result<LeaseStatus, RuntimeCallError> {
        Ok(self.status(self.honest.status(lease).await?))
    }

    async fn wait_change(&self, lease: LeaseId, seen: u64) -> Result<LeaseStatus, RuntimeCallError> {
        Ok(self.status(self.honest.wait_change(lease, seen).await?))
    }

    async fn stop_part(&self, lease: LeaseId, part: PartKey, grace: Millis) -> Result<(), RuntimeCallError> {
        self.honest.stop_part(lease, part, grace).await
    }

    async fn outputs(&self, lease: LeaseId, part: PartKey, glob: &str) -> Result<Vec<OutputFile>, RuntimeCallError> {
        let glob = match self.lie {
            Lie::Meter | Lie::Blobs | Lie::Results => glob,
            Lie::Names => "/out/**",
        };
        self.new_blobs();
        let mut files = self.honest.outputs(lease, part, glob).await?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    async fn open_output(&self, lease: LeaseId, part: PartKey, path: &str) -> Result<File, RuntimeCallError> {
        if self.lie == Lie::Blobs {
            // When a part's next file is asked for, the one before lies in the store and nobody was told of it yet.
            for blob in self.new_blobs() {
                let file = File::options().write(true).open(blob);
                file.and_then(|file| file.write_all_at(b"corrupt", 20_000)).ok();
            }
        }
        let honest = self.honest.open_output(lease, part, path).await?;
        // A copy of the same size, as one that saved itself the work would guess it.
        let forged = if self.lie == Lie::Results {
            self.forge(&honest)
        } else {
            None
        };
        Ok(forged.unwrap_or(honest))
    }

    async fn logs(&self, lease: LeaseId, part: PartKey, offset: u64) -> Result<LogChunk, RuntimeCallError> {
        self.honest.logs(lease, part, offset).await
    }

    async fn destroy_lease(&self, lease: LeaseId) -> Result<FinalUsage, RuntimeCallError> {
        let usage = self.honest.destroy_lease(lease).await?;
        Ok(FinalUsage {
            metered: self.metered(usage.metered),
            ..usage
        })
    }

    async fn forget_lease(&self, lease: LeaseId) -> Result<(), RuntimeCallError> {
        self.honest.forget_lease(lease).await
    }

    async fn adopt(&self) -> Result<Vec<LeaseStatus>, AdoptError> {
        let adopted = self.honest.adopt().await?;
        Ok(adopted.into_iter().map(|status| self.status(status)).collect())
    }
}

fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    // Its shims are this same program.
    if let Some(code) = gpux_node::run_if_hidden(&typed) {
        return code;
    }
    let lie = match typed.get(1).and_then(|word| word.to_str()) {
        Some("meter") => Lie::Meter,
        Some("names") => Lie::Names,
        Some("blobs") => Lie::Blobs,
        Some("results") => Lie::Results,
        _ => return complain("expected meter, names, blobs or results"),
    };
    let Some(dir) = typed.get(2) else {
        return complain("expected the daemon's folder");
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new("warn,gpux_node=info"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    gpux_node::install_tls();
    let threads = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(threads) => threads,
        Err(error) => return complain(&format!("starting threads: {error}")),
    };
    let blobs = Path::new(dir).join("blobs/data");
    let known = Mutex::default();
    let choose = |honest| {
        let liar = Liar {
            honest,
            lie,
            blobs,
            known,
        };
        Arc::new(liar) as Arc<dyn Runtime>
    };
    match threads.block_on(gpux_node::run_daemon_on(Path::new(dir), choose)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&gpux_node::error_chain(&error)),
    }
}

fn complain(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}

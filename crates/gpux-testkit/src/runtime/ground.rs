//! What a conformance run stands on: a runtime, an image with the probe in it, and short ways to use both.

#![expect(clippy::panic, reason = "for tests: what fails here is to end the test")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gpux_runtime::{ImageConfig, InputMount, LeaseSpec, LeaseStatus, LogChunk, PartKey, PartSpec, PartState, Runtime};
use gpux_types::{ByteSize, Cpu, LeaseId, Millis, PartIndex, Resources};

/// The probe's source; see its own documentation for the verbs.
pub const PROBE_SOURCE: &str = include_str!("../../probe/main.rs");

/// Longest wait for anything that must happen. Only a broken runtime waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Compiles the probe into `dir` unless that was done before; the file's name holds the source's hash.
///
/// # Errors
/// When the compiler cannot be run or refuses.
pub fn build_probe(dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let hash = blake3::hash(PROBE_SOURCE.as_bytes()).to_hex();
    let program = dir.join(format!("probe-{}", hash.get(..16).unwrap_or("0")));
    if program.exists() {
        return Ok(program);
    }
    // Tests are processes that run side by side: each makes its own, and the last one wins.
    let draft = dir.join(format!("probe-draft-{}", std::process::id()));
    let source = draft.with_extension("rs");
    fs::write(&source, PROBE_SOURCE)?;
    let status = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "panic=abort",
            "-o",
        ])
        .args([&draft, &source])
        .status()?;
    fs::remove_file(source)?;
    if !status.success() {
        return Err(io::Error::other(format!("rustc ended with {status}")));
    }
    fs::rename(draft, &program)?;
    Ok(program)
}

/// A runtime and what it runs.
pub struct Ground {
    /// Under test.
    pub runtime: Arc<dyn Runtime>,
    /// An image whose root holds the probe as `/probe`, and `/not-a-program`, which nobody may execute.
    pub layers: Vec<PathBuf>,
    /// A folder of the host for inputs.
    pub host: PathBuf,
    /// Keeps what the two above live in.
    pub keep: Box<dyn std::any::Any + Send + Sync>,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground")
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// A lease id that no other test has.
fn fresh_lease() -> LeaseId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut id = [0; 32];
    let words = [u64::from(std::process::id()), COUNT.fetch_add(1, Ordering::Relaxed)];
    for (to, from) in id.iter_mut().zip(words.iter().flat_map(|word| word.to_be_bytes())) {
        *to = from;
    }
    LeaseId(id)
}

impl Ground {
    /// A lease of 64 MiB memory, half a core and a 32 MiB disk that nobody silences for a minute.
    #[must_use]
    pub fn spec(&self) -> LeaseSpec {
        LeaseSpec {
            lease: fresh_lease(),
            resources: Resources {
                cpu: Cpu { millicores: 1_000 },
                memory: ByteSize(64 << 20),
                disk: ByteSize(32 << 20),
            },
            layers: self.layers.clone(),
            image: ImageConfig {
                env: vec!["FROM_IMAGE=yes".into(), "PATH=/bin:/".into()],
                entrypoint: vec!["/probe".into()],
                cmd: vec!["print".into(), "the image's own words".into()],
                working_dir: String::new(),
                user: String::new(),
            },
            inputs: Vec::new(),
            log_limit: ByteSize(1 << 20),
            renew_within: Millis(60_000),
            hold: Millis(60_000),
        }
    }

    /// An input with this text.
    ///
    /// # Panics
    /// When the host's folder cannot be written.
    #[must_use]
    pub fn input(&self, name: &str, text: &str) -> InputMount {
        let source = self.host.join(name);
        fs::write(&source, text).expect("the ground's folder is writable");
        InputMount {
            source,
            target: PathBuf::from("/in").join(name),
        }
    }

    /// Makes the lease.
    ///
    /// # Panics
    /// When that fails.
    pub async fn lease(&self, spec: LeaseSpec) -> LeaseId {
        let lease = spec.lease;
        self.runtime
            .create_lease(spec)
            .await
            .unwrap_or_else(|error| fail("making the lease", &error));
        lease
    }

    /// Starts the probe as part `part` and gives the state that start answered with.
    ///
    /// # Panics
    /// When the part could not be tried.
    pub async fn start(&self, lease: LeaseId, part: u32, words: &[&str]) -> PartState {
        self.runtime
            .start_part(lease, probe(part, words))
            .await
            .unwrap_or_else(|error| fail("starting the part", &error))
    }

    /// Starts the probe and waits until it is over.
    ///
    /// # Panics
    /// When it could not be tried or does not end.
    pub async fn run(&self, lease: LeaseId, part: u32, words: &[&str]) -> PartState {
        self.start(lease, part, words).await;
        self.ended(lease, part).await
    }

    /// Waits until the part is over.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&self, lease: LeaseId, part: u32) -> PartState {
        let status = self
            .until(lease, "the part is over", |status| {
                state_of(status, part).is_some_and(PartState::is_over)
            })
            .await;
        state_of(&status, part).cloned().expect("it was there a moment ago")
    }

    /// Waits for a status by which `fact` holds.
    ///
    /// # Panics
    /// When it never does.
    pub async fn until(&self, lease: LeaseId, what: &str, fact: impl Fn(&LeaseStatus) -> bool) -> LeaseStatus {
        let mut seen = 0;
        let mut last = None;
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = self
                    .runtime
                    .wait_change(lease, seen)
                    .await
                    .unwrap_or_else(|error| fail("waiting for a change", &error));
                if fact(&status) {
                    return status;
                }
                seen = status.version;
                last = Some(status);
            }
        });
        match found.await {
            Ok(status) => status,
            Err(_) => panic!("never: {what}; the last status was {last:?}"),
        }
    }

    /// The whole log of a part that is over.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn log(&self, lease: LeaseId, part: u32) -> String {
        let mut bytes = Vec::new();
        let mut offset = 0;
        loop {
            let chunk = self.log_from(lease, part, offset).await;
            bytes.extend_from_slice(&chunk.bytes);
            offset = chunk.next;
            if chunk.ended {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }

    /// One piece of a log.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn log_from(&self, lease: LeaseId, part: u32, offset: u64) -> LogChunk {
        self.runtime
            .logs(lease, key(part), offset)
            .await
            .unwrap_or_else(|error| fail("reading the log", &error))
    }

    /// Waits until the part has printed `text`.
    ///
    /// # Panics
    /// When it never does.
    pub async fn printed(&self, lease: LeaseId, part: u32, text: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                let chunk = self.log_from(lease, part, 0).await;
                if String::from_utf8_lossy(&chunk.bytes).contains(text) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(seen.await.is_ok(), "never printed: {text}");
    }

    /// Ends the lease.
    ///
    /// # Panics
    /// When that fails.
    pub async fn destroy(&self, lease: LeaseId) -> gpux_runtime::FinalUsage {
        self.runtime
            .destroy_lease(lease)
            .await
            .unwrap_or_else(|error| fail("destroying the lease", &error))
    }
}

/// The probe as a part.
#[must_use]
pub fn probe(part: u32, words: &[&str]) -> PartSpec {
    PartSpec {
        part: PartIndex(part),
        attempt: 0,
        argv: ["/probe"].iter().chain(words).map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        working_dir: None,
        max_duration: None,
    }
}

/// The first try of a part.
#[must_use]
pub fn key(part: u32) -> PartKey {
    PartKey {
        part: PartIndex(part),
        attempt: 0,
    }
}

/// The state of the first try of a part.
#[must_use]
pub fn state_of(status: &LeaseStatus, part: u32) -> Option<&PartState> {
    let wanted = key(part);
    status
        .parts
        .iter()
        .find(|found| (found.part, found.attempt) == (wanted.part, wanted.attempt))
        .map(|found| &found.state)
}

fn fail(what: &str, error: &dyn std::error::Error) -> ! {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    panic!("{what}: {text}")
}

//! How long a container takes from "make it" to its program's first instruction, against `runc run`.
//!
//! Both run the same static program from the same files, without a network, with the same limits of memory, CPU and
//! processes; the program's first act is to read the host's monotonic clock. The two take turns, so that whatever else
//! the machine does hits both. `bench/run` calls this; needs root and `runc`.
//!
//! ```text
//! start [--rounds 50] [--json FILE]
//! ```

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that fails must end at once"
)]
#![expect(unsafe_code, reason = "the standard library does not tell the clock's own number")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gpux_runtime::{EmbeddedRuntime, RuntimeConfig};
use gpux_testkit::runtime::{Ground, build_probe};
use serde_json::{Value, json};

/// What the probe is told to do: read the clock, print it, end.
const WORDS: &[&str] = &["now"];
/// Rounds that warm both sides up and are not counted.
const WARM_UP: usize = 3;
/// Every so many rounds a whole lease is made for one container, too.
const LEASE_EVERY: usize = 5;

fn main() {
    let options = Options::from_args(std::env::args().skip(1));
    let workers = tokio::runtime::Runtime::new().expect("a runtime of threads");
    let times = workers.block_on(measure(options.rounds));
    let report = report(&times);
    println!("{}", table(&report));
    if let Some(path) = options.json {
        fs::write(&path, format!("{report:#}\n")).expect("the JSON file is writable");
    }
}

struct Options {
    rounds: usize,
    json: Option<PathBuf>,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Self {
        let mut options = Self { rounds: 50, json: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} wants a value"));
            match arg.as_str() {
                "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
                "--json" => options.json = Some(value().into()),
                "--bench" => {}
                _ => panic!("unknown option {arg}"),
            }
        }
        options
    }
}

/// Sorted on demand; one entry a container.
#[derive(Default)]
struct Times {
    /// A container of a lease that exists: what every part after the first costs.
    part: Vec<Duration>,
    /// A lease with its disk, and its first container.
    lease: Vec<Duration>,
    runc: Vec<Duration>,
}

async fn measure(rounds: usize) -> Times {
    let site = Site::new();
    let ground = site.ground();
    let lease = ground.lease(ground.spec()).await;
    let mut times = Times::default();
    for round in 0..rounds + WARM_UP {
        let part = u32::try_from(round).expect("a small number of rounds");
        let asked = now();
        ground.start(lease, part, WORDS).await;
        ground.ended(lease, part).await;
        let started = clock_in(&ground.log(lease, part).await) - asked;
        let other = site.runc.run(round);
        let fresh = if round % LEASE_EVERY == 0 {
            Some(fresh_lease(&ground).await)
        } else {
            None
        };
        if round >= WARM_UP {
            times.part.push(started);
            times.runc.push(other);
            times.lease.extend(fresh);
        }
    }
    ground.destroy(lease).await;
    times
}

async fn fresh_lease(ground: &Ground) -> Duration {
    let asked = now();
    let lease = ground.lease(ground.spec()).await;
    ground.start(lease, 0, WORDS).await;
    ground.ended(lease, 0).await;
    let started = clock_in(&ground.log(lease, 0).await) - asked;
    ground.destroy(lease).await;
    started
}

/// The host's monotonic clock.
fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec`, which is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    let [seconds, nanoseconds] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// What the probe read from the same clock.
fn clock_in(output: &str) -> Duration {
    let line = output.trim();
    Duration::from_nanos(line.parse().unwrap_or_else(|_| panic!("the probe said {line:?}")))
}

/// Folders and a cgroup of our own, an image with the probe, and the same files as a bundle for `runc`.
struct Site {
    config: RuntimeConfig,
    layer: PathBuf,
    runc: Runc,
    /// In `/run`, not the usual place for temporary files: containers' users must be able to walk there.
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gpux-bench-")
            .permissions(fs::Permissions::from_mode(0o711))
            .tempdir_in("/run")
            .expect("this needs root");
        let path = folder.path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let config = RuntimeConfig {
            run_dir: path.join("run"),
            cgroup: Path::new("/").join(name),
            program: env!("CARGO_BIN_EXE_gpux-runtime-hidden").into(),
            claims: path.join("claims"),
            ..RuntimeConfig::new(path.join("state"))
        };
        let probe = build_probe(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the probe compiles");
        Self {
            config,
            layer: path.join("layer"),
            runc: Runc::new(path.join("bundle"), &probe),
            folder,
        }
        .with_layer(&probe)
    }

    fn with_layer(self, probe: &Path) -> Self {
        let store = EmbeddedRuntime::open(self.config.clone()).expect("this needs root");
        let owner = Some(store.store_range().first);
        fs::create_dir(&self.layer).expect("a folder");
        fs::copy(probe, self.layer.join("probe")).expect("a copy");
        for (name, mode) in [("", 0o755), ("probe", 0o755)] {
            let path = self.layer.join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            std::os::unix::fs::chown(&path, owner, owner).expect("an owner");
        }
        self
    }

    fn ground(&self) -> Ground {
        Ground {
            runtime: std::sync::Arc::new(EmbeddedRuntime::open(self.config.clone()).expect("this needs root")),
            layers: vec![self.layer.clone()],
            host: self.folder.path().to_owned(),
            keep: Box::new(()),
        }
    }
}

/// `runc` with the configuration that `runc spec` writes: no user namespace, no seccomp filter, no disk of its own.
struct Runc {
    bundle: PathBuf,
}

impl Runc {
    fn new(bundle: PathBuf, probe: &Path) -> Self {
        let root = bundle.join("rootfs");
        fs::create_dir_all(&root).expect("a folder");
        fs::copy(probe, root.join("probe")).expect("a copy");
        let spec = Command::new("runc").arg("spec").current_dir(&bundle).status();
        assert!(spec.is_ok_and(|status| status.success()), "runc must be installed");
        let path = bundle.join("config.json");
        let text = fs::read(&path).expect("runc has written it");
        let mut config: Value = serde_json::from_slice(&text).expect("it is JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = ["/probe"].iter().chain(WORDS).copied().collect();
        config["root"]["readonly"] = json!(false);
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        config["linux"]["resources"]["cpu"] = json!({ "quota": 100_000, "period": 100_000 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 256 });
        fs::write(&path, config.to_string()).expect("a file");
        Self { bundle }
    }

    fn run(&self, round: usize) -> Duration {
        let name = format!("gpux-bench-{}-{round}", std::process::id());
        let asked = now();
        let output = Command::new("runc")
            .args(["run", "--bundle"])
            .arg(&self.bundle)
            .arg(name)
            .output()
            .expect("runc runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        clock_in(&String::from_utf8_lossy(&output.stdout)) - asked
    }
}

/// The value below which `percent` of the samples lie, in milliseconds.
fn percentile(samples: &[Duration], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted[index].as_secs_f64() * 1_000.0
}

fn report(times: &Times) -> Value {
    let row = |samples: &[Duration]| {
        let [p50, p95] = [50, 95].map(|percent| percentile(samples, percent));
        let [base50, base95] = [50, 95].map(|percent| percentile(&times.runc, percent));
        json!({
            "samples": samples.len(),
            "p50_ms": p50, "p95_ms": p95,
            "p50_ratio": p50 / base50, "p95_ratio": p95 / base95,
        })
    };
    json!({
        "goal": { "p50_ratio": 0.7 },
        "container of a lease": row(&times.part),
        "runc run": row(&times.runc),
        "lease, its disk, and its first container": row(&times.lease),
    })
}

fn table(report: &Value) -> String {
    let mut lines = vec!["| create to exec | p50 ms | p95 ms | of runc, p50 | p95 |\n|---|---|---|---|---|".to_owned()];
    for (name, row) in report
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "goal")
    {
        let figure = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        lines.push(format!(
            "| {name} | {:.1} | {:.1} | {:.2} | {:.2} |",
            figure("p50_ms"),
            figure("p95_ms"),
            figure("p50_ratio"),
            figure("p95_ratio")
        ));
    }
    lines.push("goal: a container of a lease at most 0.70 of `runc run` (p50)".to_owned());
    lines.join("\n")
}

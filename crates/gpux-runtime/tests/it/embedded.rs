//! The embedded runtime on a real kernel: the promises of every runtime, and those that only a kernel can keep.
//!
//! These tests need root and fail without it: a suite that skips itself proves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpux_runtime::{CreateLeaseError, EmbeddedRuntime, LeaseEnd, PartState, ProcessIdentity, RuntimeConfig, Work};
use gpux_testkit::runtime::{Ground, build_probe, state_of};
use gpux_types::Millis;

gpux_testkit::runtime_conformance!(ground);

/// A runtime with folders and a cgroup of its own, and an image that holds the probe.
pub(crate) struct Site {
    config: RuntimeConfig,
    layer: PathBuf,
    pub(crate) host: PathBuf,
    /// Removes the folders; `/run` and not the usual place for temporary files, because containers' users must be able
    /// to walk there.
    _folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gpux-test-")
            .permissions(fs::Permissions::from_mode(0o711))
            .tempdir_in("/run")
            .expect("these tests need root");
        let path = folder.path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let config = RuntimeConfig {
            run_dir: path.join("run"),
            cgroup: Path::new("/").join(name),
            program: env!("CARGO_BIN_EXE_gpux-runtime-hidden").into(),
            claims: path.join("claims"),
            ..RuntimeConfig::new(path.join("state"))
        };
        let runtime = EmbeddedRuntime::open(config.clone()).expect("these tests need root");
        let layer = path.join("layer");
        make_layer(&layer, runtime.store_range().first);
        let host = path.join("host");
        fs::create_dir(&host).unwrap();
        fs::set_permissions(&host, fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            config,
            layer,
            host,
            _folder: folder,
        }
    }

    pub(crate) fn open(&self) -> EmbeddedRuntime {
        EmbeddedRuntime::open(self.config.clone()).expect("these tests need root")
    }
}

/// An unpacked layer as the store has it: owned by the store's ids.
fn make_layer(layer: &Path, owner: u32) {
    let probe = build_probe(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the probe compiles");
    fs::create_dir(layer).unwrap();
    fs::copy(probe, layer.join("probe")).unwrap();
    fs::write(layer.join("not-a-program"), "just words\n").unwrap();
    for (name, mode) in [("", 0o755), ("probe", 0o755), ("not-a-program", 0o644)] {
        let path = layer.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
}

/// Ends what a failed test has left, so that it cannot disturb the next one.
impl Drop for Site {
    fn drop(&mut self) {
        for shim in shims_of(&self.config) {
            let _ = rustix::process::kill_process(shim, rustix::process::Signal::KILL);
        }
        for _ in 0..100 {
            let left = cgroup_dirs(&self.config);
            for dir in &left {
                for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                    if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
                let _ = fs::write(dir.join("freezer.state"), "THAWED");
                let _ = fs::remove_dir(dir);
            }
            if left.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// The shims that the leases' records name.
fn shims_of(config: &RuntimeConfig) -> Vec<rustix::process::Pid> {
    let leases = fs::read_dir(config.dir.join("leases")).into_iter().flatten().flatten();
    leases
        .filter_map(|lease| {
            let text = fs::read_to_string(lease.path().join("shim.json")).ok()?;
            let value: serde_json::Value = serde_json::from_str(&text).ok()?;
            let pid = value.pointer("/record/process/pid")?.as_i64()?;
            rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)
        })
        .collect()
}

/// Every folder of the daemon's cgroup in every hierarchy, the deepest first.
fn cgroup_dirs(config: &RuntimeConfig) -> Vec<PathBuf> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            collect(&entry.path(), found);
        }
        found.push(dir.to_owned());
    }
    let name = config.cgroup.strip_prefix("/").unwrap();
    let mut found = Vec::new();
    let root = Path::new("/sys/fs/cgroup");
    collect(&root.join(name), &mut found);
    for hierarchy in fs::read_dir(root).into_iter().flatten().flatten() {
        collect(&hierarchy.path().join(name), &mut found);
    }
    found
}

async fn ground() -> Ground {
    let site = Site::new();
    Ground {
        runtime: Arc::new(site.open()),
        layers: vec![site.layer.clone()],
        host: site.host.clone(),
        keep: Box::new(site),
    }
}

// === what only a kernel can promise ===

fn running(state: &PartState) -> ProcessIdentity {
    let PartState::Running { process } = state else {
        panic!("not running: {state:?}");
    };
    *process
}

/// A ground together with the site it stands on.
fn ground_on(site: &Arc<Site>) -> Ground {
    Ground {
        runtime: Arc::new(site.open()),
        layers: vec![site.layer.clone()],
        host: site.host.clone(),
        keep: Box::new(Arc::clone(site)),
    }
}

/// Waits for something that the kernel does a moment after it was asked.
fn soon(what: &str, fact: impl Fn() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The cgroups of leases and parts; the daemon's own stays.
fn lease_cgroups(site: &Site) -> Vec<PathBuf> {
    let own = site.config.cgroup.strip_prefix("/").unwrap();
    let all = cgroup_dirs(&site.config);
    all.into_iter().filter(|dir| !dir.ends_with(own)).collect()
}

/// Mounts, loop devices, cgroups, processes and folders of the site's leases.
fn assert_nothing_is_left(site: &Site) {
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let here = site.config.run_dir.to_str().unwrap();
    assert!(!own.contains(here), "no mount was ever seen outside the shim");
    soon("the loop devices are free", || {
        fs::read_dir("/sys/block").unwrap().flatten().all(|device| {
            let backing = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            !backing.contains(site.config.dir.to_str().unwrap())
        })
    });
    soon("the shims are gone", || {
        shims_of(&site.config).into_iter().all(|shim| {
            let comm = fs::read_to_string(format!("/proc/{}/stat", shim.as_raw_pid())).unwrap_or_default();
            comm.is_empty() || comm.contains(") Z ")
        })
    });
    let cgroups = lease_cgroups(site);
    assert!(cgroups.is_empty(), "{cgroups:?}");
    assert_eq!(
        fs::read_dir(&site.config.run_dir).unwrap().count(),
        0,
        "no socket, no mount point"
    );
}

#[tokio::test]
async fn a_part_has_no_privileges_and_sees_nothing_of_the_host() {
    let site = Arc::new(Site::new());
    let ground = ground_on(&site);
    let lease = ground.lease(ground.spec()).await;
    assert!(matches!(
        ground.run(lease, 0, &["facts"]).await,
        PartState::Exited { code: 0, .. }
    ));
    let log = ground.log(lease, 0).await;
    for line in [
        "uid 0",
        "pid 1",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "SigBlk:\t0000000000000000",
        // The probe's own: a Rust program ignores SIGPIPE.
        "SigIgn:\t0000000000001000",
        "link lo",
        "mount 1",
        "unshare 1",
        "read /proc/interrupts 0",
        "read /dev/null 0",
        "read /dev/mem -2",
    ] {
        assert!(log.lines().any(|found| found == line), "{line:?} in\n{log}");
    }
    assert_eq!(
        log.lines().filter(|line| line.starts_with("link ")).count(),
        1,
        "lo alone:\n{log}"
    );
    assert!(!log.contains("write /proc/sys 0"), "{log}");
    assert!(
        log.contains("open files 4\n"),
        "the three standard ones and the folder itself:\n{log}"
    );
    ground.destroy(lease).await;
}

#[tokio::test]
async fn a_part_has_its_own_loopback_and_no_other_network() {
    let site = Arc::new(Site::new());
    let ground = ground_on(&site);
    let lease = ground.lease(ground.spec()).await;
    assert!(matches!(
        ground.run(lease, 0, &["loopback"]).await,
        PartState::Exited { code: 0, .. }
    ));
    assert_eq!(ground.log(lease, 0).await, "hello over lo\n");
    let unreachable = ground.run(lease, 1, &["outside"]).await;
    assert!(
        matches!(unreachable, PartState::Exited { code: 101, .. }),
        "ENETUNREACH: {unreachable:?}"
    );
    ground.destroy(lease).await;
}

#[tokio::test]
async fn another_daemon_adopts_the_same_process_and_its_meter() {
    let site = Arc::new(Site::new());
    let first = ground_on(&site);
    let mut spec = first.spec();
    (spec.renew_within, spec.hold) = (Millis(700), Millis(60_000));
    let lease = first.lease(spec).await;
    let process = running(&first.start(lease, 0, &["count", "10"]).await);
    first.printed(lease, 0, "3\n").await;
    let shim = first.runtime.status(lease).await.unwrap().shim.unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", shim.pid)).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, shim.pid.to_string(), "a session of its own");
    drop(first);

    let second = ground_on(&site);
    let frozen = second
        .until(lease, "frozen", |status| status.work == Work::Frozen)
        .await;
    let adopted = second.runtime.adopt().await.unwrap();
    assert_eq!(adopted.len(), 1);
    assert_eq!(adopted[0].lease, lease);
    assert_eq!(adopted[0].shim, Some(shim));
    assert_eq!(
        state_of(&adopted[0], 0).map(running),
        Some(process),
        "the same pid and start time"
    );
    second.runtime.renew(lease).await.unwrap();
    second.runtime.thaw(lease).await.unwrap();
    let printed = second
        .log_from(lease, 0, 0)
        .await
        .bytes
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count();
    second.printed(lease, 0, &format!("\n{printed}\n")).await;
    let now = second.runtime.status(lease).await.unwrap();
    assert!(now.metered >= frozen.metered && now.metered < Millis(2_000), "{now:?}");
    second.destroy(lease).await;
    assert_nothing_is_left(&site);
}

#[tokio::test]
async fn a_killed_shim_loses_its_parts_and_leaves_nothing() {
    let site = Arc::new(Site::new());
    let ground = ground_on(&site);
    let lease = ground.lease(ground.spec()).await;
    ground.run(lease, 0, &["exit", "4"]).await;
    let process = running(&ground.start(lease, 1, &["count", "10"]).await);
    ground.printed(lease, 1, "3\n").await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let before = ground.runtime.status(lease).await.unwrap();
    let shim = before.shim.unwrap();
    let waiting = ground.runtime.wait_change(lease, before.version);
    let (status, ()) = tokio::join!(waiting, async {
        rustix::process::kill_process(pid_of(shim), rustix::process::Signal::KILL).unwrap();
    });
    let status = status.expect("the wait ends with the shim, and what is left is buried");
    assert_eq!(status.work, Work::Gone);
    assert!(
        matches!(state_of(&status, 0), Some(PartState::Exited { code: 4, .. })),
        "its exit was on disk"
    );
    assert_eq!(state_of(&status, 1), Some(&PartState::Lost));
    let lost = before.metered.saturating_sub(status.metered);
    assert!(
        lost <= Millis(1_100),
        "the meter on disk is at most a second old: {lost}"
    );
    assert!(status.metered > Millis::ZERO);
    let usage = ground.destroy(lease).await;
    assert_eq!((usage.end, usage.metered), (LeaseEnd::ShimLost, status.metered));
    soon("the container is gone", || {
        !Path::new(&format!("/proc/{}/exe", process.pid)).exists() || is_zombie(process.pid)
    });
    assert!(ground.log(lease, 1).await.starts_with("0\n1\n"), "the output stays");
    assert_nothing_is_left(&site);
}

fn pid_of(process: ProcessIdentity) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap()
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_frozen_container_of_a_killed_shim_is_killed_at_adoption() {
    let site = Arc::new(Site::new());
    let first = ground_on(&site);
    let lease = first.lease(first.spec()).await;
    first.start(lease, 0, &["count", "10"]).await;
    first.runtime.freeze(lease).await.unwrap();
    let shim = first.runtime.status(lease).await.unwrap().shim.unwrap();
    rustix::process::kill_process(pid_of(shim), rustix::process::Signal::KILL).unwrap();
    drop(first);
    let second = ground_on(&site);
    let adopted = second.runtime.adopt().await.unwrap();
    assert_eq!((adopted.len(), adopted[0].work), (1, Work::Gone));
    assert_eq!(state_of(&adopted[0], 0), Some(&PartState::Lost));
    assert_nothing_is_left(&site);
    second.runtime.forget_lease(lease).await.unwrap();
    assert!(second.runtime.adopt().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_of_another_boot_is_lost_even_if_a_process_has_its_shims_number() {
    let site = Arc::new(Site::new());
    let first = ground_on(&site);
    let lease = first.lease(first.spec()).await;
    first.start(lease, 0, &["nap", "600000"]).await;
    let shim = first.runtime.status(lease).await.unwrap().shim.unwrap();
    rustix::process::kill_process(pid_of(shim), rustix::process::Signal::KILL).unwrap();
    soon("the shim is gone", || {
        is_zombie(shim.pid) || !Path::new(&format!("/proc/{}", shim.pid)).exists()
    });
    let name: String = lease.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let record = site.config.dir.join("leases").join(name).join("shim.json");
    // This test's own process stands in for whoever has the number after a reboot.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let forged = format!(
        r#"{{"version":1,"record":{{"boot_id":"another","process":{{"pid":{},"start_ticks":{start}}}}}}}"#,
        std::process::id()
    );
    fs::write(&record, forged).unwrap();
    let adopted = ground_on(&site).runtime.adopt().await.unwrap();
    fs::remove_file(record).unwrap();
    assert_eq!(state_of(&adopted[0], 0), Some(&PartState::Lost));
    assert_nothing_is_left(&site);
}

#[tokio::test]
async fn a_destroyed_lease_leaves_nothing_on_the_host() {
    let site = Arc::new(Site::new());
    let ground = ground_on(&site);
    let mut spec = ground.spec();
    spec.inputs = vec![ground.input("a", "a"), ground.input("b", "b")];
    let lease = ground.lease(spec).await;
    for part in 0..3 {
        ground.start(lease, part, &["nap", "600000"]).await;
    }
    ground.run(lease, 3, &["eat"]).await;
    ground.destroy(lease).await;
    assert_nothing_is_left(&site);
    ground.runtime.forget_lease(lease).await.unwrap();
    let left: Vec<_> = fs::read_dir(site.config.dir.join("leases"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, [".uid_ranges.lock"]);
}

#[tokio::test]
async fn a_lease_that_its_daemon_left_for_good_cleans_up_after_itself() {
    let site = Arc::new(Site::new());
    let first = ground_on(&site);
    let mut spec = first.spec();
    (spec.renew_within, spec.hold) = (Millis(200), Millis(200));
    let lease = first.lease(spec).await;
    first.start(lease, 0, &["count", "10"]).await;
    let name: String = lease.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    drop(first);
    let last_word = site.config.dir.join("leases").join(name).join("final.json");
    soon("the shim has written the final usage", || last_word.exists());
    soon("no process is left", || lease_cgroups(&site).is_empty());
    let second = ground_on(&site);
    assert_eq!(second.runtime.adopt().await.unwrap()[0].work, Work::Gone);
    assert_eq!(second.destroy(lease).await.end, LeaseEnd::NotRenewed);
    assert_nothing_is_left(&site);
}

#[tokio::test]
async fn a_lease_that_cannot_be_made_leaves_nothing_and_says_why() {
    let site = Arc::new(Site::new());
    let ground = ground_on(&site);
    let mut spec = ground.spec();
    spec.inputs = vec![ground.input("a", "a")];
    fs::remove_file(&spec.inputs[0].source).unwrap();
    let lease = spec.lease;
    let error = ground.runtime.create_lease(spec.clone()).await.unwrap_err();
    let CreateLeaseError::Prepare { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("host/a") && source.errno == 2, "{source:?}");
    assert_nothing_is_left(&site);
    fs::write(&spec.inputs[0].source, "a").unwrap();
    ground
        .runtime
        .create_lease(spec)
        .await
        .expect("the second try is a first one");
    ground.destroy(lease).await;
}

/// Prints how long a start takes; the figure that counts is the benchmark's, in release and against `runc`.
#[tokio::test]
async fn a_start_is_timed() {
    let site = Arc::new(Site::new());
    let ground = ground_on(&site);
    let started = Instant::now();
    let lease = ground.lease(ground.spec()).await;
    let made = started.elapsed();
    let mut times = Vec::new();
    for part in 0..20 {
        let started = Instant::now();
        ground.start(lease, part, &["exit", "0"]).await;
        times.push(started.elapsed());
        let ended = ground.ended(lease, part).await;
        assert!(matches!(ended, PartState::Exited { code: 0, .. }), "{ended:?}");
    }
    times.sort_unstable();
    println!(
        "lease made in {made:?}; create to exec: p50 {:?}, p95 {:?}, max {:?}",
        times[10], times[18], times[19]
    );
    let started = Instant::now();
    ground.destroy(lease).await;
    println!("destroyed in {:?}", started.elapsed());
    assert!(times[10] < Duration::from_secs(1));
}

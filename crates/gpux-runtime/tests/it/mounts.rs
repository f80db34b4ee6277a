//! Disks and root file systems on the real kernel.

use crate::support::{loop_devices_below, mounts_below, program, require_root};
use gpux_runtime::{Disk, DiskError, DiskRequest, Rootfs, RootfsRequest, UidRange, UserNamespace, mount_rootfs};
use gpux_types::ByteSize;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const STORE: UidRange = UidRange { first: 0x7000_0000 };
const LEASE: UidRange = UidRange { first: 0x7003_0000 };

/// A lease's folder with a disk, two layers, and the guards in the order in which they must go.
struct Bench {
    dir: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        require_root();
        let dir = tempfile::tempdir().unwrap();
        let layers: Vec<PathBuf> = ["top", "base"].iter().map(|name| dir.path().join(name)).collect();
        for layer in &layers {
            fs::create_dir(layer).unwrap();
            chown(layer, Some(STORE.first), Some(STORE.first)).unwrap();
        }
        for name in ["disk", "root"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, layers }
    }

    fn disk(&self, size: u64) -> Result<Disk, DiskError> {
        Disk::mount(&DiskRequest {
            file: &self.dir.path().join("disk.img"),
            size: ByteSize(size),
            mount_point: &self.dir.path().join("disk"),
            owner: LEASE,
        })
    }

    fn rootfs(&self, disk: &Disk) -> Rootfs {
        let ids = UserNamespace::of_mount(program(), STORE, LEASE).unwrap();
        let dirs = disk.new_upper("part-0").unwrap();
        mount_rootfs(&RootfsRequest {
            layers: &self.layers,
            ids: &ids,
            upper: &dirs.upper,
            work: &dirs.work,
            target: &self.dir.path().join("root"),
        })
        .unwrap()
    }

    fn put(&self, layer: usize, path: &str, owner: u32) -> PathBuf {
        let file = self.layers[layer].join(path);
        fs::write(&file, path).unwrap();
        chown(&file, Some(STORE.first + owner), Some(STORE.first + owner)).unwrap();
        file
    }

    fn assert_nothing_left(&self) {
        assert_eq!(mounts_below(self.dir.path()), Vec::<PathBuf>::new());
        // The kernel clears a loop device just after the unmount that freed it has returned.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !loop_devices_below(self.dir.path()).is_empty() {
            assert!(
                Instant::now() < deadline,
                "loop devices stay: {:?}",
                loop_devices_below(self.dir.path())
            );
            std::thread::yield_now();
        }
        assert!(!self.dir.path().join("disk.img").exists());
        assert!(!self.dir.path().join("root.layers").exists());
    }
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[test]
fn files_of_the_image_appear_with_the_leases_owners_and_keep_them_when_written() {
    let bench = Bench::new();
    bench.put(1, "of-root", 0);
    let suid = bench.put(1, "of-1000", 1_000);
    fs::set_permissions(&suid, fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("of-root", bench.layers[1].join("link")).unwrap();
    lchown(
        bench.layers[1].join("link"),
        Some(STORE.first + 65_535),
        Some(STORE.first),
    )
    .unwrap();
    let disk = bench.disk(64 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    let root = rootfs.path();

    assert_eq!(owner(root), (LEASE.first, LEASE.first));
    assert_eq!(owner(&root.join("of-root")), (LEASE.first, LEASE.first));
    assert_eq!(owner(&root.join("of-1000")), (LEASE.first + 1_000, LEASE.first + 1_000));
    assert_eq!(owner(&root.join("link")), (LEASE.first + 65_535, LEASE.first));

    let mut file = fs::OpenOptions::new().append(true).open(root.join("of-1000")).unwrap();
    file.write_all(b" more").unwrap();
    assert_eq!(
        owner(&root.join("of-1000")),
        (LEASE.first + 1_000, LEASE.first + 1_000),
        "after copy-up"
    );
    assert_eq!(
        fs::read_to_string(&suid).unwrap(),
        "of-1000",
        "the layer itself is never written"
    );
    drop(file);

    rootfs.unmount().unwrap();
    disk.unmount().unwrap();
    bench.assert_nothing_left();
}

#[test]
fn the_topmost_layer_wins_and_its_whiteouts_hide_what_is_below() {
    let bench = Bench::new();
    bench.put(1, "both", 0);
    bench.put(1, "gone", 0);
    let top = bench.put(0, "both", 7);
    fs::write(&top, "from the top").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.layers[0].join("gone"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    let disk = bench.disk(64 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    assert_eq!(fs::read_to_string(rootfs.path().join("both")).unwrap(), "from the top");
    assert!(!rootfs.path().join("gone").exists());
}

#[test]
fn a_file_of_an_owner_outside_the_store_belongs_to_nobody() {
    let bench = Bench::new();
    let file = bench.layers[1].join("of-the-host");
    fs::write(&file, "x").unwrap();
    chown(&file, Some(0), Some(0)).unwrap();
    let disk = bench.disk(64 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    assert_eq!(owner(&rootfs.path().join("of-the-host")), (65_534, 65_534));
}

#[test]
fn a_full_disk_says_no_space_and_nothing_else() {
    let bench = Bench::new();
    let disk = bench.disk(16 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    let mut file = fs::File::create(rootfs.path().join("big")).unwrap();
    let chunk = vec![7u8; 1 << 20];
    let mut written = 0u32;
    let error = loop {
        match file.write_all(&chunk).and_then(|()| file.sync_data()) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 16, "a disk of 16 MiB took more than it has");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(written >= 12, "a disk of 16 MiB held only {written} MiB");
}

#[test]
fn dropped_guards_leave_nothing_behind() {
    let bench = Bench::new();
    let disk = bench.disk(64 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    assert_eq!(
        mounts_below(bench.dir.path()).len(),
        2,
        "the disk and the overlay, no staged layer"
    );
    assert!(!loop_devices_below(bench.dir.path()).is_empty());
    drop(rootfs);
    drop(disk);
    bench.assert_nothing_left();
}

#[test]
fn a_busy_root_file_system_is_reported_and_goes_with_its_last_user() {
    let bench = Bench::new();
    let disk = bench.disk(64 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    let held = fs::File::create(rootfs.path().join("held")).unwrap();
    rootfs.unmount().unwrap_err();
    drop(held);
    disk.unmount().unwrap();
    bench.assert_nothing_left();
}

#[test]
fn a_disk_that_cannot_be_formatted_leaves_nothing() {
    let bench = Bench::new();
    assert!(matches!(bench.disk(1 << 20), Err(DiskError::TooSmall { .. })));
    fs::remove_dir(bench.dir.path().join("disk")).unwrap();
    let error = bench.disk(64 << 20).unwrap_err();
    assert!(matches!(error, DiskError::Mount { .. }), "{error}");
    bench.assert_nothing_left();
}

#[test]
fn many_layers_fit_the_mount_options() {
    let mut bench = Bench::new();
    let base = bench.layers.pop().unwrap();
    for index in 0..125 {
        let layer = bench.dir.path().join(format!("{index}-{}", "n".repeat(100)));
        fs::create_dir(&layer).unwrap();
        bench.layers.push(layer);
    }
    bench.layers.push(base);
    bench.put(126, "at-the-bottom", 0);
    let disk = bench.disk(64 << 20).unwrap();
    let rootfs = bench.rootfs(&disk);
    assert!(rootfs.path().join("at-the-bottom").exists());
    drop(rootfs);
    drop(disk);
    bench.assert_nothing_left();
}

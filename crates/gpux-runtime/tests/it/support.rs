//! What the tests of this crate share: the program with the hidden verbs, and looking at the machine's mounts and loop devices.

use std::fs;
use std::path::{Path, PathBuf};

/// The binary that answers to the hidden verbs.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gpux-runtime-hidden"))
}

/// Fails the test, rather than skipping it, where it cannot mount anything.
pub(crate) fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test mounts file systems and maps user ids: run it as root"
    );
}

/// The mounts at or below `path`.
pub(crate) fn mounts_below(path: &Path) -> Vec<PathBuf> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(path))
        .collect()
}

/// The loop devices whose file is (or was) at or below `path`.
pub(crate) fn loop_devices_below(path: &Path) -> Vec<PathBuf> {
    let name = path.to_str().unwrap();
    fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path().join("loop/backing_file")))
        .filter(|file| fs::read_to_string(file).is_ok_and(|text| text.starts_with(name)))
        .collect()
}

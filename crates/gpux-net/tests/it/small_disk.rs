//! A small file system in memory, which a test fills. For the tests of this crate inside and outside of it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Its folder; unmounted when the disk goes.
pub(crate) struct SmallDisk(pub(crate) Arc<tempfile::TempDir>);

impl SmallDisk {
    /// Fails the test, rather than skipping it, where nothing can be mounted.
    pub(crate) fn mount(mib: u32) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let size = format!("size={mib}M");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &size, "small"])
            .arg(dir.path())
            .output();
        let mounted = mounted.unwrap();
        assert!(
            mounted.status.success(),
            "mounting a small file system needs root: {mounted:?}"
        );
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let mut block = vec![1; 1 << 20];
        while !block.is_empty() {
            match filler.write(&block) {
                Ok(0) | Err(_) => block.truncate(block.len() / 2),
                Ok(_) => {}
            }
        }
    }

    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

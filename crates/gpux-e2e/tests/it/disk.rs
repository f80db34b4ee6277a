//! File systems of a test's own, which it fills, and whose power it cuts.

use super::{
    market::{Daemon, Market},
    wait::wait_for,
};
use gpux_types::ByteSize;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);

/// What makes ext4 take nothing more and forget what it did not write, journal and all: `EXT4_IOC_SHUTDOWN` with
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`, from the kernel's `fs/ext4/ext4.h`.
const CUT: &str = "import fcntl, os, struct, sys\n\
     fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 2 << 30 | 4 << 16 | ord('X') << 8 | 125, struct.pack('I', 2))";

/// A file system of a test's own.
pub(crate) struct Disk {
    /// The file that holds it; of one in memory none.
    image: PathBuf,
    pub(crate) at: PathBuf,
}

impl Disk {
    /// An empty one in memory, at a folder of the market's own.
    pub(crate) fn in_memory(market: &Market, name: &str, size: &str) -> Self {
        let at = market.path().join(name);
        fs::create_dir(&at).unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={size}"), name, path(&at)],
        );
        let image = PathBuf::new();
        Self { image, at }
    }

    /// Stops the daemon, moves its folder onto a disk of its own, and starts it there.
    pub(crate) fn in_place_of(market: &mut Market, name: &str) -> Self {
        Self::of_daemon(market, name, "1G")
    }

    /// The same, on a disk of that size.
    pub(crate) fn of_daemon(market: &mut Market, name: &str, size: &str) -> Self {
        let daemon = market.daemon(name);
        daemon.process.signal("TERM");
        wait_for("the daemon to end", MINUTE, || (!daemon.process.runs()).then_some(()));
        let kept = market.path().join(format!("{name}.kept"));
        fs::rename(&daemon.dir, &kept).unwrap();
        fs::create_dir(&daemon.dir).unwrap();
        let disk = Self::make(market, name, daemon.dir, size);
        run("cp", &["--archive", &format!("{}/.", path(&kept)), path(&disk.at)]);
        run("sync", &["--file-system", path(&disk.at)]);
        let began = Instant::now();
        market.restart(name);
        if name.starts_with("provider") {
            // Its offer went with its first life.
            market.await_offer(name, began);
        }
        disk
    }

    fn make(market: &Market, name: &str, at: PathBuf, size: &str) -> Self {
        let image = market.path().join(format!("{name}.disk"));
        let disk = Self { image, at };
        run("truncate", &["--size", size, path(&disk.image)]);
        // Nothing is kept for root: full is full.
        run("mkfs.ext4", &["-q", "-m", "0", path(&disk.image)]);
        disk.mount();
        disk
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", path(&self.image), path(&self.at)]);
    }

    /// Fills it to its last byte.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let mut block = vec![1; 1 << 20];
        while !block.is_empty() {
            match filler
                .write(&block)
                .and_then(|written| filler.sync_data().map(|()| written))
            {
                Ok(0) | Err(_) => block.truncate(block.len() / 2),
                Ok(_) => {}
            }
        }
    }

    /// Fills it until `left` bytes are free.
    pub(crate) fn fill_but(&self, left: ByteSize) {
        let told = Command::new("df")
            .args(["--output=avail", "--block-size=1"])
            .arg(&self.at)
            .output();
        let told = String::from_utf8(told.unwrap().stdout).unwrap();
        let free: u64 = told.lines().last().unwrap().trim().parse().unwrap();
        let taken = free.checked_sub(left.0).expect("so much is free");
        run("fallocate", &["--length", &taken.to_string(), path(&self.filler())]);
    }

    /// Gives back what filled it.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Cuts the power: what is not on the disk never will be.
    pub(crate) fn cut(&self) {
        run("python3", &["-c", CUT, path(&self.at)]);
    }

    /// Gives the power back. What is on the disk is copied: containers of other daemons see the dead file system in their own
    /// view of the mounts, so that the kernel would give it out again.
    pub(crate) fn again(&mut self, daemon: &Daemon) {
        wait_for("the daemon to be gone", MINUTE, || {
            (!daemon.process.runs()).then_some(())
        });
        run("umount", &["--recursive", "--lazy", path(&self.at)]);
        let dead = self.image.clone();
        self.image.set_extension("again");
        run("cp", &["--sparse=always", path(&dead), path(&self.image)]);
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Below the market's own end, which removes the folder. A disk that is in use goes with its last user.
        let unmount = |how: &[&str]| Command::new("umount").args(how).arg(&self.at).output();
        let gone = unmount(&["--recursive"]).is_ok_and(|done| done.status.success());
        if !gone {
            let _ = unmount(&["--recursive", "--lazy"]);
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program} {words:?}: {done:?}");
}

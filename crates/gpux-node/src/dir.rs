//! The daemon's folder: what lies where, and the small files by which commands find a running daemon.

use gpux_types::ByteSize;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of one daemon.
#[derive(Debug, Clone)]
pub struct DaemonDir(PathBuf);

/// Where a running daemon's API listens, and the token that it wants.
#[derive(Debug, Clone)]
pub struct ApiAddress {
    /// The listening socket, on the loopback.
    pub socket: SocketAddr,
    /// The bearer token.
    pub token: String,
    /// The daemon's process.
    pub pid: u32,
    /// A ticket by which peers find the node.
    pub ticket: String,
}

/// What `daemon.json` holds: no secret.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    pid: u32,
    socket: SocketAddr,
    ticket: String,
}

impl DaemonDir {
    /// The folder at `path`, which need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Where the wallet's password is when the configuration names no other file.
    #[must_use]
    pub fn password(&self) -> PathBuf {
        self.0.join("wallet.password")
    }

    /// What a detached daemon writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("daemon.log")
    }

    /// The encrypted wallet.
    #[must_use]
    pub fn wallet(&self) -> PathBuf {
        self.0.join("wallet.json")
    }

    /// The provider's hot signer.
    #[must_use]
    pub fn signer_key(&self) -> PathBuf {
        self.0.join("signer.key")
    }

    /// The endpoint's secret key.
    #[must_use]
    pub fn endpoint_key(&self) -> PathBuf {
        self.0.join("endpoint.key")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("state.sqlite")
    }

    /// The blob store.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// What the container runtime keeps.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }

    /// Unpacked layers.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.0.join("layers")
    }

    /// Images of registries, and notes about local ones.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// Files of one lease or job while it lives.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.0.join("scratch").join(name)
    }

    fn running_file(&self) -> PathBuf {
        self.0.join("daemon.json")
    }

    fn token_file(&self) -> PathBuf {
        self.0.join("token")
    }

    /// Makes the folder, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Where the running daemon listens, or `None` when none has said so.
    #[must_use]
    pub fn read_api_address(&self) -> Option<ApiAddress> {
        let running: Running = serde_json::from_slice(&std::fs::read(self.running_file()).ok()?).ok()?;
        let token = std::fs::read_to_string(self.token_file()).ok()?;
        Some(ApiAddress {
            socket: running.socket,
            token,
            pid: running.pid,
            ticket: running.ticket,
        })
    }

    /// Tells commands where this process listens.
    pub(crate) fn write_api_address(&self, socket: SocketAddr, token: &str, ticket: String) -> io::Result<()> {
        write_private(&self.token_file(), token.as_bytes())?;
        let running = Running {
            pid: std::process::id(),
            socket,
            ticket,
        };
        let text = serde_json::to_vec(&running).map_err(io::Error::other)?;
        write_private(&self.running_file(), &text)
    }

    /// Takes the word back.
    pub(crate) fn remove_api_address(&self) {
        // Nothing is lost when the file stays: commands try the address and find nobody there.
        let _ = std::fs::remove_file(self.running_file());
    }

    /// The key in `file`, made at random (0600) when there is none.
    pub(crate) fn secret(&self, file: &Path) -> io::Result<[u8; 32]> {
        match std::fs::read(file) {
            Ok(bytes) => bytes
                .try_into()
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected 32 bytes")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret: [u8; 32] = rand::random();
                write_private(file, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error),
        }
    }
}

/// A new file that only its owner can read, from its first moment on. What is there already is an error: it may be open to others.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    private_options().write(true).create_new(true).open(path)
}

/// How files are made that nobody else may read.
fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Replaces `path` in one step with a file that only its owner can read, and returns when it is on the disk: a key that a
/// power cut takes back would take with it what is owed to it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new.{}", std::process::id()));
    // What an earlier process of that number left is nobody's, and has whatever permissions it has.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_private(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The file at `path`, readable by its owner only: made so when there is none, and made so now when it was not.
pub(crate) fn ensure_private(path: &Path) -> io::Result<()> {
    match create_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => close_to_others(path),
        made => made.map(drop),
    }
}

/// Takes from others what they may do with a file that an earlier version made.
pub(crate) fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Starts a daemon for the folder in a session of its own, so that it outlives the command; gives its process id.
///
/// # Errors
/// When its log cannot be opened or the program cannot be started.
pub fn spawn_daemon(dir: &Path) -> io::Result<u32> {
    use std::os::unix::process::CommandExt;
    let files = DaemonDir::new(dir);
    files.create()?;
    let log = private_options().create(true).append(true).open(files.log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("daemon").arg("--detached").arg("--dir").arg(dir);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let child = command.spawn()?;
    Ok(child.id())
}

/// The last `lines` lines of a file, of at most its last 64 KiB.
///
/// # Errors
/// When it cannot be read.
pub fn tail_of_file(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(64 << 10)))?;
    let mut bytes = Vec::new();
    file.take(64 << 10).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all
        .get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n"))
}

/// What is free for this daemon on the file system of `path`.
pub(crate) fn free(path: &Path) -> io::Result<ByteSize> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(ByteSize(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::inotify;
    use std::mem::MaybeUninit;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Fails unless all that `make` leaves in the folder is its owner's alone, and was so from its first moment on: without a umask
    /// each file has the permissions that it was made with, and the kernel tells of any that were changed.
    fn assert_private(folder: &Path, make: impl FnOnce()) {
        rustix::process::umask(rustix::fs::Mode::empty());
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, folder, inotify::WatchFlags::ATTRIB).unwrap();
        make();
        let mut buffer = [MaybeUninit::uninit(); 4_096];
        let changed = inotify::Reader::new(&watch, &mut buffer)
            .next()
            .map(|event| format!("{event:?}"));
        assert_eq!(changed, Err(rustix::io::Errno::AGAIN), "its permissions were changed");
        let files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!files.is_empty());
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }

    #[test]
    fn keys_and_the_token_are_their_owners_alone_from_their_first_moment_on() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DaemonDir::new(folder.path());
        assert_private(folder.path(), || {
            dir.secret(&dir.endpoint_key()).unwrap();
            dir.write_api_address("127.0.0.1:1".parse().unwrap(), "a token", "a ticket".to_owned())
                .unwrap();
            write_private(&dir.password(), b"a password").unwrap();
            ensure_private(&dir.database()).unwrap();
        });
    }

    #[test]
    fn a_secret_is_never_written_into_a_file_that_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let left = path.with_extension(format!("new.{}", std::process::id()));
        for file in [&path, &left] {
            std::fs::write(file, "of others").unwrap();
            std::fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap();
        }
        let mut theirs = File::open(&left).unwrap();
        write_private(&path, b"a token").unwrap();
        assert_eq!(mode(&path), 0o600);
        let mut seen = String::new();
        theirs.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "of others", "who has the old one open reads nothing new");
    }

    #[test]
    fn the_folder_is_its_owners_alone_whatever_the_umask() {
        rustix::process::umask(rustix::fs::Mode::empty());
        let folder = tempfile::tempdir().unwrap();
        let dir = DaemonDir::new(&folder.path().join("daemon"));
        dir.create().unwrap();
        assert_eq!(mode(dir.path()), 0o700);
    }
}

//! The daemon's folder: what lies where, and the small files by which commands find a running daemon.

use gpux_types::ByteSize;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
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

/// Replaces `path` in one step with a file that only its owner can read, and returns when it is on the disk: a key that a
/// power cut takes back would take with it what is owed to it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Starts a daemon for the folder in a session of its own, so that it outlives the command; gives its process id.
///
/// # Errors
/// When its log cannot be opened or the program cannot be started.
pub fn spawn_daemon(dir: &Path) -> io::Result<u32> {
    use std::os::unix::process::CommandExt;
    let files = DaemonDir::new(dir);
    files.create()?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(files.log())?;
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
    let mut file = std::fs::File::open(path)?;
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

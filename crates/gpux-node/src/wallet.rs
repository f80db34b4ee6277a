//! Making and opening the daemon's wallet. The password comes from a file that the configuration names.

use crate::{config::WalletSection, dir::DaemonDir};
use gpux_chain::{KdfCost, KeyFileError, KeyFileKind, WalletKey};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A wallet that cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The folder cannot be made.
    #[error("making the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The password cannot be read.
    #[error("reading the wallet's password from {path}")]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The keystore does not say whose it is.
    #[error("reading the address of the wallet {0}: the keystore does not name it")]
    NoAddress(PathBuf),
    /// A key was typed where a file is named.
    #[error("reading the key file: that is no file, but looks like a private key")]
    KeyTyped,
    /// The key cannot be taken over.
    #[error("taking over a key")]
    Import(#[source] KeyFileError),
    /// The keystore cannot be made or opened.
    #[error("opening the wallet {path}")]
    Keystore {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyFileError,
    },
}

/// Makes a wallet in the daemon's folder, encrypted with `password`; gives its address.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn new_wallet(dir: &DaemonDir, password: &[u8]) -> Result<String, WalletError> {
    create(dir, password, KdfCost::Standard).map(|key| key.address().to_string())
}

/// Where a key comes from that another program made.
#[derive(Clone, Copy)]
pub enum KeySource<'a> {
    /// A file: a keystore, or the key's digits.
    File(&'a Path),
    /// The digits, as they were typed.
    Typed(&'a str),
}

impl std::fmt::Debug for KeySource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Typed(_) => f.write_str("Typed"),
        }
    }
}

/// What the file at `path` holds, so that the right password is asked for.
///
/// # Errors
/// When it cannot be read, or others may read it. One that looks like a key is not repeated.
pub fn key_file_kind(path: &Path) -> Result<KeyFileKind, WalletError> {
    let typed = path.as_os_str().as_encoded_bytes();
    let digits = typed.strip_prefix(b"0x").unwrap_or(typed);
    if digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(WalletError::KeyTyped);
    }
    KeyFileKind::of(path).map_err(WalletError::Import)
}

/// Takes over a key into a new wallet in the daemon's folder; gives its address. A keystore keeps its password.
///
/// # Errors
/// When there is a wallet already, the source holds no key, the password does not open it, or the wallet cannot be written.
pub fn import_wallet(dir: &DaemonDir, source: KeySource<'_>, password: &[u8]) -> Result<String, WalletError> {
    make_folder(dir)?;
    let (to, cost) = (dir.wallet(), KdfCost::Standard);
    let key = match source {
        KeySource::File(from) => WalletKey::import_file(from, &to, password, cost),
        KeySource::Typed(digits) => WalletKey::import_typed(digits, &to, password, cost),
    };
    key.map(|key| key.address().to_string()).map_err(WalletError::Import)
}

/// The address of the wallet in the daemon's folder; needs no password.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn wallet_address(dir: &DaemonDir) -> Result<String, WalletError> {
    let address = gpux_chain::keystore_address(&dir.wallet());
    let address = address.map_err(|source| WalletError::Keystore {
        path: dir.wallet(),
        source,
    })?;
    address
        .map(|address| address.to_string())
        .ok_or_else(|| WalletError::NoAddress(dir.wallet()))
}

pub(crate) fn create(dir: &DaemonDir, password: &[u8], cost: KdfCost) -> Result<WalletKey, WalletError> {
    make_folder(dir)?;
    WalletKey::create(&dir.wallet(), password, cost).map_err(|source| WalletError::Keystore {
        path: dir.wallet(),
        source,
    })
}

fn make_folder(dir: &DaemonDir) -> Result<(), WalletError> {
    dir.create().map_err(|source| WalletError::Folder {
        path: dir.path().to_owned(),
        source,
    })
}

pub(crate) fn open(dir: &DaemonDir, section: &WalletSection) -> Result<WalletKey, WalletError> {
    let path = section.password_file.clone().unwrap_or_else(|| dir.password());
    let password = std::fs::read(&path).map(Zeroizing::new);
    let mut password = password.map_err(|source| WalletError::Password { path, source })?;
    while matches!(password.last(), Some(b'\n' | b'\r')) {
        password.pop();
    }
    WalletKey::open(&dir.wallet(), &password).map_err(|source| WalletError::Keystore {
        path: dir.wallet(),
        source,
    })
}

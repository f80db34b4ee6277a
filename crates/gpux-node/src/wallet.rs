//! Making and opening the daemon's wallet. The password comes from a file that the configuration names.

use crate::{config::WalletSection, dir::DaemonDir};
use gpux_chain::{KdfCost, KeyFileError, WalletKey};
use std::path::PathBuf;
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
    dir.create().map_err(|source| WalletError::Folder {
        path: dir.path().to_owned(),
        source,
    })?;
    WalletKey::create(&dir.wallet(), password, cost).map_err(|source| WalletError::Keystore {
        path: dir.wallet(),
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

//! Keys that sign for one person or one lease: the wallet key and the hot keys.
//!
//! Callers ask for signatures over 32-byte digests and never see a secret, except through
//! [`HotKey::to_bytes`], which exists so that a daemon can keep the receipt key of a job in its own store.
//!
//! Invariant: no `Debug`, `Display` or error text of this module contains a secret or a password.

use crate::keystore::{self, KdfCost};
use gpux_types::{Address, B256};
use k256::ecdsa::SigningKey;
use rand::TryRngCore;
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

pub use alloy::primitives::Signature;

/// Bytes of a key file that is read at most: a keystore has about 500.
const MAX_KEY_FILE_BYTES: u64 = 16 * 1024;

/// Something that owns a secp256k1 key and signs digests with it.
pub trait DigestSigner: fmt::Debug + Send + Sync + 'static {
    /// Whose signatures these are.
    fn address(&self) -> Address;

    /// The signature of `digest`, with `s` in the lower half.
    fn sign_digest(&self, digest: B256) -> Signature;
}

/// A key file that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be written or read.
    #[error("opening the key file {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a file already, and keys are never overwritten.
    #[error("creating the key file {}: it exists already", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Others than its owner may read the file.
    #[error("opening the key file {}: its mode is {mode:o}, expected 600", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not a key.
    #[error("reading the key file {}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyContentError,
    },
}

/// The content of a key file that is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyContentError {
    /// Not a keystore of version 3.
    #[error("decoding the keystore")]
    Json(#[source] serde_json::Error),
    /// A keystore with something that this program does not open.
    #[error("decoding the keystore: {what} is not supported or out of range")]
    Unsupported {
        /// The field.
        what: &'static str,
    },
    /// The password does not open the keystore.
    #[error("opening the keystore: the password is wrong")]
    WrongPassword,
    /// Not the digits of a key.
    #[error("reading a private key: expected 64 hexadecimal digits, or a keystore of version 3")]
    Digits,
    /// The bytes are no secret key.
    #[error("checking the key")]
    Key(#[source] InvalidKey),
    /// The address written beside the key is not the key's.
    #[error("checking the keystore: it names {named}, its key is that of {actual}")]
    WrongAddress {
        /// What the file says.
        named: Address,
        /// Whose key it is.
        actual: Address,
    },
}

/// Bytes that are no secp256k1 secret key: zero, too large, or not 32 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a secp256k1 secret key")]
pub struct InvalidKey;

/// A secp256k1 secret key; its memory is wiped when it goes.
#[derive(Clone)]
pub(crate) struct Secret {
    key: SigningKey,
    address: Address,
}

impl Secret {
    fn generate() -> Self {
        loop {
            // One in 2^128 draws is no key.
            if let Ok(secret) = Self::from_bytes(random_bytes::<32>().as_slice()) {
                return secret;
            }
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        // The curve's library would pad a shorter text.
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| InvalidKey)?;
        let key = SigningKey::from_slice(bytes).map_err(|_| InvalidKey)?;
        let address = Address::from_private_key(&key);
        Ok(Self { key, address })
    }

    fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes().into())
    }

    fn sign(&self, digest: B256) -> Signature {
        let (signature, recovery) = self
            .key
            .sign_prehash_recoverable(digest.as_slice())
            .expect("signing fails only for a digest shorter than half the curve's order, and this one has 32 bytes");
        Signature::from((signature, recovery))
    }
}

/// Random bytes from the operating system.
pub(crate) fn random_bytes<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::rngs::OsRng
        .try_fill_bytes(bytes.as_mut_slice())
        .expect("the kernel's random source answers once the system has started");
    bytes
}

/// The key that owns money: kept in an encrypted keystore file, signs transactions.
#[derive(Clone)]
pub struct WalletKey(Secret);

impl WalletKey {
    /// A fresh key in a new keystore at `path`, which only its owner can read.
    ///
    /// # Errors
    /// When the file exists already or cannot be written.
    pub fn create(path: &Path, password: &[u8], cost: KdfCost) -> Result<Self, KeyFileError> {
        Self::store(path, password, cost, Secret::generate())
    }

    /// An existing secret in a new keystore at `path`.
    ///
    /// # Errors
    /// When the bytes are no key, or as [`WalletKey::create`].
    pub fn import(path: &Path, password: &[u8], cost: KdfCost, secret: &[u8; 32]) -> Result<Self, KeyFileError> {
        let secret = Secret::from_bytes(secret).map_err(|source| KeyFileError::Content {
            path: path.into(),
            source: KeyContentError::Key(source),
        })?;
        Self::store(path, password, cost, secret)
    }

    /// A key that is in no file, for a simulated world: its money is not real.
    ///
    /// # Errors
    /// When the bytes are no key.
    pub fn without_file(secret: &[u8; 32]) -> Result<Self, InvalidKey> {
        Secret::from_bytes(secret).map(Self)
    }

    pub(crate) fn store(path: &Path, password: &[u8], cost: KdfCost, secret: Secret) -> Result<Self, KeyFileError> {
        let text = keystore::encrypt(&secret.to_bytes(), secret.address, password, cost);
        write_new(path, text.as_bytes())?;
        Ok(Self(secret))
    }

    /// The key in the keystore at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, it is no keystore, or the password is wrong.
    pub fn open(path: &Path, password: &[u8]) -> Result<Self, KeyFileError> {
        let text = read_bounded(path)?;
        let content = |source| KeyFileError::Content {
            path: path.into(),
            source,
        };
        let (secret, named) = keystore::decrypt(&text, password).map_err(content)?;
        let secret = Secret::from_bytes(secret.as_slice()).map_err(|error| content(KeyContentError::Key(error)))?;
        match named {
            Some(named) if named != secret.address => Err(content(KeyContentError::WrongAddress {
                named,
                actual: secret.address,
            })),
            _ => Ok(Self(secret)),
        }
    }

    /// What it signs with, for another keystore.
    pub(crate) fn into_secret(self) -> Secret {
        self.0
    }

    /// The address that owns the money.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address
    }

    /// The signature of `digest`, with `s` in the lower half.
    #[must_use]
    pub fn sign_digest(&self, digest: B256) -> Signature {
        self.0.sign(digest)
    }
}

/// The address that the keystore at `path` says it is for, read without the password; `None` when it names none.
///
/// # Errors
/// When the file cannot be read or is no keystore.
pub fn keystore_address(path: &Path) -> Result<Option<Address>, KeyFileError> {
    let text = read_bounded(path)?;
    keystore::address(&text).map_err(|source| KeyFileError::Content {
        path: path.into(),
        source,
    })
}

/// A key that a daemon uses without a password: the receipt key of a job, or the provider signer.
#[derive(Clone)]
pub struct HotKey(Secret);

impl HotKey {
    /// A fresh key that is nowhere but in memory.
    #[must_use]
    pub fn generate() -> Self {
        Self(Secret::generate())
    }

    /// The key with this secret.
    ///
    /// # Errors
    /// When the bytes are no secp256k1 secret key.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, InvalidKey> {
        Secret::from_bytes(secret).map(Self)
    }

    /// The secret itself, for the owner's own store.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.to_bytes()
    }

    /// A fresh key in a new file of 32 bytes at `path`, which only its owner can read.
    ///
    /// # Errors
    /// When the file exists already or cannot be written.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let key = Self::generate();
        write_new(path, key.to_bytes().as_slice())?;
        Ok(key)
    }

    /// The key in the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it holds no key.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = read_bounded(path)?;
        Secret::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| KeyFileError::Content {
                path: path.into(),
                source: KeyContentError::Key(error),
            })
    }

    /// The key in the file at `path`, which is made when there is none.
    ///
    /// # Errors
    /// As [`HotKey::open`] and [`HotKey::create`].
    pub fn open_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::open(path) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::create(path),
            other => other,
        }
    }

    /// The address whose signatures these are.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address
    }

    /// The signature of `digest`, with `s` in the lower half.
    #[must_use]
    pub fn sign_digest(&self, digest: B256) -> Signature {
        self.0.sign(digest)
    }
}

impl DigestSigner for WalletKey {
    fn address(&self) -> Address {
        self.address()
    }

    fn sign_digest(&self, digest: B256) -> Signature {
        self.sign_digest(digest)
    }
}

impl DigestSigner for HotKey {
    fn address(&self) -> Address {
        self.address()
    }

    fn sign_digest(&self, digest: B256) -> Signature {
        self.sign_digest(digest)
    }
}

impl fmt::Debug for WalletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletKey({})", self.0.address)
    }
}

impl fmt::Debug for HotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HotKey({})", self.0.address)
    }
}

/// Writes a new file that only its owner can read, and returns when it is on the disk.
fn write_new(path: &Path, content: &[u8]) -> Result<(), KeyFileError> {
    let io_error = |source: io::Error| {
        let path = path.into();
        if source.kind() == io::ErrorKind::AlreadyExists {
            KeyFileError::Exists { path }
        } else {
            KeyFileError::Io { path, source }
        }
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // A key file with half a key in it would block the next attempt; the key was never used.
        let _ = std::fs::remove_file(path);
        return Err(io_error(source));
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error)
}

pub(crate) fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    use std::os::unix::fs::PermissionsExt;
    let io_error = |source| KeyFileError::Io {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.into(),
            mode,
        });
    }
    let mut content = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_end(&mut content)
        .map_err(io_error)?;
    Ok(content)
}

#[cfg(test)]
mod tests;

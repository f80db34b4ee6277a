//! Taking over a key that another program made, into a keystore of our own. The command line asks; the file it came from is left as it
//! is.
//!
//! Invariant: as in `keys`, nothing that is shown or logged holds a secret or a password, and copies in memory are wiped.

use crate::{
    keys::{KeyContentError, KeyFileError, Secret, WalletKey, read_bounded},
    keystore::KdfCost,
};
use std::path::Path;
use zeroize::Zeroizing;

/// What a file that somebody wants to import holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFileKind {
    /// A keystore of version 3, which a password opens.
    Keystore,
    /// The key itself, in hexadecimal digits.
    Bare,
}

impl KeyFileKind {
    /// What the file at `path` holds, by its first character.
    ///
    /// # Errors
    /// When it cannot be read, or others may read it.
    pub fn of(path: &Path) -> Result<Self, KeyFileError> {
        let text = read_bounded(path)?;
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        Ok(if first == Some(&b'{') {
            Self::Keystore
        } else {
            Self::Bare
        })
    }
}

impl WalletKey {
    /// The key of the file at `from`, in a new keystore at `to`. A keystore's password is also that of the new one.
    ///
    /// # Errors
    /// When others may read `from`, it holds no key, the password does not open it, or there is a file at `to`.
    pub fn import_file(from: &Path, to: &Path, password: &[u8], cost: KdfCost) -> Result<Self, KeyFileError> {
        let secret = match KeyFileKind::of(from)? {
            KeyFileKind::Keystore => Self::open(from, password)?.into_secret(),
            KeyFileKind::Bare => parse(&read_bounded(from)?).map_err(|source| KeyFileError::Content {
                path: from.into(),
                source,
            })?,
        };
        Self::store(to, password, cost, secret)
    }

    /// The key that was typed in hexadecimal digits, in a new keystore at `to`.
    ///
    /// # Errors
    /// When it is none, or there is a file at `to`.
    pub fn import_typed(typed: &str, to: &Path, password: &[u8], cost: KdfCost) -> Result<Self, KeyFileError> {
        let secret = parse(typed.as_bytes()).map_err(|source| KeyFileError::Content {
            path: to.into(),
            source,
        })?;
        Self::store(to, password, cost, secret)
    }
}

/// 64 hexadecimal digits, with or without `0x`, and white space around them.
fn parse(text: &[u8]) -> Result<Secret, KeyContentError> {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, secret.as_mut_slice()).map_err(|_| KeyContentError::Digits)?;
    Secret::from_bytes(secret.as_slice()).map_err(KeyContentError::Key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const OWNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    fn private(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn a_key_is_imported_from_digits_from_a_keystore_and_from_what_was_typed() {
        let dir = tempfile::tempdir().unwrap();
        let bare = private(dir.path(), "bare", &format!("0x{KEY}\n"));
        let to = |name: &str| dir.path().join(name);
        let import = |from: &Path, name: &str| WalletKey::import_file(from, &to(name), b"secret", KdfCost::Light);
        let first = import(&bare, "first").unwrap();
        assert_eq!(first.address().to_string(), OWNER);
        let second = import(&to("first"), "second").unwrap();
        let typed = WalletKey::import_typed(&KEY.to_uppercase(), &to("third"), b"secret", KdfCost::Light).unwrap();
        for (name, key) in [("first", first), ("second", second), ("third", typed)] {
            assert_eq!(WalletKey::open(&to(name), b"secret").unwrap().address(), key.address());
            assert_eq!(key.address().to_string(), OWNER);
            let mode = std::fs::metadata(to(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_no_key_or_not_ones_own_alone_makes_no_wallet_and_is_never_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("wallet");
        let spoilt = KEY.replace("ac09", "ac0g");
        for text in ["", "0x", &KEY[1..], &format!("{KEY}00"), &spoilt, &"0".repeat(64), "{}"] {
            let from = private(dir.path(), "from", text);
            let error = WalletKey::import_file(&from, &to, b"secret", KdfCost::Light).unwrap_err();
            let told = format!("{error:?} {error}");
            assert!(text.len() < 8 || !told.contains(&text[..8]), "{told}");
            assert!(!to.exists(), "{text}");
        }
        let open = private(dir.path(), "open", KEY);
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = WalletKey::import_file(&open, &to, b"secret", KdfCost::Light).unwrap_err();
        assert!(
            matches!(refused, KeyFileError::Exposed { mode: 0o644, .. }),
            "{refused}"
        );
        assert!(!to.exists());
    }

    #[test]
    fn a_wallet_that_is_there_is_never_overwritten_and_a_wrong_password_imports_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (there, other) = (dir.path().join("there"), dir.path().join("other"));
        let key = WalletKey::create(&there, b"mine", KdfCost::Light).unwrap();
        let refused = WalletKey::import_typed(KEY, &there, b"secret", KdfCost::Light).unwrap_err();
        assert!(matches!(refused, KeyFileError::Exists { .. }), "{refused}");
        assert_eq!(WalletKey::open(&there, b"mine").unwrap().address(), key.address());
        let wrong = WalletKey::import_file(&there, &other, b"another", KdfCost::Light).unwrap_err();
        let is_wrong = |error: &KeyFileError| {
            matches!(
                error,
                KeyFileError::Content {
                    source: KeyContentError::WrongPassword,
                    ..
                }
            )
        };
        assert!(is_wrong(&wrong), "{wrong}");
        assert!(!other.exists());
    }
}

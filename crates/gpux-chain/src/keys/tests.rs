//! Tests of key files and signatures.

use super::*;
use std::{error::Error as _, os::unix::fs::PermissionsExt};

const PASSWORD: &[u8] = b"correct horse";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_wallet_opens_with_its_password_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    let wallet = WalletKey::create(&path, PASSWORD, KdfCost::Light).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(WalletKey::open(&path, PASSWORD).unwrap().address(), wallet.address());
    assert_eq!(keystore_address(&path).unwrap(), Some(wallet.address()));
    let error = WalletKey::open(&path, b"wrong").unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "opening the keystore: the password is wrong"
    );
}

/// Fails unless what `make` makes at the path is its owner's alone from its first moment on: without a umask a file has the
/// permissions that it was made with, and the kernel tells of any that were changed.
fn assert_made_private(make: impl FnOnce(&Path)) {
    use rustix::fs::inotify;
    rustix::process::umask(rustix::fs::Mode::empty());
    let dir = tempfile::tempdir().unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, dir.path(), inotify::WatchFlags::ATTRIB).unwrap();
    let path = dir.path().join("key");
    make(&path);
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4_096];
    let changed = inotify::Reader::new(&watch, &mut buffer)
        .next()
        .map(|event| format!("{event:?}"));
    assert_eq!(changed, Err(rustix::io::Errno::AGAIN), "its permissions were changed");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_key_file_is_its_owners_alone_from_its_first_moment_on_whatever_the_umask() {
    assert_made_private(|path| drop(WalletKey::create(path, PASSWORD, KdfCost::Light).unwrap()));
    assert_made_private(|path| drop(WalletKey::import(path, PASSWORD, KdfCost::Light, &[7; 32]).unwrap()));
    assert_made_private(|path| drop(HotKey::open_or_create(path).unwrap()));
}

#[test]
fn a_wallet_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.json");
    let wallet = WalletKey::create(&path, PASSWORD, KdfCost::Light).unwrap();
    assert!(matches!(
        WalletKey::create(&path, PASSWORD, KdfCost::Light),
        Err(KeyFileError::Exists { .. })
    ));
    assert_eq!(WalletKey::open(&path, PASSWORD).unwrap().address(), wallet.address());
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer");
    HotKey::create(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        HotKey::open(&path),
        Err(KeyFileError::Exposed { mode: 0o640, .. })
    ));
}

#[test]
fn a_hot_key_is_made_once_and_then_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer");
    let made = HotKey::open_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(HotKey::open_or_create(&path).unwrap().address(), made.address());
    assert_eq!(HotKey::from_bytes(&made.to_bytes()).unwrap().address(), made.address());
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    assert_eq!(HotKey::from_bytes(&[0; 32]).unwrap_err(), InvalidKey);
    assert_eq!(HotKey::from_bytes(&[0xff; 32]).unwrap_err(), InvalidKey);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer");
    write_new(&path, &[1; 31]).unwrap();
    assert!(matches!(HotKey::open(&path), Err(KeyFileError::Content { .. })));
}

#[test]
fn signatures_recover_to_the_signer_and_are_never_malleable() {
    let key = HotKey::generate();
    for i in 0..=64_u8 {
        let digest = B256::repeat_byte(i);
        let signature = key.sign_digest(digest);
        assert_eq!(gpux_lease::verify_signer(digest, &signature, key.address()), Ok(()));
    }
}

#[test]
fn debug_shows_the_address_and_not_the_secret() {
    let key = HotKey::from_bytes(&[7; 32]).unwrap();
    assert_eq!(format!("{key:?}"), format!("HotKey({})", key.address()));
    assert_eq!(
        format!("{:?}", WalletKey(key.0.clone())),
        format!("WalletKey({})", key.address())
    );
}

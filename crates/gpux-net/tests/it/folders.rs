//! Folders from one node to another: whole, only what changed, and never more than was meant.

use crate::support::{TestNode, lease, start};
use gpux_net::{AddInputError, BlobRef, Keeper, ScanError, add_folder, write_folder};
use gpux_proto::{BadFolder, Folder, FolderSpec};
use gpux_types::JobId;
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

const KEEPER: Keeper = Keeper::Job(JobId([1; 16]));

/// What lies in a folder: modes of folders and files, bytes of files, targets of links.
fn listing(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let (mut all, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let bytes = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else if metadata.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            let mode = if metadata.is_symlink() {
                0
            } else {
                metadata.permissions().mode()
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), (mode, bytes));
        }
    }
    all
}

fn put(root: &Path, path: &str, bytes: &[u8], mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

/// Everything that a folder may have, and enough small files for some packs.
fn make(root: &Path) {
    put(root, "empty", b"", 0o644);
    put(root, "tools/run", b"#!/bin/sh\n", 0o755);
    put(root, "large", &vec![7; 3 << 20], 0o644);
    fs::create_dir(root.join("nothing")).unwrap();
    fs::set_permissions(root.join("nothing"), Permissions::from_mode(0o755)).unwrap();
    symlink("../large", root.join("tools/link")).unwrap();
    symlink("nowhere yet", root.join("dangling")).unwrap();
    for number in 0..1_500_u32 {
        put(
            root,
            &format!("many/{number}"),
            &number.to_le_bytes().repeat(2_000),
            0o644,
        );
    }
}

async fn send(from: &TestNode, to: &TestNode, added: (BlobRef, FolderSpec), target: &Path) -> u64 {
    let (manifest, told) = added;
    let mut fetched = 0;
    let mut fetch = async |blob: BlobRef| {
        if to.net.find(blob.hash).await.unwrap().is_none() {
            fetched += blob.size;
        }
        from.net.allow(lease(1), to.id(), [blob.hash]);
        to.net.fetch(&[from.id()], blob, KEEPER, None).await.unwrap();
    };
    fetch(manifest).await;
    let bytes = to.net.read_bytes(manifest.hash, 1 << 20).await.unwrap();
    let folder = Folder::read(&bytes, told).unwrap();
    for pack in &folder.packs {
        let (hash, size) = (pack.blob.hash, pack.blob.size.0);
        fetch(BlobRef { hash, size }).await;
    }
    write_folder(&to.net, folder, target).await.unwrap();
    fetched
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_arrives_as_it_was_and_the_next_time_only_what_changed() {
    let (giver, taker) = (start(1, &[]).await, start(2, &[]).await);
    taker.net.remember(giver.ticket());
    let (root, target) = (giver.dir.path().join("in"), taker.dir.path().join("out"));
    make(&root);
    let added = add_folder(&giver.net, &root, KEEPER).await.unwrap();
    let all = send(&giver, &taker, added, &target).await;
    assert!(listing(&target) == listing(&root), "everything as it was");
    assert!(all > 14 << 20, "{all}");

    let again = add_folder(&giver.net, &root, KEEPER).await.unwrap();
    assert_eq!(again, added, "the same folder, the same manifest");
    assert_eq!(send(&giver, &taker, again, &target).await, 0, "over what is there");

    put(&root, "many/700", b"changed", 0o644);
    fs::remove_file(root.join("dangling")).unwrap();
    let changed = add_folder(&giver.net, &root, KEEPER).await.unwrap();
    let sent = send(&giver, &taker, changed, &target).await;
    assert!(listing(&target) == listing(&root));
    assert!(sent < all / 2, "{sent} of {all}: one pack, and the manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_travel_is_named() {
    let node = start(1, &[]).await;
    let root = node.dir.path().join("in");
    let refused = async |make: &dyn Fn(&Path)| {
        fs::create_dir(&root).unwrap();
        put(&root, "fine", b"fine", 0o644);
        make(&root);
        let error = add_folder(&node.net, &root, KEEPER).await.unwrap_err();
        fs::remove_dir_all(&root).unwrap();
        match error {
            AddInputError::Scan(error) => error,
            AddInputError::Store(error) => panic!("{error:?}"),
        }
    };
    let socket = refused(&|root| {
        fs::create_dir(root.join("run")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(root.join("run/socket")).unwrap());
    });
    assert!(matches!(socket.await, ScanError::NotPlain(path) if path == root.join("run/socket")));
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    let unnamed = refused(&|root| fs::write(root.join(name), "").unwrap()).await;
    assert!(matches!(unnamed, ScanError::Name(path) if path == root.join(name)));
    for target in ["/etc/passwd", "../secret"] {
        let out = refused(&|root| symlink(target, root.join("link")).unwrap()).await;
        assert!(matches!(out, ScanError::Folder(BadFolder::Path { path, .. }) if path == "link"));
    }
}

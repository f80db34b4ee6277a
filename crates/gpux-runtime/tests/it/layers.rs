//! Unpacking layers, most of them hostile, through the real jail.

use crate::layer_blobs::{LayerBlob, Tar, compress};
use crate::support::{program, require_root};
use gpux_runtime::{
    Compression, Digest, Disk, DiskRequest, FeedError, LayerFault, LayerStore, OpenStoreError, RootfsRequest, UidRange,
    UnpackError, UnpackLimits, UserNamespace, mount_rootfs,
};
use gpux_types::ByteSize;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tar::EntryType;

const STORE: UidRange = UidRange { first: 0x7000_0000 };

struct Bench {
    dir: tempfile::TempDir,
    store: LayerStore,
    limits: UnpackLimits,
}

impl Bench {
    fn new() -> Self {
        require_root();
        let dir = tempfile::tempdir().unwrap();
        let store = LayerStore::open(&dir.path().join("layers"), program(), STORE).unwrap();
        Self {
            dir,
            store,
            limits: UnpackLimits {
                total: ByteSize(8 << 20),
                file: ByteSize(4 << 20),
                entries: 500,
                ..UnpackLimits::default()
            },
        }
    }

    async fn unpack_blob(&self, blob: &LayerBlob) -> Result<PathBuf, UnpackError> {
        self.store
            .hold()
            .ensure_unpacked(&blob.path, &blob.layer, &self.limits)
            .await
    }

    async fn unpack(&self, tar: Tar) -> Result<PathBuf, UnpackError> {
        self.unpack_blob(&LayerBlob::write(self.dir.path(), &tar.finish(), Compression::Gzip))
            .await
    }

    /// The fault that a layer is refused with; nothing of it may stay, and nothing may appear outside the store.
    async fn refuse(&self, tar: Tar) -> LayerFault {
        let outside = self.dir.path().join("outside");
        fs::write(&outside, "untouched").unwrap();
        let fault = fault(self.unpack(tar).await.unwrap_err());
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
        self.assert_no_layers();
        fault
    }

    fn assert_no_layers(&self) {
        let names = |path: PathBuf| -> Vec<_> {
            let entries = fs::read_dir(path).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        let mut found = names(self.dir.path().join("layers"));
        found.sort();
        assert_eq!(found, [".lock", ".partial"]);
        assert_eq!(names(self.dir.path().join("layers/.partial")), Vec::<String>::new());
    }
}

fn feed_error(error: UnpackError) -> FeedError {
    let shown = format!("{error:?}");
    let UnpackError::Feed { source, .. } = error else {
        panic!("{shown}");
    };
    *source
}

fn fault(error: UnpackError) -> LayerFault {
    let error = feed_error(error);
    let shown = format!("{error:?}");
    let FeedError::Refused(fault) = error else {
        panic!("{shown}");
    };
    fault
}

fn is_whiteout(path: &Path) -> bool {
    let found = fs::symlink_metadata(path).unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::lgetxattr(path, c"trusted.overlay.opaque", &mut value[..]).is_ok_and(|len| &value[..len] == b"y")
}

#[tokio::test]
async fn a_layer_unpacks_alike_from_every_compression() {
    let bench = Bench::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let tar = Tar::new()
            .dir("./")
            .dir("a/")
            .file("a/file", "content")
            .symlink("a/link", "/etc/passwd")
            .link("a/second", "a/file")
            .file("implied/by/path", "x")
            .entry(EntryType::Fifo, (b"pipe", b""), 0, b"");
        let blob = LayerBlob::write(bench.dir.path(), &tar.finish(), compression);
        let files = bench.unpack_blob(&blob).await.unwrap();
        assert_eq!(fs::read_to_string(files.join("a/file")).unwrap(), "content");
        let found = fs::metadata(files.join("a/file")).unwrap();
        assert_eq!((found.uid(), found.gid()), (STORE.first + 3, STORE.first + 5));
        assert_eq!(
            found.permissions().mode() & 0o7777,
            0o4711,
            "set-user-id, but of the store's own user"
        );
        assert_eq!((found.mtime(), found.nlink()), (1_000_000_000, 2));
        assert_eq!(fs::metadata(files.join("a")).unwrap().mtime(), 1_000_000_000);
        assert_eq!(fs::metadata(files.join("implied")).unwrap().uid(), STORE.first);
        assert_eq!(fs::read_link(files.join("a/link")).unwrap(), Path::new("/etc/passwd"));
        assert!(fs::metadata(files.join("pipe")).unwrap().file_type().is_fifo());
        assert_eq!(
            fs::metadata(&files).unwrap().uid(),
            STORE.first + 3,
            "the root's own entry counts"
        );
    }
}

#[tokio::test]
async fn a_path_that_climbs_out_is_refused() {
    let bench = Bench::new();
    for path in ["../outside", "a/../../outside", "/../outside", "..", "a/.."] {
        let fault = bench.refuse(Tar::new().dir("a").file(path, "bad")).await;
        assert!(matches!(fault, LayerFault::Escapes { .. }), "{path}: {fault}");
    }
}

#[tokio::test]
async fn an_absolute_path_lands_inside_the_layer() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    let files = bench
        .unpack(Tar::new().file(outside.to_str().unwrap(), "inside"))
        .await
        .unwrap();
    assert!(!outside.exists());
    let inside = files.join(outside.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(inside).unwrap(), "inside");
}

#[tokio::test]
async fn writing_through_a_symlink_stays_inside_the_layer() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside-dir");
    fs::create_dir(&outside).unwrap();
    let up = format!("{}{}", "../".repeat(30), outside.display());
    for (index, target) in [outside.to_str().unwrap(), &up].into_iter().enumerate() {
        let link = format!("link{index}");
        let result = bench
            .unpack(Tar::new().symlink(&link, target).file(&format!("{link}/file"), "bad"))
            .await;
        // The kernel resolves the link below the layer's own root, where its target is missing.
        assert!(matches!(fault(result.unwrap_err()), LayerFault::Entry { .. }));
        let through = Tar::new()
            .dir(&outside.to_str().unwrap()[1..])
            .symlink(&link, target)
            .file(&format!("{link}/file"), "bad");
        let files = bench.unpack(through).await.unwrap();
        assert!(files.join(outside.strip_prefix("/").unwrap()).join("file").exists());
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_replaces_a_symlink_instead_of_writing_through_it() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let tar = Tar::new()
        .symlink("x", outside.to_str().unwrap())
        .file("x", "a file now");
    let files = bench.unpack(tar).await.unwrap();
    assert!(fs::symlink_metadata(files.join("x")).unwrap().is_file());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
}

#[tokio::test]
async fn a_hard_link_reaches_only_files_of_its_own_layer() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    for target in [
        outside.to_str().unwrap(),
        "missing",
        "dir",
        "whited-out",
        "dir/sub/missing",
    ] {
        let tar = Tar::new().dir("dir").file(".wh.whited-out", "").link("link", target);
        let fault = bench.refuse(tar).await;
        assert!(matches!(fault, LayerFault::HardLink { .. }), "{target}: {fault}");
    }
    let fault = bench.refuse(Tar::new().link("link", "../outside")).await;
    assert!(matches!(fault, LayerFault::Escapes { .. }), "{fault}");
    let through = Tar::new()
        .symlink("up", bench.dir.path().to_str().unwrap())
        .link("link", "up/outside");
    let fault = bench.refuse(through).await;
    assert!(matches!(fault, LayerFault::HardLink { .. }), "{fault}");
}

#[tokio::test]
async fn device_nodes_are_left_out() {
    let bench = Bench::new();
    let tar = Tar::new()
        .entry(EntryType::Char, (b"dev/mem", b""), 0, b"")
        .entry(EntryType::Block, (b"dev/sda", b""), 0, b"")
        .file("kept", "x");
    let files = bench.unpack(tar).await.unwrap();
    assert!(files.join("kept").exists());
    assert!(!files.join("dev/mem").exists() && !files.join("dev/sda").exists());
}

#[tokio::test]
async fn claims_beyond_the_bounds_are_refused_before_they_are_written() {
    let bench = Bench::new();
    let huge = bench
        .refuse(Tar::new().entry(EntryType::Regular, (b"huge", b""), 1 << 60, b"x"))
        .await;
    assert!(
        matches!(huge, LayerFault::FileTooLarge { size, .. } if size == 1 << 60),
        "{huge}"
    );
    let sparse = bench
        .refuse(Tar::new().entry(EntryType::GNUSparse, (b"sparse", b""), 0, b""))
        .await;
    assert!(
        matches!(&sparse, LayerFault::Kind { kind, .. } if kind == "sparse")
            || matches!(sparse, LayerFault::Damaged { .. }),
        "{sparse}"
    );
    let pax = b"30 GNU.sparse.realsize=999999\n";
    let pax = Tar::new()
        .entry(EntryType::XHeader, (b"pax", b""), 30, pax)
        .file("sparse", "x");
    let fault = bench.refuse(pax).await;
    assert!(
        matches!(&fault, LayerFault::Kind { kind, .. } if kind == "sparse"),
        "{fault}"
    );

    let mut many = Tar::new();
    for index in 0..501 {
        many = many.file(&format!("{index}"), "");
    }
    let fault = bench.refuse(many).await;
    assert_eq!(fault, LayerFault::TooManyEntries { limit: 500 });

    let mut large = Tar::new();
    let content = "x".repeat(3 << 20);
    for index in 0..3 {
        large = large.file(&format!("{index}"), &content);
    }
    assert_eq!(bench.refuse(large).await, LayerFault::TooLarge { limit: 8 << 20 });
}

#[tokio::test]
async fn a_decompression_bomb_stops_at_its_bound() {
    let bench = Bench::new();
    // 256 MiB of zeros behind the end mark: nothing to write, all of it to decompress.
    let mut archive = Tar::new().file("a", "x").finish();
    archive.resize(256 << 20, 0);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let blob = LayerBlob::write(bench.dir.path(), &archive, compression);
        assert!(blob.layer.size < 1 << 20);
        let fault = fault(bench.unpack_blob(&blob).await.unwrap_err());
        assert_eq!(fault, LayerFault::TooLarge { limit: 8 << 20 });
    }
    bench.assert_no_layers();
}

#[tokio::test]
async fn a_name_that_never_ends_costs_no_more_than_the_childs_memory() {
    let mut bench = Bench::new();
    bench.limits.total = ByteSize(4 << 30);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let mut archive = Tar::new().raw(header.as_bytes(), b"").finish();
    archive.resize(1 << 30, b'a');
    let blob = LayerBlob::write(bench.dir.path(), &archive, Compression::Zstd);
    let error = feed_error(bench.unpack_blob(&blob).await.unwrap_err());
    assert!(
        matches!(
            error,
            FeedError::Died { .. } | FeedError::Refused(LayerFault::Damaged { .. })
        ),
        "{error:?}"
    );
    bench.assert_no_layers();
}

#[tokio::test]
async fn paths_too_long_or_too_deep_are_refused() {
    let bench = Bench::new();
    for path in ["n".repeat(256), "d/".repeat(129), "long-name/".repeat(420)] {
        let fault = bench.refuse(Tar::new().dir(&path)).await;
        assert!(matches!(fault, LayerFault::PathTooLong { .. }), "{fault}");
    }
    let deepest = "d/".repeat(128);
    let tar = Tar::new().dir(&deepest).file("d", "replaces all of it");
    let files = bench.unpack(tar).await.unwrap();
    assert!(files.join("d").is_file());
}

#[tokio::test]
async fn owners_that_no_container_has_are_refused() {
    let bench = Bench::new();
    let mut header = tar::Header::new_gnu();
    put_name(&mut header, b"file");
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(65_536);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header.set_cksum();
    let fault = bench.refuse(Tar::new().raw(header.as_bytes(), b"")).await;
    assert!(matches!(fault, LayerFault::Owner { uid: 65_536, .. }), "{fault}");
}

fn put_name(header: &mut tar::Header, name: &[u8]) {
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
}

#[tokio::test]
async fn whiteouts_become_what_the_overlay_understands() {
    let bench = Bench::new();
    let tar = Tar::new()
        .dir("kept")
        .file("kept/.wh.gone", "")
        .dir("opaque")
        .file("opaque/new", "x")
        .file("opaque/.wh..wh..opq", "")
        .file("implied/.wh..wh..opq", "")
        .file(".wh.replaced", "")
        .dir("replaced")
        .file("own", "x")
        .file(".wh.own", "")
        .file(".wh.file-again", "")
        .file("file-again", "x")
        .file(".wh..wh.plnk", "aufs");
    let files = bench.unpack(tar).await.unwrap();
    assert!(is_whiteout(&files.join("kept/gone")));
    assert!(is_opaque(&files.join("opaque")) && files.join("opaque/new").exists());
    assert!(is_opaque(&files.join("implied")));
    assert!(!is_opaque(&files.join("kept")) && !is_opaque(&files));
    assert!(
        is_opaque(&files.join("replaced")),
        "a folder after its whiteout hides the lower one still"
    );
    assert!(
        files.join("own").is_file(),
        "a whiteout hides lower layers, not its own"
    );
    assert!(files.join("file-again").is_file());
    let names: Vec<_> = fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        names.iter().all(|name| !name.to_str().unwrap().starts_with(".wh.")),
        "{names:?}"
    );

    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let blob = LayerBlob::write(bench.dir.path(), &Tar::new().file(name, "").finish(), Compression::None);
        let fault = fault(bench.unpack_blob(&blob).await.unwrap_err());
        assert!(matches!(fault, LayerFault::Whiteout { .. }), "{name}: {fault}");
    }
}

#[tokio::test]
async fn unpacked_layers_show_what_the_image_means_once_they_are_mounted() {
    let bench = Bench::new();
    let low = Tar::new()
        .file("d/old", "low")
        .file("kept/old", "low")
        .file("gone", "low")
        .file("both", "low");
    let top = Tar::new()
        .dir("d")
        .file("d/.wh..wh..opq", "")
        .file("d/new", "top")
        .file("kept/new", "top")
        .file(".wh.gone", "")
        .file("both", "top");
    let layers = [bench.unpack(top).await.unwrap(), bench.unpack(low).await.unwrap()];
    let lease = UidRange { first: 0x7003_0000 };
    let dir = bench.dir.path();
    for name in ["disk", "root"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let disk = Disk::mount(&DiskRequest {
        file: &dir.join("disk.img"),
        size: ByteSize(64 << 20),
        mount_point: &dir.join("disk"),
        owner: lease,
    })
    .unwrap();
    let upper = disk.new_upper("part").unwrap();
    let rootfs = mount_rootfs(&RootfsRequest {
        layers: &layers,
        ids: &UserNamespace::of_mount(program(), STORE, lease).unwrap(),
        upper: &upper.upper,
        work: &upper.work,
        target: &dir.join("root"),
    })
    .unwrap();
    let names = |path: &str| {
        let entries = fs::read_dir(rootfs.path().join(path)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["both", "d", "kept"]);
    assert_eq!(names("d"), ["new"], "opaque: what was below is hidden");
    assert_eq!(names("kept"), ["new", "old"]);
    assert_eq!(fs::read_to_string(rootfs.path().join("both")).unwrap(), "top");
    let owner = fs::metadata(rootfs.path().join("d/new")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (lease.first + 3, lease.first + 5));
}

#[tokio::test]
async fn a_blob_that_is_not_the_named_one_is_reported_as_such() {
    let bench = Bench::new();
    let archive = Tar::new().file("a", "x").finish();
    let mut blob = LayerBlob::write(bench.dir.path(), &archive, Compression::Gzip);
    fs::write(
        &blob.path,
        compress(&Tar::new().file("a", "y").finish(), Compression::Gzip),
    )
    .unwrap();
    let error = feed_error(bench.unpack_blob(&blob).await.unwrap_err());
    assert!(matches!(error, FeedError::Digest { .. }), "{error:?}");
    fs::write(&blob.path, b"not even compressed").unwrap();
    let error = feed_error(bench.unpack_blob(&blob).await.unwrap_err());
    assert!(matches!(error, FeedError::Digest { .. }), "{error:?}");

    blob = LayerBlob::write(bench.dir.path(), &archive, Compression::Zstd);
    blob.layer.size -= 1;
    let error = feed_error(bench.unpack_blob(&blob).await.unwrap_err());
    assert!(matches!(error, FeedError::Digest { .. }), "{error:?}");
    blob.layer.size += 1;
    blob.layer.diff_id = Digest::of(b"something else");
    let fault = fault(bench.unpack_blob(&blob).await.unwrap_err());
    assert!(
        matches!(fault, LayerFault::DiffId { got, .. } if got == Digest::of(&archive)),
        "{fault}"
    );
    bench.assert_no_layers();
}

#[tokio::test]
async fn damaged_streams_are_refused() {
    let bench = Bench::new();
    let whole = compress(&Tar::new().file("a", &"x".repeat(9_000)).finish(), Compression::Gzip);
    let archive = Tar::new().file("a", "x").finish();
    let mut wrong_checksum = archive.clone();
    wrong_checksum[0] = b'b';
    let cases: [(&[u8], Compression); 6] = [
        (&whole[..whole.len() - 9], Compression::Gzip),
        (b"", Compression::Gzip),
        (b"\x28\xb5\x2f\xfd\xff\xff\xff\xff", Compression::Zstd),
        (&archive[..515], Compression::None),
        (&wrong_checksum, Compression::None),
        (&[whole.as_slice(), b"trailing"].concat(), Compression::Gzip),
    ];
    for (bytes, compression) in cases {
        let path = bench.dir.path().join("blob");
        fs::write(&path, bytes).unwrap();
        let mut blob = LayerBlob::write(bench.dir.path(), &archive, compression);
        blob.path = path;
        blob.layer.digest = Digest::of(bytes);
        blob.layer.size = u64::try_from(bytes.len()).unwrap();
        let fault = fault(bench.unpack_blob(&blob).await.unwrap_err());
        assert!(matches!(fault, LayerFault::Damaged { .. }), "{fault}");
    }
    bench.assert_no_layers();
}

#[tokio::test]
async fn a_layer_that_many_ask_for_is_unpacked_once() {
    let bench = Bench::new();
    let blob = LayerBlob::write(bench.dir.path(), &Tar::new().file("a", "x").finish(), Compression::Gzip);
    let asked = futures_util::future::join_all((0..8).map(|_| bench.unpack_blob(&blob))).await;
    let files = asked[0].as_ref().unwrap();
    assert!(asked.iter().all(|found| found.as_ref().unwrap() == files));
    let inode = fs::metadata(files.join("a")).unwrap().ino();
    fs::remove_file(&blob.path).unwrap();
    assert_eq!(
        bench.unpack_blob(&blob).await.unwrap(),
        *files,
        "the blob is not needed any more"
    );
    assert_eq!(fs::metadata(files.join("a")).unwrap().ino(), inode);

    let mut other = blob.layer.clone();
    other.diff_id = Digest::of(b"another");
    let error = bench
        .store
        .hold()
        .ensure_unpacked(&blob.path, &other, &bench.limits)
        .await
        .unwrap_err();
    assert!(matches!(error, UnpackError::DiffId { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start() {
    let bench = Bench::new();
    let blob = LayerBlob::write(bench.dir.path(), &Tar::new().file("a", "x").finish(), Compression::Gzip);
    let files = bench.unpack_blob(&blob).await.unwrap();
    let root = bench.dir.path().join("layers");
    let second = LayerStore::open(&root, program(), STORE).unwrap_err();
    assert!(matches!(second, OpenStoreError::InUse { .. }), "{second:?}");
    drop(bench.store);

    fs::create_dir_all(root.join(".partial/half.0/fs/a")).unwrap();
    fs::create_dir_all(root.join("ab".repeat(32)).join("fs")).unwrap();
    fs::create_dir_all(root.join("somebody's work")).unwrap();
    let store = LayerStore::open(&root, program(), STORE).unwrap();
    assert!(!root.join(".partial/half.0").exists());
    assert!(
        !root.join("ab".repeat(32)).exists(),
        "a layer without a record is no layer"
    );
    assert!(
        root.join("somebody's work").exists(),
        "only names of layers are removed"
    );
    assert!(files.join("a").exists());
    drop(store);

    let moved = UidRange { first: 0x7100_0000 };
    let _store = LayerStore::open(&root, program(), moved).unwrap();
    assert!(
        !files.exists(),
        "layers of another range of ids would have wrong owners"
    );
}

#[tokio::test]
async fn where_nobody_says_who_uses_layers_none_is_removed() {
    let bench = Bench::new();
    let blob = LayerBlob::write(bench.dir.path(), &Tar::new().file("a", "x").finish(), Compression::Gzip);
    let files = bench.unpack_blob(&blob).await.unwrap();
    let all = BTreeSet::from([blob.layer.digest]);
    assert_eq!(bench.store.removable().await.unwrap(), ByteSize(0));
    assert_eq!(bench.store.make_room(ByteSize(0)).await.unwrap(), []);
    assert_eq!(bench.store.remove_unpaid(all).await.unwrap(), []);
    assert!(files.exists());
}

#[tokio::test]
async fn a_dropped_request_leaves_nothing_and_can_be_made_again() {
    let mut bench = Bench::new();
    bench.limits = UnpackLimits::default();
    let blob = LayerBlob::write(bench.dir.path(), &vec_of_noise(64 << 20), Compression::None);
    let asked = bench.unpack_blob(&blob);
    tokio::select! {
        biased;
        done = asked => panic!("{done:?}"),
        () = tokio::task::yield_now() => {}
    }
    let files = bench.unpack_blob(&blob).await.unwrap();
    assert_eq!(fs::metadata(files.join("noise")).unwrap().len(), 64 << 20);
}

fn vec_of_noise(size: usize) -> Vec<u8> {
    let mut noise = vec![0u8; size];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let len = u64::try_from(size).unwrap();
    Tar::new()
        .entry(EntryType::Regular, (b"noise", b""), len, &noise)
        .finish()
}

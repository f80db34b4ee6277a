//! Folders: how they are packed, and what a reader of a stranger's manifest refuses.

use gpux_proto::{
    BadFolder, BlobSpec, Folder, FolderFile, FolderLink, FolderSpec, MAX_FOLDER_ENTRIES, MAX_PACK_BYTES, Pack, encode,
    packs_of,
};
use gpux_types::{BlobHash, ByteSize};
use proptest::prelude::*;
use std::collections::HashSet;

fn file(path: &str, size: u64) -> FolderFile {
    FolderFile {
        path: path.into(),
        size: ByteSize(size),
        executable: false,
    }
}

fn pack(files: Vec<FolderFile>) -> Pack {
    let size = files.iter().map(|file| file.size.0).sum();
    Pack {
        blob: BlobSpec {
            hash: BlobHash([7; 32]),
            size: ByteSize(size),
        },
        files,
    }
}

fn folder() -> Folder {
    Folder {
        folders: vec!["bin".into(), "bin/deep".into()],
        packs: vec![
            pack(vec![file("a", 3), file("bin/deep/b", 0)]),
            pack(vec![file("large", 5 << 20)]),
        ],
        links: vec![FolderLink {
            path: "bin/deep/link".into(),
            target: "../../a".into(),
        }],
    }
}

/// Reads a manifest that tells the truth of its size.
fn read(folder: &Folder) -> Result<Folder, BadFolder> {
    let content = folder.packs.iter().map(|pack| pack.blob.size.0);
    let files: usize = folder.packs.iter().map(|pack| pack.files.len()).sum();
    let entries = folder.folders.len() + files + folder.links.len();
    let told = FolderSpec {
        content: ByteSize(content.fold(0, u64::wrapping_add)),
        entries: entries.try_into().unwrap(),
    };
    Folder::read(&encode(folder), told)
}

#[test]
fn a_manifest_is_read_as_it_was_written_and_only_with_the_size_that_was_told() {
    let (bytes, told) = folder().write().unwrap();
    assert_eq!((told.content, told.entries), (ByteSize((5 << 20) + 3), 6));
    assert_eq!(Folder::read(&bytes, told).unwrap(), folder());
    for other in [
        FolderSpec { entries: 7, ..told },
        FolderSpec {
            content: ByteSize(0),
            ..told
        },
    ] {
        let refused = Folder::read(&bytes, other).unwrap_err();
        assert_eq!(refused, BadFolder::OtherSize { told: other, got: told });
    }
}

#[test]
fn a_manifest_that_leaves_its_folder_or_names_a_path_twice_is_refused() {
    let long = "x".repeat(256);
    let deep = vec!["d"; 65].join("/");
    let paths = [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../a",
        "a/../b",
        "bin/..",
        "./b",
        "bin//b",
        "bin/",
        "nowhere/b",
        "a/below",
        "a",
        "bin",
        "bin/deep/link",
        "nul\0",
        &long,
        &deep,
    ];
    for path in paths {
        let changes: [fn(&mut Folder, String); 3] = [
            |folder, path| folder.packs.push(pack(vec![file(&path, 1)])),
            |folder, path| folder.folders.push(path),
            |folder, path| {
                folder.links.push(FolderLink {
                    path,
                    target: "a".into(),
                })
            },
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut bad = folder();
            change(&mut bad, path.to_owned());
            let refused = read(&bad);
            assert!(
                matches!(refused, Err(BadFolder::Path { .. })),
                "{path:?} as {index}: {refused:?}"
            );
            assert_eq!(bad.write().map(drop), refused.map(drop), "a writer refuses the same");
        }
    }
    let mut child_first = folder();
    child_first.folders.reverse();
    assert!(read(&child_first).is_err());
    let mut other_case = folder();
    other_case.packs.push(pack(vec![file("A", 1)]));
    assert!(read(&other_case).is_ok(), "case is a matter of the file system");
}

#[test]
fn a_link_that_leads_out_of_its_folder_is_refused() {
    for (path, target, fine) in [
        ("l", "a", true),
        ("l", "./bin//deep/..", true),
        ("bin/l", "../a", true),
        ("bin/l", "..", true),
        ("l", "", false),
        ("l", "..", false),
        ("l", "/a", false),
        ("l", "bin/../../a", false),
        ("bin/l", "../../a", false),
        ("l", "nul\0", false),
    ] {
        let mut linked = folder();
        linked.links.push(FolderLink {
            path: path.into(),
            target: target.into(),
        });
        assert_eq!(read(&linked).is_ok(), fine, "{path} -> {target}");
    }
}

#[test]
fn a_manifest_with_too_much_in_it_is_refused() {
    let several = |size| vec![file("x", 1), file("y", size)];
    let packs = [
        (pack(several(MAX_PACK_BYTES - 1)), true),
        (pack(several(MAX_PACK_BYTES)), false),
        (pack(vec![file("x", u64::MAX - (6 << 20))]), true),
        (pack(vec![file("x", u64::MAX)]), false),
        (pack(vec![]), false),
        (
            Pack {
                files: several(3),
                ..pack(several(4))
            },
            false,
        ),
    ];
    for (index, (pack, fine)) in packs.into_iter().enumerate() {
        let mut other = folder();
        other.packs.push(pack);
        assert_eq!(read(&other).is_ok(), fine, "pack {index}");
    }
    let mut wraps = folder();
    wraps.packs.push(Pack {
        files: vec![file("x", u64::MAX), file("y", 2)],
        ..pack(vec![file("x", 1)])
    });
    assert_eq!(read(&wraps), Err(BadFolder::Pack(2)), "sums do not wrap");
    let crowd = Folder {
        folders: (0..=MAX_FOLDER_ENTRIES).map(|number| number.to_string()).collect(),
        packs: vec![],
        links: vec![],
    };
    assert!(matches!(crowd.write(), Err(BadFolder::TooMany { .. })));
    assert!(
        matches!(read(&crowd), Err(BadFolder::Malformed(_))),
        "it is not held to be counted"
    );
}

/// Ten thousand files of 0 to 16 KiB.
fn many() -> Vec<FolderFile> {
    let mut files: Vec<_> = (0..10_000_u64)
        .map(|number| file(&format!("some/where/file-{number}"), number * 7_919 % 16_384))
        .collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

#[test]
fn packs_are_of_some_mebibytes_and_hold_every_file_once_in_order() {
    let mut files = many();
    files.insert(500, file("some/where/file-14", 3 << 20));
    let packs = packs_of(files.clone());
    let small: Vec<_> = files.iter().filter(|file| file.size.0 < 1 << 20).cloned().collect();
    let (alone, shared): (Vec<_>, Vec<_>) = packs.iter().partition(|pack| pack[0].size.0 >= 1 << 20);
    assert_eq!((alone.len(), alone[0].len()), (1, 1));
    assert_eq!(shared.into_iter().flatten().cloned().collect::<Vec<_>>(), small);
    assert!((8..60).contains(&packs.len()), "{} packs of 80 MiB", packs.len());
    assert_eq!(packs_of(vec![]), Vec::<Vec<FolderFile>>::new());
}

#[test]
fn one_file_that_changes_comes_or_goes_leaves_all_other_packs_as_they_are() {
    let before: HashSet<_> = packs_of(many()).into_iter().collect();
    for index in [0, 1, 5_000, 7_777, 9_999] {
        let mut longer = many();
        longer[index].size.0 += 9_000;
        let mut without = many();
        without.remove(index);
        let mut with = many();
        with.insert(index, file(&format!("{}-", many()[index].path), 100));
        for (what, files) in [("longer", longer), ("without", without), ("with", with)] {
            let after = packs_of(files);
            let new = after.iter().filter(|pack| !before.contains(*pack)).count();
            assert!(new <= 2, "{what} {index}: {new} of {} packs changed", after.len());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (mut manifest, told) = folder().write().unwrap();
        let _ = Folder::read(&bytes, told);
        for (at, byte) in flips {
            let at = at.index(manifest.len());
            manifest[at] = byte;
        }
        let _ = Folder::read(&manifest, told);
        manifest.truncate(manifest.len() / 2);
        prop_assert!(Folder::read(&manifest, told).is_err());
    }
}

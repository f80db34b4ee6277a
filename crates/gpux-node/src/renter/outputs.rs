//! Writes what came back below the job's output folder. Names come from strangers: nothing leaves the folder.

use crate::dir::sync_folder;
use gpux_job::{Collect, OUT};
use gpux_proto::OutputSpec;
use gpux_types::BlobHash;
use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

/// The name as a path below a folder, or `None` when it would leave it.
pub(super) fn safe_name(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !name.is_empty() && !name.contains('\0') && name.len() <= 1_024).then(|| path.to_owned())
}

/// The files under their names below the pattern's fixed folder; `None` when one is none that the job's own pattern names, or
/// is there twice, or lies in another. A node chooses the names that it announces: unchecked it could write any file of the output folder,
/// another part's result or a hidden one.
pub(super) fn collected(specs: Vec<OutputSpec>, collect: Option<&Collect>) -> Option<Vec<OutputSpec>> {
    let mut seen = HashSet::new();
    let named = specs.into_iter().map(|spec| {
        let path = format!("{OUT}/{}", spec.path);
        let name = collect?.matches(&path)?.to_owned();
        seen.insert(name.clone()).then_some(OutputSpec { path: name, ..spec })
    });
    let named: Vec<OutputSpec> = named.collect::<Option<_>>()?;
    let is_folder = |spec: &OutputSpec| {
        let folders = Path::new(&spec.path).ancestors().skip(1);
        folders.filter_map(Path::to_str).any(|folder| seen.contains(folder))
    };
    // One file cannot lie in another.
    (!named.iter().any(is_folder)).then_some(named)
}

/// Tells these files under these names from any others.
pub(super) fn fingerprint(specs: &[OutputSpec]) -> BlobHash {
    let mut specs: Vec<&OutputSpec> = specs.iter().collect();
    specs.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let mut hasher = blake3::Hasher::new();
    for spec in specs {
        hasher.update(blake3::hash(spec.path.as_bytes()).as_bytes());
        hasher.update(&spec.blob.hash.0);
        hasher.update(&spec.blob.size.0.to_le_bytes());
    }
    BlobHash(*hasher.finalize().as_bytes())
}

/// Removes files of results that do not count any more. One that cannot be removed is written over, or stays beside the others.
pub(super) fn withdraw<'a>(output: &Path, paths: impl Iterator<Item = &'a str>) {
    for name in paths.filter_map(safe_name) {
        let path = output.join(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "removing a result that does not count");
        }
    }
}

/// Puts the bytes of `source` at `path` below `output` in one step, with its folders.
pub(super) fn write(output: &Path, path: &Path, source: &mut impl Read) -> io::Result<()> {
    let temporary = reserve(path, "whole")?;
    let mut file = File::create(&temporary)?;
    io::copy(source, &mut file)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_names(output, [path])
}

/// Waits until the bytes of a file are on the disk.
pub(super) async fn sync(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    crate::blocking(move || File::open(path)?.sync_all()).await
}

/// Waits until the names of these files below `output` are on the disk, with those of the folders that they are in: a result that
/// was told to be here is here after a power cut too.
pub(super) fn sync_names<'a>(output: &Path, files: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    let folders = files.into_iter().flat_map(|file| file.ancestors().skip(1));
    // A folder's own name is in the one above it.
    let folders: BTreeSet<&Path> = folders.filter(|folder| folder.starts_with(output)).collect();
    folders.into_iter().rev().try_for_each(sync_folder)?;
    // Not ours: where it may not be opened, the name of the output folder is as safe as its owner made it.
    let _ = output.parent().map(sync_folder);
    Ok(())
}

/// Makes the folders of `path` and gives the name under which its bytes are written first. Whoever else writes bytes for `path`
/// gives another `mark`, so that neither takes the other's for its own.
pub(super) fn reserve(path: &Path, mark: &str) -> io::Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{mark}.part")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(names: &[&str]) -> Vec<OutputSpec> {
        let spec = |name: &&str| OutputSpec {
            path: (*name).to_owned(),
            blob: gpux_proto::BlobSpec {
                hash: gpux_types::BlobHash([0; 32]),
                size: gpux_types::ByteSize(1),
            },
        };
        names.iter().map(spec).collect()
    }

    /// The names under which announced files are taken.
    fn taken(names: &[&str], pattern: &str) -> Option<Vec<String>> {
        let pattern: Collect = pattern.parse().unwrap();
        let files = collected(announced(names), Some(&pattern))?;
        Some(files.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn names_that_the_job_does_not_collect_are_refused() {
        let png = |names: &[&str]| taken(names, "/out/*.png").is_some();
        assert!(png(&[]));
        assert!(png(&["0001.png", "0002.png"]));
        for wrong in [
            "0001.exr",
            ".bashrc",
            "deep/0001.png",
            "/0001.png",
            "../0001.png",
            "a/../0001.png",
            "",
        ] {
            assert!(!png(&[wrong]), "{wrong:?}");
            assert!(!png(&["0001.png", wrong]), "{wrong:?} among good ones");
        }
        assert!(!png(&["0001.png", "0001.png"]), "one name, two files");
        assert!(
            collected(announced(&["0001.png"]), None).is_none(),
            "nothing was asked for"
        );
    }

    #[test]
    fn the_same_files_under_the_same_names_have_one_fingerprint_and_others_have_others() {
        let files = announced(&["a", "b"]);
        let reversed: Vec<OutputSpec> = files.iter().rev().cloned().collect();
        assert_eq!(fingerprint(&files), fingerprint(&reversed));
        let with = |change: fn(&mut OutputSpec)| {
            let mut files = files.clone();
            change(&mut files[1]);
            fingerprint(&files)
        };
        let others = [
            with(|file| file.path = "c".into()),
            with(|file| file.blob.hash = BlobHash([1; 32])),
            with(|file| file.blob.size = gpux_types::ByteSize(2)),
            fingerprint(&files[..1]),
        ];
        for other in others {
            assert_ne!(other, fingerprint(&files));
        }
    }

    #[test]
    fn a_result_that_does_not_count_is_removed_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["1.png", "2.png"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        withdraw(dir.path(), ["1.png", "missing", "../2.png"].into_iter());
        assert!(!dir.path().join("1.png").exists() && dir.path().join("2.png").exists());
    }

    #[test]
    fn a_file_that_lies_in_another_is_refused() {
        assert!(taken(&["x", "x/y"], "/out/**/*").is_none());
        assert!(taken(&["x/y/z", "x"], "/out/**/*").is_none());
        assert!(taken(&["x", "xy", "z/x", "z/y"], "/out/**/*").is_some());
    }

    #[test]
    fn two_tries_of_a_part_write_their_bytes_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames/1.png");
        let [one, other] = ["ab-0", "cd-1"].map(|mark| reserve(&path, mark).unwrap());
        assert_ne!(one, other);
        assert!(one.parent().is_some_and(Path::is_dir));
    }

    #[test]
    fn files_are_named_below_the_fixed_folder_of_the_pattern() {
        assert_eq!(taken(&["beauty/1.png"], "/out/**/*.png").unwrap(), ["beauty/1.png"]);
        assert_eq!(taken(&["frames/a/1.png"], "/out/frames/**/*.png").unwrap(), ["a/1.png"]);
        assert!(taken(&["other/1.png"], "/out/frames/**/*.png").is_none());
    }

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        for wrong in ["", "/etc/passwd", "../x", "a/../../x", "./x", "a\0b"] {
            assert_eq!(safe_name(wrong), None, "{wrong:?}");
        }
        assert_eq!(safe_name("a/frame_0001.png"), Some(PathBuf::from("a/frame_0001.png")));
    }
}

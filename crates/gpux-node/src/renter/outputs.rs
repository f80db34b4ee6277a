//! Writes what came back below the job's output folder. Names come from strangers: nothing leaves the folder.

use std::{
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

/// Puts the bytes of `source` at `path` in one step, with its folders.
pub(super) fn write(path: &Path, source: &mut impl Read) -> io::Result<()> {
    let temporary = reserve(path)?;
    io::copy(source, &mut File::create(&temporary)?)?;
    fs::rename(&temporary, path)
}

/// Makes the folders of `path` and gives the name under which its bytes are written first.
pub(super) fn reserve(path: &Path) -> io::Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.part")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        for wrong in ["", "/etc/passwd", "../x", "a/../../x", "./x", "a\0b"] {
            assert_eq!(safe_name(wrong), None, "{wrong:?}");
        }
        assert_eq!(safe_name("a/frame_0001.png"), Some(PathBuf::from("a/frame_0001.png")));
    }
}

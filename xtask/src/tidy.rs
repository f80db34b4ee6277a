//! What every source file must have or must not have: a module doc, a bounded length, no leftovers.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The longest file, tests not counted. Longer ones are split by subject.
const MAX_LINES: usize = 600;

/// Every fault of every source file.
pub(crate) fn check() -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for root in ["crates", "xtask"] {
        collect(Path::new(root), &mut files).map_err(|error| format!("reading {root}: {error}"))?;
    }
    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| format!("reading {}: {error}", file.display()))?;
        faults.extend(faults_of(&file, &text));
    }
    Ok(faults)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn faults_of(file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = file.display();
    if !text.trim_start().starts_with("//!") {
        faults.push(format!("{name} has no module doc: say what it owns, who calls it, what it must not do"));
    }
    let is_test = file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
    let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
    if !is_test && lines > MAX_LINES {
        faults.push(format!("{name} has {lines} lines without its tests: split it by subject (limit {MAX_LINES})"));
    }
    // The words are put together so that this file does not find itself.
    for (word, why) in [
        (concat!("#[", "ignore"), "ignored tests rot: delete or mend them"),
        (concat!("dbg", "!("), "a debugging aid was left behind"),
        (concat!("TO", "DO"), "write the missing thing, or a decision about it"),
    ] {
        if text.contains(word) {
            faults.push(format!("{name} contains {word}: {why}"));
        }
    }
    faults
}

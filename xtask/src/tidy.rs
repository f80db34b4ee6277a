//! What every source file must have or must not have: a module doc, a bounded length, no leftovers; and that the tests which a
//! page of documentation names exist. Called by `main.rs` in the workspace's folder; it reads files and changes none.

mod pains;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The longest file, tests not counted. Longer ones are split by subject, or give their reason in the module doc with the
/// words of [`REASON`].
const MAX_LINES: usize = 600;
/// How a module doc begins the sentence that says why the file is longer.
const REASON: &str = "//! Longer than other files because";

/// Every fault of every source file.
pub(crate) fn check() -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for root in ["crates", "xtask"] {
        collect(Path::new(root), &mut files).map_err(|error| format!("reading {root}: {error}"))?;
    }
    files.sort();
    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| format!("reading {}: {error}", file.display()))?;
        faults.extend(faults_of(&file, &text));
    }
    faults.extend(pains::check()?);
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
        faults.push(format!(
            "{name} has no module doc: say what it owns, who calls it, what it must not do"
        ));
    }
    let lines = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .count();
    if lines > MAX_LINES && !is_test(file) && !text.contains(REASON) {
        faults.push(format!(
            "{name} has {lines} lines without its tests: split it by subject (limit {MAX_LINES})"
        ));
    }
    // The words are put together so that this file does not find itself.
    for (word, why) in [
        (concat!("#[", "ignore"), "ignored tests rot: delete or mend them"),
        (concat!("#[", "should_panic"), "say in the test what must hold instead"),
        (concat!("dbg", "!("), "a debugging aid was left behind"),
        (concat!("TO", "DO"), "write the missing thing, or a decision about it"),
    ] {
        if text.contains(word) {
            faults.push(format!("{name} contains {word}: {why}"));
        }
    }
    faults
}

/// Whether the file holds tests or what only tests use.
fn is_test(file: &Path) -> bool {
    let in_folder = |wanted: &str| file.components().any(|part| part.as_os_str() == wanted);
    in_folder("tests") || file.ends_with("tests.rs") || in_folder("gpux-testkit") || in_folder("simulation")
}

//! Each rule about source files finds what it forbids, and nothing else.

use super::*;

fn faults(file: &str, text: &str) -> Vec<String> {
    faults_of(Path::new(file), text)
}

fn lines(count: usize) -> String {
    format!("//! A doc.\n{}", "// A line.\n".repeat(count - 1))
}

#[test]
fn a_file_with_a_doc_of_bounded_length_passes() {
    assert!(faults("crates/a/src/b.rs", &lines(MAX_LINES)).is_empty());
}

#[test]
fn a_file_without_a_module_doc_is_told() {
    let found = faults("crates/a/src/b.rs", "use std::fmt;\n");
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("crates/a/src/b.rs has no module doc")),
        "{found:?}"
    );
}

#[test]
fn a_file_that_is_too_long_is_told_unless_it_gives_a_reason_or_holds_tests() {
    let long = lines(MAX_LINES + 1);
    let found = faults("crates/a/src/b.rs", &long);
    assert!(
        matches!(found.as_slice(), [one] if one.contains("has 601 lines")),
        "{found:?}"
    );
    assert!(faults("crates/a/src/b/tests.rs", &long).is_empty());
    assert!(faults("crates/a/tests/it/main.rs", &long).is_empty());
    assert!(
        faults(
            "crates/a/src/b.rs",
            &format!("//! A doc.\n{REASON} of a table.\n{long}")
        )
        .is_empty()
    );
    let own_tests = format!("{}#[cfg(test)]\nmod tests {{\n{long}", lines(MAX_LINES));
    assert!(faults("crates/a/src/b.rs", &own_tests).is_empty());
}

#[test]
fn leftovers_are_told() {
    for word in [
        concat!("#[", "ignore]"),
        concat!("#[", "should_panic]"),
        concat!("dbg", "!(x)"),
        concat!("// TO", "DO: x"),
    ] {
        assert_eq!(
            faults("crates/a/src/b.rs", &format!("//! A doc.\n{word}\n")).len(),
            1,
            "{word}"
        );
    }
}

#[test]
fn every_source_file_below_a_folder_is_found() {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files).unwrap();
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    for name in ["main.rs", "layers.rs", "tidy.rs", "tests.rs"] {
        assert!(names.contains(&std::ffi::OsStr::new(name)), "{name}");
    }
    assert!(
        files
            .iter()
            .all(|file| file.extension().is_some_and(|extension| extension == "rs"))
    );
}

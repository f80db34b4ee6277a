//! The page of pains: whatever it says that GPUX does names a test, and each test that it names exists. Called by `tidy`.

use std::{fs, path::Path};

/// The page.
const PAGE: &str = "docs/pains.md";
/// What a row says for which nothing stands yet.
const NOT_YET: &str = "not yet";

/// Every fault of the page.
pub(super) fn check() -> Result<Vec<String>, String> {
    let text = fs::read_to_string(PAGE).map_err(|error| format!("reading {PAGE}: {error}"))?;
    let folder = Path::new(PAGE).parent().unwrap_or(Path::new("."));
    Ok(faults_of(&text, |file| fs::read_to_string(folder.join(file)).ok()))
}

/// The faults of a page, whose links lead to what `read` gives.
fn faults_of(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<&str> = rows
        .filter(|line| line.split('|').nth(1).is_some_and(is_number))
        .collect();
    if rows.is_empty() {
        faults.push(format!("{PAGE} has no row that begins with a number"));
    }
    for row in rows {
        let tests = tests_of(row);
        if tests.is_empty() && !row.contains(NOT_YET) {
            faults.push(format!(
                "{PAGE}: a row names no test and does not say {NOT_YET:?}: {row}"
            ));
        }
        for (name, file) in tests {
            let exists = read(file).is_some_and(|source| source.contains(&format!("fn {name}(")));
            if !exists {
                faults.push(format!("{PAGE} names the test {name}, which is not in {file}"));
            }
        }
    }
    faults
}

fn is_number(cell: &str) -> bool {
    let cell = cell.trim();
    !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit())
}

/// The links of the form ``[`name`](file)``.
fn tests_of(row: &str) -> Vec<(&str, &str)> {
    let links = row.split("[`").skip(1);
    let parts = links.filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        Some((name, rest.split_once(')')?.0))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        faults_of(text, |file| (file == "a.rs").then(|| "fn it_holds() {}".to_owned()))
    }

    #[test]
    fn a_row_whose_test_exists_or_that_promises_nothing_passes() {
        let page = "| # | pain |\n|---|---|\n| 1 | x | [`it_holds`](a.rs) |\n| 2 | y | not yet |\n";
        assert!(faults(page).is_empty(), "{:?}", faults(page));
    }

    #[test]
    fn a_test_that_is_gone_a_file_that_is_gone_and_a_row_without_any_are_told() {
        for row in ["[`it_broke`](a.rs)", "[`it_holds`](b.rs)", "it holds, believe us"] {
            let page = format!("| 1 | x | {row} |\n");
            assert_eq!(faults(&page).len(), 1, "{row}");
        }
        assert_eq!(faults("# no table").len(), 1);
    }
}

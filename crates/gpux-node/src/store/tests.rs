//! Databases of other versions: a newer one is left alone, an old one opens with all that it holds.

use super::*;
use serde_json::Value;

/// What version 1 wrote. A new layout gets a file of its own beside it.
const VERSION_1: &str = include_str!("version-1.sql");

/// A store in a database that version 1 wrote.
pub(crate) fn of_version_1() -> (tempfile::TempDir, Store) {
    let (dir, path) = database(VERSION_1);
    let store = Store::open(&path).unwrap();
    (dir, store)
}

fn user_version(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

fn database(statements: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gpux.db");
    Connection::open(&path).unwrap().execute_batch(statements).unwrap();
    (dir, path)
}

#[test]
fn a_database_that_a_newer_version_wrote_is_refused_with_what_to_do_and_left_as_it_is() {
    let (_dir, path) = database("CREATE TABLE later (id); PRAGMA user_version = 9;");
    let before = std::fs::read(&path).unwrap();
    let refused = Store::open(&path).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, StoreError::Newer { found: 9, .. }), "{said}");
    for word in [
        path.to_str().unwrap(),
        "a newer gpux wrote it",
        "nothing was changed: run that gpux",
    ] {
        assert!(said.contains(word), "{word:?}: {said}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_that_version_1_wrote_opens_with_all_that_it_holds() {
    let (_dir, path) = database(VERSION_1);
    assert_eq!(user_version(&path), 1);
    let store = Store::open(&path).unwrap();
    let jobs: Vec<Value> = store.jobs().unwrap();
    let names: Vec<&str> = jobs.iter().filter_map(|job| job["name"].as_str()).collect();
    assert_eq!(names, ["talker"]);
    let entries = store.load().unwrap();
    assert_eq!(entries.len(), 2, "two deposits");
    let sequence: Option<u64> = store.fact("offer sequence").unwrap();
    assert!(sequence.is_some());
    drop(store);
    assert_eq!(user_version(&path), i64::try_from(MIGRATIONS.len()).unwrap());
}

#[test]
fn a_new_database_is_of_the_newest_version_and_opens_again() {
    let (_dir, path) = database("");
    drop(Store::open(&path).unwrap());
    assert_eq!(user_version(&path), i64::try_from(MIGRATIONS.len()).unwrap());
    Store::open(&path).unwrap();
}

//! Databases of other versions: a newer one is left alone, an old one opens with all that it holds. Rows that cannot be read.

use super::*;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

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
fn a_name_is_claimed_once_and_whoever_comes_second_gets_what_the_first_one_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.sqlite")).unwrap();
    assert_eq!(store.claim_fact("payment:rent", &1).unwrap(), 1);
    assert_eq!(store.claim_fact("payment:rent", &2).unwrap(), 1);
    assert_eq!(store.claim_fact("payment:food", &2).unwrap(), 2);
    assert_eq!(store.fact::<i32>("payment:rent").unwrap(), Some(1));
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
    let jobs: Vec<Value> = store.jobs().unwrap().readable;
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

#[derive(Debug, Deserialize)]
struct Versioned {
    #[serde(deserialize_with = "known_version::<_, 3>")]
    version: u16,
}

#[test]
fn a_record_of_a_newer_version_is_not_read() {
    let read = |version: u16| serde_json::from_value::<Versioned>(serde_json::json!({ "version": version }));
    assert_eq!(read(3).unwrap().version, 3);
    let newer = read(4).unwrap_err();
    assert!(
        newer.to_string().contains("it was written as version 4, and this is 3"),
        "{newer}"
    );
}

#[test]
fn a_job_of_a_newer_version_is_named_and_hides_no_other() {
    let (_folder, store) = empty();
    for (byte, version) in [(1, 3), (2, 4), (3, 2)] {
        let name = format!("of version {version}");
        let job = serde_json::json!({ "version": version });
        store.put_job(JobId([byte; 16]), &name, &job).unwrap();
    }
    let jobs = store.jobs::<Versioned>().unwrap();
    let versions: Vec<u16> = jobs.readable.iter().map(|job| job.version).collect();
    assert_eq!(versions, [3, 2]);
    let [(name, error)] = jobs.unreadable.as_slice() else {
        unreachable!("{jobs:?}");
    };
    assert_eq!(name, "of version 4");
    assert!(crate::error_chain(error).contains("written as version 4"), "{error}");
}

fn lease(byte: u8) -> LeaseId {
    LeaseId([byte; 32])
}

fn empty() -> (tempfile::TempDir, Store) {
    let (folder, path) = database("");
    let store = Store::open(&path).unwrap();
    (folder, store)
}

#[test]
fn a_lease_that_cannot_be_read_is_named_and_hides_no_other() {
    let (_folder, store) = empty();
    for byte in 1..=4 {
        store.put_lease(Role::Provider, lease(byte), &byte, byte == 4).unwrap();
    }
    let broken = "UPDATE leases SET state = ?1 WHERE id = ?2";
    let id = lease(2);
    store.lock().execute(broken, params!["{\"half", id.as_bytes()]).unwrap();
    let leases = store.open_leases::<u8>(Role::Provider).unwrap();
    assert_eq!(leases.readable, [1, 3]);
    let named: Vec<_> = leases.unreadable.iter().map(|(lease, _)| *lease).collect();
    assert_eq!(named, [Some(id)]);
    // Text is bytes to SQLite, also where it is no text at all; an id may be cut short.
    store
        .lock()
        .execute(broken, params![[0xff_u8, 0xfe], id.as_bytes()])
        .unwrap();
    store
        .lock()
        .execute("UPDATE leases SET id = x'02' WHERE id = ?1", [id.as_bytes()])
        .unwrap();
    let leases = store.open_leases::<u8>(Role::Provider).unwrap();
    assert_eq!(leases.readable, [1, 3]);
    assert!(matches!(leases.unreadable.as_slice(), [(None, _)]));
}

#[test]
fn leases_that_cannot_be_read_at_all_are_an_error_and_not_none() {
    let (_folder, store) = empty();
    store.lock().execute_batch("DROP TABLE leases").unwrap();
    assert!(store.open_leases::<u8>(Role::Provider).is_err());
}

#[test]
fn a_record_is_changed_as_it_is_now_and_one_that_cannot_be_read_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("gpux.db")).unwrap();
    let lease = |byte| LeaseId([byte; 32]);
    for byte in [1, 2, 3] {
        let words: Vec<String> = Vec::new();
        store.add_record(Role::Renter, lease(byte), &words).unwrap();
    }
    let say = |word: &str, open| {
        let change = |words: &mut Vec<String>| {
            words.push(word.to_owned());
            open
        };
        store.change_record(Role::Renter, lease(1), change).unwrap()
    };
    assert_eq!(say("mine", true), Some(vec!["mine".to_owned()]));
    assert_eq!(say("theirs", true), Some(vec!["mine".to_owned(), "theirs".to_owned()]));
    let none = store.change_record(Role::Provider, lease(1), |_: &mut Vec<String>| true);
    assert_eq!(none.unwrap(), None);
    let statement = "UPDATE closing_records SET state = '{' WHERE lease = ?1";
    store.write(statement, params![lease(2).as_bytes()]).unwrap();
    let readable = || {
        let open = store.open_records::<Vec<String>>(Role::Renter).unwrap();
        open.into_iter().filter_map(Result::ok).collect::<Vec<_>>()
    };
    assert_eq!(readable(), [vec!["mine".to_owned(), "theirs".to_owned()], vec![]]);
    say("over", false);
    assert_eq!(readable(), [Vec::<String>::new()]);
}

#[test]
fn the_database_that_holds_receipt_keys_is_its_owners_alone_with_its_journals_also_one_of_an_earlier_version() {
    rustix::process::umask(rustix::fs::Mode::empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let modes = || -> Vec<u32> {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777)
            .collect()
    };
    let store = Store::open(&path).unwrap();
    store.put_fact("kept", &1).unwrap();
    assert_eq!(modes(), [0o600; 3], "the file and its journals");
    for file in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::set_permissions(file.unwrap().path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    // As after a crash: the journals are still there.
    let again = Store::open(&path).unwrap();
    assert_eq!(modes(), [0o600; 3]);
    assert_eq!(again.fact::<u32>("kept").unwrap(), Some(1));
}

//! Job files on this machine alone: templates, and the places of mistakes.

use crate::home::Home;
use serde_json::Value;

const TEMPLATES: [&str; 4] = ["hello", "task", "render", "compose"];

#[test]
fn every_template_is_a_job_file() {
    for template in TEMPLATES {
        let home = Home::new();
        let written = home.run(&["init", template, "--json"]);
        assert_eq!((written.status, written.talk.as_str()), (0, ""), "{template}");
        let written: Value = serde_json::from_str(&written.out).unwrap();
        assert_eq!(written["files"], serde_json::json!(["gpux.yaml"]));
        let checked = home.run(&["validate", "--json"]);
        assert_eq!(
            (checked.status, checked.talk.as_str()),
            (0, ""),
            "{template}: {}",
            checked.out
        );
        let checked: Value = serde_json::from_str(&checked.out).unwrap();
        assert_eq!(
            (checked["valid"].as_bool(), checked["mistake"].is_null()),
            (Some(true), true)
        );
    }
    assert_eq!(
        TEMPLATES.len(),
        Home::new()
            .run(&["init", "--help"])
            .out
            .matches("\n          - ")
            .count()
    );
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let home = Home::new();
    let path = home.file("gpux.yaml", "mine");
    let refused = home.run(&["init", "--json"]);
    let error = refused.error();
    assert_eq!((refused.status, error["code"].as_str()), (2, Some("invalid_input")));
    assert!(error["hint"].as_str().unwrap().contains("-o FILE"), "{error}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    assert_eq!(home.run(&["init", "-o", "other.yaml"]).status, 0);
}

#[test]
fn a_mistake_is_told_with_its_line_its_column_and_what_was_meant() {
    let home = Home::new();
    assert_eq!(home.run(&["init", "task"]).status, 0);
    let right = std::fs::read_to_string(home.path().join("gpux.yaml")).unwrap();
    home.file("wrong.yaml", &right.replace("\nbudget:", "\nbudgit:"));
    let line = 1 + right.lines().position(|line| line == "budget:").unwrap();
    let told = home.run(&["validate", "wrong.yaml"]);
    assert_eq!((told.status, told.talk.as_str()), (2, ""));
    let lines: Vec<&str> = told.out.lines().collect();
    let [what, source, mark] = lines.as_slice() else {
        unreachable!("{lines:?}");
    };
    assert!(
        what.starts_with(&format!("wrong.yaml:{line}:1: ")) && what.contains("budget"),
        "{what}"
    );
    assert!(source.ends_with("| budgit:"), "{source}");
    assert_eq!(mark.find('^'), source.find("budgit"), "{source}\n{mark}");
    let document: Value = serde_json::from_str(&home.run(&["validate", "wrong.yaml", "--json"]).out).unwrap();
    assert_eq!(document["mistake"]["line"].as_u64(), u64::try_from(line).ok());
    assert_eq!(
        (document["mistake"]["column"].as_u64(), document["valid"].as_bool()),
        (Some(1), Some(false))
    );
}

#[test]
fn what_is_typed_beside_a_file_is_checked_with_it() {
    let home = Home::new();
    assert_eq!(home.run(&["init", "task"]).status, 0);
    assert_eq!(home.run(&["validate", "--set", "megabytes=512"]).status, 0);
    let wrong = home.run(&["validate", "--set", "megabytes=many", "--json"]);
    let document: Value = serde_json::from_str(&wrong.out).unwrap();
    assert_eq!(
        (wrong.status, document["mistake"]["line"].is_null()),
        (2, true),
        "{document}"
    );
    assert!(
        document["mistake"]["message"].as_str().unwrap().contains("megabytes"),
        "{document}"
    );
}

#[test]
fn a_hostile_file_steers_no_terminal() {
    let home = Home::new();
    home.file("wrong.yaml", "gpux: 1\nkind: task\n\u{9b}2Jname: x\n\u{1b}[2J: 1\n");
    let told = home.run(&["validate", "wrong.yaml"]);
    assert_eq!(told.status, 2, "{}", told.out);
    assert!(!told.out.contains(['\u{1b}', '\u{9b}']), "{:?}", told.out);
}

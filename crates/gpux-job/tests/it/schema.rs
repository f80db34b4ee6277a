//! The schema that editors use, against the parser that decides.

use super::{FULL, SHORT, TASK};
use gpux_job::{JobFile, job_schema};
use serde_json::Value;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/job.schema.json");

#[test]
fn the_committed_schema_is_the_generated_one() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    assert!(
        committed == job_schema(),
        "stale: cargo run -p gpux-job --example job_schema > docs/spec/job.schema.json"
    );
}

/// Every table of the schema, with its keys and those that must be there.
fn tables() -> Vec<(Vec<String>, Vec<String>)> {
    let schema: Value = serde_json::from_str(&job_schema()).unwrap();
    let names = |value: &Value| match value {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(list) => list.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let table = |value: &Value| (names(&value["properties"]), names(&value["required"]));
    let defs = schema["$defs"].as_object().unwrap().values();
    std::iter::once(&schema)
        .chain(defs)
        .filter(|value| value["properties"].is_object())
        .map(table)
        .collect()
}

#[test]
fn the_schema_has_every_key_that_the_parser_takes() {
    let keys: Vec<_> = tables().into_iter().flat_map(|(keys, _)| keys).collect();
    for line in FULL.lines().chain(TASK.lines()) {
        let words = line.split([' ', '{', ',']).filter_map(|word| word.strip_suffix(':'));
        for key in words.filter(|key| !["LOG_LEVEL", "VERSION", "scene", "frames", "samples", "scale"].contains(key)) {
            assert!(keys.iter().any(|known| known == key), "{key}");
        }
    }
}

#[test]
fn what_the_schema_requires_the_parser_requires() {
    let (_, required) = tables()
        .into_iter()
        .find(|(keys, _)| keys.iter().any(|key| key == "gpux"))
        .unwrap();
    assert_eq!(required, ["gpux", "kind", "name", "image", "run"]);
    for key in required {
        let without: String = SHORT
            .lines()
            .filter(|line| !line.starts_with(&key))
            .map(|line| format!("{line}\n"))
            .collect();
        let error = JobFile::parse(&without).unwrap_err().to_string();
        assert_eq!(error, format!("the key {key} is missing"));
    }
}

#[test]
fn the_schema_knows_which_section_belongs_to_which_kind() {
    let schema: Value = serde_json::from_str(&job_schema()).unwrap();
    let rules = schema["allOf"].as_array().unwrap();
    let of = |kind: &str| {
        rules
            .iter()
            .find(|rule| rule["if"]["properties"]["kind"]["const"] == kind)
            .unwrap()
    };
    assert_eq!(of("array")["then"]["required"], serde_json::json!(["array"]));
    assert_eq!(of("array")["then"]["properties"]["task"], Value::Bool(false));
    assert_eq!(of("task")["then"]["properties"]["array"], Value::Bool(false));
}

#[test]
fn the_schema_refuses_unknown_keys_wherever_the_parser_does() {
    let schema: Value = serde_json::from_str(&job_schema()).unwrap();
    let defs = schema["$defs"].as_object().unwrap().values();
    let tables: Vec<_> = std::iter::once(&schema)
        .chain(defs)
        .filter(|value| value["properties"].is_object())
        .collect();
    assert!(
        tables.len() >= 8,
        "job, resources, input, array, task, retry, budget, builder and param"
    );
    assert!(
        tables
            .iter()
            .all(|table| table["additionalProperties"] == Value::Bool(false))
    );
}

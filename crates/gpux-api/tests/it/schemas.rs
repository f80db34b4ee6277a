//! The published schemas are those of the types, and name the documents that they are of.

use std::{collections::BTreeSet, fs, path::Path};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/json");

#[test]
fn every_committed_schema_is_the_generated_one() {
    for (name, schema) in gpux_api::document_schemas() {
        let committed = fs::read_to_string(Path::new(FOLDER).join(format!("{name}.schema.json"))).unwrap_or_default();
        assert!(
            committed == format!("{:#}\n", schema.as_value()),
            "{name} is stale: cargo run -p gpux-api --example json_schemas"
        );
    }
}

#[test]
fn no_schema_is_committed_of_a_document_that_is_gone() {
    let committed = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known = gpux_api::document_schemas()
        .into_iter()
        .map(|(name, _)| format!("{name}.schema.json"));
    assert_eq!(committed.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
}

#[test]
fn every_schema_demands_the_name_of_its_document() {
    for (name, schema) in gpux_api::document_schemas() {
        let schema = schema.as_value();
        assert_eq!(schema["properties"]["schema"]["const"], format!("gpux.{name}/v1"));
        let required = schema["required"].as_array().unwrap();
        assert!(required.iter().any(|field| field == "schema"), "{name}");
    }
}

#[test]
fn the_committed_openapi_document_is_the_generated_one() {
    let committed = fs::read_to_string(Path::new(FOLDER).join("../openapi.json")).unwrap_or_default();
    assert!(
        committed == format!("{:#}\n", gpux_api::openapi()),
        "docs/spec/openapi.json is stale: cargo run -p gpux-api --example json_schemas"
    );
}

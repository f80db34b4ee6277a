//! Each rule about arrows finds what it forbids, and nothing else.

use super::*;
use serde_json::json;

/// A workspace with every crate of the tables, in which `name` also depends on `on`.
fn workspace_with(name: &str, on: &str, kind: Option<&str>) -> Value {
    let packages = ARROWS.iter().map(|(known, _)| {
        let dependencies = if *known == name {
            vec![json!({ "name": on, "kind": kind })]
        } else {
            Vec::new()
        };
        json!({ "name": known, "dependencies": dependencies })
    });
    json!({ "packages": packages.collect::<Vec<_>>() })
}

fn faults(name: &str, on: &str, kind: Option<&str>) -> Vec<String> {
    faults_of(&workspace_with(name, on, kind)).unwrap()
}

#[test]
fn arrows_of_the_table_pass() {
    assert!(faults("gpux-node", "gpux-runtime", None).is_empty());
    assert!(faults("gpux-lease", "alloy-primitives", None).is_empty());
    assert!(faults("gpux-chain", "alloy", None).is_empty());
}

#[test]
fn an_adapter_may_not_know_another_adapter() {
    assert_eq!(
        faults("gpux-net", "gpux-chain", None),
        ["gpux-net may not depend on gpux-chain"]
    );
    assert_eq!(
        faults("gpux-runtime", "gpux-net", Some("dev")),
        ["gpux-runtime may not depend on gpux-net"]
    );
}

#[test]
fn a_pure_crate_may_not_depend_upwards_or_on_a_runtime() {
    assert_eq!(
        faults("gpux-lease", "gpux-node", None),
        ["gpux-lease may not depend on gpux-node"]
    );
    assert_eq!(
        faults("gpux-market", "tokio", None),
        ["gpux-market is pure and may not depend on tokio"]
    );
    assert!(faults("gpux-market", "tokio", Some("dev")).is_empty());
}

#[test]
fn only_one_crate_knows_an_outside_system() {
    assert_eq!(
        faults("gpux-node", "iroh", None),
        ["gpux-node may not depend on iroh, which is for gpux-net and gpux-e2e alone"]
    );
}

#[test]
fn only_tests_may_use_the_support_crate() {
    assert!(faults("gpux-runtime", "gpux-testkit", Some("dev")).is_empty());
    assert_eq!(
        faults("gpux-runtime", "gpux-testkit", None),
        ["gpux-runtime may not depend on gpux-testkit"]
    );
}

#[test]
fn an_unknown_crate_and_a_crate_that_is_gone_are_told() {
    let mut workspace = workspace_with("xtask", "serde_json", None);
    let packages = workspace["packages"].as_array_mut().unwrap();
    packages.retain(|package| package["name"] != "gpux-e2e");
    packages.push(json!({ "name": "gpux-new", "dependencies": [] }));
    let found = faults_of(&workspace).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("gpux-new is in no layer"), "{found:?}");
    assert!(
        found[1].starts_with("gpux-e2e is in xtask/src/layers.rs and not"),
        "{found:?}"
    );
}

#[test]
fn metadata_without_packages_is_an_error() {
    assert!(faults_of(&json!({})).is_err());
}

#[test]
fn the_tables_name_only_crates_of_the_tables() {
    let known: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        assert!(allowed.iter().all(|on| known.contains(on) && on != name), "{name}");
    }
    assert!(PURE.iter().chain(SUPPORT).all(|name| known.contains(name)));
    assert!(KNOWN_BY.iter().flat_map(|(_, by)| *by).all(|name| known.contains(name)));
}

//! The arrows between crates are law: a crate depends on ours only as this table says, and only one crate knows each outside system.

use serde_json::Value;
use std::process::Command;

/// Each crate with the crates of ours that it may use. Tests may also use the support crates.
const ARROWS: &[(&str, &[&str])] = &[
    ("gpux-types", &[]),
    ("gpux-job", &["gpux-types"]),
    ("gpux-lease", &["gpux-types"]),
    ("gpux-market", &["gpux-types"]),
    ("gpux-proto", &["gpux-types", "gpux-lease", "gpux-market"]),
    ("gpux-api", &["gpux-types", "gpux-job"]),
    ("gpux-chain", &["gpux-types", "gpux-lease"]),
    ("gpux-net", &["gpux-types", "gpux-lease", "gpux-market", "gpux-proto"]),
    ("gpux-runtime", &["gpux-types"]),
    (
        "gpux-node",
        &[
            "gpux-types", "gpux-job", "gpux-lease", "gpux-market", "gpux-proto", "gpux-api", "gpux-chain", "gpux-net",
            "gpux-runtime",
        ],
    ),
    ("gpux", &["gpux-types", "gpux-job", "gpux-lease", "gpux-market", "gpux-api", "gpux-node"]),
    ("gpux-testkit", &["gpux-types", "gpux-lease", "gpux-market", "gpux-proto", "gpux-runtime"]),
    ("gpux-e2e", &["gpux-types", "gpux-api", "gpux-lease"]),
    ("xtask", &[]),
];

/// Outside systems, each with the crates that may know it.
const KNOWN_BY: &[(&str, &[&str])] = &[
    ("alloy", &["gpux-chain"]),
    ("iroh", &["gpux-net"]),
    ("iroh-blobs", &["gpux-net"]),
    ("iroh-gossip", &["gpux-net"]),
    ("libcontainer", &["gpux-runtime"]),
    ("oci-client", &["gpux-runtime"]),
    ("rusqlite", &["gpux-node"]),
    ("axum", &["gpux-node"]),
    ("clap", &["gpux"]),
];

/// What no pure crate may use: threads, clocks, randomness and I/O come with them.
const IMPURE: &[&str] = &["tokio", "rand", "reqwest", "rustix", "nix", "tracing"];
const PURE: &[&str] = &["gpux-types", "gpux-job", "gpux-lease", "gpux-market", "gpux-proto", "gpux-api"];
/// Which crates' tests may use the support crates.
const SUPPORT: &[&str] = &["gpux-testkit"];

/// Every arrow that is not in the tables.
pub(crate) fn check() -> Result<Vec<String>, String> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            faults.push(format!("{name} is in no layer: add it to xtask/src/layers.rs and to ARCHITECTURE.md"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            faults.extend(fault_of(name, allowed, dependency));
        }
    }
    Ok(faults)
}

fn fault_of(name: &str, allowed: &[&str], dependency: &Value) -> Option<String> {
    let on = dependency["name"].as_str().unwrap_or_default();
    let for_tests = dependency["kind"].as_str() == Some("dev");
    let ours = on.starts_with("gpux");
    if ours && !allowed.contains(&on) && !(for_tests && SUPPORT.contains(&on)) {
        return Some(format!("{name} may not depend on {on}"));
    }
    if for_tests {
        return None;
    }
    if PURE.contains(&name) && IMPURE.contains(&on) {
        return Some(format!("{name} is pure and may not depend on {on}"));
    }
    let (_, known_by) = KNOWN_BY.iter().find(|(system, _)| *system == on)?;
    (!known_by.contains(&name)).then(|| format!("{name} may not depend on {on}: only {} knows it", known_by.join(", ")))
}

fn metadata() -> Result<Value, String> {
    let output = Command::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let output = output.map_err(|error| format!("running cargo metadata: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| format!("reading cargo metadata: {error}"))
}

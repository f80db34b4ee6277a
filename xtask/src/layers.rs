//! The arrows between crates are law: a crate depends on ours only as this table says, and only one crate knows each
//! outside system. Called by `main.rs` with what `cargo metadata` tells; it changes nothing.

#[cfg(test)]
mod tests;

use serde_json::Value;
use std::process::Command;

/// Each crate with the crates of ours that it may use. Tests may also use the support crates.
const ARROWS: &[(&str, &[&str])] = &[
    ("gpux-types", &[]),
    ("gpux-job", &["gpux-types"]),
    ("gpux-lease", &["gpux-types"]),
    ("gpux-market", &["gpux-types"]),
    ("gpux-proto", &["gpux-types", "gpux-lease", "gpux-market"]),
    ("gpux-api", &["gpux-types"]),
    ("gpux-chain", &["gpux-types", "gpux-lease"]),
    ("gpux-net", &["gpux-types", "gpux-market", "gpux-proto"]),
    ("gpux-runtime", &["gpux-types", "gpux-job"]),
    (
        "gpux-node",
        &[
            "gpux-types",
            "gpux-job",
            "gpux-lease",
            "gpux-market",
            "gpux-proto",
            "gpux-api",
            "gpux-chain",
            "gpux-net",
            "gpux-runtime",
        ],
    ),
    ("gpux", &["gpux-types", "gpux-job", "gpux-api", "gpux-node"]),
    ("gpux-testkit", &["gpux-types", "gpux-lease", "gpux-runtime"]),
    (
        "gpux-world",
        &[
            "gpux-types",
            "gpux-lease",
            "gpux-proto",
            "gpux-api",
            "gpux-chain",
            "gpux-net",
            "gpux-runtime",
            "gpux-node",
            "gpux-testkit",
        ],
    ),
    // The daemon and its runtime for a provider that cheats, keys and words of the market for a stranger that forges; the tests
    // themselves know documents only.
    (
        "gpux-e2e",
        &[
            "gpux-types",
            "gpux-lease",
            "gpux-api",
            "gpux-node",
            "gpux-runtime",
            "gpux-chain",
            "gpux-market",
            "gpux-net",
            "gpux-proto",
        ],
    ),
    ("xtask", &[]),
];

/// Outside systems, each with the crates that may know it.
const KNOWN_BY: &[(&str, &[&str])] = &[
    // The simulated world reads signed transactions and runs the contracts.
    ("alloy", &["gpux-chain", "gpux-world"]),
    ("revm", &["gpux-world"]),
    // The whole-system tests have a stranger that speaks gossip by hand, since the adapter refuses to forge.
    ("iroh", &["gpux-net", "gpux-e2e"]),
    ("iroh-blobs", &["gpux-net"]),
    ("iroh-gossip", &["gpux-net", "gpux-e2e"]),
    ("libcontainer", &["gpux-runtime"]),
    ("libseccomp", &["gpux-runtime"]),
    ("oci-client", &["gpux-runtime"]),
    ("rusqlite", &["gpux-node"]),
    ("axum", &["gpux-node"]),
    ("clap", &["gpux"]),
];

/// What no pure crate may use: threads, clocks, randomness and I/O come with them.
const IMPURE: &[&str] = &[
    "tokio",
    "rand",
    "getrandom",
    "reqwest",
    "rustix",
    "nix",
    "libc",
    "tracing",
    "tempfile",
];
/// The pure crates.
const PURE: &[&str] = &[
    "gpux-types",
    "gpux-job",
    "gpux-lease",
    "gpux-market",
    "gpux-proto",
    "gpux-api",
];
/// What every crate's tests may use.
const SUPPORT: &[&str] = &["gpux-testkit"];

/// Every arrow of the workspace that is not in the tables, and every row of the tables that names no crate.
pub(crate) fn check() -> Result<Vec<String>, String> {
    faults_of(&metadata()?)
}

fn faults_of(metadata: &Value) -> Result<Vec<String>, String> {
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .ok_or("cargo metadata names no packages")?;
    let mut faults = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            faults.push(format!(
                "{name} is in no layer: add it to xtask/src/layers.rs and to ARCHITECTURE.md"
            ));
            continue;
        };
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        faults.extend(
            dependencies
                .into_iter()
                .flatten()
                .filter_map(|dependency| fault_of(name, allowed, dependency)),
        );
    }
    let is_there = |name: &str| packages.iter().any(|package| text(package, "name") == name);
    let gone = ARROWS.iter().filter(|(name, _)| !is_there(name));
    faults.extend(gone.map(|(name, _)| format!("{name} is in xtask/src/layers.rs and not in the workspace")));
    Ok(faults)
}

fn fault_of(name: &str, allowed: &[&str], dependency: &Value) -> Option<String> {
    let on = text(dependency, "name");
    let for_tests = text(dependency, "kind") == "dev";
    if on.starts_with("gpux") && !allowed.contains(&on) && !(for_tests && SUPPORT.contains(&on)) {
        return Some(format!("{name} may not depend on {on}"));
    }
    if for_tests {
        return None;
    }
    if PURE.contains(&name) && IMPURE.contains(&on) {
        return Some(format!("{name} is pure and may not depend on {on}"));
    }
    let (_, known_by) = KNOWN_BY.iter().find(|(system, _)| *system == on)?;
    (!known_by.contains(&name)).then(|| {
        format!(
            "{name} may not depend on {on}, which is for {} alone",
            known_by.join(" and ")
        )
    })
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn metadata() -> Result<Value, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output();
    let output = output.map_err(|error| format!("running cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "running cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("reading cargo metadata: {error}"))
}

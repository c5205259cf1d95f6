//! No crate depends on another that ARCHITECTURE.md does not allow it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

#[test]
fn only_the_agreed_edges() {
    let allowed = BTreeMap::from([
        ("temoin-proto", vec![]),
        ("temoin-hw", vec!["temoin-proto"]),
        ("temoin-media", vec!["temoin-proto"]),
        ("temoin-agent-core", vec!["temoin-proto"]),
        ("temoin-access-log", vec!["temoin-proto"]),
        ("temoin-witness", vec!["temoin-access-log"]),
        ("temoin-agent", vec!["temoin-agent-core", "temoin-hw", "temoin-media", "temoin-proto"]),
        ("temoin-keys", vec!["temoin-access-log", "temoin-proto"]),
        ("temoin-decoder", vec!["temoin-hw", "temoin-media", "temoin-proto"]),
        ("temoin-server", vec!["temoin-access-log", "temoin-keys", "temoin-media", "temoin-proto"]),
    ]);
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if ["temoin-tests", "temoin-vm", "temoin-benches"].contains(&name) {
            continue;
        }
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not on the map"));
        // Build and test dependencies too.
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            assert!(!on.starts_with("temoin-") || may.contains(&on), "{name} -> {on}");
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), allowed.len());
}

//! The published schema of events is the one of the types.

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/run-events.schema.json");

#[test]
fn the_committed_schema_of_events_is_the_generated_one() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    let generated = format!("{:#}\n", schemars::schema_for!(gpux_api::RunEvent).as_value());
    assert!(
        committed == generated,
        "stale: cargo run -p gpux-api --example run_event_schema > docs/spec/run-events.schema.json"
    );
}

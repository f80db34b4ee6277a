//! Prints the JSON Schema of one line of `gpux run --json`:
//! `cargo run -p gpux-api --example run_event_schema > docs/spec/run-events.schema.json`.

fn main() {
    println!("{:#}", schemars::schema_for!(gpux_api::RunEvent).as_value());
}

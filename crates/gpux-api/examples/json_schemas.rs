//! Writes the JSON Schema of every document that commands print, and the OpenAPI document of the local API: `cargo run -p gpux-api --example json_schemas`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/json"));
    fs::create_dir_all(folder)?;
    for (name, schema) in gpux_api::document_schemas() {
        let text = format!("{:#}\n", schema.as_value());
        fs::write(folder.join(format!("{name}.schema.json")), text)?;
    }
    let text = format!("{:#}\n", gpux_api::openapi());
    fs::write(folder.join("../openapi.json"), text)?;
    Ok(())
}

//! The JSON Schema of the job file, for editors. Generated, so that it cannot lag behind.

use crate::file::JobFile;
use schemars::generate::SchemaSettings;

/// The schema of the job file: JSON Schema 2020-12, indented, with a line break at its end.
#[must_use]
pub fn job_schema() -> String {
    let schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<JobFile>();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

//! Prints the JSON Schema of the job file: `cargo run -p gpux-job --example job_schema > docs/spec/job.schema.json`.

fn main() {
    print!("{}", gpux_job::job_schema());
}

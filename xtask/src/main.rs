//! Checks of the workspace that no compiler makes: `cargo xtask layers` and `cargo xtask tidy`. CI runs both; neither
//! changes anything.

mod layers;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    let faults = match verb.as_str() {
        "layers" => layers::check(),
        "tidy" => tidy::check(),
        _ => Err(format!("unknown verb {verb:?}: expected layers or tidy")),
    };
    match faults {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("{verb}: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{verb}: {error}");
            ExitCode::FAILURE
        }
    }
}

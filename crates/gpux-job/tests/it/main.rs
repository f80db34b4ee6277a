//! The job file from text to job, as its users see it.

#[cfg(test)]
mod compose;
mod errors;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod schema;

/// A file that holds every key.
pub(crate) const FULL: &str = r#"
gpux: 1
kind: array
name: shot-03
image: oci:build/image:render
nodes: 3
resources: { cpu: 1.5, memory: 2GiB, disk: 2GB }
environment: { LOG_LEVEL: debug, VERSION: 3.10 }
inputs:
  scene: { path: scene.blend, to: /in/scene.blend }
params:
  frames: 1-48
  samples: 64
  scale: { default: 1.50, type: number, help: of the picture's size }
array:
  over: frames
  collect: /out/*.png
preflight: preflight
run: [render, --quiet]
then: |
  film
retry: { on: [provider-fault, error], max: 2 }
budget: { max_price: 0.40 DAI/hour, max_total: 5 DAI, max_duration: 2h }
builder: { address: "0x52908400098527886E0F7030069857D2E4169EE7", share: 2.5% }
output: results
"#;

/// A task with its section.
pub(crate) const TASK: &str = "
gpux: 1
kind: task
name: bench
image: ghcr.io/org/app:1.2
task: { collect: /out/**/*.json }
run: bench
then: sum-up
retry: { on: [error], max: 1 }
budget: { max_duration: 2h }
";

/// The shortest file that is a job.
pub(crate) const SHORT: &str = "
gpux: 1
kind: array
name: shot-03
image: ghcr.io/org/app:1.2
params: { frames: 1-3 }
array: { over: frames }
run: render
budget: { max_duration: 2h }
";

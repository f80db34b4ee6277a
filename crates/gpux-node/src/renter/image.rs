//! From an image's name to what travels: resolved, read once, and put into the blob store by reference.

use crate::{fault::fault, node::Node};
use gpux_api::{ErrorBody, ErrorCode};
use gpux_job::{ImageSource, Job};
use gpux_net::{AddMode, BlobRef, Keeper};
use gpux_proto::{BlobSpec, Command, ImageSpec, InputSpec, JobSpec, LayerSpec, MAX_JOB_BYTES};
use gpux_runtime::ResolvedImage;
use gpux_types::{ByteSize, JobId, MAX_LAYERS};
use std::path::Path;

/// Finds the image that a job names.
pub(super) async fn resolve(node: &Node, source: &ImageSource) -> Result<ResolvedImage, ErrorBody> {
    node.images.resolve(source).await.map_err(|error| {
        fault(ErrorCode::InvalidInput, &format!("finding the image {source}"), &error).with_hint(
            "check the name; a local image is written as oci:DIR:TAG, and built by the app's own build script",
        )
    })
}

/// Puts the image's layers and the job's inputs into the blob store; gives what a provider is told.
pub(super) async fn publish(node: &Node, id: JobId, job: &Job, image: &ResolvedImage) -> Result<JobSpec, ErrorBody> {
    let keep = Keeper::Job(id);
    let config = node.net.add_bytes(image.config_bytes.clone(), keep).await;
    let config = config.map_err(|error| unreadable("the image's configuration", &error))?;
    let spec = JobSpec {
        job: id,
        name: job.name.to_string(),
        image: ImageSpec {
            manifest_digest: image.manifest_digest.0,
            config: blob_spec(config),
            layers: publish_layers(node, keep, image).await?,
        },
        inputs: publish_inputs(node, keep, job).await?,
        command: Command {
            argv: job.run.argv(),
            environment: job.environment(Some(id)).into_iter().collect(),
        },
        collect: job.work.collect().map(ToString::to_string).unwrap_or_default(),
        part_limit: None,
    };
    check_size(&spec)?;
    Ok(spec)
}

/// Every provider refuses what is over these limits: it is told before any is asked.
fn check_size(spec: &JobSpec) -> Result<(), ErrorBody> {
    if spec.within_limits() {
        return Ok(());
    }
    let bytes = gpux_proto::encode(spec).len();
    let message = format!(
        "reading the job: with its commands, variables and paths it takes {bytes} bytes as nodes are told of it; the limit is {MAX_JOB_BYTES}"
    );
    Err(ErrorBody::new(ErrorCode::InvalidInput, message)
        .with_hint("put long scripts and values into the image or an input"))
}

fn unreadable(what: &str, error: &gpux_net::StoreError) -> ErrorBody {
    fault(ErrorCode::InvalidInput, &format!("reading {what}"), error)
}

const fn blob_spec(blob: BlobRef) -> BlobSpec {
    BlobSpec {
        hash: blob.hash,
        size: ByteSize(blob.size),
    }
}

/// Layers are served from where the image lies; one that is in the store already is only kept for longer.
async fn publish_layers(node: &Node, keep: Keeper, image: &ResolvedImage) -> Result<Vec<LayerSpec>, ErrorBody> {
    let mut layers = Vec::with_capacity(image.layers.len().min(MAX_LAYERS));
    for layer in &image.layers {
        let failed = |error| unreadable("a layer of the image", &error);
        let blob = match node.net.find(layer.blake3).await.map_err(failed)? {
            Some(blob) => {
                node.net.keep(blob.hash, keep).await.map_err(failed)?;
                blob
            }
            None => node
                .net
                .add_file(&image.layer_path(layer), AddMode::Reference, keep)
                .await
                .map_err(failed)?,
        };
        layers.push(LayerSpec {
            blob: blob_spec(blob),
            digest: layer.digest.0,
            diff_id: layer.diff_id.0,
            media_type: layer.compression.media_type().to_owned(),
        });
    }
    Ok(layers)
}

/// Inputs are copied: people go on working on their files while a job runs.
async fn publish_inputs(node: &Node, keep: Keeper, job: &Job) -> Result<Vec<InputSpec>, ErrorBody> {
    let mut inputs = Vec::with_capacity(job.inputs.len());
    for input in &job.inputs {
        let what = format!("input {} ({})", input.name, input.path.display());
        check_file(&input.path, &what)?;
        let blob = node.net.add_file(&input.path, AddMode::Copy, keep).await;
        let blob = blob.map_err(|error| unreadable(&what, &error))?;
        inputs.push(InputSpec {
            to: input.to.to_string(),
            blob: blob_spec(blob),
        });
    }
    Ok(inputs)
}

/// Says plainly when an input is not there, or is a folder.
pub(super) fn check_file(path: &Path, what: &str) -> Result<(), ErrorBody> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(
            ErrorBody::new(ErrorCode::InvalidInput, format!("reading {what}: it is not a file"))
                .with_hint("name a file; folders cannot be inputs yet"),
        ),
        Err(error) => Err(fault(ErrorCode::InvalidInput, &format!("reading {what}"), &error)
            .with_hint("check the path; paths in a job file are relative to the file, those of --input to the shell")),
    }
}

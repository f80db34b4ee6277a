//! From an image's name to what travels: resolved, read once, and put into the blob store by reference.

use crate::{fault::fault, node::Node};
use gpux_api::{ErrorBody, ErrorCode};
use gpux_job::{ImageSource, Input, Job};
use gpux_net::{AddMode, BlobRef, Keeper, ScanError, ScannedFolder};
use gpux_proto::{
    BlobSpec, Command, Folder, ImageSpec, InputSpec, JobSpec, LayerSpec, MAX_FOLDER_BYTES, MAX_JOB_BYTES,
};
use gpux_runtime::{InputMount, ResolvedImage};
use gpux_types::{BlobHash, ByteSize, JobId, MAX_LAYERS};
use std::path::PathBuf;

/// The longest manifest of a folder.
pub(crate) const MANIFEST_LIMIT: u64 = MAX_FOLDER_BYTES as u64;

/// Finds the image that a job names.
pub(super) async fn resolve(node: &Node, source: &ImageSource) -> Result<ResolvedImage, ErrorBody> {
    node.images.resolve(source).await.map_err(|error| {
        fault(ErrorCode::InvalidInput, &format!("finding the image {source}"), &error).with_hint(
            "check the name; a local image is written as oci:DIR:TAG, and built by the app's own build script",
        )
    })
}

/// Puts the image's layers and the job's inputs into the blob store; gives what a provider is told. Nothing is kept of a job that
/// cannot be told.
pub(super) async fn publish(node: &Node, id: JobId, job: &Job, image: &ResolvedImage) -> Result<JobSpec, ErrorBody> {
    let spec = store(node, id, job, image).await;
    or_unpublish(node, id, spec).await
}

/// Lets go of what was published for a job that does not begin.
pub(super) async fn or_unpublish<T>(node: &Node, id: JobId, result: Result<T, ErrorBody>) -> Result<T, ErrorBody> {
    if result.is_err()
        && let Err(error) = node.net.release(Keeper::Job(id)).await
    {
        tracing::warn!(error = %crate::error_chain(&error), "letting go of a job's inputs");
    }
    result
}

async fn store(node: &Node, id: JobId, job: &Job, image: &ResolvedImage) -> Result<JobSpec, ErrorBody> {
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
            argv: job.run.argv(&image.config.entrypoint),
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
        let (net, path) = (node.net.as_ref(), &input.path);
        let added = if path.is_dir() {
            let added = gpux_net::add_folder(net, path, keep).await;
            added.map(|(manifest, folder)| (manifest, Some(folder)))
        } else {
            let added = gpux_net::add_steady_file(net, path, keep).await;
            added.map(|file| (file, None))
        };
        let (blob, folder) = added.map_err(|error| unreadable_input(input, &error))?;
        inputs.push(InputSpec {
            to: input.to.to_string(),
            blob: blob_spec(blob),
            folder,
        });
    }
    Ok(inputs)
}

/// Says plainly when an input is not there, or cannot be sent. Reads no file.
pub(super) async fn check_input(input: &Input) -> Result<(), ErrorBody> {
    let path = input.path.clone();
    let looked = tokio::task::spawn_blocking(move || match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) if metadata.is_dir() => ScannedFolder::scan(&path).map(drop),
        Ok(_) => Err(ScanError::NotPlain(path)),
        Err(source) => Err(ScanError::Read { path, source }),
    });
    let looked = looked.await.map_err(|error| unreadable_input(input, &error))?;
    looked.map_err(|error| unreadable_input(input, &error))
}

fn unreadable_input(input: &Input, error: &(dyn std::error::Error + 'static)) -> ErrorBody {
    let what = format!("reading input {} ({})", input.name, input.path.display());
    fault(ErrorCode::InvalidInput, &what, error).with_hint(
        "name a file or a folder of plain files; paths in a job file are relative to the file, those of --input to the shell",
    )
}

/// The inputs as a run on this machine sees them: where they lie.
pub(super) fn mounts(job: &Job) -> impl Iterator<Item = InputMount> + '_ {
    job.inputs.iter().map(|input| InputMount {
        // A link would be mounted as itself.
        source: input.path.canonicalize().unwrap_or_else(|_| input.path.clone()),
        target: PathBuf::from(input.to.to_string()),
    })
}

/// Every blob that a provider of the job may fetch: what the job names, and what the manifests of its folders name.
pub(super) async fn blobs(node: &Node, spec: &JobSpec) -> Vec<BlobHash> {
    let mut blobs: Vec<BlobHash> = spec.blobs().map(|blob| blob.hash).collect();
    for input in &spec.inputs {
        let Some(told) = input.folder else { continue };
        let read = node.net.read_bytes(input.blob.hash, MANIFEST_LIMIT).await;
        let folder = read.map(|bytes| Folder::read(&bytes, told));
        match folder {
            Ok(Ok(folder)) => blobs.extend(folder.packs.iter().map(|pack| pack.blob.hash)),
            Ok(Err(error)) => tracing::error!(%error, "reading a folder of the job"),
            Err(error) => tracing::error!(error = %crate::error_chain(&error), "reading a folder of the job"),
        }
    }
    blobs
}

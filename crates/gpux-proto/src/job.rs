//! What a provider must know of a job to prepare and run it: the image, the inputs, the commands.

use crate::FolderSpec;
use gpux_types::{BlobHash, ByteSize, JobId, MAX_ARGUMENTS, MAX_INPUTS, MAX_LAYERS, MAX_VARIABLES, Millis, PartIndex};
use serde::{Deserialize, Serialize};

/// The most bytes of an encoded job. Its provider keeps all of it, before any deposit is there.
pub const MAX_JOB_BYTES: usize = 64 << 10;
/// The most files that one part may hand back.
pub const MAX_OUTPUTS: usize = 4_096;

/// A blob by its BLAKE3 hash, with the size that is reserved before a byte is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobSpec {
    /// Its hash.
    pub hash: BlobHash,
    /// Its length in bytes.
    pub size: ByteSize,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// The layer as it travels.
    pub blob: BlobSpec,
    /// SHA-256 of the layer as it travels, as the image's manifest names it.
    pub digest: [u8; 32],
    /// SHA-256 of the layer when uncompressed, as the image's configuration names it.
    pub diff_id: [u8; 32],
    /// The OCI media type, which names the compression.
    pub media_type: String,
}

/// An image as it travels from node to node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// SHA-256 of the manifest: the image's name.
    pub manifest_digest: [u8; 32],
    /// The OCI image configuration (entry point, environment, user).
    pub config: BlobSpec,
    /// From the lowest to the highest.
    pub layers: Vec<LayerSpec>,
}

/// One file or folder that every container of the job sees, read only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Where the container sees it: an absolute path.
    pub to: String,
    /// The file, or the manifest of the folder.
    pub blob: BlobSpec,
    /// How large the folder is, when it is one.
    pub folder: Option<FolderSpec>,
}

impl InputSpec {
    /// Its bytes as it travels.
    #[must_use]
    pub fn size(&self) -> ByteSize {
        let content = self.folder.map_or(ByteSize(0), |folder| folder.content);
        ByteSize(self.blob.size.0.saturating_add(content.0))
    }
}

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments; empty means the image's own.
    pub argv: Vec<String>,
    /// Set on top of the image's environment.
    pub environment: Vec<(String, String)>,
}

/// All that a provider must know of a job. Its hash stands in the quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The renter's id of the job.
    pub job: JobId,
    /// A name for people, at most 64 characters.
    pub name: String,
    /// What to run it from.
    pub image: ImageSpec,
    /// Files and folders that it reads.
    pub inputs: Vec<InputSpec>,
    /// What every part runs; a part adds its own environment.
    pub command: Command,
    /// A pattern over paths in the container: what each part hands back.
    pub collect: String,
    /// The longest that one part may run.
    pub part_limit: Option<Millis>,
}

impl JobSpec {
    /// The hash that a quote names: BLAKE3 of the encoded specification.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&crate::encode(self)).as_bytes()
    }

    /// The bytes that a provider fetches before it can start.
    #[must_use]
    pub fn preparation_bytes(&self) -> ByteSize {
        let layers = self.image.layers.iter().map(|layer| layer.blob.size.0);
        let inputs = self.inputs.iter().map(|input| input.size().0);
        ByteSize(layers.chain(inputs).fold(self.image.config.size.0, u64::saturating_add))
    }

    /// Every blob that the renter must serve to the provider of a lease, besides the packs that the manifests of folders name.
    pub fn blobs(&self) -> impl Iterator<Item = BlobSpec> + '_ {
        let layers = self.image.layers.iter().map(|layer| layer.blob);
        std::iter::once(self.image.config)
            .chain(layers)
            .chain(self.inputs.iter().map(|input| input.blob))
    }

    /// Whether the lists and texts are within their limits, and all of it within [`MAX_JOB_BYTES`].
    #[must_use]
    pub fn within_limits(&self) -> bool {
        self.image.layers.len() <= MAX_LAYERS
            && self.inputs.len() <= MAX_INPUTS
            && self.name.chars().count() <= 64
            && self.command.argv.len() <= MAX_ARGUMENTS
            && self.command.environment.len() <= MAX_VARIABLES
            && crate::encode(self).len() <= MAX_JOB_BYTES
    }
}

/// One part, given to one lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSpec {
    /// Which part.
    pub part: PartIndex,
    /// From 0; a part that was lost or failed is tried again under the next number.
    pub attempt: u32,
    /// Set on top of the job's environment.
    pub environment: Vec<(String, String)>,
}

/// One file that a part handed back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Its name below the directory that `collect` names; no `..`, no leading `/`.
    pub path: String,
    /// What it is.
    pub blob: BlobSpec,
}

//! Pulling an image from a registry into a local OCI layout, blob by blob, each checked before it gets its name.
//!
//! What is there already is not fetched again; an image named by digest whose blobs are all there needs no network.
//! Registries are asked without credentials. The caller has installed rustls' crypto provider.

use super::config::MAX_CONFIG_BYTES;
use super::digest::Digest;
use super::hashing::{BlobHasher, DigestCache};
use super::layout::{Layout, LayoutError, choose_platform};
use super::manifest::{ACCEPTED_TYPES, Descriptor, Document, MAX_MANIFEST_BYTES, ManifestError};
use super::resolved::ResolvedImage;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, ParseError, Reference};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// How long connecting and each wait for more bytes may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a manifest may take as a whole. It also bounds what a hostile registry can make the client buffer of one.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Blobs that are fetched at once.
const PARALLEL_BLOBS: usize = 3;
/// Indexes that may stand in each other.
const MAX_INDEX_DEPTH: usize = 3;

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The text is no reference.
    #[error("{text:?} is no image reference such as ghcr.io/org/app:1.2")]
    Reference {
        /// What was given.
        text: String,
        /// Why.
        source: ParseError,
    },
    /// The registry does not have it, or does not show it to strangers.
    #[error(
        "{registry} has no image {image} that everybody may pull; check name and tag, or copy it to a folder and write oci:DIR:TAG"
    )]
    NotFound {
        /// The image.
        image: String,
        /// The registry that was asked.
        registry: String,
        /// What it said.
        source: Box<OciDistributionError>,
    },
    /// The registry could not be asked, or gave no proper answer.
    #[error("asking {registry} for {what}")]
    Request {
        /// The registry that was asked.
        registry: String,
        /// For what.
        what: String,
        /// What it said.
        source: Box<OciDistributionError>,
    },
    /// The registry did not answer in time.
    #[error("asking {registry} for {what}: no answer within {} seconds", MANIFEST_TIMEOUT.as_secs())]
    Timeout {
        /// The registry that was asked.
        registry: String,
        /// For what.
        what: String,
    },
    /// No crypto provider is installed in this process.
    #[error("preparing TLS for registries: no crypto provider is installed")]
    NoTls,
    /// Something is larger than allowed or than announced.
    #[error("{what} from {registry} is larger than {limit} bytes")]
    TooLarge {
        /// The registry that was asked.
        registry: String,
        /// For what.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// A blob came otherwise than announced.
    #[error("the blob {expected} from {registry} came as {got} with {got_size} bytes")]
    Digest {
        /// The registry that was asked.
        registry: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        got: Digest,
        /// How much came.
        got_size: u64,
    },
    /// A blob broke off.
    #[error("fetching the blob {digest} from {registry}")]
    Broken {
        /// The registry that was asked.
        registry: String,
        /// The blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// The cache could not be written.
    #[error("writing {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An index or manifest was not understood.
    #[error("reading the manifest {digest} from {registry}")]
    Manifest {
        /// The registry that was asked.
        registry: String,
        /// The manifest.
        digest: Digest,
        /// Why.
        source: ManifestError,
    },
    /// What was pulled is no usable image.
    #[error("using the pulled image {image}")]
    Layout {
        /// The image.
        image: String,
        /// Why.
        source: Box<LayoutError>,
    },
}

/// One image that is being pulled into a layout.
pub(super) struct Pull<'a> {
    reference: Reference,
    client: Client,
    cache: &'a Layout,
    parts: AtomicU64,
}

impl<'a> Pull<'a> {
    pub(super) fn new(text: &str, cache: &'a Layout) -> Result<Self, PullError> {
        let reference: Reference = text.parse().map_err(|source| PullError::Reference {
            text: text.to_owned(),
            source,
        })?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(PullError::NoTls);
        }
        let registry = reference.resolve_registry().to_owned();
        let host = registry.rsplit_once(':').map_or(registry.as_str(), |(host, _)| host);
        // Only a registry on this machine is spoken to in the clear.
        let protocol = if ["localhost", "127.0.0.1", "[::1]"].contains(&host) {
            ClientProtocol::HttpsExcept(vec![registry])
        } else {
            ClientProtocol::Https
        };
        let client = Client::new(ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientConfig::default()
        });
        Ok(Self {
            reference,
            client,
            cache,
            parts: AtomicU64::new(0),
        })
    }

    /// Fetches what is missing and answers with the checked image.
    pub(super) async fn run(self, digests: &DigestCache) -> Result<ResolvedImage, PullError> {
        let mut reference = self.reference.clone();
        for _ in 0..MAX_INDEX_DEPTH {
            let (digest, bytes) = self.manifest(&reference).await?;
            let document = Document::read(&bytes).map_err(|source| PullError::Manifest {
                registry: self.registry(),
                digest,
                source,
            })?;
            match document {
                Document::Index(images) => {
                    let image = choose_platform(&images).map_err(|error| self.unusable(error))?;
                    reference = self.reference.clone_with_digest(image.digest.to_string());
                }
                Document::Manifest(manifest) => {
                    let config = std::iter::once((manifest.config, MAX_CONFIG_BYTES));
                    let layers = manifest.layers.into_iter().map(|(layer, _)| (layer.size, layer));
                    let blobs: Vec<_> = config.chain(layers.map(|(limit, layer)| (layer, limit))).collect();
                    let pull = &self;
                    // Each future owns its descriptor: a future that borrowed it could not be sent between threads.
                    futures_util::stream::iter(blobs)
                        .map(|(blob, limit)| async move { pull.ensure_blob(&blob, limit).await })
                        .buffer_unordered(PARALLEL_BLOBS)
                        .try_collect::<()>()
                        .await?;
                    return self.read_back(digest, &bytes, digests).await;
                }
            }
        }
        Err(self.unusable(LayoutError::TooDeep))
    }

    async fn read_back(&self, digest: Digest, bytes: &[u8], digests: &DigestCache) -> Result<ResolvedImage, PullError> {
        let manifest = Descriptor::of_manifest(digest, bytes);
        let (cache, digests) = (self.cache.clone(), digests.clone());
        let read = tokio::task::spawn_blocking(move || cache.resolve_descriptor(&manifest, &digests)).await;
        match read {
            Ok(image) => image.map_err(|error| self.unusable(error)),
            Err(error) => Err(self.unusable(LayoutError::Read {
                path: self.cache.blob_path(digest),
                source: io::Error::other(error),
            })),
        }
    }

    /// An index or manifest, from the cache when its digest is known.
    async fn manifest(&self, reference: &Reference) -> Result<(Digest, Vec<u8>), PullError> {
        let known: Option<Digest> = reference.digest().and_then(|digest| digest.parse().ok());
        if let Some(digest) = known
            && let Ok(bytes) = tokio::fs::read(self.cache.blob_path(digest)).await
            && Digest::of(&bytes) == digest
        {
            return Ok((digest, bytes));
        }
        let what = || format!("the manifest of {}", self.reference);
        let request = self
            .client
            .pull_manifest_raw(reference, &RegistryAuth::Anonymous, &ACCEPTED_TYPES);
        let answer = tokio::time::timeout(MANIFEST_TIMEOUT, request).await;
        let (bytes, _) = answer
            .map_err(|_| PullError::Timeout {
                registry: self.registry(),
                what: what(),
            })?
            .map_err(|error| self.request_failed(what(), error))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > MAX_MANIFEST_BYTES {
            return Err(PullError::TooLarge {
                registry: self.registry(),
                what: what(),
                limit: MAX_MANIFEST_BYTES,
            });
        }
        let got = Digest::of(&bytes);
        if let Some(expected) = known.filter(|expected| *expected != got) {
            return Err(PullError::Digest {
                registry: self.registry(),
                expected,
                got,
                got_size: size,
            });
        }
        let part = self.next_part(got).await?;
        tokio::fs::write(&part.path, &bytes)
            .await
            .map_err(written(&part.path))?;
        part.keep_as(&self.cache.blob_path(got)).await?;
        Ok((got, bytes.to_vec()))
    }

    /// Fetches a blob of at most `limit` bytes unless it is there.
    async fn ensure_blob(&self, blob: &Descriptor, limit: u64) -> Result<(), PullError> {
        let path = self.cache.blob_path(blob.digest);
        // Its digest is checked when the image is read back; here only its being there counts.
        if tokio::fs::metadata(&path)
            .await
            .is_ok_and(|found| found.len() == blob.size)
        {
            return Ok(());
        }
        let part = self.next_part(blob.digest).await?;
        self.fetch_blob(blob, limit.min(blob.size), &part.path).await?;
        part.keep_as(&path).await
    }

    async fn fetch_blob(&self, blob: &Descriptor, limit: u64, part: &Path) -> Result<(), PullError> {
        let what = || format!("the blob {}", blob.digest);
        let digest = blob.digest.to_string();
        let mut stream = self
            .client
            .pull_blob_stream(&self.reference, digest.as_str())
            .await
            .map_err(|error| self.request_failed(what(), error))?;
        // Made here and not on another thread, which could make it after this future was dropped and `PartFile` had tidied up.
        let mut file = tokio::fs::File::from_std(std::fs::File::create(part).map_err(written(part))?);
        let mut hasher = BlobHasher::default();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|source| PullError::Broken {
                registry: self.registry(),
                digest: blob.digest,
                source,
            })?;
            hasher.update(&chunk);
            if hasher.size() > limit {
                return Err(PullError::TooLarge {
                    registry: self.registry(),
                    what: what(),
                    limit,
                });
            }
            file.write_all(&chunk).await.map_err(written(part))?;
        }
        file.sync_all().await.map_err(written(part))?;
        let got = hasher.finish();
        if got.sha256 != blob.digest || got.size != blob.size {
            return Err(PullError::Digest {
                registry: self.registry(),
                expected: blob.digest,
                got: got.sha256,
                got_size: got.size,
            });
        }
        Ok(())
    }

    async fn next_part(&self, digest: Digest) -> Result<PartFile, PullError> {
        let count = self.parts.fetch_add(1, Ordering::Relaxed);
        let path = self.cache.blob_path(digest);
        let folder = path.parent().unwrap_or(&self.cache.dir);
        tokio::fs::create_dir_all(folder).await.map_err(written(folder))?;
        let path = folder.join(format!(".{}.{}.{count}", digest.hex(), std::process::id()));
        Ok(PartFile { path, kept: false })
    }

    fn registry(&self) -> String {
        self.reference.resolve_registry().to_owned()
    }

    fn unusable(&self, error: LayoutError) -> PullError {
        PullError::Layout {
            image: self.reference.to_string(),
            source: Box::new(error),
        }
    }

    fn request_failed(&self, what: String, error: OciDistributionError) -> PullError {
        let (registry, source) = (self.registry(), Box::new(error));
        if is_not_found(&source) {
            return PullError::NotFound {
                image: self.reference.to_string(),
                registry,
                source,
            };
        }
        PullError::Request { registry, what, source }
    }
}

/// A blob that is not whole yet; removed unless it gets its name, also when another blob's failure ends the pull.
struct PartFile {
    path: PathBuf,
    kept: bool,
}

impl PartFile {
    async fn keep_as(mut self, path: &Path) -> Result<(), PullError> {
        tokio::fs::rename(&self.path, path).await.map_err(written(path))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, path = %self.path.display(), "part of a blob stays until the next start");
        }
    }
}

/// Registries answer "not authorized" for images that do not exist, so as not to tell which do.
fn is_not_found(error: &OciDistributionError) -> bool {
    let codes = [
        OciErrorCode::ManifestUnknown,
        OciErrorCode::NameUnknown,
        OciErrorCode::NotFound,
        OciErrorCode::Unauthorized,
        OciErrorCode::Denied,
    ];
    let named = |code: &OciErrorCode| codes.contains(code);
    if let OciDistributionError::RegistryError { envelope, .. } = error {
        return envelope.errors.iter().any(|error| named(&error.code));
    }
    if let OciDistributionError::ServerError { code, .. } = error {
        return [401, 403, 404].contains(code);
    }
    matches!(
        error,
        OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
    )
}

fn written(path: &Path) -> impl Fn(io::Error) -> PullError {
    let path = path.to_owned();
    move |source| PullError::Write {
        path: path.clone(),
        source,
    }
}

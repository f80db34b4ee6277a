//! From the name of an image to its checked blobs on this machine.

use super::hashing::DigestCache;
use super::layout::{Layout, LayoutError};
use super::registry::{Pull, PullError};
use super::resolved::ResolvedImage;
use gpux_job::ImageSource;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// From a local layout.
    #[error("resolving the image {image}")]
    Layout {
        /// The image as it was named.
        image: ImageSource,
        /// Why.
        source: Box<LayoutError>,
    },
    /// From a registry.
    #[error("resolving the image {image}")]
    Pull {
        /// The image as it was named.
        image: ImageSource,
        /// Why.
        source: Box<PullError>,
    },
}

/// Images of one daemon: local layouts are read where they lie, registries are pulled into a layout of its own.
///
/// ```text
///   ROOT/
///   ├── digests/     BLAKE3 and SHA-256 of blobs' files, by file identity
///   └── registry/    an OCI layout's blobs
/// ```
#[derive(Debug, Clone)]
pub struct ImageStore {
    digests: DigestCache,
    registry: Layout,
}

impl ImageStore {
    /// Opens or makes the store in `root`; what a crash left of blobs is removed.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(root: &Path) -> io::Result<Self> {
        let store = Self {
            digests: DigestCache::new(root.join("digests")),
            registry: Layout {
                dir: root.join("registry"),
            },
        };
        for folder in [root.join("digests"), root.join("registry/blobs/sha256")] {
            fs::create_dir_all(&folder)?;
            remove_hidden(&folder)?;
        }
        Ok(store)
    }

    /// The image with all its blobs on this machine, each read and checked once.
    ///
    /// # Errors
    /// When there is no such image, it is damaged, or made for another kind of machine; the message says what was tried and what helps.
    pub async fn resolve(&self, image: &ImageSource) -> Result<ResolvedImage, ResolveError> {
        let pull_failed = |source| ResolveError::Pull {
            image: image.clone(),
            source: Box::new(source),
        };
        match image {
            ImageSource::Layout { dir, tag } => self.resolve_layout(image, dir.clone(), tag.clone()).await,
            ImageSource::Registry { reference } => {
                let pull = Pull::new(reference, &self.registry).map_err(pull_failed)?;
                pull.run(&self.digests).await.map_err(pull_failed)
            }
        }
    }

    async fn resolve_layout(
        &self,
        image: &ImageSource,
        dir: PathBuf,
        tag: Option<String>,
    ) -> Result<ResolvedImage, ResolveError> {
        let (layout, digests) = (Layout { dir: dir.clone() }, self.digests.clone());
        // On a runtime of one thread nothing else could go on meanwhile, and what runs there runs the same way each time.
        if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread {
            return layout
                .resolve(tag.as_deref(), &digests)
                .map_err(|source| ResolveError::Layout {
                    image: image.clone(),
                    source: Box::new(source),
                });
        }
        let read = tokio::task::spawn_blocking(move || layout.resolve(tag.as_deref(), &digests)).await;
        let read = read.unwrap_or_else(|error| {
            Err(LayoutError::Read {
                path: dir,
                source: io::Error::other(error),
            })
        });
        read.map_err(|source| ResolveError::Layout {
            image: image.clone(),
            source: Box::new(source),
        })
    }
}

fn remove_hidden(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

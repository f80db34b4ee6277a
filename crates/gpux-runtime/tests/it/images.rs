//! Images in layouts and registries, from the name to the checked blobs.

use crate::layer_blobs::{Tar, compress};
use crate::registry::{Registry, Reply};
use gpux_job::ImageSource;
use gpux_runtime::{
    Compression, Digest, ImageStore, LayoutError, ManifestError, PullError, ResolveError, ResolvedImage,
    image_architecture,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small image, as blobs and as the documents that name them.
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    pub(crate) fn new() -> Self {
        let archives = [
            Tar::new().file("low", "1").finish(),
            Tar::new().file("high", "2").finish(),
        ];
        let diff_ids: Vec<String> = archives
            .iter()
            .map(|archive| format!("\"{}\"", Digest::of(archive)))
            .collect();
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{"Env":["A=b"],"Cmd":["/run"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            image_architecture(),
            diff_ids.join(",")
        );
        let layers = [
            compress(&archives[0], Compression::Gzip),
            compress(&archives[1], Compression::Zstd),
        ];
        Self::of(config.into_bytes(), layers.to_vec())
    }

    pub(crate) fn of(config: Vec<u8>, layers: Vec<Vec<u8>>) -> Self {
        let kinds = [Compression::Gzip, Compression::Zstd];
        let described: Vec<String> = layers
            .iter()
            .zip(kinds)
            .map(|(layer, kind)| descriptor(kind.media_type(), layer))
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", &config),
            described.join(",")
        );
        Self {
            manifest: manifest.into_bytes(),
            config,
            layers,
        }
    }

    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        [&self.manifest, &self.config].into_iter().chain(&self.layers)
    }

    fn write(&self, dir: &Path, images: &[String]) {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        for blob in self.blobs() {
            put_blob(dir, blob);
        }
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(dir.join("index.json"), index(images)).unwrap();
    }

    fn tagged(&self, tag: &str) -> String {
        let annotation = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}"#);
        manifest_descriptor(&self.manifest)
            .strip_suffix('}')
            .unwrap()
            .to_owned()
            + &annotation
    }
}

fn put_blob(dir: &Path, blob: &[u8]) {
    fs::write(dir.join("blobs/sha256").join(Digest::of(blob).hex()), blob).unwrap();
}

fn index(images: &[String]) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        images.join(",")
    )
}

fn descriptor(media_type: &str, blob: &[u8]) -> String {
    format!(
        r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#,
        Digest::of(blob),
        blob.len()
    )
}

fn manifest_descriptor(manifest: &[u8]) -> String {
    descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
}

fn for_platform(descriptor: &str, platform: &str) -> String {
    let (os, architecture) = platform.split_once('/').unwrap();
    let platform = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#);
    descriptor.strip_suffix('}').unwrap().to_owned() + &platform
}

struct Bench {
    dir: tempfile::TempDir,
    store: ImageStore,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    async fn resolve(&self, name: &str) -> Result<ResolvedImage, ResolveError> {
        self.store.resolve(&name.parse::<ImageSource>().unwrap()).await
    }

    async fn resolve_layout(&self, tag: &str) -> Result<ResolvedImage, LayoutError> {
        match self.resolve(&format!("oci:{}{tag}", self.layout().display())).await {
            Ok(image) => Ok(image),
            Err(ResolveError::Layout { source, .. }) => Err(*source),
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn pull(&self, name: &str) -> Result<ResolvedImage, PullError> {
        // Another test of this process may have installed it.
        drop(rustls::crypto::ring::default_provider().install_default());
        match self.resolve(name).await {
            Ok(image) => Ok(image),
            Err(ResolveError::Pull { source, .. }) => Err(*source),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn assert_is(image: &ResolvedImage, expected: &Image) {
    assert_eq!(image.manifest_digest, Digest::of(&expected.manifest));
    assert_eq!(image.config_bytes, expected.config);
    assert_eq!(image.config.cmd, ["/run"]);
    assert_eq!(fs::read(image.config_path()).unwrap(), expected.config);
    assert_eq!(image.layers.len(), expected.layers.len());
    for (layer, blob) in image.layers.iter().zip(&expected.layers) {
        assert_eq!(fs::read(image.layer_path(layer)).unwrap(), *blob);
        assert_eq!(layer.blake3.0, *blake3::hash(blob).as_bytes());
    }
}

#[tokio::test]
async fn an_image_is_found_by_tag_by_platform_or_because_it_is_the_only_one() {
    let bench = Bench::new();
    let image = Image::new();
    image.write(&bench.layout(), &[image.tagged("v1")]);
    assert_is(&bench.resolve_layout("").await.unwrap(), &image);
    assert_is(&bench.resolve_layout(":v1").await.unwrap(), &image);

    let here = format!("linux/{}", image_architecture());
    let nested = index(&[
        for_platform(&manifest_descriptor(b"another"), "linux/s390x"),
        for_platform(&manifest_descriptor(&image.manifest), &here),
    ]);
    put_blob(&bench.layout(), nested.as_bytes());
    let by_platform = descriptor("application/vnd.oci.image.index.v1+json", nested.as_bytes());
    fs::write(bench.layout().join("index.json"), index(&[by_platform])).unwrap();
    assert_is(&bench.resolve_layout("").await.unwrap(), &image);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_explained() {
    let bench = Bench::new();
    let error = bench.resolve_layout(":v1").await.unwrap_err();
    assert!(matches!(error, LayoutError::NotALayout { .. }), "{error}");
    assert!(error.to_string().contains("buildah push"), "{error}");

    let image = Image::new();
    image.write(&bench.layout(), &[image.tagged("v1"), image.tagged("v2")]);
    let error = bench.resolve_layout(":v3").await.unwrap_err();
    assert!(
        matches!(error, LayoutError::NoSuchTag { .. }) && error.to_string().contains("v1, v2"),
        "{error}"
    );
    let error = bench.resolve_layout("").await.unwrap_err();
    assert!(
        matches!(error, LayoutError::WhichImage { count: 2, .. }) && error.to_string().contains("v1, v2"),
        "{error}"
    );

    let foreign = index(&[for_platform(&manifest_descriptor(&image.manifest), "linux/s390x")]);
    put_blob(&bench.layout(), foreign.as_bytes());
    let by_platform = descriptor("application/vnd.oci.image.index.v1+json", foreign.as_bytes());
    fs::write(bench.layout().join("index.json"), index(&[by_platform])).unwrap();
    let error = bench.resolve_layout("").await.unwrap_err();
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

#[tokio::test]
async fn every_damaged_blob_is_found_and_named() {
    let bench = Bench::new();
    let image = Image::new();
    for blob in image.blobs() {
        image.write(&bench.layout(), &[image.tagged("v1")]);
        let path = bench.layout().join("blobs/sha256").join(Digest::of(blob).hex());
        let mut damaged = blob.clone();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&path, &damaged).unwrap();
        let error = bench.resolve_layout("").await.unwrap_err();
        assert!(
            matches!(&error, LayoutError::Digest { path: named, .. } if *named == path),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
        let error = bench.resolve_layout("").await.unwrap_err();
        assert!(
            matches!(&error, LayoutError::Read { path: named, .. } if *named == path),
            "{error}"
        );
    }
    image.write(&bench.layout(), &[image.tagged("v1")]);
    assert_is(&bench.resolve_layout("").await.unwrap(), &image);
}

#[tokio::test]
async fn documents_beyond_the_bounds_are_refused() {
    let bench = Bench::new();
    let image = Image::new();
    image.write(&bench.layout(), &[image.tagged("v1")]);
    let mut deepest = manifest_descriptor(&image.manifest);
    for _ in 0..4 {
        let nested = index(&[deepest]);
        put_blob(&bench.layout(), nested.as_bytes());
        deepest = descriptor("application/vnd.oci.image.index.v1+json", nested.as_bytes());
    }
    fs::write(bench.layout().join("index.json"), index(&[deepest])).unwrap();
    let error = bench.resolve_layout("").await.unwrap_err();
    assert!(matches!(error, LayoutError::TooDeep), "{error}");

    fs::write(bench.layout().join("index.json"), vec![b' '; (4 << 20) + 1]).unwrap();
    let error = bench.resolve_layout("").await.unwrap_err();
    assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");

    let fewer = Image::of(image.config.clone(), vec![image.layers[0].clone()]);
    fewer.write(&bench.layout(), &[fewer.tagged("v1")]);
    let error = bench.resolve_layout("").await.unwrap_err();
    assert!(
        matches!(error, LayoutError::LayerCount { layers: 1, diff_ids: 2 }),
        "{error}"
    );

    let many = vec![manifest_descriptor(b"x"); 1_025];
    fs::write(bench.layout().join("index.json"), index(&many)).unwrap();
    let error = bench.resolve_layout("").await.unwrap_err();
    assert!(
        matches!(
            error,
            LayoutError::Manifest {
                source: ManifestError::ImageCount { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_real_builder_writes_is_read() {
    let bench = Bench::new();
    let image = Image::new();
    image.write(&bench.layout(), &[image.tagged("v1")]);
    let copy = bench.dir.path().join("copy");
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", "--insecure-policy"])
        .arg(format!("oci:{}:v1", bench.layout().display()))
        .arg(format!("oci:{}:v2", copy.display()))
        .output();
    let copied = copied.expect("this test needs skopeo (Debian package skopeo)");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_is(
        &bench.resolve(&format!("oci:{}:v2", copy.display())).await.unwrap(),
        &image,
    );
}

#[tokio::test]
async fn an_image_is_pulled_once_and_then_needs_no_network() {
    let bench = Bench::new();
    let image = Image::new();
    let registry = Registry::serve(&image, |_| Reply::Honest);
    let by_tag = bench.pull(&format!("{}/org/app:v1", registry.host())).await.unwrap();
    assert_is(&by_tag, &image);
    let asked = registry.requests();
    let name = format!("{}/org/app@{}", registry.host(), by_tag.manifest_digest);
    assert_eq!(bench.pull(&name).await.unwrap(), by_tag);
    assert_eq!(registry.requests(), asked, "everything was there");
    drop(registry);
    assert_eq!(bench.pull(&name).await.unwrap(), by_tag);
}

#[tokio::test]
async fn an_image_that_no_registry_has_is_explained() {
    let bench = Bench::new();
    let registry = Registry::serve(&Image::new(), |_| Reply::Honest);
    let error = bench
        .pull(&format!("{}/org/other:v1", registry.host()))
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("oci:DIR:TAG"), "{error}");
    let gone = registry.host();
    drop(registry);
    let error = bench.pull(&format!("{gone}/org/app:v1")).await.unwrap_err();
    assert!(matches!(error, PullError::Request { .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_lies_is_caught_and_nothing_it_said_is_kept() {
    let image = Image::new();
    for index in 0..4 {
        for reply in [Reply::Flipped, Reply::Longer, Reply::Shorter] {
            let bench = Bench::new();
            let blob = Digest::of(image.blobs().nth(index).unwrap());
            let registry = Registry::serve(&image, move |digest| if digest == blob { reply } else { Reply::Honest });
            let name = format!("{}/org/app@{}", registry.host(), Digest::of(&image.manifest));
            bench.pull(&name).await.unwrap_err();
            let kept = bench.dir.path().join("store/registry/blobs/sha256");
            for entry in fs::read_dir(kept).unwrap() {
                let entry = entry.unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                assert_eq!(
                    entry.file_name().to_str().unwrap(),
                    Digest::of(&bytes).hex(),
                    "{reply:?} of blob {index}"
                );
            }
        }
    }
}

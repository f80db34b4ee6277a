//! What daemons of a world find on their disks: an image as a layout, and its layer as if it had been unpacked before.
//!
//! Unpacking needs a jailed process of its own, which is not of this world; the configuration of the image and the inputs
//! travel as ever.

use gpux_runtime::{Compression, Digest, LayerStore, UidRange, image_architecture};
use serde_json::json;
use std::{fs, io, path::Path};

/// The tag of the image.
pub(crate) const TAG: &str = "world";
const IDS: UidRange = UidRange { first: 0x7000_0000 };
/// The one layer: never unpacked, so it need not be an archive.
const LAYER: &[u8] = b"the only layer of the only image";

/// Writes the image as a layout into `dir`.
pub(crate) fn write_image(dir: &Path) -> io::Result<()> {
    let layer = Digest::of(LAYER);
    let config = json!({
        "architecture": image_architecture(),
        "os": "linux",
        "config": { "Entrypoint": ["/probe"] },
        "rootfs": { "type": "layers", "diff_ids": [layer.to_string()] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor(Compression::None.media_type(), LAYER)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut named = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    if let Some(fields) = named.as_object_mut() {
        fields.insert(
            "annotations".to_owned(),
            json!({ "org.opencontainers.image.ref.name": TAG }),
        );
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [named],
    });
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    for blob in [LAYER, &config, &manifest] {
        fs::write(blobs.join(Digest::of(blob).hex()), blob)?;
    }
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    fs::write(dir.join("index.json"), index.to_string())
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": Digest::of(blob).to_string(), "size": blob.len() })
}

/// A store of layers in `dir` that has the image's.
pub(crate) fn layers(dir: &Path) -> io::Result<LayerStore> {
    let digest = Digest::of(LAYER);
    let layer = dir.join(digest.hex());
    fs::create_dir_all(layer.join("fs"))?;
    let record = json!({
        "version": 1,
        "digest": digest.to_string(),
        "diff_id": digest.to_string(),
        "store_first": IDS.first,
        "entries": 1,
        "bytes": LAYER.len(),
        "skipped_devices": 0,
    });
    fs::write(layer.join("layer.json"), record.to_string())?;
    LayerStore::open(dir, Path::new("/nonexistent"), IDS).map_err(io::Error::other)
}

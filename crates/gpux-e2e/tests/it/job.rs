//! The jobs of these tests: a tiny image with nothing but busybox, and a job file.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

/// The program that every part of these jobs runs.
pub(crate) const SHELL: &str = "/bin/sh";
/// What an image of one program is made from.
const BUSYBOX: &str = "/bin/busybox";

/// A job whose parts count `seconds`, second by second so that frozen time does not count, and then write their number.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) nodes: u32,
    pub(crate) parts: u32,
    pub(crate) seconds: u32,
}

impl Job {
    pub(crate) fn text(&self) -> String {
        let Self {
            name,
            nodes,
            parts,
            seconds,
        } = self;
        let script = format!(
            "i=0; while [ $i -lt {seconds} ]; do sleep 1; i=$((i+1)); done; \
             echo part $GPUX_ARRAY_INDEX > /out/part; mv /out/part /out/part-$GPUX_ARRAY_INDEX.txt"
        );
        file(name, *nodes, *parts, &script)
    }
}

/// A job file whose parts run `script`, which must hold no double quotes.
pub(crate) fn file(name: &str, nodes: u32, parts: u32, script: &str) -> String {
    format!(
        r#"gpux: 1
kind: array
name: {name}
image: oci:image:e2e
nodes: {nodes}
resources: {{ cpu: 0.5, memory: 256MiB, disk: 64MiB }}
params:
  pieces: 1-{parts}
array:
  over: pieces
  collect: /out/*.txt
run: ["{SHELL}", "-euc", "{script}"]
retry: {{ on: [provider-fault], max: 3 }}
budget: {{ max_duration: 10m }}
"#
    )
}

/// What part `index` of a [`Job`] writes.
pub(crate) fn output_of(index: u32) -> (String, String) {
    (format!("part-{index}.txt"), format!("part {index}\n"))
}

/// Writes an OCI layout tagged `e2e` into `dir`.
pub(crate) fn write_image(dir: &Path) {
    write_image_with(dir, &[]);
}

/// The same, with a file of these bytes in the image.
pub(crate) fn write_image_with(dir: &Path, ballast: &[u8]) {
    assert!(
        Path::new(BUSYBOX).exists(),
        "{BUSYBOX} is missing: install Debian's busybox-static"
    );
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let (layer, layer_size) = write_layer(dir, &blobs, ballast);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin"],"Entrypoint":["{SHELL}"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#
    )
    .replace("amd64", architecture());
    let (config, config_size) = write_blob(&blobs, &config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{config}","size":{config_size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{layer}","size":{layer_size}}}]}}"#
    );
    let (manifest, manifest_size) = write_blob(&blobs, &manifest);
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{manifest}","size":{manifest_size},"annotations":{{"org.opencontainers.image.ref.name":"e2e"}}}}]}}"#
    );
    fs::write(dir.join("index.json"), index).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Changes one byte of the image's layer, which is its largest blob.
pub(crate) fn tear(image: &Path) {
    let blobs = fs::read_dir(image.join("blobs/sha256")).unwrap();
    let layer = blobs
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len());
    let layer = layer.expect("a layer");
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

fn write_layer(dir: &Path, blobs: &Path, ballast: &[u8]) -> (String, u64) {
    let root = dir.join("root");
    for folder in ["bin", "out", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "mv"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    if !ballast.is_empty() {
        fs::write(root.join("ballast"), ballast).unwrap();
    }
    let archive = dir.join("layer.tar");
    let done = Command::new("tar")
        .args(["--create", "--numeric-owner", "--owner=0", "--group=0", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&root)
        .arg(".")
        .status();
    assert!(done.expect("tar is installed").success(), "tar failed");
    let digest = sha256(&archive);
    let size = fs::metadata(&archive).unwrap().len();
    fs::rename(&archive, blobs.join(&digest)).unwrap();
    fs::remove_dir_all(&root).unwrap();
    (digest, size)
}

fn write_blob(blobs: &Path, text: &str) -> (String, usize) {
    let draft = blobs.join("draft");
    fs::write(&draft, text).unwrap();
    let digest = sha256(&draft);
    fs::rename(&draft, blobs.join(&digest)).unwrap();
    (digest, text.len())
}

pub(crate) fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum")
        .arg(file)
        .output()
        .expect("sha256sum is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

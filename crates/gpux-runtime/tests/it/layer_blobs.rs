//! Layers for tests: archives written header by header, so that they can say what no well-behaved writer says.

use gpux_runtime::{Compression, Digest, LayerDescriptor};
use gpux_types::BlobHash;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// An archive that is being written.
#[derive(Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An entry with everything chosen by hand: its path and link target, and the size that the header claims.
    pub(crate) fn entry(mut self, kind: EntryType, (path, link): (&[u8], &[u8]), claim: u64, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4711);
        header.set_uid(3);
        header.set_gid(5);
        header.set_mtime(1_000_000_000);
        header.set_size(claim);
        for (name, text) in [(b'L', path), (b'K', link)] {
            if text.len() > 100 {
                self = self.long(name, text);
            }
        }
        let old = header.as_old_mut();
        put(&mut old.name, path);
        put(&mut old.linkname, link);
        header.set_cksum();
        self.raw(header.as_bytes(), content)
    }

    fn long(self, kind: u8, text: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        put(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let text = [text, b"\0"].concat();
        header.set_size(u64::try_from(text.len()).unwrap());
        header.set_cksum();
        self.raw(header.as_bytes(), &text)
    }

    pub(crate) fn raw(mut self, header: &[u8], content: &[u8]) -> Self {
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let size = u64::try_from(content.len()).unwrap();
        self.entry(EntryType::Regular, (path.as_bytes(), b""), size, content.as_bytes())
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.entry(EntryType::Directory, (path.as_bytes(), b""), 0, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, (path.as_bytes(), target.as_bytes()), 0, b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, (path.as_bytes(), target.as_bytes()), 0, b"")
    }

    /// The archive with its end mark.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field.fill(0);
    field[..len].copy_from_slice(&text[..len]);
}

/// A layer's blob on disk and its true description.
pub(crate) struct LayerBlob {
    pub(crate) path: PathBuf,
    pub(crate) layer: LayerDescriptor,
}

impl LayerBlob {
    pub(crate) fn write(dir: &Path, archive: &[u8], compression: Compression) -> Self {
        let blob = compress(archive, compression);
        let digest = Digest::of(&blob);
        let path = dir.join(digest.hex());
        std::fs::write(&path, &blob).unwrap();
        let layer = LayerDescriptor {
            digest,
            diff_id: Digest::of(archive),
            compression,
            size: u64::try_from(blob.len()).unwrap(),
            blake3: BlobHash(*blake3::hash(&blob).as_bytes()),
        };
        Self { path, layer }
    }
}

pub(crate) fn compress(archive: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => archive.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(archive).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(archive, 3).unwrap(),
    }
}

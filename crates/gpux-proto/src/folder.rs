//! A folder as it travels: a manifest, and packs that hold the bytes of its files.
//!
//! The renter packs with [`packs_of`], the provider reads with [`Folder::read`]. Nothing here touches a file. A manifest comes
//! from a stranger: one that was read names every path once, below the folder, with every parent named as a folder, and its
//! packs have exactly the bytes of its files.

use crate::{BlobSpec, DecodeError, codec};
use gpux_types::{ByteSize, shown};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use std::{collections::HashSet, fmt, marker::PhantomData};

/// The longest manifest. It is held in memory.
pub const MAX_FOLDER_BYTES: usize = 16 << 20;
/// The most files, folders and links of one folder.
pub const MAX_FOLDER_ENTRIES: usize = 200_000;
/// The longest pack of more than one file: as much is held in memory while it is made or taken apart.
pub const MAX_PACK_BYTES: u64 = 16 << 20;
/// The longest path in a folder, and the longest target of a link, in bytes.
const MAX_PATH_BYTES: usize = 1_024;
/// The longest name that file systems take.
const MAX_NAME_BYTES: usize = 255;
/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 64;
/// The most packs. Each is a blob.
const MAX_PACKS: usize = 1 << 16;
/// A file from this size on is a blob of its own.
const ALONE: u64 = 1 << 20;
/// How many bytes of files lie between two ends of packs in the long run, as a power of two.
const PACK_BITS: u32 = 22;
/// What a file counts for besides its bytes, so that empty files end packs too.
const ENTRY: u64 = 256;

/// A folder: where its bytes are, and what it is made of. Files lie in their pack one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Manifest")]
pub struct Folder {
    /// Each folder's path, parents first.
    pub folders: Vec<String>,
    /// The files.
    pub packs: Vec<Pack>,
    /// The links.
    pub links: Vec<FolderLink>,
}

/// One blob with the bytes of one or more files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The bytes.
    pub blob: BlobSpec,
    /// Whose they are, in their order.
    pub files: Vec<FolderFile>,
}

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FolderFile {
    /// Relative to the folder.
    pub path: String,
    /// Its length in bytes.
    pub size: ByteSize,
    /// Whether it may be run.
    pub executable: bool,
}

/// One symbolic link of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderLink {
    /// Relative to the folder.
    pub path: String,
    /// Where it leads: relative to where it lies, and not out of the folder.
    pub target: String,
}

/// What is told of a folder before its manifest is fetched, so that its disk can be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FolderSpec {
    /// The bytes of all its files.
    pub content: ByteSize,
    /// How many files, folders and links it has.
    pub entries: u32,
}

/// A folder that cannot travel, or a manifest that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFolder {
    /// Not the bytes of a manifest.
    #[error("reading a folder's manifest")]
    Malformed(#[source] DecodeError),
    /// More than may be.
    #[error("checking a folder: {got} {what}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A path that cannot be one below the folder.
    #[error("checking a folder: the path {} {why}", shown(.path, 200))]
    Path {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A pack whose size is not that of its files, or which is too large.
    #[error("checking a folder: pack {0} has not the bytes of its files, or too many")]
    Pack(usize),
    /// The folder is not as large as was told.
    #[error("checking a folder: {told:?} was told, it is {got:?}")]
    OtherSize {
        /// What was told.
        told: FolderSpec,
        /// What it is.
        got: FolderSpec,
    },
}

impl Folder {
    /// The manifest in `bytes`, when it keeps every rule and is of the size that was `told`.
    ///
    /// # Errors
    /// When it is malformed, breaks a rule, or is of another size.
    pub fn read(bytes: &[u8], told: FolderSpec) -> Result<Self, BadFolder> {
        let manifest: Manifest = codec::decode_within(bytes, MAX_FOLDER_BYTES).map_err(BadFolder::Malformed)?;
        let folder = manifest.folder()?;
        let got = folder.check()?;
        if got != told {
            return Err(BadFolder::OtherSize { told, got });
        }
        Ok(folder)
    }

    /// The manifest's bytes, and what is told of it.
    ///
    /// # Errors
    /// When a reader would refuse it.
    pub fn write(&self) -> Result<(Vec<u8>, FolderSpec), BadFolder> {
        let spec = self.check()?;
        let bytes = crate::encode(self);
        within("bytes of its manifest", bytes.len(), MAX_FOLDER_BYTES)?;
        Ok((bytes, spec))
    }

    fn check(&self) -> Result<FolderSpec, BadFolder> {
        within("packs", self.packs.len(), MAX_PACKS)?;
        let files = self.packs.iter().map(|pack| pack.files.len());
        let entries = files.fold(self.folders.len(), usize::saturating_add);
        let entries = entries.saturating_add(self.links.len());
        within("files, folders and links", entries, MAX_FOLDER_ENTRIES)?;
        let mut seen = Seen::default();
        for folder in &self.folders {
            seen.add(folder)?;
            seen.folders.insert(folder);
        }
        let mut content = 0u64;
        for (index, pack) in self.packs.iter().enumerate() {
            pack.check().ok_or(BadFolder::Pack(index))?;
            content = content.checked_add(pack.blob.size.0).ok_or(BadFolder::Pack(index))?;
            pack.files.iter().try_for_each(|file| seen.add(&file.path))?;
        }
        for link in &self.links {
            seen.add(&link.path)?;
            if !stays_inside(&link.path, &link.target) {
                return Err(bad(&link.path, "is a link that leads out of the folder"));
            }
        }
        Ok(FolderSpec {
            content: ByteSize(content),
            entries: u32::try_from(entries).unwrap_or(u32::MAX),
        })
    }
}

/// A folder as it travels: flat, so that nobody makes us hold more than each list may have.
#[derive(Serialize, Deserialize)]
struct Manifest {
    #[serde(deserialize_with = "bounded")]
    folders: Vec<String>,
    /// Each with the number of its files.
    #[serde(deserialize_with = "bounded")]
    packs: Vec<(BlobSpec, u32)>,
    #[serde(deserialize_with = "bounded")]
    files: Vec<FolderFile>,
    #[serde(deserialize_with = "bounded")]
    links: Vec<FolderLink>,
}

impl From<Folder> for Manifest {
    fn from(folder: Folder) -> Self {
        let count = |pack: &Pack| u32::try_from(pack.files.len()).unwrap_or(u32::MAX);
        Self {
            folders: folder.folders,
            packs: folder.packs.iter().map(|pack| (pack.blob, count(pack))).collect(),
            files: folder.packs.into_iter().flat_map(|pack| pack.files).collect(),
            links: folder.links,
        }
    }
}

impl Manifest {
    /// The folder, with every file in its pack.
    fn folder(self) -> Result<Folder, BadFolder> {
        let mut files = self.files.into_iter();
        let mut packs = Vec::with_capacity(self.packs.len());
        for (index, (blob, count)) in self.packs.into_iter().enumerate() {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let files: Vec<FolderFile> = files.by_ref().take(count).collect();
            if files.len() < count {
                return Err(BadFolder::Pack(index));
            }
            packs.push(Pack { blob, files });
        }
        if files.len() > 0 {
            return Err(BadFolder::Pack(packs.len()));
        }
        Ok(Folder {
            folders: self.folders,
            packs,
            links: self.links,
        })
    }
}

/// A list of as many as a folder may have of anything, and of no more before they are counted.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX_FOLDER_ENTRIES}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == MAX_FOLDER_ENTRIES {
                    return Err(A::Error::custom("more than a folder may have"));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    from.deserialize_seq(List(PhantomData))
}

impl Pack {
    fn check(&self) -> Option<()> {
        let sizes = self.files.iter().map(|file| file.size.0);
        let size = sizes.into_iter().try_fold(0, u64::checked_add)?;
        let fits = match self.files.len() {
            0 => false,
            1 => true,
            _ => size <= MAX_PACK_BYTES,
        };
        (fits && size == self.blob.size.0).then_some(())
    }
}

/// The paths so far.
#[derive(Default)]
struct Seen<'a> {
    all: HashSet<&'a str>,
    folders: HashSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn add(&mut self, path: &'a str) -> Result<(), BadFolder> {
        if path.len() > MAX_PATH_BYTES {
            return Err(bad(path, "is too long"));
        }
        if path.split('/').count() > MAX_DEPTH {
            return Err(bad(path, "lies too deep"));
        }
        if !path.split('/').all(is_name) {
            return Err(bad(path, "has a part that is not a plain name"));
        }
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.folders.contains(parent)
        {
            return Err(bad(path, "lies in nothing that is named as a folder before it"));
        }
        if !self.all.insert(path) {
            return Err(bad(path, "is there twice"));
        }
        Ok(())
    }
}

fn bad(path: &str, why: &'static str) -> BadFolder {
    let path = path.to_owned();
    BadFolder::Path { path, why }
}

const fn within(what: &'static str, got: usize, limit: usize) -> Result<(), BadFolder> {
    if got > limit {
        return Err(BadFolder::TooMany { what, got, limit });
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains('\0')
}

/// Whether the link at `path` leads to a place in the folder, by its words alone.
fn stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.len() > MAX_PATH_BYTES || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut depth = path.matches('/').count();
    for step in target.split('/') {
        depth = match step {
            "" | "." => depth,
            ".." => match depth.checked_sub(1) {
                Some(up) => up,
                None => return false,
            },
            _ => depth.saturating_add(1),
        };
    }
    true
}

/// Sorts files, given by path in order, into packs. A large file is alone. Where a pack of small ones ends is decided by the
/// file's own name and size: another file that changes, comes or goes leaves all packs but its own as they are.
#[must_use]
pub fn packs_of(files: Vec<FolderFile>) -> Vec<Vec<FolderFile>> {
    let (mut packs, mut open, mut bytes) = (Vec::new(), Vec::new(), 0u64);
    for file in files {
        let size = file.size.0;
        if size >= ALONE {
            packs.push(vec![file]);
            continue;
        }
        if bytes.saturating_add(size) > MAX_PACK_BYTES {
            packs.push(std::mem::take(&mut open));
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        let is_last = ends_pack(&file);
        open.push(file);
        if is_last {
            packs.push(std::mem::take(&mut open));
            bytes = 0;
        }
    }
    if !open.is_empty() {
        packs.push(open);
    }
    packs
}

/// True of files in proportion to their bytes: one in `1 << PACK_BITS` bytes is drawn by the hash of the path.
fn ends_pack(file: &FolderFile) -> bool {
    let hash = blake3::hash(file.path.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    let drawn = u64::from(u32::from_le_bytes([a, b, c, d]));
    drawn < file.size.0.saturating_add(ENTRY) << (32 - PACK_BITS)
}

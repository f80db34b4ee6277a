//! A part's output on disk: bounded, readable while it is written, addressed by its offset in the whole stream.
//!
//! The shim writes; the daemon reads the same files by itself, also when the shim is gone. The stream is kept in files
//! named after the offset of their first byte (`log.0`, `log.524288`). A file that has reached half of the limit is
//! followed by a new one, and only the newest two are kept: so the newest half of the limit can always be read, and
//! never more than the limit is on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use gpux_types::ByteSize;

use crate::runtime::LogChunk;

/// Most bytes that one read returns: a frame of the daemon's own stream.
const CHUNK: u64 = 256 * 1024;

/// Smallest limit: below it every line would start a new file.
const MIN_LIMIT: u64 = 8 * 1024;

/// The writing end.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    half: u64,
    start: u64,
    len: u64,
    file: File,
    /// The file before the current one.
    previous: Option<u64>,
}

impl LogWriter {
    /// Makes the first file in an existing folder.
    pub(crate) fn create(dir: &Path, limit: ByteSize) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            half: limit.0.max(MIN_LIMIT) / 2,
            start: 0,
            len: 0,
            file: new_file(dir, 0)?,
            previous: None,
        })
    }

    /// Adds output.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.len >= self.half {
                self.rotate()?;
            }
            let room = usize::try_from(self.half - self.len).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.file.write_all(now)?;
            self.len += u64::try_from(now.len()).unwrap_or(u64::MAX);
            bytes = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let next = self.start + self.len;
        let file = new_file(&self.dir, next)?;
        if let Some(oldest) = self.previous.replace(self.start) {
            fs::remove_file(name(&self.dir, oldest))?;
        }
        (self.file, self.start, self.len) = (file, next, 0);
        Ok(())
    }
}

fn name(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("log.{start}"))
}

fn new_file(dir: &Path, start: u64) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(name(dir, start))
}

/// The output from `offset` on. `over` says that nothing will be added any more.
pub(crate) fn read(dir: &Path, offset: u64, over: bool) -> io::Result<LogChunk> {
    let starts = starts(dir)?;
    let Some(&oldest) = starts.first() else {
        return Ok(chunk(Vec::new(), offset, over));
    };
    let start = offset.max(oldest);
    // The last file that starts at or before the offset holds it.
    let first = starts
        .iter()
        .copied()
        .take_while(|&first| first <= start)
        .last()
        .unwrap_or(oldest);
    let mut file = match File::open(name(dir, first)) {
        Ok(file) => file,
        // It was dropped between the listing and here; what follows is read the next time.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(chunk(Vec::new(), start, false)),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(start - first))?;
    let mut bytes = Vec::new();
    file.take(CHUNK).read_to_end(&mut bytes)?;
    let newest = starts.last() == Some(&first);
    let full = u64::try_from(bytes.len()) == Ok(CHUNK);
    if bytes.is_empty() && !newest {
        // Exactly at the end of a file that has a successor, or behind a hole that cannot be.
        let next = starts.into_iter().find(|&next| next > first).unwrap_or(start);
        return Ok(chunk(Vec::new(), next.max(start), false));
    }
    Ok(chunk(bytes, start, over && newest && !full))
}

fn chunk(bytes: Vec<u8>, start: u64, ended: bool) -> LogChunk {
    let next = start + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    LogChunk {
        bytes,
        start,
        next,
        ended,
    }
}

fn starts(dir: &Path) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let start = name.to_str().and_then(|name| name.strip_prefix("log."));
        starts.extend(start.and_then(|start| start.parse::<u64>().ok()));
    }
    starts.sort_unstable();
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(dir: &Path, mut offset: u64) -> (u64, Vec<u8>) {
        let (mut first, mut all) = (None, Vec::new());
        loop {
            let part = read(dir, offset, true).unwrap();
            if !part.bytes.is_empty() {
                first.get_or_insert(part.start);
            }
            all.extend_from_slice(&part.bytes);
            offset = part.next;
            if part.ended {
                return (first.unwrap_or(offset), all);
            }
        }
    }

    #[test]
    fn what_was_written_is_read_back_from_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(dir.path(), ByteSize(1 << 20)).unwrap();
        let text: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_le_bytes()).collect();
        for piece in text.chunks(7_777) {
            log.append(piece).unwrap();
        }
        for offset in [0, 1, 524_287, 524_288, 524_289, 799_999, 800_000] {
            let (start, bytes) = read_all(dir.path(), offset);
            assert_eq!(start, offset);
            assert_eq!(bytes, &text[usize::try_from(offset).unwrap()..]);
        }
    }

    #[test]
    fn a_flood_keeps_its_newest_half_and_never_more_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let limit = 64 * 1024;
        let mut log = LogWriter::create(dir.path(), ByteSize(limit)).unwrap();
        let line = b"the same line again and again\n";
        let mut written = 0;
        for _ in 0..20_000 {
            log.append(line).unwrap();
            written += line.len() as u64;
            let on_disk: u64 = starts(dir.path())
                .unwrap()
                .into_iter()
                .map(|start| fs::metadata(name(dir.path(), start)).unwrap().len())
                .sum();
            assert!(on_disk <= limit);
        }
        let (start, bytes) = read_all(dir.path(), 0);
        assert_eq!(start + bytes.len() as u64, written, "the newest byte is there");
        assert!(bytes.len() as u64 >= limit / 2, "at least half of the limit is kept");
    }

    #[test]
    fn the_end_is_only_told_when_all_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(dir.path(), ByteSize(1 << 20)).unwrap();
        log.append(b"hello").unwrap();
        assert!(!read(dir.path(), 0, false).unwrap().ended);
        let last = read(dir.path(), 0, true).unwrap();
        assert_eq!(
            (last.bytes.as_slice(), last.next, last.ended),
            (b"hello".as_slice(), 5, true)
        );
    }
}

//! The metered milliseconds of a lease on disk: small, overwritten in place, and never half written.
//!
//! The shim writes it every second; the daemon reads it when the shim is gone. The file has two slots that are written
//! in turn, each with a checksum, so that a power cut in the middle of a write leaves the other slot.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gpux_types::Millis;

/// What the file starts with; the last digit is the version of the layout.
const MAGIC: [u8; 8] = *b"gpuxmtr1";

/// Bytes of one slot: magic, sequence number, milliseconds, checksum.
const SLOT: usize = 8 + 8 + 8 + 8;

/// Where the second slot starts: in another sector, so that one torn sector cannot spoil both.
const SECOND: u64 = 4096;

/// The writing end.
#[derive(Debug)]
pub(crate) struct MeterFile {
    file: File,
    sequence: u64,
}

impl MeterFile {
    /// Makes the file with zero in it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        let mut meter = Self { file, sequence: 0 };
        meter.write(Millis::ZERO)?;
        meter.file.sync_all()?;
        Ok(meter)
    }

    /// Writes and syncs.
    pub(crate) fn write(&mut self, metered: Millis) -> io::Result<()> {
        self.sequence += 1;
        let offset = if self.sequence.is_multiple_of(2) { 0 } else { SECOND };
        self.file.write_all_at(&slot(self.sequence, metered), offset)?;
        self.file.sync_data()
    }
}

/// The newest whole value; `None` when there is no file or no whole slot in it.
pub(crate) fn read(path: &Path) -> io::Result<Option<Millis>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let newest = [0, SECOND]
        .into_iter()
        .filter_map(|offset| {
            let mut bytes = [0; SLOT];
            file.read_exact_at(&mut bytes, offset).ok()?;
            parse(&bytes)
        })
        .max();
    Ok(newest.map(|(_, metered)| metered))
}

fn slot(sequence: u64, metered: Millis) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&metered.0.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn parse(bytes: &[u8; SLOT]) -> Option<(u64, Millis)> {
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    let (magic, rest) = body.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (metered, _) = rest.split_first_chunk::<8>()?;
    (*magic == MAGIC && checksum(body) == *sum)
        .then(|| (u64::from_le_bytes(*sequence), Millis(u64::from_le_bytes(*metered))))
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    blake3::Hasher::new().update(body).finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_read_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meter");
        assert_eq!(read(&path).unwrap(), None);
        let mut meter = MeterFile::create(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Millis::ZERO));
        for metered in [1_000, 2_000, 3_000] {
            meter.write(Millis(metered)).unwrap();
        }
        assert_eq!(read(&path).unwrap(), Some(Millis(3_000)));

        let newest = if meter.sequence.is_multiple_of(2) { 0 } else { SECOND };
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 3], newest + 17).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Millis(2_000)));
    }
}

//! The record of every transaction that a wallet signed, written before anybody else sees it.
//!
//! The sender records; whoever owns the daemon's store implements [`Journal`]. After a crash the journal alone says
//! which signed bytes may already be out there, so that nothing is ever signed twice for one intent.

use crate::call::IntentKey;
use alloy::primitives::Bytes;
use gpux_types::{Address, Amount, B256};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where signed transactions are recorded.
pub trait Journal: Send + Sync + 'static {
    /// Records an entry, in place of the one with the same hash if there is one. When this returns, the entry survives
    /// a crash of the machine.
    ///
    /// # Errors
    /// When that cannot be promised; the transaction is then not sent.
    fn record(&self, entry: &JournalEntry) -> io::Result<()>;

    /// Every entry, in the order in which they were first recorded.
    ///
    /// # Errors
    /// When they cannot be read; nothing is sent then.
    fn load(&self) -> io::Result<Vec<JournalEntry>>;
}

/// One signed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The version of this form: [`JournalEntry::VERSION`]. Readers take that and older ones, and refuse newer ones.
    pub version: u8,
    /// What it was signed for.
    pub key: IntentKey,
    /// The chain that it is valid on.
    pub chain_id: u64,
    /// Who signed it.
    pub wallet: Address,
    /// Its nonce.
    pub nonce: u64,
    /// Its hash.
    pub hash: B256,
    /// The signed bytes.
    pub raw: Bytes,
    /// The permit in it, if there is one.
    pub permit: Option<PermitUse>,
    /// The tokens that it pulls through the escrow, if it does.
    pub pull: Option<Pull>,
    /// What has become of it.
    pub state: EntryState,
}

impl JournalEntry {
    /// The version of the form that this program writes. Version 1 had no [`EntryState::Refused`]; nothing else differs.
    pub const VERSION: u8 = 2;

    /// What is written down when this has become of the transaction.
    pub(crate) fn with(self, state: EntryState) -> Self {
        Self {
            version: Self::VERSION,
            state,
            ..self
        }
    }
}

/// A permit that a transaction uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitUse {
    /// The token.
    pub token: Address,
    /// The owner's permit nonce.
    pub nonce: u64,
}

/// Tokens that a transaction takes out of the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The token.
    pub token: Address,
    /// How much.
    pub amount: Amount,
}

/// What has become of a signed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum EntryState {
    /// It may be anywhere: in this file only, in a pool, or in a block.
    Signed,
    /// It is in a block, which a reorganisation may still take back.
    Mined {
        /// Whether it took effect.
        succeeded: bool,
    },
    /// It is in a block for ever.
    Final {
        /// Whether it took effect.
        succeeded: bool,
    },
    /// The chain node refused it. It is not handed over again by itself, but whoever has seen it may still do so: until
    /// its nonce is used up for ever, its intent is signed under no other one.
    Refused,
    /// It can never take effect: its nonce went to another transaction for ever, or it never left this machine.
    Superseded,
}

/// A journal in memory: for tests, and for a wallet whose loss costs nothing.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    // A lock and not a task: it is held for a push, and the sender calls it from a blocking thread.
    entries: Arc<Mutex<Vec<JournalEntry>>>,
}

impl MemoryJournal {
    fn entries(&self) -> MutexGuard<'_, Vec<JournalEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn record(&self, entry: &JournalEntry) -> io::Result<()> {
        upsert(&mut self.entries(), entry.clone());
        Ok(())
    }

    fn load(&self) -> io::Result<Vec<JournalEntry>> {
        Ok(self.entries().clone())
    }
}

/// A journal in one file of JSON lines, synced after each: for tools that have no store of their own.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    // A lock and not a task: two threads must not interleave their lines.
    file: Mutex<File>,
}

impl FileJournal {
    /// The journal in the file at `path`, which is made when there is none.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        // Ends a line that a crash cut off, so that the next one does not continue it.
        file.write_all(b"\n")?;
        Ok(Self {
            path,
            file: Mutex::new(file),
        })
    }
}

impl Journal for FileJournal {
    fn record(&self, entry: &JournalEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)?;
        file.sync_data()
    }

    fn load(&self) -> io::Result<Vec<JournalEntry>> {
        let mut entries = Vec::new();
        for line in BufReader::new(File::open(&self.path)?).split(b'\n') {
            match serde_json::from_slice(&line?) {
                Ok(entry) => upsert(&mut entries, entry),
                // A line cut off by a crash was never acted on: the record had not returned.
                Err(error) if error.is_eof() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }
}

fn upsert(entries: &mut Vec<JournalEntry>, entry: JournalEntry) {
    match entries.iter_mut().find(|known| known.hash == entry.hash) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hash: u8, state: EntryState) -> JournalEntry {
        JournalEntry {
            version: JournalEntry::VERSION,
            key: IntentKey::new("open:1").unwrap(),
            chain_id: 901,
            wallet: Address::repeat_byte(1),
            nonce: 7,
            hash: B256::repeat_byte(hash),
            raw: Bytes::from_static(&[2, 3]),
            permit: Some(PermitUse {
                token: Address::repeat_byte(2),
                nonce: 3,
            }),
            pull: Some(Pull {
                token: Address::repeat_byte(2),
                amount: Amount::MAX,
            }),
            state,
        }
    }

    #[test]
    fn a_file_journal_keeps_the_newest_state_of_each_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = FileJournal::open(&path).unwrap();
        journal.record(&entry(1, EntryState::Signed)).unwrap();
        journal.record(&entry(2, EntryState::Signed)).unwrap();
        journal
            .record(&entry(1, EntryState::Mined { succeeded: true }))
            .unwrap();
        drop(journal);
        let expected = vec![
            entry(1, EntryState::Mined { succeeded: true }),
            entry(2, EntryState::Signed),
        ];
        assert_eq!(FileJournal::open(&path).unwrap().load().unwrap(), expected);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_as_if_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = FileJournal::open(&path).unwrap();
        journal.record(&entry(1, EntryState::Signed)).unwrap();
        journal.record(&entry(2, EntryState::Signed)).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length - 20)
            .unwrap();
        assert_eq!(journal.load().unwrap(), vec![entry(1, EntryState::Signed)]);
        let journal = FileJournal::open(&path).unwrap();
        journal.record(&entry(3, EntryState::Signed)).unwrap();
        assert_eq!(
            journal.load().unwrap(),
            vec![entry(1, EntryState::Signed), entry(3, EntryState::Signed)]
        );
    }
}

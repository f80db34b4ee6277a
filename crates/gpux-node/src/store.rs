//! The daemon's state in one SQLite file with one writer. A crash at any instruction loses nothing that was acknowledged:
//! every write is one transaction that is on the disk before the call returns.
//!
//! State machines are kept as versioned JSON in one row each: their shape is owned by the crate that defines them.

use crate::dir;
use gpux_chain::{Journal, JournalEntry};
use gpux_types::{JobId, LeaseId};
use rusqlite::{Connection, OptionalExtension, params};
use rusqlite_migration::{M, Migrations};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// A state that cannot be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or brought to this version.
    #[error("opening the database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file cannot be made its owner's alone: it holds the keys that sign receipts.
    #[error("keeping the database {path} from others")]
    Private {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer version wrote the file.
    #[error(
        "opening the database {path}: a newer gpux wrote it (its layout is {found}, this one knows {known}); \
         nothing was changed: run that gpux or a newer one, or give --dir another folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: u32,
        /// The newest layout that this version knows.
        known: u32,
    },
    /// The file is of an old version and cannot be moved on.
    #[error("bringing the database to this version")]
    Migrate(#[source] rusqlite_migration::Error),
    /// A statement failed.
    #[error("{attempted} in the database")]
    Sql {
        /// What was attempted.
        attempted: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// A row does not hold what this version wrote.
    #[error("reading {what} from the database")]
    Json {
        /// What was read or written.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// Makes the database its owner's alone before SQLite opens it: journals that SQLite makes get the permissions of the file. Those
/// that an earlier version left are closed to others too.
fn make_private(path: &Path) -> io::Result<()> {
    dir::ensure_private(path)?;
    for end in ["-wal", "-shm"] {
        let mut journal = path.as_os_str().to_owned();
        journal.push(end);
        match dir::close_to_others(Path::new(&journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Which side of a lease a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Renter,
    Provider,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Renter => "renter",
            Self::Provider => "provider",
        }
    }
}

/// The version of a record that this version knows up to `NEWEST`: a newer one may mean other things by the same words, so a
/// record of one is not read, but left as it is and named.
pub(crate) fn known_version<'de, D: Deserializer<'de>, const NEWEST: u16>(version: D) -> Result<u16, D::Error> {
    let version = u16::deserialize(version)?;
    if version > NEWEST {
        let text = format!("it was written as version {version}, and this is {NEWEST}");
        return Err(D::Error::custom(text));
    }
    Ok(version)
}

/// Every job.
#[derive(Debug)]
pub(crate) struct Jobs<T> {
    /// The oldest first.
    pub(crate) readable: Vec<T>,
    /// The names of those that this version cannot read, and why.
    pub(crate) unreadable: Vec<(String, StoreError)>,
}

/// Leases that are not over: one side of them, or those that are watched for others.
#[derive(Debug)]
pub(crate) struct OpenLeases<T> {
    /// The oldest first.
    pub(crate) readable: Vec<T>,
    /// What this version cannot read, and of which lease it is when that much can be told.
    pub(crate) unreadable: Vec<(Option<LeaseId>, StoreError)>,
}

/// The database. A cheap clone; the mutex is held for one statement at a time and never over an await.
#[derive(Debug, Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    tap: Option<Arc<dyn WriteTap>>,
}

/// Stands before and behind every write of a simulated world's daemon: the points at which a crash matters.
pub trait WriteTap: std::fmt::Debug + Send + Sync {
    /// A write is about to be made.
    ///
    /// # Errors
    /// When the disk does not take it; nothing is written then.
    fn before(&self) -> Result<(), WriteFault>;
    /// A write is on the disk.
    fn after(&self);
}

/// The disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteFault;

/// Each brings a database from the layout of its place in the list to the next one.
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("store/0001-first.sql")),
    M::up(include_str!("store/0002-closing-records.sql")),
    M::up(include_str!("store/0003-watched-leases.sql")),
];

impl Store {
    /// The database in the file at `path`, made when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or is of a version that this one cannot move on.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, None)
    }

    /// The same, with a tap on its writes.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: &Path, tap: Option<Arc<dyn WriteTap>>) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        make_private(path).map_err(|source| StoreError::Private {
            path: path.to_owned(),
            source,
        })?;
        let mut connection = Connection::open(path).map_err(open)?;
        // Before anything is written.
        let found = connection.pragma_query_value(None, "user_version", |row| row.get(0));
        let found: u32 = found.map_err(open)?;
        let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
        if found > known {
            let path = path.to_owned();
            return Err(StoreError::Newer { path, found, known });
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(open)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(open)?;
        Migrations::from_slice(MIGRATIONS)
            .to_latest(&mut connection)
            .map_err(StoreError::Migrate)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            tap,
        })
    }

    /// Makes one write, which is on the disk when this returns.
    fn write(&self, statement: &str, parameters: impl rusqlite::Params) -> Result<(), rusqlite::Error> {
        self.write_on(&self.lock(), statement, parameters)
    }

    fn write_on(
        &self,
        connection: &Connection,
        statement: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<(), rusqlite::Error> {
        let full = |WriteFault| {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            rusqlite::Error::SqliteFailure(code, None)
        };
        self.tap.as_ref().map_or(Ok(()), |tap| tap.before()).map_err(full)?;
        connection.execute(statement, parameters)?;
        if let Some(tap) = &self.tap {
            tap.after();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left no half-written row: every statement is its own transaction.
        self.connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the file may grow: to be full, for tests.
    #[cfg(test)]
    pub(crate) fn limit_to_present_size(&self, limited: bool) {
        let connection = self.lock();
        let pages = connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
        let most = if limited { pages.unwrap() } else { 1 << 30 };
        connection
            .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
            .unwrap();
    }

    /// Keeps a job, replacing what was kept of it.
    pub(crate) fn put_job<T: Serialize>(&self, id: JobId, name: &str, job: &T) -> Result<(), StoreError> {
        let text = to_json("a job", job)?;
        let statement =
            "INSERT INTO jobs (id, name, state) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET state = ?3";
        let done = self.write(statement, params![id.as_bytes(), name, text]);
        done.map_err(|source| StoreError::Sql {
            attempted: "keeping a job",
            source,
        })
    }

    /// Every job. One that cannot be read hides no other.
    pub(crate) fn jobs<T: DeserializeOwned>(&self) -> Result<Jobs<T>, StoreError> {
        let sql = |source| StoreError::Sql {
            attempted: "reading the jobs",
            source,
        };
        let connection = self.lock();
        let mut statement = connection
            .prepare("SELECT name, state FROM jobs ORDER BY rowid")
            .map_err(sql)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .map_err(sql)?;
        let mut jobs = Jobs {
            readable: Vec::new(),
            unreadable: Vec::new(),
        };
        for row in rows {
            let (name, text) = row.map_err(sql)?;
            match from_json("a job", &text) {
                Ok(job) => jobs.readable.push(job),
                Err(error) => jobs.unreadable.push((name, error)),
            }
        }
        Ok(jobs)
    }

    /// One job.
    pub(crate) fn job<T: DeserializeOwned>(&self, id: JobId) -> Result<Option<T>, StoreError> {
        let rows = self.json_rows("a job", "SELECT state FROM jobs WHERE id = ?1", [id.as_bytes()]);
        Ok(rows?.pop())
    }

    /// Keeps one side of a lease, replacing what was kept of it.
    pub(crate) fn put_lease<T: Serialize>(
        &self,
        role: Role,
        id: LeaseId,
        lease: &T,
        over: bool,
    ) -> Result<(), StoreError> {
        let text = to_json("a lease", lease)?;
        let statement = "INSERT INTO leases (role, id, state, over) VALUES (?1, ?2, ?3, ?4) \
                         ON CONFLICT (role, id) DO UPDATE SET state = ?3, over = ?4";
        let done = self.write(statement, params![role.name(), id.as_bytes(), text, over]);
        done.map_err(|source| StoreError::Sql {
            attempted: "keeping a lease",
            source,
        })
    }

    /// What was kept of one side of a lease.
    pub(crate) fn lease<T: DeserializeOwned>(&self, role: Role, id: LeaseId) -> Result<Option<T>, StoreError> {
        let statement = "SELECT state FROM leases WHERE role = ?1 AND id = ?2";
        let text: Option<String> = self
            .lock()
            .query_row(statement, params![role.name(), id.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(|source| StoreError::Sql {
                attempted: "reading a lease",
                source,
            })?;
        text.map(|text| from_json("a lease", &text)).transpose()
    }

    /// Forgets one side of a lease.
    pub(crate) fn drop_lease(&self, role: Role, id: LeaseId) -> Result<(), StoreError> {
        let statement = "DELETE FROM leases WHERE role = ?1 AND id = ?2";
        let done = self.write(statement, params![role.name(), id.as_bytes()]);
        done.map_err(|source| StoreError::Sql {
            attempted: "forgetting a lease",
            source,
        })
    }

    /// One side of every lease that is not over, the oldest first. One that cannot be read hides no other.
    pub(crate) fn open_leases<T: DeserializeOwned>(&self, role: Role) -> Result<OpenLeases<T>, StoreError> {
        let statement = "SELECT id, state FROM leases WHERE role = ?1 AND NOT over ORDER BY rowid";
        self.lease_rows(statement, [role.name()])
    }

    /// Rows of a lease's id and its text.
    fn lease_rows<T: DeserializeOwned>(
        &self,
        statement: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<OpenLeases<T>, StoreError> {
        let sql = |source| StoreError::Sql {
            attempted: "reading the leases",
            source,
        };
        let connection = self.lock();
        let mut statement = connection.prepare(statement).map_err(sql)?;
        let mut rows = statement.query(parameters).map_err(sql)?;
        let mut leases = OpenLeases {
            readable: Vec::new(),
            unreadable: Vec::new(),
        };
        while let Some(row) = rows.next().map_err(sql)? {
            let state = row.get::<_, String>(1).map_err(sql);
            match state.and_then(|text| from_json("a lease", &text)) {
                Ok(lease) => leases.readable.push(lease),
                Err(error) => leases.unreadable.push((row.get(0).ok().map(LeaseId), error)),
            }
        }
        Ok(leases)
    }

    /// Keeps a closing record of which nothing was kept before.
    pub(crate) fn add_record<T: Serialize>(&self, role: Role, lease: LeaseId, record: &T) -> Result<(), StoreError> {
        let statement = "INSERT INTO closing_records (role, lease, state, open) VALUES (?1, ?2, ?3, TRUE) \
                         ON CONFLICT (role, lease) DO NOTHING";
        let text = to_json("a closing record", record)?;
        let done = self.write(statement, params![role.name(), lease.as_bytes(), text]);
        done.map_err(|source| StoreError::Sql {
            attempted: "keeping a closing record",
            source,
        })
    }

    /// Changes a closing record as it is now and keeps it; nothing comes between. The change answers whether something is still
    /// to be done for it. `None`: there is no such record.
    pub(crate) fn change_record<T: Serialize + DeserializeOwned>(
        &self,
        role: Role,
        lease: LeaseId,
        change: impl FnOnce(&mut T) -> bool,
    ) -> Result<Option<T>, StoreError> {
        let sql = |source| StoreError::Sql {
            attempted: "changing a closing record",
            source,
        };
        let connection = self.lock();
        let statement = "SELECT state FROM closing_records WHERE role = ?1 AND lease = ?2";
        let key = params![role.name(), lease.as_bytes()];
        let text = connection.query_row(statement, key, |row| row.get::<_, String>(0));
        let Some(text) = text.optional().map_err(sql)? else {
            return Ok(None);
        };
        let mut record: T = from_json("a closing record", &text)?;
        let open = change(&mut record);
        let text = to_json("a closing record", &record)?;
        let statement = "UPDATE closing_records SET state = ?3, open = ?4 WHERE role = ?1 AND lease = ?2";
        let parameters = params![role.name(), lease.as_bytes(), text, open];
        self.write_on(&connection, statement, parameters).map_err(sql)?;
        Ok(Some(record))
    }

    /// The closing record of one side of a lease.
    pub(crate) fn record<T: DeserializeOwned>(&self, role: Role, lease: LeaseId) -> Result<Option<T>, StoreError> {
        let statement = "SELECT state FROM closing_records WHERE role = ?1 AND lease = ?2";
        let rows = self.json_rows("a closing record", statement, params![role.name(), lease.as_bytes()]);
        Ok(rows?.pop())
    }

    /// One side's closing records, the oldest first.
    pub(crate) fn records<T: DeserializeOwned>(&self, role: Role) -> Result<Vec<T>, StoreError> {
        let statement = "SELECT state FROM closing_records WHERE role = ?1 ORDER BY rowid";
        self.json_rows("a closing record", statement, [role.name()])
    }

    /// Those for which something is still to be done, each as it could be read: one that cannot hides no other.
    pub(crate) fn open_records<T: DeserializeOwned>(
        &self,
        role: Role,
    ) -> Result<Vec<Result<T, StoreError>>, StoreError> {
        let sql = |source| StoreError::Sql {
            attempted: "reading the open closing records",
            source,
        };
        let connection = self.lock();
        let statement = "SELECT state FROM closing_records WHERE role = ?1 AND open ORDER BY rowid";
        let mut statement = connection.prepare(statement).map_err(sql)?;
        let rows = statement.query_map([role.name()], |row| row.get::<_, String>(0));
        let read = |row: Result<String, _>| from_json("a closing record", &row.map_err(sql)?);
        Ok(rows.map_err(sql)?.map(read).collect())
    }

    /// Keeps what was handed over of a lease that is watched, replacing what was kept of it.
    pub(crate) fn put_watched<T: Serialize>(&self, lease: LeaseId, watched: &T) -> Result<(), StoreError> {
        let statement = "INSERT INTO watched_leases (lease, state) VALUES (?1, ?2) \
                         ON CONFLICT (lease) DO UPDATE SET state = ?2";
        let text = to_json("a watched lease", watched)?;
        let done = self.write(statement, params![lease.as_bytes(), text]);
        done.map_err(|source| StoreError::Sql {
            attempted: "keeping a watched lease",
            source,
        })
    }

    /// Forgets a lease that was watched.
    pub(crate) fn drop_watched(&self, lease: LeaseId) -> Result<(), StoreError> {
        let done = self.write("DELETE FROM watched_leases WHERE lease = ?1", [lease.as_bytes()]);
        done.map_err(|source| StoreError::Sql {
            attempted: "forgetting a watched lease",
            source,
        })
    }

    /// Every lease that is watched, the oldest first. One that cannot be read hides no other.
    pub(crate) fn watched<T: DeserializeOwned>(&self) -> Result<OpenLeases<T>, StoreError> {
        self.lease_rows("SELECT lease, state FROM watched_leases ORDER BY rowid", [])
    }

    /// Keeps a small fact under a name.
    pub(crate) fn put_fact<T: Serialize>(&self, name: &str, fact: &T) -> Result<(), StoreError> {
        let text = to_json("a fact", fact)?;
        let statement = "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        let done = self.write(statement, params![name, text]);
        done.map_err(|source| StoreError::Sql {
            attempted: "keeping a fact",
            source,
        })
    }

    /// Keeps a small fact under a name that has none yet; gives what is kept under it, which may be another's.
    pub(crate) fn claim_fact<T: Serialize + DeserializeOwned>(&self, name: &str, fact: &T) -> Result<T, StoreError> {
        let text = to_json("a fact", fact)?;
        let statement = "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        let done = self.write(statement, params![name, text]);
        done.map_err(|source| StoreError::Sql {
            attempted: "keeping a fact",
            source,
        })?;
        // Nothing takes a fact back, so it is there; the same text is as good.
        Ok(match self.fact(name)? {
            Some(kept) => kept,
            None => from_json("a fact", &text)?,
        })
    }

    /// The fact under a name.
    pub(crate) fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self
            .lock()
            .query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|source| StoreError::Sql {
                attempted: "reading a fact",
                source,
            })?;
        text.map(|text| from_json("a fact", &text)).transpose()
    }

    fn json_rows<T: DeserializeOwned>(
        &self,
        what: &'static str,
        statement: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<T>, StoreError> {
        let sql = |source| StoreError::Sql {
            attempted: what,
            source,
        };
        let connection = self.lock();
        let mut statement = connection.prepare(statement).map_err(sql)?;
        let rows = statement
            .query_map(parameters, |row| row.get::<_, String>(0))
            .map_err(sql)?;
        rows.map(|row| from_json(what, &row.map_err(sql)?)).collect()
    }
}

fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Json { what, source })
}

fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Json { what, source })
}

/// Signed transactions, kept before they are sent.
impl Journal for Store {
    fn record(&self, entry: &JournalEntry) -> io::Result<()> {
        let text = serde_json::to_string(entry).map_err(io::Error::other)?;
        let statement =
            "INSERT INTO transactions (hash, entry) VALUES (?1, ?2) ON CONFLICT (hash) DO UPDATE SET entry = ?2";
        self.write(statement, params![entry.hash.as_slice(), text])
            .map_err(io::Error::other)
    }

    fn load(&self) -> io::Result<Vec<JournalEntry>> {
        let rows = self.json_rows("a transaction", "SELECT entry FROM transactions ORDER BY rowid", []);
        rows.map_err(io::Error::other)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Opening the database, its two kinds, and the rules that let one SQL text serve both.
//!
//! Portable SQL, as far as this crate needs it: `$1` parameters; ids and JSON as TEXT; times
//! (microseconds) and truth values (0, 1) as BIGINT; `CAST(SUM(x) AS BIGINT)`; parameters that are
//! tested for NULL are cast (`CAST($1 AS BIGINT) IS NULL`); `ON CONFLICT … DO UPDATE`; no blobs.
//!
//! `LIMIT $1 + 0`, never `LIMIT $1`: SQLite looks into a bare parameter of LIMIT when it plans, and so
//! plans the statement anew each time it is run, which costs more than most statements themselves.
//!
//! SQLite has one writer: all changes go through [`Store::write`], a pool of one connection, so
//! that writers queue in memory instead of meeting "database is locked". Readers never wait.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Any, AnyConnection, AnyPool, Executor as _, Transaction,
    any::{AnyPoolOptions, install_default_drivers},
    migrate::Migrator,
};

use crate::readers::Readers;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Connections for readers.
const READERS: u32 = 8;
/// Connections for writers on PostgreSQL; SQLite has one.
const POSTGRES_WRITERS: u32 = 8;
/// How long a caller waits for a free connection.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that SQLite's log may grow by on a full disk. Its index (`-shm`) covers so many in its first piece,
/// which always exists.
const LOG_RESERVE: u64 = 16 * 1024 * 1024;

/// Which database stands behind a [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Everything that Sojourn keeps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    read: Readers,
    write: AnyPool,
    database: Database,
    /// SQLite's write-ahead log.
    log: Option<Arc<Path>>,
}

/// What can go wrong with the database itself. An absent row is an `Option`, not an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot reach the database")]
    Unavailable(#[source] sqlx::Error),
    #[error("the database's disk is full")]
    Full(#[source] sqlx::Error),
    #[error("a database statement failed")]
    Statement(#[source] sqlx::Error),
    #[error("the database's schema could not be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
    #[error("the database address {0:?} is neither sqlite: nor postgres:")]
    UnknownDatabase(String),
    #[error("the database holds a value that cannot be read: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "sqlx's list is open; all others are statements that failed"
    )]
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            // SQLITE_FULL is 13, SQLITE_IOERR_SHMSIZE 4874; PostgreSQL's disk_full is 53100.
            sqlx::Error::Database(cause)
                if matches!(cause.code().as_deref(), Some("13" | "4874" | "53100")) =>
            {
                Self::Full(error)
            }
            _ => Self::Statement(error),
        }
    }
}

impl StoreError {
    /// A unique index or primary key refused the row.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Statement(sqlx::Error::Database(cause)) if cause.is_unique_violation())
    }
}

impl Store {
    /// Opens (and creates, for SQLite) the database behind `url` and brings its schema up to date.
    ///
    /// `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        install_default_drivers();
        let database = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Database::Sqlite,
            Some("postgres" | "postgresql") => Database::Postgres,
            _ => {
                return Err(StoreError::UnknownDatabase(
                    url.split('@').next_back().unwrap_or_default().to_owned(),
                ));
            }
        };
        let url = match database {
            Database::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
            Database::Sqlite | Database::Postgres => url.to_owned(),
        };
        let write = Self::pool(database, if database == Database::Sqlite { 1 } else { POSTGRES_WRITERS })
            .connect(&url)
            .await?;
        MIGRATOR.run(&write).await.map_err(StoreError::Migration)?;
        crate::access::prepare(&write, database).await?;
        let read = match database {
            Database::Sqlite => Readers::sqlite(&url, READERS),
            Database::Postgres => Readers::Postgres(Self::pool(database, READERS).connect(&url).await?),
        };
        let log = url_of_file(&url).map(|file| {
            let mut log: OsString = file.into();
            log.push("-wal");
            PathBuf::from(log).into()
        });
        Ok(Self { read, write, database, log })
    }

    /// Keeps room on the disk for what is written when it is full: logins above all, so that somebody can come and
    /// make room. To be called every now and then; it does nothing while there is enough.
    ///
    /// SQLite writes into its log first, so the log's file gets blocks beyond its end. Moving pages
    /// from there into the database may fail on a full disk, and is tried again with each change. Nobody else can take these
    /// blocks, as they could what another file would let go at the last moment. To open the log is harmless: SQLite's
    /// locks, which would end with any descriptor that is closed, are on the other two files.
    pub(crate) fn keep_room(&self) -> io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let file = File::options().write(true).open(log)?;
        let metadata = file.metadata()?;
        let wanted = metadata.len() + LOG_RESERVE;
        // Blocks of 512 bytes, whatever the file system's are.
        if metadata.blocks() * 512 < wanted {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, wanted)?;
        }
        Ok(())
    }

    /// Opens the SQLite database in a file, which need not exist.
    pub async fn open_file(path: &Path) -> Result<Self, StoreError> {
        Self::open(&format!("sqlite:{}", path.display())).await
    }

    fn pool(database: Database, connections: u32) -> AnyPoolOptions {
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(database == Database::Postgres)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    match database {
                        Database::Sqlite => set_up_sqlite(connection).await,
                        Database::Postgres => Ok(()),
                    }
                })
            })
    }

    pub fn database(&self) -> Database {
        self.database
    }

    /// Connections for reading.
    pub(crate) fn read(&self) -> &Readers {
        &self.read
    }

    /// Connections for changing; on SQLite the only one.
    pub(crate) fn write(&self) -> &AnyPool {
        &self.write
    }

    /// A transaction that changes something. On SQLite it takes the write lock at once, and
    /// waits for other processes there: one that read first could not wait any more.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let statement = match self.database {
            Database::Sqlite => "BEGIN IMMEDIATE",
            Database::Postgres => "BEGIN",
        };
        match self.write.begin_with(statement).await {
            // SQLite ends a transaction by itself when the disk is full. The connection believes to be in it for
            // ever after, and is given up for a new one.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.write.acquire().await?.close().await?;
                Ok(self.write.begin_with(statement).await?)
            }
            begun => Ok(begun?),
        }
    }

    /// The database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Waits for running statements and closes all connections.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// How every connection to SQLite works.
pub(crate) async fn set_up_sqlite(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    connection
        .execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2000; \
             PRAGMA journal_size_limit = 67108864;",
        )
        .await?;
    Ok(())
}

/// The file of a SQLite database that is in one.
pub(crate) fn url_of_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?.split('?').next()?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_file_gets_the_schema_and_opens_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sojourn.db");
        for _ in 0..2 {
            let store = Store::open_file(&path).await.unwrap();
            store.ping().await.unwrap();
            store.close().await;
        }
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_refused_without_repeating_a_password() {
        let error = Store::open("mysql://root:hunter2@localhost/x").await.unwrap_err().to_string();
        assert!(error.contains("neither sqlite: nor postgres:") && !error.contains("hunter2"), "{error}");
    }
}

//! The whole state as one stream of text, the same for both databases: what is dumped from one
//! can be loaded into the other.
//!
//! Lines of JSON. The first says what it is (`{"format":"sojourn-backup","version":1,…}`); then for
//! each table a line `{"table":NAME,"columns":[…]}`, followed by one array a row; the last
//! (`{"end":true,"rows":N,"sha256":…}`) counts the rows and hashes everything before it. A dump is
//! one moment: it is read within one transaction while others write.

use std::io::{BufRead, Write};

use data_encoding::HEXLOWER;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sojourn_domain::time::Timestamp;
use sqlx::{Any, AnyConnection, Connection as _, Row as _, any::AnyRow, query::Query};

use crate::db::{Database, Store, StoreError};

const FORMAT: &str = "sojourn-backup";
const VERSION: u64 = 1;
/// No honest line is longer; a longer one is not read into memory.
const LONGEST_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// Why a dump could not be written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read or write the file")]
    File(#[from] std::io::Error),
    #[error("the file is no backup: {0}")]
    Foreign(String),
    #[error("the backup is cut off or altered: {0}")]
    Damaged(String),
    #[error("the backup was made by another version ({0}): restore it with that version, then upgrade")]
    Version(String),
    #[error("there is data already ({0} holds rows)")]
    NotEmpty(&'static str),
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What was dumped or loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    pub rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    select: &'static str,
    insert: &'static str,
    delete: &'static str,
    any: &'static str,
}

macro_rules! tables {
    ($($table:ident { $first:ident: $first_kind:ident $(, $column:ident: $kind:ident)* $(,)? })*) => {
        /// All that is kept, parents before children.
        const TABLES: &[Table] = &[$(
            Table {
                name: stringify!($table),
                columns: &[(stringify!($first), Kind::$first_kind) $(, (stringify!($column), Kind::$kind))*],
                select: concat!(
                    "SELECT ", stringify!($first) $(, ", ", stringify!($column))*, " FROM ", stringify!($table),
                    " ORDER BY 1, 2"
                ),
                insert: concat!(
                    "INSERT INTO ", stringify!($table), " (", stringify!($first) $(, ", ", stringify!($column))*,
                    ") VALUES ("
                ),
                delete: concat!("DELETE FROM ", stringify!($table)),
                any: concat!("SELECT CAST(1 AS BIGINT) FROM ", stringify!($table), " LIMIT 1"),
            },
        )*];
    };
}

tables! {
    meta { name: Text, value: Text }
    roles { name: Text, description: Text, created_at: Whole }
    role_permissions { role: Text, permission: Text }
    users {
        id: Text, name: Text, name_key: Text, display_name: Text, role: Text, password_hash: Text,
        disabled: Whole, created_at: Whole, last_login_at: Whole,
    }
    tokens {
        id: Text, user_id: Text, label: Text, secret_hash: Text, permissions: Text, created_at: Whole,
        expires_at: Whole, last_used_at: Whole, revoked_at: Whole,
    }
    logins {
        id: Text, user_id: Text, secret_hash: Text, created_at: Whole, last_seen_at: Whole,
        expires_at: Whole, client_address: Text, user_agent: Text,
    }
    guesses { subject: Text, failures: Whole, last_at: Whole, blocked_until: Whole }
    audit {
        seq: Whole, at: Whole, actor_kind: Text, actor_id: Text, actor_name: Text, action: Text,
        object: Text, outcome: Text, detail: Text, client_address: Text, hash: Text,
    }
    devices {
        number: Whole, mac: Text, name: Text, owner: Text, type: Text, notes: Text, vendor: Text,
        hostname: Text, ip4: Text, ip6: Text, grace_us: Whole, alert_down: Whole, may_sleep: Whole,
        archived: Whole, is_new: Whole, down: Whole, first_seen_at: Whole, created_at: Whole,
        sessions_from_seq: Whole, sessions_from_at: Whole,
    }
    device_seen { device: Whole, seen_at: Whole }
    device_addresses { device: Whole, ip: Text, first_seen_at: Whole, last_seen_at: Whole }
    sources {
        id: Text, name: Text, kind: Text, settings: Text, interval_us: Whole, grace_us: Whole,
        enabled: Whole, automatic: Whole, created_at: Whole, removed_at: Whole, scope: Text,
        health: Text, health_since: Whole, health_message: Text, last_started_at: Whole,
        last_finished_at: Whole, last_seen_count: Whole, complete_at: Whole,
        previous_complete_at: Whole, alive_at: Whole, last_seq: Whole, last_outcome: Text,
        last_message: Text,
    }
    device_sources { device: Whole, source: Text, seen_at: Whole, held_until: Whole }
    source_gaps {
        id: Text, source: Text, from_at: Whole, until_at: Whole, before_at: Whole, reason: Text,
        message: Text,
    }
    presence_events {
        seq: Whole, device: Whole, at: Whole, recorded_at: Whole, type: Text, ip: Text, info: Text,
        certain: Whole,
    }
    presence_sessions {
        id: Text, device: Whole, started_at: Whole, ended_at: Whole, from_at: Whole, until_at: Whole,
        start_type: Text, end_type: Text, ip: Text, info: Text, open: Whole, manual: Whole,
        opening_seq: Whole, closing_seq: Whole,
    }
    presence_counts {
        at: Whole, online: Whole, sleeping: Whole, unknown: Whole, down: Whole, offline: Whole,
    }
    connections {
        id: Text, name: Text, name_key: Text, protocol: Text, host: Text, port: Whole, username: Text,
        auth: Text, secret: Text, host_key: Text, host_key_at: Whole, host_key_by: Text, owner_id: Text,
        folder: Text, tags: Text, notes: Text, policy: Text, created_at: Whole, updated_at: Whole,
        options: Text,
    }
    connection_grants { connection_id: Text, grantee_kind: Text, grantee: Text, created_at: Whole }
    public_keys {
        id: Text, user_id: Text, label: Text, fingerprint: Text, public_key: Text, created_at: Whole,
        last_used_at: Whole,
    }
    nodes { id: Text, name: Text, url: Text, started_at: Whole, seen_at: Whole, stopped_at: Whole }
    leases { name: Text, node: Text, until_at: Whole }
    tickets {
        hash: Text, user_id: Text, purpose: Text, connection_id: Text, session_id: Text,
        expires_at: Whole,
    }
    access_sessions {
        id: Text, user_id: Text, user_name: Text, connection_id: Text, connection_name: Text,
        protocol: Text, purpose: Text, command: Text, target: Text, client_kind: Text,
        client_address: Text, node: Text, started_at: Whole, ended_at: Whole, end_reason: Text,
        end_detail: Text, exit_status: Whole, exit_signal: Text, bytes_in: Whole, bytes_out: Whole,
        sha_in: Text, sha_out: Text, recording: Text, recording_bytes: Whole, command_count: Whole,
        legal_hold: Whole,
    }
    access_session_counts { user_id: Text, protocol: Text, sessions: Whole }
    recordings {
        session_id: Text, format: Text, state: Text, node: Text, data_key: Text, key_hash: Text,
        started_at: Whole, sealed_at: Whole, plain_bytes: Whole, stored_bytes: Whole, frames: Whole, head: Text,
    }
    commands {
        id: Text, session_id: Text, at: Whole, elapsed_ms: Whole, until_ms: Whole, command: Text,
        output_preview: Text, source: Text, confidence: Text, kind: Text, exit_code: Whole,
    }
    supplied_recordings { session_id: Text, begun_at: Whole }
    input_events { session_id: Text, number: Whole, elapsed_ms: Whole, kind: Text, pressed: Text }
    file_sessions {
        id: Text, user_id: Text, user_name: Text, connection_id: Text, connection_name: Text,
        protocol: Text, target: Text, client_kind: Text, client_address: Text, node: Text,
        access_session_id: Text, started_at: Whole, ended_at: Whole, end_reason: Text, end_detail: Text,
        event_count: Whole, failed_count: Whole, bytes_up: Whole, bytes_down: Whole, legal_hold: Whole,
    }
    file_session_counts { user_id: Text, protocol: Text, sessions: Whole }
    file_events {
        session_id: Text, at: Whole, id: Text, action: Text, path: Text, new_path: Text, bytes: Whole,
        from_byte: Whole, entries: Whole, sha256: Text, outcome: Text, error: Text, duration_us: Whole,
    }
    file_transfers {
        session_id: Text, id: Text, at: Whole, action: Text, path: Text, new_path: Text, bytes: Whole,
        from_byte: Whole, duration_us: Whole,
    }
    uploads {
        id: Text, user_id: Text, connection_id: Text, file_session_id: Text, tab: Text, path: Text,
        temporary: Text, size: Whole, received: Whole, sha_state: Text, options: Text, created_at: Whole,
        updated_at: Whole,
    }
}

impl Table {
    fn header(&self) -> Value {
        let columns: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        json!({"table": self.name, "columns": columns})
    }

    fn read(&self, row: &AnyRow) -> Result<Value, StoreError> {
        self.columns
            .iter()
            .enumerate()
            .map(|(index, (_, kind))| {
                Ok(match kind {
                    Kind::Text => Value::from(row.try_get::<Option<String>, _>(index)?),
                    Kind::Whole => Value::from(row.try_get::<Option<i64>, _>(index)?),
                })
            })
            .collect()
    }
}

/// Writes, hashes and counts lines.
struct Lines<'a> {
    out: &'a mut (dyn Write + Send),
    hasher: Sha256,
    rows: u64,
}

impl Lines<'_> {
    fn line(&mut self, value: &Value) -> std::io::Result<()> {
        let mut text = value.to_string();
        text.push('\n');
        self.hasher.update(text.as_bytes());
        self.out.write_all(text.as_bytes())
    }
}

impl Store {
    /// The number of the last migration.
    async fn schema_version(connection: &mut AnyConnection) -> Result<i64, StoreError> {
        let (version,): (i64,) =
            sqlx::query_as("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await?;
        Ok(version)
    }

    /// Writes everything, as it is at one moment.
    pub async fn dump(
        &self,
        out: &mut (dyn Write + Send),
        server: &str,
        now: Timestamp,
    ) -> Result<Dumped, BackupError> {
        let statement = match self.database() {
            // What a deferred transaction reads first decides which moment all of it sees.
            Database::Sqlite => "BEGIN DEFERRED",
            Database::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let mut reader = self.read().acquire().await?;
        let mut transaction = reader.begin_with(statement).await?;
        let schema = Self::schema_version(&mut transaction).await?;
        let mut lines = Lines { out, hasher: Sha256::new(), rows: 0 };
        lines.line(&json!({
            "format": FORMAT, "version": VERSION, "schema": schema, "server": server, "madeAt": now.rfc3339(),
        }))?;
        for table in TABLES {
            lines.line(&table.header())?;
            let mut rows = sqlx::query(table.select).fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                lines.line(&table.read(&row)?)?;
                lines.rows += 1;
            }
        }
        transaction.rollback().await?;
        let Lines { out, hasher, rows } = lines;
        let end = json!({"end": true, "rows": rows, "sha256": HEXLOWER.encode(&hasher.finalize())});
        writeln!(out, "{end}")?;
        out.flush()?;
        Ok(Dumped { rows })
    }

    /// Checks a dump from its first line to its last, without loading anything.
    pub fn check_dump(input: &mut dyn BufRead) -> Result<Dumped, BackupError> {
        let mut hasher = Sha256::new();
        let mut rows = 0;
        let mut line = Vec::new();
        let mut first = true;
        while read_line(input, &mut line)? {
            let text =
                std::str::from_utf8(&line).map_err(|_| BackupError::Foreign("it is not text".to_owned()))?;
            if first {
                let value: Value = serde_json::from_str(text)
                    .map_err(|_| BackupError::Foreign("its first line is not JSON".to_owned()))?;
                if value["format"] != FORMAT {
                    return Err(BackupError::Foreign("its first line does not say so".to_owned()));
                }
                first = false;
            } else if text.starts_with("{\"end\"") {
                let value: Value = serde_json::from_str(text)
                    .map_err(|_| BackupError::Damaged("its last line".to_owned()))?;
                let hash = HEXLOWER.encode(&hasher.finalize());
                if value["sha256"] != hash.as_str() || value["rows"] != rows {
                    return Err(BackupError::Damaged(
                        "its content does not have the hash in its end".to_owned(),
                    ));
                }
                return Ok(Dumped { rows });
            } else if text.starts_with('[') {
                rows += 1;
            }
            hasher.update(&line);
        }
        Err(BackupError::Damaged("it has no end".to_owned()))
    }

    /// Loads a dump that [`Store::check_dump`] found good: all of it, or nothing. What is there
    /// already is replaced only where `replace` says so.
    pub async fn load(&self, input: &mut (dyn BufRead + Send), replace: bool) -> Result<Dumped, BackupError> {
        let mut transaction = self.begin().await?;
        for table in TABLES {
            // Opening the store may have left settings of the installation itself.
            let counts = !matches!(table.name, "meta");
            let row: Option<(i64,)> = sqlx::query_as(table.any).fetch_optional(&mut *transaction).await?;
            if row.is_some() && counts && !replace {
                return Err(BackupError::NotEmpty(table.name));
            }
        }
        for table in TABLES.iter().rev() {
            sqlx::query(table.delete).execute(&mut *transaction).await?;
        }
        let mut loader = Loader { table: None, insert: String::new(), rows: 0 };
        let mut line = Vec::new();
        let mut first = true;
        while read_line(input, &mut line)? {
            let value: Value = serde_json::from_slice(&line)
                .map_err(|_| BackupError::Damaged("a line is not JSON".to_owned()))?;
            if first {
                let schema = Self::schema_version(&mut transaction).await?;
                if value["version"] != VERSION || value["schema"] != schema {
                    let server = value["server"].as_str().unwrap_or("unknown");
                    return Err(BackupError::Version(server.to_owned()));
                }
                first = false;
            } else if value["end"] == true {
                transaction.commit().await?;
                return Ok(Dumped { rows: loader.rows });
            } else {
                loader.line(&mut transaction, value).await?;
            }
        }
        Err(BackupError::Damaged("it has no end".to_owned()))
    }
}

struct Loader {
    table: Option<&'static Table>,
    insert: String,
    rows: u64,
}

impl Loader {
    async fn line(&mut self, connection: &mut AnyConnection, value: Value) -> Result<(), BackupError> {
        if let Some(name) = value["table"].as_str() {
            let table = TABLES
                .iter()
                .find(|table| table.name == name && table.header() == value)
                .ok_or_else(|| BackupError::Version(format!("its table {name:?} looks different")))?;
            let places: Vec<String> = (1..=table.columns.len()).map(|number| format!("${number}")).collect();
            self.insert = format!("{}{})", table.insert, places.join(", "));
            self.table = Some(table);
            return Ok(());
        }
        let damaged = |what: &str| BackupError::Damaged(what.to_owned());
        let table = self.table.ok_or_else(|| damaged("a row before its table"))?;
        let values = value.as_array().ok_or_else(|| damaged("a line that is no row"))?;
        if values.len() != table.columns.len() {
            return Err(damaged("a row with another number of columns"));
        }
        // Made of this module's own constants, never of what the file says.
        let mut query = sqlx::query::<Any>(sqlx::AssertSqlSafe(self.insert.clone()));
        for ((_, kind), value) in table.columns.iter().zip(values) {
            query = bind(query, *kind, value).ok_or_else(|| damaged("a value of another kind"))?;
        }
        query.execute(connection).await?;
        self.rows += 1;
        Ok(())
    }
}

fn bind<'q>(
    query: Query<'q, Any, <Any as sqlx::Database>::Arguments>,
    kind: Kind,
    value: &Value,
) -> Option<Query<'q, Any, <Any as sqlx::Database>::Arguments>> {
    Some(match (kind, value) {
        (Kind::Text, Value::Null) => query.bind(None::<String>),
        (Kind::Whole, Value::Null) => query.bind(None::<i64>),
        (Kind::Text, Value::String(text)) => query.bind(text.clone()),
        (Kind::Whole, Value::Number(number)) => query.bind(number.as_i64()?),
        (Kind::Text | Kind::Whole, _) => return None,
    })
}

/// Reads one line, its line feed included; `false` at the end.
fn read_line(input: &mut (impl BufRead + ?Sized), line: &mut Vec<u8>) -> Result<bool, BackupError> {
    line.clear();
    let read = std::io::Read::take(&mut *input, LONGEST_LINE_BYTES).read_until(b'\n', line)?;
    if read > 0 && line.last() != Some(&b'\n') {
        return Err(BackupError::Damaged("its last line is cut off".to_owned()));
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::both_databases;

    use super::*;
    use crate::audit::{By, Deed};

    async fn filled(url: &str) -> Store {
        let store = Store::open(url).await.unwrap();
        for statement in [
            "INSERT INTO users (id, name, name_key, display_name, role, disabled, created_at) \
             VALUES ('user_x', 'Älice', 'älice', '', 'admin', 0, 7)",
            "INSERT INTO devices (number, mac, name, owner, type, notes, vendor, hostname, alert_down, may_sleep, \
             archived, is_new, down, created_at, sessions_from_seq, sessions_from_at) \
             VALUES (3, 'AA:BB:CC:DD:EE:FF', 'a \"b\"', '', '', 'line\nfeed', '', '', 0, 0, 0, 1, 0, 7, 0, 0)",
            "INSERT INTO presence_sessions (id, device, started_at, from_at, until_at, start_type, info, open, manual) \
             VALUES ('psess_x', 3, 7, 7, 9223372036854775807, 'Connected', '', 1, 0)",
        ] {
            sqlx::query(statement).execute(store.write()).await.unwrap();
        }
        store.audit(&By::system(Timestamp::from_secs(1)), Deed::done("a.b", "x", json!({}))).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_dump_of_either_database_loads_into_either() {
        both_databases(async |from| {
            let store = filled(from).await;
            let mut dump = Vec::new();
            let dumped = store.dump(&mut dump, "test", Timestamp::from_secs(1)).await.unwrap();
            assert_eq!(dumped.rows, 5);
            assert_eq!(Store::check_dump(&mut dump.as_slice()).unwrap(), dumped);
            both_databases(async |to| {
                let other = Store::open(to).await.unwrap();
                assert_eq!(other.load(&mut dump.as_slice(), false).await.unwrap(), dumped);
                let mut again = Vec::new();
                other.dump(&mut again, "test", Timestamp::from_secs(1)).await.unwrap();
                assert!(dump == again, "{}", String::from_utf8_lossy(&again));
                assert_eq!(other.audit_verify().await.unwrap().broken_at, None);
                // What is there is not overwritten, unless that is asked for.
                let refused = other.load(&mut dump.as_slice(), false).await;
                assert!(matches!(refused, Err(BackupError::NotEmpty(_))), "{refused:?}");
                other.load(&mut dump.as_slice(), true).await.unwrap();
            })
            .await;
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_cut_off_or_altered_is_refused_and_loads_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let store = filled(&path("one")).await;
        let mut dump = Vec::new();
        store.dump(&mut dump, "test", Timestamp::from_secs(1)).await.unwrap();
        let text = String::from_utf8(dump.clone()).unwrap();
        let check = |text: &str| Store::check_dump(&mut text.as_bytes()).unwrap_err().to_string();
        assert!(check(&text[..text.len() / 2]).contains("cut off"));
        assert!(check(&text.replace("Älice", "Malice")).contains("does not have the hash"));
        assert!(check("hello\n").contains("no backup"));
        let other = Store::open(&path("two")).await.unwrap();
        assert!(other.load(&mut &dump[..dump.len() / 2], false).await.is_err());
        assert_eq!(other.users(10, 0).await.unwrap().1, 0);
    }

    /// A table or column that a migration adds must be added here too. What is searched with is made
    /// of what is kept.
    #[tokio::test]
    async fn everything_that_is_kept_is_dumped() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let sql = match store.database() {
                Database::Sqlite => {
                    "SELECT m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                     WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations' \
                     AND m.name NOT LIKE 'search_%'"
                }
                Database::Postgres => {
                    "SELECT CAST(table_name || '.' || column_name AS TEXT) FROM information_schema.columns \
                     WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'"
                }
            };
            let rows: Vec<(String,)> = sqlx::query_as(sql).fetch_all(store.read()).await.unwrap();
            let mut kept: Vec<String> = rows.into_iter().map(|(name,)| name).collect();
            let mut dumped: Vec<String> = TABLES
                .iter()
                .flat_map(|table| table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)))
                .collect();
            kept.sort();
            dumped.sort();
            assert_eq!(kept, dumped);
        })
        .await;
    }
}

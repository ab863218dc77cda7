//! The rows of recordings, and what the sessions' rows say of them.

use std::collections::BTreeMap;

use sojourn_domain::{
    access::RecordingState,
    id::AccessSessionId,
    seal::{Format, Genesis, Hash, Manifest, manifest::State},
    time::Timestamp,
};

use super::RecordingError;
use crate::db::{Store, StoreError};

/// A row that is to be removed wherever its bytes lie.
pub(super) const PURGING: &str = "purging";
pub(super) const LIVE: &str = "live";

/// One recording's row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) session: AccessSessionId,
    pub(super) format: Format,
    /// A [`RecordingState`]'s word, or [`PURGING`].
    pub(super) state: String,
    pub(super) node: String,
    pub(super) data_key: String,
    pub(super) key_hash: Hash,
    pub(super) started_at: Timestamp,
    pub(super) plain_bytes: u64,
    pub(super) frames: u64,
    pub(super) head: String,
}

type Raw = (String, String, String, String, String, String, i64, i64, i64, String);

impl Row {
    fn from_raw(raw: Raw) -> Result<Self, RecordingError> {
        let (session, format, state, node, data_key, key_hash, started_at, plain_bytes, frames, head) = raw;
        let corrupt = || StoreError::Corrupt(format!("the recording of {session}"));
        Ok(Self {
            format: format.parse().map_err(|_| corrupt())?,
            key_hash: key_hash.parse().map_err(|_| corrupt())?,
            session: session.parse().map_err(|_| corrupt())?,
            state,
            node,
            data_key,
            started_at: Timestamp::from_micros(started_at),
            plain_bytes: u64::try_from(plain_bytes).unwrap_or(0),
            frames: u64::try_from(frames).unwrap_or(0),
            head,
        })
    }

    pub(super) fn genesis(&self) -> Genesis {
        Genesis {
            session: self.session,
            format: self.format,
            started_at: self.started_at,
            key: self.key_hash,
        }
    }

    pub(super) fn recording_state(&self) -> RecordingState {
        self.state.parse().unwrap_or(RecordingState::None)
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) async fn get(store: &Store, session: AccessSessionId) -> Result<Option<Row>, RecordingError> {
    let raw: Option<Raw> = sqlx::query_as(
        "SELECT session_id, format, state, node, data_key, key_hash, started_at, plain_bytes, frames, head \
         FROM recordings WHERE session_id = $1",
    )
    .bind(session.to_string())
    .fetch_optional(store.read())
    .await?;
    raw.map(Row::from_raw).transpose()
}

/// The rows of a node in a state, oldest first.
pub(super) async fn of_node(store: &Store, node: &str, state: &str) -> Result<Vec<Row>, RecordingError> {
    let rows: Vec<Raw> = sqlx::query_as(
        "SELECT session_id, format, state, node, data_key, key_hash, started_at, plain_bytes, frames, head \
         FROM recordings WHERE node = $1 AND state = $2 ORDER BY started_at, session_id",
    )
    .bind(node)
    .bind(state)
    .fetch_all(store.read())
    .await?;
    rows.into_iter().map(Row::from_raw).collect()
}

/// Notes a recording that begins.
pub(super) async fn begin(
    store: &Store,
    genesis: &Genesis,
    data_key: &str,
    node: &str,
) -> Result<(), RecordingError> {
    let mut transaction = store.begin().await?;
    let session = genesis.session.to_string();
    let inserted = sqlx::query(
        "INSERT INTO recordings (session_id, format, state, node, data_key, key_hash, started_at, sealed_at, \
         plain_bytes, stored_bytes, frames, head) VALUES ($1, $2, 'live', $3, $4, $5, $6, NULL, 0, 0, 0, $7)",
    )
    .bind(&session)
    .bind(genesis.format.key())
    .bind(node)
    .bind(data_key)
    .bind(genesis.key.to_string())
    .bind(genesis.started_at.as_micros())
    .bind(genesis.hash().to_string())
    .execute(&mut *transaction)
    .await
    .map_err(StoreError::from);
    match inserted {
        Ok(_) => {}
        Err(error) if error.is_conflict() => return Err(RecordingError::Exists),
        Err(error) => return Err(error.into()),
    }
    sqlx::query("UPDATE access_sessions SET recording = 'live' WHERE id = $1")
        .bind(&session)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Notes a recording that lies in the object store. `served_bytes`: of the file that is made of it.
pub(super) async fn sealed(
    store: &Store,
    manifest: &Manifest,
    stored_bytes: u64,
    served_bytes: u64,
    now: Timestamp,
) -> Result<(), RecordingError> {
    let state = match manifest.state {
        State::Live => RecordingState::Live,
        State::Sealed => RecordingState::Sealed,
        State::Incomplete => RecordingState::Incomplete,
    };
    let mut transaction = store.begin().await?;
    let session = manifest.session.to_string();
    let updated = sqlx::query(
        "INSERT INTO recordings (session_id, format, state, node, data_key, key_hash, started_at, sealed_at, \
         plain_bytes, stored_bytes, frames, head) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (session_id) DO UPDATE SET state = excluded.state, sealed_at = excluded.sealed_at, \
         plain_bytes = excluded.plain_bytes, stored_bytes = excluded.stored_bytes, frames = excluded.frames, \
         head = excluded.head WHERE recordings.state <> 'purging'",
    )
    .bind(&session)
    .bind(manifest.format.key())
    .bind(state.key())
    .bind(&manifest.node)
    .bind(&manifest.sealed_key)
    .bind(manifest.key_hash.to_string())
    .bind(manifest.started_at_us)
    .bind(now.as_micros())
    .bind(whole(manifest.bytes))
    .bind(whole(stored_bytes))
    .bind(whole(manifest.frames))
    .bind(manifest.head.to_string())
    .execute(&mut *transaction)
    .await?;
    if updated.rows_affected() > 0 {
        sqlx::query("UPDATE access_sessions SET recording = $2, recording_bytes = $3 WHERE id = $1")
            .bind(&session)
            .bind(state.key())
            .bind(whole(served_bytes))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// How large a live recording is so far.
pub(super) async fn grown(store: &Store, session: AccessSessionId, bytes: u64) -> Result<(), RecordingError> {
    sqlx::query("UPDATE access_sessions SET recording_bytes = $2 WHERE id = $1 AND recording = 'live'")
        .bind(session.to_string())
        .bind(whole(bytes))
        .execute(store.write())
        .await?;
    Ok(())
}

/// From here on nobody reads it, and its bytes go; the data key goes at once. The state it was in, if it was there.
pub(super) async fn purging(store: &Store, session: AccessSessionId) -> Result<(), RecordingError> {
    let mut transaction = store.begin().await?;
    sqlx::query("UPDATE recordings SET state = 'purging', data_key = '' WHERE session_id = $1")
        .bind(session.to_string())
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE access_sessions SET recording = 'none', recording_bytes = 0 WHERE id = $1")
        .bind(session.to_string())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn purged(store: &Store, session: AccessSessionId) -> Result<(), RecordingError> {
    sqlx::query("DELETE FROM recordings WHERE session_id = $1 AND state = 'purging'")
        .bind(session.to_string())
        .execute(store.write())
        .await?;
    Ok(())
}

/// Whether a session's row exists, and is under legal hold.
pub(super) async fn held(store: &Store, session: AccessSessionId) -> Result<Option<bool>, RecordingError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT legal_hold FROM access_sessions WHERE id = $1")
        .bind(session.to_string())
        .fetch_optional(store.read())
        .await?;
    Ok(row.map(|(held,)| held != 0))
}

/// What the session's row says, for the manifest.
pub(super) async fn facts(
    store: &Store,
    session: AccessSessionId,
) -> Result<BTreeMap<String, String>, RecordingError> {
    type Facts = (String, String, String, String, String, String, String, String, String, String, i64);
    let row: Option<Facts> = sqlx::query_as(
        "SELECT user_id, user_name, connection_id, connection_name, protocol, purpose, command, target, \
         client_kind, client_address, started_at FROM access_sessions WHERE id = $1",
    )
    .bind(session.to_string())
    .fetch_optional(store.read())
    .await?;
    let Some(row) = row else { return Ok(BTreeMap::new()) };
    let started = Timestamp::from_micros(row.10).rfc3339();
    let pairs = [
        ("userId", row.0),
        ("userName", row.1),
        ("connectionId", row.2),
        ("connectionName", row.3),
        ("protocol", row.4),
        ("purpose", row.5),
        ("command", row.6),
        ("target", row.7),
        ("clientKind", row.8),
        ("clientAddress", row.9),
        ("startedAt", started),
    ];
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The node that has the spool does not answer any more.
pub(super) async fn abandoned(store: &Store, session: AccessSessionId) -> Result<(), RecordingError> {
    sqlx::query("UPDATE access_sessions SET recording = 'incomplete' WHERE id = $1 AND recording = 'live'")
        .bind(session.to_string())
        .execute(store.write())
        .await?;
    Ok(())
}

/// Sealed recordings without a hold, oldest first: their sessions and bytes in the object store.
pub(super) async fn oldest(
    store: &Store,
    before: Option<Timestamp>,
    limit: i64,
) -> Result<Vec<(AccessSessionId, u64)>, RecordingError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT r.session_id, r.stored_bytes FROM recordings r JOIN access_sessions s ON s.id = r.session_id \
         WHERE r.state IN ('sealed', 'incomplete') AND s.legal_hold = 0 \
         AND (CAST($1 AS BIGINT) IS NULL OR r.started_at < $1) ORDER BY r.started_at, r.session_id LIMIT $2 + 0",
    )
    .bind(before.map(Timestamp::as_micros))
    .bind(limit)
    .fetch_all(store.read())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(session, bytes)| Some((session.parse().ok()?, u64::try_from(bytes).unwrap_or(0))))
        .collect())
}

/// Recordings whose session's row is gone.
pub(super) async fn orphans(store: &Store) -> Result<Vec<AccessSessionId>, RecordingError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT r.session_id FROM recordings r WHERE r.state <> 'live' \
         AND NOT EXISTS (SELECT 1 FROM access_sessions s WHERE s.id = r.session_id) LIMIT 1000",
    )
    .fetch_all(store.read())
    .await?;
    Ok(rows.into_iter().filter_map(|(session,)| session.parse().ok()).collect())
}

/// How many recordings there are, and how many bytes of them in the object store, by state.
pub(super) async fn totals(store: &Store) -> Result<Vec<(String, u64, u64)>, RecordingError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT state, COUNT(*), CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) FROM recordings GROUP BY state",
    )
    .fetch_all(store.read())
    .await?;
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(rows.into_iter().map(|(state, count, bytes)| (state, positive(count), positive(bytes))).collect())
}

/// The commands of a session, for a bundle: JSON objects in order.
pub(super) async fn commands(
    store: &Store,
    session: AccessSessionId,
) -> Result<Vec<serde_json::Value>, RecordingError> {
    type Command = (i64, i64, String, String, String, String, String, Option<i64>);
    let rows: Vec<Command> = sqlx::query_as(
        "SELECT at, elapsed_ms, command, output_preview, source, confidence, kind, exit_code FROM commands \
         WHERE session_id = $1 ORDER BY elapsed_ms, id",
    )
    .bind(session.to_string())
    .fetch_all(store.read())
    .await?;
    Ok(rows
        .into_iter()
        .map(|(at, elapsed, command, preview, source, confidence, kind, exit_code)| {
            serde_json::json!({
                "timestamp": Timestamp::from_micros(at).rfc3339(), "elapsed": elapsed, "command": command,
                "output_preview": preview, "source": source, "confidence": confidence, "kind": kind,
                "exitCode": exit_code,
            })
        })
        .collect())
}

/// Every recording's session and state.
pub(super) async fn states(store: &Store) -> Result<Vec<(String, String)>, RecordingError> {
    Ok(sqlx::query_as("SELECT session_id, state FROM recordings").fetch_all(store.read()).await?)
}

//! The operations of a file session: added in batches, read in chunks, in the order in which they were over.

use sojourn_domain::{
    files::{Fact, FileAction, FileOutcome},
    id::{FileEventId, FileSessionId},
    policy::Visibility,
    time::{Elapsed, Timestamp},
};
use sqlx::{AnyConnection, any::AnyRow};

use super::{FileEvent, count, whole};
use crate::{
    connections::{clean, like},
    db::{Store, StoreError},
    presence::Columns as _,
};

/// An operation to be kept.
#[derive(Debug, Clone)]
pub struct NewFileEvent {
    pub id: FileEventId,
    /// When it was over: the server's clock.
    pub at: Timestamp,
    pub fact: Fact,
}

/// Which events are asked for; all conditions hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileEventFilter {
    pub action: Option<FileAction>,
    pub outcome: Option<FileOutcome>,
    /// Text in one of the paths.
    pub q: Option<String>,
}

impl FileEventFilter {
    fn pattern(&self) -> Option<String> {
        self.q.as_ref().map(|q| format!("%{}%", like(&clean(&q.to_lowercase()))))
    }
}

macro_rules! columns {
    () => {
        "e.id, e.session_id, e.at, e.action, e.path, e.new_path, e.bytes, e.from_byte, e.entries, e.sha256, \
         e.outcome, e.error, e.duration_us"
    };
}

macro_rules! wanted {
    () => {
        " FROM file_events e JOIN file_sessions s ON s.id = e.session_id \
         WHERE e.session_id = $1 AND (CAST($2 AS TEXT) IS NULL OR s.user_id = $2) \
         AND (CAST($3 AS TEXT) IS NULL OR e.action = $3) AND (CAST($4 AS TEXT) IS NULL OR e.outcome = $4) \
         AND (CAST($5 AS TEXT) IS NULL OR LOWER(e.path) LIKE $5 ESCAPE '!' \
         OR LOWER(e.new_path) LIKE $5 ESCAPE '!') "
    };
}

fn event(row: &AnyRow) -> Result<FileEvent, StoreError> {
    Ok(FileEvent {
        id: row.parsed(0, "id")?,
        session: row.parsed(1, "id")?,
        at: row.time(2)?,
        action: row.parsed(3, "action")?,
        path: row.text(4)?,
        new_path: row.maybe_text(5)?,
        bytes: row.maybe_int(6)?.map(count).transpose()?,
        offset: count(row.int(7)?)?,
        entries: row.maybe_int(8)?.map(count).transpose()?,
        sha256: row.maybe_text(9)?,
        outcome: row.parsed(10, "outcome")?,
        error: row.text(11)?,
        duration: Elapsed::from_micros(row.int(12)?),
    })
}

fn own(visibility: Visibility) -> Option<String> {
    match visibility {
        Visibility::Any => None,
        Visibility::Own(user) => Some(user.to_string()),
    }
}

/// As [`Store::file_events_add`], within a transaction.
pub(super) async fn add(
    connection: &mut AnyConnection,
    session: FileSessionId,
    events: &[NewFileEvent],
) -> Result<bool, StoreError> {
    let moved = |action| {
        let of = |event: &&NewFileEvent| event.fact.action == action;
        events.iter().filter(of).filter_map(|event| event.fact.bytes).fold(0, u64::saturating_add)
    };
    let failed = events.iter().filter(|event| event.fact.outcome != FileOutcome::Ok).count();
    let counted = sqlx::query(
        "UPDATE file_sessions SET event_count = event_count + $2, failed_count = failed_count + $3, \
         bytes_up = bytes_up + $4, bytes_down = bytes_down + $5, \
         ended_at = CASE WHEN ended_at < CAST($6 AS BIGINT) THEN CAST($6 AS BIGINT) ELSE ended_at END WHERE id = $1",
    )
    .bind(session.to_string())
    .bind(i64::try_from(events.len()).unwrap_or(i64::MAX))
    .bind(i64::try_from(failed).unwrap_or(i64::MAX))
    .bind(whole(moved(FileAction::Upload)))
    .bind(whole(moved(FileAction::Download)))
    .bind(events.iter().map(|event| event.at.as_micros()).max().unwrap_or(i64::MIN))
    .execute(&mut *connection)
    .await?;
    if counted.rows_affected() == 0 {
        return Ok(false);
    }
    for NewFileEvent { id, at, fact } in events {
        sqlx::query(
            "INSERT INTO file_events (session_id, at, id, action, path, new_path, bytes, from_byte, entries, \
             sha256, outcome, error, duration_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(session.to_string())
        .bind(at.as_micros())
        .bind(id.to_string())
        .bind(fact.action.key())
        .bind(clean(&fact.path))
        .bind(fact.new_path.as_deref().map(clean))
        .bind(fact.bytes.map(whole))
        .bind(whole(fact.offset))
        .bind(fact.entries.map(whole))
        .bind(fact.sha256.as_deref())
        .bind(fact.outcome.key())
        .bind(clean(&fact.error))
        .bind(fact.duration.as_micros().max(0))
        .execute(&mut *connection)
        .await?;
    }
    Ok(true)
}

impl Store {
    /// Keeps operations of a session, all or none, and counts them in its row; `false`, and nothing kept,
    /// where there is no such session. One that has ended still takes what happened in it, and has ended no earlier
    /// than that.
    pub async fn file_events_add(
        &self,
        session: FileSessionId,
        events: &[NewFileEvent],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let added = add(&mut transaction, session, events).await?;
        if added {
            transaction.commit().await?;
        }
        Ok(added)
    }

    /// Events of a session after a place in it, in the order in which they were over.
    pub async fn file_events(
        &self,
        visibility: Visibility,
        session: FileSessionId,
        filter: &FileEventFilter,
        after: Option<(Timestamp, FileEventId)>,
        limit: i64,
    ) -> Result<Vec<FileEvent>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            wanted!(),
            "AND (e.at, e.id) > ($6, $7) ORDER BY e.at, e.id LIMIT $8 + 0"
        ))
        .bind(session.to_string())
        .bind(own(visibility))
        .bind(filter.action.map(FileAction::key))
        .bind(filter.outcome.map(FileOutcome::key))
        .bind(filter.pattern())
        .bind(after.map_or(i64::MIN, |(at, _)| at.as_micros()))
        .bind(after.map(|(_, id)| id.to_string()).unwrap_or_default())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(event).collect()
    }

    /// A page of a session's events, and how many the filter finds in all.
    pub async fn file_events_page(
        &self,
        visibility: Visibility,
        session: FileSessionId,
        filter: &FileEventFilter,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<FileEvent>, i64), StoreError> {
        let plain = *filter == FileEventFilter::default();
        let total = if plain {
            let counted =
                self.file_session(visibility, session).await?.map_or(0, |session| session.event_count);
            whole(counted)
        } else {
            let (total,): (i64,) = sqlx::query_as(concat!("SELECT COUNT(*)", wanted!()))
                .bind(session.to_string())
                .bind(own(visibility))
                .bind(filter.action.map(FileAction::key))
                .bind(filter.outcome.map(FileOutcome::key))
                .bind(filter.pattern())
                .fetch_one(self.read())
                .await?;
            total
        };
        if offset >= total {
            return Ok((Vec::new(), total));
        }
        // The rows are read after their place was found in the index.
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM file_events e WHERE e.session_id = $1 AND (e.at, e.id) IN (SELECT e.at, e.id",
            wanted!(),
            "ORDER BY e.at, e.id LIMIT $6 + 0 OFFSET $7 + 0) ORDER BY e.at, e.id"
        ))
        .bind(session.to_string())
        .bind(own(visibility))
        .bind(filter.action.map(FileAction::key))
        .bind(filter.outcome.map(FileOutcome::key))
        .bind(filter.pattern())
        .bind(limit)
        .bind(offset)
        .fetch_all(self.read())
        .await?;
        Ok((rows.iter().map(event).collect::<Result<_, _>>()?, total))
    }
}

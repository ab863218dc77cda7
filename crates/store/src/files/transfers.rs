//! What is being moved right now: kept from moment to moment, so that no transfer that dies with its server is without
//! an event.

use sojourn_domain::{
    files::{Fact, FileOutcome},
    id::FileSessionId,
    time::Elapsed,
};
use sqlx::AnyConnection;

use super::{NewFileEvent, count, events, whole};
use crate::{
    connections::clean,
    db::{Store, StoreError},
    presence::Columns as _,
};

/// Why such an event is not `ok`.
const DIED: &str = "the server died meanwhile; so far it had come a moment before";

impl Store {
    /// Replaces what is kept of each session's transfers by how they stand now. A session that has ended keeps nothing.
    pub async fn file_transfers_keep(
        &self,
        sessions: &[(FileSessionId, Vec<NewFileEvent>)],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for (session, transfers) in sessions {
            forget(&mut transaction, *session).await?;
            for NewFileEvent { id, at, fact } in transfers {
                sqlx::query(
                    "INSERT INTO file_transfers \
                     (session_id, id, at, action, path, new_path, bytes, from_byte, duration_us) \
                     SELECT s.id, $2, $3, $4, $5, $6, $7, $8, $9 FROM file_sessions s \
                     WHERE s.id = $1 AND s.ended_at IS NULL",
                )
                .bind(session.to_string())
                .bind(id.to_string())
                .bind(at.as_micros())
                .bind(fact.action.key())
                .bind(clean(&fact.path))
                .bind(fact.new_path.as_deref().map(clean))
                .bind(whole(fact.bytes.unwrap_or(0)))
                .bind(whole(fact.offset))
                .bind(fact.duration.as_micros().max(0))
                .execute(&mut *transaction)
                .await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Nothing of a session is being moved any more.
pub(super) async fn forget(connection: &mut AnyConnection, session: FileSessionId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM file_transfers WHERE session_id = $1")
        .bind(session.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Its server died: what was being moved becomes events, but for what has one that is younger.
pub(super) async fn interrupt(
    connection: &mut AnyConnection,
    session: FileSessionId,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT t.id, t.at, t.action, t.path, t.new_path, t.bytes, t.from_byte, t.duration_us \
         FROM file_transfers t WHERE t.session_id = $1 AND NOT EXISTS (SELECT 1 FROM file_events e \
         WHERE e.session_id = t.session_id AND e.at > t.at AND e.action = t.action AND e.path = t.path) \
         ORDER BY t.at, t.id",
    )
    .bind(session.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let (at, duration) = (row.time(1)?, Elapsed::from_micros(row.int(7)?));
        let fact = Fact {
            new_path: row.maybe_text(4)?,
            bytes: Some(count(row.int(5)?)?),
            offset: count(row.int(6)?)?,
            outcome: FileOutcome::Interrupted,
            error: DIED.to_owned(),
            duration,
            ..Fact::new(row.parsed(2, "action")?, row.text(3)?, at - duration)
        };
        found.push(NewFileEvent { id: row.parsed(0, "id")?, at, fact });
    }
    events::add(connection, session, &found).await?;
    forget(connection, session).await
}

//! The life of a file session's row: begun before anything is touched, ended once, removed whole.

use serde_json::json;
use sojourn_domain::{
    access::EndReason,
    id::{AccessSessionId, FileSessionId},
    time::Timestamp,
};
use sqlx::AnyConnection;

use super::{NewFileSession, transfers};
use crate::{
    audit::{Act, By, Deed},
    connections::clean,
    db::{Store, StoreError},
};

/// Expired sessions that are looked at in one go.
const EXPIRED_AT_ONCE: i64 = 200;

/// The session of a user and a protocol is gone.
async fn uncount(
    connection: &mut AnyConnection,
    (user, protocol): (String, String),
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE file_session_counts SET sessions = sessions - 1 WHERE user_id = $1 AND protocol = $2",
    )
    .bind(&user)
    .bind(&protocol)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM file_session_counts WHERE user_id = $1 AND sessions <= 0")
        .bind(&user)
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// What an access session carried goes with it, unless it is held itself; says how many did.
pub(crate) async fn remove_carried_by(
    connection: &mut AnyConnection,
    session: AccessSessionId,
) -> Result<u64, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "DELETE FROM file_sessions WHERE access_session_id = $1 AND ended_at IS NOT NULL AND legal_hold = 0 \
         RETURNING user_id, protocol",
    )
    .bind(session.to_string())
    .fetch_all(&mut *connection)
    .await?;
    let removed = rows.len();
    for row in rows {
        uncount(connection, row).await?;
    }
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

/// No session has ended before its last event: one that died was last known to run before what it wrote down last, and
/// the clock may have been set back.
async fn end_after_events(connection: &mut AnyConnection, session: FileSessionId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE file_sessions SET ended_at = (SELECT MAX(e.at) FROM file_events e WHERE e.session_id = $1) \
         WHERE id = $1 AND ended_at < (SELECT MAX(e.at) FROM file_events e WHERE e.session_id = $1)",
    )
    .bind(session.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Makes the session's row. Nothing on the target is touched before it is there.
    pub async fn file_session_begin(&self, new: &NewFileSession) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO file_sessions (id, user_id, user_name, connection_id, connection_name, protocol, target, \
             client_kind, client_address, node, access_session_id, started_at, end_detail, event_count, \
             failed_count, bytes_up, bytes_down, legal_hold) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', 0, 0, 0, 0, 0)",
        )
        .bind(new.id.to_string())
        .bind(new.user.to_string())
        .bind(clean(&new.user_name))
        .bind(new.connection.to_string())
        .bind(clean(&new.connection_name))
        .bind(new.protocol.key())
        .bind(clean(&new.target))
        .bind(new.client_kind.key())
        .bind(clean(&new.client_address))
        .bind(clean(&new.node))
        .bind(new.access_session.map(|session| session.to_string()))
        .bind(new.started_at.as_micros())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO file_session_counts (user_id, protocol, sessions) VALUES ($1, $2, 1) \
             ON CONFLICT (user_id, protocol) DO UPDATE SET sessions = file_session_counts.sessions + 1",
        )
        .bind(new.user.to_string())
        .bind(new.protocol.key())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a session; `false` when it has ended already (then nothing changes), or is not known.
    pub async fn file_session_end(
        &self,
        id: FileSessionId,
        at: Timestamp,
        reason: EndReason,
        detail: &str,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // The clock may have been set back meanwhile: no session ends before it began.
        let ended = sqlx::query(
            "UPDATE file_sessions SET \
             ended_at = CASE WHEN CAST($2 AS BIGINT) < started_at THEN started_at ELSE CAST($2 AS BIGINT) END, \
             end_reason = $3, end_detail = $4 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(id.to_string())
        .bind(at.as_micros())
        .bind(reason.key())
        .bind(clean(detail))
        .execute(&mut *transaction)
        .await?;
        if ended.rows_affected() > 0 {
            end_after_events(&mut transaction, id).await?;
        }
        transfers::forget(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Ends all file sessions that a server left open, at the moment when it was last known to run or, where that is
    /// later, of their last event; says which they were. What they were moving was interrupted.
    pub async fn file_sessions_end_of_node(
        &self,
        node: &str,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<Vec<FileSessionId>, StoreError> {
        let mut transaction = self.begin().await?;
        let rows: Vec<(String,)> = sqlx::query_as(
            "UPDATE file_sessions SET \
             ended_at = CASE WHEN CAST($2 AS BIGINT) < started_at THEN started_at ELSE CAST($2 AS BIGINT) END, \
             end_reason = $3 WHERE node = $1 AND ended_at IS NULL RETURNING id",
        )
        .bind(node)
        .bind(at.as_micros())
        .bind(reason.key())
        .fetch_all(&mut *transaction)
        .await?;
        let ids: Vec<FileSessionId> =
            rows.iter().map(|(text,)| crate::identity::id(text)).collect::<Result<_, _>>()?;
        for id in &ids {
            transfers::interrupt(&mut transaction, *id).await?;
            end_after_events(&mut transaction, *id).await?;
        }
        transaction.commit().await?;
        Ok(ids)
    }

    /// The file session that an access session's channel carried.
    pub async fn file_session_carried_by(
        &self,
        session: AccessSessionId,
    ) -> Result<Option<FileSessionId>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT id FROM file_sessions WHERE access_session_id = $1 ORDER BY id LIMIT 1 + 0",
        )
        .bind(session.to_string())
        .fetch_optional(self.read())
        .await?;
        row.map(|(text,)| crate::identity::id(&text)).transpose()
    }

    /// Holds a file session against every purge and retention, or lets it go; `false` where there is none.
    pub async fn file_session_hold(
        &self,
        id: FileSessionId,
        hold: bool,
        why: &str,
        by: &By,
    ) -> Result<bool, StoreError> {
        let mut act = Act::begin(self).await?;
        let changed = sqlx::query("UPDATE file_sessions SET legal_hold = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(i64::from(hold))
            .execute(act.connection())
            .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let action = if hold { "file_session.hold" } else { "file_session.release" };
        act.commit(by, Deed::done(action, id, json!({"reason": why}))).await?;
        Ok(true)
    }

    /// Removes file sessions with their events; says which are gone. Those that live, are held, hang on an
    /// access session that is held, or are not known stay.
    pub async fn file_sessions_remove(
        &self,
        ids: &[FileSessionId],
    ) -> Result<Vec<FileSessionId>, StoreError> {
        let mut removed = Vec::new();
        let mut transaction = self.begin().await?;
        for id in ids {
            let row: Option<(String, String)> = sqlx::query_as(
                "DELETE FROM file_sessions WHERE id = $1 AND ended_at IS NOT NULL AND legal_hold = 0 \
                 AND NOT EXISTS (SELECT 1 FROM access_sessions a \
                 WHERE a.id = file_sessions.access_session_id AND a.legal_hold <> 0) \
                 RETURNING user_id, protocol",
            )
            .bind(id.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
            let Some(row) = row else { continue };
            removed.push(*id);
            uncount(&mut transaction, row).await?;
        }
        transaction.commit().await?;
        Ok(removed)
    }

    /// Removes file sessions that began before a moment, oldest first, unless they live or are held; says how many.
    /// The audit trail says which.
    pub async fn file_sessions_expire(&self, before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
        let mut expired = 0;
        loop {
            let rows: Vec<(String, i64)> = sqlx::query_as(
                "SELECT f.id, f.event_count FROM file_sessions f WHERE f.started_at < $1 AND f.ended_at IS NOT NULL \
                 AND f.legal_hold = 0 AND NOT EXISTS (SELECT 1 FROM access_sessions a \
                 WHERE a.id = f.access_session_id AND a.legal_hold <> 0) \
                 ORDER BY f.started_at, f.id LIMIT $2 + 0",
            )
            .bind(before.as_micros())
            .bind(EXPIRED_AT_ONCE)
            .fetch_all(self.read())
            .await?;
            if rows.is_empty() {
                return Ok(expired);
            }
            for (text, events) in rows {
                let id = crate::identity::id(&text)?;
                // Held since the list was made: the next round does not find it.
                if self.file_sessions_remove(&[id]).await?.is_empty() {
                    continue;
                }
                expired += 1;
                let deed = Deed::done("file_session.expire", id, json!({"by": "age", "events": events}));
                self.audit(&By::system(now), deed).await?;
            }
        }
    }
}

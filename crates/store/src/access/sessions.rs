//! The life of an access session's row: begun before anything connects, ended once, removed whole.

use serde_json::json;
use sojourn_domain::{
    access::{EndReason, RecordingState},
    id::AccessSessionId,
    time::Timestamp,
};

use super::{NewAccessSession, SessionEnd, SessionExit};
use crate::{
    audit::{Act, By, Deed},
    connections::clean,
    db::{Store, StoreError},
};

/// What [`Store::sessions_remove`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    pub sessions: u64,
    /// Those that they carried.
    pub file_sessions: u64,
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Store {
    /// Makes the session's row. Nothing connects before it is there.
    pub async fn session_begin(&self, new: &NewAccessSession) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO access_sessions (id, user_id, user_name, connection_id, connection_name, protocol, purpose, \
             command, target, client_kind, client_address, node, started_at, end_detail, bytes_in, bytes_out, \
             recording, recording_bytes, command_count, legal_hold) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', 0, 0, $14, 0, 0, 0)",
        )
        .bind(new.id.to_string())
        .bind(new.user.to_string())
        .bind(clean(&new.user_name))
        .bind(new.connection.to_string())
        .bind(clean(&new.connection_name))
        .bind(new.protocol.key())
        .bind(new.purpose.key())
        .bind(clean(&new.command))
        .bind(clean(&new.target))
        .bind(new.client_kind.key())
        .bind(clean(&new.client_address))
        .bind(clean(&new.node))
        .bind(new.started_at.as_micros())
        .bind(RecordingState::None.key())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO access_session_counts (user_id, protocol, sessions) VALUES ($1, $2, 1) \
             ON CONFLICT (user_id, protocol) DO UPDATE SET sessions = access_session_counts.sessions + 1",
        )
        .bind(new.user.to_string())
        .bind(new.protocol.key())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Notes how much went through a live session so far.
    pub async fn session_progress(
        &self,
        id: AccessSessionId,
        bytes_in: u64,
        bytes_out: u64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE access_sessions SET bytes_in = $2, bytes_out = $3 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(id.to_string())
        .bind(whole(bytes_in))
        .bind(whole(bytes_out))
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Ends a session; `false` when it has ended already (then nothing changes), or is not known.
    pub async fn session_end(&self, id: AccessSessionId, end: &SessionEnd) -> Result<bool, StoreError> {
        let (status, signal) = match &end.exit {
            Some(SessionExit::Status(status)) => (Some(i64::from(*status)), None),
            Some(SessionExit::Signal(signal)) => (None, Some(clean(signal))),
            None => (None, None),
        };
        // The clock may have been set back meanwhile: no session ends before it began.
        let ended = sqlx::query(
            "UPDATE access_sessions SET \
             ended_at = CASE WHEN CAST($2 AS BIGINT) < started_at THEN started_at ELSE CAST($2 AS BIGINT) END, \
             end_reason = $3, end_detail = $4, exit_status = $5, exit_signal = $6, bytes_in = $7, bytes_out = $8, \
             sha_in = $9, sha_out = $10 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(id.to_string())
        .bind(end.at.as_micros())
        .bind(end.reason.key())
        .bind(clean(&end.detail))
        .bind(status)
        .bind(signal)
        .bind(whole(end.bytes_in))
        .bind(whole(end.bytes_out))
        .bind(end.sha_in.as_deref())
        .bind(end.sha_out.as_deref())
        .execute(self.write())
        .await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Ends all sessions that a server left open, at the moment when it was last known to run; says
    /// which they were.
    pub async fn sessions_end_of_node(
        &self,
        node: &str,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<Vec<AccessSessionId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "UPDATE access_sessions SET \
             ended_at = CASE WHEN CAST($2 AS BIGINT) < started_at THEN started_at ELSE CAST($2 AS BIGINT) END, \
             end_reason = $3 WHERE node = $1 AND ended_at IS NULL RETURNING id",
        )
        .bind(node)
        .bind(at.as_micros())
        .bind(reason.key())
        .fetch_all(self.write())
        .await?;
        rows.iter().map(|(text,)| crate::identity::id(text)).collect()
    }

    /// Notes what became of a session's recording.
    pub async fn session_recording(
        &self,
        id: AccessSessionId,
        state: RecordingState,
        bytes: u64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE access_sessions SET recording = $2, recording_bytes = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(state.key())
            .bind(whole(bytes))
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Holds a session against every purge and retention, or lets it go; `false` where there is none.
    pub async fn session_hold(
        &self,
        id: AccessSessionId,
        hold: bool,
        why: &str,
        by: &By,
    ) -> Result<bool, StoreError> {
        let mut act = Act::begin(self).await?;
        let changed = sqlx::query("UPDATE access_sessions SET legal_hold = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(i64::from(hold))
            .execute(act.connection())
            .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let action = if hold { "session.hold" } else { "session.release" };
        act.commit(by, Deed::done(action, id, json!({"reason": why}))).await?;
        Ok(true)
    }

    /// Removes sessions with everything that hangs on them in the database. Those that live, are held
    /// or are not known stay; the caller removes their recordings first.
    pub async fn sessions_remove(&self, ids: &[AccessSessionId]) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        let mut transaction = self.begin().await?;
        for id in ids {
            let row: Option<(String, String)> = sqlx::query_as(
                "DELETE FROM access_sessions WHERE id = $1 AND ended_at IS NOT NULL AND legal_hold = 0 \
                 RETURNING user_id, protocol",
            )
            .bind(id.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
            let Some((user, protocol)) = row else { continue };
            removed.sessions += 1;
            removed.file_sessions += crate::files::remove_carried_by(&mut transaction, *id).await?;
            sqlx::query(
                "UPDATE access_session_counts SET sessions = sessions - 1 WHERE user_id = $1 AND protocol = $2",
            )
            .bind(&user)
            .bind(&protocol)
            .execute(&mut *transaction)
            .await?;
            sqlx::query("DELETE FROM access_session_counts WHERE user_id = $1 AND sessions <= 0")
                .bind(&user)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM tickets WHERE session_id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(removed)
    }
}

//! What a user's own client tells of a desktop session: that it records it, and what was done with mouse and keyboard.

use sojourn_domain::{access::InputKind, id::AccessSessionId, policy::Visibility, time::Timestamp};

use crate::db::{Store, StoreError};

/// Something done with mouse or keyboard, as the client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputEvent {
    /// Within the session, from 0, in the order in which events were told.
    pub number: i64,
    /// Since the session's start.
    pub elapsed_ms: i64,
    pub kind: InputKind,
}

impl Store {
    /// Notes that a session's recording comes from its user's client.
    pub async fn session_supplied(&self, id: AccessSessionId, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO supplied_recordings (session_id, begun_at) VALUES ($1, $2)")
            .bind(id.to_string())
            .bind(at.as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Keeps input events of a session, all or none.
    pub async fn input_events_add(
        &self,
        session: AccessSessionId,
        events: &[InputEvent],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for event in events {
            sqlx::query(
                "INSERT INTO input_events (session_id, number, elapsed_ms, kind) VALUES ($1, $2, $3, $4)",
            )
            .bind(session.to_string())
            .bind(event.number)
            .bind(event.elapsed_ms)
            .bind(event.kind.as_str())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The input events of a session that may be seen, by their time: at most `limit` after one of them.
    pub async fn input_events(
        &self,
        visibility: Visibility,
        session: AccessSessionId,
        after: Option<&InputEvent>,
        limit: i64,
    ) -> Result<Vec<InputEvent>, StoreError> {
        let own = match visibility {
            Visibility::Any => None,
            Visibility::Own(user) => Some(user.to_string()),
        };
        let (elapsed, number) = after.map_or((-1, -1), |event| (event.elapsed_ms, event.number));
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT e.number, e.elapsed_ms, e.kind FROM input_events e \
             JOIN access_sessions s ON s.id = e.session_id \
             WHERE e.session_id = $1 AND (e.elapsed_ms, e.number) > ($2, $3) \
             AND (CAST($4 AS TEXT) IS NULL OR s.user_id = $4) \
             ORDER BY e.elapsed_ms, e.number LIMIT $5 + 0",
        )
        .bind(session.to_string())
        .bind(elapsed)
        .bind(number)
        .bind(own)
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(number, elapsed_ms, kind)| {
                let kind = kind.parse().map_err(|_| StoreError::Corrupt(format!("input event {kind:?}")))?;
                Ok(InputEvent { number, elapsed_ms, kind })
            })
            .collect()
    }
}

//! What was done with mouse and keyboard in a desktop session; and that a session's recording comes from its user's own client.

use sojourn_domain::{
    access::{InputKind, PressedKey},
    id::AccessSessionId,
    policy::Visibility,
    time::Timestamp,
};

use crate::{
    db::{Store, StoreError},
    vault::Vault,
};

/// Something done with mouse or keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputEvent {
    /// Within the session, from 0, in the order in which events were told.
    pub number: i64,
    /// Since the session's start.
    pub elapsed_ms: i64,
    pub kind: InputKind,
    /// Where the connection's policy asks for it.
    pub pressed: Option<PressedKey>,
}

fn purpose(session: AccessSessionId, number: i64) -> String {
    format!("pressed key:{session}:{number}")
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

    /// Keeps input events of a session, all or none; which keys it were is sealed.
    pub async fn input_events_add(
        &self,
        vault: &Vault,
        session: AccessSessionId,
        events: &[InputEvent],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for event in events {
            let seal =
                |key: &PressedKey| vault.seal(&purpose(session, event.number), key.as_str().as_bytes());
            let pressed = event.pressed.as_ref().map(seal).transpose();
            let pressed = pressed.map_err(|_| StoreError::Corrupt("a key cannot be sealed".to_owned()))?;
            sqlx::query(
                "INSERT INTO input_events (session_id, number, elapsed_ms, kind, pressed) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(session.to_string())
            .bind(event.number)
            .bind(event.elapsed_ms)
            .bind(event.kind.as_str())
            .bind(pressed)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The input events of a session that may be seen, by their time: at most `limit` after one of them.
    pub async fn input_events(
        &self,
        vault: &Vault,
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
        let rows: Vec<(i64, i64, String, Option<String>)> = sqlx::query_as(
            "SELECT e.number, e.elapsed_ms, e.kind, e.pressed FROM input_events e \
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
            .map(|(number, elapsed_ms, kind, pressed)| {
                let kind = kind.parse().map_err(|_| StoreError::Corrupt(format!("input event {kind:?}")))?;
                let open = |sealed: String| {
                    let opened = vault.unseal(&purpose(session, number), &sealed).ok();
                    let key = opened.and_then(|key| key.text().map(PressedKey::new));
                    key.ok_or_else(|| StoreError::Corrupt(format!("the key of input event {number}")))
                };
                let pressed = pressed.map(open).transpose()?;
                Ok(InputEvent { number, elapsed_ms, kind, pressed })
            })
            .collect()
    }
}

//! The commands of a session.

use sojourn_domain::{id::AccessSessionId, policy::Visibility};
use sqlx::any::AnyRow;

use super::{Command, NewCommand};
use crate::{
    connections::{clean, like},
    db::{Store, StoreError},
    presence::Columns as _,
};

fn command(row: &AnyRow) -> Result<Command, StoreError> {
    Ok(Command {
        id: row.parsed(0, "id")?,
        session: row.parsed(1, "id")?,
        at: row.time(2)?,
        elapsed_ms: row.int(3)?,
        until_ms: row.maybe_int(4)?,
        command: row.text(5)?,
        output_preview: row.text(6)?,
        source: row.text(7)?,
        confidence: row.text(8)?,
        kind: row.text(9)?,
        exit_code: row.maybe_int(10)?,
    })
}

impl Store {
    /// Keeps commands of a session, all or none.
    pub async fn commands_add(
        &self,
        session: AccessSessionId,
        commands: &[NewCommand],
    ) -> Result<(), StoreError> {
        if commands.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        for new in commands {
            sqlx::query(
                "INSERT INTO commands (id, session_id, at, elapsed_ms, until_ms, command, output_preview, source, \
                 confidence, kind, exit_code) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            )
            .bind(new.id.to_string())
            .bind(session.to_string())
            .bind(new.at.as_micros())
            .bind(new.elapsed_ms)
            .bind(new.until_ms)
            .bind(clean(&new.command))
            .bind(clean(&new.output_preview))
            .bind(clean(&new.source))
            .bind(clean(&new.confidence))
            .bind(clean(&new.kind))
            .bind(new.exit_code)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("UPDATE access_sessions SET command_count = command_count + $2 WHERE id = $1")
            .bind(session.to_string())
            .bind(i64::try_from(commands.len()).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Commands of a session after a place in it, in the order in which they were run. `q`: text in the
    /// command or in what it showed.
    pub async fn commands(
        &self,
        visibility: Visibility,
        session: AccessSessionId,
        q: Option<&str>,
        after: Option<&Command>,
        limit: i64,
    ) -> Result<Vec<Command>, StoreError> {
        let own = match visibility {
            Visibility::Any => None,
            Visibility::Own(user) => Some(user.to_string()),
        };
        let rows = sqlx::query(
            "SELECT k.id, k.session_id, k.at, k.elapsed_ms, k.until_ms, k.command, k.output_preview, k.source, \
             k.confidence, k.kind, k.exit_code FROM commands k JOIN access_sessions s ON s.id = k.session_id \
             WHERE k.session_id = $1 AND (CAST($2 AS TEXT) IS NULL OR s.user_id = $2) \
             AND (k.elapsed_ms, k.id) > ($3, $4) \
             AND (CAST($5 AS TEXT) IS NULL OR LOWER(k.command) LIKE $5 ESCAPE '!' \
             OR LOWER(k.output_preview) LIKE $5 ESCAPE '!') \
             ORDER BY k.elapsed_ms, k.id LIMIT $6 + 0",
        )
        .bind(session.to_string())
        .bind(own)
        .bind(after.map_or(i64::MIN, |command| command.elapsed_ms))
        .bind(after.map(|command| command.id.to_string()).unwrap_or_default())
        .bind(q.map(|q| format!("%{}%", like(&clean(&q.to_lowercase())))))
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(command).collect()
    }
}

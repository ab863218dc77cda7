//! The index behind a search for text in commands: the one place where both databases differ.
//!
//! SQLite has an FTS5 table of trigrams that keeps no text of its own, filled by triggers. Its rows
//! are numbered by `search_commands`, because the rows of a table without an integer key may get
//! other numbers by VACUUM. PostgreSQL has a trigram index, where the extension can be made;
//! without it a search reads all commands.
//!
//! Both find text of three characters and more, without regard to case. Shorter text is looked for in
//! the commands themselves.

use sqlx::{AnyPool, Executor as _};

use crate::db::{Database, StoreError};

const SQLITE: &str = "\
CREATE TABLE IF NOT EXISTS search_commands (
    number INTEGER PRIMARY KEY,
    command_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS search_text USING fts5 (
    text, content = '', contentless_delete = 1, detail = full, tokenize = 'trigram'
);
CREATE TRIGGER IF NOT EXISTS search_commands_added AFTER INSERT ON commands BEGIN
    INSERT INTO search_commands (command_id, session_id) VALUES (new.id, new.session_id);
    INSERT INTO search_text (rowid, text) VALUES (
        (SELECT number FROM search_commands WHERE command_id = new.id), new.command
    );
END;
CREATE TRIGGER IF NOT EXISTS search_commands_removed AFTER DELETE ON commands BEGIN
    DELETE FROM search_text WHERE rowid = (SELECT number FROM search_commands WHERE command_id = old.id);
    DELETE FROM search_commands WHERE command_id = old.id;
END;";

/// Makes what searches need, where it is not there yet.
pub(crate) async fn prepare(pool: &AnyPool, database: Database) -> Result<(), StoreError> {
    match database {
        Database::Sqlite => {
            pool.execute(SQLITE).await?;
        }
        Database::Postgres => {
            let there: Option<(i64,)> = sqlx::query_as(
                "SELECT CAST(1 AS BIGINT) FROM pg_indexes \
                 WHERE schemaname = current_schema() AND indexname = 'commands_trigrams'",
            )
            .fetch_optional(pool)
            .await?;
            if there.is_some() {
                return Ok(());
            }
            let made = async {
                pool.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm").await?;
                pool.execute(
                    "CREATE INDEX IF NOT EXISTS commands_trigrams ON commands USING gin (command gin_trgm_ops)",
                )
                .await
            };
            if let Err(error) = made.await {
                tracing::warn!(
                    %error,
                    "searching commands will read all of them: the database's administrator has to run \
                     CREATE EXTENSION pg_trgm"
                );
            }
        }
    }
    Ok(())
}

/// Text for the trigram table: one phrase, whatever is in it.
pub(super) fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Whether the trigram table can find it.
pub(super) fn has_trigrams(text: &str) -> bool {
    text.chars().count() >= 3
}

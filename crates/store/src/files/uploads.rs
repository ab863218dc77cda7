//! Files that browsers send in pieces. A row lives from the first piece to the last, through reloads of the
//! page and restarts of the server; the bytes are on the target, under a temporary name.

use sojourn_domain::{
    id::{ConnectionId, FileSessionId, UploadId, UserId},
    time::Timestamp,
};
use sqlx::any::AnyRow;

use super::{count, whole};
use crate::{
    connections::clean,
    db::{Store, StoreError},
    presence::Columns as _,
};

/// An upload that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    pub id: UploadId,
    pub user: UserId,
    pub connection: ConnectionId,
    pub file_session: FileSessionId,
    /// The browser tab's own random id; empty where it sent none.
    pub tab: String,
    /// base64url of the bytes that the target knows.
    pub path: String,
    /// Where the bytes are until all have come; base64url as well.
    pub temporary: String,
    pub size: u64,
    /// What else its owner needs to go on, as a JSON object.
    pub options: String,
    pub created_at: Timestamp,
}

/// An upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: UploadId,
    pub user: UserId,
    pub connection: ConnectionId,
    /// The file session that the last piece belonged to.
    pub file_session: FileSessionId,
    pub tab: String,
    pub path: String,
    pub temporary: String,
    pub size: u64,
    /// How much is on the target for certain.
    pub received: u64,
    /// The hash so far, where it can be gone on with.
    pub sha_state: Option<String>,
    pub options: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

macro_rules! columns {
    () => {
        "u.id, u.user_id, u.connection_id, u.file_session_id, u.tab, u.path, u.temporary, u.size, u.received, \
         u.sha_state, u.options, u.created_at, u.updated_at"
    };
}

const ONE: &str = concat!("SELECT ", columns!(), " FROM uploads u WHERE u.id = $1 AND u.user_id = $2");

fn upload(row: &AnyRow) -> Result<Upload, StoreError> {
    Ok(Upload {
        id: row.parsed(0, "id")?,
        user: row.parsed(1, "id")?,
        connection: row.parsed(2, "id")?,
        file_session: row.parsed(3, "id")?,
        tab: row.text(4)?,
        path: row.text(5)?,
        temporary: row.text(6)?,
        size: count(row.int(7)?)?,
        received: count(row.int(8)?)?,
        sha_state: row.maybe_text(9)?,
        options: row.text(10)?,
        created_at: row.time(11)?,
        updated_at: row.time(12)?,
    })
}

impl Store {
    pub async fn upload_begin(&self, new: &NewUpload) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO uploads (id, user_id, connection_id, file_session_id, tab, path, temporary, size, received, \
             options, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $10)",
        )
        .bind(new.id.to_string())
        .bind(new.user.to_string())
        .bind(new.connection.to_string())
        .bind(new.file_session.to_string())
        .bind(clean(&new.tab))
        .bind(clean(&new.path))
        .bind(clean(&new.temporary))
        .bind(whole(new.size))
        .bind(clean(&new.options))
        .bind(new.created_at.as_micros())
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// One's own upload.
    pub async fn upload(&self, user: UserId, id: UploadId) -> Result<Option<Upload>, StoreError> {
        let row =
            sqlx::query(ONE).bind(id.to_string()).bind(user.to_string()).fetch_optional(self.read()).await?;
        row.as_ref().map(upload).transpose()
    }

    /// One's own uploads on a connection, oldest first.
    pub async fn uploads(
        &self,
        user: UserId,
        connection: ConnectionId,
        limit: i64,
    ) -> Result<Vec<Upload>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM uploads u WHERE u.user_id = $1 AND u.connection_id = $2 \
             ORDER BY u.created_at, u.id LIMIT $3 + 0"
        ))
        .bind(user.to_string())
        .bind(connection.to_string())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(upload).collect()
    }

    /// Notes how far an upload came, and in which file session; `false` where there is none.
    pub async fn upload_progress(
        &self,
        id: UploadId,
        file_session: FileSessionId,
        received: u64,
        sha_state: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query(
            "UPDATE uploads SET file_session_id = $2, received = $3, sha_state = $4, updated_at = $5 WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(file_session.to_string())
        .bind(whole(received))
        .bind(sha_state)
        .bind(now.as_micros())
        .execute(self.write())
        .await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Forgets an upload that is finished or given up; `false` where there is none.
    pub async fn upload_remove(&self, id: UploadId) -> Result<bool, StoreError> {
        let removed = sqlx::query("DELETE FROM uploads WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(removed.rows_affected() > 0)
    }

    /// Uploads that nothing was heard of since a moment, oldest first.
    pub async fn uploads_idle_since(&self, before: Timestamp, limit: i64) -> Result<Vec<Upload>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM uploads u WHERE u.updated_at < $1 ORDER BY u.updated_at, u.id LIMIT $2 + 0"
        ))
        .bind(before.as_micros())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(upload).collect()
    }
}

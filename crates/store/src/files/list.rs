//! Lists of file sessions: newest first, by page, each from an index.
//!
//! A list is driven by the narrowest of its conditions that has an index; the others are looked at
//! row by row, along the index's order, until the page is full. A page's rows are read after its
//! place was found in the index, so that a deep page skips index entries and not rows.

use sojourn_domain::{
    files::FileProtocol,
    id::{ConnectionId, FileSessionId, UserId},
    policy::Visibility,
    time::Timestamp,
};

use super::{FileSession, columns, session};
use crate::{
    connections::{clean, like},
    db::{Store, StoreError},
};

/// Which sessions are asked for; all conditions hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSessionFilter {
    pub user: Option<UserId>,
    pub protocol: Option<FileProtocol>,
    pub connection: Option<ConnectionId>,
    /// Begun at or after.
    pub from: Option<Timestamp>,
    /// Begun before.
    pub to: Option<Timestamp>,
    pub live: Option<bool>,
    /// Text in a path of one of the session's events.
    pub q: Option<String>,
}

impl FileSessionFilter {
    /// The filter for whoever sees no more than `visibility`; `None` when that leaves nothing.
    fn seen_by(&self, visibility: Visibility) -> Option<Self> {
        match (visibility, self.user) {
            (Visibility::Any, _) => Some(self.clone()),
            (Visibility::Own(own), Some(asked)) if asked != own => None,
            (Visibility::Own(own), _) => Some(Self { user: Some(own), ..self.clone() }),
        }
    }

    /// What the counts of rows can answer: nothing but whose and which protocol.
    fn is_counted(&self) -> bool {
        let Self { user: _, protocol: _, connection, from, to, live, q } = self;
        connection.is_none() && from.is_none() && to.is_none() && live.is_none() && q.is_none()
    }

    fn driver(&self) -> Driver {
        match &self.q {
            Some(q) => Driver::Text(format!("%{}%", like(&clean(&q.to_lowercase())))),
            None if self.live == Some(true) => Driver::Live,
            None if self.connection.is_some() => Driver::Connection,
            None if self.user.is_some() => Driver::User,
            None if self.protocol.is_some() => Driver::Protocol,
            None => Driver::All,
        }
    }
}

enum Driver {
    All,
    User,
    Connection,
    Protocol,
    Live,
    /// A pattern for the paths.
    Text(String),
}

impl Driver {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::All | Self::User | Self::Connection | Self::Protocol | Self::Live => None,
        }
    }
}

macro_rules! filtered {
    ($driver:expr) => {
        concat!(
            " FROM file_sessions a WHERE ",
            $driver,
            " AND a.started_at >= $1 AND a.started_at < $2 \
             AND (CAST($3 AS TEXT) IS NULL OR a.user_id = $3) \
             AND (CAST($4 AS TEXT) IS NULL OR a.connection_id = $4) \
             AND (CAST($5 AS TEXT) IS NULL OR a.protocol = $5) \
             AND (CAST($6 AS BIGINT) IS NULL OR (CAST($6 AS BIGINT) = 1 AND a.ended_at IS NULL) \
             OR (CAST($6 AS BIGINT) = 0 AND a.ended_at IS NOT NULL)) "
        )
    };
}

macro_rules! both {
    ($driver:expr) => {
        (
            concat!(
                "SELECT ",
                columns!(),
                " FROM file_sessions s WHERE s.id IN (SELECT a.id",
                filtered!($driver),
                "ORDER BY a.started_at DESC, a.id DESC LIMIT $8 + 0 OFFSET $9 + 0) \
                 ORDER BY s.started_at DESC, s.id DESC"
            ),
            concat!("SELECT COUNT(*)", filtered!($driver)),
        )
    };
}

impl Driver {
    /// The statements that list and that count.
    const fn statements(&self) -> (&'static str, &'static str) {
        match self {
            Self::All => both!("CAST($7 AS TEXT) IS NULL"),
            Self::User => both!("a.user_id = $3 AND CAST($7 AS TEXT) IS NULL"),
            Self::Connection => both!("a.connection_id = $4 AND CAST($7 AS TEXT) IS NULL"),
            Self::Protocol => both!("a.protocol = $5 AND CAST($7 AS TEXT) IS NULL"),
            // Few live at once: SQLite finds them by their index only when it need not order by another.
            Self::Live => both!(
                "a.id IN (SELECT l.id FROM file_sessions l WHERE l.ended_at IS NULL) AND CAST($7 AS TEXT) IS NULL"
            ),
            Self::Text(_) => both!(
                "EXISTS (SELECT 1 FROM file_events e WHERE e.session_id = a.id \
                 AND (LOWER(e.path) LIKE $7 ESCAPE '!' OR LOWER(e.new_path) LIKE $7 ESCAPE '!'))"
            ),
        }
    }
}

const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM file_sessions s WHERE s.id IN (SELECT a.id FROM file_sessions a \
     ORDER BY a.started_at DESC, a.id DESC LIMIT $1 + 0 OFFSET $2 + 0) ORDER BY s.started_at DESC, s.id DESC"
);
const OLDEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM file_sessions s WHERE s.id IN (SELECT a.id FROM file_sessions a \
     ORDER BY a.started_at, a.id LIMIT $1 + 0 OFFSET $2 + 0) ORDER BY s.started_at DESC, s.id DESC"
);
const NEWEST_OWN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM file_sessions s WHERE s.id IN (SELECT a.id FROM file_sessions a WHERE a.user_id = $3 \
     ORDER BY a.started_at DESC, a.id DESC LIMIT $1 + 0 OFFSET $2 + 0) ORDER BY s.started_at DESC, s.id DESC"
);
const OLDEST_OWN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM file_sessions s WHERE s.id IN (SELECT a.id FROM file_sessions a WHERE a.user_id = $3 \
     ORDER BY a.started_at, a.id LIMIT $1 + 0 OFFSET $2 + 0) ORDER BY s.started_at DESC, s.id DESC"
);

impl Store {
    /// Sessions, newest first, and how many there are in all.
    pub async fn file_sessions(
        &self,
        visibility: Visibility,
        filter: &FileSessionFilter,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<FileSession>, i64), StoreError> {
        let Some(filter) = filter.seen_by(visibility) else { return Ok((Vec::new(), 0)) };
        if filter.is_counted() {
            let total = self.file_sessions_counted(&filter).await?;
            if filter.protocol.is_none() {
                return Ok((self.file_sessions_plain(filter.user, total, limit, offset).await?, total));
            }
            return Ok((self.file_sessions_filtered(&filter, limit, offset).await?, total));
        }
        let sessions = self.file_sessions_filtered(&filter, limit, offset).await?;
        let found = i64::try_from(sessions.len()).unwrap_or(i64::MAX);
        // A page that is not full is the last one.
        if found < limit && (found > 0 || offset == 0) {
            return Ok((sessions, offset + found));
        }
        let driver = filter.driver();
        let (total,): (i64,) = sqlx::query_as(driver.statements().1)
            .bind(filter.from.unwrap_or(Timestamp::MIN).as_micros())
            .bind(filter.to.map_or(i64::MAX, Timestamp::as_micros))
            .bind(filter.user.map(|user| user.to_string()))
            .bind(filter.connection.map(|connection| connection.to_string()))
            .bind(filter.protocol.map(FileProtocol::key))
            .bind(filter.live.map(i64::from))
            .bind(driver.text())
            .fetch_one(self.read())
            .await?;
        Ok((sessions, total))
    }

    async fn file_sessions_counted(&self, filter: &FileSessionFilter) -> Result<i64, StoreError> {
        let (total,): (i64,) = sqlx::query_as(
            "SELECT CAST(COALESCE(SUM(sessions), 0) AS BIGINT) FROM file_session_counts \
             WHERE (CAST($1 AS TEXT) IS NULL OR user_id = $1) AND (CAST($2 AS TEXT) IS NULL OR protocol = $2)",
        )
        .bind(filter.user.map(|user| user.to_string()))
        .bind(filter.protocol.map(FileProtocol::key))
        .fetch_one(self.read())
        .await?;
        Ok(total)
    }

    /// Everybody's or one user's. The far half is reached from the other end.
    async fn file_sessions_plain(
        &self,
        user: Option<UserId>,
        total: i64,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<FileSession>, StoreError> {
        let here = limit.min(total - offset);
        if here <= 0 {
            return Ok(Vec::new());
        }
        let from_end = total - offset - here;
        let (statement, offset) = match (user, from_end < offset) {
            (None, false) => (NEWEST, offset),
            (None, true) => (OLDEST, from_end),
            (Some(_), false) => (NEWEST_OWN, offset),
            (Some(_), true) => (OLDEST_OWN, from_end),
        };
        let query = sqlx::query(statement).bind(here).bind(offset);
        let query = match user {
            Some(user) => query.bind(user.to_string()),
            None => query,
        };
        query.fetch_all(self.read()).await?.iter().map(session).collect()
    }

    async fn file_sessions_filtered(
        &self,
        filter: &FileSessionFilter,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<FileSession>, StoreError> {
        let driver = filter.driver();
        let rows = sqlx::query(driver.statements().0)
            .bind(filter.from.unwrap_or(Timestamp::MIN).as_micros())
            .bind(filter.to.map_or(i64::MAX, Timestamp::as_micros))
            .bind(filter.user.map(|user| user.to_string()))
            .bind(filter.connection.map(|connection| connection.to_string()))
            .bind(filter.protocol.map(FileProtocol::key))
            .bind(filter.live.map(i64::from))
            .bind(driver.text())
            .bind(limit)
            .bind(offset)
            .fetch_all(self.read())
            .await?;
        rows.iter().map(session).collect()
    }

    /// One session, if it may be seen.
    pub async fn file_session(
        &self,
        visibility: Visibility,
        id: FileSessionId,
    ) -> Result<Option<FileSession>, StoreError> {
        let own = match visibility {
            Visibility::Any => None,
            Visibility::Own(user) => Some(user.to_string()),
        };
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM file_sessions s WHERE s.id = $1 AND (CAST($2 AS TEXT) IS NULL OR s.user_id = $2)"
        ))
        .bind(id.to_string())
        .bind(own)
        .fetch_optional(self.read())
        .await?;
        row.as_ref().map(session).transpose()
    }
}

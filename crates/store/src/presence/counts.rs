//! How many devices were in which state over time.

use sojourn_domain::time::Timestamp;

use super::Columns as _;
use crate::{Store, StoreError};

/// The counts of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub at: Timestamp,
    pub online: i64,
    pub sleeping: i64,
    pub unknown: i64,
    pub down: i64,
    pub offline: i64,
}

/// At most about `points` rows from `from` to `until`, evenly spread, oldest first, begun by the row
/// that was current at `from`.
pub async fn history(
    store: &Store,
    from: Timestamp,
    until: Timestamp,
    points: u32,
) -> Result<Vec<Counts>, StoreError> {
    let width = until.since(from).as_micros() / i64::from(points.max(1));
    // Each step seeks the first row that is at least one width after the last: it costs what it
    // returns, not what it leaves out.
    let rows = sqlx::query(
        "WITH RECURSIVE picked (at) AS (\
         SELECT COALESCE((SELECT MAX(at) FROM presence_counts WHERE at <= $1), \
         (SELECT MIN(at) FROM presence_counts WHERE at > $1 AND at <= $2)) \
         UNION ALL SELECT (SELECT MIN(c.at) FROM presence_counts c \
         WHERE c.at > picked.at AND c.at >= picked.at + CAST($3 AS BIGINT) AND c.at > $1 AND c.at <= $2) \
         FROM picked WHERE picked.at IS NOT NULL) \
         SELECT c.at, c.online, c.sleeping, c.unknown, c.down, c.offline \
         FROM picked JOIN presence_counts c ON c.at = picked.at ORDER BY c.at LIMIT $4 + 0",
    )
    .bind(from.as_micros())
    .bind(until.as_micros())
    .bind(width)
    .bind(i64::from(points) + 2)
    .fetch_all(store.read())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Counts {
                at: row.time(0)?.max(from),
                online: row.int(1)?,
                sleeping: row.int(2)?,
                unknown: row.int(3)?,
                down: row.int(4)?,
                offline: row.int(5)?,
            })
        })
        .collect()
}

/// Writes the counts of a moment.
pub async fn record(store: &Store, counts: Counts) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO presence_counts (at, online, sleeping, unknown, down, offline) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (at) DO NOTHING",
    )
    .bind(counts.at.as_micros())
    .bind(counts.online)
    .bind(counts.sleeping)
    .bind(counts.unknown)
    .bind(counts.down)
    .bind(counts.offline)
    .execute(store.write())
    .await?;
    Ok(())
}

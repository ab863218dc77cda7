//! Presence sources: their settings, which people change, and their health, which the sensor tells.

use sojourn_domain::{
    id::SourceId,
    presence::{GapReason, ScanOutcome, SourceKind},
    time::{Elapsed, Timestamp},
};
use sqlx::any::AnyRow;

use super::{CHUNK, Columns as _};
use crate::{Store, StoreError};

/// A source as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub id: SourceId,
    pub name: String,
    pub kind: SourceKind,
    /// A JSON object: `interface`, `cidr`, `path`, `format`, each where it has one.
    pub settings: String,
    pub interval: Elapsed,
    pub grace: Elapsed,
    pub enabled: bool,
    /// Chosen by the machine, not by a person.
    pub automatic: bool,
    pub created_at: Timestamp,
    /// What it looks at, for people.
    pub scope: String,
    pub health: String,
    pub health_since: Timestamp,
    pub health_message: String,
    pub last_started_at: Option<Timestamp>,
    pub last_finished_at: Option<Timestamp>,
    pub last_seen_count: Option<i64>,
    /// How that scan ended.
    pub last_outcome: Option<ScanOutcome>,
    /// When its last complete scan started.
    pub complete_at: Option<Timestamp>,
    /// How many devices it knows.
    pub device_count: i64,
}

macro_rules! columns {
    () => {
        "SELECT s.id, s.name, s.kind, s.settings, s.interval_us, s.grace_us, s.enabled, s.automatic, s.created_at, \
         s.scope, s.health, s.health_since, s.health_message, s.last_started_at, s.last_finished_at, \
         s.last_seen_count, s.complete_at, s.last_outcome, s.last_message, \
         (SELECT COUNT(*) FROM device_sources k WHERE k.source = s.id) \
         FROM sources s WHERE s.removed_at IS NULL "
    };
}

fn source(row: &AnyRow) -> Result<Source, StoreError> {
    Ok(Source {
        id: row.parsed(0, "source id")?,
        name: row.text(1)?,
        kind: row.parsed(2, "source kind")?,
        settings: row.text(3)?,
        interval: Elapsed::from_micros(row.int(4)?),
        grace: Elapsed::from_micros(row.int(5)?),
        enabled: row.flag(6)?,
        automatic: row.flag(7)?,
        created_at: row.time(8)?,
        scope: row.text(9)?,
        health: row.text(10)?,
        health_since: row.time(11)?,
        health_message: row.text(12)?,
        last_started_at: row.maybe_time(13)?,
        last_finished_at: row.maybe_time(14)?,
        last_seen_count: row.maybe_int(15)?,
        complete_at: row.maybe_time(16)?,
        last_outcome: super::load::outcome(row.maybe_text(17)?, row.maybe_text(18)?)?,
        device_count: row.int(19)?,
    })
}

/// All sources that were not removed, in the order in which they were made.
pub async fn all(store: &Store) -> Result<Vec<Source>, StoreError> {
    let rows = sqlx::query(concat!(columns!(), "ORDER BY s.created_at, s.id LIMIT $1 + 0"))
        .bind(i64::from(CHUNK))
        .fetch_all(store.read())
        .await?;
    rows.iter().map(source).collect()
}

pub async fn find(store: &Store, id: SourceId) -> Result<Option<Source>, StoreError> {
    let row = sqlx::query(concat!(columns!(), "AND s.id = $1"))
        .bind(id.to_string())
        .fetch_optional(store.read())
        .await?;
    row.as_ref().map(source).transpose()
}

pub async fn find_by_name(store: &Store, name: &str) -> Result<Option<Source>, StoreError> {
    let row =
        sqlx::query(concat!(columns!(), "AND s.name = $1")).bind(name).fetch_optional(store.read()).await?;
    row.as_ref().map(source).transpose()
}

/// A stretch in which a source could not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGap {
    pub id: String,
    pub source: SourceId,
    pub source_name: String,
    pub from: Timestamp,
    /// `None` while it lasts.
    pub until: Option<Timestamp>,
    pub reason: GapReason,
    pub message: String,
}

macro_rules! gap_columns {
    () => {
        "SELECT g.id, g.source, s.name, g.from_at, g.until_at, g.reason, g.message \
         FROM source_gaps g JOIN sources s ON s.id = g.source "
    };
}

fn gap(row: &AnyRow) -> Result<SourceGap, StoreError> {
    let reason = row.text(5)?;
    Ok(SourceGap {
        id: row.text(0)?,
        source: row.parsed(1, "source id")?,
        source_name: row.text(2)?,
        from: row.time(3)?,
        until: row.maybe_time(4)?,
        reason: reason.parse().map_err(|()| StoreError::Corrupt(format!("gap reason {reason:?}")))?,
        message: row.text(6)?,
    })
}

/// The last `limit` gaps of a source, newest first.
pub async fn gaps_of(store: &Store, id: SourceId, limit: u32) -> Result<Vec<SourceGap>, StoreError> {
    let rows = sqlx::query(concat!(
        gap_columns!(),
        "WHERE g.source = $1 ORDER BY g.from_at DESC, g.id DESC LIMIT $2 + 0"
    ))
    .bind(id.to_string())
    .bind(i64::from(limit))
    .fetch_all(store.read())
    .await?;
    rows.iter().map(gap).collect()
}

/// The gaps that overlap the stretch from `from` up to `until`, of all sources, removed ones too: newest
/// first, up to `limit`.
pub async fn gaps(
    store: &Store,
    from: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<SourceGap>, StoreError> {
    // Two arms, each a range of the index on (until_at, from_at).
    let rows = sqlx::query(concat!(
        gap_columns!(),
        "WHERE g.id IN (SELECT id FROM source_gaps WHERE until_at IS NULL AND from_at < $2 \
         UNION ALL SELECT id FROM source_gaps WHERE until_at > $1 AND from_at < $2) \
         ORDER BY g.from_at DESC, g.id DESC LIMIT $3 + 0"
    ))
    .bind(from.as_micros())
    .bind(until.as_micros())
    .bind(i64::from(limit))
    .fetch_all(store.read())
    .await?;
    rows.iter().map(gap).collect()
}

/// A source that a person adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSource {
    pub id: SourceId,
    pub name: String,
    pub kind: SourceKind,
    pub settings: String,
    pub interval: Elapsed,
    pub grace: Elapsed,
    pub automatic: bool,
    pub now: Timestamp,
}

/// What a person changes of a source; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceChange {
    pub name: Option<String>,
    pub settings: Option<String>,
    pub interval: Option<Elapsed>,
    pub grace: Option<Elapsed>,
    pub enabled: Option<bool>,
}

/// What became of a change that gives a source a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Done,
    /// Another source has the name.
    NameTaken,
    /// There is no such source.
    Unknown,
}

/// Adds a source. One that a person adds, and that looks for itself, switches the automatic choice
/// off: the sources that the machine chose are disabled.
pub async fn add(store: &Store, new: &NewSource) -> Result<Named, StoreError> {
    let mut tx = store.begin().await?;
    let inserted = sqlx::query(
        "INSERT INTO sources (id, name, kind, settings, interval_us, grace_us, enabled, automatic, created_at, \
         scope, health, health_since, health_message, last_seq) \
         VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, '', 'waiting', $8, '', 0)",
    )
    .bind(new.id.to_string())
    .bind(new.name.as_str())
    .bind(new.kind.key())
    .bind(new.settings.as_str())
    .bind(new.interval.as_micros())
    .bind(new.grace.as_micros())
    .bind(i64::from(new.automatic))
    .bind(new.now.as_micros())
    .execute(&mut *tx)
    .await
    .map_err(StoreError::from);
    match inserted {
        Err(error) if error.is_conflict() => {
            tx.rollback().await?;
            return Ok(Named::NameTaken);
        }
        other => other?,
    };
    if !new.automatic && !matches!(new.kind, SourceKind::Push | SourceKind::Import) {
        sqlx::query(
            "UPDATE sources SET enabled = 0 WHERE automatic = 1 AND removed_at IS NULL \
             AND kind NOT IN ('push', 'import')",
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(Named::Done)
}

/// The machine chooses its sources itself: no person has added or changed one, or removed one that
/// it chose. Sources that only report look from elsewhere, and do not count.
pub async fn automatic(store: &Store) -> Result<bool, StoreError> {
    let by_people = sqlx::query(
        "SELECT COUNT(*) FROM sources WHERE kind NOT IN ('push', 'import') \
         AND ((automatic = 0 AND removed_at IS NULL) OR (automatic = 1 AND removed_at IS NOT NULL))",
    )
    .fetch_one(store.read())
    .await?
    .int(0)?;
    Ok(by_people == 0)
}

pub async fn update(store: &Store, id: SourceId, set: &SourceChange) -> Result<Named, StoreError> {
    let changed = sqlx::query(
        "UPDATE sources SET name = COALESCE(CAST($2 AS TEXT), name), \
         settings = COALESCE(CAST($3 AS TEXT), settings), \
         interval_us = COALESCE(CAST($4 AS BIGINT), interval_us), \
         grace_us = COALESCE(CAST($5 AS BIGINT), grace_us), \
         enabled = COALESCE(CAST($6 AS BIGINT), enabled), \
         automatic = 0 WHERE id = $1 AND removed_at IS NULL",
    )
    .bind(id.to_string())
    .bind(set.name.as_deref())
    .bind(set.settings.as_deref())
    .bind(set.interval.map(Elapsed::as_micros))
    .bind(set.grace.map(Elapsed::as_micros))
    .bind(set.enabled.map(i64::from))
    .execute(store.write())
    .await
    .map_err(StoreError::from);
    match changed {
        Err(error) if error.is_conflict() => Ok(Named::NameTaken),
        Err(error) => Err(error),
        Ok(changed) if changed.rows_affected() == 0 => Ok(Named::Unknown),
        Ok(_) => Ok(Named::Done),
    }
}

/// Takes a source out of service for good. Its gaps stay in the history; it knows no devices any more.
pub async fn remove(store: &Store, id: SourceId, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let removed =
        sqlx::query("UPDATE sources SET removed_at = $2, enabled = 0 WHERE id = $1 AND removed_at IS NULL")
            .bind(id.to_string())
            .bind(now.as_micros())
            .execute(&mut *tx)
            .await?
            .rows_affected();
    sqlx::query("DELETE FROM device_sources WHERE source = $1")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE source_gaps SET until_at = $2 WHERE source = $1 AND until_at IS NULL")
        .bind(id.to_string())
        .bind(now.as_micros())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(removed > 0)
}

//! Sessions as stretches of time, for drawing: only where they lie and what is known of their ends.

use sojourn_domain::{mac::MacAddr, time::Timestamp};
use sqlx::any::AnyRow;

use super::{
    Columns as _,
    sessions::{Edges, Neighbours, missing_columns},
};
use crate::{Store, StoreError};

/// Where a session lies, and what is known of its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub mac: MacAddr,
    pub ip: Option<String>,
    /// Where it is drawn: an estimate where the start is missing.
    pub from: Timestamp,
    /// Where it is drawn: an estimate where the end is missing; the end of time while open.
    pub until: Timestamp,
    pub open: bool,
    pub start_missing: bool,
    pub end_missing: bool,
    /// Entered by a person.
    pub manual: bool,
}

/// The sessions that, as they are drawn, overlap the stretch from `from` up to, not including,
/// `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub mac: Option<MacAddr>,
    pub from: Timestamp,
    pub until: Timestamp,
    /// The end of an open session whose start is missing.
    pub now: Timestamp,
}

/// Where a list of spans goes on: first those that began in the stretch, newest first; then those
/// that reach into it, in order of their ends; then those with a missing boundary, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    Began { from: i64, id: String },
    Reached { until: i64, from: i64, id: String },
    Missing { from: i64, id: String },
}

impl Cursor {
    pub fn start() -> Self {
        Self::Began { from: i64::MAX, id: String::new() }
    }
}

macro_rules! columns {
    () => {
        "SELECT d.mac, s.ip, s.from_at, s.until_at, s.open + 2 * s.manual, s.id \
         FROM presence_sessions s JOIN devices d ON d.number = s.device \
         WHERE s.started_at IS NOT NULL AND (s.ended_at IS NOT NULL OR s.open = 1) "
    };
}

macro_rules! missing {
    () => {
        concat!(
            "SELECT m.mac, m.ip, m.from_at, m.until_at, m.open + 2 * m.manual \
             + CASE WHEN m.started_at IS NULL THEN 4 ELSE 0 END \
             + CASE WHEN m.ended_at IS NULL AND m.open = 0 THEN 8 ELSE 0 END, m.id, m.previous_end, m.next_start \
             FROM (",
            missing_columns!(),
            ") m WHERE (m.until_at >= $2 OR (m.ended_at IS NULL AND COALESCE(m.next_start, m.from_at + 3600000000) >= $2)) \
             AND (m.started_at IS NULL OR m.from_at < $1) AND (m.from_at, m.id) < ($3, $4) "
        )
    };
}

/// Up to `limit` spans from `cursor` on, and where to go on, if anywhere.
pub async fn spans(
    store: &Store,
    stretch: &Stretch,
    cursor: &Cursor,
    limit: u32,
) -> Result<(Vec<Span>, Option<Cursor>), StoreError> {
    let (from, until) = (stretch.from.as_micros(), stretch.until.as_micros());
    let query = match (cursor, stretch.mac) {
        (Cursor::Began { .. }, None) => sqlx::query(concat!(
            columns!(),
            "AND s.from_at >= $2 AND (s.from_at, s.id) < ($3, $4) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5"
        )),
        (Cursor::Began { .. }, Some(_)) => sqlx::query(concat!(
            columns!(),
            "AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             AND s.from_at >= $2 AND (s.from_at, s.id) < ($3, $4) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5"
        )),
        (Cursor::Reached { .. }, None) => sqlx::query(concat!(
            columns!(),
            "AND (s.until_at, s.from_at, s.id) > ($1, $3, $4) AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $5"
        )),
        (Cursor::Reached { .. }, Some(_)) => sqlx::query(concat!(
            columns!(),
            "AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             AND s.until_at >= $1 AND (s.until_at, +s.from_at, s.id) > ($1, $3, $4) AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $5"
        )),
        (Cursor::Missing { .. }, None) => {
            sqlx::query(concat!(missing!(), "ORDER BY m.from_at DESC, m.id DESC LIMIT $5"))
        }
        (Cursor::Missing { .. }, Some(_)) => {
            sqlx::query(concat!(missing!(), "AND m.mac = $6 ORDER BY m.from_at DESC, m.id DESC LIMIT $5"))
        }
    };
    let query = match cursor {
        // Both bounds in one: SQLite walks an index from one upper bound only.
        Cursor::Began { from: last, id } if *last < until => {
            query.bind(until).bind(from).bind(*last).bind(id.as_str())
        }
        Cursor::Began { .. } => query.bind(until).bind(from).bind(until).bind(""),
        Cursor::Missing { from: last, id } => query.bind(until).bind(from).bind(*last).bind(id.as_str()),
        Cursor::Reached { until: end, from: last, id } => {
            query.bind(*end).bind(from).bind(*last).bind(id.as_str())
        }
    };
    let query = query.bind(i64::from(limit));
    let query = match stretch.mac {
        None => query,
        Some(mac) => query.bind(mac.to_string()),
    };
    let rows = query.fetch_all(store.read()).await?;
    let last = rows.last().filter(|_| rows.len() as u64 >= u64::from(limit));
    let next = match (cursor, last) {
        (Cursor::Began { .. }, Some(row)) => Some(Cursor::Began { from: row.int(2)?, id: row.text(5)? }),
        (Cursor::Began { .. }, None) => {
            Some(Cursor::Reached { until: from, from: i64::MAX, id: String::new() })
        }
        (Cursor::Reached { .. }, Some(row)) => {
            Some(Cursor::Reached { until: row.int(3)?, from: row.int(2)?, id: row.text(5)? })
        }
        (Cursor::Reached { .. }, None) => Some(Cursor::Missing { from: i64::MAX, id: String::new() }),
        (Cursor::Missing { .. }, Some(row)) => Some(Cursor::Missing { from: row.int(2)?, id: row.text(5)? }),
        (Cursor::Missing { .. }, None) => None,
    };
    let missing = matches!(cursor, Cursor::Missing { .. });
    let mut spans = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut span = span(row)?;
        if missing {
            let drawn = Neighbours::of(row, 6)?.drawn(&span.edges(), stretch.now);
            if !drawn.overlaps(stretch.from, stretch.until) {
                continue;
            }
            (span.from, span.until) = (drawn.from, drawn.until);
        }
        spans.push(span);
    }
    Ok((spans, next))
}

fn span(row: &AnyRow) -> Result<Span, StoreError> {
    let flags = row.int(4)?;
    Ok(Span {
        mac: row.mac(0)?,
        ip: row.maybe_text(1)?,
        from: row.time(2)?,
        until: row.time(3)?,
        open: flags & 1 != 0,
        manual: flags & 2 != 0,
        start_missing: flags & 4 != 0,
        end_missing: flags & 8 != 0,
    })
}

impl Span {
    fn edges(&self) -> Edges {
        Edges {
            from_at: self.from,
            until_at: self.until,
            start_missing: self.start_missing,
            end_missing: self.end_missing,
            open: self.open,
            manual: self.manual,
        }
    }
}

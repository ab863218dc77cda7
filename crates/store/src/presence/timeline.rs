//! Sessions as stretches of time, for drawing: only where they lie and what is known of their ends.

use std::cmp::Reverse;

use sojourn_domain::{id::PresenceSessionId, mac::MacAddr, time::Timestamp};

use super::sessions::{Drawn, Edges, Neighbours, missing_columns};
use crate::{
    Store, StoreError,
    packed::{self, Fields, packed},
};

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

macro_rules! known {
    ($which:literal) => {
        concat!(
            "SELECT d.mac, s.ip, s.from_at, s.until_at, s.open + 2 * s.manual AS flags, s.id, \
             CAST(NULL AS BIGINT) AS previous_end, CAST(NULL AS BIGINT) AS next_start \
             FROM presence_sessions s JOIN devices d ON d.number = s.device \
             WHERE s.started_at IS NOT NULL AND (s.ended_at IS NOT NULL OR s.open = 1) ",
            $which
        )
    };
}

macro_rules! missing {
    ($which:literal) => {
        concat!(
            "SELECT m.mac, m.ip, m.from_at, m.until_at, m.open + 2 * m.manual \
             + CASE WHEN m.started_at IS NULL THEN 4 ELSE 0 END \
             + CASE WHEN m.ended_at IS NULL AND m.open = 0 THEN 8 ELSE 0 END AS flags, m.id, m.previous_end, \
             m.next_start FROM (",
            missing_columns!(),
            ") m WHERE (m.until_at >= $2 \
             OR (m.ended_at IS NULL AND COALESCE(m.next_start, m.from_at + 3600000000) >= $2)) \
             AND (m.started_at IS NULL OR m.from_at < $1) ",
            $which
        )
    };
}

macro_rules! spans {
    ($rows:expr) => {
        packed!(
            {
                text mac, text ip, int from_at, int until_at, int flags, text id, int previous_end, int next_start
            },
            $rows
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
    if let Some(mac) = stretch.mac
        && *cursor == Cursor::start()
        && let Some(spans) = of_device(store, stretch, mac, limit).await?
    {
        return Ok((spans, None));
    }
    let (from, until) = (stretch.from.as_micros(), stretch.until.as_micros());
    let query = match (cursor, stretch.mac) {
        (Cursor::Began { .. }, None) => sqlx::query(spans!(known!(
            "AND s.from_at >= $2 AND (s.from_at, s.id) < ($3, $4) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0"
        ))),
        (Cursor::Began { .. }, Some(_)) => sqlx::query(spans!(known!(
            "AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             AND s.from_at >= $2 AND (s.from_at, s.id) < ($3, $4) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0"
        ))),
        (Cursor::Reached { .. }, None) => sqlx::query(spans!(known!(
            "AND (s.until_at, s.from_at, s.id) > ($1, $3, $4) AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $5 + 0"
        ))),
        (Cursor::Reached { .. }, Some(_)) => sqlx::query(spans!(known!(
            "AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             AND s.until_at >= $1 AND (s.until_at, +s.from_at, s.id) > ($1, $3, $4) AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $5 + 0"
        ))),
        (Cursor::Missing { .. }, None) => sqlx::query(spans!(missing!(
            "AND (m.from_at, m.id) < ($3, $4) ORDER BY m.from_at DESC, m.id DESC LIMIT $5 + 0"
        ))),
        (Cursor::Missing { .. }, Some(_)) => sqlx::query(spans!(missing!(
            "AND (m.from_at, m.id) < ($3, $4) AND m.mac = $6 ORDER BY m.from_at DESC, m.id DESC LIMIT $5 + 0"
        ))),
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
    let mut lines = packed::rows(query, store.read(), Line::read).await?;
    match cursor {
        Cursor::Began { .. } | Cursor::Missing { .. } => {
            lines.sort_by_key(|line| Reverse((line.span.from, line.id)));
        }
        Cursor::Reached { .. } => {
            lines.sort_by_key(|line| (line.span.until, line.span.from, line.id));
        }
    }
    let last = lines.last().filter(|_| lines.len() as u64 >= u64::from(limit));
    let next = next(cursor, last, from);
    Ok((drawn(lines, stretch), next))
}

/// All spans of a device in the order of cursors, in one statement; `None` where they are too many.
async fn of_device(
    store: &Store,
    stretch: &Stretch,
    mac: MacAddr,
    limit: u32,
) -> Result<Option<Vec<Span>>, StoreError> {
    const QUERY: &str = spans!(concat!(
        "SELECT * FROM (",
        known!(
            "AND s.device = (SELECT number FROM devices WHERE mac = $3) AND s.from_at >= $2 AND s.from_at < $1 \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $4 + 0"
        ),
        ") began UNION ALL SELECT * FROM (",
        known!(
            "AND s.device = (SELECT number FROM devices WHERE mac = $3) AND s.until_at > $2 AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $4 + 0"
        ),
        ") reached UNION ALL SELECT * FROM (",
        missing!("AND m.mac = $3 ORDER BY m.from_at DESC, m.id DESC LIMIT $4 + 0"),
        ") missing"
    ));
    let query = sqlx::query(QUERY)
        .bind(stretch.until.as_micros())
        .bind(stretch.from.as_micros())
        .bind(mac.to_string())
        .bind(i64::from(limit));
    let mut lines = packed::rows(query, store.read(), Line::read).await?;
    // Began, reached, missing: the order of the cursors.
    lines.sort_by_key(|Line { span, id, .. }| {
        (span.start_missing || span.end_missing, span.from < stretch.from, Reverse((span.from, *id)))
    });
    Ok((lines.len() < limit as usize).then(|| drawn(lines, stretch)))
}

/// The spans as they are drawn, without those that then lie outside.
fn drawn(lines: Vec<Line>, stretch: &Stretch) -> Vec<Span> {
    let drawn = lines.into_iter().filter_map(|Line { mut span, neighbours, .. }| {
        if span.start_missing || span.end_missing {
            let drawn = neighbours.drawn(&span.edges(), stretch.now);
            (span.from, span.until) = (drawn.from, drawn.until);
            return span.overlaps(stretch).then_some(span);
        }
        Some(span)
    });
    drawn.collect()
}

/// Where to go on after a chunk whose last line is `last`, if it was cut there.
fn next(cursor: &Cursor, last: Option<&Line>, from: i64) -> Option<Cursor> {
    let newest = (i64::MAX, String::new());
    Some(match (cursor, last) {
        (Cursor::Began { .. }, Some(line)) => {
            Cursor::Began { from: line.span.from.as_micros(), id: line.id.to_string() }
        }
        (Cursor::Began { .. }, None) => Cursor::Reached { until: from, from: newest.0, id: newest.1 },
        (Cursor::Reached { .. }, Some(line)) => Cursor::Reached {
            until: line.span.until.as_micros(),
            from: line.span.from.as_micros(),
            id: line.id.to_string(),
        },
        (Cursor::Reached { .. }, None) => Cursor::Missing { from: newest.0, id: newest.1 },
        (Cursor::Missing { .. }, Some(line)) => {
            Cursor::Missing { from: line.span.from.as_micros(), id: line.id.to_string() }
        }
        (Cursor::Missing { .. }, None) => return None,
    })
}

/// A span as the database tells it.
struct Line {
    span: Span,
    id: PresenceSessionId,
    neighbours: Neighbours,
}

impl Line {
    fn read(row: &mut Fields<'_>) -> Result<Self, StoreError> {
        let (mac, ip) = (row.mac()?, row.maybe_text()?);
        let (from, until, flags) = (row.time()?, row.time()?, row.int()?);
        let span = Span {
            mac,
            ip: ip.map(str::to_owned),
            from,
            until,
            open: flags & 1 != 0,
            manual: flags & 2 != 0,
            start_missing: flags & 4 != 0,
            end_missing: flags & 8 != 0,
        };
        Ok(Self { span, id: row.parsed("session id")?, neighbours: Neighbours::read(row)? })
    }
}

impl Span {
    fn overlaps(&self, stretch: &Stretch) -> bool {
        Drawn { from: self.from, until: self.until }.overlaps(stretch.from, stretch.until)
    }

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

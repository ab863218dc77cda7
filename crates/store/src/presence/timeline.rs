//! Sessions as stretches of time, for drawing: only where they lie and what is known of their ends.

use sojourn_domain::{mac::MacAddr, time::Timestamp};

use super::{
    Columns as _,
    sessions::{Drawn, Edges, Neighbours, missing_columns},
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

/// Rows of spans in one text: fetching a row costs the driver several times what finding it costs the
/// database, and a calendar holds many. Lines end in `;`, their parts in `,`: MAC, from, until, flags, id,
/// previous end, next start, IP.
macro_rules! packed {
    ($neighbours:literal, $rows:expr) => {
        concat!(
            "SELECT string_agg(p.mac || ',' || p.from_at || ',' || p.until_at || ',' || p.flags || ',' || p.id || ",
            $neighbours,
            " || COALESCE(p.ip, ''), ';') FROM (",
            $rows,
            ") p"
        )
    };
}

macro_rules! known {
    ($which:literal) => {
        packed!(
            "',,,'",
            concat!(
                "SELECT d.mac, s.ip, s.from_at, s.until_at, s.open + 2 * s.manual AS flags, s.id \
                 FROM presence_sessions s JOIN devices d ON d.number = s.device \
                 WHERE s.started_at IS NOT NULL AND (s.ended_at IS NOT NULL OR s.open = 1) ",
                $which
            )
        )
    };
}

macro_rules! missing {
    ($which:literal) => {
        packed!(
            "',' || COALESCE(p.previous_end || '', '') || ',' || COALESCE(p.next_start || '', '') || ','",
            concat!(
                "SELECT m.mac, m.ip, m.from_at, m.until_at, m.open + 2 * m.manual \
                 + CASE WHEN m.started_at IS NULL THEN 4 ELSE 0 END \
                 + CASE WHEN m.ended_at IS NULL AND m.open = 0 THEN 8 ELSE 0 END AS flags, m.id, m.previous_end, \
                 m.next_start FROM (",
                missing_columns!(),
                ") m WHERE (m.until_at >= $2 \
                 OR (m.ended_at IS NULL AND COALESCE(m.next_start, m.from_at + 3600000000) >= $2)) \
                 AND (m.started_at IS NULL OR m.from_at < $1) AND (m.from_at, m.id) < ($3, $4) ",
                $which
            )
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
        (Cursor::Began { .. }, None) => sqlx::query(known!(
            "AND s.from_at >= $2 AND (s.from_at, s.id) < ($3, $4) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0"
        )),
        (Cursor::Began { .. }, Some(_)) => sqlx::query(known!(
            "AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             AND s.from_at >= $2 AND (s.from_at, s.id) < ($3, $4) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0"
        )),
        (Cursor::Reached { .. }, None) => sqlx::query(known!(
            "AND (s.until_at, s.from_at, s.id) > ($1, $3, $4) AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $5 + 0"
        )),
        (Cursor::Reached { .. }, Some(_)) => sqlx::query(known!(
            "AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             AND s.until_at >= $1 AND (s.until_at, +s.from_at, s.id) > ($1, $3, $4) AND +s.from_at < $2 \
             ORDER BY s.until_at, s.from_at, s.id LIMIT $5 + 0"
        )),
        (Cursor::Missing { .. }, None) => {
            sqlx::query(missing!("ORDER BY m.from_at DESC, m.id DESC LIMIT $5 + 0"))
        }
        (Cursor::Missing { .. }, Some(_)) => {
            sqlx::query(missing!("AND m.mac = $6 ORDER BY m.from_at DESC, m.id DESC LIMIT $5 + 0"))
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
    // No spans: no text.
    let text = query.fetch_one(store.read()).await?.maybe_text(0)?.unwrap_or_default();
    let mut lines = Vec::with_capacity(limit as usize);
    for line in text.split_terminator(';') {
        lines.push(Line::read(line)?);
    }
    match cursor {
        Cursor::Began { .. } | Cursor::Missing { .. } => {
            lines.sort_by(|a, b| (b.span.from, b.id).cmp(&(a.span.from, a.id)));
        }
        Cursor::Reached { .. } => {
            lines.sort_by(|a, b| (a.span.until, a.span.from, a.id).cmp(&(b.span.until, b.span.from, b.id)));
        }
    }
    let last = lines.last().filter(|_| lines.len() as u64 >= u64::from(limit));
    let next = next(cursor, last, from);
    if matches!(cursor, Cursor::Missing { .. }) {
        for line in &mut lines {
            let drawn = line.neighbours.drawn(&line.span.edges(), stretch.now);
            (line.span.from, line.span.until) = (drawn.from, drawn.until);
        }
        lines.retain(|line| line.span.overlaps(stretch));
    }
    Ok((lines.into_iter().map(|line| line.span).collect(), next))
}

/// Where to go on after a chunk whose last line is `last`, if it was cut there.
fn next(cursor: &Cursor, last: Option<&Line<'_>>, from: i64) -> Option<Cursor> {
    let newest = (i64::MAX, String::new());
    Some(match (cursor, last) {
        (Cursor::Began { .. }, Some(line)) => {
            Cursor::Began { from: line.span.from.as_micros(), id: line.id.to_owned() }
        }
        (Cursor::Began { .. }, None) => Cursor::Reached { until: from, from: newest.0, id: newest.1 },
        (Cursor::Reached { .. }, Some(line)) => Cursor::Reached {
            until: line.span.until.as_micros(),
            from: line.span.from.as_micros(),
            id: line.id.to_owned(),
        },
        (Cursor::Reached { .. }, None) => Cursor::Missing { from: newest.0, id: newest.1 },
        (Cursor::Missing { .. }, Some(line)) => {
            Cursor::Missing { from: line.span.from.as_micros(), id: line.id.to_owned() }
        }
        (Cursor::Missing { .. }, None) => return None,
    })
}

/// A span as the database tells it.
struct Line<'a> {
    span: Span,
    id: &'a str,
    neighbours: Neighbours,
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Result<Self, StoreError> {
        Self::parts(text).ok_or_else(|| StoreError::Corrupt(format!("a packed session {text:?}")))
    }

    fn parts(text: &'a str) -> Option<Self> {
        let time = |text: &str| text.parse().ok().map(Timestamp::from_micros);
        let mut parts = text.splitn(8, ',');
        let mac = parts.next()?.parse().ok()?;
        let (from, until) = (time(parts.next()?)?, time(parts.next()?)?);
        let flags: u8 = parts.next()?.parse().ok()?;
        let id = parts.next()?;
        let neighbours = Neighbours { previous_end: time(parts.next()?), next_start: time(parts.next()?) };
        let ip = parts.next()?;
        let span = Span {
            mac,
            ip: (!ip.is_empty()).then(|| ip.to_owned()),
            from,
            until,
            open: flags & 1 != 0,
            manual: flags & 2 != 0,
            start_missing: flags & 4 != 0,
            end_missing: flags & 8 != 0,
        };
        Some(Self { span, id, neighbours })
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

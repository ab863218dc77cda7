//! Presence sessions: lists by position, lists by overlap, and what people enter and delete.

use std::cmp::Reverse;

use sojourn_domain::{
    id::PresenceSessionId,
    mac::MacAddr,
    time::{Elapsed, Timestamp},
};
use sqlx::{Any, any::AnyArguments, query::Query};

use super::{Columns as _, devices};
use crate::{
    Store, StoreError,
    packed::{self, Fields, packed},
};

/// The name of a boundary that is not known, as it stands in `start_type` and `end_type`.
pub const MISSING_EVENT: &str = "<missing event>";

/// Where a missing boundary is drawn when no neighbour says better: this far from the known one.
pub const ESTIMATE: Elapsed = Elapsed::from_minutes(60);

/// A presence session as lists tell it, with all that stands in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    pub id: PresenceSessionId,
    pub mac: MacAddr,
    /// `None` where the boundary is missing.
    pub started_at: Option<Timestamp>,
    /// `None` where the boundary is missing, or while open.
    pub ended_at: Option<Timestamp>,
    /// Where the session lies in lists: its start, or the earliest moment that is known of it.
    pub from_at: Timestamp,
    /// Its end, or the latest moment that is known of it; for an open session the end of time.
    pub until_at: Timestamp,
    pub start_type: String,
    /// `None` while open.
    pub end_type: Option<String>,
    pub ip: Option<String>,
    pub info: String,
    pub open: bool,
    /// Entered by a person.
    pub manual: bool,
}

impl ListedSession {
    pub fn position(&self) -> Position {
        Position { at: self.from_at, id: self.id.to_string() }
    }

    pub fn end_missing(&self) -> bool {
        self.ended_at.is_none() && !self.open
    }
}

/// A place in a list of sessions: everything after it is older.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    at: Timestamp,
    id: String,
}

impl Position {
    /// Before the newest session.
    pub fn newest() -> Self {
        Self { at: Timestamp::from_micros(i64::MAX), id: String::new() }
    }

    /// This place, or the one before which nothing lies at `bound` or later. Folded into one bound
    /// because SQLite walks an index from one upper bound only: with two it would read every
    /// chunk from the top.
    pub(super) fn not_after(&self, bound: i64) -> (i64, &str) {
        if self.at.as_micros() < bound { (self.at.as_micros(), &self.id) } else { (bound, "") }
    }
}

/// Which sessions a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    pub mac: Option<MacAddr>,
    /// Connected at or after this moment.
    pub from: Option<Timestamp>,
    /// Disconnected before this moment, which an open session has not.
    pub until: Option<Timestamp>,
}

impl Filter {
    fn first_micros(&self) -> i64 {
        self.from.map_or(i64::MIN, Timestamp::as_micros)
    }

    /// The last `until_at` that passes.
    fn last_micros(&self) -> i64 {
        self.until.map_or(i64::MAX, |until| until.as_micros().saturating_sub(1))
    }
}

macro_rules! columns {
    () => {
        "SELECT s.id, d.mac, s.started_at, s.ended_at, s.from_at, s.until_at, s.start_type, s.end_type, s.ip, \
         s.info, s.open, s.manual FROM presence_sessions s JOIN devices d ON d.number = s.device "
    };
}

/// The sessions that a condition, an order and a limit leave of all.
macro_rules! listed {
    ($which:literal) => {
        packed!(
            {
                text id, text mac, int started_at, int ended_at, int from_at, int until_at, text start_type, text end_type,
                text ip, text info, int open, int manual,
            },
            concat!(columns!(), $which),
        )
    };
}

/// The sessions without a known start or end, each with its [`Neighbours`].
macro_rules! missing_columns {
    () => {
        "SELECT s.id, d.mac, s.started_at, s.ended_at, s.from_at, s.until_at, s.start_type, s.end_type, s.ip, \
         s.info, s.open, s.manual, \
         (SELECT MAX(p.until_at) FROM presence_sessions p WHERE p.device = s.device \
         AND p.until_at <= s.until_at AND p.ended_at IS NOT NULL AND p.id <> s.id) AS previous_end, \
         (SELECT MIN(n.from_at) FROM presence_sessions n WHERE n.device = s.device \
         AND n.from_at > s.from_at AND n.started_at IS NOT NULL) AS next_start \
         FROM presence_sessions s JOIN devices d ON d.number = s.device \
         WHERE (s.started_at IS NULL OR (s.ended_at IS NULL AND s.open = 0))"
    };
}
pub(super) use missing_columns;

fn session(row: &mut Fields<'_>) -> Result<ListedSession, StoreError> {
    Ok(ListedSession {
        id: row.parsed("session id")?,
        mac: row.mac()?,
        started_at: row.maybe_time()?,
        ended_at: row.maybe_time()?,
        from_at: row.time()?,
        until_at: row.time()?,
        start_type: row.text()?.to_owned(),
        end_type: row.maybe_text()?.map(str::to_owned),
        ip: row.maybe_text()?.map(str::to_owned),
        info: row.text()?.to_owned(),
        open: row.flag()?,
        manual: row.flag()?,
    })
}

/// Newest first.
async fn sessions(
    store: &Store,
    query: Query<'_, Any, AnyArguments>,
) -> Result<Vec<ListedSession>, StoreError> {
    let mut sessions = packed::rows(query, store.read(), session).await?;
    sessions.sort_by_key(|session| Reverse((session.from_at, session.id)));
    Ok(sessions)
}

/// Up to `limit` sessions after `after`, newest first.
pub async fn list(
    store: &Store,
    filter: &Filter,
    after: &Position,
    limit: u32,
) -> Result<Vec<ListedSession>, StoreError> {
    let query = match filter.mac {
        None => sqlx::query(listed!(
            "WHERE s.from_at >= $1 AND (s.from_at, s.id) < ($2, $3) AND s.until_at <= $4 \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0"
        )),
        Some(_) => sqlx::query(listed!(
            "WHERE s.from_at >= $1 AND (s.from_at, s.id) < ($2, $3) AND s.until_at <= $4 \
             AND s.device = (SELECT number FROM devices WHERE mac = $6) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0"
        )),
    };
    // What ended by then began by then.
    let (at, id) = after.not_after(filter.last_micros().saturating_add(1));
    let query =
        query.bind(filter.first_micros()).bind(at).bind(id).bind(filter.last_micros()).bind(i64::from(limit));
    let query = match filter.mac {
        None => query,
        Some(mac) => query.bind(mac.to_string()),
    };
    sessions(store, query).await
}

/// The sessions of one page, newest first; `offset` sessions come before it.
pub async fn page(
    store: &Store,
    filter: &Filter,
    offset: u64,
    limit: u32,
) -> Result<Vec<ListedSession>, StoreError> {
    // The ids of a page come from an index alone; only then are its rows read.
    let query = match filter.mac {
        None => sqlx::query(listed!(
            "JOIN (SELECT id FROM presence_sessions WHERE from_at >= $1 AND from_at <= $2 AND until_at <= $2 \
             ORDER BY from_at DESC, id DESC LIMIT $3 + 0 OFFSET $4 + 0) chosen ON chosen.id = s.id \
             ORDER BY s.from_at DESC, s.id DESC"
        )),
        Some(_) => sqlx::query(listed!(
            "JOIN (SELECT id FROM presence_sessions WHERE from_at >= $1 AND from_at <= $2 AND until_at <= $2 \
             AND device = (SELECT number FROM devices WHERE mac = $5) \
             ORDER BY from_at DESC, id DESC LIMIT $3 + 0 OFFSET $4 + 0) chosen ON chosen.id = s.id \
             ORDER BY s.from_at DESC, s.id DESC"
        )),
    };
    let query = query
        .bind(filter.first_micros())
        .bind(filter.last_micros())
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX));
    let query = match filter.mac {
        None => query,
        Some(mac) => query.bind(mac.to_string()),
    };
    sessions(store, query).await
}

/// How many sessions the filter lets through.
pub async fn count(store: &Store, filter: &Filter) -> Result<u64, StoreError> {
    let query = match filter.mac {
        None => sqlx::query(
            "SELECT COUNT(*) FROM presence_sessions WHERE from_at >= $1 AND from_at <= $2 AND until_at <= $2",
        ),
        Some(_) => sqlx::query(
            "SELECT COUNT(*) FROM presence_sessions WHERE from_at >= $1 AND from_at <= $2 AND until_at <= $2 \
             AND device = (SELECT number FROM devices WHERE mac = $3)",
        ),
    };
    let query = query.bind(filter.first_micros()).bind(filter.last_micros());
    let query = match filter.mac {
        None => query,
        Some(mac) => query.bind(mac.to_string()),
    };
    Ok(query.fetch_one(store.read()).await?.int(0)?.unsigned_abs())
}

/// Which sessions a summary holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    All,
    /// Those with a missing boundary.
    Missing,
}

/// How many sessions of a class are known to have lasted at or after `from`: those that began
/// since, and those that reach into that time.
pub async fn count_since(store: &Store, class: Class, from: Timestamp) -> Result<(u64, u64), StoreError> {
    let row = match class {
        Class::All => sqlx::query(
            "SELECT (SELECT COUNT(*) FROM presence_sessions WHERE from_at >= $1), \
             (SELECT COUNT(*) FROM presence_sessions WHERE until_at >= $1 AND +from_at < $1)",
        ),
        Class::Missing => sqlx::query(
            "SELECT (SELECT COUNT(*) FROM presence_sessions WHERE from_at >= $1 \
             AND (started_at IS NULL OR (ended_at IS NULL AND open = 0))), \
             (SELECT COUNT(*) FROM presence_sessions WHERE until_at >= $1 AND from_at < $1 \
             AND (started_at IS NULL OR (ended_at IS NULL AND open = 0)))",
        ),
    };
    let row = row.bind(from.as_micros()).fetch_one(store.read()).await?;
    Ok((row.int(0)?.unsigned_abs(), row.int(1)?.unsigned_abs()))
}

/// The sessions of a class that began at or after `from`, newest first, from `offset` on.
pub async fn began_since(
    store: &Store,
    class: Class,
    from: Timestamp,
    offset: u64,
    limit: u32,
) -> Result<Vec<ListedSession>, StoreError> {
    let query = match class {
        Class::All => sqlx::query(listed!(
            "JOIN (SELECT id FROM presence_sessions WHERE from_at >= $1 \
             ORDER BY from_at DESC, id DESC LIMIT $2 + 0 OFFSET $3 + 0) chosen ON chosen.id = s.id \
             ORDER BY s.from_at DESC, s.id DESC"
        )),
        Class::Missing => sqlx::query(listed!(
            "WHERE s.from_at >= $1 AND (s.started_at IS NULL OR (s.ended_at IS NULL AND s.open = 0)) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $2 + 0 OFFSET $3 + 0"
        )),
    };
    let query = query.bind(from.as_micros()).bind(i64::from(limit));
    let query = query.bind(i64::try_from(offset).unwrap_or(i64::MAX));
    sessions(store, query).await
}

/// The sessions of a class that began before `from` and are known to have lasted until then, newest
/// first, from `offset` on.
pub async fn reached_since(
    store: &Store,
    class: Class,
    from: Timestamp,
    offset: u64,
    limit: u32,
) -> Result<Vec<ListedSession>, StoreError> {
    let query = match class {
        Class::All => sqlx::query(listed!(
            "WHERE s.until_at >= $1 AND +s.from_at < $1 ORDER BY +s.from_at DESC, s.id DESC LIMIT $2 + 0 OFFSET $3 + 0"
        )),
        Class::Missing => sqlx::query(listed!(
            "WHERE s.until_at >= $1 AND s.from_at < $1 \
             AND (s.started_at IS NULL OR (s.ended_at IS NULL AND s.open = 0)) \
             ORDER BY s.from_at DESC, s.id DESC LIMIT $2 + 0 OFFSET $3 + 0"
        )),
    };
    let query = query.bind(from.as_micros()).bind(i64::from(limit));
    let query = query.bind(i64::try_from(offset).unwrap_or(i64::MAX));
    sessions(store, query).await
}

/// A device's sessions that overlap the stretch from `from` up to, not including, `until`, as they
/// are drawn (see [`Neighbours`]): newest first, up to `limit` after `after`, and where to go on.
///
/// `now` stands for the end of an open session whose start is missing.
pub async fn overlapping(
    store: &Store,
    mac: MacAddr,
    (from, until): (Timestamp, Timestamp),
    now: Timestamp,
    after: &Position,
    limit: u32,
) -> Result<(Vec<ListedSession>, Option<Position>), StoreError> {
    // Sessions that began in the stretch are a range of one index; those that began before it
    // and reach into it are a range of another; those without a boundary have their own. The plus
    // keeps either database from the index that would walk through the whole history.
    const QUERY: &str = packed!(
        {
            text id, text mac, int started_at, int ended_at, int from_at, int until_at, text start_type, text end_type,
            text ip, text info, int open, int manual, int previous_end, int next_start,
        },
        concat!("SELECT * FROM (SELECT s.id, d.mac, s.started_at, s.ended_at, s.from_at, s.until_at, s.start_type, \
         s.end_type, s.ip, s.info, s.open, s.manual, CAST(NULL AS BIGINT) AS previous_end, \
         CAST(NULL AS BIGINT) AS next_start \
         FROM presence_sessions s JOIN devices d ON d.number = s.device \
         WHERE s.id IN (SELECT id FROM (SELECT id, from_at FROM presence_sessions \
         WHERE device = (SELECT number FROM devices WHERE mac = $1) \
         AND from_at >= $2 AND (from_at, id) < ($6, $7) \
         AND started_at IS NOT NULL AND (ended_at IS NOT NULL OR open = 1) \
         ORDER BY from_at DESC, id DESC LIMIT $5 + 0) began \
         UNION ALL SELECT id FROM (SELECT id, from_at FROM presence_sessions \
         WHERE device = (SELECT number FROM devices WHERE mac = $1) \
         AND until_at > $2 AND +from_at < $2 AND (+from_at, id) < ($3, $4) \
         AND started_at IS NOT NULL AND (ended_at IS NOT NULL OR open = 1) \
         ORDER BY +from_at DESC, id DESC LIMIT $5 + 0) reached) \
         ORDER BY s.from_at DESC, s.id DESC LIMIT $5 + 0) known \
         UNION ALL SELECT * FROM (SELECT m.id, m.mac, m.started_at, m.ended_at, m.from_at, m.until_at, \
         m.start_type, m.end_type, m.ip, m.info, m.open, m.manual, m.previous_end, m.next_start FROM (",
        missing_columns!(),
        " AND s.device = (SELECT number FROM devices WHERE mac = $1) AND (s.from_at, s.id) < ($3, $4)) m \
         WHERE (m.until_at >= $2 OR (m.ended_at IS NULL AND COALESCE(m.next_start, m.from_at + 3600000000) >= $2)) \
         ORDER BY m.from_at DESC, m.id DESC LIMIT $5 + 0) missing"),
    );
    let (began_at, began_id) = after.not_after(until.as_micros());
    let query = sqlx::query(QUERY)
        .bind(mac.to_string())
        .bind(from.as_micros())
        .bind(after.at.as_micros())
        .bind(after.id.as_str())
        .bind(i64::from(limit))
        .bind(began_at)
        .bind(began_id);
    let rows = packed::rows(query, store.read(), |row| Ok((session(row)?, Neighbours::read(row)?))).await?;
    let (mut known, mut missing) = (Chunk::default(), Chunk::default());
    let mut found = Vec::with_capacity(rows.len());
    for (session, neighbours) in rows {
        let lacks = session.started_at.is_none() || session.end_missing();
        if lacks { &mut missing } else { &mut known }.note(session.position());
        if !lacks || neighbours.drawn(&session.edges(), now).overlaps(from, until) {
            found.push(session);
        }
    }
    // A list that was cut says nothing of what is older than its oldest session.
    let next = [known, missing].into_iter().filter_map(|chunk| chunk.cut(limit)).max();
    found.sort_by_key(|session| Reverse((session.from_at, session.id)));
    if let Some(next) = &next {
        found.retain(|session| (session.from_at, session.id.to_string()) >= (next.at, next.id.clone()));
    }
    Ok((found, next))
}

/// One of the lists that a chunk is put together from.
#[derive(Default)]
struct Chunk {
    length: u32,
    oldest: Option<Position>,
}

impl Chunk {
    fn note(&mut self, position: Position) {
        self.length += 1;
        if self.oldest.as_ref().is_none_or(|oldest| position < *oldest) {
            self.oldest = Some(position);
        }
    }

    /// Where it was cut, if it was.
    fn cut(self, limit: u32) -> Option<Position> {
        self.oldest.filter(|_| self.length >= limit)
    }
}

/// What an estimate of a missing boundary is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Neighbours {
    /// When the device's last known disconnection before the session's end was.
    pub previous_end: Option<Timestamp>,
    /// When the device's next known connection after the session's start was.
    pub next_start: Option<Timestamp>,
}

/// The two ends of a session, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edges {
    pub from_at: Timestamp,
    pub until_at: Timestamp,
    pub start_missing: bool,
    pub end_missing: bool,
    pub open: bool,
    pub manual: bool,
}

/// Where a session is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Drawn {
    /// Half open, except that a session without length lies where it began.
    pub fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.from < until && (self.until > from || self.from >= from)
    }
}

impl Neighbours {
    pub(super) fn read(row: &mut Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self { previous_end: row.maybe_time()?, next_start: row.maybe_time()? })
    }

    /// A missing start is drawn at the previous disconnection, else an hour before the end; a
    /// missing end at the next connection, else an hour after the start, whenever the device was
    /// last seen. A person's word is taken as the estimate. Where both are missing there is neither
    /// start nor end to count from: it is drawn around what was seen.
    pub fn drawn(self, edges: &Edges, now: Timestamp) -> Drawn {
        let mut drawn = Drawn { from: edges.from_at, until: edges.until_at };
        let both = edges.start_missing && edges.end_missing;
        if edges.start_missing && !edges.manual {
            let end = if edges.open { now } else { edges.until_at };
            let estimate = end - ESTIMATE;
            drawn.from = self.previous_end.filter(|previous| *previous <= end).unwrap_or(if both {
                estimate.min(edges.from_at)
            } else {
                estimate
            });
        }
        let said = edges.manual && edges.until_at > edges.from_at;
        if edges.end_missing && !said {
            let estimate = edges.from_at + ESTIMATE;
            drawn.until =
                self.next_start.unwrap_or(if both { estimate.max(edges.until_at) } else { estimate });
        }
        drawn
    }
}

impl ListedSession {
    pub fn edges(&self) -> Edges {
        Edges {
            from_at: self.from_at,
            until_at: self.until_at,
            start_missing: self.started_at.is_none(),
            end_missing: self.end_missing(),
            open: self.open,
            manual: self.manual,
        }
    }
}

/// What a person says of one end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    Known(Timestamp),
    /// Unknown, and drawn at the estimate; an end whose estimate is not after the start is drawn as if nobody
    /// had said anything.
    Missing {
        estimate: Timestamp,
    },
}

/// A session that a person enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    pub id: PresenceSessionId,
    pub mac: MacAddr,
    pub ip: String,
    pub start: Boundary,
    /// `None` while the device is still connected.
    pub end: Option<Boundary>,
    pub start_type: String,
    /// Ignored while the device is still connected.
    pub end_type: String,
    /// When it was entered.
    pub now: Timestamp,
}

/// What became of a [`NewSession`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    Created(ListedSession),
    /// The same session was entered before.
    AlreadyThere(ListedSession),
    /// The device has an open session, and may have only one.
    OpenExists(ListedSession),
}

/// Stores a session that a person entered. An unknown MAC becomes a device.
pub async fn create(store: &Store, new: &NewSession) -> Result<Created, StoreError> {
    let mut tx = store.begin().await?;
    let device = devices::ensure(&mut tx, new.mac, new.now).await?;
    let (started_at, from_at) = match new.start {
        Boundary::Known(at) => (Some(at), at),
        Boundary::Missing { estimate } => (None, estimate),
    };
    let (ended_at, until_at) = match new.end {
        None => (None, Timestamp::from_micros(i64::MAX)),
        Some(Boundary::Known(at)) => (Some(at), at),
        Some(Boundary::Missing { estimate }) => (None, estimate.max(from_at)),
    };
    let session = ListedSession {
        id: new.id,
        mac: new.mac,
        started_at,
        ended_at,
        from_at,
        until_at,
        start_type: new.start_type.clone(),
        end_type: new.end.map(|_| new.end_type.clone()),
        ip: Some(new.ip.clone()),
        info: String::new(),
        open: new.end.is_none(),
        manual: true,
    };
    let same = sqlx::query(listed!(
        "WHERE s.device = $1 AND s.from_at = $2 AND s.until_at = $3 AND s.manual = 1 ORDER BY s.id"
    ))
    .bind(device)
    .bind(from_at.as_micros())
    .bind(until_at.as_micros());
    for there in packed::rows(same, &mut *tx, self::session).await? {
        if (ListedSession { id: new.id, ..there.clone() }) == session {
            tx.commit().await?;
            return Ok(Created::AlreadyThere(there));
        }
    }
    if session.open {
        let open = sqlx::query(listed!("WHERE s.device = $1 AND s.open = 1")).bind(device);
        if let Some(there) = packed::rows(open, &mut *tx, self::session).await?.pop() {
            tx.rollback().await?;
            return Ok(Created::OpenExists(there));
        }
    }
    insert(&mut tx, device, &session).await?;
    tx.commit().await?;
    Ok(Created::Created(session))
}

pub(super) async fn insert(
    tx: &mut sqlx::Transaction<'_, sqlx::Any>,
    device: i64,
    session: &ListedSession,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO presence_sessions (id, device, started_at, ended_at, from_at, until_at, start_type, end_type, \
         ip, info, open, manual) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(session.id.to_string())
    .bind(device)
    .bind(session.started_at.map(Timestamp::as_micros))
    .bind(session.ended_at.map(Timestamp::as_micros))
    .bind(session.from_at.as_micros())
    .bind(session.until_at.as_micros())
    .bind(session.start_type.as_str())
    .bind(session.end_type.as_deref())
    .bind(session.ip.as_deref())
    .bind(session.info.as_str())
    .bind(i64::from(session.open))
    .bind(i64::from(session.manual))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes all sessions of a device, the open one and those entered by hand too, and says how
/// many there were. No replay of earlier events brings them back.
pub async fn delete(store: &Store, mac: MacAddr, now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    let Some(device) = devices::number(&mut tx, mac).await? else {
        tx.rollback().await?;
        return Ok(0);
    };
    let deleted = sqlx::query("DELETE FROM presence_sessions WHERE device = $1")
        .bind(device)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    sqlx::query(
        "UPDATE devices SET sessions_from_at = $2, \
         sessions_from_seq = (SELECT COALESCE(MAX(seq), 0) FROM presence_events) WHERE number = $1",
    )
    .bind(device)
    .bind(now.as_micros())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(deleted)
}

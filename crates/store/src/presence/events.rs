//! Presence events: lists by when they happened, and by when they were recorded.
//!
//! Lists are ordered by when an event happened, then by seq: an event that was recorded late stands
//! where it belongs. Only [`recorded_after`] goes by seq, for those who follow what is recorded.

use std::cmp::Reverse;

use sojourn_domain::{mac::MacAddr, time::Timestamp};
use sqlx::{Any, any::AnyArguments, query::Query};

use super::Columns as _;
use crate::{
    Store, StoreError,
    packed::{self, Fields, packed},
};

/// A presence event with what lists tell of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEvent {
    pub seq: i64,
    pub at: Timestamp,
    pub recorded_at: Timestamp,
    pub kind: String,
    pub ip: Option<String>,
    pub info: String,
    /// The time is known.
    pub certain: bool,
    pub device: i64,
    pub mac: MacAddr,
    pub device_name: String,
    pub device_hostname: String,
    pub device_vendor: String,
    pub device_owner: String,
}

impl ListedEvent {
    /// What people call its device.
    pub fn display_name(&self) -> String {
        let Self { device_name, device_hostname, device_vendor, mac, .. } = self;
        super::devices::display_name(device_name, device_hostname, device_vendor, *mac)
    }

    pub fn position(&self) -> Position {
        Position { at: self.at.as_micros(), seq: self.seq }
    }
}

/// A place in a list of events: everything after it is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    at: i64,
    seq: i64,
}

impl Position {
    /// Before the newest event.
    pub const NEWEST: Self = Self { at: i64::MAX, seq: i64::MAX };
}

/// Which kinds of events a summary holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    All,
    Voided,
    New,
    Down,
}

impl Class {
    /// The two event kinds; the same one twice where it is one.
    const fn kinds(self) -> (&'static str, &'static str) {
        match self {
            Self::All => ("", ""),
            Self::Voided => ("VOIDED - Connected", "VOIDED - Disconnected"),
            Self::New => ("New Device", "New Device"),
            Self::Down => ("Device Down", "Device Down"),
        }
    }
}

/// Which events a list holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub mac: Option<MacAddr>,
    pub kind: Option<String>,
    pub from: Option<Timestamp>,
    /// Not included.
    pub until: Option<Timestamp>,
    /// Only events that were recorded after this one.
    pub after_seq: Option<i64>,
}

macro_rules! columns {
    () => {
        "SELECT e.seq, e.at, e.recorded_at, e.type, e.ip, e.info, e.certain, e.device, d.mac, d.name, d.hostname, \
         d.vendor, d.owner FROM presence_events e JOIN devices d ON d.number = e.device "
    };
}

/// The events that a condition, an order and a limit leave of all.
macro_rules! listed {
    ($which:literal) => {
        packed!(
            {
                int seq, int at, int recorded_at, text type, text ip, text info, int certain, int device, text mac,
                text name, text hostname, text vendor, text owner,
            },
            concat!(columns!(), $which),
        )
    };
}

fn event(row: &mut Fields<'_>) -> Result<ListedEvent, StoreError> {
    Ok(ListedEvent {
        seq: row.int()?,
        at: row.time()?,
        recorded_at: row.time()?,
        kind: row.text()?.to_owned(),
        ip: row.maybe_text()?.map(str::to_owned),
        info: row.text()?.to_owned(),
        certain: row.flag()?,
        device: row.int()?,
        mac: row.mac()?,
        device_name: row.text()?.to_owned(),
        device_hostname: row.text()?.to_owned(),
        device_vendor: row.text()?.to_owned(),
        device_owner: row.text()?.to_owned(),
    })
}

/// The latest first.
async fn events(store: &Store, query: Query<'_, Any, AnyArguments>) -> Result<Vec<ListedEvent>, StoreError> {
    let mut events = packed::rows(query, store.read(), event).await?;
    events.sort_by_key(|event| Reverse((event.at, event.seq)));
    Ok(events)
}

/// Up to `limit` events after `after`, the latest first.
pub async fn list(
    store: &Store,
    filter: &Filter,
    after: Position,
    limit: u32,
) -> Result<Vec<ListedEvent>, StoreError> {
    let query = match (filter.mac, &filter.kind) {
        (None, None) => sqlx::query(listed!(
            "WHERE e.at >= $1 AND (e.at, e.seq) < ($2, $3) AND e.seq > $4 \
             ORDER BY e.at DESC, e.seq DESC LIMIT $5 + 0"
        )),
        (None, Some(_)) => sqlx::query(listed!(
            "WHERE e.at >= $1 AND (e.at, e.seq) < ($2, $3) AND e.seq > $4 AND e.type = $6 \
             ORDER BY e.at DESC, e.seq DESC LIMIT $5 + 0"
        )),
        (Some(_), kind) => sqlx::query(match kind {
            None => listed!(
                "WHERE e.at >= $1 AND (e.at, e.seq) < ($2, $3) AND e.seq > $4 \
                 AND e.device = (SELECT number FROM devices WHERE mac = $6) \
                 ORDER BY e.at DESC, e.seq DESC LIMIT $5 + 0"
            ),
            Some(_) => listed!(
                "WHERE e.at >= $1 AND (e.at, e.seq) < ($2, $3) AND e.seq > $4 \
                 AND e.device = (SELECT number FROM devices WHERE mac = $6) AND e.type = $7 \
                 ORDER BY e.at DESC, e.seq DESC LIMIT $5 + 0"
            ),
        }),
    };
    // Both bounds in one: SQLite walks an index from one upper bound only.
    let until = filter.until.map_or(i64::MAX, Timestamp::as_micros);
    let (at, seq) = if after.at < until { (after.at, after.seq) } else { (until, i64::MIN) };
    let query = query
        .bind(filter.from.map_or(i64::MIN, Timestamp::as_micros))
        .bind(at)
        .bind(seq)
        .bind(filter.after_seq.unwrap_or(i64::MIN))
        .bind(i64::from(limit));
    let query = match filter.mac {
        None => query,
        Some(mac) => query.bind(mac.to_string()),
    };
    let query = match &filter.kind {
        None => query,
        Some(kind) => query.bind(kind.as_str()),
    };
    events(store, query).await
}

/// Where the event with this seq stands; where it is gone, the one recorded before it. `None` when
/// there is none.
pub async fn position(store: &Store, seq: i64) -> Result<Option<Position>, StoreError> {
    let row = sqlx::query("SELECT at, seq FROM presence_events WHERE seq <= $1 ORDER BY seq DESC LIMIT 1")
        .bind(seq)
        .fetch_optional(store.read())
        .await?;
    row.map(|row| Ok(Position { at: row.int(0)?, seq: row.int(1)? })).transpose()
}

/// Up to `limit` events that were recorded after `seq`, in that order.
pub async fn recorded_after(store: &Store, seq: i64, limit: u32) -> Result<Vec<ListedEvent>, StoreError> {
    let query = sqlx::query(listed!("WHERE e.seq > $1 ORDER BY e.seq LIMIT $2 + 0"));
    let mut events = packed::rows(query.bind(seq).bind(i64::from(limit)), store.read(), event).await?;
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// The seq of the event that was recorded last; 0 when there is none.
pub async fn latest_seq(store: &Store) -> Result<i64, StoreError> {
    sqlx::query("SELECT COALESCE(MAX(seq), 0) FROM presence_events").fetch_one(store.read()).await?.int(0)
}

/// How many events of a class happened at or after `from`.
pub async fn count(store: &Store, class: Class, from: Timestamp) -> Result<u64, StoreError> {
    let query = match class {
        Class::All => sqlx::query("SELECT COUNT(*) FROM presence_events WHERE at >= $1"),
        Class::Voided | Class::New | Class::Down => {
            sqlx::query("SELECT COUNT(*) FROM presence_events WHERE at >= $1 AND type IN ($2, $3)")
        }
    };
    let (a, b) = class.kinds();
    let query = query.bind(from.as_micros());
    let query = if class == Class::All { query } else { query.bind(a).bind(b) };
    Ok(query.fetch_one(store.read()).await?.int(0)?.unsigned_abs())
}

/// The events of one page of a class, the latest first; `offset` events come before it.
pub async fn page(
    store: &Store,
    class: Class,
    from: Timestamp,
    offset: u64,
    limit: u32,
) -> Result<Vec<ListedEvent>, StoreError> {
    // The seqs of a page come from an index alone; only then are its rows read.
    let query = match class {
        Class::All => sqlx::query(listed!(
            "JOIN (SELECT seq FROM presence_events WHERE at >= $1 ORDER BY at DESC, seq DESC LIMIT $2 + 0 OFFSET $3 + 0) \
             chosen ON chosen.seq = e.seq ORDER BY e.at DESC, e.seq DESC"
        )),
        Class::Voided | Class::New | Class::Down => sqlx::query(listed!(
            "JOIN (SELECT seq FROM presence_events WHERE at >= $1 AND type IN ($4, $5) \
             ORDER BY at DESC, seq DESC LIMIT $2 + 0 OFFSET $3 + 0) \
             chosen ON chosen.seq = e.seq ORDER BY e.at DESC, e.seq DESC"
        )),
    };
    let query =
        query.bind(from.as_micros()).bind(i64::from(limit)).bind(i64::try_from(offset).unwrap_or(i64::MAX));
    let (a, b) = class.kinds();
    let query = if class == Class::All { query } else { query.bind(a).bind(b) };
    events(store, query).await
}

/// Up to `limit` events of a class after `after`, the latest first.
pub async fn scan(
    store: &Store,
    class: Class,
    from: Timestamp,
    after: Position,
    limit: u32,
) -> Result<Vec<ListedEvent>, StoreError> {
    let query = match class {
        Class::All => sqlx::query(listed!(
            "WHERE e.at >= $1 AND (e.at, e.seq) < ($2, $3) ORDER BY e.at DESC, e.seq DESC LIMIT $4 + 0"
        )),
        Class::Voided | Class::New | Class::Down => sqlx::query(listed!(
            "WHERE e.at >= $1 AND (e.at, e.seq) < ($2, $3) AND e.type IN ($5, $6) \
             ORDER BY e.at DESC, e.seq DESC LIMIT $4 + 0"
        )),
    };
    let query = query.bind(from.as_micros()).bind(after.at).bind(after.seq).bind(i64::from(limit));
    let (a, b) = class.kinds();
    let query = if class == Class::All { query } else { query.bind(a).bind(b) };
    events(store, query).await
}

//! `session-events` and `totals`: events and sessions in the rows that NetAlertX's tables read.
//!
//! In order of time and without a search, a page is read from an index. Any other order, and any
//! search, reads the whole period once and keeps the rows of the pages up to the one asked for: memory is
//! bounded by the page, and the deepest such page is limited.

use std::{cmp::Reverse, collections::BinaryHeap, net::IpAddr};

use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use sojourn_domain::{presence::Period, time::Timestamp};
use sojourn_store::{
    Store, StoreError,
    presence::{
        CHUNK,
        devices::{self, Device},
        events::{self, ListedEvent},
        sessions::{self, ListedSession},
    },
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, ArrayItems, ObjectBuilder, SchemaType, Type as JsonType},
    },
};
use utoipa_axum::routes;

use crate::http::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Query},
    page::Page,
    problem::Problem,
    wire::{
        local::{LocalTimes, duration},
        schema,
        sessions::{boundaries, duration_of},
    },
};
use crate::state::AppState;

const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
/// The deepest row of a list that is searched or sorted by something else than time.
const MAX_DEPTH: u64 = 100_000;
/// What is asked for without a period.
const PERIOD: Period = Period::days(7);

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(session_events)).routes(routes!(totals))
}

/// What a summary holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Type {
    #[default]
    All,
    Sessions,
    Missing,
    Voided,
    New,
    Down,
}

/// Whether a type is one of events or of sessions.
#[derive(Debug, Clone, Copy)]
enum Class {
    Events(events::Class),
    Sessions(sessions::Class),
}

impl Type {
    const fn class(self) -> Class {
        match self {
            Self::All => Class::Events(events::Class::All),
            Self::Voided => Class::Events(events::Class::Voided),
            Self::New => Class::Events(events::Class::New),
            Self::Down => Class::Events(events::Class::Down),
            Self::Sessions => Class::Sessions(sessions::Class::All),
            Self::Missing => Class::Sessions(sessions::Class::Missing),
        }
    }
}

/// What rows are sorted by. NetAlertX's column numbers are understood too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    #[serde(alias = "0", alias = "3")]
    Time,
    #[serde(alias = "1")]
    Name,
    #[serde(alias = "2")]
    Owner,
    #[serde(alias = "4")]
    Type,
    #[serde(alias = "5")]
    Connection,
    #[serde(alias = "6")]
    Disconnection,
    #[serde(alias = "7", alias = "8")]
    Duration,
    #[serde(alias = "9", alias = "10")]
    Ip,
    #[serde(alias = "11")]
    Info,
    #[serde(alias = "13")]
    Mac,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Dir {
    Asc,
    Desc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// `data`: rows of 15 columns in NetAlertX's order.
    #[default]
    Rows,
    /// `events`: objects with names.
    Objects,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SummaryQuery {
    /// `all` events, unless said otherwise.
    #[serde(default)]
    #[param(inline, required = false)]
    r#type: Type,
    /// `7 days` unless said otherwise.
    #[param(schema_with = schema::period, required = false)]
    period: Option<Period>,
    #[param(minimum = 1, maximum = 1000000)]
    page: Option<u32>,
    /// Cut to 1000; 100 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
    /// Text that a row holds, in any case.
    search: Option<String>,
    /// `time` unless said otherwise. NetAlertX's column numbers are understood too.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: Sort,
    /// `desc` for times, `asc` for the rest, unless said otherwise.
    #[param(inline)]
    dir: Option<Dir>,
    #[serde(default)]
    #[param(inline, required = false)]
    format: Format,
}

/// A summary's row as an object.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SummaryEvent {
    /// What rows are ordered by.
    #[schema(format = DateTime)]
    time: String,
    /// The device's name, else what it is called instead.
    name: String,
    owner: String,
    /// Local time of the event; null for sessions.
    date: Option<String>,
    /// Null for sessions.
    r#type: Option<String>,
    /// Local time or `<missing event>`; null for events.
    connection: Option<String>,
    /// Local time, `<missing event>` or `...`; null for events.
    disconnection: Option<String>,
    /// Null for events.
    duration: Option<String>,
    /// Null for events, and where a boundary is missing.
    duration_seconds: Option<i64>,
    ip: String,
    /// The IPv4 address as a number, else -1.
    ip_number: i64,
    info: String,
    /// Null for events.
    still_connected: Option<u8>,
    mac: String,
    /// Always 0: there are no alerts that wait.
    pending_alert: u8,
}

/// The row in NetAlertX's columns.
#[derive(Debug, Serialize)]
struct Row(
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    String,
    i64,
    String,
    Option<u8>,
    String,
    u8,
);

impl PartialSchema for Row {
    fn schema() -> RefOr<Schema> {
        let cell = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([JsonType::String, JsonType::Integer, JsonType::Null]))
            .build();
        ArrayBuilder::new()
            .items(ArrayItems::RefOrSchema(Box::new(cell.into())))
            .min_items(Some(15))
            .max_items(Some(15))
            .description(Some("A row in NetAlertX's columns"))
            .into()
    }
}

impl ToSchema for Row {}

/// A page of rows of 15 columns: 0 order time (UTC), 1 device name, 2 owner, 3 event date, 4 event type,
/// 5 connection, 6 disconnection, 7 duration, 8 duration in seconds, 9 IP, 10 IP as a number, 11 info, 12 still
/// connected, 13 MAC, 14 pending alert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SummaryRows {
    /// Always `true`.
    success: bool,
    /// How many there are in the period.
    #[schema(minimum = 0)]
    total: u64,
    /// How many of them the search lets through.
    #[schema(minimum = 0)]
    records_filtered: u64,
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    data: Vec<Row>,
}

/// A page of objects.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SummaryEvents {
    /// Always `true`.
    success: bool,
    /// How many there are in the period.
    #[schema(minimum = 0)]
    total: u64,
    /// How many of them the search lets through.
    #[schema(minimum = 0)]
    records_filtered: u64,
    events: Vec<SummaryEvent>,
}

/// One of the two.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only describes the answer")]
enum Summary {
    Rows(SummaryRows),
    Events(SummaryEvents),
}

/// Summary of events or sessions
#[utoipa::path(
    get, path = "/sessions/session-events", tag = "presence", params(SummaryQuery),
    responses((status = 200, body = Summary))
)]
async fn session_events(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<SummaryQuery>,
) -> Result<Response, Problem> {
    let page = Page::new(query.page, query.limit, PAGE, MAX_PAGE)?;
    let now = state.now();
    let from = query.period.unwrap_or(PERIOD).start(now, &state.zone);
    let ascending = match query.dir {
        Some(dir) => dir == Dir::Asc,
        None => !matches!(query.sort, Sort::Time | Sort::Connection | Sort::Disconnection),
    };
    let class = query.r#type.class();
    let search = query.search.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    let mut writer = Writer::new(&state, now);
    let total = count(&state.store, class, from).await?;
    let (offset, limit) = (page.offset().unsigned_abs(), u64::from(page.limit));
    let (filtered, rows) = if search.is_none() && query.sort == Sort::Time {
        // The last page of a list is the first of its reverse.
        let end = (offset + limit).min(total);
        let start = offset.min(end);
        let first = if ascending { total - end } else { start };
        let mut rows = read(&state.store, class, from, first, end - start, &mut writer).await?;
        if ascending {
            rows.reverse();
        }
        (total, rows)
    } else {
        let depth = offset + limit;
        if depth > MAX_DEPTH {
            let message =
                format!("a list that is searched or sorted ends after {MAX_DEPTH} rows: search for more");
            return Err(Problem::invalid("page", message));
        }
        let order = Order { sort: query.sort, ascending };
        scan(&state.store, class, from, search.as_deref(), order, (offset, depth), &mut writer).await?
    };
    Ok(match query.format {
        Format::Rows => {
            let data = rows.into_iter().map(Row::from).collect();
            Json(SummaryRows { success: true, total, records_filtered: filtered, data }).into_response()
        }
        Format::Objects => {
            Json(SummaryEvents { success: true, total, records_filtered: filtered, events: rows })
                .into_response()
        }
    })
}

async fn count(store: &Store, class: Class, from: Timestamp) -> Result<u64, StoreError> {
    match class {
        Class::Events(class) => events::count(store, class, from).await,
        Class::Sessions(class) => {
            let (began, reached) = sessions::count_since(store, class, from).await?;
            Ok(began + reached)
        }
    }
}

/// The rows from `first` on, the latest first.
async fn read(
    store: &Store,
    class: Class,
    from: Timestamp,
    first: u64,
    limit: u64,
    writer: &mut Writer,
) -> Result<Vec<SummaryEvent>, StoreError> {
    let rows = u32::try_from(limit).unwrap_or(MAX_PAGE);
    match class {
        Class::Events(class) => {
            let found = events::page(store, class, from, first, rows).await?;
            Ok(found.iter().map(|event| writer.event(event)).collect())
        }
        Class::Sessions(class) => {
            let (began, _) = sessions::count_since(store, class, from).await?;
            let mut found = Vec::new();
            if first < began {
                found = sessions::began_since(store, class, from, first, rows).await?;
            }
            let rest = u64::from(rows).saturating_sub(found.len() as u64);
            if rest > 0 && first + u64::from(rows) > began {
                let offset = first.saturating_sub(began);
                let rest = u32::try_from(rest).unwrap_or(MAX_PAGE);
                found.extend(sessions::reached_since(store, class, from, offset, rest).await?);
            }
            writer.learn_devices(store).await?;
            Ok(found.iter().map(|session| writer.session(session)).collect())
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Order {
    sort: Sort,
    ascending: bool,
}

/// What a row is sorted by; rows that are alike go by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i128),
    Text(String),
}

impl Order {
    fn key(self, row: &SummaryEvent) -> Key {
        let text = |text: &str| Key::Text(text.to_lowercase());
        let maybe = |value: &Option<String>| Key::Text(value.clone().unwrap_or_default());
        match self.sort {
            Sort::Time => Key::Text(row.time.clone()),
            Sort::Name => text(&row.name),
            Sort::Owner => text(&row.owner),
            Sort::Type => maybe(&row.r#type),
            Sort::Connection => maybe(&row.connection),
            Sort::Disconnection => maybe(&row.disconnection),
            Sort::Duration => Key::Number(row.duration_seconds.unwrap_or(-1).into()),
            Sort::Ip => Key::Number(match row.ip.parse::<IpAddr>() {
                Ok(IpAddr::V4(v4)) => v4.to_bits().into(),
                // Only the order among addresses matters: halved, the largest still fits.
                Ok(IpAddr::V6(v6)) => (v6.to_bits() >> 1) as i128 + (1 << 33),
                Err(_) => -1,
            }),
            Sort::Info => text(&row.info),
            Sort::Mac => Key::Text(row.mac.clone()),
        }
    }
}

/// A row in its place: `place` counts rows from the latest on.
struct Ranked {
    key: Key,
    place: u64,
    row: SummaryEvent,
}

impl Ranked {
    fn rank(&self) -> (&Key, u64) {
        (&self.key, self.place)
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Keeps the first `depth` rows in an order.
enum Best {
    Ascending(BinaryHeap<Ranked>),
    Descending(BinaryHeap<Reverse<Ranked>>),
}

impl Best {
    fn offer(&mut self, ranked: Ranked, depth: usize) {
        match self {
            Self::Ascending(heap) => {
                heap.push(ranked);
                if heap.len() > depth {
                    heap.pop();
                }
            }
            Self::Descending(heap) => {
                // In descending order the latest of those that are alike still come first.
                heap.push(Reverse(Ranked { place: u64::MAX - ranked.place, ..ranked }));
                if heap.len() > depth {
                    heap.pop();
                }
            }
        }
    }

    fn into_rows(self) -> Vec<SummaryEvent> {
        match self {
            Self::Ascending(heap) => heap.into_sorted_vec().into_iter().map(|ranked| ranked.row).collect(),
            Self::Descending(heap) => {
                heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.row).collect()
            }
        }
    }
}

/// Reads the whole period; says how many rows the search lets through, and gives those of one page.
async fn scan(
    store: &Store,
    class: Class,
    from: Timestamp,
    search: Option<&str>,
    order: Order,
    (offset, depth): (u64, u64),
    writer: &mut Writer,
) -> Result<(u64, Vec<SummaryEvent>), StoreError> {
    let mut best = match order.ascending {
        true => Best::Ascending(BinaryHeap::new()),
        false => Best::Descending(BinaryHeap::new()),
    };
    let depth = usize::try_from(depth).unwrap_or(usize::MAX);
    let mut passed = 0;
    let mut take = |row: SummaryEvent| {
        if search.is_none_or(|text| row.holds(text)) {
            best.offer(Ranked { key: order.key(&row), place: passed, row }, depth);
            passed += 1;
        }
    };
    match class {
        Class::Events(class) => {
            let mut position = events::Position::NEWEST;
            loop {
                let found = events::scan(store, class, from, position, CHUNK).await?;
                found.iter().for_each(|event| take(writer.event(event)));
                match found.last() {
                    Some(last) if found.len() == CHUNK as usize => position = last.position(),
                    _ => break,
                }
            }
        }
        Class::Sessions(class) => {
            writer.learn_devices(store).await?;
            for began in [true, false] {
                let mut offset = 0;
                loop {
                    let found = match began {
                        true => sessions::began_since(store, class, from, offset, CHUNK).await?,
                        false => sessions::reached_since(store, class, from, offset, CHUNK).await?,
                    };
                    found.iter().for_each(|session| take(writer.session(session)));
                    offset += found.len() as u64;
                    if found.len() < CHUNK as usize {
                        break;
                    }
                }
            }
        }
    }
    let rows = best.into_rows().into_iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).collect();
    Ok((passed, rows))
}

/// Makes rows of events and sessions.
struct Writer {
    times: LocalTimes,
    now: Timestamp,
    devices: std::collections::HashMap<sojourn_domain::mac::MacAddr, (String, String)>,
}

impl Writer {
    fn new(state: &AppState, now: Timestamp) -> Self {
        Self { times: LocalTimes::new(&state.zone), now, devices: std::collections::HashMap::new() }
    }

    /// Sessions do not carry the names of their devices.
    async fn learn_devices(&mut self, store: &Store) -> Result<(), StoreError> {
        let named = |device: Device| (device.mac, (device.display_name(), device.owner));
        self.devices = devices::all(store).await?.into_iter().map(named).collect();
        Ok(())
    }

    fn local(&mut self, at: Timestamp) -> String {
        let mut text = String::with_capacity(16);
        self.times.minutes(at, &mut text);
        text
    }

    fn event(&mut self, event: &ListedEvent) -> SummaryEvent {
        let ip = event.ip.clone().unwrap_or_default();
        SummaryEvent {
            time: event.at.rfc3339(),
            name: event.display_name(),
            owner: event.device_owner.clone(),
            date: Some(self.local(event.at)),
            r#type: Some(event.kind.clone()),
            connection: None,
            disconnection: None,
            duration: None,
            duration_seconds: None,
            ip_number: ip_number(&ip),
            ip,
            info: event.info.clone(),
            still_connected: None,
            mac: event.mac.to_string(),
            pending_alert: 0,
        }
    }

    fn session(&mut self, session: &ListedSession) -> SummaryEvent {
        let (mut connection, mut disconnection, mut length) = (String::new(), String::new(), String::new());
        boundaries(&mut self.times, session, &mut connection, &mut disconnection);
        let known = duration_of(session, self.now);
        match known {
            Some(known) => duration(known, &mut length),
            None => length.push_str("..."),
        }
        let ip = session.ip.clone().unwrap_or_default();
        let (name, owner) = self.devices.get(&session.mac).cloned().unwrap_or_default();
        SummaryEvent {
            time: session.from_at.rfc3339(),
            name,
            owner,
            date: None,
            r#type: None,
            connection: Some(connection),
            disconnection: Some(disconnection),
            duration: Some(length),
            duration_seconds: known.map(|known| known.as_secs()),
            ip_number: ip_number(&ip),
            ip,
            info: session.info.clone(),
            still_connected: Some(session.open.into()),
            mac: session.mac.to_string(),
            pending_alert: 0,
        }
    }
}

fn ip_number(ip: &str) -> i64 {
    ip.parse::<std::net::Ipv4Addr>().map_or(-1, |ip| ip.to_bits().into())
}

impl SummaryEvent {
    /// The row holds the text, which is in lower case.
    fn holds(&self, text: &str) -> bool {
        let holds = |cell: &str| cell.to_lowercase().contains(text);
        let maybe = |cell: &Option<String>| cell.as_deref().is_some_and(holds);
        holds(&self.name)
            || holds(&self.owner)
            || holds(&self.ip)
            || holds(&self.mac)
            || holds(&self.info)
            || maybe(&self.r#type)
            || maybe(&self.date)
            || maybe(&self.connection)
            || maybe(&self.disconnection)
            || maybe(&self.duration)
    }
}

impl From<SummaryEvent> for Row {
    fn from(event: SummaryEvent) -> Self {
        // Column 0 is NetAlertX's: UTC, to the second.
        let time = event.time.get(..19).unwrap_or_default().replace('T', " ");
        Self(
            time,
            event.name,
            event.owner,
            event.date,
            event.r#type,
            event.connection,
            event.disconnection,
            event.duration,
            event.duration_seconds,
            event.ip,
            event.ip_number,
            event.info,
            event.still_connected,
            event.mac,
            event.pending_alert,
        )
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TotalsQuery {
    /// `7 days` unless said otherwise.
    #[param(schema_with = schema::period, required = false)]
    period: Option<Period>,
}

/// How many rows each type of summary has: all, sessions, missing, voided, new, down
#[utoipa::path(
    get, path = "/sessions/totals", tag = "presence", operation_id = "session_totals", params(TotalsQuery),
    responses((status = 200, body = [u64]))
)]
async fn totals(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<TotalsQuery>,
) -> Result<Json<[u64; 6]>, Problem> {
    let from = query.period.unwrap_or(PERIOD).start(state.now(), &state.zone);
    let mut counts = [0; 6];
    let types = [Type::All, Type::Sessions, Type::Missing, Type::Voided, Type::New, Type::Down];
    for (slot, kind) in counts.iter_mut().zip(types) {
        *slot = count(&state.store, kind.class(), from).await?;
    }
    Ok(Json(counts))
}

//! `session-events` and `totals`: events and sessions in the rows that NetAlertX's tables read.
//!
//! In order of time and without a search, a page is read from an index. Any other order, and any
//! search, reads the whole period and keeps the rows of the pages up to the one asked for. A page that
//! lies deep is found from the nearer end of the list, in a few more readings and in bounded memory
//! ([`super::ranking`]).

use std::net::IpAddr;

use axum::response::{IntoResponse as _, Response};
use jiff::tz::TimeZone;
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

use super::ranking::{Direction, Finder, Key, Place, Rank};
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

const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
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
    let mut writer = Writer::new(&state.zone, now);
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
        let order = Order { sort: query.sort, ascending };
        let search = Search { store: &state.store, class, from, text: search.as_deref(), order };
        search.page((offset, limit), BOUNDS, &mut writer).await?
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

/// What is held in memory while a list is searched or sorted.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Rows of the pages up to the one asked for; deeper pages are found by their ranks.
    rows: u64,
    ranks: u64,
}

const BOUNDS: Bounds = Bounds { rows: 10_000, ranks: 100_000 };

/// A list that is searched or sorted by something else than time.
struct Search<'a> {
    store: &'a Store,
    class: Class,
    from: Timestamp,
    text: Option<&'a str>,
    order: Order,
}

impl Search<'_> {
    /// How many rows pass, and those of one page.
    async fn page(
        &self,
        (offset, limit): (u64, u64),
        bounds: Bounds,
        writer: &mut Writer,
    ) -> Result<(u64, Vec<SummaryEvent>), StoreError> {
        let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let forwards = Direction { ascending: self.order.ascending, backwards: false };
        // In one visit, where the page is near the beginning; else the first counts.
        let depth = offset.saturating_add(limit);
        let near = depth <= bounds.rows;
        let mut first = Finder::new(forwards, None, if near { size(depth) } else { 0 });
        let mut passed = 0;
        self.visit(writer, |rank, row| {
            passed += 1;
            first.offer(rank, row);
        })
        .await?;
        if near || offset >= passed {
            let rows = first.into_rows().into_iter().skip(size(offset)).map(|(_, row)| row);
            return Ok((passed, rows.collect()));
        }
        let end = depth.min(passed);
        let backwards = offset > passed / 2;
        let direction = Direction { backwards, ..forwards };
        let mut before = if backwards { passed - end } else { offset };
        let mut after = None;
        while before > 0 {
            let step = before.min(bounds.ranks);
            let mut finder = Finder::new(direction, after.take(), size(step));
            self.visit(writer, |rank, _| finder.offer(rank, ())).await?;
            after = finder.into_rows().pop().map(|(rank, ())| rank);
            before -= step;
        }
        let mut finder = Finder::new(direction, after, size(end - offset));
        self.visit(writer, |rank, row| finder.offer(rank, row)).await?;
        let mut rows: Vec<_> = finder.into_rows().into_iter().map(|(_, row)| row).collect();
        if backwards {
            rows.reverse();
        }
        Ok((passed, rows))
    }

    /// Reads the whole period, and gives every row that the search lets through.
    async fn visit(
        &self,
        writer: &mut Writer,
        mut take: impl FnMut(Rank, SummaryEvent),
    ) -> Result<(), StoreError> {
        let mut give = |place: Place, row: SummaryEvent| {
            if self.text.is_none_or(|text| row.holds(text)) {
                take((self.order.key(&row), place), row);
            }
        };
        match self.class {
            Class::Events(class) => {
                let mut position = events::Position::NEWEST;
                loop {
                    let found = events::scan(self.store, class, self.from, position, CHUNK).await?;
                    for event in &found {
                        give(Place::event(event.at, event.seq), writer.event(event));
                    }
                    match found.last() {
                        Some(last) if found.len() == CHUNK as usize => position = last.position(),
                        _ => break,
                    }
                }
            }
            Class::Sessions(class) => {
                writer.learn_devices(self.store).await?;
                for began in [true, false] {
                    let mut offset = 0;
                    loop {
                        let read = match began {
                            true => sessions::began_since(self.store, class, self.from, offset, CHUNK).await,
                            false => {
                                sessions::reached_since(self.store, class, self.from, offset, CHUNK).await
                            }
                        };
                        let found = read?;
                        for session in &found {
                            give(Place::session(session.from_at, session.id), writer.session(session));
                        }
                        offset += found.len() as u64;
                        if found.len() < CHUNK as usize {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Makes rows of events and sessions.
struct Writer {
    times: LocalTimes,
    now: Timestamp,
    devices: std::collections::HashMap<sojourn_domain::mac::MacAddr, (String, String)>,
}

impl Writer {
    fn new(zone: &TimeZone, now: Timestamp) -> Self {
        Self { times: LocalTimes::new(zone), now, devices: std::collections::HashMap::new() }
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

#[cfg(test)]
mod tests {
    use sojourn_domain::{mac::MacAddr, time::Elapsed};
    use sojourn_store::{
        Entropy,
        presence::sessions::{Boundary, NewSession},
    };
    use sojourn_testbed::both_databases;

    use super::*;

    #[tokio::test]
    async fn a_deep_page_is_the_same_in_bounded_memory() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let start = Timestamp::from_secs(1_750_000_000);
            for n in 0..60_u8 {
                let at = start + Elapsed::from_minutes(i64::from(n));
                // Many are alike in what they are sorted by.
                let new = NewSession {
                    id: Entropy.id(at),
                    mac: MacAddr::new([2, 0, 0, 0, 0, n % 7]),
                    ip: format!("192.0.2.{}", n % 5),
                    start: Boundary::Known(at),
                    end: Some(Boundary::Known(at + Elapsed::from_minutes(i64::from(n % 4)))),
                    start_type: "Connected".to_owned(),
                    end_type: "Disconnected".to_owned(),
                    now: at,
                };
                sessions::create(&store, &new).await.unwrap();
            }
            let class = Class::Sessions(sessions::Class::All);
            // Some reach into the period only.
            let from = start + Elapsed::from_secs(20 * 60 + 30);
            for (sort, text) in [
                (Sort::Duration, None),
                (Sort::Ip, Some("192.0.2.")),
                (Sort::Mac, None),
                (Sort::Time, Some("02:00:00:00:00:03")),
            ] {
                for ascending in [true, false] {
                    let search =
                        Search { store: &store, class, from, text, order: Order { sort, ascending } };
                    let mut writer = Writer::new(&TimeZone::UTC, start);
                    let plenty = Bounds { rows: 1_000, ranks: 1_000 };
                    let (count, all) = search.page((0, 100), plenty, &mut writer).await.unwrap();
                    assert_eq!(all.len() as u64, count);
                    let few = Bounds { rows: 4, ranks: 3 };
                    let mut paged = Vec::new();
                    for page in 0..=count / 4 {
                        let (same, rows) = search.page((page * 4, 4), few, &mut writer).await.unwrap();
                        assert_eq!(same, count);
                        paged.extend(rows);
                    }
                    let told = |rows: &[SummaryEvent]| format!("{rows:?}");
                    assert_eq!(told(&paged), told(&all), "{sort:?} {ascending}");
                    assert!(search.page((count + 8, 4), few, &mut writer).await.unwrap().1.is_empty());
                }
            }
        })
        .await;
    }
}

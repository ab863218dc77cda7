//! Presence over time: counts, all devices side by side, and one device.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    mac::MacAddr,
    time::{Elapsed, Timestamp},
};
use sojourn_store::presence::{
    CHUNK, counts, devices as store_devices,
    events::{self, Position},
    sources,
    timeline::{self, Cursor, Span, Stretch},
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, ArrayItems, ObjectBuilder, Type},
    },
};
use utoipa_axum::routes;

use crate::{
    http::{
        Routes,
        actor::{Allowed, may},
        devices::{DevicePath, ListQuery, Sort, of_page, select, unknown},
        extract::{Json, Path, Query},
        page::Page,
        problem::Problem,
        wire::{self, Time, devices::StateWire, events::EventWire, schema, sources::GapWire},
    },
    state::AppState,
};

/// Rows of counts that an answer holds at most, about.
const POINTS: u32 = 1498;
/// Devices on a page.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 200;
/// Intervals that lie closer together than this part of the stretch are drawn as one.
const RESOLUTION: i64 = 4000;
/// Gaps of sources that an answer holds at most, the latest ones.
const GAPS: u32 = 1000;
/// Events and intervals of one device that an answer holds at most, the latest ones.
const EVENTS: u32 = 1000;
const INTERVALS: usize = 10_000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(history)).routes(routes!(all)).routes(routes!(of_device))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct StretchQuery {
    /// A day before `to` unless said otherwise.
    #[param(schema_with = schema::date, required = false)]
    from: Option<String>,
    /// Now unless said otherwise; of a day, its end.
    #[param(schema_with = schema::date, required = false)]
    to: Option<String>,
}

impl StretchQuery {
    fn read(&self, state: &AppState) -> Result<(Timestamp, Timestamp), Problem> {
        let until = wire::end(state, "to", self.to.as_deref())?.unwrap_or_else(|| state.now());
        let day = Elapsed::from_minutes(24 * 60);
        let from = wire::start(state, "from", self.from.as_deref())?.unwrap_or(until - day);
        if from >= until {
            return Err(Problem::invalid("to", "expected a time after from"));
        }
        Ok((from, until))
    }
}

/// How many devices were in which state.
#[derive(Debug, Serialize, ToSchema)]
struct Point {
    at: Time,
    online: i64,
    sleeping: i64,
    unknown: i64,
    down: i64,
    offline: i64,
    all: i64,
}

/// Counts over time, oldest first; at most one a minute and about 1500.
#[derive(Debug, Serialize, ToSchema)]
struct History {
    points: Vec<Point>,
}

/// Counts of devices over time
#[utoipa::path(
    get, path = "/presence/history", tag = "presence", operation_id = "presence_history", params(StretchQuery),
    responses((status = 200, body = History))
)]
async fn history(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<StretchQuery>,
) -> Result<Json<History>, Problem> {
    let (from, until) = query.read(&state)?;
    let points = counts::history(&state.store, from, until, POINTS)
        .await?
        .into_iter()
        .map(|c| Point {
            at: Time(c.at),
            online: c.online,
            sleeping: c.sleeping,
            unknown: c.unknown,
            down: c.down,
            offline: c.offline,
            all: c.online + c.sleeping + c.unknown + c.down + c.offline,
        })
        .collect();
    Ok(Json(History { points }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TimelineQuery {
    /// A day before `to` unless said otherwise.
    #[param(schema_with = schema::date, required = false)]
    from: Option<String>,
    /// Now unless said otherwise; of a day, its end.
    #[param(schema_with = schema::date, required = false)]
    to: Option<String>,
    #[param(minimum = 1, maximum = 1000000)]
    page: Option<u32>,
    /// Devices on a page; cut to 200, 100 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
    /// Text in what is known of the device, in any case.
    q: Option<String>,
    #[serde(default)]
    #[param(inline, required = false)]
    sort: Sort,
}

const OPEN: i64 = 1;
const START_MISSING: i64 = 2;
const END_MISSING: i64 = 4;
const MANUAL: i64 = 8;

/// Start and end in milliseconds since 1970, and flags: 1 open, 2 start missing, 4 end missing, 8 entered by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Interval(i64, i64, i64);

impl PartialSchema for Interval {
    fn schema() -> RefOr<Schema> {
        let integer = ObjectBuilder::new().schema_type(Type::Integer).build();
        ArrayBuilder::new()
            .items(ArrayItems::RefOrSchema(Box::new(integer.into())))
            .min_items(Some(3))
            .max_items(Some(3))
            .description(Some(
                "Start and end in milliseconds since 1970, and flags: 1 open, 2 start missing, 4 end missing, \
                 8 entered by hand",
            ))
            .into()
    }
}

impl ToSchema for Interval {}

/// A device's row.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceRow {
    mac: String,
    /// What people call it.
    name: String,
    state: StateWire,
    intervals: Vec<Interval>,
}

/// Devices side by side.
#[derive(Debug, Serialize, ToSchema)]
struct Timeline {
    from: Time,
    to: Time,
    devices: Vec<DeviceRow>,
    /// When sources could not see; the latest 1000.
    gaps: Vec<GapWire>,
    page: u32,
    limit: u32,
    /// How many devices there are on all pages.
    total: usize,
}

/// Presence of all devices over time
///
/// Intervals that lie closer together than a 4000th of the stretch are merged.
#[utoipa::path(
    get, path = "/presence/timeline", tag = "presence", operation_id = "presence_timeline", params(TimelineQuery),
    responses((status = 200, body = Timeline))
)]
async fn all(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<TimelineQuery>,
) -> Result<Json<Timeline>, Problem> {
    let page = Page::new(query.page, query.limit, PAGE, MAX_PAGE)?;
    let (from, until) = StretchQuery { from: query.from, to: query.to }.read(&state)?;
    let chosen = ListQuery::holding(query.q, query.sort);
    let (found, _) = select(&state, &chosen).await?;
    let total = found.len();
    let closer = until.since(from).as_millis() / RESOLUTION;
    let now = state.now();
    let mut devices = Vec::new();
    for (device, standing) in of_page(found, page) {
        let stretch = Stretch { mac: Some(device.mac), from, until, now };
        let spans = read(&state, stretch, usize::MAX).await?;
        devices.push(DeviceRow {
            mac: device.mac.to_string(),
            name: device.display_name(),
            state: standing.state.into(),
            intervals: merged(&spans, now, closer),
        });
    }
    Ok(Json(Timeline {
        from: Time(from),
        to: Time(until),
        devices,
        gaps: gaps(&state, from, until).await?,
        page: page.number,
        limit: page.limit,
        total,
    }))
}

/// The spans in order of time; at most about `limit`.
async fn read(state: &AppState, stretch: Stretch, limit: usize) -> Result<Vec<Span>, Problem> {
    let mut spans = Vec::new();
    let mut cursor = Some(Cursor::start());
    while let Some(from) = cursor {
        let (found, next) = timeline::spans(&state.store, &stretch, &from, CHUNK).await?;
        spans.extend(found);
        cursor = next.filter(|_| spans.len() < limit);
    }
    spans.sort_by_key(|span| (span.from, span.until));
    Ok(spans)
}

async fn gaps(state: &AppState, from: Timestamp, until: Timestamp) -> Result<Vec<GapWire>, Problem> {
    Ok(sources::gaps(&state.store, from, until, GAPS).await?.into_iter().map(GapWire::from).collect())
}

fn ends(span: &Span, now: Timestamp) -> Timestamp {
    if span.open { now.max(span.from) } else { span.until }
}

fn merged(spans: &[Span], now: Timestamp, closer_ms: i64) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    for span in spans {
        let flag = |given: bool, flag: i64| if given { flag } else { 0 };
        let next = Interval(
            span.from.as_millis(),
            ends(span, now).as_millis(),
            flag(span.open, OPEN)
                | flag(span.start_missing, START_MISSING)
                | flag(span.end_missing, END_MISSING)
                | flag(span.manual, MANUAL),
        );
        match intervals.last_mut() {
            // Both ends are those of the intervals that lie there.
            Some(last) if next.0.saturating_sub(last.1) < closer_ms => {
                let end = if next.1 >= last.1 { next.2 } else { last.2 };
                last.2 = (last.2 & START_MISSING)
                    | (end & END_MISSING)
                    | ((last.2 | next.2) & OPEN)
                    | (last.2 & next.2 & MANUAL);
                last.1 = last.1.max(next.1);
            }
            _ => intervals.push(next),
        }
    }
    intervals
}

/// A stretch in which the device was here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IntervalWire {
    /// An estimate where the start is not known.
    start: Time,
    /// An estimate where the end is not known; now while open.
    end: Time,
    open: bool,
    start_known: bool,
    /// Also `true` while open.
    end_known: bool,
    /// Entered by a person.
    manual: bool,
    ip: Option<String>,
}

/// One device over time.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceTimeline {
    mac: String,
    from: Time,
    to: Time,
    /// Oldest first.
    intervals: Vec<IntervalWire>,
    /// When sources could not see; the latest 1000.
    gaps: Vec<GapWire>,
    /// The latest first; at most 1000.
    events: Vec<EventWire>,
}

/// Presence of one device over time
#[utoipa::path(
    get, path = "/devices/{mac}/timeline", tag = "devices", operation_id = "device_timeline", params(DevicePath, StretchQuery),
    responses((status = 200, body = DeviceTimeline))
)]
async fn of_device(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Path(path): Path<DevicePath>,
    Query(query): Query<StretchQuery>,
) -> Result<Json<DeviceTimeline>, Problem> {
    let mac: MacAddr = path.mac()?;
    let (from, until) = query.read(&state)?;
    if store_devices::find(&state.store, mac).await?.is_none() {
        return Err(unknown(mac));
    }
    let now = state.now();
    let spans = read(&state, Stretch { mac: Some(mac), from, until, now }, INTERVALS).await?;
    let intervals = spans
        .into_iter()
        .map(|span| IntervalWire {
            start: Time(span.from),
            end: Time(ends(&span, now)),
            open: span.open,
            start_known: !span.start_missing,
            end_known: !span.end_missing,
            manual: span.manual,
            ip: span.ip,
        })
        .collect();
    let filter =
        events::Filter { mac: Some(mac), from: Some(from), until: Some(until), ..events::Filter::default() };
    let events = events::list(&state.store, &filter, Position::NEWEST, EVENTS).await?;
    Ok(Json(DeviceTimeline {
        mac: mac.to_string(),
        from: Time(from),
        to: Time(until),
        intervals,
        gaps: gaps(&state, from, until).await?,
        events: events.into_iter().map(EventWire::from).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, until: i64, end_missing: bool) -> Span {
        Span {
            mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
            ip: None,
            from: Timestamp::from_millis(from),
            until: Timestamp::from_millis(until),
            open: false,
            start_missing: false,
            end_missing,
            manual: false,
        }
    }

    #[test]
    fn what_is_too_close_to_be_told_apart_is_drawn_as_one() {
        let now = Timestamp::from_millis(1000);
        let spans = [span(0, 10, true), span(15, 20, false), span(40, 50, false), span(42, 45, true)];
        assert_eq!(merged(&spans, now, 10), [Interval(0, 20, 0), Interval(40, 50, 0)]);
        // At the finest, only what overlaps.
        let apart = merged(&spans, now, 0);
        assert_eq!(apart, [Interval(0, 10, END_MISSING), Interval(15, 20, 0), Interval(40, 50, 0)]);
    }
}

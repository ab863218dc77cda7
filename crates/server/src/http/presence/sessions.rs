//! Presence sessions: create, delete, list, calendar, and those of one device.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    mac::MacAddr,
    presence::Period,
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    StoreError,
    presence::{
        CHUNK,
        sessions::{self, Boundary, Created, Filter, ListedSession, MISSING_EVENT, NewSession, Position},
        timeline::{self, Cursor, Span, Stretch},
    },
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::{
    http::{
        Routes,
        actor::{Allowed, may},
        extract::{Json, OptionalJson, Query},
        page::Page,
        problem::Problem,
        tracking,
        wire::{
            self, schema,
            sessions::{CalendarWire, SessionWire, SessionWriter},
            streamed::{self, Items},
        },
    },
    state::AppState,
};

/// Sessions on a page where a page is asked for without a limit, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
/// How all lists of sessions begin.
const HEAD: &str = "{\"success\":true,\"sessions\":[";

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(create))
        .routes(routes!(delete))
        .routes(routes!(list))
        .routes(routes!(calendar))
}

/// A session that a person enters.
#[derive(Debug, Deserialize, ToSchema)]
struct CreateSession {
    #[schema(schema_with = schema::mac)]
    mac: String,
    #[schema(schema_with = schema::ip)]
    ip: String,
    #[schema(schema_with = schema::time)]
    start_time: String,
    /// Not before the start. Without it the device is still connected.
    #[schema(schema_with = schema::time, required = false)]
    end_time: Option<String>,
    /// What began it; `Connected` unless said otherwise. `<missing event>` says that the start is an estimate.
    #[schema(max_length = 64, min_length = 1, required = false)]
    event_type_conn: Option<String>,
    /// What ended it; `Disconnected` unless said otherwise. `<missing event>` says that it ended, and the
    /// end is an estimate or not known.
    #[schema(max_length = 64, min_length = 1, required = false)]
    event_type_disc: Option<String>,
}

/// It was done, and for whom.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionsDone)]
struct Done {
    /// Always `true`.
    success: bool,
    message: String,
}

fn event_type(field: &str, text: Option<String>, default: &str) -> Result<String, Problem> {
    let Some(text) = text else { return Ok(default.to_owned()) };
    if text.is_empty() {
        return Err(Problem::invalid(field, "expected the name of an event, such as Connected"));
    }
    wire::line(field, text, 64)
}

/// Create a session
///
/// An unknown MAC becomes a device. The session is marked as entered by hand: no scan, rebuild or retention
/// of events removes or rewrites it. The same session sent twice is stored once and answered alike.
#[utoipa::path(
    post, path = "/sessions/create", tag = "presence", operation_id = "create_session", request_body = CreateSession,
    responses(
        (status = 200, body = Done),
        (status = 409, description = "The device has an open session", content_type = "application/problem+json",
         body = crate::http::problem::ProblemBody),
    )
)]
async fn create(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Json(body): Json<CreateSession>,
) -> Result<Json<Done>, Problem> {
    let mac = wire::device_mac("mac", &body.mac)?;
    if body.ip.parse::<std::net::IpAddr>().is_err() {
        return Err(Problem::invalid("ip", "expected an IPv4 or IPv6 address"));
    }
    let start = wire::time(&state, "start_time", &body.start_time)?;
    let end = body.end_time.as_deref().map(|text| wire::time(&state, "end_time", text)).transpose()?;
    if end.is_some_and(|end| end < start) {
        return Err(Problem::invalid("end_time", "expected a time that is not before start_time"));
    }
    let ends_unseen = body.event_type_disc.as_deref() == Some(MISSING_EVENT);
    let start_type = event_type("event_type_conn", body.event_type_conn, "Connected")?;
    let end_type = event_type("event_type_disc", body.event_type_disc, "Disconnected")?;
    let now = state.now();
    let new = NewSession {
        id: state.entropy.id(now),
        mac,
        ip: body.ip,
        start: match start_type == MISSING_EVENT {
            true => Boundary::Missing { estimate: start },
            false => Boundary::Known(start),
        },
        end: match (end, ends_unseen) {
            (None, false) => None,
            (Some(end), false) => Some(Boundary::Known(end)),
            (end, true) => Some(Boundary::Missing { estimate: end.unwrap_or(start) }),
        },
        start_type,
        end_type,
        now,
    };
    match state.presence.create_session(new).await? {
        Created::Created(session) => {
            let detail = serde_json::json!({ "mac": mac, "start": start.rfc3339(), "end": end.map(|end| end.rfc3339()) });
            tracking::audit(&state, &actor, "presence.session.create", session.id, detail).await?;
        }
        Created::AlreadyThere(_) => {}
        Created::OpenExists(open) => {
            let since = open.started_at.map_or_else(String::new, |at| format!(" since {}", at.rfc3339()));
            return Err(Problem::conflict(
                "open_session_exists",
                format!("{mac} already has an open session: {}{since}", open.id),
            ));
        }
    }
    Ok(Json(Done { success: true, message: format!("Session created for MAC {mac}") }))
}

/// Whose sessions to delete.
#[derive(Debug, Deserialize, ToSchema)]
struct DeleteSessions {
    #[schema(schema_with = schema::mac)]
    mac: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// Whose sessions to delete, for clients that send no body.
    #[param(schema_with = schema::mac, required = false)]
    mac: Option<String>,
}

/// Delete all sessions of a device
///
/// What was deleted stays deleted after the next scan. The answer is the same when there was nothing.
#[utoipa::path(
    delete, path = "/sessions/delete", tag = "presence", operation_id = "delete_sessions", params(DeleteQuery),
    request_body(content = DeleteSessions),
    responses((status = 200, body = Done))
)]
async fn delete(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Query(query): Query<DeleteQuery>,
    OptionalJson(body): OptionalJson<DeleteSessions>,
) -> Result<Json<Done>, Problem> {
    let of_query = query.mac.as_deref().map(|text| wire::mac("mac", text)).transpose()?;
    let of_body = body.map(|body| wire::mac("mac", &body.mac)).transpose()?;
    let mac = match (of_query, of_body) {
        (Some(a), Some(b)) if a != b => {
            return Err(Problem::invalid("mac", "the query and the body name different devices"));
        }
        (Some(mac), _) | (None, Some(mac)) => mac,
        (None, None) => {
            return Err(Problem::invalid(
                "mac",
                "expected the device's MAC address, in the body or as ?mac=",
            ));
        }
    };
    let deleted = state.presence.delete_sessions(mac).await?;
    if deleted > 0 {
        let detail = serde_json::json!({ "sessions": deleted });
        tracking::audit(&state, &actor, "presence.sessions.delete", mac, detail).await?;
    }
    Ok(Json(Done { success: true, message: format!("Deleted sessions for MAC {mac}") }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[param(schema_with = schema::mac, required = false)]
    mac: Option<MacAddr>,
    /// Connected on or after this day.
    #[param(schema_with = schema::date, required = false)]
    start_date: Option<String>,
    /// Disconnected on or before this day.
    #[param(schema_with = schema::date, required = false)]
    end_date: Option<String>,
    /// From 1. Without `page` and `limit` all sessions are sent.
    #[param(minimum = 1, maximum = 1000000)]
    page: Option<u32>,
    /// Cut to 1000.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
}

/// Sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList<'a> {
    /// Always `true`.
    success: bool,
    sessions: Vec<SessionWire<'a>>,
    /// The page, where one was asked for.
    #[schema(nullable = false, minimum = 1)]
    page: Option<u32>,
    /// The limit of the page, where one was asked for.
    #[schema(nullable = false, minimum = 1)]
    limit: Option<u32>,
    /// How many sessions there are on all pages, where one was asked for.
    #[schema(nullable = false, minimum = 0)]
    total: Option<u64>,
}

/// List sessions
#[utoipa::path(
    get, path = "/sessions/list", tag = "presence", operation_id = "list_sessions", params(ListQuery),
    responses((status = 200, body = SessionList<'_>))
)]
async fn list(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<ListQuery>,
) -> Result<axum::response::Response, Problem> {
    let filter = Filter {
        mac: query.mac,
        from: wire::start(&state, "start_date", query.start_date.as_deref())?,
        until: wire::end(&state, "end_date", query.end_date.as_deref())?,
    };
    let now = state.now();
    if query.page.is_some() || query.limit.is_some() {
        let page = Page::new(query.page, query.limit, PAGE, MAX_PAGE)?;
        let total = sessions::count(&state.store, &filter).await?;
        let offset = page.offset().unsigned_abs();
        let found = sessions::page(&state.store, &filter, offset, page.limit).await?;
        let mut items = Items::default();
        write_sessions(SessionWriter::new(&state.zone, now))(found, &mut items)?;
        let tail = format!("],\"page\":{},\"limit\":{},\"total\":{total}}}", page.number, page.limit);
        return Ok(streamed::whole(HEAD, items, &tail));
    }
    let writer = SessionWriter::new(&state.zone, now);
    let next = move |position: Position| {
        let store = state.store.clone();
        async move {
            let found = sessions::list(&store, &filter, &position, CHUNK).await?;
            let next = found.last().filter(|_| found.len() == CHUNK as usize).map(ListedSession::position);
            Ok((found, next))
        }
    };
    streamed::pipelined(HEAD, "]}", Position::newest(), next, write_sessions(writer)).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CalendarQuery {
    /// The first day.
    #[param(schema_with = schema::date, required = true)]
    start: Option<String>,
    /// The last day, included.
    #[param(schema_with = schema::date, required = true)]
    end: Option<String>,
    #[param(schema_with = schema::mac, required = false)]
    mac: Option<MacAddr>,
}

/// What a calendar shows.
#[derive(Debug, Serialize, ToSchema)]
struct Calendar<'a> {
    /// Always `true`.
    success: bool,
    sessions: Vec<CalendarWire<'a>>,
}

/// Sessions for a calendar
///
/// Every session that overlaps the days from `start` to `end`.
#[utoipa::path(
    get, path = "/sessions/calendar", tag = "presence", operation_id = "session_calendar", params(CalendarQuery),
    responses(
        (status = 200, body = Calendar<'_>),
        (status = 400, description = "A date is missing", content_type = "application/problem+json",
         body = crate::http::problem::ProblemBody),
    )
)]
async fn calendar(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<CalendarQuery>,
) -> Result<axum::response::Response, Problem> {
    let missing =
        |name: &str| Problem::unreadable(format!("the parameter {name} is missing: expected a day"));
    let from = wire::start(&state, "start", query.start.as_deref())?.ok_or_else(|| missing("start"))?;
    let until = wire::end(&state, "end", query.end.as_deref())?.ok_or_else(|| missing("end"))?;
    if until <= from {
        return Err(Problem::invalid("end", "expected a day that is not before start"));
    }
    let now = state.now();
    let stretch = Stretch { mac: query.mac, from, until, now };
    let mut writer = SessionWriter::new(&state.zone, now);
    let next = move |cursor| {
        let store = state.store.clone();
        async move { timeline::spans(&store, &stretch, &cursor, CHUNK).await }
    };
    let write = move |spans: Vec<Span>, items: &mut Items| {
        spans.iter().try_for_each(|span| writer.calendar(span, |wire| items.push(wire)))
    };
    streamed::pipelined(HEAD, "]}", Cursor::start(), next, write).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PeriodQuery {
    /// The last so many minutes, hours, days, weeks, months or years, or `all`; `1 day` unless said otherwise.
    #[param(schema_with = schema::period, required = false)]
    period: Option<Period>,
}

/// Sessions of a device, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DeviceSessions<'a> {
    /// Always `true`.
    success: bool,
    sessions: Vec<SessionWire<'a>>,
}

/// Sessions of a device that overlap a period up to now.
///
/// The path that names a device may name an access session as well: the handler is theirs.
pub(in crate::http) async fn of_device(
    state: AppState,
    mac: &str,
    query: PeriodQuery,
) -> Result<axum::response::Response, Problem> {
    let mac = wire::mac("mac", mac)?;
    let now = state.now();
    let period = query.period.unwrap_or(Period::days(1));
    // Sessions entered for a time to come belong to no period up to now.
    let until = match period {
        Period::All => Timestamp::MAX,
        Period::Last { .. } => now + Elapsed::from_micros(1),
    };
    let stretch = (period.start(now, &state.zone), until);
    let writer = SessionWriter::new(&state.zone, now);
    let next = move |position: Position| {
        let store = state.store.clone();
        async move { sessions::overlapping(&store, mac, stretch, now, &position, CHUNK).await }
    };
    streamed::pipelined(HEAD, "]}", Position::newest(), next, write_sessions(writer)).await
}

fn write_sessions(
    mut writer: SessionWriter,
) -> impl FnMut(Vec<ListedSession>, &mut Items) -> Result<(), StoreError> {
    move |found, items| found.iter().try_for_each(|session| writer.session(session, |wire| items.push(wire)))
}
